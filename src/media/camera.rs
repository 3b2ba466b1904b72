//! One camera: a thread that connects, watches, and for live sources connects again for ever.
//!
//! `run` retries, `run_once` is one connection from nothing to its end. A camera that is absent at the start takes
//! the same way as one that goes away. The pipeline is torn down and built anew each time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use gst::prelude::*;
use parking_lot::{Condvar, Mutex};

use super::backoff::Backoff;
use super::source::Source;
use super::tap::{Feed, FirstFrame, Seen, Tap};
use super::timeline::Timeline;
use super::{Fault, FaultKind, FrameSink, MediaError, SourceKind, coded, link, reference, template, thin};
use crate::clock;
use crate::frame::{Frame, Idle};

/// How often the supervisor looks up from its wait.
const TICK: gst::ClockTime = gst::ClockTime::from_mseconds(100);
/// Playing for this long makes the next trouble a new one.
const GOOD_PLAY: Duration = Duration::from_secs(10);
/// While packets come, the first picture may take this many times as long: it begins with a key frame, and some cameras
/// send few of them.
const FIRST_PICTURE: u32 = 3;
/// A file of which nothing came yet and on which no thread works for this many ticks gives nothing: decodebin loses
/// the error of a demuxer that fails while it is being plugged in.
const IDLE_TICKS: u32 = 10;
/// A file that ends this much before its own length was cut.
const CUT_SHORT: Duration = Duration::from_secs(1);

/// How a file is played; live sources have their own pace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// By the clock, as if it happened now.
    Live,
    /// As fast as the analysis takes it.
    Max,
}

#[derive(Clone)]
pub struct CameraSpec {
    pub url: String,
    pub pace: Pace,
    /// Frames left out between two that are analysed. May be changed while the camera runs.
    pub frame_skip: Arc<AtomicU32>,
    /// While it says so, only key frames of a live source are decoded.
    pub idle: Arc<Idle>,
    pub patience: Patience,
}

/// How long a live source may go on badly.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// Without a whole picture for this long it is given up and connected anew.
    pub frame: Duration,
    /// With a picture that has been the same to the last sample for this long it is said to stand still.
    pub still: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { frame: Duration::from_secs(10), still: Duration::from_secs(60) }
    }
}

impl CameraSpec {
    pub fn new(url: impl Into<String>, pace: Pace) -> Self {
        let (frame_skip, idle, patience) = Default::default();
        Self { url: url.into(), pace, frame_skip, idle, patience }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub enum CameraState {
    Connecting,
    /// Told again when the picture's size changes. `codec` as GStreamer names it (`video/x-h264`); `decoder` is the element that was chosen.
    Playing {
        width: u32,
        height: u32,
        codec: String,
        decoder: String,
    },
    /// Pictures come, and each is the same as the last. Ended by `Playing`.
    Still {
        fault: Fault,
    },
    /// A live source; try number `attempt` begins in `retry_in`.
    Recovering {
        fault: Fault,
        attempt: u32,
        retry_in: Duration,
    },
    /// The file is over. `cut_short`: it ended before its time, what decodes was delivered.
    Ended {
        cut_short: Option<Fault>,
    },
    /// A file that cannot be played.
    Failed {
        fault: Fault,
    },
}

/// Stops when dropped.
pub struct Camera {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    feed: Arc<Feed>,
    gate: Mutex<()>,
    wake: Condvar,
}

struct Supervisor<F> {
    source: Source,
    /// Pictures go here as they come, instead of being decoded.
    coded: Option<Arc<coded::Store>>,
    spec: CameraSpec,
    shared: Arc<Shared>,
    on_state: F,
}

enum Outcome {
    Stopped,
    Ended { cut_short: Option<Fault> },
    Fault { fault: Fault, is_file: bool, played: Duration },
}

/// Where no picture is decoded, none is handed on.
struct NoFrames;

impl FrameSink for NoFrames {
    fn offer(&self, _: Frame) {}

    fn offer_waiting(&self, _: Frame, _: Duration) -> Result<(), Frame> {
        Ok(())
    }

    fn end(&self) {}
}

static NEXT_CAMERA: AtomicU64 = AtomicU64::new(0);

impl Camera {
    /// Returns at once; `on_state` is called from the camera's own thread.
    pub fn start(
        spec: CameraSpec,
        sink: Arc<dyn FrameSink>,
        on_state: impl Fn(CameraState) + Send + 'static,
    ) -> Result<Self, MediaError> {
        Self::launch(spec, sink, None, on_state)
    }

    /// The same of an RTSP stream that is kept in its coded form.
    pub(super) fn start_coded(
        spec: CameraSpec,
        store: Arc<coded::Store>,
        on_state: impl Fn(CameraState) + Send + 'static,
    ) -> Result<Self, MediaError> {
        Self::launch(spec, Arc::new(NoFrames), Some(store), on_state)
    }

    fn launch(
        spec: CameraSpec,
        sink: Arc<dyn FrameSink>,
        coded: Option<Arc<coded::Store>>,
        on_state: impl Fn(CameraState) + Send + 'static,
    ) -> Result<Self, MediaError> {
        let source = Source::parse(&spec.url)?;
        let feed = Feed {
            sink,
            frame_skip: Arc::clone(&spec.frame_skip),
            idle: Arc::clone(&spec.idle),
            stopping: AtomicBool::new(false),
            decoded: AtomicU64::new(0),
            left_out: AtomicU64::new(0),
            decode_cpu_ns: AtomicU64::new(0),
            keys: AtomicU64::new(0),
            stillness: Mutex::default(),
            last_whole: Mutex::new(clock::monotonic()),
            beat: Mutex::default(),
            timeline: Mutex::new(Timeline::default()),
            start: Mutex::new(None),
        };
        let shared = Arc::new(Shared { feed: Arc::new(feed), gate: Mutex::new(()), wake: Condvar::new() });
        let supervisor = Supervisor { source, coded, spec, shared: Arc::clone(&shared), on_state };
        let name = format!("cam-{}", NEXT_CAMERA.fetch_add(1, Ordering::Relaxed));
        let thread = std::thread::Builder::new().name(name).spawn(move || supervisor.run())?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Since the start, those that were not wanted included.
    pub fn frames_decoded(&self) -> u64 {
        self.shared.feed.decoded.load(Ordering::Relaxed)
    }

    /// Since the start: pictures that nobody would have looked at and no other picture needed, so not decoded.
    pub fn frames_left_out(&self) -> u64 {
        self.shared.feed.left_out.load(Ordering::Relaxed)
    }

    /// Processor time that decoding has taken since the start.
    pub fn decode_cpu(&self) -> Duration {
        Duration::from_nanos(self.shared.feed.decode_cpu_ns.load(Ordering::Relaxed))
    }

    /// Since the last whole picture was decoded; of a camera that never gave one, since the start.
    pub fn last_frame_age(&self) -> Duration {
        clock::monotonic().saturating_duration_since(*self.shared.feed.last_whole.lock())
    }

    /// How long the picture has been the same to the last sample.
    pub fn still_for(&self) -> Duration {
        self.shared.feed.stillness.lock().lasted()
    }

    /// Returns when the last frame has been handed on.
    pub fn stop(self) {
        drop(self);
    }
}

impl Drop for Camera {
    fn drop(&mut self) {
        self.shared.stop();
        if let Some(thread) = self.thread.take() {
            // A panic in it has been reported by then.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn stop(&self) {
        let _gate = self.gate.lock();
        self.feed.stopping.store(true, Ordering::Release);
        self.wake.notify_all();
    }

    fn stopping(&self) -> bool {
        self.feed.stopping.load(Ordering::Acquire)
    }

    /// Whether the wait ended because of a stop.
    fn wait(&self, time: Duration) -> bool {
        let deadline = clock::monotonic() + time;
        let mut gate = self.gate.lock();
        while !self.stopping() {
            if self.wake.wait_until(&mut gate, deadline).timed_out() {
                return self.stopping();
            }
        }
        true
    }
}

impl<F: Fn(CameraState)> Supervisor<F> {
    fn run(self) {
        let mut backoff = Backoff::default();
        loop {
            (self.on_state)(CameraState::Connecting);
            let (fault, played) = match self.run_once() {
                Outcome::Stopped => return,
                Outcome::Ended { cut_short } => return self.finish(CameraState::Ended { cut_short }),
                Outcome::Fault { fault, is_file: true, .. } => return self.finish(CameraState::Failed { fault }),
                Outcome::Fault { fault, is_file: false, played } => (fault, played),
            };
            if played >= GOOD_PLAY {
                backoff.reset();
            }
            let (attempt, retry_in) = backoff.next(rand::random());
            (self.on_state)(CameraState::Recovering { fault, attempt, retry_in });
            if self.shared.wait(retry_in) {
                return;
            }
        }
    }

    fn finish(&self, state: CameraState) {
        (self.on_state)(state);
        self.shared.feed.sink.end();
    }

    fn run_once(&self) -> Outcome {
        let is_file = self.source.is_file(self.spec.pace);
        let seen = Seen::new();
        let built = self.build().and_then(|pipeline| self.prepare(&pipeline, is_file, &seen).map(|()| pipeline));
        let pipeline = match built {
            Ok(built) => built,
            Err(error) => {
                let fault = Fault { detail: error.to_string(), ..Fault::new(FaultKind::Other, &self.source) };
                return Outcome::Fault { fault, is_file: is_file == Some(true), played: Duration::ZERO };
            }
        };
        let outcome = self.watch(&pipeline, is_file, &seen);
        // Going to null cannot fail; it ends the streaming threads before it returns.
        let _ = pipeline.set_state(gst::State::Null);
        outcome
    }

    fn prepare(&self, pipeline: &gst::Pipeline, is_file: Option<bool>, seen: &Arc<Seen>) -> Result<(), MediaError> {
        link::count_packets(pipeline, seen);
        reference::install(pipeline, seen, &self.source.shown);
        if let Some(store) = &self.coded {
            return coded::install(pipeline, store, seen, &self.source.shown);
        }
        let sink = link::prepare(pipeline, self.source.kind)?;
        if let Some(sink) = sink.downcast_ref::<gst_app::AppSink>() {
            thin::install(pipeline, &self.shared.feed, seen);
            Tap::install(sink, Arc::clone(&self.shared.feed), is_file, Arc::clone(seen));
        }
        Ok(())
    }

    fn build(&self) -> Result<gst::Pipeline, MediaError> {
        let source = &self.source;
        let location = source.location.as_str();
        let mut values = match source.kind {
            SourceKind::File => vec![("path", location)],
            SourceKind::Http => vec![("url", location)],
            SourceKind::Rtsp => vec![("url", location), ("transport", source.transport())],
            SourceKind::V4l2 => vec![("device", location)],
            SourceKind::Test => vec![],
        };
        if matches!(source.kind, SourceKind::File | SourceKind::Http) {
            values.push(("sync", if self.spec.pace == Pace::Live { "true" } else { "false" }));
        }
        values.extend(source.user.as_deref().map(|user| ("user", user)));
        values.extend(source.password.as_deref().map(|password| ("password", password)));
        let template = if self.coded.is_some() { template::RTSP_CODED } else { source.kind.template() };
        template.build(&values)
    }

    fn watch(&self, pipeline: &gst::Pipeline, is_file: Option<bool>, seen: &Seen) -> Outcome {
        use gst::MessageType as Type;
        let bus = pipeline.bus().expect("every pipeline has a bus");
        // A failure is told in full by the message that follows.
        let _ = pipeline.set_state(gst::State::Playing);
        let mut watch = Watch {
            supervisor: self,
            pipeline,
            is_file,
            seen,
            missing: None,
            told: None,
            is_stuck: false,
            packets: (0, clock::monotonic()),
            length: None,
            idle: 0,
        };
        while !self.shared.stopping() {
            let message = bus.timed_pop_filtered(TICK, &[Type::Error, Type::Eos, Type::Element]);
            watch.look();
            let outcome = match message.as_ref().map(|message| message.view()) {
                Some(gst::MessageView::Element(element)) => watch.element(element),
                Some(gst::MessageView::Error(error)) => Some(watch.error(error)),
                Some(gst::MessageView::Eos(_)) => Some(watch.end()),
                _ => watch.stalled(),
            };
            if let Some(outcome) = outcome {
                return outcome;
            }
        }
        Outcome::Stopped
    }
}

/// One connection as its supervisor sees it.
struct Watch<'a, F> {
    supervisor: &'a Supervisor<F>,
    pipeline: &'a gst::Pipeline,
    is_file: Option<bool>,
    seen: &'a Seen,
    /// The video type for which there is no decoder.
    missing: Option<String>,
    /// The picture's size, as it was told.
    told: Option<(u32, u32)>,
    /// It was told that the picture stands still.
    is_stuck: bool,
    /// How many there were, and when that became more.
    packets: (u64, Instant),
    length: Option<Duration>,
    /// Ticks without a working thread.
    idle: u32,
}

impl<F: Fn(CameraState)> Watch<'_, F> {
    /// Tells of the first frame, of another size, and of a picture that stands still.
    fn look(&mut self) {
        let packets = self.seen.packets.load(Ordering::Relaxed);
        if packets != self.packets.0 {
            self.packets = (packets, clock::monotonic());
        }
        let Some(FirstFrame { width, height, is_file, .. }) = *self.seen.first.lock() else { return };
        let Supervisor { source, spec, shared, on_state, .. } = self.supervisor;
        if self.told.is_none() {
            self.is_file = Some(is_file);
            self.length = self.pipeline.query_duration::<gst::ClockTime>().map(Into::into);
        }
        let is_stuck = shared.feed.stillness.lock().is_stuck(spec.patience.still);
        if self.told != Some((width, height)) || (self.is_stuck && !is_stuck) {
            self.told = Some((width, height));
            self.is_stuck = false;
            let (codec, decoder) = video_decoder(self.pipeline);
            on_state(CameraState::Playing { width, height, codec, decoder });
        }
        if is_stuck && !self.is_stuck {
            self.is_stuck = true;
            on_state(CameraState::Still { fault: Fault::new(FaultKind::Still, source) });
        }
    }

    fn element(&mut self, message: &gst::message::Element) -> Option<Outcome> {
        let structure = message.structure().filter(|s| s.name() == "missing-plugin")?;
        let caps = structure.get::<gst::Caps>("detail").ok()?;
        let media_type = caps.structure(0)?;
        if media_type.name().starts_with("video/") {
            self.missing = Some(media_type.name().to_string());
        } else if media_type.get::<&str>("media") == Ok("video") {
            // Not even the packets can be read.
            self.missing = Some(media_type.get("encoding-name").unwrap_or_else(|_| media_type.name().to_string()));
        }
        None
    }

    fn error(&self, error: &gst::message::Error) -> Outcome {
        let fault = Fault::from_gst(error, self.missing.as_deref(), &self.supervisor.source);
        if self.told.is_some() && self.is_file == Some(true) {
            return Outcome::Ended { cut_short: Some(fault) };
        }
        self.fault(fault)
    }

    fn end(&self) -> Outcome {
        let source = &self.supervisor.source;
        if self.is_file != Some(true) {
            return self.fault(Fault::new(FaultKind::Disconnected, source));
        }
        if self.told.is_none() {
            let kind = if self.missing.is_some() { FaultKind::UnsupportedCodec } else { FaultKind::Broken };
            return self.fault(Fault::new(kind, source));
        }
        let reached = Duration::from_nanos(self.seen.last_time.lock().as_nanos());
        let is_cut = self.length.is_some_and(|length| reached + CUT_SHORT < length);
        Outcome::Ended { cut_short: is_cut.then(|| Fault::new(FaultKind::Broken, source)) }
    }

    fn stalled(&mut self) -> Option<Outcome> {
        let source = &self.supervisor.source;
        if source.kind == SourceKind::File {
            self.idle = if self.told.is_some() || any_thread_works(self.pipeline) { 0 } else { self.idle + 1 };
            return (self.idle > IDLE_TICKS).then(|| self.fault(Fault::new(FaultKind::Broken, source)));
        }
        let now = clock::monotonic();
        let patience = self.supervisor.spec.patience.frame;
        let silent = now.saturating_duration_since(*self.seen.last_frame.lock());
        let (packets, last_packet) = self.packets;
        if silent <= patience {
            return None;
        }
        if packets == 0 || now.saturating_duration_since(last_packet) > patience / 2 {
            let fault = Fault::new(FaultKind::Timeout, source);
            let seconds = silent.as_secs();
            return Some(self.fault(match packets {
                0 => fault.with_detail(format!("not one packet in {seconds} s")),
                _ => fault.with_detail(format!("no packet for {seconds} s")),
            }));
        }
        let limit = if self.told.is_some() { patience } else { patience * FIRST_PICTURE };
        (silent > limit).then(|| self.fault(Fault::new(FaultKind::NoKeyFrame, source)))
    }

    fn fault(&self, fault: Fault) -> Outcome {
        let first = self.seen.first.lock().map(|first| first.at);
        let played = first.map_or(Duration::ZERO, |at| self.seen.last_frame.lock().saturating_duration_since(at));
        Outcome::Fault { fault, is_file: self.is_file == Some(true), played }
    }
}

fn video_decoder(pipeline: &gst::Pipeline) -> (String, String) {
    let kind = gst::ElementFactoryType::DECODER | gst::ElementFactoryType::MEDIA_VIDEO;
    let found = pipeline.iterate_recurse().into_iter().flatten().find_map(|element| {
        let factory = element.factory().filter(|f| f.has_type(kind))?;
        let caps = element.static_pad("sink")?.current_caps()?;
        Some((caps.structure(0)?.name().to_string(), factory.name().to_string()))
    });
    found.unwrap_or_else(|| ("video/x-raw".to_owned(), "none".to_owned()))
}

fn any_thread_works(pipeline: &gst::Pipeline) -> bool {
    let elements = pipeline.iterate_recurse().into_iter().flatten();
    elements.flat_map(|element| element.pads()).any(|pad| pad.task_state() == gst::TaskState::Started)
}
