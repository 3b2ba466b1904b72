//! The one integration binary: a module a topic.

mod api;
mod config;
mod keys;
mod outbox;
mod task_json;
