//! The way of a frame: lease → detect → rules → picture → message → outbox.
//!
//! A detector thread runs [`work`]. It takes one camera's newest frame together with that camera's [`Analysis`],
//! finds the faces, lets the rules decide, cuts and encodes only what is sent, and hands the messages on. A frame is
//! analysed under one [`Settings`] from beginning to end, so a rule never sees half of an old and half of a new
//! configuration.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use uuid::Uuid;

use crate::clock;
use crate::domain::{
    Category, Detection, FaceImage, Message, OriginFace, OriginImage, Rect, StreamTime, Task, TimeSource, UnixMs,
};
use crate::frame::Frame;
use crate::frame::PixelBuffer;
use crate::mailbox::{Mail, Mailbox};
use crate::motion::MotionGate;
use crate::rules::{self, Appearance, Engine, Measure, Outcome, Sending, Tally, View};
use crate::snapshot::{self, Crop, SnapshotError};
use crate::veil::veil;

/// A scene that has been still and empty for so long may be decoded sparsely.
const IDLE_AFTER: Duration = Duration::from_secs(10);

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
    idle: Arc<AtomicBool>,
    /// Track ids are made of it: the same run names a track the same way.
    session: Uuid,
    last_time: StreamTime,
    progress: Arc<Progress>,
    observer: Box<dyn Observer>,
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
        idle: Arc<AtomicBool>,
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
        }
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

    fn face_id(&self, track: u64) -> Uuid {
        face_id(self.session, track)
    }
}

/// What a track of a run is called outside.
pub fn face_id(session: Uuid, track: u64) -> Uuid {
    Uuid::new_v5(&session, &track.to_be_bytes())
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
    analysis.fit(frame.size(), outbound);
    analysis.last_time = frame.stream_time;
    let worth_looking = worth_looking(frame, analysis);
    cpu.add_to(&analysis.progress.rules_cpu_ns);
    if !worth_looking {
        analysis.progress.frames_still.fetch_add(1, Ordering::Relaxed);
        return;
    }
    let rules = &analysis.current.task.rules;
    let detections = match finder.find(frame, (rules.min_size_px, rules.max_size_px)) {
        Ok(detections) => detections,
        Err(error) => {
            analysis.progress.frames_failed.fetch_add(1, Ordering::Relaxed);
            tracing::error!(task = %analysis.current.task.id, %error, "detection failed, frame left out");
            return;
        }
    };
    let detect = started.elapsed();
    cpu.add_to(&analysis.progress.detect_cpu_ns);

    let wants_origin = rules.send_origin_image && analysis.current.task.outputs.want(Category::OriginImage);
    let mut view = FrameView { frame, detections: &detections, keep_frame: wants_origin, origin: None };
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

/// Nobody is tracked and nothing moves: then a frame needs no detector.
fn worth_looking(frame: &Frame, analysis: &mut Analysis) -> bool {
    let (at, min_px) = (frame.stream_time, analysis.current.task.rules.min_size_px);
    let opens = analysis.gate.opens(&frame.planes(), at, min_px, analysis.engine.tracks() > 0);
    analysis.idle.store(analysis.gate.still_for(at) >= IDLE_AFTER, Ordering::Relaxed);
    opens
}

/// What the rules keep of a frame for one face.
pub struct Picture {
    crop: Crop,
    detection_id: Uuid,
    origin: Arc<Origin>,
}

/// The frame behind pictures, joined by its id; its pixels are kept only where an OriginImage is wanted.
struct Origin {
    id: Uuid,
    taken_at: UnixMs,
    time_source: TimeSource,
    frame: Option<Frame>,
    /// All faces of that frame, where the frame is kept.
    faces: Vec<Rect>,
    sent: AtomicBool,
}

/// The present frame, as the rules may ask of it.
struct FrameView<'a> {
    frame: &'a Frame,
    detections: &'a [Detection],
    keep_frame: bool,
    origin: Option<Arc<Origin>>,
}

impl View for FrameView<'_> {
    type Picture = Arc<Picture>;

    fn frame_size(&self) -> (f32, f32) {
        let (width, height) = self.frame.size();
        (width as f32, height as f32)
    }

    fn appearance(&mut self, face: &Detection) -> Option<Appearance> {
        let planes = self.frame.planes();
        Appearance::of(planes.y, planes.y_stride, planes.width, planes.height, face.bbox)
    }

    fn measure(&mut self, face: &Detection) -> Measure {
        let planes = self.frame.planes();
        rules::measure(planes.y, planes.y_stride, planes.width, planes.height, face.bbox)
    }

    fn cut(&mut self, face: &Detection) -> Arc<Picture> {
        let frame = self.frame;
        let faces = || self.detections.iter().map(|face| face.bbox).collect();
        let origin = self.origin.get_or_insert_with(|| {
            Arc::new(Origin {
                id: Uuid::new_v4(),
                taken_at: frame.taken_at,
                time_source: frame.time_source,
                frame: self.keep_frame.then(|| frame.clone()),
                faces: if self.keep_frame { faces() } else { Vec::new() },
                sent: AtomicBool::new(false),
            })
        });
        Arc::new(Picture {
            crop: Crop::of_face(&frame.planes(), frame.color, &face.bbox),
            detection_id: Uuid::new_v4(),
            origin: Arc::clone(origin),
        })
    }
}

fn emit(analysis: &mut Analysis, outcome: &Outcome<Arc<Picture>>, outbound: &dyn Outbound) {
    analysis.observer.decided(outcome, analysis.engine.tally());
    if outcome.sendings.is_empty() {
        return;
    }
    let mut cpu = CpuLap::start();
    let messages = messages(analysis, &outcome.sendings);
    cpu.add_to(&analysis.progress.encode_cpu_ns);
    match messages {
        Ok(messages) => {
            analysis.progress.pictures_sent.fetch_add(outcome.sendings.len() as u64, Ordering::Relaxed);
            outbound.send(&analysis.current.task, messages);
        }
        Err(error) => tracing::error!(task = %analysis.current.task.id, %error, "picture lost"),
    }
}

/// The faces, and then the frames they were cut from, each frame once.
fn messages(analysis: &Analysis, sendings: &[Sending<Arc<Picture>>]) -> Result<Vec<Message>, SnapshotError> {
    let mut out = Vec::with_capacity(sendings.len() + 1);
    if analysis.current.task.outputs.want(Category::FaceImage) {
        for sending in sendings {
            out.push(Message::Face(face_image(analysis, sending)?));
        }
    }
    for sending in sendings {
        let origin = &sending.shot.picture.origin;
        if let Some(frame) = &origin.frame
            && !origin.sent.swap(true, Ordering::Relaxed)
        {
            let same_frame = sendings.iter().filter(|other| other.shot.picture.origin.id == origin.id);
            let faces = same_frame.map(|other| origin_face(analysis, other)).collect();
            out.push(Message::Origin(origin_image(analysis, origin, frame, faces)?));
        }
    }
    Ok(out)
}

fn face_image(analysis: &Analysis, sending: &Sending<Arc<Picture>>) -> Result<FaceImage, SnapshotError> {
    let Settings { task, node_id } = &*analysis.current;
    let Sending { track, seq, reason, shot } = sending;
    let picture = &shot.picture;
    Ok(FaceImage {
        message_id: Uuid::new_v4(),
        task_id: task.id.clone(),
        stream_id: task.stream_id(),
        node_id: node_id.clone(),
        face_id: analysis.face_id(*track),
        detection_id: picture.detection_id,
        origin_image_id: picture.origin.id,
        taken_at: picture.origin.taken_at,
        time_source: picture.origin.time_source,
        stream_time: shot.at,
        bbox: shot.detection.bbox,
        confidence: shot.detection.score,
        quality: shot.quality.score,
        landmarks: shot.detection.landmarks,
        reason: *reason,
        seq: *seq,
        person: None,
        jpeg: picture.crop.jpeg(task.rules.jpeg_quality)?.into(),
    })
}

fn origin_face(analysis: &Analysis, sending: &Sending<Arc<Picture>>) -> OriginFace {
    OriginFace {
        face_id: analysis.face_id(sending.track),
        detection_id: sending.shot.picture.detection_id,
        bbox: sending.shot.detection.bbox,
    }
}

fn origin_image(
    analysis: &Analysis,
    origin: &Origin,
    frame: &Frame,
    faces: Vec<OriginFace>,
) -> Result<OriginImage, SnapshotError> {
    let Settings { task, node_id } = &*analysis.current;
    Ok(OriginImage {
        message_id: Uuid::new_v4(),
        task_id: task.id.clone(),
        stream_id: task.stream_id(),
        node_id: node_id.clone(),
        origin_image_id: origin.id,
        taken_at: origin.taken_at,
        time_source: origin.time_source,
        stream_time: frame.stream_time,
        jpeg: origin_jpeg(task, origin, frame, &faces)?.into(),
        faces,
    })
}

/// As it is, or with all that is not reported made unrecognisable.
fn origin_jpeg(task: &Task, origin: &Origin, frame: &Frame, reported: &[OriginFace]) -> Result<Vec<u8>, SnapshotError> {
    let quality = task.rules.jpeg_quality;
    if !task.rules.veil_origin_image {
        return snapshot::jpeg(&frame.planes(), frame.color, quality);
    }
    let keep: Vec<_> = reported.iter().map(|face| face.bbox).collect();
    let hide: Vec<_> = origin.faces.iter().filter(|face| !keep.contains(face)).copied().collect();
    let veiled = veil(&frame.planes(), &hide, &keep, &task.rules.roi);
    snapshot::jpeg(&veiled.planes(), frame.color, quality)
}
