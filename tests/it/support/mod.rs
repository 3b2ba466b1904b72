//! What several topics need.

pub mod vision;
