//! face-edge: finds faces in camera video on an edge box and sends each one on, once, at the right moment.
//! ARCHITECTURE.md draws the map; `worker` holds the way of a frame.

pub mod cli;
pub mod clock;
pub mod domain;
pub mod frame;
pub mod mailbox;
pub mod media;
pub mod sim;
