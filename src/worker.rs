//! The way of a frame: lease → detect → rules → picture → message → outbox.
//!
//! A detector thread runs [`work`]. It takes one camera's newest frame together with that camera's [`Analysis`],
//! finds the faces, lets the rules decide, cuts and encodes only what is sent, and hands the messages on. A frame is
//! analysed under one [`Settings`] from beginning to end, so a rule never sees half of an old and half of a new
//! configuration. Of a camera with two streams the small one is analysed, and the rules see its faces in pixels of the
//! large one.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use uuid::Uuid;

use crate::clock;
use crate::domain::{Category, Detection, FaceImage, Message, PictureStream, Scale, StreamTime, Task, UnixMs};
use crate::frame::{Frame, Idle};
use crate::mailbox::{Mail, Mailbox};
use crate::main_stream::MainStream;
use crate::messages::{Origin, Writer, Written};
pub use crate::messages::{Picture, face_id};
use crate::motion::MotionGate;
use crate::rules::{self, Appearance, Engine, Measure, Outcome, Tally, View};

/// A scene that has been still and empty for so long may be decoded sparsely.
const IDLE_AFTER: Duration = Duration::from_secs(10);
/// So much of the small stream is let go by for the large one's size to become known.
const SIZE_PATIENCE: Duration = Duration::from_secs(3);

/// Finds faces in a frame; `window_px` is the range of face sizes that the task wants.
pub trait FindFaces {
    type Error: std::fmt::Display;
    fn find(&mut self, frame: &Frame, window_px: (f32, f32)) -> Result<Vec<Detection>, Self::Error>;
}

/// Takes messages on; returns when they are safe (committed, or written), waiting as long as that takes.
pub trait Outbound: Send + Sync {
    fn send(&self, task: &Task, messages: Vec<Message>);
}

/// What a camera's frames are analysed by.
pub struct Settings {
    pub task: Task,
    pub node_id: String,
}

/// Width and height.
type Size = (usize, usize);

/// Counted for one camera; read by status and metrics.
#[derive(Default)]
pub struct Progress {
    pub frames_analysed: AtomicU64,
    /// Passed over by the motion gate.
    pub frames_still: AtomicU64,
    pub frames_failed: AtomicU64,
    pub faces_detected: AtomicU64,
    pub pictures_sent: AtomicU64,
    /// Processor time: inference with the scaling before it, everything from there to the messages, and the pictures' JPEG.
    pub detect_cpu_ns: AtomicU64,
    pub rules_cpu_ns: AtomicU64,
    pub encode_cpu_ns: AtomicU64,
    /// Left out at the start, until the large stream's size was known.
    pub frames_unsized: AtomicU64,
    /// Of a camera with two streams: cut from the large one, and from the small one for want of it.
    pub pictures_main: AtomicU64,
    pub pictures_small: AtomicU64,
    /// By the clock, spent on pictures of the large stream.
    pub main_decode_ns: AtomicU64,
}

impl Progress {
    /// All that the analysis has taken.
    pub fn cpu(&self) -> Duration {
        let stages = [&self.detect_cpu_ns, &self.rules_cpu_ns, &self.encode_cpu_ns];
        Duration::from_nanos(stages.iter().map(|stage| stage.load(Ordering::Relaxed)).sum())
    }
}

/// How long a frame took, from the coded picture's arrival on.
pub struct Latency {
    pub decode: Duration,
    pub detect: Duration,
    /// Until what it brought was safe.
    pub whole: Duration,
}

/// What one camera's analysis remembers between frames.
pub struct Analysis {
    settings: Arc<ArcSwap<Settings>>,
    /// As they were read last.
    read: Arc<Settings>,
    /// As they are for pictures of the present size.
    current: Arc<Settings>,
    /// Of the picture that `read`'s region is meant for, and of the present one.
    sizes: Option<(Size, Size)>,
    engine: Engine<Arc<Picture>>,
    gate: MotionGate,
    /// Told to whoever decodes the frames.
    idle: Arc<Idle>,
    /// Track ids are made of it: the same run names a track the same way.
    session: Uuid,
    last_time: StreamTime,
    progress: Arc<Progress>,
    observer: Box<dyn Observer>,
    /// The large stream of the camera, where it has one.
    main: Option<Arc<dyn MainStream>>,
    /// Its size has been known.
    main_known: bool,
}

/// Told what the rules decided, and when a stream's last frame has been dealt with.
pub trait Observer: Send {
    /// After each frame; `tally` counts every verdict since the stream's start.
    fn decided(&mut self, outcome: &Outcome<Arc<Picture>>, tally: &Tally);
    /// What the decisions of a frame were made from. Called only where `keeps_what_is_seen`.
    fn seen(&mut self, _seen: &Seen<'_>) {}
    fn keeps_what_is_seen(&self) -> bool {
        false
    }
    /// After each frame that was analysed.
    fn timed(&mut self, _latency: &Latency) {}
    /// All that was delivered before the stream's end, or before a gap in it, has been dealt with.
    fn drained(&mut self);
}

/// The faces of one frame, without pictures.
pub struct Seen<'a> {
    pub at: StreamTime,
    pub taken_at: UnixMs,
    pub frame_size: (f32, f32),
    pub faces: &'a [(Detection, Measure)],
}

impl Analysis {
    pub fn new(
        settings: Arc<ArcSwap<Settings>>,
        session: Uuid,
        new_track_score: f32,
        progress: Arc<Progress>,
        idle: Arc<Idle>,
        observer: Box<dyn Observer>,
    ) -> Self {
        let current = settings.load_full();
        let engine = Engine::new(Arc::new(current.task.rules.clone()), new_track_score);
        let gate = MotionGate::default();
        let read = Arc::clone(&current);
        Self {
            settings,
            read,
            current,
            sizes: None,
            engine,
            gate,
            idle,
            session,
            last_time: StreamTime::ZERO,
            progress,
            observer,
            main: None,
            main_known: false,
        }
    }

    /// Frames are of the camera's small stream, and pictures are cut out of this one.
    pub fn with_main_stream(self, main: Arc<dyn MainStream>) -> Self {
        Self { main: Some(main), ..self }
    }

    /// The size in whose pixels the task's numbers are: the large stream's, or the frame's own. `None` while the large
    /// stream may still tell it.
    fn size_for_rules(&mut self, frame: &Frame) -> Option<Size> {
        let Some(main) = &self.main else { return Some(frame.size()) };
        let known = main.size();
        if let Some(size) = known
            && !std::mem::replace(&mut self.main_known, true)
        {
            // The region was given for it, whatever was analysed for want of it.
            self.sizes = self.sizes.map(|(_, now)| (size, now));
        }
        let known = known.or(self.sizes.map(|(_, now)| now));
        let waits = frame.stream_time.since(StreamTime::ZERO) < SIZE_PATIENCE;
        known.or_else(|| (!waits).then(|| frame.size()))
    }

    /// Takes up changed settings, between frames.
    fn refresh(&mut self) {
        let newest = self.settings.load_full();
        if Arc::ptr_eq(&newest, &self.read) {
            return;
        }
        if newest.task.rules.roi != self.read.task.rules.roi {
            // Whoever draws a region draws it on the present picture.
            self.sizes = self.sizes.map(|(_, now)| (now, now));
        }
        self.read = newest;
        self.apply();
    }

    /// A camera may change its picture's size in mid-stream: the region stays where it is in the scene.
    fn fit(&mut self, size: Size, outbound: &dyn Outbound) {
        let (meant_for, before) = self.sizes.unwrap_or((size, size));
        self.sizes = Some((meant_for, size));
        if before != size {
            // Nobody is where they were.
            let outcome = self.engine.finish(self.last_time);
            emit(self, &outcome, outbound);
            self.apply();
        }
    }

    fn apply(&mut self) {
        let mut settings = Arc::clone(&self.read);
        if let Some((meant_for, now)) = self.sizes.filter(|(meant_for, now)| meant_for != now) {
            let mut task = settings.task.clone();
            let (across, down) = (now.0 as f32 / meant_for.0 as f32, now.1 as f32 / meant_for.1 as f32);
            task.rules.roi = task.rules.roi.stretched(across, down);
            settings = Arc::new(Settings { task, node_id: settings.node_id.clone() });
        }
        if settings.task.rules != self.current.task.rules {
            self.engine.set_rules(Arc::new(settings.task.rules.clone()));
        }
        self.current = settings;
    }
}

/// Serves cameras in turn until the mailbox closes.
pub fn work<F: FindFaces>(mailbox: &Arc<Mailbox<Analysis>>, finder: &mut F, outbound: &dyn Outbound) {
    while let Some(mut lease) = mailbox.lease() {
        let (mail, analysis) = lease.parts();
        analysis.refresh();
        match mail {
            Mail::Frame(frame) => analyse(frame, analysis, finder, outbound),
            Mail::End => {
                let outcome = analysis.engine.finish(analysis.last_time);
                emit(analysis, &outcome, outbound);
                analysis.observer.drained();
            }
        }
    }
}

fn analyse<F: FindFaces>(frame: &Frame, analysis: &mut Analysis, finder: &mut F, outbound: &dyn Outbound) {
    let (started, mut cpu) = (clock::monotonic(), CpuLap::start());
    let Some(size) = analysis.size_for_rules(frame) else {
        analysis.progress.frames_unsized.fetch_add(1, Ordering::Relaxed);
        return;
    };
    analysis.fit(size, outbound);
    analysis.last_time = frame.stream_time;
    let rules_size = as_f32(size);
    let scale = Scale::between(as_f32(frame.size()), rules_size);
    let worth_looking = worth_looking(frame, analysis, scale);
    cpu.add_to(&analysis.progress.rules_cpu_ns);
    if !worth_looking {
        analysis.progress.frames_still.fetch_add(1, Ordering::Relaxed);
        return;
    }
    let rules = &analysis.current.task.rules;
    let detections: Vec<_> = match finder.find(frame, scale.back().window((rules.min_size_px, rules.max_size_px))) {
        Ok(detections) => detections.iter().map(|face| scale.detection(face)).collect(),
        Err(error) => {
            analysis.progress.frames_failed.fetch_add(1, Ordering::Relaxed);
            tracing::error!(task = %analysis.current.task.id, %error, "detection failed, frame left out");
            return;
        }
    };
    let detect = started.elapsed();
    cpu.add_to(&analysis.progress.detect_cpu_ns);

    let wants_origin = rules.send_origin_image && analysis.current.task.outputs.want(Category::OriginImage);
    let main = analysis.main.as_ref();
    let mut view = FrameView { frame, rules_size, scale, detections: &detections, wants_origin, main, origin: None };
    let outcome = analysis.engine.observe(frame.stream_time, &detections, &mut view);
    if analysis.observer.keeps_what_is_seen() {
        let faces: Vec<_> = detections.iter().map(|face| (*face, view.measure(face))).collect();
        let (at, taken_at, frame_size) = (frame.stream_time, frame.taken_at, view.frame_size());
        analysis.observer.seen(&Seen { at, taken_at, frame_size, faces: &faces });
    }
    cpu.add_to(&analysis.progress.rules_cpu_ns);
    emit(analysis, &outcome, outbound);

    let progress = &analysis.progress;
    progress.frames_analysed.fetch_add(1, Ordering::Relaxed);
    progress.faces_detected.fetch_add(detections.len() as u64, Ordering::Relaxed);
    let decode = frame.decoded.saturating_duration_since(frame.arrived);
    analysis.observer.timed(&Latency { decode, detect, whole: frame.arrived.elapsed() });
}

/// Processor time of this thread, from one stage to the next.
struct CpuLap(Duration);

impl CpuLap {
    fn start() -> Self {
        Self(clock::thread_cpu())
    }

    fn add_to(&mut self, stage_ns: &AtomicU64) {
        let now = clock::thread_cpu();
        stage_ns.fetch_add((now - self.0).as_nanos() as u64, Ordering::Relaxed);
        self.0 = now;
    }
}

fn as_f32((width, height): Size) -> (f32, f32) {
    (width as f32, height as f32)
}

/// Nobody is tracked and nothing moves: then a frame needs no detector.
fn worth_looking(frame: &Frame, analysis: &mut Analysis, scale: Scale) -> bool {
    let rules = &analysis.current.task.rules;
    let (min_px, _) = scale.back().window((rules.min_size_px, rules.max_size_px));
    let at = frame.stream_time;
    let opens = analysis.gate.opens(&frame.planes(), at, min_px, analysis.engine.tracks() > 0);
    analysis.idle.tell(analysis.gate.still_for(at) >= IDLE_AFTER);
    opens
}

/// The present frame, as the rules may ask of it.
struct FrameView<'a> {
    frame: &'a Frame,
    rules_size: (f32, f32),
    /// From the frame's pixels to the rules'.
    scale: Scale,
    detections: &'a [Detection],
    wants_origin: bool,
    main: Option<&'a Arc<dyn MainStream>>,
    origin: Option<Arc<Origin>>,
}

impl View for FrameView<'_> {
    type Picture = Arc<Picture>;

    fn frame_size(&self) -> (f32, f32) {
        self.rules_size
    }

    fn appearance(&mut self, face: &Detection) -> Option<Appearance> {
        let planes = self.frame.planes();
        let bbox = self.scale.back().rect(&face.bbox);
        Appearance::of(planes.y, planes.y_stride, planes.width, planes.height, bbox)
    }

    fn measure(&mut self, face: &Detection) -> Measure {
        let planes = self.frame.planes();
        let bbox = self.scale.back().rect(&face.bbox);
        rules::measure(planes.y, planes.y_stride, planes.width, planes.height, bbox)
    }

    fn cut(&mut self, face: &Detection) -> Arc<Picture> {
        let Self { frame, rules_size, detections, wants_origin, main, .. } = *self;
        let origin = || Arc::new(Origin::of(frame, rules_size, detections, wants_origin, main));
        let origin = self.origin.get_or_insert_with(origin);
        Arc::new(Picture::cut(frame, &self.scale.back().rect(&face.bbox), origin))
    }
}

fn emit(analysis: &mut Analysis, outcome: &Outcome<Arc<Picture>>, outbound: &dyn Outbound) {
    analysis.observer.decided(outcome, analysis.engine.tally());
    if outcome.sendings.is_empty() {
        return;
    }
    let mut cpu = CpuLap::start();
    let Settings { task, node_id } = &*analysis.current;
    let written = Writer { task, node_id, session: analysis.session }.write(&outcome.sendings);
    cpu.add_to(&analysis.progress.encode_cpu_ns);
    match written {
        Ok(Written { messages, main_decode }) => {
            analysis.progress.pictures_sent.fetch_add(outcome.sendings.len() as u64, Ordering::Relaxed);
            count_streams(&messages, &analysis.progress);
            analysis.progress.main_decode_ns.fetch_add(main_decode.as_nanos() as u64, Ordering::Relaxed);
            outbound.send(task, messages);
        }
        Err(error) => tracing::error!(task = %analysis.current.task.id, %error, "picture lost"),
    }
}

/// Out of which stream pictures were cut, of a camera that has two.
fn count_streams(messages: &[Message], progress: &Progress) {
    for message in messages {
        if let Message::Face(FaceImage { picture_stream: Some(stream), .. }) = message {
            let counter = match stream {
                PictureStream::Main => &progress.pictures_main,
                PictureStream::Detect => &progress.pictures_small,
            };
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }
}
