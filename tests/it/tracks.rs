//! The program on filmed people, from the file to the pictures sent: as many faces as there are people, although each
//! clip starts over again and again, hands come up and one wears a printed skull; pictures when someone is there,
//! and none when nobody is.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::support::vision;

const MODELS: [&str; 2] = ["default", "yunet_n"];
/// A picture may be this much off the time that the film's description gives: three frames.
const TOLERANCE_S: f64 = 0.1;

struct Picture {
    face_id: String,
    at_s: f64,
}

fn film(name: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/videos/intel_ccby").join(name);
    if !path.is_file() {
        eprintln!("absent, skipped: {}", path.display());
        return None;
    }
    Some(path)
}

/// One picture of every face of at least 40 px, every fifth frame analysed.
fn task() -> Value {
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/task-sample.json");
    let mut task: Value = serde_json::from_slice(&std::fs::read(sample).unwrap()).unwrap();
    task["service_config"]["common"] =
        json!({ "detection_min_size": 40, "frame_skip_number": 4, "face_repeat_send_sw": 0 });
    task
}

fn pictures(film: &Path, model: &str) -> Vec<Picture> {
    let folder = tempfile::tempdir().unwrap();
    let task_file = folder.path().join("task.json");
    std::fs::write(&task_file, task().to_string()).unwrap();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut command = Command::new(env!("CARGO_BIN_EXE_face-edge"));
    command.current_dir(root).arg("run").arg(&task_file).arg("--input").arg(film);
    command.arg("--output").arg(folder.path().join("out")).args(["--model", model, "--models"]);
    let output = command.arg(root.join("../shared/models")).output().unwrap();
    assert!(output.status.success(), "{}: {}", film.display(), String::from_utf8_lossy(&output.stderr));
    let lines = String::from_utf8(output.stdout).unwrap();
    lines.lines().map(|line| picture(&serde_json::from_str(line).unwrap())).collect()
}

fn picture(message: &Value) -> Picture {
    let data = &message["data"];
    let face_id = data["face_id"].as_str().unwrap().to_owned();
    Picture { face_id, at_s: data["stream_time_ms"].as_f64().unwrap() / 1000.0 }
}

#[test]
fn as_many_faces_as_people() {
    // The second model sees each codec and each size once, to save time.
    let films = [
        ("asl_dev_grid2x2_1280x720_h264.mp4", 4, &MODELS[..1]),
        ("asl_dev_grid3x3_1920x1080_h264.mp4", 9, &MODELS),
        ("asl_dev_grid2x2_1280x720_h265.mp4", 4, &MODELS),
        ("asl_dev_grid3x3_1920x1080_h265.mp4", 9, &MODELS[..1]),
    ];
    let mut surplus = Vec::new();
    for (name, people, models) in films {
        let Some(film) = film(name) else { continue };
        for model in models.iter().filter(|model| vision::model(model).is_some()) {
            let faces: BTreeSet<String> = pictures(&film, model).into_iter().map(|picture| picture.face_id).collect();
            assert!(faces.len() >= people, "{name} with {model}: {} faces of {people} people", faces.len());
            surplus.push((name, model, faces.len() - people));
        }
    }
    let sum: usize = surplus.iter().map(|(.., faces)| faces).sum();
    assert!(sum <= 2, "faces too many: {surplus:?}");
}

#[derive(serde::Deserialize)]
struct Description {
    segments: Vec<Segment>,
}

#[derive(Debug, serde::Deserialize)]
struct Segment {
    t0: f64,
    t1: f64,
    /// How many people are there.
    faces: usize,
}

impl Segment {
    fn holds(&self, picture: &Picture) -> bool {
        (self.t0 - TOLERANCE_S..self.t1 + TOLERANCE_S).contains(&picture.at_s)
    }
}

#[test]
fn pictures_when_someone_is_there_and_none_when_nobody_is() {
    let Some(film) = film("appearances_dev.mp4") else { return };
    let description = std::fs::read(film.with_extension("json")).unwrap();
    let Description { segments } = serde_json::from_slice(&description).unwrap();
    for model in MODELS.into_iter().filter(|model| vision::model(model).is_some()) {
        let pictures = pictures(&film, model);
        let inhabited = || segments.iter().filter(|segment| segment.faces > 0);
        for segment in inhabited() {
            let faces: BTreeSet<&str> =
                pictures.iter().filter(|it| segment.holds(it)).map(|picture| picture.face_id.as_str()).collect();
            assert!(faces.len() >= segment.faces, "{model}: {} faces in {segment:?}", faces.len());
        }
        for picture in &pictures {
            assert!(inhabited().any(|segment| segment.holds(picture)), "{model}: a face at {} s", picture.at_s);
        }
    }
}
