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
mod api;
mod config;
mod deliver;
mod keys;
mod kill9;
mod messages;
mod outbox;
mod receiver;
mod registry;
mod task_json;
mod sim_camera;
mod rules_golden;
mod rules_props;
mod scenarios;
