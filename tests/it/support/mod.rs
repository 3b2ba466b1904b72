//! What several topics need.

pub mod onnx;
pub mod vision;
