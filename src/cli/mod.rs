//! One file a subcommand: its arguments, and what it does.

pub mod check;
pub mod keys;
pub mod outbox;
pub mod sim_receiver;
