//! The one integration binary: a module a topic.

mod media;
mod media_http;
mod sim_camera;
