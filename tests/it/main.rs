//! The one integration binary: a module a topic.

mod task_json;
mod outbox;
