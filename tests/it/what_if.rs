//! `check --against`: other rules tried on what was seen.

use std::process::Command;

use face_edge::domain::{Detection, Rect, UnixMs};
use face_edge::store::{Observation, SeenFace, Store};
use serde_json::{Value, json};

const TASK: &str = "0123456789abcdef0123456789abcdef";

fn body(common: &Value) -> Value {
    json!({
        "name": "door", "service_version": "3.0", "edge_pool_id": "default",
        "input": {"type": "url", "data": [{"url": "rtsp://127.0.0.1:9/cam"}]},
        "output": {"localpath": {"mount_source_path": "/unused"}},
        "service_config": {"common": common},
    })
}

/// Someone stands there for four seconds, 100 px tall, and is gone.
fn seen() -> Vec<Observation> {
    let frame = |number: u64| {
        let detection = Detection { bbox: Rect::new(500.0, 300.0, 100.0, 100.0), score: 0.95, landmarks: None };
        let faces = if number < 100 { vec![SeenFace { detection, sharpness: 0.5, exposure: 0.9 }] } else { vec![] };
        Observation {
            task_id: TASK.into(),
            session: "one".into(),
            at: UnixMs(1_700_000_000_000 + number as i64 * 40),
            stream_ns: number * 40_000_000,
            frame_size: (1920.0, 1080.0),
            faces,
        }
    };
    (0..=100).map(frame).collect()
}

#[test]
fn other_rules_are_tried_on_what_was_seen() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    assert_eq!(store.observations(TASK).wait().unwrap(), []);
    store.note_tracks(vec![], seen()).wait().unwrap();
    assert_eq!(store.observations(TASK).wait().unwrap(), seen(), "as it was seen");
    let sql = rusqlite::Connection::open(dir.path().join("face-edge.db")).unwrap();
    let stored = body(&json!({"detection_min_size": 90})).to_string();
    sql.execute(
        "INSERT INTO tasks (id, project_id, name, creator, service_version, desired, state, input_index, body,
            created_at, updated_at) VALUES (?1, 'p', 'door', '', '3.0', 'start', 'RUNNING', 0, ?2, 0, 0)",
        (TASK, stored),
    )
    .unwrap();

    let compare = |common: Value| -> (Vec<Value>, Value) {
        let file = dir.path().join("new.json");
        std::fs::write(&file, body(&common).to_string()).unwrap();
        let output = Command::new(env!("CARGO_BIN_EXE_face-edge"))
            .args(["check", "--json", "--against"])
            .args([dir.path(), file.as_path()])
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).unwrap();
        let changes = text.lines().filter(|line| line.starts_with('{') && line.ends_with('}'));
        let mut changes: Vec<Value> = changes.map(|line| serde_json::from_str(line).unwrap()).collect();
        let sum = changes.pop().unwrap();
        (changes, sum)
    };
    let sum = |added: u32, gone: u32, unchanged: u32| json!({"added": added, "gone": gone, "unchanged": unchanged});
    assert_eq!(compare(json!({"detection_min_size": 90})), (vec![], sum(0, 0, 1)));
    let (changes, total) = compare(json!({"detection_min_size": 120}));
    assert_eq!((changes[0]["change"].as_str(), total), (Some("gone"), sum(0, 1, 0)));
    let (changes, total) = compare(json!({"detection_min_size": 90, "face_repeat_send_sw": 1}));
    assert!(changes.len() >= 3 && changes.iter().all(|change| change["reason"] == "period"), "{changes:?}");
    assert_eq!((&total["gone"], &total["unchanged"]), (&json!(0), &json!(1)));
}
