//! How good a picture of a face is, 0..1: a product of parts, so that one very bad part cannot hide behind good ones.
//!
//! score = Π partᵉ with the exponents below. Each part is 0.02..1. docs/rules.md explains the parts and gives sources.

use crate::domain::{Detection, Landmarks, Point, Rect};

use super::measure::Measure;

const PART_MIN: f32 = 0.02;
/// Exponents: what counts double, counts twice as many decades.
const SIZE: f32 = 0.30;
const SHARPNESS: f32 = 0.50;
const POSE: f32 = 0.50;
const EXPOSURE: f32 = 0.25;
const CONFIDENCE: f32 = 0.25;
const WHOLENESS: f32 = 0.50;
/// A face of this shorter side counts nothing, and one of that counts full; by the logarithm between.
const SIZE_NONE_PX: f32 = 10.0;
const SIZE_FULL_PX: f32 = 300.0;
/// In place of what landmarks would tell: about what an ordinary face gets.
const POSE_UNKNOWN: f32 = 0.7;
/// Where the nose tip lies between the line of the eyes (0) and that of the mouth corners (1) in a level face: the
/// mean of the five-point template for 112 × 112 pictures that face recognition aligns to.
const NOSE_LEVEL: f32 = 0.49;
const NOSE_RANGE: f32 = 0.45;
/// A box that keeps this part of its size free to the frame's border is certainly whole.
const BORDER_FREE: f32 = 0.1;

/// The score and what it is made of, each 0..1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Quality {
    pub score: f32,
    pub size: f32,
    pub sharpness: f32,
    pub pose: f32,
    pub exposure: f32,
    pub confidence: f32,
    pub wholeness: f32,
}

impl Quality {
    /// `frame_size` is width and height of the frame that the face was found in.
    pub fn of(face: &Detection, measure: Measure, frame_size: (f32, f32)) -> Self {
        let part = |value: f32| if value.is_finite() { value.clamp(PART_MIN, 1.0) } else { PART_MIN };
        let mut quality = Self {
            score: 0.0,
            size: part(size(&face.bbox)),
            sharpness: part(measure.sharpness),
            pose: part(face.landmarks.as_ref().map_or(POSE_UNKNOWN, pose)),
            exposure: part(measure.exposure),
            confidence: part(face.score),
            wholeness: part(wholeness(&face.bbox, frame_size)),
        };
        quality.score = quality.product();
        quality
    }

    fn product(&self) -> f32 {
        let parts = [
            (self.size, SIZE),
            (self.sharpness, SHARPNESS),
            (self.pose, POSE),
            (self.exposure, EXPOSURE),
            (self.confidence, CONFIDENCE),
            (self.wholeness, WHOLENESS),
        ];
        parts.into_iter().map(|(part, exponent)| part.powf(exponent)).product()
    }
}

fn size(bbox: &Rect) -> f32 {
    (bbox.shorter_side() / SIZE_NONE_PX).ln() / (SIZE_FULL_PX / SIZE_NONE_PX).ln()
}

/// Yaw × pitch × roll, from where the nose lies between eyes and mouth; all along the face's own axes, so that a
/// tilted head is not taken for a turned one.
fn pose(landmarks: &Landmarks) -> f32 {
    let [right_eye, left_eye, nose, right_mouth, left_mouth] = landmarks.0;
    let across = minus(left_eye, right_eye);
    let eye_distance = across.x.hypot(across.y);
    let (eyes, mouth) = (middle(right_eye, left_eye), middle(right_mouth, left_mouth));
    let axis = Point::new(across.x / eye_distance, across.y / eye_distance);
    let down = Point::new(-axis.y, axis.x);
    let aside = 2.0 * dot(minus(nose, eyes), axis) / eye_distance;
    let nose_height = dot(minus(nose, eyes), down) / dot(minus(mouth, eyes), down);
    let yaw = 1.0 - aside.abs();
    let pitch = 1.0 - (nose_height - NOSE_LEVEL).abs() / NOSE_RANGE;
    let roll = (1.0 + axis.x) / 2.0;
    yaw.max(0.0) * pitch.max(0.0) * roll
}

/// 1 for a face well inside the frame, 0.5 for one that touches the border, less for one that reaches beyond it.
fn wholeness(bbox: &Rect, (width, height): (f32, f32)) -> f32 {
    let inside = bbox.clip(width, height).area() / bbox.area();
    let free = bbox.x.min(bbox.y).min(width - bbox.right()).min(height - bbox.bottom()) / bbox.shorter_side();
    inside.powi(2) * (0.5 + 0.5 * (free / BORDER_FREE).clamp(0.0, 1.0))
}

fn minus(a: Point, b: Point) -> Point {
    Point::new(a.x - b.x, a.y - b.y)
}

fn middle(a: Point, b: Point) -> Point {
    Point::new(a.x.midpoint(b.x), a.y.midpoint(b.y))
}

fn dot(a: Point, b: Point) -> f32 {
    a.x * b.x + a.y * b.y
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME: (f32, f32) = (1920.0, 1080.0);
    const FINE: Measure = Measure { sharpness: 0.9, exposure: 0.9 };

    /// The alignment template's points, scaled to a face of 150 px at 500, 300.
    fn level() -> Detection {
        let template = [(38.3, 51.7), (73.5, 51.5), (56.0, 71.7), (41.5, 92.4), (70.7, 92.2)];
        let points = template.map(|(x, y): (f32, f32)| Point::new(500.0 + x * 1.34, 300.0 + y * 1.34));
        Detection { bbox: Rect::new(500.0, 300.0, 150.0, 150.0), score: 0.9, landmarks: Some(Landmarks(points)) }
    }

    fn moved(index: usize, dx: f32, dy: f32) -> Detection {
        let mut face = level();
        let point = &mut face.landmarks.as_mut().expect("has landmarks").0[index];
        (point.x, point.y) = (point.x + dx, point.y + dy);
        face
    }

    fn of(face: &Detection) -> Quality {
        Quality::of(face, FINE, FRAME)
    }

    #[test]
    fn a_level_frontal_face_is_nearly_perfect() {
        let quality = of(&level());
        assert!(quality.pose > 0.95 && quality.wholeness == 1.0 && quality.score > 0.7, "{quality:?}");
    }

    #[test]
    fn turning_and_nodding_lower_the_pose() {
        let turned = [0.0, 6.0, 12.0, 20.0, -20.0].map(|dx| of(&moved(Landmarks::NOSE, dx, 0.0)).pose);
        assert!(turned[0] > turned[1] && turned[1] > turned[2] && turned[2] > turned[3], "{turned:?}");
        assert!((turned[3] - turned[4]).abs() < 0.05, "either side alike: {turned:?}");
        let nodded = [0.0, 8.0, 16.0].map(|dy| of(&moved(Landmarks::NOSE, 0.0, dy)).pose);
        assert!(nodded[0] > nodded[1] && nodded[1] > nodded[2], "{nodded:?}");
    }

    #[test]
    fn a_tilted_head_is_not_taken_for_a_turned_one() {
        let mut face = level();
        let (sin, cos) = 30_f32.to_radians().sin_cos();
        for point in &mut face.landmarks.as_mut().expect("has landmarks").0 {
            let (x, y) = (point.x - 575.0, point.y - 375.0);
            (point.x, point.y) = (575.0 + cos * x - sin * y, 375.0 + sin * x + cos * y);
        }
        let tilted = of(&face).pose;
        assert!(tilted > 0.85 && tilted < of(&level()).pose, "{tilted}");
    }

    #[test]
    fn one_very_bad_part_shows() {
        let blurred = Quality::of(&level(), Measure { sharpness: 0.03, exposure: 1.0 }, FRAME).score;
        assert!(blurred < 0.25 * of(&level()).score, "{blurred}");
    }

    #[test]
    fn a_cut_face_is_worse_than_a_whole_one() {
        let at = |x: f32| {
            let mut face = level();
            face.bbox.x = x;
            face.landmarks = None;
            of(&face).score
        };
        let scores = [500.0, 8.0, 0.0, -30.0, -75.0].map(at);
        assert!(scores.windows(2).all(|pair| pair[0] > pair[1]), "{scores:?}");
    }

    #[test]
    fn every_part_stays_in_range_whatever_comes() {
        let same = Landmarks([Point::new(5.0, 5.0); 5]);
        let nowhere = Landmarks([Point::new(f32::NAN, f32::INFINITY); 5]);
        for landmarks in [None, Some(same), Some(nowhere)] {
            for bbox in [Rect::new(0.0, 0.0, 1.0, 1.0), Rect::new(-1e6, 0.0, 1e6, 1.0), Rect::new(0.0, 0.0, 1e9, 1e9)] {
                let face = Detection { bbox, score: 1.5, landmarks };
                let odd = Quality::of(&face, Measure { sharpness: f32::NAN, exposure: -3.0 }, FRAME);
                for part in [odd.score, odd.size, odd.sharpness, odd.pose, odd.exposure, odd.confidence, odd.wholeness]
                {
                    assert!((0.0..=1.0).contains(&part), "{odd:?}");
                }
            }
        }
    }
}
