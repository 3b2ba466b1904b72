//! The large pictures of a camera whose small ones are analysed: claimed by moment, decoded only when one is sent.

use std::sync::Arc;

use crate::frame::Frame;

/// A camera's main stream, kept in its coded form.
pub trait MainStream: Send + Sync {
    /// Width and height, once known.
    fn size(&self) -> Option<(usize, usize)>;

    /// Keeps what it takes to decode the picture that was taken together with `frame`, as long as the claim lives.
    fn claim(&self, frame: &Frame) -> Arc<dyn Claim>;
}

/// One moment of the main stream.
pub trait Claim: Send + Sync {
    /// Decodes from the key frame before it. Waits a little for a picture that is still on its way.
    fn decode(&self) -> Result<Frame, Absent>;
}

/// Why a moment has no picture in the main stream.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Absent {
    #[error("the main stream does not play, or has not shown a key frame yet")]
    NotPlaying,
    #[error("the main stream's nearest picture is {ms} ms away")]
    Apart { ms: i64 },
    #[error("the main stream's key frames are too far apart: set the camera to one every second or two")]
    TooLong,
    #[error("the main stream's picture cannot be decoded: {0}")]
    Undecodable(String),
}
