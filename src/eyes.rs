//! Looks at pictures for the interfaces that keep faces: detection, quality, and where an embedding model is installed,
//! the embedding. Sessions are shared: as many are loaded as pictures are looked at at once.

use std::sync::Arc;

use parking_lot::Mutex;

use crate::api::{Eyes, Recognition};
use crate::detect::{DetectError, Detectors, Embedder, Model, RgbPicture, Runtime, SizeWindow, plan_input};
use crate::domain::{Detection, SeenFace};
use crate::picture::Picture;
use crate::rules::{self, Quality};

pub struct PictureEyes {
    runtime: Runtime,
    detector: Arc<Model>,
    embedder: Option<Arc<Model>>,
    recognition: Option<Recognition>,
    idle_detectors: Mutex<Vec<Detectors>>,
    idle_embedders: Mutex<Vec<Embedder>>,
}

impl PictureEyes {
    /// Fails where the embedding model's file is not what its entry says.
    pub fn new(runtime: &Runtime, detector: &Arc<Model>, embedder: Option<Model>) -> Result<Self, DetectError> {
        let embedder = embedder.map(Arc::new);
        let recognition = embedder.as_ref().map(|model| Recognition {
            model: format!("{} {}", model.entry.alias, model.entry.sha256),
            threshold: model.entry.score_threshold,
        });
        let idle = embedder.iter().map(|model| Embedder::new(runtime, Arc::clone(model))).collect::<Result<_, _>>()?;
        Ok(Self {
            runtime: runtime.clone(),
            detector: Arc::clone(detector),
            embedder,
            recognition,
            idle_detectors: Mutex::default(),
            idle_embedders: Mutex::new(idle),
        })
    }

    fn detect(&self, picture: &RgbPicture<'_>) -> Result<Vec<Detection>, DetectError> {
        let idle = self.idle_detectors.lock().pop();
        let mut detectors = idle.unwrap_or_else(|| Detectors::new(&self.runtime, Arc::clone(&self.detector)));
        let entry = &self.detector.entry;
        let window = SizeWindow { min_px: entry.min_face_px, max_px: f32::INFINITY };
        let plan = plan_input(entry, (picture.width, picture.height), window);
        let found = detectors.detect_rgb(picture, &plan);
        self.idle_detectors.lock().push(detectors);
        found
    }

    fn embed(&self, picture: &RgbPicture<'_>, face: &mut SeenFace) -> Result<(), DetectError> {
        let (Some(model), Some(landmarks)) = (&self.embedder, &face.landmarks) else { return Ok(()) };
        let idle = self.idle_embedders.lock().pop();
        let mut embedder = match idle {
            Some(embedder) => embedder,
            None => Embedder::new(&self.runtime, Arc::clone(model))?,
        };
        let embedding = embedder.embed(picture, landmarks);
        self.idle_embedders.lock().push(embedder);
        face.embedding = embedding?;
        Ok(())
    }
}

impl Eyes for PictureEyes {
    fn look(&self, picture: &Picture, embed: bool) -> Result<Vec<SeenFace>, String> {
        let (width, height) = picture.size();
        let rgb = RgbPicture { width, height, bytes: picture.rgb() };
        let luma = picture.luma();
        let seen = |face: Detection| {
            let measure = rules::measure(&luma, width, width, height, face.bbox);
            let quality = Quality::of(&face, measure, (width as f32, height as f32)).score;
            SeenFace { bbox: face.bbox, score: face.score, landmarks: face.landmarks, quality, embedding: None }
        };
        let found = self.detect(&rgb).map_err(|error| error.to_string())?;
        let mut faces: Vec<SeenFace> = found.into_iter().map(seen).collect();
        for face in faces.iter_mut().filter(|_| embed) {
            self.embed(&rgb, face).map_err(|error| error.to_string())?;
        }
        Ok(faces)
    }

    fn recognition(&self) -> Option<&Recognition> {
        self.recognition.as_ref()
    }
}
