//! What comes and goes leaves nothing behind: the service's memory, files and threads after many cameras that could not
//! be reached, and many that played and were removed, are what they were before. What only starting needed is not kept.
//!
//! The service is the built program in a process of its own; the camera is in this one, so that its share does not
//! count. `make soak` does it ten thousand and a thousand times, the tests a few times: those few show what leaks a
//! file or a thread each time, and only a gross loss of memory.

use std::env;
use std::fs;
use std::net::TcpListener;
use std::time::Duration;

use face_edge::clock;
use face_edge::sim::camera::{SimCamera, SimSpec};
use serde_json::{Value, json};

use crate::media::clip;
use crate::support::program::Program;

/// Failed connects and cycles of a playing camera, as `10000,1000`.
const HOW_MANY: &str = "FACE_EDGE_TEST_SOAK";
const FEW: &str = "200,20";
const TASKS: &str = "/v2/p1/services/c-face-edge/tasks";
const PATIENCE: Duration = Duration::from_secs(120);
/// Side by side: cameras that cannot be reached, cameras that play.
const ABSENT: usize = 25;
const PLAYING: usize = 5;

/// Twenty times that leave a file or a thread each are more than this also in the short form. The database keeps files
/// of readers that it had at once, the asynchronous part keeps threads.
const MORE_FILES: i64 = 16;
/// A thousand times that lose four kilobytes each are four megabytes, ten thousand that lose half a one as well. The
/// database's cache may grow by two megabytes a connection meanwhile.
const MORE_KB: i64 = 4 * 1024;
/// Before a service has come to its size, so few times show only a gross loss.
const MORE_KB_OF_FEW: i64 = 40 * 1024;
/// From here on they are many.
const MANY: usize = 500;

struct Service(Program);

#[derive(Debug, Clone, Copy)]
struct Held {
    rss_kb: i64,
    files: i64,
    threads: i64,
}

impl Service {
    fn call(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        loop {
            let (status, answer) = self.0.ask(method, path, body).unwrap();
            // Too much at once for one key.
            if status != 429 {
                return (status, serde_json::from_str(&answer).unwrap_or_default());
            }
            std::thread::park_timeout(Duration::from_millis(100));
        }
    }

    fn create(&self, urls: &[String]) -> Vec<String> {
        let data: Vec<_> = urls.iter().enumerate().map(|(index, url)| json!({"url": url, "index": index})).collect();
        let body = json!({
            "name": "soak", "service_version": "3.0", "edge_pool_id": "default",
            "input": {"type": "url", "data": data},
            "output": {"webhook": {"url": "http://127.0.0.1:9/faces", "data_category": ["FaceImage"]}},
        });
        let (status, answer) = self.call("POST", TASKS, &body);
        assert_eq!(status, 200, "{answer}");
        answer.as_array().unwrap().iter().map(|task| task["id"].as_str().unwrap().to_owned()).collect()
    }

    fn all_come_to(&self, state: &str, count: usize) {
        let deadline = clock::monotonic() + PATIENCE;
        loop {
            let (_, answer) = self.call("GET", &format!("{TASKS}?state={state}&limit=1"), &Value::Null);
            if answer["count"] == count {
                return;
            }
            if clock::monotonic() > deadline {
                let (_, tasks) = self.call("GET", TASKS, &Value::Null);
                panic!("not all of {count} came to {state}: {tasks}");
            }
            std::thread::park_timeout(Duration::from_millis(20));
        }
    }

    /// Those go side by side, and each returns when its camera was let go.
    fn delete(&self, ids: &[String]) {
        for ids in ids.chunks(PLAYING) {
            std::thread::scope(|scope| {
                for id in ids {
                    scope.spawn(move || {
                        let (status, answer) = self.call("DELETE", &format!("{TASKS}/{id}"), &Value::Null);
                        assert_eq!(status, 204, "{answer}");
                    });
                }
            });
        }
    }

    fn turn(&self, urls: &[String], state: &str) {
        let ids = self.create(urls);
        self.all_come_to(state, ids.len());
        self.delete(&ids);
    }

    fn memory_kb(&self, name: &str) -> i64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0.id())).unwrap();
        let value = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        value.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// Once what the last turn left has been put away.
    fn held(&self) -> Held {
        let count = |folder: String| fs::read_dir(folder).unwrap().count() as i64;
        let pid = self.0.id();
        let look = || Held {
            rss_kb: self.memory_kb("VmRSS:"),
            files: count(format!("/proc/{pid}/fd")),
            threads: count(format!("/proc/{pid}/task")),
        };
        let (mut before, mut same) = (look(), 0);
        while same < 10 {
            std::thread::park_timeout(Duration::from_millis(200));
            let now = look();
            same = if (now.files, now.threads) == (before.files, before.threads) { same + 1 } else { 0 };
            before = now;
        }
        before
    }

    fn series(&self) -> usize {
        let (_, text) = self.0.ask("GET", "/metrics", &Value::Null).unwrap();
        text.lines().filter(|line| !line.starts_with('#')).count()
    }
}

fn unused() -> String {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    format!("rtsp://{address}/cam0")
}

/// A fifth more before it begins is what a service needs to come to its size.
fn soak(service: &Service, what: &str, count: usize, urls: &[String], state: &str) {
    let turns = count.div_ceil(urls.len());
    let warm = (turns / 5).clamp(2, 50);
    (0..warm).for_each(|_| service.turn(urls, state));
    let before = service.held();
    let begun = clock::monotonic();
    for turn in 0..turns {
        service.turn(urls, state);
        if turns >= 100 && (turn + 1) % (turns / 20) == 0 {
            println!("{what} {}: {:?}", (turn + 1) * urls.len(), service.held());
        }
    }
    let after = service.held();
    println!(
        "{} times {what} in {} s: {before:?}, then {after:?}; {} series",
        turns * urls.len(),
        begun.elapsed().as_secs(),
        service.series()
    );
    assert!(after.files - before.files <= MORE_FILES, "files are left open: {before:?}, then {after:?}");
    assert!(after.threads - before.threads <= MORE_FILES, "threads are left: {before:?}, then {after:?}");
    let more_kb = if count >= MANY { MORE_KB } else { MORE_KB_OF_FEW };
    assert!(after.rss_kb - before.rss_kb <= more_kb, "memory is left: {before:?}, then {after:?}");
}

#[test]
fn cameras_that_come_and_go_leave_nothing_behind() {
    let how_many = env::var(HOW_MANY).unwrap_or_else(|_| FEW.to_owned());
    let (absent, playing) = how_many.split_once(',').expect("two numbers");
    let folder = tempfile::tempdir().unwrap();
    let service = Service(Program::serve(&folder.path().join("data"), |_| {}));
    let sim = SimCamera::start(SimSpec::new(vec![clip(folder.path(), 50); PLAYING])).unwrap();
    let nowhere: Vec<String> = std::iter::repeat_n(unused(), ABSENT).collect();
    soak(&service, "a failed connect", absent.parse().unwrap(), &nowhere, "RECOVERING");
    let here: Vec<String> = (0..PLAYING).map(|index| sim.url(index)).collect();
    soak(&service, "a camera that played", playing.parse().unwrap(), &here, "RUNNING");
}

#[test]
fn of_the_files_that_starting_read_most_is_let_go() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service(Program::serve(&folder.path().join("data"), |_| {}));
    let [most, own, now] = ["VmHWM:", "RssAnon:", "RssFile:"].map(|name| service.memory_kb(name));
    assert!(now < (most - own) / 2, "{now} kB of files are resident, of {} at most", most - own);
    let (status, _) = service.0.ask("GET", "/healthz", &Value::Null).unwrap();
    assert_eq!(status, 200);
}
