//! Reads the camera's own time off the packets of an RTSP stream, once sender reports have come.
//!
//! On the packets and not behind the decoder: which parsers and decoders carry the mark on is theirs to decide, while
//! presentation times go through all of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use gst::prelude::*;

use super::capture_time::Reference;
use super::tap::Seen;
use super::template::SOURCE;
use crate::clock;

/// Seconds from the epoch of NTP, 1900, to the one of Unix.
const NTP_TO_UNIX_S: i128 = 2_208_988_800;
const NTP: &str = "timestamp/x-ntp";

/// Watches the first stream of an `rtspsrc`; `place` is the camera's address as it may be shown.
pub fn install(pipeline: &gst::Pipeline, seen: &Arc<Seen>, place: &str) {
    let Some(source) = pipeline.by_name(SOURCE) else { return };
    let (seen, place, watched) = (Arc::clone(seen), Arc::<str>::from(place), AtomicBool::new(false));
    source.connect_pad_added(move |_, pad| {
        if watched.swap(true, Ordering::Relaxed) {
            return;
        }
        let (seen, place) = (Arc::clone(&seen), Arc::clone(&place));
        pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
            let Some(buffer) = info.buffer() else { return gst::PadProbeReturn::Ok };
            let Some(pts_ns) = buffer.pts().map(gst::ClockTime::nseconds) else { return gst::PadProbeReturn::Ok };
            let at = clock::uptime();
            let mut capture = seen.capture.lock();
            capture.arrived(pts_ns, at);
            let camera_ns = camera_time(buffer);
            let news = camera_ns
                .and_then(|camera_ns| capture.note(Reference { pts_ns, camera_ns, received: clock::unix_ms(), at }));
            drop(capture);
            if let Some((trusted, skew_ms)) = news {
                tell(&place, trusted, skew_ms);
            }
            gst::PadProbeReturn::Ok
        });
    });
}

/// Nanoseconds since the Unix epoch by the camera's clock.
fn camera_time(buffer: &gst::BufferRef) -> Option<i128> {
    let mut marks = buffer.iter_meta::<gst::ReferenceTimestampMeta>();
    let mark = marks.find(|mark| mark.reference().structure(0).is_some_and(|s| s.name() == NTP))?;
    let unix_ns = i128::from(mark.timestamp().nseconds()) - NTP_TO_UNIX_S * 1_000_000_000;
    // A report without a clock behind it says zero (RFC 3550, 6.4.1).
    (unix_ns >= 0).then_some(unix_ns)
}

fn tell(place: &str, trusted: bool, skew_ms: i64) {
    if trusted {
        tracing::debug!(place, skew_ms, "pictures are dated by the camera's clock");
    } else {
        tracing::warn!(
            place,
            skew_ms,
            "the camera's clock is too far from this box's: pictures are dated by when they come; set the camera's clock"
        );
    }
}
