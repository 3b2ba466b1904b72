//! The whole program over decoding alone: `face-edge run` at max pace on a 1080p H.264 clip, every fifth frame
//! analysed, against the same decoder on one thread with nothing behind it, as a plain GStreamer pipeline has it. All
//! run as child processes, in turn, and are charged user and system time, so the ratio holds on a busy machine. A plain
//! pipeline's decoder copies each picture, this program's does not: what that alone takes is printed, too.
//!
//! `CLIP=file.mp4` chooses the clip; else those of ../shared/videos, else the drawn scene is rendered. What a clip costs
//! depends on how it was coded: pictures that nothing refers to are not decoded unless it is their turn.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use face_edge::media;
use face_edge::sim::recording;
use gst::prelude::*;
use nix::sys::resource::{UsageWho, getrusage};

const ROUNDS: usize = 11;
const DECODE_ONLY: &str = "FACE_EDGE_BENCH_DECODE_ONLY";
const DECODE_UNCOPIED: &str = "FACE_EDGE_BENCH_DECODE_UNCOPIED";

/// A size window, and what it stands for.
struct Case {
    name: &'static str,
    window_px: (u32, u32),
    bound: f64,
}

const CASES: [Case; 2] = [
    Case { name: "640x384 input (window 36..900)", window_px: (36, 900), bound: 1.37 },
    Case { name: "the sample's window 120..800", window_px: (120, 800), bound: 1.20 },
];

fn main() {
    if let Some(clip) = std::env::var_os(DECODE_ONLY) {
        media::init().expect("GStreamer starts");
        return decode_as_anybody_would(&clip.to_string_lossy());
    }
    if let Some(clip) = std::env::var_os(DECODE_UNCOPIED) {
        media::init().expect("GStreamer starts");
        let frames = media::measure_decode(&clip.to_string_lossy()).expect("the clip decodes");
        println!("{frames}");
        return;
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let model = std::env::var("MODEL").unwrap_or_else(|_| best_model());
    for clip in clips(folder.path()) {
        println!(
            "end_to_end: {} with {model}, every fifth frame, CPU seconds (user+sys), {ROUNDS} rounds",
            clip.display()
        );
        for case in &CASES {
            measure(case, &clip, &model, folder.path());
        }
    }
}

fn measure(case: &Case, clip: &Path, model: &str, folder: &Path) {
    let task = folder.join("task.json");
    std::fs::write(&task, task_json(case.window_px)).expect("a temporary file");
    // A folder a round: a file written over a younger one costs the file system more than any box would pay.
    let stem = clip.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    let out = |round: usize| folder.join(format!("out-{stem}-{}-{round}", case.window_px.0));
    let mut rounds: Vec<[f64; 3]> = (0..ROUNDS)
        .map(|round| {
            let alone = cpu_seconds(&mut decode(DECODE_ONLY, clip));
            let uncopied = cpu_seconds(&mut decode(DECODE_UNCOPIED, clip));
            [alone, uncopied, cpu_seconds(&mut whole_program(&task, clip, model, &out(round)))]
        })
        .collect();
    rounds.sort_by(|a, b| (a[2] / a[0]).total_cmp(&(b[2] / b[0])));
    let [alone, uncopied, whole] = rounds[ROUNDS / 2];
    let frames = frames(clip);
    println!(
        "end_to_end/{}: decode {alone:.2} s, whole {whole:.2} s, ratio {:.3} (bound {:.2}); {:.1} analysed frames a CPU second; \
         decoding without copies {uncopied:.2} s, ratio to that {:.3}",
        case.name,
        whole / alone,
        case.bound,
        frames as f64 / 5.0 / whole,
        whole / uncopied,
    );
}

/// `gst-launch-1.0 filesrc ! decodebin ! fakesink`, the decoder with one thread.
fn decode_as_anybody_would(clip: &str) {
    let text = "filesrc name=source ! decodebin caps=video/x-raw(ANY) expose-all-streams=false ! fakesink sync=false";
    let pipeline = gst::parse::launch(text).expect("a pipeline").downcast::<gst::Pipeline>().expect("a pipeline");
    pipeline.by_name("source").expect("it is there").set_property("location", clip);
    pipeline.connect_deep_element_added(|_, _, element| {
        if element.has_property("max-threads") {
            element.set_property("max-threads", 1i32);
        }
    });
    pipeline.set_state(gst::State::Playing).expect("it plays");
    let bus = pipeline.bus().expect("every pipeline has one");
    let end = bus.timed_pop_filtered(gst::ClockTime::NONE, &[gst::MessageType::Error, gst::MessageType::Eos]);
    assert!(end.is_some_and(|end| end.type_() == gst::MessageType::Eos), "the clip decodes");
    pipeline.set_state(gst::State::Null).expect("it stops");
}

fn decode(how: &str, clip: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("this program has a path"));
    command.env(how, clip);
    command
}

fn whole_program(task: &Path, clip: &Path, model: &str, out: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_face-edge"));
    command.arg("run").arg(task).arg("--output").arg(out).args(["--pace", "max", "--model", model]);
    command.arg("--input").arg(format!("file://{}", clip.display()));
    if Path::new("../shared/models").is_dir() {
        command.args(["--models", "../shared/models"]);
    }
    command
}

/// User and system time of one child, which must succeed.
fn cpu_seconds(command: &mut Command) -> f64 {
    let spent = || {
        let usage = getrusage(UsageWho::RUSAGE_CHILDREN).expect("the kernel counts");
        let seconds = |t: nix::sys::time::TimeVal| t.tv_sec() as f64 + t.tv_usec() as f64 / 1e6;
        seconds(usage.user_time()) + seconds(usage.system_time())
    };
    let before = spent();
    let output = command.stdout(Stdio::null()).stderr(Stdio::piped()).output().expect("the program starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    spent() - before
}

fn frames(clip: &Path) -> u64 {
    let output = decode(DECODE_UNCOPIED, clip).output().expect("the program starts");
    String::from_utf8_lossy(&output.stdout).trim().parse().expect("a number of frames")
}

/// The first is coded with pictures that nothing refers to, the second without any.
fn clips(folder: &Path) -> Vec<PathBuf> {
    const SHARED: [&str; 2] =
        ["intel_ccby/asl_dev_grid3x3_1920x1080_h264.mp4", "third_party_no_licence/crowd_1080p.mp4"];
    if let Some(own) = std::env::var_os("CLIP") {
        return vec![PathBuf::from(own).canonicalize().expect("CLIP names a file")];
    }
    let shared: Vec<PathBuf> =
        SHARED.iter().filter_map(|name| Path::new("../shared/videos").join(name).canonicalize().ok()).collect();
    if !shared.is_empty() {
        return shared;
    }
    println!("end_to_end: ../shared/videos is absent, rendering the drawn scene");
    vec![recording::ensure(folder, &mut |_, _| {}).expect("the scene renders").video]
}

fn best_model() -> String {
    let name = if Path::new("../shared/models/yunet").is_dir() { "yunet_n" } else { "default" };
    name.to_owned()
}

fn task_json((min, max): (u32, u32)) -> String {
    format!(
        r#"{{"name": "bench", "service_version": "3.0", "edge_pool_id": "default",
            "input": {{"type": "url", "data": [{{"url": "file:///replaced-by-input"}}]}},
            "output": {{"localpath": {{"mount_source_path": "/replaced-by-output", "data_category": ["FaceImage"]}}}},
            "service_config": {{"common": {{"detection_min_size": {min}, "detection_max_size": {max},
                "face_repeat_send_sw": 1, "face_repeat_send_interval": 1, "frame_skip_number": 4}}}}}}"#
    )
}
