//! The one integration binary: a module a topic.

mod detect;
mod golden;
mod layers;
mod media;
mod outbox;
mod models;
mod support;
mod task_json;
mod worker;
mod deliver;
mod kill9;
mod messages;
mod outbox;
mod receiver;
mod registry;
