//! Takes video in: from a camera or a file to decoded frames in memory, by reference and at full resolution.
//!
//! The only place besides `sim` that names GStreamer. Pipelines come from `pipelines/*.toml`; what differs from one
//! camera to the next is set as properties, so that no URL can write pipeline text.

mod arrivals;
mod backoff;
mod beat;
mod camera;
mod capture_time;
mod coded;
mod decode_one;
mod fault;
mod libav;
mod link;
mod main_camera;
mod measure;
mod nal;
#[allow(unsafe_code)]
mod picture_memory;
mod reference;
mod sample;
mod segment;
mod source;
mod still;
mod tap;
mod template;
mod thin;
mod timeline;

use std::time::Duration;

use gst::glib;

pub use camera::{Camera, CameraSpec, CameraState, Pace, Patience};
pub use fault::{Fault, FaultKind};
pub use main_camera::MainCamera;
pub use measure::measure_decode;
pub use source::{SourceKind, check_url, redact_url};

use crate::frame::Frame;

#[derive(Debug, thiserror::Error)]
pub enum MediaError {
    #[error("GStreamer does not start: {0}")]
    Start(#[from] glib::Error),
    #[error("GStreamer lacks the element {element}: install the package {package} (apt-get install {package})")]
    MissingElement { element: &'static str, package: &'static str },
    #[error("GStreamer has no decoder for {codec}: install the package {package} (apt-get install {package})")]
    MissingDecoder { codec: &'static str, package: &'static str },
    #[error("{url}: {problem}")]
    Url { url: String, problem: String },
    #[error("pipelines/{template}.toml: {problem}")]
    Template { template: &'static str, problem: String },
    #[error("cannot start a thread for the camera: {0}")]
    Thread(#[from] std::io::Error),
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// Where a camera's frames go.
pub trait FrameSink: Send + Sync {
    /// From a live source: the newest frame wins. Must not wait.
    fn offer(&self, frame: Frame);
    /// From a file: no frame may be lost. Waits for space and gives the frame back when `patience` is over.
    fn offer_waiting(&self, frame: Frame, patience: Duration) -> Result<(), Frame>;
    /// Nothing more comes, because the file ended or failed. Not called for live sources, nor after a stop.
    fn end(&self);
}

const ELEMENTS: [(&str, &str); 10] = [
    ("filesrc", "libgstreamer1.0-0"),
    ("decodebin", "gstreamer1.0-plugins-base"),
    ("appsink", "gstreamer1.0-plugins-base"),
    ("videoconvert", "gstreamer1.0-plugins-base"),
    ("rtspsrc", "gstreamer1.0-plugins-good"),
    ("rtph264depay", "gstreamer1.0-plugins-good"),
    ("qtdemux", "gstreamer1.0-plugins-good"),
    ("souphttpsrc", "gstreamer1.0-plugins-good"),
    ("h264parse", "gstreamer1.0-plugins-bad"),
    ("h265parse", "gstreamer1.0-plugins-bad"),
];

const DECODERS: [(&str, &str, &str); 2] =
    [("H.264", "video/x-h264", "gstreamer1.0-libav"), ("H.265", "video/x-h265", "gstreamer1.0-libav")];

/// Starts GStreamer and checks that it has what we need. To be called once, before anything else here; calling it
/// again does no harm.
pub fn init() -> Result<(), MediaError> {
    gst::init()?;
    libav::load()?;
    for (element, package) in ELEMENTS {
        if gst::ElementFactory::find(element).is_none() {
            return Err(MediaError::MissingElement { element, package });
        }
    }
    for (codec, media_type, package) in DECODERS {
        if !has_decoder(media_type) {
            return Err(MediaError::MissingDecoder { codec, package });
        }
    }
    Ok(())
}

fn has_decoder(media_type: &str) -> bool {
    let caps = gst::Caps::new_empty_simple(media_type);
    gst::ElementFactory::factories_with_type(gst::ElementFactoryType::DECODER, gst::Rank::MARGINAL)
        .iter()
        .any(|factory| factory.can_sink_any_caps(&caps))
}
