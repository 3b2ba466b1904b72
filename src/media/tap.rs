//! The appsink's callback: counts each decoded frame, and hands the wanted ones on by reference.
//!
//! Runs in GStreamer's streaming thread. A frame that is not wanted goes back to the decoder at once, not mapped.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use gst::prelude::*;
use gst_video::VideoInfo;
use parking_lot::Mutex;

use super::FrameSink;
use super::arrivals::Arrivals;
use super::beat::Beat;
use super::capture_time::CaptureTime;
use super::sample::{DecodedPicture, color};
use super::still::Stillness;
use super::timeline::Timeline;
use crate::clock;
use crate::domain::{StreamTime, TimeSource, UnixMs};
use crate::frame::{Frame, Idle};

/// How often a wait for the analysis looks whether to stop.
const PATIENCE: Duration = Duration::from_millis(100);

/// What outlives a connection: shared by a camera's tap and its supervisor.
pub struct Feed {
    pub sink: Arc<dyn FrameSink>,
    pub frame_skip: Arc<AtomicU32>,
    pub idle: Arc<Idle>,
    pub stopping: AtomicBool,
    pub decoded: AtomicU64,
    /// Pictures that were not decoded, because nobody would have looked at them.
    pub left_out: AtomicU64,
    /// Of the threads that decode, in nanoseconds.
    pub decode_cpu_ns: AtomicU64,
    /// Key frames that came to a decoder.
    pub keys: AtomicU64,
    pub stillness: Mutex<Stillness>,
    /// When the last whole picture was decoded, or the camera was started.
    pub last_whole: Mutex<Instant>,
    pub beat: Mutex<Beat>,
    /// The same in both ways to play, so that they give the same messages.
    pub timeline: Mutex<Timeline>,
    /// Of the very first frame.
    pub start: Mutex<Option<(Instant, UnixMs)>>,
}

/// One connection.
pub struct Tap {
    feed: Arc<Feed>,
    /// Unknown until the first frame for http.
    is_file: Option<bool>,
    info: Option<(gst::Caps, VideoInfo)>,
    seen: Arc<Seen>,
}

/// What the supervisor wants to know of a connection.
pub struct Seen {
    /// The last whole picture.
    pub last_frame: Mutex<Instant>,
    /// What came in, before it was decoded.
    pub packets: AtomicU64,
    pub first: Mutex<Option<FirstFrame>>,
    pub last_time: Mutex<StreamTime>,
    pub arrivals: Mutex<Arrivals>,
    pub capture: Arc<Mutex<CaptureTime>>,
}

#[derive(Clone, Copy)]
pub struct FirstFrame {
    /// As it is by now.
    pub width: u32,
    pub height: u32,
    pub is_file: bool,
    pub at: Instant,
}

impl Seen {
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            last_frame: Mutex::new(clock::monotonic()),
            packets: AtomicU64::new(0),
            first: Mutex::new(None),
            last_time: Mutex::new(StreamTime::ZERO),
            arrivals: Mutex::default(),
            capture: Arc::default(),
        })
    }
}

impl Tap {
    pub fn install(sink: &gst_app::AppSink, feed: Arc<Feed>, is_file: Option<bool>, seen: Arc<Seen>) {
        feed.timeline.lock().reconnected();
        feed.beat.lock().reconnected();
        let mut tap = Self { feed, is_file, info: None, seen };
        sink.set_caps(Some(&super::link::sink_caps()));
        sink.set_callbacks(
            gst_app::AppSinkCallbacks::builder()
                .new_sample(move |sink| {
                    let sample = sink.pull_sample().map_err(|_| gst::FlowError::Eos)?;
                    tap.take(sink, &sample)
                })
                .build(),
        );
    }

    fn take(&mut self, sink: &gst_app::AppSink, sample: &gst::Sample) -> Result<gst::FlowSuccess, gst::FlowError> {
        let buffer = sample.buffer_owned().ok_or(gst::FlowError::Error)?;
        let info = self.info(sample.caps()).ok_or(gst::FlowError::NotNegotiated)?;
        let now = clock::monotonic();
        let is_file = self.is_file.unwrap_or_else(|| self.decide(sink));
        let damaged = !is_file && buffer.flags().contains(gst::BufferFlags::CORRUPTED);
        if !damaged {
            self.note_whole(&info, is_file, now);
        }
        self.feed.decoded.fetch_add(1, Ordering::Relaxed);
        self.feed.decode_cpu_ns.fetch_add(cpu_since_last_asked().as_nanos() as u64, Ordering::Relaxed);
        let arrived = buffer.pts().and_then(|pts| self.seen.arrivals.lock().of(pts.nseconds())).unwrap_or(now);
        let (stream_time, (taken_at, time_source)) = self.times(&buffer, &info, is_file, now);
        *self.seen.last_time.lock() = stream_time;
        let Some(number) = self.wanted(&buffer, damaged) else {
            return Ok(gst::FlowSuccess::Ok);
        };
        let moment = buffer.pts().map(|pts| self.seen.capture.lock().moment(pts.nseconds())).unwrap_or_default();
        let picture = DecodedPicture::map(buffer, &info).ok_or(gst::FlowError::NotNegotiated)?;
        let frame = Frame {
            buffer: Arc::new(picture),
            color: color(&info),
            stream_time,
            taken_at,
            arrived,
            decoded: now,
            time_source,
            moment,
            number,
        };
        if !is_file {
            let keys = self.feed.keys.load(Ordering::Relaxed);
            self.feed.stillness.lock().look(&frame.planes(), now, keys);
        }
        self.hand_on(frame, is_file)
    }

    /// Damaged pictures are no sign of life: a camera without key frames gives nothing else.
    fn note_whole(&self, info: &VideoInfo, is_file: bool, now: Instant) {
        *self.seen.last_frame.lock() = now;
        *self.feed.last_whole.lock() = now;
        let (width, height) = (info.width(), info.height());
        let mut first = self.seen.first.lock();
        let at = first.map_or(now, |first| first.at);
        *first = Some(FirstFrame { width, height, is_file, at });
    }

    /// The number of the picture, if it is its turn. A damaged one leaves its turn to the next.
    fn wanted(&self, buffer: &gst::BufferRef, damaged: bool) -> Option<u64> {
        let every = u64::from(self.feed.frame_skip.load(Ordering::Relaxed)) + 1;
        let mut beat = self.feed.beat.lock();
        let number = beat.count(buffer.pts().map(gst::ClockTime::nseconds));
        (!damaged && beat.take(number, every)).then_some(number)
    }

    /// Decides for http whether this is a file: it has an end in bytes and in time.
    fn decide(&mut self, sink: &gst_app::AppSink) -> bool {
        let in_time = sink.static_pad("sink").and_then(|pad| pad.peer_query_duration::<gst::ClockTime>());
        let pipeline = sink.parent().and_downcast::<gst::Bin>();
        let source = pipeline.and_then(|pipeline| pipeline.by_name(super::template::SOURCE));
        let in_bytes = source.and_then(|source| source.query_duration::<gst::format::Bytes>());
        let ends = in_time.is_some() && in_bytes.is_some();
        self.is_file = Some(ends);
        if !ends {
            sink.set_sync(false);
        }
        ends
    }

    fn info(&mut self, caps: Option<&gst::CapsRef>) -> Option<VideoInfo> {
        let caps = caps?;
        match &self.info {
            Some((known, info)) if known.as_ptr() == caps.as_ptr() => Some(info.clone()),
            _ => {
                let info = VideoInfo::from_caps(caps).ok()?;
                self.info = Some((caps.to_owned(), info.clone()));
                Some(info)
            }
        }
    }

    fn times(
        &self,
        buffer: &gst::BufferRef,
        info: &VideoInfo,
        is_file: bool,
        now: Instant,
    ) -> (StreamTime, (UnixMs, TimeSource)) {
        let (start, start_wall) = *self.feed.start.lock().get_or_insert_with(|| (now, clock::unix_ms()));
        let pts_ns = buffer.pts().map(gst::ClockTime::nseconds);
        let mut timeline = self.feed.timeline.lock();
        if is_file {
            let time = timeline.file(pts_ns, frame_ns(info));
            return (time, (start_wall + time.since(StreamTime::ZERO), TimeSource::File));
        }
        let time = timeline.live(pts_ns, now.saturating_duration_since(start));
        (time, self.seen.capture.lock().of(pts_ns, clock::unix_ms()))
    }

    fn hand_on(&self, frame: Frame, is_file: bool) -> Result<gst::FlowSuccess, gst::FlowError> {
        if !is_file {
            self.feed.sink.offer(frame);
            return Ok(gst::FlowSuccess::Ok);
        }
        let mut waiting = frame;
        while !self.feed.stopping.load(Ordering::Acquire) {
            match self.feed.sink.offer_waiting(waiting, PATIENCE) {
                Ok(()) => return Ok(gst::FlowSuccess::Ok),
                Err(back) => waiting = back,
            }
            // Waiting for the analysis is no silence of the source.
            *self.seen.last_frame.lock() = clock::monotonic();
        }
        Err(gst::FlowError::Flushing)
    }
}

thread_local! {
    static ASKED: Cell<Duration> = const { Cell::new(Duration::ZERO) };
}

/// What this thread has used since this was last called on it. A decoder and its sink share a thread, so that is what
/// decoding took.
fn cpu_since_last_asked() -> Duration {
    let now = clock::thread_cpu();
    now.saturating_sub(ASKED.replace(now))
}

fn frame_ns(info: &VideoInfo) -> u64 {
    let fps = info.fps();
    let (num, den) = (fps.numer().max(0) as u64, fps.denom().max(0) as u64);
    (1_000_000_000 * den).checked_div(num).unwrap_or(40_000_000)
}
