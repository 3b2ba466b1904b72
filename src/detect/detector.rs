//! From a frame to its faces: plan, sample, run, decode, suppress. One worker's; workers share only the model's bytes.

use std::sync::Arc;

use super::catalog::Model;
use super::error::DetectError;
use super::nms;
use super::onnx::OnnxSession;
use super::plan::{InputSize, Plan, SizeWindow, plan_input};
use super::preprocess::{Geometry, Pixels, Sampler};
use super::runtime::Runtime;
use crate::domain::{Detection, Landmarks, Point, Rect};
use crate::frame::{Color, Frame, Planes};

/// Sessions and sampling tables kept, those used last. Cameras on one box have few sizes; a bound keeps a stream
/// that changes its size over and over from filling the memory.
const MAX_SESSIONS: usize = 8;
const MAX_SAMPLERS: usize = 32;

/// One worker's detectors: a session for each input size in use, sampling tables for each frame geometry.
pub struct Detectors {
    runtime: Runtime,
    model: Arc<Model>,
    /// Newest use last.
    sessions: Vec<(InputSizeKey, OnnxSession)>,
    /// Newest use last.
    samplers: Vec<Sampler>,
    thresholds: Thresholds,
}

/// Width and height of the tensor; the content's size does not matter to a session.
type InputSizeKey = (usize, usize);

/// What is reported, of all that the model says.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Thresholds {
    pub score: f32,
    pub nms_iou: f32,
}

/// Packed RGB without gaps, as pictures are read from files.
#[derive(Clone, Copy)]
pub struct RgbPicture<'a> {
    pub width: usize,
    pub height: usize,
    /// 3 · width · height of them.
    pub bytes: &'a [u8],
}

impl Detectors {
    pub fn new(runtime: &Runtime, model: Arc<Model>) -> Self {
        let thresholds = Thresholds { score: model.entry.score_threshold, nms_iou: model.entry.nms_iou };
        Self { runtime: runtime.clone(), model, sessions: Vec::new(), samplers: Vec::new(), thresholds }
    }

    /// In place of those of the model's entry.
    pub fn with_thresholds(self, thresholds: Thresholds) -> Self {
        Self { thresholds, ..self }
    }

    pub fn model(&self) -> &Model {
        &self.model
    }

    /// Loads what frames of this size will need, so that the first one does not wait for it.
    pub fn prepare(&mut self, frame: (usize, usize), window: SizeWindow) -> Result<Plan, DetectError> {
        let plan = plan_input(&self.model.entry, frame, window);
        for pass in &plan.passes {
            self.session(pass)?;
        }
        Ok(plan)
    }

    /// The faces of a frame, surest first, in its pixels and within its bounds. Faces outside the window may be among
    /// them: the window decides only at which sizes the frame is looked at.
    pub fn detect(&mut self, frame: &Frame, window: SizeWindow) -> Result<Vec<Detection>, DetectError> {
        let planes = frame.planes();
        let plan = plan_input(&self.model.entry, (planes.width, planes.height), window);
        self.detect_planes(&planes, frame.color, &plan)
    }

    /// As `detect`, of bare planes and by a plan made for their size.
    pub fn detect_planes(
        &mut self,
        planes: &Planes<'_>,
        color: Color,
        plan: &Plan,
    ) -> Result<Vec<Detection>, DetectError> {
        let frame = (planes.width, planes.height);
        self.detect_passes(frame, Pixels::Yuv(planes.layout), plan, |sampler, model, tensor| {
            sampler.sample(planes, color, &model.entry.input, tensor);
        })
    }

    /// As `detect`, of a picture and by a plan made for its size.
    pub fn detect_rgb(&mut self, picture: &RgbPicture<'_>, plan: &Plan) -> Result<Vec<Detection>, DetectError> {
        let frame = (picture.width, picture.height);
        self.detect_passes(frame, Pixels::PackedRgb, plan, |sampler, model, tensor| {
            sampler.sample_rgb(picture.bytes, &model.entry.input, tensor);
        })
    }

    fn detect_passes(
        &mut self,
        frame: (usize, usize),
        pixels: Pixels,
        plan: &Plan,
        fill: impl Fn(&mut Sampler, &Model, &mut [f32]),
    ) -> Result<Vec<Detection>, DetectError> {
        let mut found = Vec::new();
        for pass in &plan.passes {
            let model = Arc::clone(&self.model);
            let threshold = self.thresholds.score;
            let sampler = sampler_for(&mut self.samplers, Geometry::whole_frame(frame, pixels, *pass));
            let session = session_for(&mut self.sessions, &self.runtime, &model, pass)?;
            fill(sampler, &model, session.input_mut());
            let before = found.len();
            session.run(threshold, &mut found)?;
            let scale = pass.scale(frame);
            found[before..].iter_mut().for_each(|detection| *detection = to_frame(detection, scale));
        }
        nms::suppress(&mut found, self.thresholds.nms_iou);
        let bounds = (frame.0 as f32, frame.1 as f32);
        found.iter_mut().for_each(|detection| detection.bbox = detection.bbox.clip(bounds.0, bounds.1));
        found.retain(|detection| detection.bbox.area() > 0.0);
        Ok(found)
    }

    fn session(&mut self, pass: &InputSize) -> Result<&mut OnnxSession, DetectError> {
        session_for(&mut self.sessions, &self.runtime, &self.model, pass)
    }
}

fn session_for<'a>(
    sessions: &'a mut Vec<(InputSizeKey, OnnxSession)>,
    runtime: &Runtime,
    model: &Model,
    pass: &InputSize,
) -> Result<&'a mut OnnxSession, DetectError> {
    let key = (pass.width, pass.height);
    let used = match sessions.iter().position(|(size, _)| *size == key) {
        Some(index) => sessions.remove(index),
        None => (key, OnnxSession::load(runtime, model, pass.width, pass.height)?),
    };
    if sessions.len() >= MAX_SESSIONS {
        sessions.remove(0);
    }
    sessions.push(used);
    Ok(&mut sessions.last_mut().expect("pushed above").1)
}

fn sampler_for(samplers: &mut Vec<Sampler>, geometry: Geometry) -> &mut Sampler {
    let used = match samplers.iter().position(|sampler| *sampler.geometry() == geometry) {
        Some(index) => samplers.remove(index),
        None => Sampler::new(geometry),
    };
    if samplers.len() >= MAX_SAMPLERS {
        samplers.remove(0);
    }
    samplers.push(used);
    samplers.last_mut().expect("pushed above")
}

/// From pixels of the input to pixels of the frame.
fn to_frame(detection: &Detection, (sx, sy): (f32, f32)) -> Detection {
    let Rect { x, y, w, h } = detection.bbox;
    Detection {
        bbox: Rect::new(x / sx, y / sy, w / sx, h / sy),
        score: detection.score,
        landmarks: detection.landmarks.map(|all| Landmarks(all.0.map(|p| Point::new(p.x / sx, p.y / sy)))),
    }
}
