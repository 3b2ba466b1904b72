//! What can go wrong between a model's name and its detections. Each text says what was wrong, where, and what to do.

use std::path::PathBuf;

/// One per thing a caller can do about it: set up the runtime, pick or fetch a model, give up on a frame.
#[derive(Debug, thiserror::Error)]
pub enum DetectError {
    #[error(
        "ONNX Runtime (libonnxruntime.so, at least 1.{minor}) was not found. Tried:{}\n\
         Put it in place with scripts/runtime.sh (or make setup), or name it with --onnxruntime FILE or ORT_DYLIB_PATH.",
        lines(.tried)
    )]
    RuntimeMissing { minor: u32, tried: Vec<String> },

    #[error("ONNX Runtime was loaded but could not be started: {0}")]
    RuntimeStart(String),

    #[error(
        "ONNX Runtime would report to its maker, which it does from the moment it is loaded: set {}=1 in the environment",
        super::NO_REPORTS
    )]
    RuntimeWouldReport,

    #[error("{origin}: {message}")]
    Catalog { origin: String, message: String },

    #[error("there is no model \"{alias}\"; known are {}", .known.join(", "))]
    UnknownModel { alias: String, known: Vec<String> },

    #[error("model {alias}: its file {file} was not found. Tried:{}\n{hint}", paths(.tried))]
    ModelMissing { alias: String, file: String, tried: Vec<PathBuf>, hint: String },

    #[error("{}: {source}", .path.display())]
    Read { path: PathBuf, source: std::io::Error },

    #[error("model {alias}: {} is empty (0 bytes); fetch it again with `face-edge models pull {alias}`", .path.display())]
    ModelEmpty { alias: String, path: PathBuf },

    #[error(
        "model {alias}: {} has SHA-256 {found}, but models.toml says {expected}: it is another file or was damaged. \
         Fetch it again with `face-edge models pull {alias}`",
        .path.display()
    )]
    ModelChanged { alias: String, path: PathBuf, expected: String, found: String },

    #[error("model {alias}: {} is not an ONNX model that can be run: {reason}", .path.display())]
    NotOnnx { alias: String, path: PathBuf, reason: String },

    #[error(
        "model {alias}: {} is a model of another shape. Its entry in models.toml (decoder, input) expects {expected}; \
         found {found}",
        .path.display()
    )]
    OtherShape { alias: String, path: PathBuf, expected: String, found: String },

    #[error("model {alias}: running it failed: {reason}")]
    Run { alias: String, reason: String },
}

fn lines(items: &[String]) -> String {
    items.iter().map(|item| format!("\n  {item}")).collect()
}

fn paths(items: &[PathBuf]) -> String {
    items.iter().map(|item| format!("\n  {}", item.display())).collect()
}
