//! A drawn person from the front, head and shoulders: smooth enough that a detector trained on photographs finds
//! the face.
//!
//! One unit is half the width of the face; the origin is the middle between the temples, a little under the eyes.

use super::paint::{Bounds, Canvas, Rgb, ellipse, mixed, noise, ramp, scaled};

/// The face as detectors draw it: a little inside the ears, from the hairline to the chin.
pub const FACE: Bounds = [-0.91, -0.96, 0.91, 1.30];
/// Right eye, left eye, nose tip, right and left corner of the mouth, as the person has them.
pub const LANDMARKS: [(f32, f32); 5] = [(-EYE_X, EYE_Y), (EYE_X, EYE_Y), (0.0, 0.44), (-0.33, 0.80), (0.33, 0.80)];
/// All of the drawing; what lies below goes on as the lowest row.
pub const CANVAS: Bounds = [-2.3, -1.75, 2.3, 3.0];

const EYE_X: f32 = 0.42;
const EYE_Y: f32 = -0.08;
const CHIN_Y: f32 = 1.30;
const FOREHEAD: f32 = 1.28;
const LIGHT: [f32; 3] = [-0.36, -0.42, 0.83];
const BLACK: Rgb = [0.05, 0.04, 0.04];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hair {
    Short,
    Long,
    /// Short, and a beard.
    Bearded,
}

#[derive(Debug, Clone, Copy)]
pub struct Look {
    pub skin: Rgb,
    pub hair_color: Rgb,
    pub hair: Hair,
    pub clothes: Rgb,
    pub iris: Rgb,
    pub glasses: bool,
    /// 0 closed .. 1 laughing.
    pub smile: f32,
    pub seed: u32,
}

/// Draws the person with `scale` pixels a unit.
pub fn draw(look: &Look, scale: f32) -> Canvas {
    let mut canvas = Canvas::new(CANVAS, scale);
    back_hair(&mut canvas, look);
    body(&mut canvas, look);
    ears(&mut canvas, look);
    head(&mut canvas, look);
    relief(&mut canvas);
    if look.hair == Hair::Bearded {
        beard(&mut canvas, look);
    }
    mouth(&mut canvas, look);
    for side in [-1.0, 1.0] {
        nostril(&mut canvas, look, side);
        eye(&mut canvas, look, side);
        brow(&mut canvas, look, side);
    }
    front_hair(&mut canvas, look);
    if look.glasses {
        glasses(&mut canvas);
    }
    canvas
}

fn head_distance(x: f32, y: f32) -> f32 {
    let narrow = if y > 0.0 { 1.0 - 0.15 * (y / CHIN_Y).powi(2) } else { 1.0 };
    ellipse(x / narrow, y, 1.0, if y > 0.0 { CHIN_Y } else { FOREHEAD })
}

/// How much light a round head gets at a place, around 1.
fn light(x: f32, y: f32) -> f32 {
    let (nx, ny) = (x / 1.08, y / 1.42);
    let nz = (1.0 - nx * nx - ny * ny).max(0.02).sqrt();
    let lambert = (nx * LIGHT[0] + ny * LIGHT[1] + nz * LIGHT[2]).max(0.0);
    0.60 + 0.50 * lambert
}

fn strands(look: &Look, x: f32, y: f32) -> Rgb {
    let streak = noise(x * 26.0 + 3.0 * noise(x * 3.0, y * 3.0, look.seed), y * 5.0, look.seed);
    scaled(look.hair_color, 0.85 + 0.22 * streak + 0.25 * light(x, y + 0.4))
}

fn back_hair(canvas: &mut Canvas, look: &Look) {
    let bottom = if look.hair == Hair::Long { 1.75 } else { 0.25 };
    let distance = |x: f32, y: f32| {
        let cap = ellipse(x, y + 0.16, 1.16, 1.30);
        let fall = (x.abs() - fall_width(y)).max(y - bottom).max(-0.2 - y);
        if look.hair == Hair::Long { cap.min(fall) } else { cap.max(y - bottom) }
    };
    canvas.fill([-1.5, -1.6, 1.5, 1.9], 0.05, distance, |x, y| scaled(strands(look, x, y), 0.72));
}

/// How far long hair stands out: rounded at the top, wider towards the shoulders.
fn fall_width(y: f32) -> f32 {
    1.02 + 0.20 * ramp((y + 0.75) / 0.9) + 0.07 * (y - 0.2).max(0.0)
}

fn body(canvas: &mut Canvas, look: &Look) {
    let shoulders = |x: f32, y: f32| ellipse(x, y - 3.45, 2.15, 1.78).min((x.abs() - 2.15).max(3.4 - y));
    let cloth = |x: f32, y: f32| {
        let fold = 0.05 * noise(x * 2.5, y * 1.2, look.seed + 7);
        scaled(look.clothes, 0.98 + fold - 0.10 * x - 0.16 * (x / 2.0).powi(2))
    };
    let neck =
        |x: f32, y: f32| (x.abs() - 0.56 - 0.25 * (y - 1.45).max(0.0)).max(y - 2.02 + 0.55 * x.abs()).max(0.4 - y);
    let neck_color = |x: f32, y: f32| scaled(look.skin, (0.48 + 0.22 * (y - 1.2)).clamp(0.48, 0.80) - 0.09 * x);
    canvas.fill([-2.3, 1.5, 2.3, 3.0], 0.03, shoulders, cloth);
    canvas.fill([-1.0, 0.4, 1.0, 2.1], 0.05, neck, neck_color);
    let collar = |x: f32, y: f32| ((y - 2.02 + 0.55 * x.abs()).abs() - 0.06).max(shoulders(x, y)).max(x.abs() - 0.62);
    canvas.fill([-0.75, 1.5, 0.75, 2.2], 0.03, collar, |x, y| scaled(cloth(x, y), 0.8));
}

fn ears(canvas: &mut Canvas, look: &Look) {
    for side in [-1.0_f32, 1.0] {
        let at = move |x: f32, y: f32| (x - side * 1.01, y - 0.10);
        let outer = move |x, y| {
            let (x, y) = at(x, y);
            ellipse(x, y, 0.12, 0.27)
        };
        let inner = move |x, y| {
            let (x, y) = at(x, y);
            ellipse(x, y, 0.05, 0.15)
        };
        let bounds = [side - 0.2, -0.3, side + 0.2, 0.5];
        canvas.fill(bounds, 0.03, outer, |_, _| scaled(look.skin, 0.80 - 0.08 * side));
        canvas.fill(bounds, 0.10, inner, |_, _| scaled(look.skin, 0.58));
    }
}

fn head(canvas: &mut Canvas, look: &Look) {
    canvas.fill([-1.1, -1.4, 1.1, 1.4], 0.025, head_distance, |x, y| {
        let pores = 1.0 + 0.018 * noise(x * 34.0, y * 34.0, look.seed) + 0.025 * noise(x * 7.0, y * 7.0, look.seed + 1);
        let lit = scaled(look.skin, light(x, y) * pores);
        // Skin is redder where it is darker.
        mixed(lit, [lit[0], lit[1] * 0.93, lit[2] * 0.88], 1.2 - light(x, y))
    });
}

/// What stands out and what lies back: sockets, bridge and wings of the nose, cheeks, lips, chin.
fn relief(canvas: &mut Canvas) {
    let mut both = |center: (f32, f32), radius: (f32, f32), amount: Rgb| {
        canvas.glow((-center.0, center.1), radius, amount);
        canvas.glow(center, radius, amount);
    };
    both((0.42, -0.15), (0.21, 0.12), [-0.24, -0.30, -0.32]);
    both((0.20, -0.06), (0.07, 0.12), [-0.20, -0.26, -0.28]);
    both((0.42, 0.10), (0.18, 0.05), [-0.08, -0.10, -0.10]);
    both((0.58, 0.36), (0.18, 0.15), [0.06, -0.02, -0.02]);
    both((0.50, 0.26), (0.16, 0.10), [0.07, 0.06, 0.05]);
    both((0.15, 0.46), (0.05, 0.06), [-0.14, -0.18, -0.19]);
    both((0.30, 0.60), (0.05, 0.14), [-0.10, -0.12, -0.12]);
    both((0.85, 0.45), (0.14, 0.40), [-0.12, -0.14, -0.15]);
    canvas.glow((0.11, 0.22), (0.05, 0.24), [-0.17, -0.21, -0.22]);
    canvas.glow((-0.11, 0.22), (0.04, 0.22), [-0.06, -0.08, -0.08]);
    canvas.glow((-0.01, 0.14), (0.045, 0.24), [0.12, 0.12, 0.12]);
    canvas.glow((-0.02, 0.41), (0.07, 0.06), [0.14, 0.14, 0.14]);
    canvas.glow((0.02, 0.58), (0.13, 0.045), [-0.22, -0.27, -0.28]);
    canvas.glow((0.0, 0.67), (0.035, 0.05), [-0.08, -0.09, -0.09]);
    canvas.glow((0.0, 1.00), (0.20, 0.045), [-0.22, -0.26, -0.27]);
    canvas.glow((-0.02, 1.13), (0.16, 0.09), [0.09, 0.08, 0.07]);
    canvas.glow((-0.10, -0.60), (0.40, 0.20), [0.09, 0.09, 0.08]);
}

fn nostril(canvas: &mut Canvas, look: &Look, side: f32) {
    let wing = move |x: f32, y: f32| {
        (ellipse(x - side * 0.145, y - 0.47, 0.075, 0.075).abs() - 0.006).max(0.13 - x * side).max(0.45 - y)
    };
    canvas.fill([side * 0.15 - 0.15, 0.3, side * 0.15 + 0.15, 0.6], 0.05, wing, |_, _| scaled(look.skin, 0.55));
    let hole = move |x: f32, y: f32| ellipse(x - side * 0.085, y - 0.525, 0.05, 0.025);
    canvas.fill([side * 0.1 - 0.1, 0.45, side * 0.1 + 0.1, 0.6], 0.03, hole, |_, _| scaled(look.skin, 0.26));
}

fn mouth(canvas: &mut Canvas, look: &Look) {
    let (half, open) = (0.33 + 0.06 * look.smile, 0.09 * look.smile);
    let lip = mixed(look.skin, [0.62, 0.27, 0.27], 0.45);
    let line = move |x: f32| 0.79 + look.smile * (0.06 - 0.15 * (x / half).powi(2)) + 0.008 * (x * 14.0).cos();
    let shape = move |x: f32| (1.0 - (x / half).powi(2)).max(0.0);
    let upper = move |x: f32, y: f32| {
        let bow = 0.085 * shape(x).powf(0.8) * (1.0 - 0.28 * (-(x / 0.06).powi(2)).exp());
        (line(x) - bow - y).max(y - line(x) - 0.01).max(x.abs() - half)
    };
    let lower =
        move |x: f32, y: f32| (line(x) - y).max(y - line(x) - (0.10 + open) * shape(x).powf(0.6)).max(x.abs() - half);
    let bounds = [-0.5, 0.6, 0.5, 1.2];
    canvas.fill(bounds, 0.03, upper, |_, _| scaled(lip, 0.80));
    canvas.fill(bounds, 0.035, lower, |x, y| scaled(lip, 1.08 - 0.5 * (y - 0.83).abs() - 0.1 * x));
    if look.smile > 0.5 {
        let teeth = move |x: f32, y: f32| (line(x) - y).max(y - line(x) - open * shape(x)).max(x.abs() - half * 0.9);
        canvas.fill(bounds, 0.02, teeth, |x, _| scaled([0.90, 0.88, 0.83], 1.0 - 0.9 * (x / half).powi(2)));
    } else {
        let crack = move |x: f32, y: f32| (y - line(x)).abs() - 0.013 * shape(x).sqrt();
        canvas.fill([-half, 0.6, half, 1.0], 0.018, crack, |_, _| scaled(lip, 0.34));
    }
    canvas.glow((-0.05, 0.88 + open), (0.10, 0.025), [0.10, 0.10, 0.10]);
}

fn eye(canvas: &mut Canvas, look: &Look, side: f32) {
    let center = side * EYE_X;
    let bounds = [center - 0.32, EYE_Y - 0.28, center + 0.32, EYE_Y + 0.25];
    // The outer corner is a little higher than the inner one.
    let local = move |x: f32, y: f32| ((x - center) / 0.205, y - EYE_Y + 0.03 * side * (x - center) / 0.2);
    let upper = |u: f32| -0.092 * (1.0 - u * u).max(0.0).powf(0.75);
    let lower = |u: f32| 0.068 * (1.0 - u * u).max(0.0);
    let open = move |x: f32, y: f32| {
        let (u, v) = local(x, y);
        (upper(u) - v).max(v - lower(u)).max((u.abs() - 1.0) * 0.2)
    };
    let gaze = center + 0.004;
    let disk = move |x: f32, y: f32, r: f32| (x - gaze).hypot(y - EYE_Y + 0.012) - r;
    canvas.fill(bounds, 0.015, open, |x, y| {
        scaled([0.92, 0.90, 0.88], 0.80 + 2.2 * (y - EYE_Y + 0.03).clamp(-0.06, 0.08) - 0.1 * (x - center).abs())
    });
    canvas.fill(
        bounds,
        0.02,
        move |x, y| disk(x, y, 0.088).max(open(x, y)),
        |x, y| {
            let rim = if disk(x, y, 0.070) > 0.0 { 0.55 } else { 1.0 };
            scaled(look.iris, rim * (0.75 + 3.0 * (y - EYE_Y + 0.05).clamp(0.0, 0.15)))
        },
    );
    canvas.fill(bounds, 0.015, move |x, y| disk(x, y, 0.040).max(open(x, y)), |_, _| BLACK);
    canvas.fill(bounds, 0.015, move |x, y| (x - gaze + 0.03).hypot(y - EYE_Y + 0.042) - 0.017, |_, _| [0.97; 3]);
    let lash = move |x: f32, y: f32| {
        let (u, v) = local(x, y);
        let outer = (u * side).max(0.0);
        ((v - upper(u)).abs() - 0.014 - 0.012 * outer).max((u.abs() - 1.08) * 0.2)
    };
    canvas.fill(bounds, 0.018, lash, |_, _| mixed(scaled(look.skin, 0.2), BLACK, 0.6));
    let crease = move |x: f32, y: f32| {
        let (u, v) = local(x, y);
        ((v - upper(u) * 1.25 + 0.055).abs() - 0.008).max((u.abs() - 0.95) * 0.2)
    };
    canvas.fill(bounds, 0.04, crease, |_, _| scaled(look.skin, 0.50));
    let rim = move |x: f32, y: f32| {
        let (u, v) = local(x, y);
        ((v - lower(u) - 0.012).abs() - 0.006).max((u.abs() - 0.9) * 0.2)
    };
    canvas.fill(bounds, 0.025, rim, |_, _| scaled(look.skin, 0.60));
}

fn brow(canvas: &mut Canvas, look: &Look, side: f32) {
    let shape = move |x: f32, y: f32| {
        // From the nose (0) to the temple (1).
        let t = (x * side - 0.16) / 0.52;
        let middle = -0.30 - 0.085 * (t * 2.4).sin().max(-0.4) + 0.02 * t;
        let thick = 0.046 * (1.0 - 0.65 * t.max(0.0)) + 0.004;
        ((y - middle).abs() - thick).max((t - 1.0) * 0.5).max(-t * 0.5)
    };
    let bounds = [(side * 0.45) - 0.36, -0.55, (side * 0.45) + 0.36, -0.15];
    let color = mixed(look.hair_color, scaled(look.skin, 0.35), 0.35);
    canvas.fill(bounds, 0.05, shape, |x, y| scaled(color, 0.85 + 0.2 * noise(x * 60.0, y * 20.0, look.seed)));
}

fn beard(canvas: &mut Canvas, look: &Look) {
    let shape = |x: f32, y: f32| {
        let cheek = 0.62 - 0.5 * x.abs().powf(1.5) + 0.14 * (1.0 - (x / 0.4).powi(2)).max(0.0);
        let lips = 0.03 - ellipse(x, y - 0.83, 0.36, 0.13);
        (head_distance(x, y)).max(cheek - y).max(lips)
    };
    let color = mixed(look.hair_color, look.skin, 0.22);
    canvas.fill([-1.1, 0.1, 1.1, 1.4], 0.14, shape, |x, y| {
        scaled(color, 0.75 * light(x, y) + 0.14 * noise(x * 40.0, y * 22.0, look.seed))
    });
}

fn front_hair(canvas: &mut Canvas, look: &Look) {
    let part = if look.hair == Hair::Long { 0.0 } else { 0.35 };
    let shape = |x: f32, y: f32| {
        let cap = ellipse(x, y + 0.14, 1.13, 1.30);
        let wave = 0.04 * noise(x * 5.0, 0.0, look.seed + 3) + 0.025 * noise(x * 18.0, 0.0, look.seed + 4);
        let line = -0.86 + 0.10 * (x - part).abs() + 0.55 * x.abs().powf(4.0) + wave;
        let front = cap.max(y - line);
        // Beside the temples down to the ears.
        let side = ((0.93 - x.abs()) * 0.8).max(cap).max(y - 0.05);
        let inner = 1.0 - 0.06 * noise(y * 3.0, 0.0, look.seed);
        let curtain = (inner - x.abs()).max(x.abs() - fall_width(y)).max(y - 1.6).max(-0.6 - y);
        let hair = front.min(side);
        if look.hair == Hair::Long { hair.min(curtain) } else { hair }
    };
    canvas.fill([-1.5, -1.7, 1.5, 1.8], 0.06, shape, |x, y| strands(look, x, y));
    canvas.glow((-0.3, -1.15), (0.45, 0.14), [0.22, 0.22, 0.22]);
    canvas.glow((0.0, -0.84), (0.60, 0.06), [-0.10, -0.12, -0.12]);
}

fn glasses(canvas: &mut Canvas) {
    let frame = |x: f32, y: f32| {
        let lens = ellipse(x.abs() - 0.43, y - EYE_Y - 0.02, 0.30, 0.23).abs() - 0.016;
        let bridge = ((y - EYE_Y + 0.03).abs() - 0.016).max(x.abs() - 0.15);
        let arm = ((y - EYE_Y + 0.04).abs() - 0.018).max(0.72 - x.abs()).max(x.abs() - 0.99);
        lens.min(bridge).min(arm)
    };
    canvas.fill([-1.05, -0.5, 1.05, 0.4], 0.02, frame, |_, _| [0.13, 0.11, 0.10]);
}
