//! From a face in a picture to the numbers that describe it.

use std::sync::Arc;

use super::align::{self, Rgb, SIDE};
use super::catalog::Model;
use super::detector::RgbPicture;
use super::error::DetectError;
use super::onnx::OnnxSession;
use super::runtime::Runtime;
use crate::domain::{Embedding, Landmarks};

/// One worker's session of an embedding model.
pub struct Embedder {
    session: OnnxSession,
    model: Arc<Model>,
}

impl Embedder {
    pub fn new(runtime: &Runtime, model: Arc<Model>) -> Result<Self, DetectError> {
        let session = OnnxSession::load_embedding(runtime, &model, SIDE)?;
        Ok(Self { session, model })
    }

    pub fn model(&self) -> &Model {
        &self.model
    }

    /// `None` where the landmarks or the model's numbers say nothing.
    pub fn embed(&mut self, picture: &RgbPicture<'_>, landmarks: &Landmarks) -> Result<Option<Embedding>, DetectError> {
        let rgb = Rgb { width: picture.width, height: picture.height, bytes: picture.bytes };
        if !align::fill(rgb, landmarks, &self.model.entry.input, self.session.input_mut()) {
            return Ok(None);
        }
        Ok(Embedding::of(self.session.numbers()?))
    }
}
