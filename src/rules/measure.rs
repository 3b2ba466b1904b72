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
/// Samples at these ends are lost (video range as well as full range); eyes and hair may be that dark by right.
const BLACK: f32 = 20.0;
const WHITE: f32 = 234.0;
const LOST_USUAL: f32 = 0.15;

/// Measures the face at `rect` (pixels; may reach beyond the plane) in a plane of `width` × `height` samples whose
/// rows start `stride` bytes apart.
pub fn measure(y: &[u8], stride: usize, width: usize, height: usize, rect: Rect) -> Measure {
    match Cells::sample(y, stride, width, height, &rect.grow(-INSET)) {
        Some(cells) => Measure { sharpness: cells.sharpness(), exposure: cells.exposure() },
        None => Measure { sharpness: 0.0, exposure: 0.0 },
    }
}

/// The face on a grid of about its own proportions; each cell is the mean of 2 × 2 samples of it.
struct Cells {
    values: Vec<f32>,
    columns: usize,
    rows: usize,
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
            values.extend(across.iter().map(|&(left, right)| {
                let sum = u16::from(upper[left]) + u16::from(upper[right]) + u16::from(lower[left]);
                f32::from(sum + u16::from(lower[right])) / 4.0
            }));
        }
        Some(Self { values, columns, rows })
    }

    /// Fine detail in proportion to contrast: the Laplacian's root mean square over the deviation of the luma, so that
    /// a dark face is not taken for a blurred one.
    fn sharpness(&self) -> f32 {
        let mut energy = 0.0;
        for row in 1..self.rows - 1 {
            let line = |row: usize| &self.values[row * self.columns..][..self.columns];
            let (above, here, below) = (line(row - 1), line(row), line(row + 1));
            for i in 1..self.columns - 1 {
                let laplacian = 4.0 * here[i] - here[i - 1] - here[i + 1] - above[i] - below[i];
                energy += laplacian * laplacian;
            }
        }
        let inner = ((self.rows - 2) * (self.columns - 2)) as f32;
        let detail = (energy / inner).sqrt() / (self.deviation() + DEVIATION_FLOOR);
        1.0 - (-detail / DETAIL_USUAL).exp()
    }

    /// Neither dark nor glaring on the whole, few samples at either end, and some contrast.
    fn exposure(&self) -> f32 {
        let mean = self.mean();
        let level = ((mean - TOO_DARK) / (DARK - TOO_DARK)).min((TOO_BRIGHT - mean) / (TOO_BRIGHT - BRIGHT));
        let lost = self.values.iter().filter(|&&v| v <= BLACK || v >= WHITE).count() as f32 / self.values.len() as f32;
        let kept = 1.0 - (lost - LOST_USUAL).max(0.0) / (1.0 - LOST_USUAL);
        let contrast = self.deviation() / DEVIATION_USUAL;
        level.clamp(0.0, 1.0) * kept * contrast.min(1.0)
    }

    fn mean(&self) -> f32 {
        self.values.iter().sum::<f32>() / self.values.len() as f32
    }

    fn deviation(&self) -> f32 {
        let mean = self.mean();
        (self.values.iter().map(|v| (v - mean).powi(2)).sum::<f32>() / self.values.len() as f32).sqrt()
    }
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
