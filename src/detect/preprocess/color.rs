//! From luma and chroma to red, green and blue, a row at a time. Pure.

use crate::frame::{Color, Matrix};

/// R, G and B as linear forms of Y, U, V and 1, all from 0 to 255.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ToRgb {
    y: f32,
    v_to_r: f32,
    u_to_g: f32,
    v_to_g: f32,
    u_to_b: f32,
    /// What remains of R, G and B at Y = U = V = 0.
    offset: [f32; 3],
}

impl ToRgb {
    /// From the luma weights of red and blue in ITU-R BT.601, BT.709 and BT.2020 (non-constant luminance).
    pub fn new(color: Color) -> Self {
        let (kr, kb) = match color.matrix {
            Matrix::Bt601 => (0.299, 0.114),
            Matrix::Bt709 => (0.2126, 0.0722),
            Matrix::Bt2020 => (0.2627, 0.0593),
        };
        let kg = 1.0 - kr - kb;
        let (black, y, c) = if color.full_range { (0.0, 1.0, 1.0) } else { (16.0, 255.0 / 219.0, 255.0 / 224.0) };
        let v_to_r = 2.0 * (1.0 - kr) * c;
        let u_to_b = 2.0 * (1.0 - kb) * c;
        let v_to_g = -v_to_r * kr / kg;
        let u_to_g = -u_to_b * kb / kg;
        let at_zero = |u: f32, v: f32| -y * black - 128.0 * (u + v);
        let offset = [at_zero(0.0, v_to_r), at_zero(u_to_g, v_to_g), at_zero(u_to_b, 0.0)];
        Self { y, v_to_r, u_to_g, v_to_g, u_to_b, offset }
    }

    /// Converts a row; each result is clipped to 0..255, then (value − mean) · scale.
    pub fn row(&self, [y, u, v]: [&[f32]; 3], [r, g, b]: [&mut [f32]; 3], mean: f32, scale: f32) {
        let len = y.len();
        let (u, v) = (&u[..len], &v[..len]);
        let (r, g, b) = (&mut r[..len], &mut g[..len], &mut b[..len]);
        let finish = |value: f32| (value.clamp(0.0, 255.0) - mean) * scale;
        for x in 0..len {
            let luma = self.y * y[x];
            r[x] = finish(luma + self.v_to_r * v[x] + self.offset[0]);
            g[x] = finish(luma + self.u_to_g * u[x] + self.v_to_g * v[x] + self.offset[1]);
            b[x] = finish(luma + self.u_to_b * u[x] + self.offset[2]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn convert(matrix: Matrix, full_range: bool, yuv: [f32; 3]) -> [f32; 3] {
        let (mut r, mut g, mut b) = ([0.0], [0.0], [0.0]);
        let [y, u, v] = yuv.map(|value| [value]);
        ToRgb::new(Color { matrix, full_range }).row([&y, &u, &v], [&mut r, &mut g, &mut b], 0.0, 1.0);
        [r[0], g[0], b[0]]
    }

    #[test]
    fn known_colours() {
        let cases = [
            (Matrix::Bt601, false, [16.0, 128.0, 128.0], [0.0, 0.0, 0.0]),
            (Matrix::Bt709, false, [235.0, 128.0, 128.0], [255.0, 255.0, 255.0]),
            (Matrix::Bt709, true, [128.0, 128.0, 128.0], [128.0, 128.0, 128.0]),
            // Pure red and pure blue, from the standards' forward equations.
            (Matrix::Bt601, false, [81.481, 90.203, 240.0], [255.0, 0.0, 0.0]),
            (Matrix::Bt709, false, [62.559, 102.336, 240.0], [255.0, 0.0, 0.0]),
            (Matrix::Bt709, false, [31.812, 240.0, 117.739], [0.0, 0.0, 255.0]),
            (Matrix::Bt2020, true, [66.989, 91.983, 255.5], [255.0, 0.0, 0.0]),
            // Out of gamut: clipped.
            (Matrix::Bt601, false, [235.0, 128.0, 240.0], [255.0, 163.93, 255.0]),
        ];
        for (matrix, full_range, yuv, expected) in cases {
            let rgb = convert(matrix, full_range, yuv);
            for (value, expected) in rgb.iter().zip(expected) {
                assert!((value - expected).abs() < 0.15, "{matrix:?} {yuv:?}: {rgb:?}");
            }
        }
    }
}
