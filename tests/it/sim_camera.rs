//! The simulated camera and the ingestion, against each other over real sockets.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use face_edge::frame::{Frame, Idle};
use face_edge::media::{Camera, CameraSpec, CameraState, FaultKind, FrameSink, Pace, Patience};
use face_edge::sim::camera::{FaultKind as Trouble, Login, SimCamera, SimSpec};
use face_edge::sim::{recording, scene};

use crate::media::{Log, Recorder, clip, make, shared};

fn live(url: &str) -> CameraSpec {
    let patience = Patience { frame: Duration::from_secs(3), ..Patience::default() };
    CameraSpec { patience, ..CameraSpec::new(url, Pace::Live) }
}

fn camera(folder: &Path) -> SimCamera {
    SimCamera::start(SimSpec::new(vec![clip(folder, 50)])).unwrap()
}

fn wait_fault(recorder: &Recorder) -> FaultKind {
    recorder.wait("a fault", |log| {
        log.states.iter().find_map(|state| match state {
            CameraState::Recovering { fault, .. } => Some(fault.kind),
            _ => None,
        })
    })
}

fn playing(recorder: &Recorder, times: usize) {
    recorder.wait("playing", |log| {
        let count = log.states.iter().filter(|state| matches!(state, CameraState::Playing { .. })).count();
        (count >= times).then_some(())
    });
}

fn reserve() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

fn start_at(folder: &Path, listen: SocketAddr) -> SimCamera {
    SimCamera::start(SimSpec { listen, ..SimSpec::new(vec![folder.join("clip.mp4")]) }).unwrap()
}

#[test]
fn a_clip_of_two_seconds_plays_on_without_a_seam() {
    let folder = tempfile::tempdir().unwrap();
    let sim = camera(folder.path());
    let recorder = Arc::new(Recorder::default());
    let reader = recorder.start(live(&sim.url(0)));
    recorder.wait_frames(75);
    let times = recorder.wait("frames", |log| Some(log.frames.iter().map(|f| f.1).collect::<Vec<_>>()));
    let steps: Vec<u64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(steps.iter().all(|&ns| (30_000_000..50_000_000).contains(&ns)), "{steps:?}");
    assert_eq!(recorder.wait("no fault", |log| Some(log.states.len())), 2, "connecting and playing, nothing else");
    reader.stop();
    assert_eq!(recorder.wait("no end", |log| Some(log.ended)), 0);
}

/// The clip has a key frame a second.
#[test]
fn an_idle_camera_decodes_around_key_frames_and_wakes_within_one_interval() {
    const FRAME_NS: u64 = 40_000_000;
    let folder = tempfile::tempdir().unwrap();
    let sim = camera(folder.path());
    let recorder = Arc::new(Recorder::default());
    let spec = live(&sim.url(0));
    let idle = Arc::clone(&spec.idle);
    let reader = recorder.start(spec);
    recorder.wait_frames(30);
    idle.tell(true);
    let steps = |log: &Log| log.frames.windows(2).map(|pair| pair[1].1 - pair[0].1).collect::<Vec<_>>();
    let gaps = |log: &Log| steps(log).into_iter().filter(|&ns| ns > 2 * FRAME_NS).count();
    recorder.wait("gaps", |log| (gaps(log) >= 3).then_some(()));
    idle.tell(false);
    let asleep = recorder.wait("frames", |log| Some(log.frames.len()));
    recorder.wait_frames(asleep + 30);
    let (steps, frames) = recorder.wait("frames", |log| Some((steps(log), log.frames.clone())));
    reader.stop();
    assert!(steps.iter().all(|&ns| ns <= 25 * FRAME_NS), "{steps:?}");
    assert!(steps.iter().rev().take(20).all(|&ns| ns < 2 * FRAME_NS), "awake: {steps:?}");
    for (pair, ns) in frames.windows(2).zip(steps) {
        assert_eq!(pair[1].0 - pair[0].0, (ns + FRAME_NS / 2) / FRAME_NS, "what was left out counts, too");
    }
}

/// Finds the scene idle as soon as it sees a frame.
struct Sleepy {
    idle: Arc<Idle>,
    recorder: Arc<Recorder>,
}

impl FrameSink for Sleepy {
    fn offer(&self, frame: Frame) {
        self.idle.tell(true);
        self.recorder.offer(frame);
    }

    fn offer_waiting(&self, frame: Frame, patience: Duration) -> Result<(), Frame> {
        self.recorder.offer_waiting(frame, patience)
    }

    fn end(&self) {}
}

#[test]
fn once_a_key_frame_was_looked_at_nothing_is_decoded_until_the_next() {
    face_edge::media::init().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let encoder = match gst::ElementFactory::find("x264enc") {
        Some(_) => "x264enc key-int-max=25 bframes=0 tune=zerolatency",
        None => "openh264enc gop-size=25",
    };
    let pipeline = format!(
        "videotestsrc pattern=ball num-buffers=50 ! video/x-raw,format=I420,width=320,height=180,framerate=25/1 ! \
         {encoder} ! h264parse ! mp4mux ! filesink name=out"
    );
    let sim = SimCamera::start(SimSpec::new(vec![make(folder.path(), "plain.mp4", &pipeline)])).unwrap();
    let recorder = Arc::new(Recorder::default());
    let spec = live(&sim.url(0));
    let sink = Sleepy { idle: Arc::clone(&spec.idle), recorder: Arc::clone(&recorder) };
    let _reader = Camera::start(spec, Arc::new(sink), |_| ()).unwrap();
    // Until two key frames have told how far they are apart, all are decoded.
    let second = |log: &Log| log.frames.iter().position(|frame| frame.0 == 25);
    let numbers = recorder.wait("key frames", |log| {
        let after: Vec<u64> = log.frames.iter().skip(second(log)?).map(|frame| frame.0).collect();
        (after.len() >= 4).then_some(after)
    });
    assert_eq!(numbers[..4], [25, 50, 75, 100]);
}

#[test]
fn another_resolution_in_mid_stream_is_no_fault() {
    let folder = tempfile::tempdir().unwrap();
    let small = clip(folder.path(), 50);
    let encoder = if gst::ElementFactory::find("x264enc").is_some() { "x264enc key-int-max=25" } else { "openh264enc" };
    let large = make(
        folder.path(),
        "large.mp4",
        &format!(
            "videotestsrc pattern=ball num-buffers=50 ! video/x-raw,format=I420,width=640,height=360,framerate=25/1 ! \
             {encoder} ! h264parse ! mp4mux ! filesink name=out"
        ),
    );
    let sim = SimCamera::start(SimSpec::new(vec![small, large])).unwrap();
    let recorder = Arc::new(Recorder::default());
    let reader = recorder.start(live(&sim.url(0)));
    recorder.wait_frames(20);
    sim.fail(Trouble::Change);
    let sizes = |log: &Log| log.frames.iter().map(|f| (f.2, f.3)).collect::<Vec<_>>();
    let large = |log: &Log| sizes(log).into_iter().filter(|&size| size == (640, 360)).count();
    recorder.wait("the other resolution", |log| (large(log) >= 30).then_some(()));
    let (mut sizes, states) = recorder.wait("states", |log| Some((sizes(log), log.states.len())));
    reader.stop();
    sizes.dedup();
    assert_eq!(sizes, [(320, 180), (640, 360)]);
    assert_eq!(states, 3, "connecting, and playing twice: no fault");
}

#[test]
fn udp_works_too() {
    let folder = tempfile::tempdir().unwrap();
    let sim = camera(folder.path());
    let recorder = Arc::new(Recorder::default());
    let _reader = recorder.start(live(&sim.url(0).replace("rtsp://", "rtspu://")));
    recorder.wait_frames(30);
}

#[test]
fn h265_works_too() {
    let Some(video) = shared("intel_ccby/asl_dev_grid2x2_1280x720_h265.mp4") else { return };
    let sim = SimCamera::start(SimSpec::new(vec![video])).unwrap();
    let recorder = Arc::new(Recorder::default());
    let _reader = recorder.start(live(&sim.url(0)));
    recorder.wait_frames(30);
}

#[test]
fn each_video_has_a_path_and_other_paths_are_not_found() {
    let folder = tempfile::tempdir().unwrap();
    let path = clip(folder.path(), 50);
    let sim = SimCamera::start(SimSpec::new(vec![path.clone(), path])).unwrap();
    let recorder = Arc::new(Recorder::default());
    let _reader = recorder.start(live(&sim.url(1)));
    recorder.wait_frames(5);
    let lost = Arc::new(Recorder::default());
    let _reader = lost.start(live(&sim.url(2)));
    assert_eq!(wait_fault(&lost), FaultKind::NotFound);
}

#[test]
fn an_absent_camera_is_waited_for_and_a_lost_one_taken_up_again() {
    let folder = tempfile::tempdir().unwrap();
    clip(folder.path(), 50);
    let listen = reserve();
    let recorder = Arc::new(Recorder::default());
    let _reader = recorder.start(live(&format!("rtsp://{listen}/cam0")));
    assert_eq!(wait_fault(&recorder), FaultKind::Refused);
    let sim = start_at(folder.path(), listen);
    playing(&recorder, 1);
    recorder.wait_frames(10);
    sim.stop();
    let after = recorder.wait("the loss", |log| {
        let playing = log.states.iter().position(|state| matches!(state, CameraState::Playing { .. }))?;
        log.states[playing..]
            .iter()
            .any(|state| matches!(state, CameraState::Recovering { .. }))
            .then_some(log.frames.len())
    });
    let _sim = start_at(folder.path(), listen);
    playing(&recorder, 2);
    recorder.wait_frames(after + 10);
    let (numbers, times): (Vec<u64>, Vec<u64>) =
        recorder.wait("frames", |log| Some(log.frames.iter().map(|f| (f.0, f.1)).unzip()));
    assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1), "{numbers:?}");
    assert!(times.windows(2).all(|pair| pair[1] > pair[0]), "{times:?}");
}

#[test]
fn connections_that_are_cut_come_back() {
    let folder = tempfile::tempdir().unwrap();
    let sim = camera(folder.path());
    let recorder = Arc::new(Recorder::default());
    let _reader = recorder.start(live(&sim.url(0)));
    recorder.wait_frames(5);
    sim.fail(Trouble::Drop);
    assert_eq!(wait_fault(&recorder), FaultKind::Disconnected);
    playing(&recorder, 2);
}

#[test]
fn a_frozen_camera_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let sim = camera(folder.path());
    let recorder = Arc::new(Recorder::default());
    let _reader = recorder.start(live(&sim.url(0)));
    recorder.wait_frames(5);
    sim.fail(Trouble::Freeze);
    assert_eq!(wait_fault(&recorder), FaultKind::Timeout);
}

#[test]
fn a_wrong_password_is_named_and_never_shown() {
    let folder = tempfile::tempdir().unwrap();
    let path = clip(folder.path(), 50);
    let login = || Some(Login { user: "cam".into(), password: "right@1".into() });
    let sim = SimCamera::start(SimSpec { login: login(), ..SimSpec::new(vec![path]) }).unwrap();
    let url = |password: &str| sim.url(0).replace("rtsp://", &format!("rtsp://cam:{password}@"));

    let wrong = Arc::new(Recorder::default());
    let _reader = wrong.start(live(&url("wrong-secret")));
    assert_eq!(wait_fault(&wrong), FaultKind::Unauthorized);
    let shown = wrong.wait("states", |log| Some(format!("{:?}", log.states)));
    assert!(!shown.contains("wrong-secret"), "{shown}");

    let right = Arc::new(Recorder::default());
    let _reader = right.start(live(&url("right%401")));
    right.wait_frames(5);
}

#[test]
fn a_stop_does_not_wait_for_a_silent_camera() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let recorder = Arc::new(Recorder::default());
    let reader = recorder.start(CameraSpec::new(format!("rtsp://{}/cam0", silent.local_addr().unwrap()), Pace::Live));
    let (_held, _) = silent.accept().unwrap();
    reader.stop();
    assert_eq!(recorder.wait("states", |log| Some(log.states.clone())), [CameraState::Connecting]);
}

#[test]
fn what_is_no_video_cannot_be_filmed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("words.mp4");
    std::fs::write(&path, "no video at all").unwrap();
    let Err(error) = SimCamera::start(SimSpec::new(vec![path])) else { panic!("words are no video") };
    assert!(error.to_string().contains("words.mp4"), "{error}");
}

#[test]
fn the_drawn_scene_is_recorded_and_plays() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("scene.mp4");
    recording::record(&path, 10, &mut |_, _| ()).unwrap();
    let recorder = Arc::new(Recorder::default());
    let _reader = recorder.start(CameraSpec::new(path.to_str().unwrap(), Pace::Max));
    recorder.wait("the end", |log| (log.ended == 1).then_some(()));
    let sizes = recorder.wait("frames", |log| Some(log.frames.iter().map(|f| (f.2, f.3)).collect::<Vec<_>>()));
    assert_eq!(sizes, [(scene::WIDTH, scene::HEIGHT); 10]);
}
