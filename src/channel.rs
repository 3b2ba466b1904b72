//! One camera channel: a task's stream from its source to its slot in the mailbox, and the settings its frames are
//! analysed by.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use uuid::Uuid;

use crate::domain::Task;
use crate::figures::Figures;
use crate::frame::{Frame, Idle};
use crate::mailbox::{self, Mailbox, Sender};
use crate::media::{Camera, CameraSpec, CameraState, FrameSink, MainCamera, MediaError, Pace, Patience};
use crate::worker::{Analysis, Observer, Progress, Settings};

/// What every channel of this box has in common.
pub struct Site {
    pub node_id: String,
    pub mailbox: Arc<Mailbox<Analysis>>,
    /// The model's score from which a detection begins a track.
    pub new_track_score: f32,
    /// Of an idle camera only key frames are decoded.
    pub idle_keyframes: bool,
    pub patience: Patience,
    /// Where what is counted of a task is forgotten with it.
    pub figures: Figures,
}

impl FrameSink for Sender<Analysis> {
    fn offer(&self, frame: Frame) {
        Self::offer(self, frame);
    }

    fn offer_waiting(&self, frame: Frame, patience: Duration) -> Result<(), Frame> {
        Self::offer_waiting(self, frame, patience)
    }

    fn end(&self) {
        Self::end(self);
    }
}

/// Where a camera's pictures come from.
pub struct Streams {
    /// The stream that is analysed.
    pub url: String,
    pub main: Option<Main>,
}

/// The large stream, out of which pictures are cut.
pub struct Main {
    pub url: String,
    /// Called from the stream's own thread.
    pub on_state: Box<dyn Fn(CameraState) + Send>,
}

impl<T: AsRef<str>> From<&T> for Streams
where
    T: ?Sized,
{
    fn from(url: &T) -> Self {
        Self { url: url.as_ref().to_owned(), main: None }
    }
}

/// Ends when dropped; waits for its camera to let go.
pub struct Channel {
    // Declared before the sender: the camera must be gone before its slot is.
    camera: Option<Camera>,
    main: Option<MainCamera>,
    sender: Arc<Sender<Analysis>>,
    settings: Arc<ArcSwap<Settings>>,
    frame_skip: Arc<AtomicU32>,
    progress: Arc<Progress>,
}

impl Channel {
    /// `session` names this run's tracks; `on_state` is called from the camera's thread.
    pub fn start(
        site: &Site,
        task: Task,
        streams: impl Into<Streams>,
        pace: Pace,
        session: Uuid,
        observer: Box<dyn Observer>,
        on_state: impl Fn(CameraState) + Send + 'static,
    ) -> Result<Self, MediaError> {
        let Streams { url, main } = streams.into();
        let main = main.map(|main| MainCamera::start(&main.url, main.on_state)).transpose()?;
        let frame_skip = Arc::new(AtomicU32::new(task.rules.frame_skip));
        let settings = Arc::new(ArcSwap::from_pointee(Settings { task, node_id: site.node_id.clone() }));
        let progress = Arc::new(Progress::default());
        let idle = Arc::new(Idle::default());
        let mut analysis = Analysis::new(
            Arc::clone(&settings),
            session,
            site.new_track_score,
            Arc::clone(&progress),
            Arc::clone(&idle),
            observer,
        );
        if let Some(main) = &main {
            analysis = analysis.with_main_stream(main.pictures());
        }
        let sender = Arc::new(site.mailbox.open(analysis));
        let mut spec =
            CameraSpec { frame_skip: Arc::clone(&frame_skip), patience: site.patience, ..CameraSpec::new(url, pace) };
        if site.idle_keyframes {
            spec.idle = idle;
        }
        let for_gaps = Arc::clone(&sender);
        let camera = Camera::start(spec, Arc::<Sender<Analysis>>::clone(&sender), move |state| {
            if matches!(state, CameraState::Recovering { .. }) {
                // Whoever was in the picture has left it as far as anybody can tell.
                for_gaps.end();
            }
            on_state(state);
        })?;
        Ok(Self { camera: Some(camera), main, sender, settings, frame_skip, progress })
    }

    /// Takes up changed rules and outputs between two frames; the stream goes on.
    pub fn adjust(&self, task: Task) {
        self.frame_skip.store(task.rules.frame_skip, Ordering::Relaxed);
        let node_id = self.settings.load().node_id.clone();
        self.settings.store(Arc::new(Settings { task, node_id }));
    }

    pub fn progress(&self) -> &Arc<Progress> {
        &self.progress
    }

    pub fn counters(&self) -> &Arc<mailbox::Counters> {
        self.sender.counters()
    }

    pub fn frames_decoded(&self) -> u64 {
        self.camera.as_ref().map_or(0, Camera::frames_decoded)
    }

    pub fn frames_left_out(&self) -> u64 {
        self.camera.as_ref().map_or(0, Camera::frames_left_out)
    }

    pub fn decode_cpu(&self) -> Duration {
        self.camera.as_ref().map_or(Duration::ZERO, Camera::decode_cpu)
    }

    pub fn last_frame_age(&self) -> Duration {
        self.camera.as_ref().map_or(Duration::ZERO, Camera::last_frame_age)
    }

    pub fn still_for(&self) -> Duration {
        self.camera.as_ref().map_or(Duration::ZERO, Camera::still_for)
    }

    /// Stops the camera; the analysis then sends what still waits and calls [`Observer::drained`].
    pub fn end(&mut self) {
        self.camera = None;
        self.main = None;
        self.sender.end();
    }
}
