//! One binary for all integration tests: a module a topic.

mod detect;
mod golden;
mod models;
mod support;
