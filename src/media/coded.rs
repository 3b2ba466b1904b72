//! The main stream of a camera as it comes, not decoded: from its parser into the ring of segments.

use std::sync::Arc;

use gst::prelude::*;
use parking_lot::Mutex;

use super::MediaError;
use super::link;
use super::segment::{Put, Ring, Unit};
use super::tap::{FirstFrame, Seen};
use super::template::{DECODE, FRAMES, RTSP_CODED, SOURCE};
use crate::clock;

pub type CodedRing = Ring<gst::Buffer, gst::Caps>;

/// Where a main stream's pictures go, through all its connections.
#[derive(Default)]
pub struct Store {
    pub ring: CodedRing,
    /// Width and height, of the newest key frame.
    pub size: Mutex<Option<(usize, usize)>>,
}

/// Each parser, and the form in which it is to give the stream: whole pictures, with their parameter sets.
const PARSERS: [(&str, &str, &str); 2] = [
    ("video/x-h264", "h264parse", "video/x-h264,stream-format=byte-stream,alignment=au"),
    ("video/x-h265", "h265parse", "video/x-h265,stream-format=byte-stream,alignment=au"),
];

/// Prepares a pipeline of the template for coded pictures; `place` is the camera's address as it may be shown.
pub fn install(pipeline: &gst::Pipeline, store: &Arc<Store>, seen: &Arc<Seen>, place: &str) -> Result<(), MediaError> {
    let missing = || MediaError::Template { template: RTSP_CODED.name, problem: "an element is missing".to_owned() };
    let part = |name: &str| pipeline.by_name(name).ok_or_else(missing);
    link::video_only(&part(SOURCE)?);
    let sink = part(FRAMES)?.downcast::<gst_app::AppSink>().map_err(|_| missing())?;
    store.ring.restart();
    let mut intake = Intake { store: Arc::clone(store), seen: Arc::clone(seen), place: place.to_owned(), told: false };
    let take = move |sink: &gst_app::AppSink| {
        let sample = sink.pull_sample().map_err(|_| gst::FlowError::Eos)?;
        intake.take(&sample).ok_or(gst::FlowError::Error)
    };
    sink.set_callbacks(gst_app::AppSinkCallbacks::builder().new_sample(take).build());
    let (bin, sink) = (pipeline.downgrade(), sink.downgrade());
    part(DECODE)?.connect_pad_added(move |_, pad| {
        let (Some(bin), Some(sink)) = (bin.upgrade(), sink.upgrade()) else { return };
        if let Err(error) = plug(&bin, pad, &sink) {
            gst::element_error!(sink, gst::StreamError::CodecNotFound, ["{error}"]);
        }
    });
    Ok(())
}

/// Puts the codec's parser between the stream and the sink.
fn plug(bin: &gst::Pipeline, pad: &gst::Pad, sink: &gst_app::AppSink) -> Result<(), gst::glib::BoolError> {
    if sink.static_pad("sink").is_some_and(|pad| pad.is_linked()) {
        return Ok(());
    }
    let caps = pad.current_caps().unwrap_or_else(|| pad.query_caps(None));
    let name = caps.structure(0).map(|structure| structure.name().to_string()).unwrap_or_default();
    let (_, parser, form) = PARSERS
        .iter()
        .find(|(media_type, ..)| *media_type == name)
        .ok_or_else(|| gst::glib::bool_error!("{} is neither H.264 nor H.265", name))?;
    // Parameter sets with every key frame: each segment is decoded by itself.
    let parser = gst::ElementFactory::make(parser).property("config-interval", -1).build()?;
    let filter = gst::ElementFactory::make("capsfilter").property_from_str("caps", form).build()?;
    bin.add_many([&parser, &filter])?;
    gst::Element::link_many([&parser, &filter, sink.upcast_ref()])?;
    filter.sync_state_with_parent()?;
    parser.sync_state_with_parent()?;
    let entry = parser.static_pad("sink").ok_or_else(|| gst::glib::bool_error!("the parser has no entry"))?;
    pad.link(&entry).map(drop).map_err(|error| gst::glib::bool_error!("{error}"))
}

/// One connection.
struct Intake {
    store: Arc<Store>,
    seen: Arc<Seen>,
    place: String,
    /// That a segment was full, once.
    told: bool,
}

impl Intake {
    fn take(&mut self, sample: &gst::Sample) -> Option<gst::FlowSuccess> {
        let (buffer, caps) = (sample.buffer_owned()?, sample.caps_owned()?);
        let now = clock::monotonic();
        *self.seen.last_frame.lock() = now;
        // A picture without a time cannot be asked for.
        let Some(pts_ns) = buffer.pts().map(gst::ClockTime::nseconds) else { return Some(gst::FlowSuccess::Ok) };
        let is_key = !buffer.flags().contains(gst::BufferFlags::DELTA_UNIT);
        let unit = Unit { bytes: buffer.size(), data: buffer, pts_ns };
        if is_key {
            self.note_size(&caps, now);
            self.store.ring.begin(&self.seen.capture, caps, unit);
        } else if self.store.ring.put(unit) == Put::Full && !std::mem::replace(&mut self.told, true) {
            tracing::warn!(
                place = self.place,
                "key frames are too far apart to keep what lies between: pictures late in such a stretch are cut from \
                 the small stream; set the camera to a key frame every second or two"
            );
        }
        Some(gst::FlowSuccess::Ok)
    }

    fn note_size(&self, caps: &gst::CapsRef, at: std::time::Instant) {
        let side =
            |name| caps.structure(0).and_then(|s| s.get::<i32>(name).ok()).and_then(|side| u32::try_from(side).ok());
        let (Some(width), Some(height)) = (side("width"), side("height")) else { return };
        *self.store.size.lock() = Some((width as usize, height as usize));
        let mut first = self.seen.first.lock();
        let at = first.map_or(at, |first| first.at);
        *first = Some(FirstFrame { width, height, is_file: false, at });
    }
}
