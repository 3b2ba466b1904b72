//! Finds faces in frames. The pure parts (plan, preprocess, decode, nms, sanitise) know no engine; `ort` is named in
//! `runtime` and `onnx` alone. Which model, and how its tensors are read, is data: models/models.toml.

mod align;
mod catalog;
mod decode;
mod detector;
mod embed;
mod error;
mod nms;
mod onnx;
mod plan;
pub mod preprocess;
mod runtime;
mod sanitise;

pub use catalog::{Catalog, Decoder, InputRule, Model, ModelEntry, PixelOrder, read_verified, sha256_hex};
pub use detector::{Detectors, RgbPicture, Thresholds};
pub use embed::Embedder;
pub use error::DetectError;
pub use plan::{InputSize, Plan, SizeWindow, plan_input, plan_long_side};
pub use runtime::{NO_REPORTS, Runtime};
