//! A box takes no camera that would starve the others: the service itself, with cameras over RTSP.

use std::path::Path;
use std::time::Duration;

use face_edge::clock;
use face_edge::sim::camera::{SimCamera, SimSpec};
use serde_json::Value;

use crate::media::clip;
use crate::support::program::Program;

/// Asks for more than any box can do.
const CAMERAS: &str = "{ min_analyses_per_second = 1000000 }";

struct Service(Program);

impl Service {
    /// State and error of the task with this name, once it is in that state.
    fn wait_state(&self, name: &str, state: &str) -> Value {
        let deadline = clock::monotonic() + Duration::from_secs(90);
        loop {
            let (_, list) = self.0.ask("GET", "/v2/default/services/c-face-edge/tasks", &Value::Null).unwrap();
            let list: Value = serde_json::from_str(&list).unwrap();
            let tasks = list["tasks"].as_array().unwrap();
            let task = tasks.iter().find(|task| task["name"] == name);
            if let Some(task) = task.filter(|task| task["state"] == state) {
                return task.clone();
            }
            assert!(clock::monotonic() < deadline, "{name} is not {state}: {list:#}");
            std::thread::park_timeout(Duration::from_millis(100));
        }
    }
}

fn put_task(folder: &Path, name: &str, url: &str) {
    let out = folder.join("out");
    let text = format!(
        r#"{{"name": "{name}", "service_version": "3.0", "edge_pool_id": "default",
            "input": {{"type": "url", "data": [{{"url": "{url}"}}]}},
            "output": {{"localpath": {{"mount_source_path": "{}", "data_category": ["FaceImage"]}}}},
            "service_config": {{"common": {{"frame_skip_number": 4}}}}}}"#,
        out.display()
    );
    // Moved into place, so that half of it is never read.
    let (made, place) = (folder.join(name), folder.join("tasks").join(format!("{name}.json")));
    std::fs::write(&made, text).unwrap();
    std::fs::rename(&made, &place).unwrap();
}

#[test]
fn a_camera_too_many_waits_with_the_figures_until_there_is_room() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    std::fs::create_dir(folder.join("tasks")).unwrap();
    let sim = SimCamera::start(SimSpec::new(vec![clip(folder, 50)])).unwrap();
    let service = Service(Program::serve(&folder.join("data"), |command| {
        command.arg("--tasks").arg(folder.join("tasks")).env("FACE_EDGE_CAMERAS", CAMERAS);
    }));
    put_task(folder, "first", &sim.url(0));
    service.wait_state("first", "RUNNING");
    // Nothing is known yet, so it starts; and is taken back when it has been seen what two take.
    put_task(folder, "second", &sim.url(0));
    service.wait_state("second", "RUNNING");
    let refused = service.wait_state("second", "LACK_OF_RESOURCES");
    let said = refused["error"].to_string();
    assert!(
        said.contains("2 cameras take") && said.contains("min_analyses_per_second asks for 1000000"),
        "{refused:#}"
    );
    // What they take is known now.
    put_task(folder, "third", &sim.url(0));
    service.wait_state("third", "LACK_OF_RESOURCES");
    service.wait_state("first", "RUNNING");
    std::fs::remove_file(folder.join("tasks/first.json")).unwrap();
    std::fs::remove_file(folder.join("tasks/third.json")).unwrap();
    service.wait_state("second", "RUNNING");
}
