//! The protocol of WIDER FACE: labelled pictures, which faces count as easy, medium or hard, and the average precision of
//! detections by the official matching (IoU 0.5, 1,000 score thresholds). Layout of the folder: `labels.json` with
//! each picture's boxes, the pictures under the paths that it names, and `official_gt/` with the published lists.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::matfile::{self, MatValue};
use crate::cli::BadInput;
use crate::domain::Rect;

const MATCH_IOU: f64 = 0.5;
const SCORE_STEPS: usize = 1000;
/// A face counts for the gate when its shorter side has this many pixels …
const GATE_MIN_PX: f32 = 40.0;
/// … once the picture's long side has this many.
pub const LONG_SIDE: usize = 640;

/// One labelled picture.
pub struct Picture {
    pub path: PathBuf,
    pub faces: Vec<Rect>,
    /// Which faces count, for each subset; the others may be found or not.
    pub counts: [Vec<bool>; 4],
}

/// The subsets in the order of [`Picture::counts`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subset {
    Easy,
    Medium,
    Hard,
    Gate,
}

impl Subset {
    pub const ALL: [Self; 4] = [Self::Easy, Self::Medium, Self::Hard, Self::Gate];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Easy => "easy",
            Self::Medium => "medium",
            Self::Hard => "hard",
            Self::Gate => "gate",
        }
    }
}

#[derive(serde::Deserialize)]
struct Label {
    file: PathBuf,
    w: f32,
    h: f32,
    /// x, y, w, h, then blur, invalid, occlusion, pose.
    boxes_xywh_blur_invalid_occl_pose: Vec<[f32; 8]>,
}

/// The pictures of a folder. Without `official_gt/` every face that is not marked invalid counts as hard, and none as
/// easy or medium: for people's own pictures.
pub fn load(folder: &Path) -> Result<Vec<Picture>, BadInput> {
    let path = folder.join("labels.json");
    let bad = |error: &dyn std::fmt::Display| BadInput(format!("{}: {error}", path.display()));
    let text = std::fs::read_to_string(&path).map_err(|error| bad(&error))?;
    let labels: Vec<Label> = serde_json::from_str(&text).map_err(|error| bad(&error))?;
    if labels.is_empty() {
        return Err(bad(&"no pictures in it"));
    }
    let official = folder.join("official_gt");
    let lists = official.is_dir().then(|| Lists::read(&official)).transpose()?;
    labels.into_iter().map(|label| picture(folder, label, lists.as_ref())).collect()
}

fn picture(folder: &Path, label: Label, lists: Option<&Lists>) -> Result<Picture, BadInput> {
    let boxes = &label.boxes_xywh_blur_invalid_occl_pose;
    let faces: Vec<Rect> = boxes.iter().map(|&[x, y, w, h, ..]| Rect::new(x, y, w, h)).collect();
    let [easy, medium, hard] = match lists {
        Some(lists) => lists.counts(&label.file, faces.len())?,
        None => {
            let valid = boxes.iter().map(|&[_, _, _, _, _blur, invalid, ..]| invalid == 0.0).collect();
            [vec![false; faces.len()], vec![false; faces.len()], valid]
        }
    };
    let scale = LONG_SIDE as f32 / label.w.max(label.h);
    let gate = hard.iter().zip(&faces).map(|(&hard, face)| hard && face.shorter_side() * scale >= GATE_MIN_PX);
    let counts = [easy, medium, hard.clone(), gate.collect()];
    Ok(Picture { path: folder.join(label.file), faces, counts })
}

/// For each picture's name, the numbers (from 1) of the faces that count: easy, medium, hard.
struct Lists([HashMap<String, Vec<usize>>; 3]);

impl Lists {
    fn read(folder: &Path) -> Result<Self, BadInput> {
        let list = |subset: &str| -> Result<HashMap<String, Vec<usize>>, BadInput> {
            let path = folder.join(format!("wider_{subset}_val.mat"));
            let file = std::fs::read(&path).map_err(|error| BadInput(format!("{}: {error}", path.display())))?;
            parse_list(&file).ok_or_else(|| BadInput(format!("{}: is not a list of WIDER FACE", path.display())))
        };
        Ok(Self([list("easy")?, list("medium")?, list("hard")?]))
    }

    fn counts(&self, file: &Path, faces: usize) -> Result<[Vec<bool>; 3], BadInput> {
        let name = file.file_stem().unwrap_or_default().to_string_lossy();
        let mut counts = [const { Vec::new() }; 3];
        for (counts, list) in counts.iter_mut().zip(&self.0) {
            let numbers = list
                .get(name.as_ref())
                .ok_or_else(|| BadInput(format!("labels.json: {} is in no list of official_gt", file.display())))?;
            *counts = (1..=faces).map(|number| numbers.contains(&number)).collect();
        }
        Ok(counts)
    }
}

/// `file_list` and `gt_list` are parallel: events, each a list of pictures; each a name, or face numbers.
fn parse_list(file: &[u8]) -> Option<HashMap<String, Vec<usize>>> {
    let variables: HashMap<String, MatValue> = matfile::read(file)?.into_iter().collect();
    let (names, numbers) = (variables.get("file_list")?, variables.get("gt_list")?);
    let mut list = HashMap::new();
    for (names, numbers) in names.cells().iter().zip(numbers.cells()) {
        for (name, numbers) in names.cells().iter().zip(numbers.cells()) {
            // Names stand in a cell of their own.
            let name = name.cells().first().unwrap_or(name);
            let (MatValue::Text(name), MatValue::Numbers(numbers)) = (name, numbers) else { return None };
            list.insert(name.clone(), numbers.iter().map(|&number| number as usize).collect());
        }
    }
    (!list.is_empty()).then_some(list)
}

/// What a detector said of one picture.
pub type Scored = (Rect, f32);

/// Average precision from 0 to 1 over all pictures; `None` when no face counts.
pub fn average_precision(pictures: &[Picture], found: &[Vec<Scored>], subset: Subset) -> Option<f64> {
    let subset = subset as usize;
    let total: usize = pictures.iter().map(|picture| picture.counts[subset].iter().filter(|&&c| c).count()).sum();
    if total == 0 {
        return None;
    }
    let scores = || found.iter().flatten().map(|&(_, score)| f64::from(score));
    let lowest = scores().fold(f64::INFINITY, f64::min);
    let range = (scores().fold(f64::NEG_INFINITY, f64::max) - lowest).max(f64::MIN_POSITIVE);
    let mut curve = vec![(0usize, 0usize); SCORE_STEPS];
    for (picture, found) in pictures.iter().zip(found) {
        let mut sorted = found.clone();
        sorted.sort_by(|a, b| b.1.total_cmp(&a.1));
        let steps = steps(&picture.faces, &picture.counts[subset], &sorted);
        for (index, (proposed, recalled)) in curve.iter_mut().enumerate() {
            let threshold = 1.0 - (index + 1) as f64 / SCORE_STEPS as f64;
            let above = sorted.partition_point(|(_, score)| (f64::from(*score) - lowest) / range >= threshold);
            if let Some((p, r)) = above.checked_sub(1).and_then(|last| steps.get(last)) {
                *proposed += p;
                *recalled += r;
            }
        }
    }
    Some(area(&curve, total))
}

/// After each detection, surest first: how many count as proposals, and how many faces that count are found.
/// A detection that matches a face that does not count is neither.
fn steps(faces: &[Rect], counts: &[bool], sorted: &[Scored]) -> Vec<(usize, usize)> {
    let mut taken = vec![false; faces.len()];
    let (mut proposed, mut recalled) = (0, 0);
    if faces.is_empty() {
        return Vec::new();
    }
    let step = |(bbox, _): &Scored| {
        let (best, overlap) = best_match(faces, bbox);
        let matches = overlap >= MATCH_IOU;
        proposed += usize::from(!matches || counts[best]);
        if matches && counts[best] && !taken[best] {
            taken[best] = true;
            recalled += 1;
        }
        (proposed, recalled)
    };
    sorted.iter().map(step).collect()
}

fn best_match(faces: &[Rect], bbox: &Rect) -> (usize, f64) {
    let mut best = (0, -1.0);
    for (index, face) in faces.iter().enumerate() {
        let overlap = official_iou(face, bbox);
        if overlap > best.1 {
            best = (index, overlap);
        }
    }
    best
}

/// The official code counts pixels: a box from 0 to 9 is ten wide.
fn official_iou(a: &Rect, b: &Rect) -> f64 {
    let side = |from: f32, to: f32| f64::from(to) - f64::from(from) + 1.0;
    let w = side(a.x.max(b.x), a.right().min(b.right())).max(0.0);
    let h = side(a.y.max(b.y), a.bottom().min(b.bottom())).max(0.0);
    let area = |r: &Rect| side(r.x, r.right()) * side(r.y, r.bottom());
    w * h / (area(a) + area(b) - w * h)
}

/// Under the curve of precision over recall, precision made monotonic as in VOC 2010.
fn area(curve: &[(usize, usize)], total: usize) -> f64 {
    let point = |&(proposed, recalled): &(usize, usize)| {
        (recalled as f64 / total as f64, recalled as f64 / (proposed as f64).max(1e-9))
    };
    let mut points: Vec<(f64, f64)> = vec![(0.0, 0.0)];
    points.extend(curve.iter().map(point));
    points.push((1.0, 0.0));
    for index in (1..points.len()).rev() {
        points[index - 1].1 = points[index - 1].1.max(points[index].1);
    }
    points.windows(2).map(|pair| (pair[1].0 - pair[0].0) * pair[1].1).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(faces: Vec<Rect>, counts: Vec<bool>) -> Picture {
        Picture { path: PathBuf::new(), faces, counts: [counts.clone(), counts.clone(), counts.clone(), counts] }
    }

    const FACE: Rect = Rect::new(10.0, 10.0, 20.0, 20.0);
    const OTHER: Rect = Rect::new(60.0, 10.0, 20.0, 20.0);
    const NOWHERE: Rect = Rect::new(10.0, 60.0, 20.0, 20.0);

    fn precision(faces: Vec<Rect>, counts: Vec<bool>, found: Vec<Scored>) -> Option<f64> {
        average_precision(&[picture(faces, counts)], &[found], Subset::Easy)
    }

    #[test]
    fn known_answers() {
        let both = || vec![FACE, OTHER];
        let ap = |found| precision(both(), vec![true, true], found).unwrap();
        assert!((ap(vec![(FACE, 0.9), (OTHER, 0.1)]) - 1.0).abs() < 1e-9);
        assert!((ap(vec![(FACE, 0.9), (NOWHERE, 0.1)]) - 0.5).abs() < 1e-9);
        // A second box on the same face is a false alarm: recall 1/2 at precision 1, then 1 at 2/3.
        assert!((ap(vec![(FACE, 0.9), (FACE, 0.5), (OTHER, 0.1)]) - (0.5 + 0.5 * 2.0 / 3.0)).abs() < 1e-9);
        assert_eq!(ap(vec![]), 0.0);
    }

    #[test]
    fn own_pictures_need_no_official_lists() {
        let folder = tempfile::tempdir().unwrap();
        let boxes = "[[10, 10, 80, 90, 0, 0, 0, 0], [10, 10, 79, 90, 0, 0, 0, 0], [10, 10, 80, 90, 0, 1, 0, 0]]";
        let labels =
            format!(r#"[{{"file": "a.jpg", "w": 1280, "h": 720, "boxes_xywh_blur_invalid_occl_pose": {boxes}}}]"#);
        std::fs::write(folder.path().join("labels.json"), labels).unwrap();
        let pictures = load(folder.path()).unwrap();
        let [easy, medium, hard, gate] = &pictures[0].counts;
        assert_eq!(easy, &[false; 3]);
        assert_eq!(medium, &[false; 3]);
        assert_eq!(hard, &[true, true, false]);
        assert_eq!(gate, &[true, false, false]);
    }

    #[test]
    fn the_official_lists_are_read() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/datasets/wider_val");
        if !folder.exists() {
            eprintln!("absent, skipped: {}", folder.display());
            return;
        }
        let pictures = load(&folder).unwrap();
        let count = |subset: Subset| -> usize {
            pictures.iter().flat_map(|picture| &picture.counts[subset as usize]).filter(|&&counts| counts).count()
        };
        assert_eq!(pictures.len(), 259);
        assert_eq!(Subset::ALL.map(count), [588, 1133, 2643, 334]);
    }

    #[test]
    fn a_face_that_does_not_count_neither_helps_nor_harms() {
        let found = vec![(OTHER, 0.9), (FACE, 0.8)];
        assert_eq!(precision(vec![FACE, OTHER], vec![true, false], found), Some(1.0));
        assert_eq!(precision(vec![FACE], vec![false], vec![(FACE, 0.9)]), None);
    }
}
