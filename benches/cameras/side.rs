//! What is measured and what it is measured on: child processes, and the counts that they tell.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use crate::limit::Limit;

const PICTURES_A_SECOND: f64 = 25.0;
const ANALYSES_A_SECOND: f64 = 5.0;
/// An analysis is late that is not over within its turn.
const TURN_SECONDS: &str = "0.2";
const PAUSE: Duration = Duration::from_millis(20);
const PUBLISHED_WITHIN: Duration = Duration::from_secs(20);

/// In kilobytes, by the kernel's account.
pub struct Memory {
    most: u64,
    now: u64,
    own: u64,
}

impl Memory {
    pub fn bound_mb(cameras: usize) -> usize {
        80 + 25 * cameras
    }

    /// What is not its own are files that are mapped, libraries above all: the kernel has them in memory once for all
    /// processes and drops them where it is short.
    pub fn told(&self, cameras: usize) -> String {
        let mb = |kb: u64| kb as f64 * 1024.0 / 1e6;
        format!(
            "memory: {:.1} MB resident ({:.1} at most), {:.1} of it its own and {:.1} mapped files (bound {} MB)",
            mb(self.now),
            mb(self.most),
            mb(self.own),
            mb(self.now - self.own),
            Self::bound_mb(cameras),
        )
    }
}

/// A child that ends with its owner.
pub struct Process(Child);

impl Process {
    /// User and system time in seconds.
    pub fn cpu(&self) -> f64 {
        (self.stat(11) + self.stat(12)) as f64 / 100.0
    }

    /// How often a page had to be read from the disk.
    pub fn major_faults(&self) -> u64 {
        self.stat(9)
    }

    /// A field of /proc/PID/stat, counted from the one after the name.
    fn stat(&self, index: usize) -> u64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.0.id())).expect("the child runs");
        let after_name = stat.rsplit_once(')').expect("a name in brackets").1;
        after_name.split_whitespace().nth(index).and_then(|field| field.parse().ok()).expect("a number")
    }

    pub fn memory(&self) -> Memory {
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

pub struct Simulation {
    pub child: Process,
    pub urls: Vec<String>,
}

impl Simulation {
    /// A path a camera, so that each has its own beat.
    pub fn start(clip: &Path, count: usize) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_face-edge"));
        command.args(["sim", "camera", "--listen", "127.0.0.1:0"]).args(std::iter::repeat_n(clip, count));
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("the simulation starts");
        let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let urls: Vec<String> = lines.take(count).map(|line| line.expect("an address a camera")).collect();
        Self { child: Process(child), urls }
    }
}

pub struct Measured {
    pub child: Process,
    source: Source,
    /// Taken back after the child has ended.
    _limit: Option<Limit>,
}

/// Where the counts are read.
enum Source {
    /// Answers each line with a number.
    Decoders(BufReader<ChildStdout>),
    Service {
        address: String,
        run: PathBuf,
    },
}

impl Measured {
    pub fn decode(how: &str, urls: &[String]) -> Self {
        let mut command = Command::new(std::env::current_exe().expect("this program has a path"));
        command.env(how, urls.join(" ")).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("this program starts");
        let answers = BufReader::new(child.stdout.take().expect("piped"));
        Self { child: Process(child), source: Source::Decoders(answers), _limit: None }
    }

    /// Without a task yet.
    pub fn serve(folder: &Path, idle_decode: &str, limit: Option<Limit>) -> Self {
        let run = tempfile::tempdir_in(folder).expect("a temporary folder").keep();
        let tasks = run.join("tasks");
        std::fs::create_dir(&tasks).expect("a folder");
        let program = env!("CARGO_BIN_EXE_face-edge");
        let mut command = limit.as_ref().map_or_else(|| Command::new(program), |limit| limit.command(program));
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
        Self { child: Process(child), source: Source::Service { address, run }, _limit: limit }
    }

    /// A task a camera; the service looks into its folder every two seconds.
    pub fn watch(&self, urls: &[String]) {
        let Source::Service { run, .. } = &self.source else { return };
        for (index, url) in urls.iter().enumerate() {
            let (made, file) = (run.join("task"), run.join(format!("tasks/{index:02}.json")));
            std::fs::write(&made, task_json(url, &run.join(format!("out-{index}")))).expect("a file");
            std::fs::rename(made, file).expect("a file");
        }
    }

    pub fn counts(&mut self) -> Counts {
        match &mut self.source {
            Source::Decoders(answers) => {
                self.child.0.stdin.as_mut().expect("piped").write_all(b"\n").expect("the child listens");
                let mut line = String::new();
                answers.read_line(&mut line).expect("the child answers");
                Counts { decoded: line.trim().parse().expect("a number"), ..Counts::default() }
            }
            Source::Service { address, .. } => Counts::just_published(address),
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
pub struct Counts {
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
        for _ in 0..PUBLISHED_WITHIN.as_millis() / PAUSE.as_millis() {
            std::thread::sleep(PAUSE);
            let counts = Self::of_metrics(&get(address, "/metrics"));
            if counts.decoded != first.decoded {
                return counts;
            }
        }
        panic!("nothing was decoded in {PUBLISHED_WITHIN:?}");
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
    pub fn late_since(&self, before: &Self, camera_seconds: f64) -> f64 {
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

    pub fn stages_since(&self, before: &Self, camera_seconds: f64) -> String {
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
