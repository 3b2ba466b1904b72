//! face-edge: finds faces in camera video on an edge box and sends each one on, once, at the right moment.
//! ARCHITECTURE.md draws the map; `worker` holds the way of a frame.

#![deny(unsafe_code)]

pub mod analysts;
pub mod api;
pub mod app;
pub mod channel;
pub mod cli;
pub mod clock;
pub mod config;
pub mod deliver;
pub mod detect;
pub mod domain;
pub mod eyes;
pub mod fetch;
pub mod figures;
pub mod frame;
pub mod gallery;
pub mod gate;
pub mod gate_wire;
pub mod mailbox;
pub mod main_stream;
pub mod media;
#[allow(unsafe_code)]
pub mod memory;
pub mod messages;
pub mod motion;
pub mod picture;
pub mod recognise;
pub mod rules;
pub mod seal;
pub mod sim;
pub mod snapshot;
pub mod status;
pub mod store;
pub mod supervisor;
pub mod task_json;
pub mod veil;
pub mod worker;
pub mod zone;
