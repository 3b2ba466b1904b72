//! How many simulated RTSP cameras (1080p25, H.264, about 4 Mbit/s, people in view) this box holds at five analyses a
//! second each, against the number that decoding alone allows; and what the whole service takes over decoding alone
//! while people are in view, while nothing moves, and while of an idle scene only key frames are decoded.
//!
//! Decoding alone is the same decoder on one thread with nothing behind it, as a plain GStreamer pipeline has it. There
//! it copies each picture, behind this program's sink it does not: decoding alone without copies is measured as well, and
//! is the harder measure.
//!
//! The cameras are one process, what is measured is another: the service itself with a task a camera, or this program
//! with nothing but the decoders. Both pay for the simulation the same way, by having less of the box. Processor time is
//! the kernel's account of the measured process. Needs ffmpeg to make the clips.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

use face_edge::clock;
use face_edge::frame::Frame;
use face_edge::media::{self, Camera, CameraSpec, FrameSink, Pace};
use gst::prelude::*;

const DECODE_ONLY: &str = "FACE_EDGE_BENCH_DECODE_ONLY";
const DECODE_UNCOPIED: &str = "FACE_EDGE_BENCH_DECODE_UNCOPIED";
const PICTURES_A_SECOND: f64 = 25.0;
const ANALYSES_A_SECOND: f64 = 5.0;
/// An analysis is late that is not over within its turn.
const TURN_SECONDS: &str = "0.2";
/// Until all are connected, and a scene that is still is known to be idle.
const SETTLE: Duration = Duration::from_secs(6);
const SETTLE_IDLE: Duration = Duration::from_secs(20);
const SPAN: Duration = Duration::from_secs(20);
const LATE_MAX: f64 = 0.01;
const FEW: usize = 3;
/// Of the number that the processor time of few cameras lets expect, what is surely held.
const SURE: f64 = 0.9;

fn main() {
    if let Ok(urls) = std::env::var(DECODE_ONLY) {
        return decode_as_anybody_would(&urls);
    }
    if let Ok(urls) = std::env::var(DECODE_UNCOPIED) {
        return decode_uncopied(&urls);
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let clips = Clips::make(folder.path());
    let a_camera = ratios(&clips, folder.path());
    let [alone, uncopied, whole] = most(&clips.people, folder.path(), a_camera);
    let percent = |of: usize| 100.0 * whole as f64 / of as f64;
    println!(
        "cameras: {whole} of {alone} that decoding alone allows, {:.1} % (bound 85 %); {:.1} % of the {uncopied} without copies",
        percent(alone),
        percent(uncopied)
    );
}

#[derive(Clone, Copy)]
enum Work {
    /// `how`: the variable by which this program is told.
    Decode {
        how: &'static str,
    },
    Serve {
        idle_decode: &'static str,
    },
}

const ALONE: Work = Work::Decode { how: DECODE_ONLY };
const UNCOPIED: Work = Work::Decode { how: DECODE_UNCOPIED };
const WHOLE: Work = Work::Serve { idle_decode: "all" };

/// Whole over decoding alone, few cameras each on a box that has time; all at once, so that a machine that is faster in
/// one minute than in the next is so for all. Processor seconds that a camera of the service takes in a second, with
/// people in view.
fn ratios(clips: &Clips, folder: &Path) -> f64 {
    let cases = [
        ("people in view", &clips.people, "all", SETTLE, "1.15"),
        ("people in view, every other picture left out", &clips.disposable, "all", SETTLE, "none"),
        ("idle scene, motion gate", &clips.idle, "all", SETTLE_IDLE, "1.03"),
        ("idle scene, key frames only", &clips.idle, "keyframes", SETTLE_IDLE, "0.2"),
    ];
    let of_case = cases.map(|(name, clip, idle_decode, settle, bound)| {
        let works = [ALONE, UNCOPIED, Work::Serve { idle_decode }];
        let [alone, uncopied, whole] = measure(clip, folder, FEW, works, settle);
        println!(
            "cameras/{name}: {FEW} cameras; CPU seconds a camera-second: decoding alone {:.4}, whole {:.4}, ratio {:.3} (bound {bound}); \
             decoding without copies {:.4}, ratio to that {:.3}\n    {}\n    {}",
            alone.cpu,
            whole.cpu,
            whole.cpu / alone.cpu,
            uncopied.cpu,
            whole.cpu / uncopied.cpu,
            whole.stages,
            whole.memory.told(FEW),
        );
        whole.cpu + whole.simulation
    });
    of_case[0]
}

/// The most cameras of which less than one analysis (or picture) in a hundred is late: for decoding alone, without
/// copies, and for the service. Number by number and all three of them in turn, because a machine's speed goes up and
/// down; each has a second chance.
fn most(clip: &Path, folder: &Path, a_camera: f64) -> [usize; 3] {
    let cores = std::thread::available_parallelism().expect("known").get() as f64;
    let first = ((cores / a_camera * SURE) as usize).max(1);
    let names = ["decoding alone", "decoding alone, without copies", "the service"];
    let mut held = [None; 3];
    for count in first.. {
        for (index, work) in [ALONE, UNCOPIED, WHOLE].into_iter().enumerate() {
            if held[index].is_none() && !(0..2).any(|_| holds(names[index], clip, folder, count, work)) {
                held[index] = Some(count - 1);
            }
        }
        if let [Some(alone), Some(uncopied), Some(whole)] = held {
            return [alone, uncopied, whole];
        }
    }
    unreachable!("no box holds them all")
}

fn holds(name: &str, clip: &Path, folder: &Path, count: usize, work: Work) -> bool {
    let [result] = measure(clip, folder, count, [work], SETTLE);
    println!(
        "cameras/{name}: {count} cameras: {:.2} % late, {:.4} CPU seconds a camera-second, {:.4} of the simulation\n    {}\n    {}",
        100.0 * result.late,
        result.cpu,
        result.simulation,
        result.stages,
        result.memory.told(count),
    );
    result.late < LATE_MAX
}

struct Result {
    late: f64,
    /// Seconds of processor time a camera and second.
    cpu: f64,
    simulation: f64,
    stages: String,
    memory: Memory,
}

/// In kilobytes, by the kernel's account.
struct Memory {
    most: u64,
    now: u64,
    own: u64,
}

impl Memory {
    /// What is not its own are files that are mapped, libraries above all: the kernel has them in memory once for all
    /// processes and drops them where it is short.
    fn told(&self, cameras: usize) -> String {
        let mb = |kb: u64| kb as f64 * 1024.0 / 1e6;
        format!(
            "memory: {:.1} MB resident ({:.1} at most), {:.1} of it its own and {:.1} mapped files (bound {} MB)",
            mb(self.now),
            mb(self.most),
            mb(self.own),
            mb(self.now - self.own),
            80 + 25 * cameras,
        )
    }
}

/// Each work with cameras of its own, side by side.
fn measure<const WORKS: usize>(
    clip: &Path,
    folder: &Path,
    count: usize,
    works: [Work; WORKS],
    settle: Duration,
) -> [Result; WORKS] {
    let mut sides = works.map(|work| {
        let simulation = Simulation::start(clip, count);
        let measured = match work {
            Work::Decode { how } => Measured::decode(how, &simulation.urls),
            Work::Serve { idle_decode } => Measured::serve(&simulation.urls, folder, idle_decode),
        };
        (simulation, measured)
    });
    std::thread::sleep(settle);
    let before = sides.each_mut().map(|(simulation, measured)| {
        (measured.counts(), measured.child.cpu(), simulation.child.cpu(), clock::monotonic())
    });
    std::thread::sleep(SPAN);
    let mut before = before.into_iter();
    sides.map(|(simulation, mut measured)| {
        let (counts, cpu, simulated, begun) = before.next().expect("one each");
        let after = measured.counts();
        let a_camera_second = count as f64 * begun.elapsed().as_secs_f64();
        Result {
            late: after.late_since(&counts, a_camera_second),
            cpu: (measured.child.cpu() - cpu) / a_camera_second,
            simulation: (simulation.child.cpu() - simulated) / a_camera_second,
            stages: after.stages_since(&counts, a_camera_second),
            memory: measured.child.memory(),
        }
    })
}

/// A child that ends with its owner.
struct Process(Child);

impl Process {
    /// User and system time in seconds, out of /proc/PID/stat.
    fn cpu(&self) -> f64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.0.id())).expect("the child runs");
        let after_name = stat.rsplit_once(')').expect("a name in brackets").1;
        let fields: Vec<&str> = after_name.split_whitespace().collect();
        let ticks = |index: usize| fields[index].parse::<f64>().expect("a number");
        (ticks(11) + ticks(12)) / 100.0
    }

    fn memory(&self) -> Memory {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.0.id())).expect("the child runs");
        let kb = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("the kernel tells it");
            line.trim().trim_end_matches(" kB").parse().expect("a number")
        };
        Memory { most: kb("VmHWM:"), now: kb("VmRSS:"), own: kb("RssAnon:") }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

struct Simulation {
    child: Process,
    urls: Vec<String>,
}

impl Simulation {
    /// A path a camera, so that each has its own beat.
    fn start(clip: &Path, count: usize) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_face-edge"));
        command.args(["sim", "camera", "--listen", "127.0.0.1:0"]).args(std::iter::repeat_n(clip, count));
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("the simulation starts");
        let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let urls: Vec<String> = lines.take(count).map(|line| line.expect("an address a camera")).collect();
        Self { child: Process(child), urls }
    }
}

struct Measured {
    child: Process,
    source: Source,
}

/// Where the counts are read.
enum Source {
    /// Answers each line with a number.
    Decoders(BufReader<ChildStdout>),
    /// Address of the service.
    Metrics(String),
}

impl Measured {
    fn decode(how: &str, urls: &[String]) -> Self {
        let mut command = Command::new(std::env::current_exe().expect("this program has a path"));
        command.env(how, urls.join(" ")).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("this program starts");
        let answers = BufReader::new(child.stdout.take().expect("piped"));
        Self { child: Process(child), source: Source::Decoders(answers) }
    }

    fn serve(urls: &[String], folder: &Path, idle_decode: &str) -> Self {
        let run = tempfile::tempdir_in(folder).expect("a temporary folder").keep();
        let tasks = run.join("tasks");
        std::fs::create_dir(&tasks).expect("a folder");
        for (index, url) in urls.iter().enumerate() {
            let out = run.join(format!("out-{index}"));
            std::fs::write(tasks.join(format!("{index:02}.json")), task_json(url, &out)).expect("a file");
        }
        let mut command = Command::new(env!("CARGO_BIN_EXE_face-edge"));
        command.arg("serve").args(["--listen", "127.0.0.1:0"]).arg("--data-dir").arg(run.join("data"));
        command.arg("--tasks").arg(&tasks);
        let cameras = format!("{{ idle_decode = \"{idle_decode}\", min_analyses_per_second = 0 }}");
        command.env("FACE_EDGE_CAMERAS", cameras).env("FACE_EDGE_LOG", "json");
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("the service starts");
        let mut log = BufReader::new(child.stderr.take().expect("piped"));
        let address = ready_address(&mut log);
        std::thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || std::io::copy(&mut log, &mut std::io::sink()))
            .expect("a thread");
        Self { child: Process(child), source: Source::Metrics(address) }
    }

    fn counts(&mut self) -> Counts {
        match &mut self.source {
            Source::Decoders(answers) => {
                self.child.0.stdin.as_mut().expect("piped").write_all(b"\n").expect("the child listens");
                let mut line = String::new();
                answers.read_line(&mut line).expect("the child answers");
                Counts { decoded: line.trim().parse().expect("a number"), ..Counts::default() }
            }
            Source::Metrics(address) => Counts::just_published(address),
        }
    }
}

fn ready_address(log: &mut impl BufRead) -> String {
    let mut line = String::new();
    while log.read_line(&mut line).expect("the service's log") > 0 {
        if let Some((_, rest)) = line.split_once("\"address\":\"") {
            return rest.split('"').next().expect("closed").to_owned();
        }
        line.clear();
    }
    panic!("the service ended before it was ready");
}

fn get(address: &str, path: &str) -> String {
    let mut connection = TcpStream::connect(address).expect("the service answers");
    write!(connection, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").expect("sent");
    let mut answer = String::new();
    connection.read_to_string(&mut answer).expect("received");
    answer
}

/// Since the start, of all cameras.
#[derive(Default)]
struct Counts {
    decoded: f64,
    left_out: f64,
    /// `None` where nothing is analysed.
    analyses: Option<Analyses>,
    /// Microseconds of processor time by stage.
    stages: Vec<(&'static str, f64)>,
}

struct Analyses {
    wanted: f64,
    on_time: f64,
    still: f64,
}

impl Counts {
    /// The service publishes its cameras' counts every two seconds: what is read is what has just been published.
    fn just_published(address: &str) -> Self {
        let first = Self::of_metrics(&get(address, "/metrics"));
        loop {
            std::thread::sleep(Duration::from_millis(20));
            let counts = Self::of_metrics(&get(address, "/metrics"));
            if counts.decoded != first.decoded {
                return counts;
            }
        }
    }

    fn of_metrics(text: &str) -> Self {
        let sum = |name: &str, label: &str| -> f64 {
            let lines = text.lines().filter(|line| line.starts_with(name) && line.contains(label));
            lines.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok()).sum()
        };
        let stage = |stage| (stage, sum("face_edge_cpu_microseconds_total", &format!("stage=\"{stage}\"")));
        let on_time = sum("face_edge_frame_seconds_bucket", &format!("le=\"{TURN_SECONDS}\""));
        let still = sum("face_edge_frames_still_total", "");
        let wanted = sum("face_edge_frames_offered_total", "");
        Self {
            decoded: sum("face_edge_frames_decoded_total", ""),
            left_out: sum("face_edge_frames_left_out_total", ""),
            analyses: Some(Analyses { wanted, on_time, still }),
            stages: ["decode", "detect", "rules", "encode"].map(stage).to_vec(),
        }
    }

    /// The larger part of what did not come in time: pictures, analyses.
    fn late_since(&self, before: &Self, camera_seconds: f64) -> f64 {
        let pictures = (self.decoded + self.left_out) - (before.decoded + before.left_out);
        let late_pictures = 1.0 - pictures / (camera_seconds * PICTURES_A_SECOND);
        let late_analyses = match (&self.analyses, &before.analyses) {
            (Some(now), Some(before)) => {
                let done = (now.on_time + now.still) - (before.on_time + before.still);
                1.0 - done / (now.wanted - before.wanted).max(camera_seconds * ANALYSES_A_SECOND * 0.5)
            }
            _ => 0.0,
        };
        late_pictures.max(late_analyses).max(0.0)
    }

    fn stages_since(&self, before: &Self, camera_seconds: f64) -> String {
        let mut text =
            format!("pictures decoded a camera-second {:.1}", (self.decoded - before.decoded) / camera_seconds);
        if let (Some(now), Some(then)) = (&self.analyses, &before.analyses) {
            let rate = |now: f64, then: f64| (now - then) / camera_seconds;
            text += &format!(
                "; analyses wanted {:.2}, done in time {:.2}, passed over as still {:.2}",
                rate(now.wanted, then.wanted),
                rate(now.on_time, then.on_time),
                rate(now.still, then.still)
            );
        }
        for ((name, now), (_, then)) in self.stages.iter().zip(&before.stages) {
            text += &format!("; {name} {:.4}", (now - then) / 1e6 / camera_seconds);
        }
        text
    }
}

/// `rtspsrc ! decodebin ! fakesink`, the decoder with one thread.
fn decode_as_anybody_would(urls: &str) {
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
fn decode_uncopied(urls: &str) {
    struct Nobody;
    impl FrameSink for Nobody {
        fn offer(&self, _: Frame) {}
        fn offer_waiting(&self, _: Frame, _: Duration) -> std::result::Result<(), Frame> {
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

fn task_json(url: &str, out: &Path) -> String {
    format!(
        r#"{{"name": "bench", "service_version": "3.0", "edge_pool_id": "default",
            "input": {{"type": "url", "data": [{{"url": "{url}"}}]}},
            "output": {{"localpath": {{"mount_source_path": "{}", "data_category": ["FaceImage"]}}}},
            "service_config": {{"common": {{"detection_min_size": 120, "detection_max_size": 800,
                "face_repeat_send_sw": 1, "face_repeat_send_interval": 1, "frame_skip_number": 4}}}}}}"#,
        out.display()
    )
}

struct Clips {
    people: PathBuf,
    /// Coded so that nothing refers to every other picture.
    disposable: PathBuf,
    idle: PathBuf,
}

impl Clips {
    fn make(folder: &Path) -> Self {
        const SHARED: &str = "../shared/videos/intel_ccby/asl_dev_grid2x2_1280x720_h264.mp4";
        let source = match Path::new(SHARED).canonicalize() {
            Ok(clip) => clip,
            Err(_) => {
                println!("cameras: ../shared/videos is absent, rendering the drawn scene");
                face_edge::sim::recording::ensure(folder, &mut |_, _| {}).expect("the scene renders").video
            }
        };
        println!(
            "cameras: {}, coded anew with 1920x1080, 25 a second, 4 Mbit/s, a key frame every 2 s",
            source.display()
        );
        let source = source.to_string_lossy().into_owned();
        let still = "testsrc2=size=1920x1080:rate=25,trim=end_frame=1,loop=-1:1,setpts=N/25/TB,noise=alls=3:allf=t";
        Self {
            people: encode(folder, "people", &["-i", &source], "0"),
            disposable: encode(folder, "disposable", &["-i", &source], "1"),
            idle: encode(folder, "idle", &["-f", "lavfi", "-i", still], "0"),
        }
    }
}

fn encode(folder: &Path, name: &str, input: &[&str], b_frames: &str) -> PathBuf {
    let path = folder.join(format!("{name}.mp4"));
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "error"]).args(input).args(["-t", "10", "-vf", "scale=1920:1080", "-r", "25", "-an"]);
    command.args(["-c:v", "libx264", "-preset", "veryfast", "-pix_fmt", "yuv420p", "-g", "50", "-sc_threshold", "0"]);
    command.args(["-bf", b_frames, "-b:v", "4M", "-maxrate", "4M", "-bufsize", "4M"]).arg(&path);
    let status = command.status().expect("ffmpeg is installed (apt-get install ffmpeg)");
    assert!(status.success(), "ffmpeg could not make {}", path.display());
    path
}
