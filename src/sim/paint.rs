//! A small painter: shapes with soft edges on a transparent canvas, each told by its distance function.
//!
//! Coordinates are free units; the canvas knows how many pixels one is. Colours are sRGB, 0..1, and lie on the canvas
//! multiplied by their cover, so that it can be scaled without dark seams.

pub type Rgb = [f32; 3];

/// The part of the canvas that a shape may touch: left, top, right, bottom.
pub type Bounds = [f32; 4];

#[derive(Clone)]
pub struct Canvas {
    pub width: usize,
    pub height: usize,
    /// Pixels a unit.
    pub scale: f32,
    /// The place of the unit's origin, in pixels.
    pub origin: (f32, f32),
    /// Red, green, blue, each times cover; cover.
    pub pixels: Vec<[f32; 4]>,
}

impl Canvas {
    pub fn new(bounds: Bounds, scale: f32) -> Self {
        let [left, top, right, bottom] = bounds;
        let (width, height) = (((right - left) * scale).ceil() as usize, ((bottom - top) * scale).ceil() as usize);
        Self { width, height, scale, origin: (-left * scale, -top * scale), pixels: vec![[0.0; 4]; width * height] }
    }

    /// Lays `color` over what is there, where `distance` (in units, negative inside) says so; the edge is `soft` wide.
    pub fn fill(
        &mut self,
        bounds: Bounds,
        soft: f32,
        distance: impl Fn(f32, f32) -> f32,
        color: impl Fn(f32, f32) -> Rgb,
    ) {
        let edge = soft.max(1.0 / self.scale);
        self.each(bounds, |x, y, pixel| {
            let cover = ramp(0.5 - distance(x, y) / edge);
            if cover > 0.0 {
                let rgb = color(x, y);
                for (channel, value) in pixel.iter_mut().zip([rgb[0], rgb[1], rgb[2], 1.0]) {
                    *channel = *channel * (1.0 - cover) + value * cover;
                }
            }
        });
    }

    /// Brightens or darkens what is there, softly around a point: by `1 + amount` at its centre, each channel its own.
    pub fn glow(&mut self, center: (f32, f32), radius: (f32, f32), amount: Rgb) {
        let (rx, ry) = (radius.0 * 2.5, radius.1 * 2.5);
        self.each([center.0 - rx, center.1 - ry, center.0 + rx, center.1 + ry], |x, y, pixel| {
            let (u, v) = ((x - center.0) / radius.0, (y - center.1) / radius.1);
            let weight = (-0.5 * (u * u + v * v)).exp();
            for (channel, amount) in pixel.iter_mut().zip(amount) {
                *channel = (*channel * (1.0 + amount * weight)).max(0.0);
            }
            for channel in 0..3 {
                pixel[channel] = pixel[channel].min(pixel[3]);
            }
        });
    }

    fn each(&mut self, bounds: Bounds, mut change: impl FnMut(f32, f32, &mut [f32; 4])) {
        let cut = |value: f32, size: usize| (value.max(0.0) as usize).min(size);
        let (ox, oy) = self.origin;
        let columns =
            cut(bounds[0] * self.scale + ox - 2.0, self.width)..cut(bounds[2] * self.scale + ox + 2.0, self.width);
        let rows =
            cut(bounds[1] * self.scale + oy - 2.0, self.height)..cut(bounds[3] * self.scale + oy + 2.0, self.height);
        for row in rows {
            let y = (row as f32 + 0.5 - oy) / self.scale;
            for column in columns.clone() {
                let x = (column as f32 + 0.5 - ox) / self.scale;
                change(x, y, &mut self.pixels[row * self.width + column]);
            }
        }
    }

    /// Half the size, each pixel the mean of four.
    pub fn half(&self) -> Self {
        let (width, height) = (self.width / 2, self.height / 2);
        let mut pixels = Vec::with_capacity(width * height);
        for row in 0..height {
            for column in 0..width {
                let at = 2 * row * self.width + 2 * column;
                let four = [at, at + 1, at + self.width, at + self.width + 1].map(|index| self.pixels[index]);
                pixels.push(std::array::from_fn(|channel| four.iter().map(|p| p[channel]).sum::<f32>() / 4.0));
            }
        }
        let origin = (self.origin.0 / 2.0, self.origin.1 / 2.0);
        Self { width, height, scale: self.scale / 2.0, origin, pixels }
    }

    /// Between the four pixels around a place given in units; transparent outside.
    pub fn sample(&self, x: f32, y: f32) -> [f32; 4] {
        let (px, py) = (x * self.scale + self.origin.0 - 0.5, y * self.scale + self.origin.1 - 0.5);
        if px < 0.0 || py < 0.0 || px >= self.width as f32 - 1.0 || py >= self.height as f32 - 1.0 {
            return [0.0; 4];
        }
        let (column, row) = (px as usize, py as usize);
        let (fx, fy) = (px - column as f32, py - row as f32);
        let at = row * self.width + column;
        let [a, b, c, d] = [at, at + 1, at + self.width, at + self.width + 1].map(|index| self.pixels[index]);
        std::array::from_fn(|i| {
            let (top, bottom) = (a[i] + (b[i] - a[i]) * fx, c[i] + (d[i] - c[i]) * fx);
            top + (bottom - top) * fy
        })
    }
}

/// Smooth from 0 to 1 while `t` goes from 0 to 1.
pub fn ramp(t: f32) -> f32 {
    let t = t.clamp(0.0, 1.0);
    t * t * (3.0 - 2.0 * t)
}

/// Distance to an ellipse around the origin; exact enough near its edge.
pub fn ellipse(x: f32, y: f32, rx: f32, ry: f32) -> f32 {
    let outer = (x / rx).hypot(y / ry);
    let slope = (x / (rx * rx)).hypot(y / (ry * ry));
    if slope < 1e-6 { -rx.min(ry) } else { outer * (outer - 1.0) / slope }
}

pub fn scaled(color: Rgb, by: f32) -> Rgb {
    color.map(|channel| (channel * by).clamp(0.0, 1.0))
}

pub fn mixed(a: Rgb, b: Rgb, share_of_b: f32) -> Rgb {
    std::array::from_fn(|i| a[i] + (b[i] - a[i]) * share_of_b.clamp(0.0, 1.0))
}

/// Smooth noise, -1..1, the same for the same place and seed.
pub fn noise(x: f32, y: f32, seed: u32) -> f32 {
    let (fx, fy) = (x.floor(), y.floor());
    let corner = |dx: i32, dy: i32| hash((fx as i32).wrapping_add(dx), (fy as i32).wrapping_add(dy), seed);
    let (u, v) = (ramp(x - fx), ramp(y - fy));
    let (top, bottom) = (lerp(corner(0, 0), corner(1, 0), u), lerp(corner(0, 1), corner(1, 1), u));
    lerp(top, bottom, v)
}

fn lerp(a: f32, b: f32, t: f32) -> f32 {
    a + (b - a) * t
}

/// -1..1, by the mixing steps of a common integer hash.
fn hash(x: i32, y: i32, seed: u32) -> f32 {
    let mut h =
        (x as u32).wrapping_mul(0x9E37_79B1) ^ (y as u32).wrapping_mul(0x85EB_CA77) ^ seed.wrapping_mul(0xC2B2_AE3D);
    h = (h ^ (h >> 15)).wrapping_mul(0x2C1B_3C6D);
    h = (h ^ (h >> 12)).wrapping_mul(0x297A_2D39);
    h ^= h >> 15;
    h as f32 / u32::MAX as f32 * 2.0 - 1.0
}
