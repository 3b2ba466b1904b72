//! Where a face will be when it is looked for next.
//!
//! SORT and its descendants filter a box with one 8-state constant-velocity Kalman filter whose noise matrices are
//! diagonal; such a filter falls apart into four independent ones of two states, which is what is kept here: centre
//! x, centre y, ln width, ln height. Time steps vary (25 analyses a second, or 2), so the noise is a density per
//! second, and lengths are in face sizes, so that near and far faces behave alike.

use crate::domain::Rect;

/// Deviation of a measured centre, in face sizes.
const CENTER_NOISE: f32 = 0.06;
/// Deviation of a measured ln width or ln height.
const SCALE_NOISE: f32 = 0.08;
/// What a new face's speed may be, in face sizes a second: walking across the picture is about 7, and twice this
/// deviation covers it.
const NEW_SPEED: f32 = 3.5;
const NEW_SCALE_SPEED: f32 = 0.4;
/// Spectral density of the acceleration, face sizes² / s³.
const CENTER_AGILITY: f32 = 3.0;
const SCALE_AGILITY: f32 = 0.05;
/// Unseen faces slow down: a speed that nothing has confirmed for this long has fallen to 1/e.
const COASTING_S: f32 = 1.5;

/// A box in motion.
#[derive(Debug, Clone)]
pub(super) struct Motion {
    x: Axis,
    y: Axis,
    ln_w: Axis,
    ln_h: Axis,
}

/// Position and speed along one coordinate, with their covariance.
#[derive(Debug, Clone, Copy)]
struct Axis {
    position: f32,
    speed: f32,
    var_position: f32,
    covariance: f32,
    var_speed: f32,
}

impl Motion {
    pub fn new(bbox: &Rect) -> Self {
        let (center, size) = (bbox.center(), size(bbox));
        Self {
            x: Axis::new(center.x, CENTER_NOISE * size, NEW_SPEED * size),
            y: Axis::new(center.y, CENTER_NOISE * size, NEW_SPEED * size),
            ln_w: Axis::new(bbox.w.ln(), SCALE_NOISE, NEW_SCALE_SPEED),
            ln_h: Axis::new(bbox.h.ln(), SCALE_NOISE, NEW_SCALE_SPEED),
        }
    }

    pub fn advance(&mut self, dt_s: f32) {
        let agility = CENTER_AGILITY * self.size().powi(2);
        self.x.advance(dt_s, agility);
        self.y.advance(dt_s, agility);
        self.ln_w.advance(dt_s, SCALE_AGILITY);
        self.ln_h.advance(dt_s, SCALE_AGILITY);
    }

    pub fn correct(&mut self, bbox: &Rect) {
        let center = bbox.center();
        let noise = CENTER_NOISE * size(bbox);
        self.x.correct(center.x, noise);
        self.y.correct(center.y, noise);
        self.ln_w.correct(bbox.w.ln(), SCALE_NOISE);
        self.ln_h.correct(bbox.h.ln(), SCALE_NOISE);
    }

    pub fn bbox(&self) -> Rect {
        let (w, h) = (self.ln_w.position.exp(), self.ln_h.position.exp());
        Rect::new(self.x.position - w / 2.0, self.y.position - h / 2.0, w, h)
    }

    /// Geometric mean of width and height.
    pub fn size(&self) -> f32 {
        ((self.ln_w.position + self.ln_h.position) / 2.0).exp()
    }

    /// Deviation of where the next measured centre will be, in face sizes.
    pub fn uncertainty(&self) -> f32 {
        let variance = self.x.var_position.max(self.y.var_position);
        (variance / self.size().powi(2) + CENTER_NOISE.powi(2)).sqrt()
    }
}

/// Geometric mean of width and height.
pub(super) fn size(bbox: &Rect) -> f32 {
    bbox.area().sqrt()
}

impl Axis {
    fn new(position: f32, noise: f32, new_speed: f32) -> Self {
        Self { position, speed: 0.0, var_position: noise.powi(2), covariance: 0.0, var_speed: new_speed.powi(2) }
    }

    /// x ← x + a·v, v ← b·v, with b the decay over `dt_s` and a its integral.
    fn advance(&mut self, dt_s: f32, agility: f32) {
        let b = (-dt_s / COASTING_S).exp();
        let a = COASTING_S * (1.0 - b);
        self.position += a * self.speed;
        self.speed *= b;
        let (p, c, s) = (self.var_position, self.covariance, self.var_speed);
        self.var_position = p + 2.0 * a * c + a * a * s + agility * dt_s.powi(3) / 3.0;
        self.covariance = b * (c + a * s) + agility * dt_s.powi(2) / 2.0;
        self.var_speed = b * b * s + agility * dt_s;
    }

    fn correct(&mut self, measured: f32, noise: f32) {
        let innovation = self.var_position + noise.powi(2);
        let (gain, gain_speed) = (self.var_position / innovation, self.covariance / innovation);
        let surprise = measured - self.position;
        self.position += gain * surprise;
        self.speed += gain_speed * surprise;
        self.var_speed -= gain_speed * self.covariance;
        self.covariance *= 1.0 - gain;
        self.var_position *= 1.0 - gain;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn walk(dt_s: f32, steps: usize, speed: f32) -> Motion {
        let at = |i: usize| Rect::new(100.0 + speed * dt_s * i as f32, 100.0, 80.0, 100.0);
        let mut motion = Motion::new(&at(0));
        for i in 1..=steps {
            motion.advance(dt_s);
            motion.correct(&at(i));
        }
        motion
    }

    #[test]
    fn a_steady_walk_is_foreseen_at_any_rate() {
        for (dt_s, steps) in [(0.04, 50), (0.2, 10), (0.5, 6)] {
            let mut motion = walk(dt_s, steps, 200.0);
            let before = motion.bbox().center().x;
            motion.advance(dt_s);
            let moved = motion.bbox().center().x - before;
            assert!((moved - 200.0 * dt_s).abs() < 0.25 * 200.0 * dt_s, "{dt_s}: {moved}");
        }
    }

    #[test]
    fn doubt_grows_while_unseen_and_shrinks_when_seen() {
        let mut motion = walk(0.04, 50, 0.0);
        let seen = motion.uncertainty();
        motion.advance(0.5);
        let half = motion.uncertainty();
        motion.advance(0.5);
        let one = motion.uncertainty();
        assert!(seen < 0.2 && half > 2.0 * seen && one > half, "{seen} {half} {one}");
        motion.correct(&Rect::new(100.0, 100.0, 80.0, 100.0));
        assert!(motion.uncertainty() < half);
    }

    #[test]
    fn a_box_never_turns_inside_out() {
        let mut motion = Motion::new(&Rect::new(0.0, 0.0, 100.0, 100.0));
        for i in 1..8 {
            motion.advance(0.1);
            motion.correct(&Rect::new(0.0, 0.0, 100.0 / i as f32, 100.0 / i as f32));
        }
        motion.advance(100.0);
        assert!(motion.bbox().w > 0.0 && motion.bbox().w.is_finite());
    }
}
