//! The detector threads: each serves whichever camera's turn it is.

use std::sync::Arc;
use std::thread::JoinHandle;

use parking_lot::Mutex;

use crate::detect::{DetectError, Detectors, Model, Runtime, SizeWindow, Thresholds};
use crate::domain::Detection;
use crate::frame::Frame;
use crate::mailbox::Mailbox;
use crate::worker::{self, Analysis, FindFaces, Outbound};

/// Fainter detections than the model's threshold continue a track through a turned head or a shadow, down to this
/// part of it; they never begin one.
const FAINT: f32 = 0.55;

/// What a model is tried with at the start: the smallest input.
const PROBE_FRAME: (usize, usize) = (320, 192);
const PROBE_WINDOW: SizeWindow = SizeWindow { min_px: 90.0, max_px: 192.0 };

#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Model(#[from] DetectError),
    #[error("a detector thread cannot be started: {0}")]
    Thread(#[from] std::io::Error),
}

pub struct Analysts {
    mailbox: Arc<Mailbox<Analysis>>,
    threads: Vec<JoinHandle<()>>,
}

impl Analysts {
    /// Fails where the model's file is not what its entry says, before any camera is asked for a picture.
    pub fn start(
        count: usize,
        runtime: &Runtime,
        model: &Arc<Model>,
        outbound: &Arc<dyn Outbound>,
    ) -> Result<Self, StartError> {
        let finder = Finder::new(runtime, model);
        finder.with(|detectors| detectors.prepare(PROBE_FRAME, PROBE_WINDOW))?;
        let mailbox = Mailbox::new();
        let mut threads = Vec::with_capacity(count);
        for number in 0..count {
            let mut finder = finder.clone();
            let (mailbox, outbound) = (Arc::clone(&mailbox), Arc::clone(outbound));
            let thread = std::thread::Builder::new()
                .name(format!("detect-{number}"))
                .spawn(move || worker::work(&mailbox, &mut finder, &*outbound))?;
            threads.push(thread);
        }
        Ok(Self { mailbox, threads })
    }

    pub fn mailbox(&self) -> &Arc<Mailbox<Analysis>> {
        &self.mailbox
    }

    /// Returns when the frames in hand are through.
    pub fn stop(self) {
        self.mailbox.close();
        for thread in self.threads {
            if thread.join().is_err() {
                tracing::error!("a detector thread had panicked");
            }
        }
    }
}

/// Detectors that nobody is using. The one used last is taken first, so that as many are loaded as cameras are
/// analysed at the same time: with one camera, one, whichever thread's turn it is.
#[derive(Clone)]
struct Finder {
    runtime: Runtime,
    model: Arc<Model>,
    idle: Arc<Mutex<Vec<Detectors>>>,
}

impl Finder {
    fn new(runtime: &Runtime, model: &Arc<Model>) -> Self {
        Self { runtime: runtime.clone(), model: Arc::clone(model), idle: Arc::default() }
    }

    fn with<T>(&self, work: impl FnOnce(&mut Detectors) -> T) -> T {
        let idle = self.idle.lock().pop();
        let mut detectors = idle.unwrap_or_else(|| self.load());
        let result = work(&mut detectors);
        self.idle.lock().push(detectors);
        result
    }

    fn load(&self) -> Detectors {
        let entry = &self.model.entry;
        let thresholds = Thresholds { score: entry.score_threshold * FAINT, nms_iou: entry.nms_iou };
        Detectors::new(&self.runtime, Arc::clone(&self.model)).with_thresholds(thresholds)
    }
}

impl FindFaces for Finder {
    type Error = DetectError;

    fn find(&mut self, frame: &Frame, (min_px, max_px): (f32, f32)) -> Result<Vec<Detection>, DetectError> {
        self.with(|detectors| detectors.detect(frame, SizeWindow { min_px, max_px }))
    }
}
