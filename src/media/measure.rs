//! Decoding alone: the floor under what analysing a video may cost.

use gst::prelude::*;

use super::template::DECODE_ONLY;
use super::{Fault, FaultKind, MediaError, SourceKind, link, source::Source};

/// Decodes the whole file as a camera would, with one thread, and throws the pictures away. How many there were.
pub fn measure_decode(path: &str) -> Result<u64, MediaError> {
    let source = Source::parse(path)?;
    let pipeline = DECODE_ONLY.build(&[("path", &source.location)])?;
    let sink = link::prepare(&pipeline, SourceKind::File)?;
    let result = play_to_end(&pipeline, &source);
    let frames = sink.property::<gst::Structure>("stats").get::<u64>("rendered").unwrap_or(0);
    // Going to null cannot fail.
    let _ = pipeline.set_state(gst::State::Null);
    result.map(|()| frames)
}

fn play_to_end(pipeline: &gst::Pipeline, source: &Source) -> Result<(), MediaError> {
    let bus = pipeline.bus().expect("every pipeline has a bus");
    // A failure is told in full by the message that follows.
    let _ = pipeline.set_state(gst::State::Playing);
    let end = bus.timed_pop_filtered(gst::ClockTime::NONE, &[gst::MessageType::Error, gst::MessageType::Eos]);
    match end.as_ref().map(|message| message.view()) {
        Some(gst::MessageView::Eos(_)) => Ok(()),
        Some(gst::MessageView::Error(error)) => Err(Fault::from_gst(error, None, source).into()),
        _ => Err(Fault::new(FaultKind::Other, source).into()),
    }
}
