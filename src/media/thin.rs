//! Leaves out, before they are decoded, pictures that will not be analysed and that no other picture needs.
//!
//! Decoding is most of what a camera costs. Many files and some cameras code half of their pictures so that nothing
//! refers to them; of these, only the ones whose turn it is are worth decoding.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use gst::prelude::*;

use super::nal::{Codec, Format};
use super::tap::Feed;

/// Watches each decoder of H.264 or H.265 that the pipeline will come to have.
pub fn install(pipeline: &gst::Pipeline, feed: &Arc<Feed>) {
    let feed = Arc::clone(feed);
    pipeline.connect_deep_element_added(move |_, _, element| {
        let is_decoder = element.factory().is_some_and(|f| f.has_type(gst::ElementFactoryType::DECODER));
        if let Some(pad) = element.static_pad("sink").filter(|_| is_decoder) {
            watch(&pad, Arc::clone(&feed));
        }
    });
}

fn watch(pad: &gst::Pad, feed: Arc<Feed>) {
    let stream = parking_lot::Mutex::new(None::<(gst::Caps, Option<Stream>)>);
    pad.add_probe(gst::PadProbeType::BUFFER, move |pad, info| {
        let every = u64::from(feed.frame_skip.load(Ordering::Relaxed)) + 1;
        let (Some(buffer), Some(caps)) = (info.buffer(), pad.current_caps()) else { return gst::PadProbeReturn::Ok };
        if every == 1 {
            return gst::PadProbeReturn::Ok;
        }
        let mut known = stream.lock();
        if known.as_ref().is_none_or(|(known, _)| known.as_ptr() != caps.as_ptr()) {
            let stream = Stream::from_caps(&caps);
            *known = Some((caps, stream));
        }
        let stream = known.as_mut().and_then(|(_, stream)| stream.as_mut());
        if stream.is_some_and(|stream| stream.leaves_out(buffer, &feed, every)) {
            // The bindings take the buffer for consumed then; after `Drop`, both they and GStreamer would free it.
            gst::PadProbeReturn::Handled
        } else {
            gst::PadProbeReturn::Ok
        }
    });
}

struct Stream {
    format: Format,
    interval_ns: u64,
}

impl Stream {
    /// `None` where pictures cannot be told apart or have no rate: then all are decoded.
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

    fn leaves_out(&mut self, buffer: &gst::Buffer, feed: &Feed, every: u64) -> bool {
        let Some(pts_ns) = buffer.pts().map(gst::ClockTime::nseconds) else { return false };
        let Ok(bytes) = buffer.map_readable() else { return false };
        let disposable = self.format.is_disposable(&bytes);
        let mut beat = feed.beat.lock();
        // Asked for every picture, so that the first one is where the count begins.
        if beat.opens_a_run(pts_ns, self.interval_ns, every) || !disposable {
            return false;
        }
        beat.leave_out(pts_ns);
        feed.left_out.fetch_add(1, Ordering::Relaxed);
        true
    }
}
