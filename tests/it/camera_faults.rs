//! Everything that a camera may do wrong, over real RTSP, as a task shows it: by which state, in which words, with
//! which advice; that the task is well again when the camera is; and that nobody beside it notices.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use face_edge::clock;
use face_edge::domain::{Detection, Message, Rect};
use face_edge::frame::Frame;
use face_edge::media::{CameraSpec, CameraState, Pace, Patience};
use face_edge::sim::camera::{FaultKind, Login, SimCamera, SimSpec};
use serde_json::{Value, json};

use crate::media::{Recorder, clip, make};
use crate::support::town::{Town, nobody};
use crate::support::wire::Wire;

const SHORT: Patience = Patience { frame: Duration::from_secs(3), still: Duration::from_secs(3) };

struct Case {
    fault: FaultKind,
    state: &'static str,
    code: &'static str,
    /// What was seen, and what to do.
    says: [&'static str; 2],
}

const fn case(fault: FaultKind, state: &'static str, code: &'static str, says: [&'static str; 2]) -> Case {
    Case { fault, state, code, says }
}

const CASES: [Case; 11] = [
    case(FaultKind::Drop, "RECOVERING", "IVA.0010", ["the stream was closed", "restarted"]),
    case(FaultKind::Refuse, "RECOVERING", "IVA.0010", ["the connection was refused", "check the port"]),
    case(FaultKind::Hang, "RECOVERING", "IVA.0010", ["no picture arrives", "connected but silent"]),
    case(FaultKind::Lock, "RECOVERING", "IVA.0010", ["user or password not accepted", "check user and password"]),
    case(FaultKind::Gone, "RECOVERING", "IVA.0005", ["not found", "check the path"]),
    case(FaultKind::Sound, "RECOVERING", "IVA.0010", ["holds no video", "sound only"]),
    case(FaultKind::Codec, "RECOVERING", "IVA.0010", ["no decoder for this video (X-UNKNOWN)", "H.264"]),
    case(FaultKind::NoKey, "RECOVERING", "IVA.0010", ["no whole picture", "key frame (GOP) interval"]),
    case(FaultKind::Freeze, "RECOVERING", "IVA.0010", ["no picture arrives (no packet for", "connected but silent"]),
    case(FaultKind::Still, "ABNORMAL", "IVA.0010", ["the picture stands still", "encoder hangs"]),
    case(FaultKind::Recode, "RECOVERING", "IVA.0010", ["the stream was closed", "restarted"]),
];

fn encoder() -> &'static str {
    if gst::ElementFactory::find("x264enc").is_some() { "x264enc key-int-max=25" } else { "openh264enc gop-size=25" }
}

/// Twice as wide and as high as `clip`.
fn large(folder: &Path) -> std::path::PathBuf {
    let picture = "video/x-raw,format=I420,width=640,height=360,framerate=25/1";
    let encoder = encoder();
    let text = format!(
        "videotestsrc pattern=ball num-buffers=50 ! {picture} ! {encoder} ! h264parse ! mp4mux ! filesink name=out"
    );
    make(folder, "large.mp4", &text)
}

/// The same picture in another codec, where this machine can make one.
fn h265(folder: &Path) -> Option<std::path::PathBuf> {
    gst::ElementFactory::find("x265enc")?;
    let picture = "video/x-raw,format=I420,width=320,height=180,framerate=25/1";
    let text = format!(
        "videotestsrc pattern=ball num-buffers=50 ! {picture} ! x265enc key-int-max=25 tune=zerolatency ! h265parse ! \
         mp4mux ! filesink name=out"
    );
    Some(make(folder, "h265.mp4", &text))
}

/// One camera of the same process, which must not notice what happens to others.
struct Neighbour {
    recorder: Arc<Recorder>,
    _reader: face_edge::media::Camera,
    _sim: SimCamera,
}

impl Neighbour {
    fn start(video: &Path) -> Self {
        let sim = SimCamera::start(SimSpec::new(vec![video.to_owned()])).unwrap();
        let recorder = Arc::new(Recorder::default());
        let reader = recorder.start(CameraSpec::new(sim.url(0), Pace::Live));
        recorder.wait_frames(5);
        Self { recorder, _reader: reader, _sim: sim }
    }

    /// Every frame came, and it came from one connection.
    fn lost_nothing(&self) {
        let seen = |log: &crate::media::Log| {
            let places: Vec<(u64, u64)> = log.frames.iter().map(|frame| (frame.0, frame.1)).collect();
            Some((places, log.states.clone()))
        };
        let (places, states) = self.recorder.wait("its frames", seen);
        assert!(matches!(&states[..], [CameraState::Connecting, CameraState::Playing { .. }]), "{states:?}");
        let lost: Vec<_> = places
            .windows(2)
            .filter(|pair| pair[1].0 != pair[0].0 + 1 || pair[1].1 - pair[0].1 > 60_000_000)
            .map(|pair| (pair[0], pair[1]))
            .collect();
        assert!(lost.is_empty(), "of {} frames, lost between {lost:?}", places.len());
        println!("the neighbour saw {} frames and lost none", places.len());
    }
}

fn suffer(town: &Town, case: &Case, folder: &Path) {
    let other = if case.fault == FaultKind::Recode { h265(folder) } else { None };
    if case.fault == FaultKind::Recode && other.is_none() {
        println!("no x265enc here, skipped: a change of codec");
        return;
    }
    let videos = [Some(folder.join("clip.mp4")), other].into_iter().flatten().collect();
    let login = Login { user: "viewer".into(), password: "right".into() };
    let sim = SimCamera::start(SimSpec { login: Some(login), ..SimSpec::new(videos) }).unwrap();
    let url = sim.url(0).replace("rtsp://", "rtsp://viewer:right@");
    let name = format!("{:?}", case.fault);
    let task = town.create(&name, &url, json!({}));
    town.running(&task);

    sim.fail(case.fault);
    let shown = town.wait(&task, &name, |shown| shown.state == case.state && shown.message.contains(case.says[0]));
    assert_eq!(shown.code, case.code, "{shown:?}");
    assert!(shown.message.contains(case.says[1]), "{shown:?}");
    assert!(!shown.message.contains("right"), "no password: {shown:?}");

    let returned = clock::monotonic();
    sim.fail(FaultKind::Well);
    let running = town.running(&task);
    println!("{name}: {shown:?}; well again {:.1} s after the camera", returned.elapsed().as_secs_f32());
    assert_eq!((running.code.as_str(), running.message.as_str()), ("", ""));
    town.delete(&task);
}

#[test]
fn each_fault_has_a_state_and_a_hint_and_passes_without_the_neighbours_notice() {
    let folder = tempfile::tempdir().unwrap();
    let video = clip(folder.path(), 50);
    let neighbour = Neighbour::start(&video);
    let town = Town::new(SHORT, nobody);
    std::thread::scope(|scope| {
        for case in &CASES {
            let (town, folder) = (&town, folder.path());
            scope.spawn(move || suffer(town, case, folder));
        }
    });
    neighbour.lost_nothing();
}

#[test]
fn a_camera_whose_time_jumps_plays_on() {
    let folder = tempfile::tempdir().unwrap();
    let sim = SimCamera::start(SimSpec::new(vec![clip(folder.path(), 50)])).unwrap();
    let recorder = Arc::new(Recorder::default());
    let _reader = recorder.start(CameraSpec::new(sim.url(0), Pace::Live));
    for (fault, frames) in
        [(FaultKind::Ahead, 20), (FaultKind::Back, 60), (FaultKind::Back, 100), (FaultKind::Drop, 140)]
    {
        recorder.wait_frames(frames);
        if fault != FaultKind::Drop {
            sim.fail(fault);
        }
    }
    let (places, states) = recorder.wait("frames", |log| {
        let places: Vec<(u64, u64)> = log.frames.iter().map(|frame| (frame.0, frame.1)).collect();
        Some((places, log.states.clone()))
    });
    assert!(matches!(&states[..], [CameraState::Connecting, CameraState::Playing { .. }]), "{states:?}");
    let steps: Vec<u64> = places.windows(2).map(|pair| (pair[1].1 - pair[0].1) / 1_000_000).collect();
    assert!(places.windows(2).all(|pair| pair[1].0 == pair[0].0 + 1), "numbers");
    assert!(steps.iter().all(|&ms| ms < 1000), "no step of a jump's size: {steps:?} ms");
    let odd = steps.iter().filter(|&&ms| !(30..50).contains(&ms)).count();
    println!("steps of {steps:?} ms, {odd} of them not a frame's");
}

const FACE: (f32, f32) = (40.0, 40.0);

/// One face in the middle of each half, a little above the middle.
fn two_faces(frame: &Frame) -> Vec<Detection> {
    let (width, height) = frame.size();
    let face = |across: f32| {
        let (x, y) = (width as f32 * across - FACE.0 / 2.0, height as f32 * 0.4 - FACE.1 / 2.0);
        Detection { bbox: Rect::new(x, y, FACE.0, FACE.1), score: 0.95, landmarks: None }
    };
    vec![face(0.25), face(0.75)]
}

fn sent_of(town: &Town, task: &str) -> Vec<Rect> {
    let face = |message: &Message| match message {
        Message::Face(face) if face.task_id.as_str() == task => Some(face.bbox),
        _ => None,
    };
    town.sent().iter().filter_map(face).collect()
}

fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = clock::monotonic() + Duration::from_secs(60);
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(clock::monotonic() < deadline, "waited in vain for {what}");
        std::thread::park_timeout(Duration::from_millis(10));
    }
}

fn right_half() -> Value {
    json!({"detection_min_size": 20, "target_roi": {"polygons": [{"data": [[160, 0], [320, 0], [320, 180], [160, 180]]}]}})
}

#[test]
fn when_the_picture_grows_in_mid_stream_the_region_stays_where_it_is_in_the_scene() {
    let folder = tempfile::tempdir().unwrap();
    let videos = vec![clip(folder.path(), 50), large(folder.path())];
    let sim = SimCamera::start(SimSpec::new(videos)).unwrap();
    let town = Town::new(Patience::default(), two_faces);
    let task = town.create("door", &sim.url(0), right_half());
    town.running(&task);
    wait_for("the first face", || (!sent_of(&town, &task).is_empty()).then_some(()));
    sim.fail(FaultKind::Change);
    let shown = town.wait(&task, "a word about the region", |shown| shown.state == "ABNORMAL");
    assert_eq!(shown.code, "IVA.0004");
    assert!(shown.message.contains("picture of 320×180") && shown.message.contains("640×360 now"), "{shown:?}");
    let sent = wait_for("a face of the larger picture", || {
        let sent = sent_of(&town, &task);
        sent.iter().any(|face| face.center().y == 360.0 * 0.4).then_some(sent)
    });
    let centers: Vec<(f32, f32)> = sent.iter().map(|face| (face.center().x, face.center().y)).collect();
    assert!(
        centers.iter().all(|center| [(240.0, 72.0), (480.0, 144.0)].contains(center)),
        "right half only: {centers:?}"
    );
}

/// A wire that is pulled out says nothing: no end, no reset. Neither may a stop wait for an answer.
#[test]
fn a_camera_behind_a_pulled_wire_is_given_up_and_taken_up_and_can_be_removed() {
    let folder = tempfile::tempdir().unwrap();
    let video = clip(folder.path(), 50);
    let sim = SimCamera::start(SimSpec::new(vec![video.clone()])).unwrap();
    let (pulled, removed) = (Wire::to(sim.address()), Wire::to(sim.address()));
    let neighbour = Neighbour::start(&video);
    let town = Town::new(SHORT, nobody);
    let task = |name: &str, wire: &Wire| town.create(name, &format!("rtsp://{}/cam0", wire.address), json!({}));
    let (first, second) = (task("pulled", &pulled), task("removed", &removed));
    for id in [&first, &second] {
        town.running(id);
    }
    pulled.pull();
    removed.pull();
    let asked = clock::monotonic();
    town.delete(&second);
    println!("removed within {:.2} s", asked.elapsed().as_secs_f32());
    let shown = town.wait(&first, "a fault", |shown| shown.state == "RECOVERING");
    assert!(shown.message.contains("no picture arrives"), "{shown:?}");
    pulled.plug_in();
    town.running(&first);
    neighbour.lost_nothing();
}

/// A clock that is put right, by however much, changes what a picture is told to have been taken at, and nothing else:
/// whatever waits, ages or times out on the way of a frame runs on the clock that nobody can set.
#[test]
fn only_the_time_of_capture_asks_the_wall_on_the_way_of_a_frame() {
    let mut asking = Vec::new();
    let folders = ["src/media", "src/rules"].map(|folder| std::fs::read_dir(folder).unwrap());
    let files = ["src/mailbox.rs", "src/motion.rs", "src/worker.rs", "src/channel.rs", "src/supervisor/keeper.rs"];
    let files = folders.into_iter().flatten().map(|file| file.unwrap().path()).chain(files.map(Into::into));
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        if text.contains("unix_ms()") || text.contains("SystemTime") {
            asking.push(file.display().to_string());
        }
    }
    // Where the time of capture is found.
    let known = ["src/media/reference.rs", "src/media/tap.rs"];
    assert!(!asking.is_empty() && asking.iter().all(|file| known.contains(&file.as_str())), "{asking:?}");
}
