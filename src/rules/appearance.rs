//! How a face and the body below it look, coarsely: enough to notice that someone else has taken a face's place, as a
//! cut in a film does, and far too little to recognise anyone.

use std::time::Duration;

use crate::domain::Rect;

const FACE_CELLS: (usize, usize) = (8, 8);
const BODY_CELLS: (usize, usize) = (8, 12);
const CHEST_CELLS: (usize, usize) = (12, 12);
const TONES: usize = 12;
/// Luma that varies less than this shows nothing to compare.
const FLAT: f32 = 4.0;
/// A face that correlates this well is not doubted: someone may pass in front of the body.
const FACE_ALIKE: f32 = 0.9;
/// Otherwise body + half the face must correlate by this much, less what the tones of the clothes differ. Measured on
/// five people before one wall, boxes of two models, jumps in the film included: the same person 0.94 and more, across
/// a cut to another one 0.77 and less.
const ALIKE: f32 = 0.86;
const FACE_WEIGHT: f32 = 0.5;
/// So many steps of luma between the tones count as much as a correlation of 1.
const TONE_SCALE: f32 = 110.0;
/// What is asked sinks by this much for each second unseen after the first quarter, as people turn and walk on.
const FADING_PER_S: f32 = 0.15;
const FRESH_S: f32 = 0.25;
/// So many different looks of one person are remembered; one is different when it is less alike than this.
const LOOKS_MAX: usize = 6;
const FAMILIAR: f32 = 1.35;

/// Luma of the face, and of head and chest.
#[derive(Debug, Clone, PartialEq)]
pub struct Appearance {
    face: Cells,
    body: Cells,
    chest: Tones,
}

/// How dark and bright an area is, whatever lies where in it: the means of equal shares of its samples, darkest first.
#[derive(Debug, Clone, PartialEq)]
struct Tones([f32; TONES]);

/// The means of a grid of cells.
#[derive(Debug, Clone, PartialEq)]
struct Cells {
    values: Vec<f32>,
    columns: usize,
}

impl Appearance {
    /// Of the face at `face` (pixels; may reach beyond the plane) in a plane of `width` × `height` samples whose rows
    /// start `stride` bytes apart; `None` where there is nothing to see.
    pub fn of(y: &[u8], stride: usize, width: usize, height: usize, face: Rect) -> Option<Self> {
        if width == 0 || height == 0 || y.len() < stride * (height - 1) + width {
            return None;
        }
        let body = Rect::new(face.x - 0.5 * face.w, face.y - 0.25 * face.h, 2.0 * face.w, 3.25 * face.h);
        let luma = |x: f32, line: f32| {
            let (x, line) = ((x.max(0.0) as usize).min(width - 1), (line.max(0.0) as usize).min(height - 1));
            f32::from(y[line * stride + x])
        };
        let chest = Rect::new(face.x - 0.3 * face.w, face.y + 1.3 * face.h, 1.6 * face.w, 1.7 * face.h);
        Some(Self {
            face: Cells::sample(&face, FACE_CELLS, luma)?,
            body: Cells::sample(&body, BODY_CELLS, luma)?,
            chest: Tones::sample(&chest, luma),
        })
    }

    fn likeness(&self, other: &Self) -> Likeness {
        Likeness {
            face: self.face.likeness(&other.face),
            body: self.body.likeness(&other.body),
            tones: self.chest.difference(&other.chest),
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct Likeness {
    /// Correlation, -1..=1; and so is the body's.
    face: f32,
    body: f32,
    /// In luma.
    tones: f32,
}

impl Likeness {
    fn sum(self) -> f32 {
        self.body + FACE_WEIGHT * self.face - self.tones / TONE_SCALE
    }
}

/// How one person has looked: a few views that differ, so that who puts the hands down or leans back, or jumps to
/// an earlier moment in a film that starts over, is still known.
#[derive(Debug, Clone, Default)]
pub(super) struct Looks {
    /// Newest last.
    kept: Vec<Appearance>,
}

impl Looks {
    pub fn remember(&mut self, present: Appearance) {
        if self.kept.iter().rev().any(|look| present.likeness(look).sum() >= FAMILIAR) {
            return;
        }
        if self.kept.len() == LOOKS_MAX {
            self.kept.remove(0);
        }
        self.kept.push(present);
    }

    /// Whether this cannot be the one who has looked like this, `unseen` ago for the last time. Face and body must
    /// both speak against it: a head that turns keeps its body, and who is passed by in front keeps their face.
    pub fn are_of_another(&self, present: &Appearance, unseen: Duration) -> bool {
        let fading = FADING_PER_S * (unseen.as_secs_f32() - FRESH_S).max(0.0);
        let known = |likeness: Likeness| likeness.face >= FACE_ALIKE - fading || likeness.sum() >= ALIKE - fading;
        !self.kept.is_empty() && !self.kept.iter().rev().any(|look| known(present.likeness(look)))
    }
}

/// The means of a grid's cells, four samples a cell.
fn grid(rect: &Rect, (columns, rows): (usize, usize), luma: impl Fn(f32, f32) -> f32) -> Vec<f32> {
    let (w, h) = (rect.w / columns as f32, rect.h / rows as f32);
    let cell = |i: usize| {
        let (x, y) = (rect.x + (i % columns) as f32 * w, rect.y + (i / columns) as f32 * h);
        let corners = [(0.25, 0.25), (0.75, 0.25), (0.25, 0.75), (0.75, 0.75)];
        corners.iter().map(|(across, down)| luma(x + across * w, y + down * h)).sum::<f32>() / 4.0
    };
    (0..columns * rows).map(cell).collect()
}

impl Tones {
    fn sample(rect: &Rect, luma: impl Fn(f32, f32) -> f32) -> Self {
        let mut values = grid(rect, CHEST_CELLS, luma);
        values.sort_by(f32::total_cmp);
        let share = values.len() / TONES;
        Self(std::array::from_fn(|i| values[i * share..][..share].iter().sum::<f32>() / share as f32))
    }

    /// The earth mover's distance.
    fn difference(&self, other: &Self) -> f32 {
        self.0.iter().zip(&other.0).map(|(a, b)| (a - b).abs()).sum::<f32>() / TONES as f32
    }
}

impl Cells {
    /// `None` where all is flat.
    fn sample(rect: &Rect, cells: (usize, usize), luma: impl Fn(f32, f32) -> f32) -> Option<Self> {
        let (columns, values) = (cells.0, grid(rect, cells, luma));
        let mean = values.iter().sum::<f32>() / values.len() as f32;
        let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f32>() / values.len() as f32;
        (variance >= FLAT * FLAT).then_some(Self { values, columns })
    }

    /// The best correlation of the two when laid over each other a cell to either side: boxes are never exact.
    fn likeness(&self, other: &Self) -> f32 {
        let shifts = (-1..=1).flat_map(|down| (-1..=1).map(move |across| (across, down)));
        shifts.map(|(across, down)| self.correlation(other, across, down)).fold(-1.0, f32::max)
    }

    fn correlation(&self, other: &Self, across: isize, down: isize) -> f32 {
        let part = |length: usize, shift: isize| shift.max(0) as usize..length - (-shift).max(0) as usize;
        let rows = self.values.len() / self.columns;
        let (mut n, mut a, mut b, mut aa, mut bb, mut ab) = (0.0_f32, 0.0_f32, 0.0_f32, 0.0_f32, 0.0_f32, 0.0_f32);
        for (own, others) in part(rows, down).zip(part(rows, -down)) {
            let own = &self.values[own * self.columns..][part(self.columns, across)];
            let others = &other.values[others * self.columns..][part(self.columns, -across)];
            for (x, y) in own.iter().zip(others) {
                (n, a, b, aa, bb, ab) = (n + 1.0, a + x, b + y, aa + x * x, bb + y * y, ab + x * y);
            }
        }
        let spread = (aa - a * a / n) * (bb - b * b / n);
        if spread > 0.0 { (ab - a * b / n) / spread.sqrt() } else { 0.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIDE: usize = 200;
    const FACE: Rect = Rect::new(80.0, 30.0, 40.0, 50.0);

    fn picture(of: impl Fn(f32, f32) -> f32) -> Vec<u8> {
        (0..SIDE * SIDE).map(|i| of((i % SIDE) as f32, (i / SIDE) as f32) as u8).collect()
    }

    /// Upright stripes of this many pixels a radian in the face's box, and level ones around it.
    fn person(face: f32, body: f32) -> Option<Appearance> {
        let in_face = |x: f32, y: f32| FACE.intersect(&Rect::new(x, y, 1.0, 1.0)).area() > 0.0;
        let plane = picture(|x, y| 120.0 + 60.0 * if in_face(x, y) { (x / face).sin() } else { (y / body).sin() });
        Appearance::of(&plane, SIDE, SIDE, SIDE, FACE)
    }

    fn differ(a: (f32, f32), b: (f32, f32), unseen_ms: u64) -> bool {
        let [a, b] = [a, b].map(|(face, body)| person(face, body).expect("not flat"));
        looks([b]).are_of_another(&a, Duration::from_millis(unseen_ms))
    }

    fn looks<const N: usize>(all: [Appearance; N]) -> Looks {
        let mut looks = Looks::default();
        all.into_iter().for_each(|look| looks.remember(look));
        looks
    }

    #[test]
    fn face_and_body_must_both_differ() {
        assert!(!differ((5.0, 14.0), (5.0, 14.0), 40));
        assert!(!differ((5.0, 14.0), (11.0, 14.0), 40), "a turned head");
        assert!(!differ((5.0, 14.0), (5.0, 23.0), 40), "someone passes in front");
        assert!(differ((5.0, 14.0), (11.0, 23.0), 40));
    }

    #[test]
    fn a_box_that_slips_a_little_shows_the_same_person() {
        let plane = picture(|x, y| 120.0 + 30.0 * (x / 9.0).sin() + 30.0 * (y / 13.0).cos());
        let at = |x: f32| Appearance::of(&plane, SIDE, SIDE, SIDE, Rect { x, ..FACE }).expect("not flat");
        assert!(!looks([at(85.0)]).are_of_another(&at(80.0), Duration::ZERO));
        assert!(at(80.0).body.likeness(&at(88.0).body) > at(80.0).body.correlation(&at(88.0).body, 0, 0));
    }

    #[test]
    fn an_earlier_look_is_remembered_and_a_familiar_one_not_twice() {
        let [first, other, third] =
            [(5.0, 14.0), (11.0, 23.0), (2.5, 6.0)].map(|(f, b)| person(f, b).expect("not flat"));
        let seen = looks([first.clone(), first.clone(), other]);
        assert_eq!(seen.kept.len(), 2);
        assert!(!seen.are_of_another(&first, Duration::ZERO));
        assert!(seen.are_of_another(&third, Duration::ZERO));
    }

    #[test]
    fn few_looks_are_kept_and_nobody_is_another_to_none() {
        let many: [Appearance; 9] = std::array::from_fn(|i| person(3.0 + i as f32, 20.0 - i as f32).expect("not flat"));
        let newest = many[8].clone();
        let seen = looks(many);
        assert!(seen.kept.len() <= LOOKS_MAX && !seen.are_of_another(&newest, Duration::ZERO));
        assert!(!Looks::default().are_of_another(&newest, Duration::ZERO));
    }

    #[test]
    fn tones_tell_how_dark_not_where() {
        let stripes = |at: f32| picture(move |x, _| if ((x + at) / 10.0) as i32 % 2 == 0 { 40.0 } else { 160.0 });
        let of = |plane: &[u8]| Appearance::of(plane, SIDE, SIDE, SIDE, FACE).expect("not flat").chest;
        let (here, aside) = (of(&stripes(0.0)), of(&stripes(10.0)));
        assert!(here.difference(&aside) < 12.0);
        let pale = of(&picture(|x, _| if (x / 10.0) as i32 % 2 == 0 { 140.0 } else { 160.0 }));
        assert!((here.difference(&pale) - 50.0).abs() < 12.0, "{}", here.difference(&pale));
    }

    #[test]
    fn brighter_light_is_no_other_person() {
        let dark = picture(|x, y| 60.0 + 20.0 * (x / 6.0).sin() + 10.0 * (y / 9.0).sin());
        let bright: Vec<u8> = dark.iter().map(|v| v * 2 + 20).collect();
        let [dark, bright] = [dark, bright].map(|p| Appearance::of(&p, SIDE, SIDE, SIDE, FACE).expect("not flat"));
        assert!(dark.body.likeness(&bright.body) > 0.99 && dark.face.likeness(&bright.face) > 0.99);
    }

    #[test]
    fn nothing_to_see_is_nothing_to_compare() {
        assert_eq!(Appearance::of(&picture(|_, _| 90.0), SIDE, SIDE, SIDE, FACE), None);
        assert_eq!(Appearance::of(&[], 0, 0, 0, FACE), None);
        let beyond = Rect::new(-500.0, -500.0, 40.0, 40.0);
        assert_eq!(Appearance::of(&picture(|x, y| x + y / 4.0), SIDE, SIDE, SIDE, beyond), None);
    }
}
