//! Brings a face to where embedding models expect it: a picture of 112 × 112 pixels in which eyes, nose and mouth
//! corners lie as near as a turn, a scale and a shift can bring them to five fixed points. Pure.

use super::catalog::{InputRule, PixelOrder};
use crate::domain::{Landmarks, Point};

pub const SIDE: usize = 112;

/// The points of ArcFace's training: right eye, left eye, nose tip, right and left mouth corner of the person.
const TEMPLATE: [Point; 5] = [
    Point::new(38.2946, 51.6963),
    Point::new(73.5318, 51.5014),
    Point::new(56.0252, 71.7366),
    Point::new(41.5493, 92.3655),
    Point::new(70.7299, 92.2041),
];
/// A pixel of a large face is the mean of at most so many samples a side.
const MAX_SAMPLES: usize = 8;

/// Packed RGB without gaps.
#[derive(Clone, Copy)]
pub struct Rgb<'a> {
    pub width: usize,
    pub height: usize,
    pub bytes: &'a [u8],
}

/// Where a point of the aligned picture lies in the picture: (x, y) → origin + x·along + y·across.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Placement {
    origin: Point,
    along: Point,
    across: Point,
}

/// Fills `tensor`, three planes of 112 × 112, as the model's rule says. False where the points are all in one place.
pub fn fill(picture: Rgb<'_>, landmarks: &Landmarks, rule: &InputRule, tensor: &mut [f32]) -> bool {
    let Some(placement) = Placement::of(landmarks) else { return false };
    let samples = (placement.along.x.hypot(placement.along.y).ceil() as usize).clamp(1, MAX_SAMPLES);
    let (first, rest) = tensor.split_at_mut(SIDE * SIDE);
    let (second, third) = rest.split_at_mut(SIDE * SIDE);
    let planes = match rule.order {
        PixelOrder::Rgb => [first, second, third],
        PixelOrder::Bgr => [third, second, first],
    };
    for y in 0..SIDE {
        for x in 0..SIDE {
            let pixel = mean(picture, &placement, x, y, samples);
            for channel in 0..3 {
                planes[channel][y * SIDE + x] = (pixel[channel] - rule.mean) * rule.scale;
            }
        }
    }
    true
}

impl Placement {
    /// The least-squares similarity from the landmarks to the template, turned round.
    fn of(landmarks: &Landmarks) -> Option<Self> {
        let center = |points: &[Point; 5]| {
            let sum = points.iter().fold((0.0, 0.0), |sum, p| (sum.0 + p.x, sum.1 + p.y));
            Point::new(sum.0 / 5.0, sum.1 / 5.0)
        };
        let (from, to) = (center(&landmarks.0), center(&TEMPLATE));
        let (mut dot, mut cross, mut square) = (0.0, 0.0, 0.0);
        for (p, t) in landmarks.0.iter().zip(&TEMPLATE) {
            let (px, py, tx, ty) = (p.x - from.x, p.y - from.y, t.x - to.x, t.y - to.y);
            dot += px * tx + py * ty;
            cross += px * ty - py * tx;
            square += px * px + py * py;
        }
        // (a −b; b a) takes the landmarks to the template; its inverse is (a b; −b a) over a² + b².
        let (a, b) = (dot / square, cross / square);
        let norm = a * a + b * b;
        if !norm.is_finite() || norm < 1e-9 {
            return None;
        }
        let (along, across) = (Point::new(a / norm, -b / norm), Point::new(b / norm, a / norm));
        let origin = Point::new(from.x - to.x * along.x - to.y * across.x, from.y - to.x * along.y - to.y * across.y);
        Some(Self { origin, along, across })
    }

    fn at(&self, x: f32, y: f32) -> (f32, f32) {
        (self.origin.x + x * self.along.x + y * self.across.x, self.origin.y + x * self.along.y + y * self.across.y)
    }
}

fn mean(picture: Rgb<'_>, placement: &Placement, x: usize, y: usize, samples: usize) -> [f32; 3] {
    let mut sum = [0.0; 3];
    let offset = |k: usize| (k as f32 + 0.5) / samples as f32 - 0.5;
    for row in 0..samples {
        for column in 0..samples {
            let (px, py) = placement.at(x as f32 + offset(column), y as f32 + offset(row));
            let pixel = between(picture, px, py);
            (0..3).for_each(|channel| sum[channel] += pixel[channel]);
        }
    }
    sum.map(|value| value / (samples * samples) as f32)
}

/// Bilinear; black beyond the picture.
fn between(picture: Rgb<'_>, x: f32, y: f32) -> [f32; 3] {
    let (left, top) = (x.floor(), y.floor());
    let (fx, fy) = (x - left, y - top);
    let corner = |dx: f32, dy: f32| pixel(picture, left + dx, top + dy);
    let (a, b, c, d) = (corner(0.0, 0.0), corner(1.0, 0.0), corner(0.0, 1.0), corner(1.0, 1.0));
    std::array::from_fn(|i| (a[i] * (1.0 - fx) + b[i] * fx) * (1.0 - fy) + (c[i] * (1.0 - fx) + d[i] * fx) * fy)
}

fn pixel(picture: Rgb<'_>, x: f32, y: f32) -> [f32; 3] {
    if x < 0.0 || y < 0.0 || x >= picture.width as f32 || y >= picture.height as f32 {
        return [0.0; 3];
    }
    let at = (y as usize * picture.width + x as usize) * 3;
    picture.bytes.get(at..at + 3).map_or([0.0; 3], |rgb| [f32::from(rgb[0]), f32::from(rgb[1]), f32::from(rgb[2])])
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: InputRule =
        InputRule { order: PixelOrder::Rgb, mean: 0.0, scale: 1.0, multiple_of: None, fixed: Some((SIDE, SIDE)) };

    /// Turned by `angle`, `scale` times as large, moved.
    fn moved(angle: f32, scale: f32, (dx, dy): (f32, f32)) -> Landmarks {
        let (sin, cos) = angle.sin_cos();
        Landmarks(
            TEMPLATE.map(|p| Point::new(scale * (p.x * cos - p.y * sin) + dx, scale * (p.x * sin + p.y * cos) + dy)),
        )
    }

    #[test]
    fn the_template_itself_stays_where_it_is() {
        let placement = Placement::of(&Landmarks(TEMPLATE)).unwrap();
        let (x, y) = placement.at(10.0, 20.0);
        assert!((x - 10.0).abs() < 1e-3 && (y - 20.0).abs() < 1e-3, "{x} {y}");
    }

    #[test]
    fn turned_scaled_and_shifted_faces_come_back() {
        for (angle, scale, shift) in [(0.4, 2.5, (100.0, 40.0)), (-1.0, 0.5, (30.0, 60.0)), (3.0, 9.0, (900.0, 800.0))]
        {
            let landmarks = moved(angle, scale, shift);
            let placement = Placement::of(&landmarks).unwrap();
            for (template, there) in TEMPLATE.iter().zip(landmarks.0) {
                let (x, y) = placement.at(template.x, template.y);
                assert!((x - there.x).hypot(y - there.y) < 0.02 * scale, "{angle} {scale}: {x},{y} for {there:?}");
            }
        }
    }

    #[test]
    fn pixels_land_where_the_points_say_in_the_order_of_the_rule() {
        let (width, height) = (400, 300);
        let mut bytes = vec![0; width * height * 3];
        // A red square around the right eye, which lies at (100, 80) of a face three times the template's size.
        let landmarks = moved(0.0, 3.0, (100.0 - 3.0 * TEMPLATE[0].x, 80.0 - 3.0 * TEMPLATE[0].y));
        for y in 74..87 {
            for x in 94..107 {
                bytes[(y * width + x) * 3] = 200;
            }
        }
        for (order, plane) in [(PixelOrder::Rgb, 0), (PixelOrder::Bgr, 2)] {
            let mut tensor = vec![0.0; 3 * SIDE * SIDE];
            assert!(fill(Rgb { width, height, bytes: &bytes }, &landmarks, &InputRule { order, ..RULE }, &mut tensor));
            let eye = plane * SIDE * SIDE + 52 * SIDE + 38;
            assert!((tensor[eye] - 200.0).abs() < 1.0, "{order:?}: {}", tensor[eye]);
            let lit: f32 = tensor.iter().sum();
            assert!((lit - tensor[plane * SIDE * SIDE..][..SIDE * SIDE].iter().sum::<f32>()).abs() < 1e-3);
        }
    }

    #[test]
    fn points_in_one_place_are_no_face() {
        let mut tensor = vec![0.0; 3 * SIDE * SIDE];
        let nowhere = Landmarks([Point::new(5.0, 5.0); 5]);
        assert!(!fill(Rgb { width: 10, height: 10, bytes: &[9; 300] }, &nowhere, &RULE, &mut tensor));
    }
}
