//! The one integration binary: a module a topic.

mod media;
mod sim_camera;
