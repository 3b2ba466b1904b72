//! Decoding alone, in a process of its own.

use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

use face_edge::frame::Frame;
use face_edge::media::{self, Camera, CameraSpec, FrameSink, Pace};
use gst::prelude::*;

/// `rtspsrc ! decodebin ! fakesink`, the decoder with one thread.
pub fn as_anybody_would(urls: &str) {
    media::init().expect("GStreamer starts");
    let text = "rtspsrc name=source protocols=tcp latency=100 ! decodebin caps=video/x-raw(ANY) expose-all-streams=false \
                ! fakesink name=sink sync=false";
    let play = |url: &str| {
        let pipeline = gst::parse::launch(text).expect("a pipeline").downcast::<gst::Pipeline>().expect("a pipeline");
        pipeline.by_name("source").expect("it is there").set_property("location", url);
        pipeline.connect_deep_element_added(|_, _, element| {
            if element.has_property("max-threads") {
                element.set_property("max-threads", 1i32);
            }
        });
        pipeline.set_state(gst::State::Playing).expect("it plays");
        pipeline
    };
    let pipelines: Vec<gst::Pipeline> = urls.split(' ').map(play).collect();
    let pictures = |pipeline: &gst::Pipeline| {
        let stats = pipeline.by_name("sink").expect("it is there").property::<gst::Structure>("stats");
        stats.get::<u64>("rendered").expect("each sink counts")
    };
    answer_each_line(|| pipelines.iter().map(pictures).sum());
    for pipeline in pipelines {
        pipeline.set_state(gst::State::Null).expect("it stops");
    }
}

/// As this program decodes.
pub fn uncopied(urls: &str) {
    struct Nobody;
    impl FrameSink for Nobody {
        fn offer(&self, _: Frame) {}
        fn offer_waiting(&self, _: Frame, _: Duration) -> Result<(), Frame> {
            Ok(())
        }
        fn end(&self) {}
    }
    media::init().expect("GStreamer starts");
    let sink: Arc<dyn FrameSink> = Arc::new(Nobody);
    let cameras: Vec<Camera> = urls
        .split(' ')
        .map(|url| {
            let spec = CameraSpec { frame_skip: Arc::new(AtomicU32::new(0)), ..CameraSpec::new(url, Pace::Live) };
            Camera::start(spec, Arc::clone(&sink), |_| {}).expect("a camera")
        })
        .collect();
    answer_each_line(|| cameras.iter().map(Camera::frames_decoded).sum());
}

/// With the number of pictures so far.
fn answer_each_line(pictures: impl Fn() -> u64) {
    for _ in std::io::stdin().lines() {
        println!("{}", pictures());
    }
}
