//! The commands, a file each.

pub mod detect;
pub mod models;
