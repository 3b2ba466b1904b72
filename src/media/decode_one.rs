//! Decodes one picture out of a run of coded ones: a small pipeline that lives for a fraction of a second.

use gst::prelude::*;
use gst_video::VideoInfo;

use super::SourceKind;
use super::link;
use super::sample::{DecodedPicture, color};
use super::template::{CODED, SOURCE};
use crate::frame::Color;

/// For the next picture of a run to come out. The longest runs take some seconds in all.
const PATIENCE: gst::ClockTime = gst::ClockTime::from_seconds(3);

/// The picture that is shown at `pts_ns`; what went wrong is said in words.
pub fn decode(caps: &gst::Caps, run: Vec<gst::Buffer>, pts_ns: u64) -> Result<(DecodedPicture, Color), String> {
    let pipeline = CODED.build(&[]).map_err(|error| error.to_string())?;
    let picture = play(&pipeline, caps, run, pts_ns);
    // Going to null cannot fail.
    let _ = pipeline.set_state(gst::State::Null);
    picture
}

fn play(
    pipeline: &gst::Pipeline,
    caps: &gst::Caps,
    run: Vec<gst::Buffer>,
    pts_ns: u64,
) -> Result<(DecodedPicture, Color), String> {
    let sink = link::prepare(pipeline, SourceKind::File).map_err(|error| error.to_string())?;
    let sink = sink.downcast::<gst_app::AppSink>().map_err(|_| "no sink")?;
    let source = pipeline.by_name(SOURCE).and_downcast::<gst_app::AppSrc>().ok_or("no source")?;
    sink.set_caps(Some(&link::sink_caps()));
    source.set_caps(Some(caps));
    // A failure is told in full by the message that follows.
    let _ = pipeline.set_state(gst::State::Playing);
    let fed = run.into_iter().try_for_each(|buffer| source.push_buffer(buffer).map(drop));
    // Refused only after an error, which the bus tells.
    let _ = fed.and_then(|()| source.end_of_stream().map(drop));
    while let Some(sample) = sink.try_pull_sample(PATIENCE) {
        if sample.buffer().and_then(gst::BufferRef::pts).map(gst::ClockTime::nseconds) == Some(pts_ns) {
            return picture(&sample).ok_or_else(|| "it is damaged".to_owned());
        }
    }
    let bus = pipeline.bus().expect("every pipeline has a bus");
    match bus.pop_filtered(&[gst::MessageType::Error]).as_ref().map(|message| message.view()) {
        Some(gst::MessageView::Error(error)) => Err(error.error().message().to_owned()),
        _ => Err("the decoder does not give it".to_owned()),
    }
}

fn picture(sample: &gst::Sample) -> Option<(DecodedPicture, Color)> {
    let buffer = sample.buffer_owned().filter(|buffer| !buffer.flags().contains(gst::BufferFlags::CORRUPTED))?;
    let info = VideoInfo::from_caps(sample.caps()?).ok()?;
    let color = color(&info);
    Some((DecodedPicture::map(buffer, &info)?, color))
}
