//! The one integration binary: a module a topic.

mod api;
mod config;
mod deliver;
mod detect;
mod golden;
mod keys;
mod kill9;
mod layers;
mod licences;
mod media;
mod media_http;
mod messages;
mod models;
mod outbox;
mod query_engine;
mod receiver;
mod registry;
mod rules_golden;
mod rules_props;
mod scenarios;
mod sim_camera;
mod support;
mod task_json;
mod tracks;
mod worker;
