//! Leaves out, before they are decoded, pictures that will not be analysed and that no other picture needs; and, of a
//! camera that watches an idle scene, all but the key frames.
//!
//! Decoding is most of what a camera costs. Many files and some cameras code half of their pictures so that nothing
//! refers to them; of these, only the ones whose turn it is are worth decoding.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use gst::prelude::*;

use super::link;
use super::nal::{Codec, Format};
use super::tap::{Feed, Seen};
use crate::clock;

/// A scene whose key frames come more rarely is decoded in full: nobody should be missed for longer.
const KEY_INTERVAL_MAX_NS: u64 = 5_000_000_000;
/// After a key frame the stream is decoded on until the analysis has looked at it, so that there is no gap where somebody
/// is seen in it; some decoders show a picture only when the next ones have come. But no longer than this.
const AFTER_KEY_MAX_NS: u64 = 200_000_000;

/// Watches each decoder that the pipeline will come to have.
pub fn install(pipeline: &gst::Pipeline, feed: &Arc<Feed>, seen: &Arc<Seen>) {
    let (feed, seen) = (Arc::clone(feed), Arc::clone(seen));
    pipeline.connect_deep_element_added(move |_, _, element| {
        if let Some(pad) = element.static_pad("sink").filter(|_| link::is_decoder(element)) {
            watch(&pad, Arc::clone(&feed), Arc::clone(&seen));
        }
    });
}

fn watch(pad: &gst::Pad, feed: Arc<Feed>, seen: Arc<Seen>) {
    let watched = parking_lot::Mutex::new(Watched::default());
    pad.add_probe(gst::PadProbeType::BUFFER, move |pad, info| {
        let (Some(buffer), Some(caps)) = (info.buffer(), pad.current_caps()) else { return gst::PadProbeReturn::Ok };
        let mut watched = watched.lock();
        watched.note(buffer, caps);
        if is_key(buffer) {
            feed.keys.fetch_add(1, Ordering::Relaxed);
        }
        let sparse = watched.leaves_all_but_keys(buffer, &feed);
        if sparse && watched.keys_go_on(buffer) {
            // The source is well, it is we who look away.
            *seen.last_frame.lock() = clock::monotonic();
        }
        if sparse || watched.leaves_out(buffer, &feed) {
            feed.left_out.fetch_add(1, Ordering::Relaxed);
            if let Some(pts) = buffer.pts() {
                feed.beat.lock().leave_out(pts.nseconds());
            }
            // The bindings take the buffer for consumed then; after `Drop`, both they and GStreamer would free it.
            return gst::PadProbeReturn::Handled;
        }
        if let Some(pts) = buffer.pts() {
            seen.arrivals.lock().note(pts.nseconds(), clock::monotonic());
        }
        gst::PadProbeReturn::Ok
    });
}

#[derive(Default)]
struct Watched {
    caps: Option<gst::Caps>,
    /// `None` where pictures cannot be told apart or have no rate.
    stream: Option<Stream>,
    keys: Keys,
}

/// The stream's key frames, and whether one has to be waited for.
#[derive(Default)]
struct Keys {
    last_ns: Option<u64>,
    interval_ns: Option<u64>,
    /// Pictures were left out that the coming ones refer to.
    broken: bool,
}

struct Stream {
    format: Format,
    interval_ns: u64,
}

impl Watched {
    fn note(&mut self, buffer: &gst::BufferRef, caps: gst::Caps) {
        if self.caps.as_ref().is_none_or(|known| known.as_ptr() != caps.as_ptr()) {
            self.stream = Stream::from_caps(&caps);
            self.caps = Some(caps);
        }
        if let Some(pts_ns) = buffer.pts().map(gst::ClockTime::nseconds).filter(|_| is_key(buffer)) {
            self.keys.interval_ns = self.keys.last_ns.and_then(|last| pts_ns.checked_sub(last));
            self.keys.last_ns = Some(pts_ns);
        }
    }

    /// In an idle scene, and from there to the next key frame.
    fn leaves_all_but_keys(&mut self, buffer: &gst::BufferRef, feed: &Feed) -> bool {
        if is_key(buffer) {
            self.keys.broken = false;
            feed.idle.ask();
            return false;
        }
        let often_enough = self.keys.interval_ns.is_some_and(|interval| interval <= KEY_INTERVAL_MAX_NS);
        let since_key = buffer.pts().zip(self.keys.last_ns).map(|(pts, key)| pts.nseconds().saturating_sub(key));
        let settled = since_key.is_some_and(|since| since > AFTER_KEY_MAX_NS || feed.idle.is_answered());
        self.keys.broken |= often_enough && settled && feed.idle.get();
        self.keys.broken
    }

    /// A camera that sends no key frames any more is not well.
    fn keys_go_on(&self, buffer: &gst::BufferRef) -> bool {
        let since_key = buffer.pts().zip(self.keys.last_ns).map(|(pts, key)| pts.nseconds().saturating_sub(key));
        since_key.is_some_and(|since| since <= 2 * KEY_INTERVAL_MAX_NS)
    }

    fn leaves_out(&mut self, buffer: &gst::BufferRef, feed: &Feed) -> bool {
        let every = u64::from(feed.frame_skip.load(Ordering::Relaxed)) + 1;
        let Some(stream) = self.stream.as_mut().filter(|_| every > 1) else { return false };
        let Some(pts_ns) = buffer.pts().map(gst::ClockTime::nseconds) else { return false };
        // Both are asked for every picture: the first one is where the count begins, key frames tell of the layers.
        let opens_a_run = feed.beat.lock().opens_a_run(pts_ns, stream.interval_ns, every);
        let disposable = buffer.map_readable().is_ok_and(|bytes| stream.format.is_disposable(&bytes));
        disposable && !opens_a_run
    }
}

fn is_key(buffer: &gst::BufferRef) -> bool {
    !buffer.flags().contains(gst::BufferFlags::DELTA_UNIT)
}

impl Stream {
    fn from_caps(caps: &gst::CapsRef) -> Option<Self> {
        let structure = caps.structure(0)?;
        let codec = match structure.name().as_str() {
            "video/x-h264" => Codec::H264,
            "video/x-h265" => Codec::H265,
            _ => return None,
        };
        if structure.get::<&str>("alignment").ok() != Some("au") {
            return None;
        }
        let format = match structure.get::<&str>("stream-format").ok()? {
            "byte-stream" => Format::with_start_codes(codec),
            _ => {
                let record = structure.get::<gst::Buffer>("codec_data").ok()?;
                Format::with_lengths(codec, &record.map_readable().ok()?)?
            }
        };
        let rate = structure.get::<gst::Fraction>("framerate").ok()?;
        let (pictures, seconds) = (u64::try_from(rate.numer()).ok()?, u64::try_from(rate.denom()).ok()?);
        let interval_ns = (seconds * 1_000_000_000).checked_div(pictures)?;
        Some(Self { format, interval_ns })
    }
}
