//! What several topics need.

pub mod faces;
pub mod onnx;
pub mod program;
pub mod town;
pub mod vision;
pub mod wire;
