//! Sharpness and exposure of a face, from the luma plane alone. At most 64 × 64 cells of the face are looked at, so
//! that a large face costs no more than a small one, and is judged at the scale at which a face is recognised.

use crate::domain::Rect;

/// Both 0..1, more is better.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Measure {
    pub sharpness: f32,
    pub exposure: f32,
}

const CELLS_MAX: usize = 64;
/// Left out on each side of the box: hair and background.
const INSET: f32 = 0.1;
/// The Laplacian over the deviation where sharpness is 1 − 1/e.
const DETAIL_USUAL: f32 = 0.5;
/// Keeps noise on a flat surface from looking like detail.
const DEVIATION_FLOOR: f32 = 4.0;
/// A face's contrast in usual light.
const DEVIATION_USUAL: f32 = 25.0;
/// Mean luma: nothing at the outer values, full between the inner ones. Wide, because skin is of any tone.
const TOO_DARK: f32 = 20.0;
const DARK: f32 = 60.0;
const BRIGHT: f32 = 190.0;
const TOO_BRIGHT: f32 = 240.0;
/// Cells (in quarters of luma) at these ends are lost (video range as well as full range); eyes and hair may be that dark by right.
const BLACK: i16 = 4 * 20;
const WHITE: i16 = 4 * 234;
const LOST_USUAL: f32 = 0.15;

/// Measures the face at `rect` (pixels; may reach beyond the plane) in a plane of `width` × `height` samples whose
/// rows start `stride` bytes apart.
pub fn measure(y: &[u8], stride: usize, width: usize, height: usize, rect: Rect) -> Measure {
    match Cells::sample(y, stride, width, height, &rect.grow(-INSET)) {
        Some(cells) => Measure { sharpness: cells.sharpness(), exposure: cells.exposure() },
        None => Measure { sharpness: 0.0, exposure: 0.0 },
    }
}

/// The face on a grid of about its own proportions. Each cell is the sum of 2 × 2 samples of it, so luma in quarters:
/// whole numbers, which a processor adds up eight or sixteen at a time.
struct Cells {
    values: Vec<i16>,
    columns: usize,
    /// Of the cells, in luma.
    mean: f32,
    deviation: f32,
}

impl Cells {
    /// `None` when fewer than 3 × 3 pixels of the face are in the picture.
    fn sample(y: &[u8], stride: usize, width: usize, height: usize, rect: &Rect) -> Option<Self> {
        let rect = rect.clip(width as f32, height as f32);
        let step = (rect.longer_side() / CELLS_MAX as f32).max(1.0);
        let (columns, rows) = ((rect.w / step) as usize, (rect.h / step) as usize);
        if columns < 3 || rows < 3 || y.len() < stride * (height - 1) + width {
            return None;
        }
        let mut values = Vec::with_capacity(columns * rows);
        let pairs = |start: f32, count: usize, limit: usize| -> Vec<(usize, usize)> {
            let at = |i: usize, part: f32| ((start + (i as f32 + part) * step) as usize).min(limit - 1);
            (0..count).map(|i| (at(i, 0.25), at(i, 0.75))).collect()
        };
        let across = pairs(rect.x, columns, width);
        for (upper, lower) in pairs(rect.y, rows, height) {
            let (upper, lower) = (&y[upper * stride..][..width], &y[lower * stride..][..width]);
            let sum = |x: usize| i16::from(upper[x]) + i16::from(lower[x]);
            values.extend(across.iter().map(|&(left, right)| sum(left) + sum(right)));
        }
        let (mean, deviation) = spread(&values, columns);
        Some(Self { values, columns, mean, deviation })
    }

    /// Fine detail in proportion to contrast: the Laplacian's root mean square over the deviation of the luma, so that
    /// a dark face is not taken for a blurred one.
    fn sharpness(&self) -> f32 {
        let lines: Vec<&[i16]> = self.values.chunks_exact(self.columns).collect();
        let inner = (lines.len() - 2) * (self.columns - 2);
        let energy: i64 = lines.windows(3).map(|three| i64::from(detail(three[0], three[1], three[2]))).sum();
        let detail = (energy as f32 / inner as f32).sqrt() / 4.0 / (self.deviation + DEVIATION_FLOOR);
        1.0 - (-detail / DETAIL_USUAL).exp()
    }

    /// Neither dark nor glaring on the whole, few samples at either end, and some contrast.
    fn exposure(&self) -> f32 {
        let level = ((self.mean - TOO_DARK) / (DARK - TOO_DARK)).min((TOO_BRIGHT - self.mean) / (TOO_BRIGHT - BRIGHT));
        let lost = self.values.iter().filter(|&&v| v <= BLACK || v >= WHITE).count() as f32 / self.values.len() as f32;
        let kept = 1.0 - (lost - LOST_USUAL).max(0.0) / (1.0 - LOST_USUAL);
        let contrast = self.deviation / DEVIATION_USUAL;
        level.clamp(0.0, 1.0) * kept * contrast.min(1.0)
    }
}

/// Mean and standard deviation of the cells, in luma. A row's sums fit 32 bits.
fn spread(values: &[i16], columns: usize) -> (f32, f32) {
    let row =
        |row: &[i16]| row.iter().map(|&v| i32::from(v)).fold((0, 0), |(sum, squares), v| (sum + v, squares + v * v));
    let rows = values.chunks_exact(columns).map(row);
    let (sum, squares) = rows.fold((0_i64, 0_i64), |(a, b), (c, d)| (a + i64::from(c), b + i64::from(d)));
    let mean = sum as f64 / values.len() as f64;
    let variance = squares as f64 / values.len() as f64 - mean * mean;
    ((mean / 4.0) as f32, (variance.max(0.0).sqrt() / 4.0) as f32)
}

/// The sum of the squared Laplacian along one row, but for its ends: at most 62 × 4080², which fits.
fn detail(above: &[i16], here: &[i16], below: &[i16]) -> i32 {
    let sides = here.windows(3).zip(&above[1..]).zip(&below[1..]);
    sides
        .map(|((here, above), below)| i32::from(4 * here[1] - here[0] - here[2] - above - below))
        .map(|laplacian| laplacian * laplacian)
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIDE: usize = 160;

    /// Something with an edge in every direction and detail at several scales.
    fn face() -> Vec<f32> {
        let at = |x: f32, y: f32| {
            let ring = ((x - 80.0).hypot(y - 80.0) / 6.0).sin() * 30.0;
            let checks = if ((x / 10.0) as i32 + (y / 10.0) as i32) % 2 == 0 { 25.0 } else { -25.0 };
            120.0 + ring + checks
        };
        (0..SIDE * SIDE).map(|i| at((i % SIDE) as f32, (i / SIDE) as f32)).collect()
    }

    fn blurred(picture: &[f32], times: usize) -> Vec<f32> {
        let mut picture = picture.to_vec();
        for _ in 0..times {
            let before = picture.clone();
            for y in 1..SIDE - 1 {
                for x in 1..SIDE - 1 {
                    let rows =
                        [y - 1, y, y + 1].map(|y| before[y * SIDE + x - 1..=y * SIDE + x + 1].iter().sum::<f32>());
                    picture[y * SIDE + x] = rows.iter().sum::<f32>() / 9.0;
                }
            }
        }
        picture
    }

    fn of(picture: &[f32]) -> Measure {
        let bytes: Vec<u8> = picture.iter().map(|v| v.clamp(0.0, 255.0) as u8).collect();
        measure(&bytes, SIDE, SIDE, SIDE, Rect::new(10.0, 10.0, 140.0, 140.0))
    }

    #[test]
    fn each_further_blur_lowers_sharpness() {
        let scores: Vec<f32> = [0, 1, 3, 8, 20].iter().map(|&n| of(&blurred(&face(), n)).sharpness).collect();
        assert!(scores.windows(2).all(|pair| pair[0] > pair[1] + 0.01), "{scores:?}");
    }

    #[test]
    fn sharpness_does_not_depend_on_brightness_or_contrast() {
        let dimmer: Vec<f32> = face().iter().map(|v| v * 0.6 + 10.0).collect();
        assert!((of(&face()).sharpness - of(&dimmer).sharpness).abs() < 0.05);
    }

    #[test]
    fn extremes_of_light_lower_exposure() {
        let shifted = |by: f32| of(&face().iter().map(|v| v + by).collect::<Vec<_>>()).exposure;
        let scores = [0.0, -60.0, -85.0, -105.0, 60.0, 90.0, 110.0].map(shifted);
        assert!(scores[0] > 0.9, "{scores:?}");
        assert!(scores[1] > scores[2] && scores[2] > scores[3] && scores[3] < 0.3, "{scores:?}");
        assert!(scores[4] > scores[5] && scores[5] > scores[6] && scores[6] < 0.3, "{scores:?}");
    }

    #[test]
    fn a_flat_face_has_no_exposure_to_speak_of() {
        assert!(of(&vec![120.0; SIDE * SIDE]).exposure < 0.05);
    }

    #[test]
    fn boxes_beyond_the_picture_are_measured_by_what_is_in_it() {
        let bytes = vec![100_u8; 64 * 64];
        for rect in [
            Rect::new(-50.0, -50.0, 100.0, 100.0),
            Rect::new(40.0, 40.0, 500.0, 500.0),
            Rect::new(200.0, 0.0, 50.0, 50.0),
            Rect::new(0.0, 0.0, 2.0, 2.0),
            Rect::new(f32::NAN, 0.0, 20.0, 20.0),
        ] {
            let measured = measure(&bytes, 64, 64, 64, rect);
            assert!((0.0..=1.0).contains(&measured.sharpness) && (0.0..=1.0).contains(&measured.exposure));
        }
    }

    #[test]
    fn the_stride_is_respected() {
        let (stride, side) = (100, 64);
        let mut bytes = vec![255_u8; stride * side];
        for row in bytes.chunks_mut(stride) {
            row[..side].fill(100);
        }
        assert!(measure(&bytes, stride, side, side, Rect::new(0.0, 0.0, 64.0, 64.0)).sharpness < 0.01);
    }
}
