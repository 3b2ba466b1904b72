//! Our detections against those of an independent program with the same model: from the same pictures they are
//! equal, from the video through our own sampling they agree. The terms are those of ../shared/golden/README.md.

use std::collections::BTreeMap;
use std::path::Path;

use face_edge::detect::{Detectors, InputSize, Plan, RgbPicture, Thresholds};
use face_edge::domain::{Detection, Rect};
use face_edge::frame::{Frame, Matrix};

use crate::support::vision;

/// All references are at this size; 24 black rows make it 640×384.
const GOLDEN: (usize, usize) = (640, 360);
const INPUT: InputSize = InputSize { width: 640, height: 384, content: GOLDEN };
/// What a second pass for large faces may be.
const SMALL_INPUT: InputSize = InputSize { width: 320, height: 192, content: (320, 180) };
const THRESHOLDS: Thresholds = Thresholds { score: 0.3, nms_iou: 0.3 };

#[derive(serde::Deserialize)]
struct Reference {
    area: BTreeMap<usize, Vec<Face>>,
}

#[derive(serde::Deserialize)]
struct Face {
    #[serde(rename = "box")]
    corners: [f32; 4],
    score: f32,
    lm: [f32; 10],
}

impl Face {
    fn rect(&self) -> Rect {
        let [x1, y1, x2, y2] = self.corners;
        Rect::from_corners(x1, y1, x2, y2)
    }

    fn numbers(&self) -> impl Iterator<Item = f32> {
        // References reach beyond the picture where ours end at its edge.
        let clipped = self.rect().clip(GOLDEN.0 as f32, GOLDEN.1 as f32);
        [clipped.x, clipped.y, clipped.right(), clipped.bottom()].into_iter().chain(self.lm)
    }
}

fn reference(name: &str) -> Option<Reference> {
    let text = std::fs::read_to_string(vision::shared(&format!("golden/{name}.json"))?).expect("readable");
    Some(serde_json::from_str(&text).expect("as its README says"))
}

fn detectors() -> Option<Detectors> {
    let (runtime, model) = (vision::runtime()?, vision::model("yunet_n")?);
    Some(Detectors::new(&runtime, model).with_thresholds(THRESHOLDS))
}

#[test]
fn the_same_pictures_give_the_same_faces() {
    let (Some(reference), Some(mut detectors)) = (reference("asl_dev_grid3x3"), detectors()) else { return };
    let Some(inputs) = vision::shared("golden/inputs/asl_dev_grid3x3") else { return };
    let plan = Plan { passes: vec![INPUT] };
    let mut compared = 0;
    for (number, expected) in &reference.area {
        let path = inputs.join(format!("{number:04}.png"));
        let picture = image::open(&path).expect("a reference input").to_rgb8();
        let picture = RgbPicture { width: 640, height: 360, bytes: picture.as_raw() };
        let found = detectors.detect_rgb(&picture, &plan).expect("the model runs");
        assert_equal(&path, expected, &found);
        compared += expected.len();
    }
    assert!(compared > 50, "only {compared} faces compared");
}

fn assert_equal(path: &Path, expected: &[Face], found: &[Detection]) {
    for face in expected.iter().filter(|face| face.score >= 0.35) {
        let same = found.iter().any(|ours| equal(face, ours));
        assert!(same, "{}: nothing like {:?} (score {})", path.display(), face.corners, face.score);
    }
    for ours in found.iter().filter(|ours| ours.score >= 0.352) {
        let known = expected.iter().any(|face| equal(face, ours));
        assert!(known, "{}: {ours:?} is not among the references", path.display());
    }
}

fn equal(face: &Face, ours: &Detection) -> bool {
    let corners = [ours.bbox.x, ours.bbox.y, ours.bbox.right(), ours.bbox.bottom()];
    let landmarks = ours.landmarks.expect("YuNet gives landmarks").0;
    let numbers = corners.into_iter().chain(landmarks.into_iter().flat_map(|p| [p.x, p.y]));
    (face.score - ours.score).abs() <= 0.002 && face.numbers().zip(numbers).all(|(a, b)| (a - b).abs() <= 0.5)
}

// Two of the videos do not say their matrix; the references took BT.601 for them.

#[test]
fn the_grid_video_gives_the_same_faces() {
    assert_video_agrees("asl_dev_grid3x3", "intel_ccby/asl_dev_grid3x3_1920x1080_h264.mp4", Matrix::Bt601, 30);
}

#[test]
fn the_crowd_video_gives_the_same_faces() {
    assert_video_agrees("crowd_1080p", "third_party_no_licence/crowd_1080p.mp4", Matrix::Bt601, 20);
}

#[test]
fn the_head_pose_video_gives_the_same_faces() {
    assert_video_agrees(
        "headpose_1080p",
        "third_party_no_licence/headpose_1080p_AdrianVazquezMejia.mp4",
        Matrix::Bt709,
        30,
    );
}

fn assert_video_agrees(name: &str, video: &str, matrix: Matrix, step: usize) {
    let (Some(reference), Some(mut detectors)) = (reference(name), detectors()) else { return };
    let Some(video) = vision::shared(&format!("videos/{video}")) else { return };
    let plan = Plan { passes: vec![INPUT] };
    let two_passes = Plan { passes: vec![INPUT, SMALL_INPUT] };

    let mut recall = Agreement::default();
    // The second pass may draw a face's box a little otherwise.
    let (mut found_once, mut found_twice) = (Agreement::at_iou(0.5), Agreement::at_iou(0.5));
    let mut precision = Agreement::default();
    let frames = vision::every_nth_frame(&video, (1920, 1080), matrix, step);
    assert_eq!(frames.len(), reference.area.len(), "as many frames as references");
    for (number, frame) in frames {
        let theirs: Vec<(Rect, f32)> = reference.area[&number].iter().map(|face| (face.rect(), face.score)).collect();
        let ours = found(&mut detectors, &frame, &plan);
        recall.count(&theirs, &ours);
        found_once.count(&theirs, &ours);
        found_twice.count(&theirs, &found(&mut detectors, &frame, &two_passes));
        precision.count(&ours, &theirs);
    }
    println!("{name}: theirs found by us {recall:?}, ours found by them {precision:?}");
    println!("{name}: found in one pass {found_once:?}, in two {found_twice:?}");
    let lost = found_once.matched.saturating_sub(found_twice.matched);
    assert!(lost as f32 <= 0.005 * found_once.sure as f32, "{name}: two passes lose {lost} of {found_once:?}");
    for (way, agreement) in [("theirs among ours", recall), ("ours among theirs", precision)] {
        assert!(agreement.sure > 0, "{name}, {way}: nothing to compare");
        assert!(agreement.matched as f32 >= 0.98 * agreement.sure as f32, "{name}, {way}: {agreement:?}");
    }
}

/// In pixels of the references.
fn found(detectors: &mut Detectors, frame: &Frame, plan: &Plan) -> Vec<(Rect, f32)> {
    let faces = detectors.detect_planes(&frame.planes(), frame.color, plan).expect("the model runs");
    let reduced = |face: &Detection| {
        let Rect { x, y, w, h } = face.bbox;
        (Rect::new(x / 3.0, y / 3.0, w / 3.0, h / 3.0), face.score)
    };
    faces.iter().map(reduced).collect()
}

#[derive(Debug)]
struct Agreement {
    /// Faces of the one side with score ≥ 0.65.
    sure: usize,
    /// Those with one of the other side of score ≥ 0.55 and at least this IoU.
    matched: usize,
    iou: f32,
}

impl Default for Agreement {
    fn default() -> Self {
        Self::at_iou(0.85)
    }
}

impl Agreement {
    fn at_iou(iou: f32) -> Self {
        Self { sure: 0, matched: 0, iou }
    }

    fn count(&mut self, these: &[(Rect, f32)], others: &[(Rect, f32)]) {
        let clip = |rect: &Rect| rect.clip(GOLDEN.0 as f32, GOLDEN.1 as f32);
        for (rect, _) in these.iter().filter(|(_, score)| *score >= 0.65) {
            let matched =
                others.iter().any(|(other, score)| *score >= 0.55 && clip(rect).iou(&clip(other)) >= self.iou);
            self.sure += 1;
            self.matched += usize::from(matched);
        }
    }
}
