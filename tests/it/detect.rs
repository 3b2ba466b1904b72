//! The detectors as a worker uses them, and the command `detect`.

use clap::Parser;
use face_edge::cli::detect as command;
use face_edge::detect::{Detectors, InputSize, Plan, RgbPicture, SizeWindow, plan_input, plan_long_side};
use face_edge::domain::Detection;
use face_edge::frame::{Color, Matrix, OwnedPlanes, PixelBuffer};
use face_edge::sim::scene::{self, Scene, TruthFace};

use crate::support::vision;

const WINDOW: SizeWindow = SizeWindow { min_px: 60.0, max_px: 800.0 };

fn yunet() -> Option<Detectors> {
    Some(Detectors::new(&vision::runtime()?, vision::model("yunet_n")?))
}

#[test]
fn black_frames_of_any_size_hold_no_face() {
    let Some(runtime) = vision::runtime() else { return };
    let color = Color { matrix: Matrix::Bt601, full_range: false };
    for alias in ["default", "yunet_n", "yunet_s", "yunet_2023mar", "rfb_320", "slim_320"] {
        let Some(model) = vision::model(alias) else { continue };
        let mut detectors = Detectors::new(&runtime, model);
        for (width, height) in [(1920, 1080), (1, 1), (33, 997), (641, 361)] {
            let picture = OwnedPlanes::black(width, height);
            let plan = plan_input(&detectors.model().entry, (width, height), WINDOW);
            let found = detectors.detect_planes(&picture.planes(), color, &plan).expect("the model runs");
            assert_eq!(found, [], "{alias} at {width}×{height}");
        }
    }
}

/// Nine people at 640×360.
fn nine_people() -> Option<image::RgbImage> {
    let path = vision::shared("golden/inputs/asl_dev_grid3x3/0000.png")?;
    Some(image::open(path).expect("a reference input").to_rgb8())
}

fn detect(detectors: &mut Detectors, picture: &image::RgbImage, plan: &Plan) -> Vec<Detection> {
    let (width, height) = (picture.width() as usize, picture.height() as usize);
    detectors.detect_rgb(&RgbPicture { width, height, bytes: picture.as_raw() }, plan).expect("the model runs")
}

#[test]
fn a_second_pass_adds_no_duplicates() {
    let (Some(mut detectors), Some(picture)) = (yunet(), nine_people()) else { return };
    let large = InputSize { width: 640, height: 384, content: (640, 360) };
    let small = InputSize { width: 512, height: 288, content: (512, 288) };
    let once = detect(&mut detectors, &picture, &Plan { passes: vec![large] });
    let twice = detect(&mut detectors, &picture, &Plan { passes: vec![large, small] });
    assert_eq!((once.len(), twice.len()), (9, 9));
}

#[test]
fn boxes_come_in_pixels_of_the_frame_whatever_the_input() {
    let (Some(mut detectors), Some(picture)) = (yunet(), nine_people()) else { return };
    let entry = detectors.model().entry.clone();
    let reference = detect(&mut detectors, &picture, &plan_long_side(&entry, (640, 360), 640));
    for long_side in [544, 800] {
        let found = detect(&mut detectors, &picture, &plan_long_side(&entry, (640, 360), long_side));
        for face in reference.iter().filter(|face| face.score > 0.8) {
            let best = found.iter().map(|other| face.bbox.iou(&other.bbox)).fold(0.0, f32::max);
            assert!(best > 0.7, "{face:?} at long side {long_side}: IoU {best}");
        }
    }
}

#[test]
fn a_frame_is_looked_at_in_the_size_that_its_window_needs() {
    let (Some(mut detectors), Some(video)) =
        (yunet(), vision::shared("videos/intel_ccby/asl_dev_grid2x2_1280x720_h264.mp4"))
    else {
        return;
    };
    let window = SizeWindow { min_px: 36.0, max_px: 400.0 };
    let plan = detectors.prepare((1280, 720), window).expect("the model loads");
    assert_eq!(plan.passes, [InputSize { width: 448, height: 256, content: (448, 252) }]);
    let frames = vision::every_nth_frame(&video, (1280, 720), Matrix::Bt601, 120);
    assert!(frames.len() > 2);
    for (number, frame) in frames {
        let found = detectors.detect(&frame, window).expect("the model runs");
        assert_eq!(found.len(), 4, "frame {number}: {found:?}");
        assert!(found.is_sorted_by(|a, b| a.score >= b.score));
    }
}

#[test]
fn workers_share_a_model_and_agree() {
    let (Some(runtime), Some(model), Some(picture)) = (vision::runtime(), vision::model("yunet_n"), nine_people())
    else {
        return;
    };
    let plan = plan_long_side(&model.entry, (640, 360), 640);
    let found: Vec<Vec<Detection>> = std::thread::scope(|scope| {
        let worker = || detect(&mut Detectors::new(&runtime, model.clone()), &picture, &plan);
        let workers = [scope.spawn(worker), scope.spawn(worker)];
        workers.map(|worker| worker.join().expect("no panic")).into()
    });
    assert_eq!(found[0], found[1]);
    assert_eq!(found[0].len(), 9);
}

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    args: command::Args,
}

fn run(words: &[&str]) -> anyhow::Result<()> {
    let cli = Cli::try_parse_from([&["detect"], words].concat()).expect("valid arguments");
    command::run(&cli.args)
}

#[test]
fn the_command_draws_what_it_found() {
    let (Some(_), Some(photo)) = (vision::runtime(), vision::shared("images/dlib_faces/bald_guys.jpg")) else { return };
    let folder = tempfile::tempdir().unwrap();
    let drawn = folder.path().join("drawn.png");
    let models = concat!(env!("CARGO_MANIFEST_DIR"), "/models");
    run(&[photo.to_str().unwrap(), "--draw", drawn.to_str().unwrap(), "--models", models]).unwrap();
    let (before, after) = (image::open(&photo).unwrap().to_rgb8(), image::open(&drawn).unwrap().to_rgb8());
    assert_eq!(before.dimensions(), after.dimensions());
    assert_ne!(before, after, "no face was marked");
}

#[test]
fn what_a_person_gets_wrong_is_said() {
    let cases: [(&[&str], &str); 3] = [
        (&["a.jpg", "b.jpg", "--draw", "c.png"], "--draw takes one picture"),
        (&["a.jpg", "--model", "yolo"], "there is no model \"yolo\""),
        (&["/nowhere/a.jpg", "--models", concat!(env!("CARGO_MANIFEST_DIR"), "/models")], "/nowhere/a.jpg"),
    ];
    let runtime = vision::runtime();
    for (words, expected) in cases {
        if runtime.is_none() && expected.starts_with('/') {
            continue;
        }
        let text = run(words).unwrap_err().to_string();
        assert!(text.contains(expected), "{text}");
    }
}

/// Of the whole minute, twice a second: each face that shows and is as large as the window asks is found, and nothing
/// else is.
#[test]
fn our_own_model_finds_the_drawn_scenes_faces_and_nothing_else() {
    let Some(runtime) = vision::runtime() else { return };
    let model = vision::model("default").expect("it is in the repository");
    let mut detectors = Detectors::new(&runtime, model);
    let color = Color { matrix: Matrix::Bt709, full_range: false };
    let plan = plan_input(&detectors.model().entry, (scene::WIDTH, scene::HEIGHT), WINDOW);
    let mut drawn = Scene::new();
    let (mut wanted, mut found, mut false_alarms) = (0, 0, Vec::new());
    for number in (0..scene::FRAMES).step_by(scene::FPS / 2) {
        let faces = detectors.detect_planes(&drawn.frame(number).planes(), color, &plan).expect("the model runs");
        let truth = scene::truth(number);
        let matches = |face: &Detection, there: &TruthFace| face.bbox.iou(&there.bbox) >= 0.5;
        for there in truth.iter().filter(|there| there.visible > 0.9 && there.bbox.w >= WINDOW.min_px) {
            wanted += 1;
            found += usize::from(faces.iter().any(|face| matches(face, there)));
        }
        let nobodys = faces.iter().filter(|face| !truth.iter().any(|there| face.bbox.iou(&there.bbox) > 0.2));
        false_alarms.extend(nobodys.map(|face| (number, *face)));
    }
    println!("drawn scene: {found} of {wanted} faces found, {} false alarms", false_alarms.len());
    assert!(wanted > 100 && found as f32 >= 0.98 * wanted as f32, "{found} of {wanted}");
    assert_eq!(false_alarms, []);
}

/// ONNX Runtime keeps what it means to report under the user's cache folder.
#[test]
fn nothing_is_written_down_for_the_runtimes_maker() {
    if vision::runtime().is_none() {
        return;
    }
    let home = tempfile::tempdir().expect("a temporary folder");
    let picture = home.path().join("grey.png");
    image::RgbImage::from_pixel(640, 360, image::Rgb([90; 3])).save(&picture).expect("written");
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_face-edge"));
    command.env_remove(face_edge::detect::NO_REPORTS).env("HOME", home.path()).env("XDG_CACHE_HOME", home.path());
    let output = command.arg("detect").arg(&picture).output().expect("the program runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let entries = std::fs::read_dir(home.path()).expect("readable").map(|entry| entry.expect("an entry").file_name());
    assert_eq!(entries.collect::<Vec<_>>(), ["grey.png"], "nothing else");
}
