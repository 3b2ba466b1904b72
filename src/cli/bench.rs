//! `bench`: what decoding, detecting and encoding cost on this very box, and how many cameras that leaves room for.
//!
//! All figures are processor time, not the wall's, so that they hold while the box does something else.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use parking_lot::{Condvar, Mutex};
use serde::Serialize;

use super::{BadInput, DetectorArgs, file_url};
use crate::detect::{Detectors, SizeWindow};
use crate::domain::Rect;
use crate::frame::Frame;
use crate::media::{self, Camera, CameraSpec, CameraState, FrameSink, Pace};
use crate::sim::recording;
use crate::snapshot::Crop;

const ANALYSES_A_SECOND: f64 = 5.0;
const PICTURES_A_SECOND: f64 = 1.0;
/// The part of a box that may be planned for; the rest is for bursts, delivery and the system.
const PLANNED_LOAD: f64 = 0.85;
/// Of the drawn scene.
const RECORDED_FRAMES: usize = 150;
const DETECTIONS: usize = 20;
const ENCODINGS: usize = 50;
const FACE_SIDE_PX: f32 = 200.0;
const JPEG_QUALITY: u8 = 85;
/// Of faces, in pixels: what most gates want, and nearly everything.
const WINDOWS_PX: [(f32, f32); 2] = [(120.0, 800.0), (36.0, 900.0)];
const PATIENCE: Duration = Duration::from_secs(60);

/// Measure this box: decoding, detection, encoding, and how many cameras it holds
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: face-edge bench recorded-from-my-camera.mp4")]
pub struct Args {
    /// A video as the cameras send it; else a scene is drawn
    #[arg(value_name = "VIDEO")]
    video: Option<PathBuf>,
    #[command(flatten)]
    detector: DetectorArgs,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report {
    video: String,
    width: usize,
    height: usize,
    frames_per_second: f64,
    cores: usize,
    decode_ms_per_frame: f64,
    encode_ms_per_picture: f64,
    windows: Vec<Window>,
}

#[derive(Serialize)]
struct Window {
    min_px: f32,
    max_px: f32,
    /// Inputs of the detector, width × height.
    inputs: Vec<[usize; 2]>,
    detect_ms_per_frame: f64,
    cpu_ms_per_camera_second: f64,
    cameras: usize,
}

pub fn run(args: &Args) -> anyhow::Result<()> {
    media::init()?;
    let mut detectors = args.detector.detectors()?;
    let folder = tempfile::tempdir()?;
    let (name, path) = match &args.video {
        Some(video) => (video.display().to_string(), video.clone()),
        None => ("the drawn scene".to_owned(), drawn(folder.path())?),
    };
    let report = measure(name, &path, &mut detectors)?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        print!("{}", words(&report));
    }
    Ok(())
}

fn drawn(folder: &Path) -> anyhow::Result<PathBuf> {
    eprintln!("drawing a scene of {RECORDED_FRAMES} frames");
    let path = folder.join("scene.mp4");
    recording::record(&path, RECORDED_FRAMES, &mut |_, _| {})?;
    Ok(path)
}

fn measure(video: String, path: &Path, detectors: &mut Detectors) -> anyhow::Result<Report> {
    let url = file_url(&path.to_string_lossy())?;
    let (frame, frames_per_second) = sample(&url)?;
    let (decode_ms, frames) = cpu_ms(UsageWho::RUSAGE_SELF, || media::measure_decode(&url));
    let decode_ms = decode_ms / frames?.max(1) as f64;
    let encode_ms = encode_ms(&frame)?;
    let cores = std::thread::available_parallelism()?.get();
    let (width, height) = frame.size();
    let mut windows = Vec::with_capacity(WINDOWS_PX.len());
    for (min_px, max_px) in WINDOWS_PX {
        let window = SizeWindow { min_px, max_px };
        let plan = detectors.prepare((width, height), window)?;
        let detect_ms = detect_ms(detectors, &frame, window)?;
        let a_second = frames_per_second * decode_ms + ANALYSES_A_SECOND * detect_ms + PICTURES_A_SECOND * encode_ms;
        windows.push(Window {
            min_px,
            max_px,
            inputs: plan.passes.iter().map(|input| [input.width, input.height]).collect(),
            detect_ms_per_frame: detect_ms,
            cpu_ms_per_camera_second: a_second,
            cameras: (cores as f64 * 1e3 * PLANNED_LOAD / a_second) as usize,
        });
    }
    let (decode_ms_per_frame, encode_ms_per_picture) = (decode_ms, encode_ms);
    Ok(Report { video, width, height, frames_per_second, cores, decode_ms_per_frame, encode_ms_per_picture, windows })
}

/// With the scaling and conversion of the frame, as a detector thread does it.
fn detect_ms(detectors: &mut Detectors, frame: &Frame, window: SizeWindow) -> anyhow::Result<f64> {
    detectors.detect(frame, window)?;
    let (ms, result) =
        cpu_ms(UsageWho::RUSAGE_THREAD, || (0..DETECTIONS).try_for_each(|_| detectors.detect(frame, window).map(drop)));
    result?;
    Ok(ms / DETECTIONS as f64)
}

/// Cut out and encoded.
fn encode_ms(frame: &Frame) -> anyhow::Result<f64> {
    let face = Rect::new(0.0, 0.0, FACE_SIDE_PX, FACE_SIDE_PX);
    let (ms, result) = cpu_ms(UsageWho::RUSAGE_THREAD, || {
        (0..ENCODINGS).try_for_each(|_| Crop::of_face(&frame.planes(), frame.color, &face).jpeg(JPEG_QUALITY).map(drop))
    });
    result?;
    Ok(ms / ENCODINGS as f64)
}

fn cpu_ms<T>(whose: UsageWho, work: impl FnOnce() -> T) -> (f64, T) {
    let spent_us = || {
        let usage = getrusage(whose).expect("the kernel counts");
        usage.user_time().num_microseconds() + usage.system_time().num_microseconds()
    };
    let before = spent_us();
    let result = work();
    ((spent_us() - before) as f64 / 1e3, result)
}

/// One frame of the video, and how many there are in a second.
fn sample(url: &str) -> anyhow::Result<(Frame, f64)> {
    let sampler = Arc::new(Sampler::default());
    let states = Arc::clone(&sampler);
    let spec = CameraSpec::new(url, Pace::Max);
    let sink: Arc<dyn FrameSink> = Arc::<Sampler>::clone(&sampler);
    let camera = Camera::start(spec, sink, move |state| match state {
        CameraState::Failed { fault } => states.give_up(fault.to_string()),
        CameraState::Ended { .. } => states.give_up("has fewer than two frames".to_owned()),
        _ => {}
    })?;
    let found = sampler.wait();
    camera.stop();
    found.map_err(|problem| BadInput(problem).into())
}

/// Waits for two frames.
#[derive(Default)]
struct Sampler {
    state: Mutex<Sampled>,
    changed: Condvar,
}

#[derive(Default)]
struct Sampled {
    first: Option<Frame>,
    found: Option<Result<(Frame, f64), String>>,
}

impl Sampler {
    fn give_up(&self, problem: String) {
        self.state.lock().found.get_or_insert(Err(problem));
        self.changed.notify_all();
    }

    fn wait(&self) -> Result<(Frame, f64), String> {
        let mut state = self.state.lock();
        while state.found.is_none() {
            if self.changed.wait_for(&mut state, PATIENCE).timed_out() {
                return Err("gave no picture for a minute".to_owned());
            }
        }
        state.found.take().expect("waited for")
    }
}

impl FrameSink for Sampler {
    fn offer(&self, frame: Frame) {
        let mut state = self.state.lock();
        let Some(first) = &state.first else {
            state.first = Some(frame);
            return;
        };
        let seconds = frame.stream_time.since(first.stream_time).as_secs_f64();
        let rate = (frame.number - first.number) as f64 / seconds.max(1e-3);
        state.found.get_or_insert(Ok((frame, rate)));
        self.changed.notify_all();
    }

    fn offer_waiting(&self, frame: Frame, _patience: Duration) -> Result<(), Frame> {
        self.offer(frame);
        Ok(())
    }

    fn end(&self) {}
}

fn words(report: &Report) -> String {
    let mut text = format!(
        "{}: {}x{}, {:.1} frames a second; {} cores; processor time:\n\
         decode  {:7.2} ms a frame\n\
         encode  {:7.2} ms a picture\n",
        report.video,
        report.width,
        report.height,
        report.frames_per_second,
        report.cores,
        report.decode_ms_per_frame,
        report.encode_ms_per_picture,
    );
    for window in &report.windows {
        let inputs: Vec<String> = window.inputs.iter().map(|[width, height]| format!("{width}x{height}")).collect();
        text += &format!(
            "detect  {:7.2} ms a frame for faces of {} to {} px (input {})\n        \
             room for {} such cameras at {ANALYSES_A_SECOND} analyses a second ({:.0} ms a camera-second, {:.0} % of the box planned)\n",
            window.detect_ms_per_frame,
            window.min_px,
            window.max_px,
            inputs.join(" and "),
            window.cameras,
            window.cpu_ms_per_camera_second,
            PLANNED_LOAD * 100.0,
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_report_says_what_a_reader_needs() {
        let window = Window {
            min_px: 120.0,
            max_px: 800.0,
            inputs: vec![[320, 192]],
            detect_ms_per_frame: 2.5,
            cpu_ms_per_camera_second: 170.25,
            cameras: 9,
        };
        let report = Report {
            video: "door.mp4".into(),
            width: 1920,
            height: 1080,
            frames_per_second: 25.0,
            cores: 2,
            decode_ms_per_frame: 6.25,
            encode_ms_per_picture: 0.5,
            windows: vec![window],
        };
        let text = words(&report);
        assert!(text.starts_with("door.mp4: 1920x1080, 25.0 frames a second; 2 cores; processor time:\n"), "{text}");
        assert!(text.contains("decode     6.25 ms a frame\n"), "{text}");
        assert!(text.contains("room for 9 such cameras at 5 analyses a second (170 ms a camera-second"), "{text}");
    }
}
