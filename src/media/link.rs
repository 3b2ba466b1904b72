//! From the decoder's pad to the sink: straight where the decoder gives I420 or NV12 in plain memory, with a
//! conversion plugged in between only where it does not.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use gst::prelude::*;

use super::picture_memory::PictureAllocator;
use super::tap::Seen;
use super::template::{DECODE, FRAMES};
use super::{MediaError, SourceKind};

/// Hardware decoders may leave pictures in memory of their own; what brings each kind home.
const DOWNLOADERS: [(&str, &str); 4] = [
    ("memory:VAMemory", "vapostproc"),
    ("memory:DMABuf", "vapostproc"),
    ("memory:CUDAMemory", "cudadownload"),
    ("memory:GLMemory", "gldownload"),
];

/// What the sink may be given. Eight bits 4:2:0, the two layouts that the rest of the program reads.
pub fn sink_caps() -> gst::Caps {
    gst_video::VideoCapsBuilder::new().format_list([gst_video::VideoFormat::I420, gst_video::VideoFormat::Nv12]).build()
}

/// Prepares a pipeline from a template: the decoder's first video pad goes to the sink, each decoder gets one thread.
pub fn prepare(pipeline: &gst::Pipeline, kind: SourceKind) -> Result<gst::Element, MediaError> {
    let part = |name: &str| {
        pipeline.by_name(name).ok_or_else(|| MediaError::Template {
            template: kind.template().name,
            problem: format!("no element {name}"),
        })
    };
    let (decode, frames) = (part(DECODE)?, part(FRAMES)?);
    answer_allocation(&frames);
    pipeline.connect_deep_element_added(|_, _, element| one_thread(element));
    if let Some(source) = pipeline.by_name(super::template::SOURCE).filter(|_| kind == SourceKind::Rtsp) {
        video_only(&source);
    }
    let (bin, sink) = (pipeline.downgrade(), frames.downgrade());
    decode.connect_pad_added(move |_, pad| {
        if let (Some(pipeline), Some(frames)) = (bin.upgrade(), sink.upgrade())
            && let Err(problem) = link(&pipeline, pad, &frames)
        {
            gst::element_error!(frames, gst::CoreError::Negotiation, ["{problem}"]);
        }
    });
    Ok(frames)
}

/// A decoder hands out its own pictures where it is told of a pool that the sink would use, of memory that can be
/// handed out while the decoder refers to it, and that the sink understands strides; else it copies each one.
pub fn answer_allocation(frames: &gst::Element) {
    let Some(pad) = frames.static_pad("sink") else { return };
    let memory = PictureAllocator::default();
    pad.add_probe(gst::PadProbeType::QUERY_DOWNSTREAM, move |_, info| {
        match info.query_mut().map(gst::QueryRef::view_mut) {
            Some(gst::QueryViewMut::Allocation(query)) => {
                query.add_allocation_meta::<gst_video::VideoMeta>(None);
                query.add_allocation_param(Some(&memory), gst::AllocationParams::default());
                let info = query.get().0.and_then(|caps| gst_video::VideoInfo::from_caps(caps).ok());
                if let Some(bytes) = info.and_then(|info| u32::try_from(info.size()).ok()) {
                    query.add_allocation_pool(None::<&gst::BufferPool>, bytes, 0, 0);
                }
                gst::PadProbeReturn::Handled
            }
            _ => gst::PadProbeReturn::Ok,
        }
    });
}

/// Cameras give the parallelism. Several threads a decoder cost a fifth more CPU and add delay.
fn one_thread(element: &gst::Element) {
    if !is_decoder(element) {
        return;
    }
    if let Some(property) = ["max-threads", "threads", "n-threads"].into_iter().find(|p| element.has_property(p)) {
        element.set_property_from_str(property, "1");
    }
}

/// Counts what comes in before it is decoded.
pub fn count_packets(pipeline: &gst::Pipeline, seen: &Arc<Seen>) {
    let Some(pad) = pipeline.by_name(DECODE).and_then(|decode| decode.static_pad("sink")) else { return };
    let seen = Arc::clone(seen);
    pad.add_probe(gst::PadProbeType::BUFFER | gst::PadProbeType::BUFFER_LIST, move |_, _| {
        seen.packets.fetch_add(1, Ordering::Relaxed);
        gst::PadProbeReturn::Ok
    });
}

pub fn is_decoder(element: &gst::Element) -> bool {
    element.factory().is_some_and(|factory| factory.has_type(gst::ElementFactoryType::DECODER))
}

/// Keeps the camera's sound off the network.
pub fn video_only(source: &gst::Element) {
    source.connect("select-stream", false, |values| {
        let media = values.get(2).and_then(|caps| caps.get::<gst::Caps>().ok());
        let media = media.and_then(|caps| caps.structure(0)?.get::<String>("media").ok());
        Some(media.is_none_or(|media| media == "video").to_value())
    });
}

fn link(pipeline: &gst::Pipeline, pad: &gst::Pad, frames: &gst::Element) -> Result<(), String> {
    let caps = pad.current_caps().unwrap_or_else(|| pad.query_caps(None));
    let is_video = caps.structure(0).is_some_and(|s| s.name() == "video/x-raw");
    let sink = frames.static_pad("sink").ok_or("the sink has no pad")?;
    if !is_video || sink.is_linked() {
        return Ok(());
    }
    let mut from = pad.clone();
    for element in between(&caps)? {
        pipeline.add(&element).map_err(|e| e.to_string())?;
        let entry = element.static_pad("sink").ok_or("a converter without a sink")?;
        from.link(&entry).map_err(|e| e.to_string())?;
        element.sync_state_with_parent().map_err(|e| e.to_string())?;
        from = element.static_pad("src").ok_or("a converter without a source")?;
    }
    from.link(&sink).map(drop).map_err(|e| e.to_string())
}

fn between(caps: &gst::Caps) -> Result<Vec<gst::Element>, String> {
    let mut chain = Vec::new();
    let features = caps.features(0);
    if let Some((memory, element)) =
        DOWNLOADERS.iter().find(|(memory, _)| features.is_some_and(|f| f.contains(*memory)))
    {
        let element = gst::ElementFactory::make(element).build();
        chain.push(element.map_err(|_| format!("pictures in {memory} cannot be fetched"))?);
    }
    if !chain.is_empty() || !caps.can_intersect(&sink_caps()) {
        let convert = gst::ElementFactory::make("videoconvert").property("n-threads", 1u32).build();
        chain.push(convert.map_err(|e| e.to_string())?);
    }
    Ok(chain)
}
