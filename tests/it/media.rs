//! Ingestion against real GStreamer: files as they are and as they should not be.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use face_edge::clock;
use face_edge::frame::Frame;
use face_edge::media::{self, Camera, CameraSpec, CameraState, FaultKind, FrameSink, Pace};
use gst::prelude::*;
use parking_lot::{Condvar, Mutex};

const PATIENCE: Duration = Duration::from_secs(30);

/// Notes what a camera does, and lets a test wait for it.
#[derive(Default)]
pub struct Recorder {
    log: Mutex<Log>,
    changed: Condvar,
    /// Frames that are turned away before the first is taken.
    pub busy: AtomicUsize,
}

#[derive(Default)]
pub struct Log {
    /// Number, stream time in ns, width, height, mean of some Y samples.
    pub frames: Vec<(u64, u64, usize, usize, u8)>,
    pub states: Vec<CameraState>,
    pub ended: usize,
}

impl Recorder {
    pub fn start(self: &Arc<Self>, spec: CameraSpec) -> Camera {
        media::init().unwrap();
        let states = Arc::clone(self);
        let sink: Arc<dyn FrameSink> = Arc::clone(self) as Arc<dyn FrameSink>;
        Camera::start(spec, sink, move |state| states.note(|log| log.states.push(state))).unwrap()
    }

    pub fn note(&self, change: impl FnOnce(&mut Log)) {
        change(&mut self.log.lock());
        self.changed.notify_all();
    }

    /// Waits until `done`, and gives what it found.
    pub fn wait<T>(&self, what: &str, mut done: impl FnMut(&Log) -> Option<T>) -> T {
        let deadline = clock::monotonic() + PATIENCE;
        let mut log = self.log.lock();
        loop {
            if let Some(found) = done(&log) {
                return found;
            }
            let late = self.changed.wait_until(&mut log, deadline).timed_out();
            assert!(!late, "waited in vain for {what}; states {:?}, {} frames", log.states, log.frames.len());
        }
    }

    pub fn wait_frames(&self, count: usize) {
        self.wait("frames", |log| (log.frames.len() >= count).then_some(()));
    }

    fn wait_over(&self) -> CameraState {
        self.wait("the end", |log| {
            let last = log.states.last()?;
            matches!(last, CameraState::Ended { .. } | CameraState::Failed { .. }).then(|| last.clone())
        })
    }

    fn frames(&self) -> Vec<(u64, u64, usize, usize, u8)> {
        self.log.lock().frames.clone()
    }
}

impl FrameSink for Recorder {
    fn offer(&self, frame: Frame) {
        let planes = frame.planes();
        let sampled: usize = (0..16).map(|i| usize::from(planes.y[planes.y_stride * (i * planes.height / 16)])).sum();
        let entry = (frame.number, frame.stream_time.as_nanos(), planes.width, planes.height, (sampled / 16) as u8);
        self.note(|log| log.frames.push(entry));
    }

    fn offer_waiting(&self, frame: Frame, _patience: Duration) -> Result<(), Frame> {
        if self.busy.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok() {
            return Err(frame);
        }
        self.offer(frame);
        Ok(())
    }

    fn end(&self) {
        self.note(|log| log.ended += 1);
    }
}

/// A clip of moving test bars, 320×180, 25 fps, made by GStreamer itself.
pub fn clip(folder: &Path, frames: u32) -> PathBuf {
    media::init().unwrap();
    let encoder = match gst::ElementFactory::find("x264enc") {
        Some(_) => "x264enc key-int-max=25",
        None => "openh264enc gop-size=25",
    };
    make(
        folder,
        "clip.mp4",
        &format!(
            "videotestsrc pattern=ball num-buffers={frames} ! video/x-raw,format=I420,width=320,height=180,framerate=25/1 ! \
             {encoder} ! h264parse ! mp4mux faststart=true ! filesink name=out"
        ),
    )
}

pub fn make(folder: &Path, name: &str, pipeline: &str) -> PathBuf {
    media::init().unwrap();
    let path = folder.join(name);
    let pipeline = gst::parse::launch(pipeline).unwrap().downcast::<gst::Pipeline>().unwrap();
    pipeline.by_name("out").unwrap().set_property("location", path.to_str().unwrap());
    pipeline.set_state(gst::State::Playing).unwrap();
    let end = pipeline
        .bus()
        .unwrap()
        .timed_pop_filtered(gst::ClockTime::from_seconds(60), &[gst::MessageType::Eos, gst::MessageType::Error]);
    assert!(end.is_some_and(|m| m.type_() == gst::MessageType::Eos), "cannot make {name}");
    pipeline.set_state(gst::State::Null).unwrap();
    path
}

fn spec(path: &Path, pace: Pace) -> CameraSpec {
    CameraSpec::new(path.to_str().unwrap(), pace)
}

pub fn shared(name: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/videos").join(name);
    if !path.exists() {
        eprintln!("skipped: {name} is not in ../shared/videos");
        return None;
    }
    Some(path)
}

fn fault_of(path: &Path) -> FaultKind {
    let recorder = Arc::new(Recorder::default());
    let _camera = recorder.start(spec(path, Pace::Max));
    let CameraState::Failed { fault } = recorder.wait_over() else { panic!("{} plays", path.display()) };
    assert!(fault.to_string().contains(path.to_str().unwrap()), "{fault}");
    recorder.wait("its end", |log| (log.ended == 1).then_some(()));
    fault.kind
}

#[test]
fn a_file_gives_every_frame_once_in_order_and_then_ends() {
    let folder = tempfile::tempdir().unwrap();
    let recorder = Arc::new(Recorder::default());
    recorder.busy.store(3, Ordering::SeqCst);
    let camera = recorder.start(spec(&clip(folder.path(), 60), Pace::Max));
    assert_eq!(recorder.wait_over(), CameraState::Ended { cut_short: None });
    let frames = recorder.frames();
    assert_eq!(frames.iter().map(|f| f.0).collect::<Vec<_>>(), (0..60).collect::<Vec<_>>());
    assert!(frames.iter().all(|f| (f.2, f.3) == (320, 180)));
    assert_eq!(frames[0].1, 0);
    assert!(frames.windows(2).all(|pair| pair[1].1.abs_diff(pair[0].1).abs_diff(40_000_000) < 1_000_000));
    assert_eq!(camera.frames_decoded(), 60);
    recorder.wait("its end", |log| (log.ended == 1).then_some(()));
    let log = recorder.log.lock();
    assert!(
        matches!(&log.states[1], CameraState::Playing { width: 320, height: 180, codec, .. } if codec == "video/x-h264"),
        "{:?}",
        log.states
    );
}

#[test]
fn the_clock_changes_nothing_about_a_files_frames() {
    let folder = tempfile::tempdir().unwrap();
    let path = clip(folder.path(), 30);
    let of = |pace| {
        let recorder = Arc::new(Recorder::default());
        let _camera = recorder.start(spec(&path, pace));
        recorder.wait_over();
        recorder.frames()
    };
    let (live, max) = (of(Pace::Live), of(Pace::Max));
    assert_eq!(live.len(), 30);
    assert_eq!(live, max);
}

#[test]
fn frame_skip_leaves_frames_out_and_can_change_while_it_plays() {
    let folder = tempfile::tempdir().unwrap();
    let recorder = Arc::new(Recorder::default());
    let spec = spec(&clip(folder.path(), 100), Pace::Max);
    spec.frame_skip.store(4, Ordering::Relaxed);
    let _camera = recorder.start(spec);
    recorder.wait_over();
    let numbers: Vec<u64> = recorder.frames().iter().map(|f| f.0).collect();
    assert_eq!(numbers, (0..100).step_by(5).collect::<Vec<_>>());
}

/// The stream's own pictures, with most of those that nothing refers to never decoded.
#[test]
fn what_is_analysed_does_not_depend_on_what_was_left_out() {
    let shared = Path::new("../shared/videos/intel_ccby");
    let files =
        ["asl_dev_grid2x2_1280x720_h264.mp4", "asl_dev_grid2x2_1280x720_h265.mp4"].map(|name| shared.join(name));
    for path in files {
        if !path.exists() {
            println!("absent, skipped: {}", path.display());
            continue;
        }
        let play = |skip: u32| {
            let recorder = Arc::new(Recorder::default());
            let spec = spec(&path, Pace::Max);
            spec.frame_skip.store(skip, Ordering::Relaxed);
            let camera = recorder.start(spec);
            recorder.wait_over();
            (recorder.frames(), camera.frames_decoded(), camera.frames_left_out())
        };
        let (all, decoded, left_out) = play(0);
        assert_eq!((decoded, left_out), (all.len() as u64, 0));
        for skip in [1, 4, 24] {
            let (some, decoded, left_out) = play(skip);
            let expected: Vec<_> = all.iter().step_by(skip as usize + 1).copied().collect();
            assert_eq!(some, expected, "{} at {skip}", path.display());
            assert_eq!(decoded + left_out, all.len() as u64);
            assert!(left_out * 4 >= all.len() as u64, "{left_out} of {} left out", all.len());
        }
    }
}

#[test]
fn frames_may_be_held_while_the_decoder_goes_on() {
    struct Keeper(Mutex<Vec<Frame>>, Recorder);
    impl FrameSink for Keeper {
        fn offer(&self, _: Frame) {
            unreachable!("files are not live")
        }
        fn offer_waiting(&self, frame: Frame, _: Duration) -> Result<(), Frame> {
            self.0.lock().push(frame);
            Ok(())
        }
        fn end(&self) {
            self.1.end();
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let path = clip(folder.path(), 40);
    media::init().unwrap();
    let keeper = Arc::new(Keeper(Mutex::default(), Recorder::default()));
    let _camera = Camera::start(spec(&path, Pace::Max), Arc::clone(&keeper) as Arc<dyn FrameSink>, |_| ()).unwrap();
    keeper.1.wait("the end", |log| (log.ended == 1).then_some(()));
    let kept = keeper.0.lock();
    assert_eq!(kept.len(), 40);
    let sum = |frame: &Frame| frame.planes().y.iter().map(|&y| u64::from(y)).sum::<u64>();
    assert_ne!(sum(&kept[0]), sum(&kept[20]), "each frame has pixels of its own");
}

#[test]
fn files_that_are_no_videos_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    assert_eq!(fault_of(&at("absent.mp4")), FaultKind::NotFound);
    std::fs::write(at("zero.mp4"), b"").unwrap();
    assert_eq!(fault_of(&at("zero.mp4")), FaultKind::Broken);
    std::fs::write(at("words.mp4"), "no video at all").unwrap();
    assert_eq!(fault_of(&at("words.mp4")), FaultKind::Broken);
    let sound = make(folder.path(), "sound.wav", "audiotestsrc num-buffers=20 ! wavenc ! filesink name=out");
    assert_eq!(fault_of(&sound), FaultKind::NoVideo);
}

#[test]
fn of_a_truncated_file_what_decodes_is_delivered() {
    let folder = tempfile::tempdir().unwrap();
    let whole = std::fs::read(clip(folder.path(), 100)).unwrap();
    let path = folder.path().join("cut.mp4");
    std::fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    let recorder = Arc::new(Recorder::default());
    let _camera = recorder.start(spec(&path, Pace::Max));
    let CameraState::Ended { cut_short: Some(fault) } = recorder.wait_over() else { panic!("the cut goes unseen") };
    assert_eq!(fault.kind, FaultKind::Broken);
    let frames = recorder.frames().len();
    assert!((10..90).contains(&frames), "{frames} frames");

    std::fs::write(&path, &whole[..600.min(whole.len())]).unwrap();
    assert_eq!(fault_of(&path), FaultKind::Broken);
}

#[test]
fn a_stop_does_not_wait_for_an_analysis_that_does_not_come() {
    struct Full(Mutex<bool>, Condvar);
    impl FrameSink for Full {
        fn offer(&self, _: Frame) {}
        fn offer_waiting(&self, frame: Frame, patience: Duration) -> Result<(), Frame> {
            let mut reached = self.0.lock();
            *reached = true;
            self.1.notify_all();
            self.1.wait_for(&mut reached, patience);
            Err(frame)
        }
        fn end(&self) {
            panic!("a stop is no end");
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let path = clip(folder.path(), 60);
    let full = Arc::new(Full(Mutex::new(false), Condvar::new()));
    let camera = Camera::start(spec(&path, Pace::Max), Arc::clone(&full) as Arc<dyn FrameSink>, |_| ()).unwrap();
    let mut reached = full.0.lock();
    while !*reached {
        full.1.wait(&mut reached);
    }
    drop(reached);
    camera.stop();
}

#[test]
fn pictures_of_another_layout_are_converted() {
    let folder = tempfile::tempdir().unwrap();
    let path = make(
        folder.path(),
        "jpeg.avi",
        "videotestsrc num-buffers=10 ! video/x-raw,format=Y42B,width=320,height=180 ! jpegenc ! avimux ! filesink name=out",
    );
    let recorder = Arc::new(Recorder::default());
    let _camera = recorder.start(spec(&path, Pace::Max));
    assert_eq!(recorder.wait_over(), CameraState::Ended { cut_short: None });
    assert_eq!(recorder.frames().len(), 10);
}

#[test]
fn the_test_source_is_live_and_needs_no_camera() {
    let recorder = Arc::new(Recorder::default());
    let _camera = recorder.start(CameraSpec::new("test://", Pace::Live));
    recorder.wait_frames(5);
    assert_eq!((recorder.frames()[0].2, recorder.frames()[0].3), (1280, 720));
}

#[test]
fn h265_plays_and_decoding_alone_counts_the_same_frames() {
    let Some(path) = shared("intel_ccby/asl_dev_grid2x2_1280x720_h265.mp4") else { return };
    let recorder = Arc::new(Recorder::default());
    let camera = recorder.start(spec(&path, Pace::Max));
    assert_eq!(recorder.wait_over(), CameraState::Ended { cut_short: None });
    let frames = recorder.frames();
    assert!(frames.windows(2).all(|pair| pair[0].1 < pair[1].1));
    assert_eq!((frames[0].2, frames[0].3), (1280, 720));
    assert_eq!(media::measure_decode(path.to_str().unwrap()).unwrap(), camera.frames_decoded());
}
