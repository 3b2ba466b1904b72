//! One file a subcommand.

pub mod sim_camera;
