//! The one integration binary: a module a topic.

mod layers;
mod task_json;
mod worker;
mod media;
