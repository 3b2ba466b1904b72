//! The compressed pictures of a video file, held in memory so that a camera can play them round and round.

use std::path::Path;

use gst::prelude::*;

use super::camera::SimError;

/// The parser of the codec is plugged in once parsebin knows it.
const READ: &str = "filesrc name=source ! parsebin name=parse  appsink name=packets sync=false max-buffers=64";
const LOAD_PATIENCE: gst::ClockTime = gst::ClockTime::from_seconds(30);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Codec {
    H264,
    H265,
}

/// One access unit and when it is due, from the clip's start.
pub struct Packet {
    pub buffer: gst::Buffer,
    pub decode_at: gst::ClockTime,
    pub show_at: gst::ClockTime,
}

pub struct Clip {
    pub codec: Codec,
    pub caps: gst::Caps,
    pub packets: Vec<Packet>,
    /// From the first packet to where the next round begins.
    pub duration: gst::ClockTime,
}

impl Codec {
    fn of(caps: &gst::Caps) -> Option<Self> {
        match caps.structure(0)?.name().as_str() {
            "video/x-h264" => Some(Self::H264),
            "video/x-h265" => Some(Self::H265),
            _ => None,
        }
    }

    fn parser(self) -> (&'static str, &'static str) {
        match self {
            Self::H264 => ("h264parse", "video/x-h264,stream-format=byte-stream,alignment=au"),
            Self::H265 => ("h265parse", "video/x-h265,stream-format=byte-stream,alignment=au"),
        }
    }
}

impl Clip {
    pub fn load(path: &Path) -> Result<Self, SimError> {
        let fail = |problem: &str| SimError::Video { path: path.to_owned(), problem: problem.to_owned() };
        let location = path.to_str().ok_or_else(|| fail("its name is no UTF-8 text"))?;
        let pipeline = gst::parse::launch(READ)?.downcast::<gst::Pipeline>().expect("the text is a whole pipeline");
        pipeline.by_name("source").expect("named in the text").set_property("location", location);
        let sink = pipeline.by_name("packets").and_downcast::<gst_app::AppSink>().expect("named in the text");
        plug_parser(&pipeline, &sink);
        let samples = read_all(&pipeline, &sink);
        // Going to null cannot fail.
        let _ = pipeline.set_state(gst::State::Null);
        Self::of(samples.map_err(|problem| fail(&problem))?).ok_or_else(|| fail("holds no H.264 or H.265 video"))
    }

    fn of(samples: Vec<gst::Sample>) -> Option<Self> {
        let caps = samples.first()?.caps_owned()?;
        let codec = Codec::of(&caps)?;
        let buffers: Vec<gst::Buffer> = samples.iter().filter_map(|sample| sample.buffer_owned()).collect();
        let shown = |b: &gst::Buffer| b.pts().or(b.dts());
        let decoded = |b: &gst::Buffer| b.dts().or(b.pts());
        let start = buffers.iter().filter_map(decoded).min()?;
        let (first, last) = (buffers.iter().filter_map(shown).min()?, buffers.iter().filter_map(shown).max()?);
        let span = last.saturating_sub(first);
        let frame = match u64::try_from(buffers.len()).ok()? {
            1 => gst::ClockTime::from_mseconds(40),
            count => gst::ClockTime::from_nseconds(span.nseconds() / (count - 1)),
        };
        let packets = buffers.into_iter().filter_map(|mut buffer| {
            let (decode_at, show_at) = (decoded(&buffer)?.saturating_sub(start), shown(&buffer)?.saturating_sub(start));
            let fresh = buffer.make_mut();
            fresh.set_flags(fresh.flags() - gst::BufferFlags::DISCONT);
            Some(Packet { buffer, decode_at, show_at })
        });
        Some(Self { codec, caps, packets: packets.collect(), duration: span + frame })
    }
}

fn plug_parser(pipeline: &gst::Pipeline, sink: &gst_app::AppSink) {
    let (bin, sink) = (pipeline.downgrade(), sink.downgrade());
    let parse = pipeline.by_name("parse").expect("named in the text");
    parse.connect_pad_added(move |_, pad| {
        let (Some(bin), Some(sink)) = (bin.upgrade(), sink.upgrade()) else { return };
        let Some(codec) = Codec::of(&pad.current_caps().unwrap_or_else(|| pad.query_caps(None))) else { return };
        if sink.static_pad("sink").is_some_and(|pad| pad.is_linked()) {
            return;
        }
        if let Err(error) = plug(&bin, pad, codec, &sink) {
            gst::element_error!(sink, gst::CoreError::Negotiation, ["{error}"]);
        }
    });
}

fn plug(
    bin: &gst::Pipeline,
    pad: &gst::Pad,
    codec: Codec,
    sink: &gst_app::AppSink,
) -> Result<(), gst::glib::BoolError> {
    let (parser, caps) = codec.parser();
    // Parameter sets before every key frame: a client may come at any time.
    let parser = gst::ElementFactory::make(parser).property("config-interval", -1).build()?;
    let filter = gst::ElementFactory::make("capsfilter").property_from_str("caps", caps).build()?;
    bin.add_many([&parser, &filter])?;
    gst::Element::link_many([&parser, &filter, sink.upcast_ref()])?;
    parser.sync_state_with_parent()?;
    filter.sync_state_with_parent()?;
    let entry = parser.static_pad("sink").ok_or_else(|| gst::glib::bool_error!("the parser has no entry"))?;
    pad.link(&entry).map(drop).map_err(|error| gst::glib::bool_error!("{error}"))
}

fn read_all(pipeline: &gst::Pipeline, sink: &gst_app::AppSink) -> Result<Vec<gst::Sample>, String> {
    let bus = pipeline.bus().expect("every pipeline has a bus");
    // A failure is told in full by the message that follows.
    let _ = pipeline.set_state(gst::State::Playing);
    let mut samples = Vec::new();
    loop {
        match sink.try_pull_sample(gst::ClockTime::from_mseconds(50)) {
            Some(sample) => samples.push(sample),
            None if sink.is_eos() => return Ok(samples),
            None => {}
        }
        // A file with sound only never reaches the sink: it ends by an error, by the pipeline's end or by our patience.
        let message = bus.pop_filtered(&[gst::MessageType::Error, gst::MessageType::Eos]);
        match message.as_ref().map(|message| message.view()) {
            Some(gst::MessageView::Error(error)) => return Err(error.error().message().to_owned()),
            Some(gst::MessageView::Eos(_)) => return Ok(samples),
            _ => {}
        }
        let waited = pipeline.current_running_time().unwrap_or_default();
        if samples.is_empty() && waited > LOAD_PATIENCE {
            return Err("nothing in it can be read".to_owned());
        }
    }
}
