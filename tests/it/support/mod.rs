//! What several topics need.

pub mod faces;
pub mod onnx;
pub mod vision;
