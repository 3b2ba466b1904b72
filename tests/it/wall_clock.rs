//! The box's clock is put right while the service works: by a day forward, and two days back. The built program runs under
//! libfaketime, which moves the wall clock of one process and leaves the clock alone that only ever goes forward.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use face_edge::clock;
use face_edge::sim::camera::{SimCamera, SimSpec};
use face_edge::sim::reports::Reports;
use serde_json::{Value, json};

use crate::support::program::Program;
use crate::two_streams::record;

const TASKS: &str = "/v2/p1/services/c-face-edge/tasks";
const PATIENCE: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(200);
const DAY_MS: i64 = 86_400_000;
/// Between the moment of a picture and that at which its file is found, on a box that is busy with other tests.
const LATE_MS: i64 = 60_000;

/// Debian's package libfaketime.
fn faketime() -> Option<PathBuf> {
    let folders = fs::read_dir("/usr/lib").ok()?.flatten();
    folders.map(|folder| folder.path().join("faketime/libfaketime.so.1")).find(|library| library.exists())
}

/// Of all messages that were written, each one's id and the time at which its picture was taken.
fn written(folder: &Path) -> Vec<(String, i64)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(written(&path));
        } else if path.parent().is_some_and(|parent| parent.ends_with("json")) {
            let message: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
            let text = |value: &Value| value.as_str().unwrap().to_owned();
            found.push((text(&message["message_id"]), message["data"]["timestamp_ms"].as_i64().unwrap()));
        }
    }
    found
}

#[test]
fn a_clock_that_is_put_right_stops_nothing() {
    let Some(library) = faketime() else {
        return println!("skipped: no libfaketime (make setup installs it)");
    };
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let [large, _] = record(folder.path());
    let sim = SimCamera::start(SimSpec { reports: Reports::None, ..SimSpec::new(vec![large]) }).unwrap();
    let (ahead, out) = (path("ahead"), path("out"));
    let put = |offset_ms: i64| {
        // Whole or not at all, for whoever reads it at this moment.
        fs::write(path("next"), format!("{:+}\n", offset_ms / 1000)).unwrap();
        fs::rename(path("next"), &ahead).unwrap();
    };
    put(0);
    fs::create_dir(&out).unwrap();
    fs::create_dir(path("data")).unwrap();
    let service = Program::serve(&path("data"), |command| {
        command.env("LD_PRELOAD", &library).env("FAKETIME_TIMESTAMP_FILE", &ahead);
        command.env("FAKETIME_DONT_FAKE_MONOTONIC", "1").env("FAKETIME_CACHE_DURATION", "1");
    });
    let task = json!({
        "name": "clock", "service_version": "3.0", "edge_pool_id": "default",
        "input": {"type": "url", "data": [{"url": sim.url(0)}]},
        "output": {"localpath": {"mount_source_path": out, "data_category": ["FaceImage"]}},
        "service_config": {"common": {"detection_min_size": 100, "face_repeat_send_sw": 1, "face_repeat_send_interval": 1}},
    });
    let (status, answer) = service.ask("POST", TASKS, &task).unwrap();
    assert_eq!(status, 200, "{answer}");
    let answer: Value = serde_json::from_str(&answer).unwrap();
    let id = answer[0]["id"].as_str().unwrap();

    let shown = || -> Value {
        let (_, shown) = service.ask("GET", &format!("{TASKS}/{id}"), &Value::Null).unwrap();
        serde_json::from_str(&shown).unwrap()
    };
    let running = || shown()["state"] == "RUNNING";
    let deadline = clock::monotonic() + PATIENCE;
    while !running() {
        assert!(clock::monotonic() < deadline, "{}", shown());
        std::thread::park_timeout(LOOK_EVERY);
    }
    for offset_ms in [0, DAY_MS, -DAY_MS] {
        put(offset_ms);
        let near = |taken_ms: i64| (clock::unix_ms().0 + offset_ms - taken_ms).abs() < LATE_MS;
        let deadline = clock::monotonic() + PATIENCE;
        while written(&out).iter().filter(|(_, taken_ms)| near(*taken_ms)).count() < 3 {
            // A camera that is thought to be gone is so for a second at least.
            assert!(running(), "{}", shown());
            assert!(clock::monotonic() < deadline, "nothing of the new time {offset_ms:+} ms: {:?}", written(&out));
            std::thread::park_timeout(LOOK_EVERY);
        }
        assert_eq!(shown()["error"], Value::Null);
    }
    let mut ids: Vec<String> = written(&out).into_iter().map(|(id, _)| id).collect();
    let count = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), count, "none twice");
}
