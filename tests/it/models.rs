//! The catalog on disk, what it says of files that are missing or wrong, and the commands that put them right.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::Path;

use clap::Parser;
use face_edge::cli::models;
use face_edge::detect::{Catalog, DetectError, Detectors, Plan, RgbPicture, plan_long_side, sha256_hex};

use crate::support::{onnx, vision};

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    args: models::Args,
}

fn command(words: &[&str]) -> anyhow::Result<()> {
    let cli = Cli::try_parse_from([&["models"], words].concat()).expect("valid arguments");
    models::run(&cli.args)
}

/// A folder whose models.toml knows one model, `tiny`, with that file.
fn folder_with(file: &[u8]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    write_entry(folder.path(), file);
    std::fs::write(folder.path().join("tiny.onnx"), file).unwrap();
    folder
}

fn write_entry(folder: &Path, file: &[u8]) {
    let entry = format!(
        "[tiny]\nfile = \"tiny.onnx\"\nsha256 = \"{}\"\nsize_bytes = {}\nlicence = \"none\"\ndecoder = \"yunet\"\n\
         input = {{ order = \"bgr\", mean = 0.0, scale = 1.0, fixed = [64, 32] }}\n\
         min_face_px = 10.0\nmax_face_px = 100.0\nscore_threshold = 0.5\nnms_iou = 0.3\n",
        sha256_hex(file),
        file.len()
    );
    std::fs::write(folder.join("models.toml"), entry).unwrap();
}

fn load(folder: &Path) -> Result<face_edge::detect::Model, DetectError> {
    Catalog::with_folders(vec![folder.to_path_buf()]).unwrap().load("tiny")
}

/// Loads and runs; the error that comes of it.
fn run(folder: &Path) -> Option<Result<(), String>> {
    let runtime = vision::runtime()?;
    let attempt = || {
        let mut detectors = Detectors::new(&runtime, load(folder)?.into());
        let plan: Plan = plan_long_side(&detectors.model().entry, (64, 32), 64);
        let bytes = vec![0; 64 * 32 * 3];
        detectors.detect_rgb(&RgbPicture { width: 64, height: 32, bytes: &bytes }, &plan).map(drop)
    };
    Some(attempt().map_err(|error| error.to_string()))
}

#[track_caller]
fn assert_says(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "no {part:?} in: {text}");
    }
}

#[test]
fn a_missing_file_names_the_places_and_the_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let catalog = Catalog::with_folders(vec![folder.path().to_path_buf()]).unwrap();
    let text = catalog.load("yunet_n").unwrap_err().to_string();
    assert_says(&text, &["yunet_n_dynamic.onnx", &folder.path().display().to_string(), "models pull yunet_n"]);
}

#[test]
fn an_empty_and_a_changed_file_are_told_apart() {
    let folder = folder_with(b"right");
    std::fs::write(folder.path().join("tiny.onnx"), b"").unwrap();
    assert_says(&load(folder.path()).unwrap_err().to_string(), &["is empty", "models pull tiny"]);
    std::fs::write(folder.path().join("tiny.onnx"), b"wrong").unwrap();
    let text = load(folder.path()).unwrap_err().to_string();
    assert_says(&text, &[&sha256_hex(b"wrong"), &sha256_hex(b"right"), "models pull tiny"]);
}

#[test]
fn a_file_in_a_subfolder_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let file = onnx::identity([1, 3, 32, 64]);
    write_entry(folder.path(), &file);
    let below = folder.path().join("a/b");
    std::fs::create_dir_all(&below).unwrap();
    std::fs::write(below.join("tiny.onnx"), &file).unwrap();
    assert_eq!(load(folder.path()).unwrap().path, below.join("tiny.onnx"));
}

#[test]
fn what_is_no_onnx_is_said_to_be_none() {
    let html = folder_with(b"<html>404</html>");
    assert_says(&load(html.path()).unwrap_err().to_string(), &["tiny.onnx", "not an ONNX model", "no protobuf"]);
    // Well-formed, but with an operator that nobody knows.
    let Some(outcome) = run(folder_with(&onnx::one_node("Nonsense", [1, 3, 32, 64])).path()) else { return };
    assert_says(&outcome.unwrap_err(), &["not an ONNX model that can be run", "Nonsense"]);
}

#[test]
fn a_model_of_another_shape_is_said_to_be_one() {
    let Some(outcome) = run(folder_with(&onnx::identity([1, 3, 32, 64])).path()) else { return };
    assert_says(
        &outcome.unwrap_err(),
        &["model of another shape", "cls_8[1, 32, 1]", "kps_32[1, 2, 10]", "found the outputs out[1, 3, 32, 64]"],
    );
    let Some(outcome) = run(folder_with(&onnx::identity([1, 1, 32, 64])).path()) else { return };
    assert_says(&outcome.unwrap_err(), &["model of another shape", "[1, 3, 32, 64]", "inputs in[1, 1, 32, 64]"]);
}

#[test]
fn old_exports_lose_their_listed_weights_and_still_run() {
    let (Some(runtime), Some(model)) = (vision::runtime(), vision::model("rfb_320")) else { return };
    let shipped = std::fs::read(&model.path).unwrap();
    assert!(model.onnx.len() < shipped.len(), "nothing was dropped");
    let plan = plan_long_side(&model.entry, (320, 240), 320);
    let bytes = vec![90; 320 * 240 * 3];
    let found = Detectors::new(&runtime, model)
        .detect_rgb(&RgbPicture { width: 320, height: 240, bytes: &bytes }, &plan)
        .expect("it runs");
    assert_eq!(found, []);
}

#[test]
fn pull_copies_from_a_mirror_what_is_right() {
    let (Some(mirror), target) = (vision::shared("models"), tempfile::tempdir().unwrap()) else { return };
    let (mirror, folder) = (mirror.display().to_string(), target.path().join("new").display().to_string());
    command(&["pull", "yunet_s", "--mirror", &mirror, "--models", &folder]).unwrap();
    command(&["pull", "yunet_s", "--mirror", "/nowhere", "--models", &folder]).expect("it is there already");
    command(&["verify", "yunet_s", "--models", &folder]).unwrap();
    let text = command(&["verify", "rfb_320", "--json", "--models", &folder]).unwrap_err().to_string();
    assert_says(&text, &["rfb_320"]);
}

#[test]
fn pull_writes_nothing_that_is_wrong() {
    let (mirror, target) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    std::fs::write(mirror.path().join("yunet_s_dynamic.onnx"), "something else").unwrap();
    let (from, to) = (mirror.path().display().to_string(), target.path().display().to_string());
    let text = command(&["pull", "yunet_s", "--mirror", &from, "--models", &to]).unwrap_err().to_string();
    assert_says(&text, &["SHA-256", "yunet_s_dynamic.onnx"]);
    assert_eq!(std::fs::read_dir(target.path()).unwrap().count(), 0);
}

/// Answers every request with that body, until the test is over.
fn serve(body: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let answer = move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = BufReader::new(stream.try_clone().unwrap()).lines();
            while request.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
            write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len()).unwrap();
            stream.write_all(body).unwrap();
        }
    };
    std::thread::Builder::new().name("model-source".to_owned()).spawn(answer).unwrap();
    format!("http://{address}/tiny.onnx")
}

#[test]
fn pull_fetches_from_the_source_what_is_right_and_nothing_else() {
    for (served, expected_error) in
        [(&b"right"[..], None), (b"wrong", Some("SHA-256")), (b"much too long", Some("cannot be fetched"))]
    {
        let folder = tempfile::tempdir().unwrap();
        write_entry(folder.path(), b"right");
        let toml = folder.path().join("models.toml");
        let entry = std::fs::read_to_string(&toml).unwrap() + &format!("source = \"{}\"\n", serve(served));
        std::fs::write(&toml, entry).unwrap();
        let outcome = command(&["pull", "tiny", "--models", &folder.path().display().to_string()]);
        match expected_error {
            None => assert_eq!(std::fs::read(folder.path().join("tiny.onnx")).unwrap(), served),
            Some(expected) => {
                assert_says(&outcome.unwrap_err().to_string(), &[expected, "/tiny.onnx"]);
                assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "something was left behind");
            }
        }
    }
}

#[test]
fn the_model_that_ships_is_in_order() {
    command(&["verify", "default", "--models", concat!(env!("CARGO_MANIFEST_DIR"), "/models")]).unwrap();
}
