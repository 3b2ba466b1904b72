//! The motion gate: says of which frames a detector need not look at, because nothing in them has moved since it last
//! looked and nobody was there then.
//!
//! The luma plane is sampled in a grid of runs of 16 pixels, so close that the smallest wanted face covers several. A
//! cell has changed when its mean differs from what it was in the last frame that was analysed: slow changes add up
//! until they count. When in doubt the frame is analysed. Nothing here looks at a clock: the same stream gives the
//! same decisions at any speed.

use std::time::Duration;

use crate::domain::StreamTime;
use crate::frame::Planes;

/// Pixels of a cell, side by side in one row: what a processor adds up in one go.
const RUN: usize = 16;
/// Cells stand this far apart at least and at most.
const PITCH_PX: (usize, usize) = (8, 32);
/// Cells across the smallest wanted face.
const CELLS_A_FACE: f32 = 3.0;
/// A cell's mean moves by about 1 through a sensor's noise and by 2 to 4 where an encoder refreshes its picture.
const CHANGE: u16 = 6 * RUN as u16;
/// Fewer changed cells are a flicker: a face covers nine, and its edges alone more than two.
const CHANGED_MIN: usize = 2;
/// A detector that was shown motion goes on looking: a face may be turned away while it moves and show when it stops.
const LINGER: Duration = Duration::from_secs(1);
/// Even in a scene that stands still.
const LOOK_AGAIN: Duration = Duration::from_secs(2);

#[derive(Debug, Default)]
pub struct MotionGate {
    /// Of the last frame that was analysed.
    cells: Vec<u16>,
    grid: Grid,
    moved_at: Option<StreamTime>,
    looked_at: Option<StreamTime>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Grid {
    width: usize,
    height: usize,
    pitch: usize,
}

impl MotionGate {
    /// Whether a detector has to look at this frame, in which faces of `min_face_px` are wanted. `occupied`: someone is
    /// being tracked. To be asked for every frame, in order.
    pub fn opens(&mut self, planes: &Planes<'_>, at: StreamTime, min_face_px: f32, occupied: bool) -> bool {
        let pitch = ((min_face_px / CELLS_A_FACE) as usize).clamp(PITCH_PX.0, PITCH_PX.1);
        let grid = Grid { width: planes.width, height: planes.height, pitch };
        if occupied || grid != self.grid || self.moved(planes, grid) {
            self.moved_at = Some(at);
        }
        let recently = |when: Option<StreamTime>, span| when.is_some_and(|when| at.since(when) < span);
        let opens = recently(self.moved_at, LINGER) || !recently(self.looked_at, LOOK_AGAIN);
        if opens {
            self.remember(planes, grid);
            self.looked_at = Some(at);
        }
        opens
    }

    /// How long the scene has stood still and empty.
    pub fn still_for(&self, at: StreamTime) -> Duration {
        self.moved_at.map_or(Duration::ZERO, |when| at.since(when))
    }

    fn moved(&self, planes: &Planes<'_>, grid: Grid) -> bool {
        let changed = grid.cells(planes).zip(&self.cells).filter(|(now, then)| now.abs_diff(**then) > CHANGE);
        changed.take(CHANGED_MIN).count() == CHANGED_MIN
    }

    fn remember(&mut self, planes: &Planes<'_>, grid: Grid) {
        self.grid = grid;
        self.cells.clear();
        self.cells.extend(grid.cells(planes));
    }
}

impl Grid {
    /// The sum of each cell, row by row.
    fn cells<'a>(self, planes: &Planes<'a>) -> impl Iterator<Item = u16> + 'a {
        let (y, stride) = (planes.y, planes.y_stride);
        (self.pitch / 2..self.height).step_by(self.pitch).flat_map(move |row| {
            let row = &y[row * stride..][..self.width];
            (0..self.width.saturating_sub(RUN - 1))
                .step_by(self.pitch)
                .map(move |x| row[x..x + RUN].iter().map(|&sample| u16::from(sample)).sum())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{OwnedPlanes, PixelBuffer};

    const FPS: u64 = 5;

    fn at(number: u64) -> StreamTime {
        StreamTime::ZERO + Duration::from_millis(1000 / FPS * number)
    }

    fn scene() -> OwnedPlanes {
        let mut scene = OwnedPlanes::black(640, 360);
        for (i, sample) in scene.y.iter_mut().enumerate() {
            *sample = (60 + i % 640 / 8) as u8;
        }
        scene
    }

    /// Someone of `side` pixels, as bright as `luma`.
    fn with_square(x: usize, side: usize, luma: u8) -> OwnedPlanes {
        let mut scene = scene();
        for row in 100..100 + side {
            scene.y[row * 640 + x..][..side].fill(luma);
        }
        scene
    }

    fn looks(gate: &mut MotionGate, scene: &OwnedPlanes, numbers: std::ops::Range<u64>) -> Vec<u64> {
        numbers.filter(|&number| gate.opens(&scene.planes(), at(number), 36.0, false)).collect()
    }

    #[test]
    fn a_scene_that_stands_still_is_looked_at_every_two_seconds() {
        let mut gate = MotionGate::default();
        assert_eq!(looks(&mut gate, &scene(), 0..40), [0, 1, 2, 3, 4, 14, 24, 34]);
        assert_eq!(gate.still_for(at(39)), Duration::from_millis(7800));
    }

    #[test]
    fn whoever_comes_in_is_seen_in_the_same_frame() {
        for (x, side) in [(0, 36), (7, 36), (301, 36), (600, 40), (200, 100)] {
            let mut gate = MotionGate::default();
            looks(&mut gate, &scene(), 0..18);
            assert!(!gate.opens(&scene().planes(), at(18), 36.0, false));
            let entered = with_square(x, side, 180);
            assert!(gate.opens(&entered.planes(), at(19), 36.0, false), "{side} px at {x}");
        }
    }

    #[test]
    fn noise_opens_nothing_and_a_slow_change_adds_up() {
        let mut gate = MotionGate::default();
        looks(&mut gate, &scene(), 0..15);
        let mut noisy = scene();
        for (i, sample) in noisy.y.iter_mut().enumerate() {
            *sample = sample.wrapping_add(((i * 2_654_435_761) >> 7) as u8 % 9).wrapping_sub(4);
        }
        assert_eq!(looks(&mut gate, &noisy, 15..23), Vec::<u64>::new());
        let mut dusk = scene();
        let opened = (0..9).find(|_| {
            dusk.y.iter_mut().for_each(|sample| *sample -= 1);
            gate.opens(&dusk.planes(), at(23), 36.0, false)
        });
        assert_eq!(opened, Some(6), "a change of 7 since the frame that was looked at last");
    }

    #[test]
    fn while_someone_is_tracked_every_frame_counts() {
        let mut gate = MotionGate::default();
        let opened = (0..30).filter(|&number| gate.opens(&scene().planes(), at(number), 36.0, number < 20)).count();
        assert_eq!(opened, 24);
    }

    #[test]
    fn another_size_of_frame_or_face_looks_anew() {
        let mut gate = MotionGate::default();
        looks(&mut gate, &scene(), 0..8);
        assert!(gate.opens(&OwnedPlanes::black(320, 180).planes(), at(8), 36.0, false));
        looks(&mut gate, &scene(), 9..30);
        assert!(!gate.opens(&scene().planes(), at(30), 36.0, false));
        assert!(gate.opens(&scene().planes(), at(31), 80.0, false));
        assert!(gate.opens(&OwnedPlanes::black(1, 1).planes(), at(32), 80.0, false));
    }
}
