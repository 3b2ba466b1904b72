//! Against a slow model in f64 that is written from the definition.

use proptest::prelude::*;

use super::*;
use crate::frame::{Matrix, OwnedPlanes, PixelBuffer};

const BGR: InputRule = InputRule { order: PixelOrder::Bgr, mean: 0.0, scale: 1.0, multiple_of: Some(32), fixed: None };

/// The mean of `at(i)` over [from, to), with the parts of the first and last sample that are covered; or, for less
/// than two samples, the interpolation at its middle.
fn reduced(at: impl Fn(usize) -> f64, len: usize, from: f64, to: f64) -> f64 {
    if to - from < 2.0 {
        let center = ((from + to) / 2.0 - 0.5).clamp(0.0, (len - 1) as f64);
        let (low, part) = (center.floor() as usize, center.fract());
        return at(low) * (1.0 - part) + at((low + 1).min(len - 1)) * part;
    }
    let (mut sum, mut weight) = (0.0, 0.0);
    for i in 0..len {
        let covered = (to.min(i as f64 + 1.0) - from.max(i as f64)).max(0.0);
        sum += at(i) * covered;
        weight += covered;
    }
    sum / weight
}

fn reduced_plane(
    at: impl Fn(usize, usize) -> u8,
    (width, height): (usize, usize),
    (x, y, w, h): (f64, f64, f64, f64),
) -> f64 {
    let row = |j: usize| reduced(|i| f64::from(at(i, j)), width, x, x + w);
    reduced(row, height, y, y + h)
}

/// R, G, B of one output pixel.
fn reference(planes: &Planes<'_>, color: Color, region: Rect, content: (usize, usize), at: (usize, usize)) -> [f64; 3] {
    let (rx, ry) = (f64::from(region.w) / content.0 as f64, f64::from(region.h) / content.1 as f64);
    let (x, y) = (f64::from(region.x) + at.0 as f64 * rx, f64::from(region.y) + at.1 as f64 * ry);
    let luma = reduced_plane(|i, j| planes.y[j * planes.y_stride + i], (planes.width, planes.height), (x, y, rx, ry));
    let half = (planes.width.div_ceil(2), planes.height.div_ceil(2));
    let cell = (x / 2.0, y / 2.0, rx / 2.0, ry / 2.0);
    let u = reduced_plane(|i, j| planes.chroma(i, j).0, half, cell) - 128.0;
    let v = reduced_plane(|i, j| planes.chroma(i, j).1, half, cell) - 128.0;
    let (kr, kb) = match color.matrix {
        Matrix::Bt601 => (0.299, 0.114),
        Matrix::Bt709 => (0.2126, 0.0722),
        Matrix::Bt2020 => (0.2627, 0.0593),
    };
    let (luma, c) = if color.full_range { (luma, 1.0) } else { ((luma - 16.0) * 255.0 / 219.0, 255.0 / 224.0) };
    let (r, b) = (luma + 2.0 * (1.0 - kr) * v * c, luma + 2.0 * (1.0 - kb) * u * c);
    let g = (luma - kr * r - kb * b) / (1.0 - kr - kb);
    [r, g, b].map(|value| value.clamp(0.0, 255.0))
}

/// Noise that needs no seed to be told: the same for everybody.
fn noise(len: usize, salt: u32) -> Vec<u8> {
    let mut state = 0x9e37_79b9_u32 ^ salt;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        (state >> 24) as u8
    };
    (0..len).map(|_| next()).collect()
}

fn noisy_i420(width: usize, height: usize) -> OwnedPlanes {
    let chroma = width.div_ceil(2) * height.div_ceil(2);
    let (y, u, v) = (noise(width * height, 1), noise(chroma, 2), noise(chroma, 3));
    OwnedPlanes { layout: Layout::I420, width, height, y, u, v }
}

fn as_nv12(i420: &OwnedPlanes) -> OwnedPlanes {
    let uv = i420.u.iter().zip(&i420.v).flat_map(|(&u, &v)| [u, v]).collect();
    let (width, height) = (i420.width, i420.height);
    OwnedPlanes { layout: Layout::Nv12, width, height, y: i420.y.clone(), u: uv, v: Vec::new() }
}

fn input(content: (usize, usize)) -> InputSize {
    InputSize { width: content.0.next_multiple_of(32), height: content.1.next_multiple_of(32), content }
}

fn sample(picture: &OwnedPlanes, color: Color, region: Rect, content: (usize, usize), rule: &InputRule) -> Vec<f32> {
    let frame = (picture.width, picture.height);
    let size = input(content);
    let geometry = Geometry { frame, pixels: Pixels::Yuv(picture.layout), region, input: size };
    let mut tensor = vec![f32::NAN; 3 * size.width * size.height];
    Sampler::new(geometry).sample(&picture.planes(), color, rule, &mut tensor);
    tensor
}

fn assert_close(picture: &OwnedPlanes, color: Color, region: Rect, content: (usize, usize)) {
    let tensor = sample(picture, color, region, content, &BGR);
    let size = input(content);
    for y in 0..size.height {
        for x in 0..size.width {
            let inside = x < content.0 && y < content.1;
            let expected = if inside { reference(&picture.planes(), color, region, content, (x, y)) } else { [0.0; 3] };
            for (plane, channel) in [2, 1, 0].into_iter().enumerate() {
                let value = f64::from(tensor[(plane * size.height + y) * size.width + x]);
                // Weights down the columns are rounded to 1/256; noise, and the step to colour, make the most of it.
                let tolerance = 2.0 + 0.2 * f64::from(region.h) / content.1 as f64;
                let error = (value - expected[channel]).abs();
                assert!(
                    error < tolerance,
                    "{region:?} to {content:?} at {x},{y}: {value} instead of {}",
                    expected[channel]
                );
            }
        }
    }
}

const LIMITED_709: Color = Color { matrix: Matrix::Bt709, full_range: false };

fn whole(picture: &OwnedPlanes) -> Rect {
    Rect::new(0.0, 0.0, picture.width as f32, picture.height as f32)
}

#[test]
fn whole_ratios_are_exact_to_rounding() {
    for (size, content) in [((96, 48), (32, 16)), ((192, 96), (32, 16)), ((64, 32), (32, 16)), ((160, 64), (32, 16))] {
        let picture = noisy_i420(size.0, size.1);
        let tensor = sample(&picture, LIMITED_709, whole(&picture), content, &BGR);
        let width = input(content).width;
        for (x, y) in [(0, 0), (5, 3), (31, 15)] {
            let expected = reference(&picture.planes(), LIMITED_709, whole(&picture), content, (x, y));
            assert!((f64::from(tensor[y * width + x]) - expected[2]).abs() < 0.5, "{size:?} at {x},{y}");
        }
    }
}

#[test]
fn grey_stays_grey_at_any_ratio() {
    for (width, height, content) in [(1919, 1079, (320, 180)), (101, 57, (96, 54)), (17, 9, (64, 34))] {
        let mut picture = noisy_i420(width, height);
        picture.y.fill(126);
        picture.u.fill(128);
        picture.v.fill(128);
        let size = input(content);
        let tensor = sample(&picture, LIMITED_709, whole(&picture), content, &BGR);
        for plane in tensor.chunks_exact(size.width * size.height) {
            for row in plane.chunks_exact(size.width).take(content.1) {
                assert!(row[..content.0].iter().all(|value| (value - 128.08).abs() < 0.01), "{:?}", &row[..8]);
            }
        }
    }
}

#[test]
fn order_mean_scale_and_black_follow_the_rule() {
    let picture = noisy_i420(80, 60);
    let rgb_rule = InputRule { order: PixelOrder::Rgb, mean: 127.0, scale: 0.0078125, ..BGR };
    let bgr = sample(&picture, LIMITED_709, whole(&picture), (40, 30), &BGR);
    let rgb = sample(&picture, LIMITED_709, whole(&picture), (40, 30), &rgb_rule);
    let area = bgr.len() / 3;
    for plane in 0..3 {
        for at in 0..area {
            let expected = (bgr[(2 - plane) * area + at] - 127.0) / 128.0;
            assert!((rgb[plane * area + at] - expected).abs() < 1e-5);
        }
    }
    assert_eq!(rgb[area - 1], -127.0 / 128.0);
}

#[test]
fn packed_rgb_is_reduced_as_planes_are() {
    let (width, height, content) = (90, 51, (30, 17));
    let bytes = noise(width * height * 3, 7);
    let size = input(content);
    let mut tensor = vec![f32::NAN; 3 * size.width * size.height];
    let geometry = Geometry::whole_frame((width, height), Pixels::PackedRgb, size);
    Sampler::new(geometry).sample_rgb(&bytes, &BGR, &mut tensor);
    for (plane, channel) in [2, 1, 0].into_iter().enumerate() {
        let at = |i: usize, j: usize| bytes[(j * width + i) * 3 + channel];
        let expected = reduced_plane(at, (width, height), (12.0, 15.0, 3.0, 3.0));
        assert!((f64::from(tensor[(plane * size.height + 5) * size.width + 4]) - expected).abs() < 1e-3);
    }
    assert_eq!(tensor[content.0], 0.0);
}

#[test]
fn strides_wider_than_the_rows_are_honoured() {
    let tight = noisy_i420(64, 32);
    let pad = |plane: &[u8], width: usize, stride: usize| -> Vec<u8> {
        plane.chunks(width).flat_map(|row| row.iter().copied().chain(std::iter::repeat_n(99, stride - width))).collect()
    };
    let (y, u, v) = (pad(&tight.y, 64, 80), pad(&tight.u, 32, 48), pad(&tight.v, 32, 48));
    let padded = Planes { y: &y, u: &u, v: &v, y_stride: 80, uv_stride: 48, ..tight.planes() };
    let size = input((32, 16));
    let geometry = Geometry::whole_frame((64, 32), Pixels::Yuv(Layout::I420), size);
    let mut tensor = vec![0.0; 3 * size.width * size.height];
    Sampler::new(geometry).sample(&padded, LIMITED_709, &BGR, &mut tensor);
    assert_eq!(tensor, sample(&tight, LIMITED_709, whole(&tight), (32, 16), &BGR));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn equals_the_definition(
        width in 1usize..70, height in 1usize..50, columns in 1usize..40, rows in 1usize..40,
        matrix in prop::sample::select(vec![Matrix::Bt601, Matrix::Bt709, Matrix::Bt2020]), full_range: bool,
    ) {
        let picture = noisy_i420(width, height);
        assert_close(&picture, Color { matrix, full_range }, whole(&picture), (columns, rows));
    }

    #[test]
    fn a_region_is_sampled_as_the_definition_says(
        x in 0.0f32..30.0, y in 0.0f32..20.0, w in 4.0f32..40.0, h in 4.0f32..30.0,
        columns in 1usize..24, rows in 1usize..24,
    ) {
        assert_close(&noisy_i420(70, 50), LIMITED_709, Rect::new(x, y, w, h), (columns, rows));
    }

    #[test]
    fn nv12_gives_the_very_same(
        width in 1usize..70, height in 1usize..50, columns in 1usize..40, rows in 1usize..40,
    ) {
        let picture = noisy_i420(width, height);
        let nv12 = as_nv12(&picture);
        let (region, content) = (whole(&picture), (columns, rows));
        prop_assert_eq!(
            sample(&picture, LIMITED_709, region, content, &BGR),
            sample(&nv12, LIMITED_709, region, content, &BGR)
        );
    }
}
