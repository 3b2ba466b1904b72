//! What the running cameras take of the box, and whether it has room for one more. Pure: it is told the counters and
//! the time.
//!
//! When a box is short, every camera is analysed less often, evenly (the mailbox gives each its turn). Below a floor
//! that helps nobody, so a camera that would push the others there is not started.

use std::time::{Duration, Instant};

/// Counters are compared over at least this long, with the same cameras playing all the time.
const WINDOW: Duration = Duration::from_secs(10);
/// Of the box; the rest is for bursts and the system.
const PLANNED_LOAD: f64 = 0.95;
/// Fewer analyses say nothing about what one costs.
const ANALYSES_MIN: u64 = 10;
/// Who was refused is taken when there is so much more room than is needed, lest it come and go.
const RETURN_MARGIN: f64 = 1.2;

/// Counters since the start, read together.
#[derive(Clone, Copy)]
pub struct Reading {
    pub at: Instant,
    /// Processor time of the whole process, and of analysing alone.
    pub process: Duration,
    pub analysis: Duration,
    pub analyses: u64,
    /// Cameras that play, and how often that has changed.
    pub cameras: usize,
    pub changes: u64,
}

pub struct Load {
    cores: f64,
    /// Analyses a second that every camera shall at least have.
    floor: f64,
    begun: Option<Reading>,
    measured: Option<Measured>,
}

/// In cores.
#[derive(Clone, Copy)]
struct Measured {
    /// The most that a camera has taken besides its analyses: at night, when little moves, decoding is cheap.
    besides: f64,
    an_analysis: f64,
    changes: u64,
}

/// A camera too many.
#[derive(Debug, Clone, PartialEq)]
pub struct NoRoom {
    pub cameras: usize,
    pub taken_cores: f64,
    pub cores: f64,
    pub analyses_per_second: f64,
    pub floor: f64,
}

impl Load {
    pub fn new(cores: usize, floor: f64) -> Self {
        Self { cores: cores as f64, floor, begun: None, measured: None }
    }

    /// To be called every few seconds.
    pub fn note(&mut self, now: Reading) {
        let Some(begun) = self.begun.filter(|begun| begun.changes == now.changes && now.cameras > 0) else {
            self.begun = Some(now);
            return;
        };
        let wall = now.at.saturating_duration_since(begun.at).as_secs_f64();
        if wall < WINDOW.as_secs_f64() {
            return;
        }
        self.begun = Some(now);
        let analysis = (now.analysis - begun.analysis).as_secs_f64();
        let process = (now.process - begun.process).as_secs_f64();
        let analyses = now.analyses - begun.analyses;
        let before = self.measured;
        let an_analysis = match before {
            Some(before) if analyses < ANALYSES_MIN => before.an_analysis,
            None if analyses < ANALYSES_MIN => return,
            _ => analysis / analyses as f64,
        };
        let besides = (process - analysis).max(0.0) / wall / now.cameras as f64;
        let besides = before.map_or(besides, |before| before.besides.max(besides));
        self.measured = Some(Measured { besides, an_analysis, changes: now.changes });
    }

    /// Why a camera beside `playing` others may not start. The first always may, and so may those that start before
    /// anything is known.
    pub fn refuses(&self, playing: usize, waited: bool) -> Option<NoRoom> {
        let margin = if waited { RETURN_MARGIN } else { 1.0 };
        self.short_with(playing + 1, self.floor * margin).filter(|_| playing > 0)
    }

    /// Whether the cameras that play now were measured together.
    pub fn has_measured(&self, changes: u64) -> bool {
        self.measured.is_some_and(|measured| measured.changes == changes)
    }

    /// Whether so many are too many. One never is.
    pub fn is_short(&self, playing: usize) -> Option<NoRoom> {
        self.short_with(playing, self.floor).filter(|_| playing > 1)
    }

    fn short_with(&self, cameras: usize, floor: f64) -> Option<NoRoom> {
        let Measured { besides, an_analysis, .. } = self.measured?;
        let count = cameras as f64;
        let left = (self.cores * PLANNED_LOAD - besides * count).max(0.0);
        let analyses_per_second = left / (an_analysis * count);
        (analyses_per_second < floor).then_some(NoRoom {
            cameras,
            taken_cores: besides * count,
            cores: self.cores,
            analyses_per_second,
            floor: self.floor,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    /// A box on which a camera takes `besides` cores for itself and 20 ms for an analysis, five times a second.
    fn after_a_window(load: &mut Load, cameras: usize, besides: f64) {
        let start = clock::monotonic();
        let reading = |secs: u64| Reading {
            at: start + Duration::from_secs(secs),
            process: Duration::from_secs_f64(secs as f64 * cameras as f64 * (besides + 0.1)),
            analysis: Duration::from_secs_f64(secs as f64 * cameras as f64 * 0.1),
            analyses: secs * cameras as u64 * 5,
            cameras,
            changes: cameras as u64,
        };
        (0..=12).step_by(2).for_each(|secs| load.note(reading(secs)));
    }

    #[test]
    fn before_anything_is_known_everybody_may_start() {
        assert_eq!(Load::new(2, 1.0).refuses(40, false), None);
    }

    #[test]
    fn a_camera_that_would_push_the_others_below_the_floor_is_refused_with_the_figures() {
        let mut load = Load::new(2, 1.0);
        after_a_window(&mut load, 4, 0.2);
        // 1.9 cores; each takes 0.2 and 20 ms an analysis: with 8, (1.9 - 1.6) / 8 / 0.02 = 1.9 a second; with 9, 0.56.
        assert_eq!(load.refuses(7, false), None);
        let refused = load.refuses(8, false).expect("one too many");
        assert_eq!((refused.cameras, refused.cores, refused.floor), (9, 2.0, 1.0));
        assert!((refused.taken_cores - 1.8).abs() < 1e-9, "{refused:?}");
        assert!((refused.analyses_per_second - 0.1 / 9.0 / 0.02).abs() < 1e-6, "{refused:?}");
    }

    #[test]
    fn who_was_refused_waits_for_more_than_the_bare_need() {
        let mut load = Load::new(2, 1.75);
        after_a_window(&mut load, 4, 0.2);
        assert_eq!(load.refuses(7, false), None, "1.875 a second would do");
        assert!(load.refuses(7, true).is_some(), "2.1 are asked for");
    }

    #[test]
    fn the_first_camera_always_runs() {
        let mut load = Load::new(1, 1000.0);
        after_a_window(&mut load, 1, 0.9);
        assert_eq!(load.refuses(0, false), None);
        assert_eq!(load.is_short(1), None);
        assert!(load.refuses(1, false).is_some());
    }

    #[test]
    fn cameras_that_all_started_at_once_are_judged_once_they_were_measured_together() {
        let mut load = Load::new(2, 1.0);
        after_a_window(&mut load, 4, 0.2);
        assert!(!load.has_measured(9), "measured with four of them only");
        after_a_window(&mut load, 9, 0.2);
        assert!(load.has_measured(9) && load.is_short(9).is_some());
        assert_eq!(load.is_short(8), None);
    }

    #[test]
    fn a_quiet_night_does_not_make_room() {
        let mut load = Load::new(2, 1.0);
        after_a_window(&mut load, 4, 0.2);
        after_a_window(&mut load, 4, 0.02);
        assert!(load.refuses(8, false).is_some());
    }

    #[test]
    fn a_window_in_which_cameras_came_or_went_is_not_judged() {
        let (mut load, start) = (Load::new(2, 1.0), clock::monotonic());
        for secs in 0..60 {
            load.note(Reading {
                at: start + Duration::from_secs(secs),
                process: Duration::from_secs(secs * 2),
                analysis: Duration::from_secs(secs),
                analyses: secs * 100,
                cameras: 4,
                changes: secs / 9,
            });
        }
        assert_eq!(load.refuses(100, false), None);
    }
}
