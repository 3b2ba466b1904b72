//! The one integration binary: a module a topic.

mod api;
mod config;
mod deliver;
mod keys;
mod kill9;
mod messages;
mod outbox;
mod receiver;
mod task_json;
