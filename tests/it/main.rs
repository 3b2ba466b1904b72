//! The one integration binary: a module a topic.

mod layers;
mod task_json;
mod worker;
mod media;
//! One binary for all integration tests: a module a topic.

mod detect;
mod golden;
mod support;
mod outbox;
