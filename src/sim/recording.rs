//! The drawn scene as a video file, made once and kept: `scene-V.mp4`, and its truth beside it as `scene.json`.

use std::fs;
use std::path::{Path, PathBuf};

use gst::prelude::*;
use serde::Serialize;

use super::camera::SimError;
use super::scene::{self, FPS, FRAMES, HEIGHT, Scene, WIDTH};
use crate::frame::OwnedPlanes;

/// To be raised whenever the drawing changes, so that nobody goes on with an old file.
const VERSION: u32 = 1;
/// The GStreamer elements that may encode, the better one first, with the properties that suit a camera.
const ENCODERS: [(&str, &[(&str, &str)]); 2] = [
    (
        "x264enc",
        &[("bitrate", "4000"), ("key-int-max", "50"), ("bframes", "0"), ("speed-preset", "veryfast"), ("threads", "2")],
    ),
    ("openh264enc", &[("bitrate", "4000000"), ("gop-size", "50"), ("complexity", "low")]),
];

pub struct Recording {
    pub video: PathBuf,
    pub truth: PathBuf,
}

/// The whole truth, as it is written to the file.
#[derive(Serialize)]
struct TruthFile {
    width: usize,
    height: usize,
    fps: usize,
    people: Vec<&'static str>,
    /// One entry a frame.
    frames: Vec<Vec<FaceRecord>>,
}

#[derive(Serialize)]
struct FaceRecord {
    person: usize,
    /// Left, top, width, height, in pixels.
    bbox: [f32; 4],
    /// Right eye, left eye, nose, right and left corner of the mouth.
    landmarks: [[f32; 2]; 5],
    visible: f32,
}

/// Finds the recording in `folder` or makes it, telling `progress` the frames done and all.
pub fn ensure(folder: &Path, progress: &mut dyn FnMut(usize, usize)) -> Result<Recording, SimError> {
    fs::create_dir_all(folder)?;
    let video = folder.join(format!("scene-{VERSION}.mp4"));
    let truth = folder.join("scene.json");
    fs::write(&truth, truth_json())?;
    if !video.exists() {
        // Under another name until it is whole: an interrupted run leaves nothing that looks finished.
        let part = folder.join(format!("scene-{VERSION}.{}.part", std::process::id()));
        record(&part, FRAMES, progress).inspect_err(|_| drop(fs::remove_file(&part)))?;
        fs::rename(&part, &video)?;
    }
    Ok(Recording { video, truth })
}

/// The first `frames` frames of the scene as H.264 in an MP4 file.
pub fn record(path: &Path, frames: usize, progress: &mut dyn FnMut(usize, usize)) -> Result<(), SimError> {
    let mut scene = Scene::new();
    record_pictures(path, (WIDTH, HEIGHT), frames, &mut |number| scene.frame(number), progress)
}

/// So many pictures of that width and height, I420 and BT.709, [`FPS`] a second.
pub fn record_pictures(
    path: &Path,
    size: (usize, usize),
    frames: usize,
    picture: &mut dyn FnMut(usize) -> OwnedPlanes,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<(), SimError> {
    gst::init()?;
    let fail = |problem: String| SimError::Recording { path: path.to_owned(), problem };
    let pipeline = build(path, size).map_err(&fail)?;
    let source = pipeline.by_name("pictures").and_downcast::<gst_app::AppSrc>().expect("named when it was made");
    // A failure is told in full by the message that follows.
    let _ = pipeline.set_state(gst::State::Playing);
    for number in 0..frames {
        if source.push_buffer(buffer(picture(number), number)).is_err() {
            break;
        }
        progress(number + 1, frames);
    }
    // Refused only after an error, which the bus tells.
    let _ = source.end_of_stream();
    let result = wait_end(&pipeline);
    // Going to null cannot fail.
    let _ = pipeline.set_state(gst::State::Null);
    result.map_err(fail)
}

fn build(path: &Path, (width, height): (usize, usize)) -> Result<gst::Pipeline, String> {
    let make = |factory: &str| gst::ElementFactory::make(factory).build().map_err(|e| e.to_string());
    let info = gst_video::VideoInfo::builder(gst_video::VideoFormat::I420, width as u32, height as u32)
        .fps(gst::Fraction::new(FPS as i32, 1))
        .colorimetry(&bt709())
        .build()
        .map_err(|e| e.to_string())?;
    let source = gst_app::AppSrc::builder()
        .name("pictures")
        .caps(&info.to_caps().map_err(|e| e.to_string())?)
        .format(gst::Format::Time)
        .block(true)
        .max_bytes(2 * info.size() as u64)
        .build();
    let (encoder, parser) = (encoder()?, make("h264parse")?);
    let mux = gst::ElementFactory::make("mp4mux").property("faststart", true).build().map_err(|e| e.to_string())?;
    let sink = gst::ElementFactory::make("filesink").property("location", path.to_string_lossy().as_ref()).build();
    let sink = sink.map_err(|e| e.to_string())?;
    let pipeline = gst::Pipeline::new();
    let chain = [source.upcast_ref(), &encoder, &parser, &mux, &sink];
    pipeline.add_many(chain).and_then(|()| gst::Element::link_many(chain)).map_err(|e| e.to_string())?;
    Ok(pipeline)
}

fn bt709() -> gst_video::VideoColorimetry {
    use gst_video::{VideoColorMatrix, VideoColorPrimaries, VideoColorRange, VideoColorimetry, VideoTransferFunction};
    VideoColorimetry::new(
        VideoColorRange::Range16_235,
        VideoColorMatrix::Bt709,
        VideoTransferFunction::Bt709,
        VideoColorPrimaries::Bt709,
    )
}

fn encoder() -> Result<gst::Element, String> {
    let (factory, properties) = ENCODERS
        .iter()
        .find(|(factory, _)| gst::ElementFactory::find(factory).is_some())
        .ok_or("no H.264 encoder: install gstreamer1.0-plugins-bad, which holds openh264enc")?;
    let builder = gst::ElementFactory::make(factory);
    let encoder = properties.iter().fold(builder, |builder, (name, value)| builder.property_from_str(name, value));
    encoder.build().map_err(|e| e.to_string())
}

fn buffer(picture: OwnedPlanes, number: usize) -> gst::Buffer {
    let mut bytes = picture.y;
    bytes.extend_from_slice(&picture.u);
    bytes.extend_from_slice(&picture.v);
    let mut buffer = gst::Buffer::from_mut_slice(bytes);
    let at = |number: usize| gst::ClockTime::from_nseconds(number as u64 * 1_000_000_000 / FPS as u64);
    let fresh = buffer.make_mut();
    fresh.set_pts(at(number));
    fresh.set_duration(at(number + 1) - at(number));
    buffer
}

fn wait_end(pipeline: &gst::Pipeline) -> Result<(), String> {
    let bus = pipeline.bus().expect("every pipeline has a bus");
    let end = bus.timed_pop_filtered(gst::ClockTime::NONE, &[gst::MessageType::Error, gst::MessageType::Eos]);
    match end.as_ref().map(|message| message.view()) {
        Some(gst::MessageView::Error(error)) => Err(error.error().message().to_owned()),
        _ => Ok(()),
    }
}

fn truth_json() -> String {
    let frames = (0..FRAMES).map(|number| scene::truth(number).iter().map(FaceRecord::of).collect());
    let file = TruthFile {
        width: WIDTH,
        height: HEIGHT,
        fps: FPS,
        people: scene::people().to_vec(),
        frames: frames.collect(),
    };
    serde_json::to_string(&file).expect("numbers and names only")
}

impl FaceRecord {
    fn of(face: &scene::TruthFace) -> Self {
        let bbox = [face.bbox.x, face.bbox.y, face.bbox.w, face.bbox.h];
        let landmarks = face.landmarks.0.map(|point| [point.x, point.y]);
        Self { person: face.person, bbox, landmarks, visible: face.visible }
    }
}
