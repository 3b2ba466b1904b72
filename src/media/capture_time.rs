//! When a live picture was taken: by the camera's own clock where it tells it, else when the picture came. Pure.
//!
//! A camera's sender reports give a presentation time and the camera's wall time together; from there every picture's
//! own presentation time tells when it was taken. How far the camera's clock is from ours is the smallest difference
//! seen lately between a packet's arrival and its camera time, since network and camera only ever add to it.

use std::collections::VecDeque;
use std::time::Duration;

use crate::domain::{TimeSource, UnixMs};
use crate::frame::Moment;

/// A clock farther from ours than this is not believed.
const TRUSTED_MS: u64 = 10_000;
/// And is believed again once it is as near as this: no going to and fro at the border.
const TRUSTED_AGAIN_MS: u64 = 9_000;
/// How far back the smallest difference is looked for: clocks drift.
const WINDOW_S: u64 = 30;
/// A clock that moves by more than this against its own stream was set.
const STEP_MS: u64 = 500;
/// So long arrivals are watched before anything is made of them.
const SETTLED_AFTER: Duration = Duration::from_secs(3);
const NS_A_MS: i128 = 1_000_000;

/// A packet whose camera time is known.
#[derive(Debug, Clone, Copy)]
pub struct Reference {
    /// In the connection's own time.
    pub pts_ns: u64,
    /// Since the Unix epoch, by the camera's clock.
    pub camera_ns: i128,
    pub received: UnixMs,
    /// When it was received, by a clock that nobody sets.
    pub at: Duration,
}

/// What is known of the camera's clock in one connection.
#[derive(Debug, Default)]
pub struct CaptureTime {
    /// Camera time minus presentation time.
    offset_ns: Option<i128>,
    /// Our wall clock minus the clock that nobody sets.
    wall_ms: Option<i128>,
    arrivals: Smallest,
    trusted: Option<bool>,
    /// Of all packets: arrival since the process began minus presentation time, in nanoseconds.
    quickest: Smallest,
    /// When the first of them came, and the latest.
    watched: Option<(Duration, Duration)>,
}

impl CaptureTime {
    /// Tells whether the camera's clock is believed and its skew, where that is news.
    pub fn note(&mut self, reference: Reference) -> Option<(bool, i64)> {
        let offset_ns = reference.camera_ns - i128::from(reference.pts_ns);
        let wall_ms = i128::from(reference.received.0) - reference.at.as_millis() as i128;
        let steps = |before: Option<i128>, now: i128, unit: i128| {
            before.is_some_and(|before| (now - before).unsigned_abs() > u128::from(STEP_MS) * unit.unsigned_abs())
        };
        if steps(self.offset_ns, offset_ns, NS_A_MS) || steps(self.wall_ms, wall_ms, 1) {
            self.arrivals = Smallest::default();
        }
        self.offset_ns = Some(offset_ns);
        self.wall_ms = Some(wall_ms);
        let late_ms = i128::from(reference.received.0) - reference.camera_ns.div_euclid(NS_A_MS);
        self.arrivals.add(reference.at.as_secs(), saturated(late_ms));
        self.judge()
    }

    /// A packet came, `at` after this process began.
    pub fn arrived(&mut self, pts_ns: u64, at: Duration) {
        let first = self.watched.map_or(at, |(first, _)| first);
        self.watched = Some((first, at));
        self.quickest.add(at.as_secs(), saturated(at.as_nanos() as i128 - i128::from(pts_ns)));
    }

    /// Of a picture, for finding it in another stream of the camera.
    pub fn moment(&self, pts_ns: u64) -> Moment {
        let pts_ns = i128::from(pts_ns);
        Moment::new(
            self.offset_ns.map(|offset_ns| saturated(offset_ns + pts_ns)),
            self.quickest
                .smallest()
                .filter(|_| self.is_settled())
                .map(|late_ns| saturated(i128::from(late_ns) + pts_ns)),
        )
    }

    /// The first packets may all have been late.
    fn is_settled(&self) -> bool {
        self.watched.is_some_and(|(first, latest)| latest.saturating_sub(first) >= SETTLED_AFTER)
    }

    fn judge(&mut self) -> Option<(bool, i64)> {
        let skew_ms = self.arrivals.smallest()?;
        let limit = if self.trusted == Some(false) { TRUSTED_AGAIN_MS } else { TRUSTED_MS };
        let trusted = skew_ms.unsigned_abs() <= limit;
        let news = self.trusted != Some(trusted);
        self.trusted = Some(trusted);
        news.then_some((trusted, skew_ms))
    }

    /// Of a picture that is there at `received`.
    pub fn of(&self, pts_ns: Option<u64>, received: UnixMs) -> (UnixMs, TimeSource) {
        let skew_ms = self.arrivals.smallest();
        match (pts_ns, self.offset_ns, skew_ms) {
            (Some(pts_ns), Some(offset_ns), Some(skew_ms)) if self.trusted == Some(true) => {
                let taken_ms = (offset_ns + i128::from(pts_ns)).div_euclid(NS_A_MS);
                (UnixMs(saturated(taken_ms)), TimeSource::Camera { skew_ms })
            }
            _ => (received, TimeSource::Receipt { skew_ms }),
        }
    }
}

fn saturated(value: i128) -> i64 {
    value.clamp(i128::from(i64::MIN), i128::from(i64::MAX)) as i64
}

/// The smallest value of the last [`WINDOW_S`] seconds.
#[derive(Debug, Default)]
struct Smallest {
    /// Second and value; both ascending, so the first is the smallest.
    values: VecDeque<(u64, i64)>,
}

impl Smallest {
    fn add(&mut self, second: u64, value: i64) {
        while self.values.back().is_some_and(|&(_, last)| last >= value) {
            self.values.pop_back();
        }
        // A larger one of the same second never becomes the smallest.
        if self.values.back().is_none_or(|&(last, _)| last < second) {
            self.values.push_back((second, value));
        }
        while self.values.front().is_some_and(|&(first, _)| first + WINDOW_S < second) {
            self.values.pop_front();
        }
    }

    fn smallest(&self) -> Option<i64> {
        self.values.front().map(|&(_, value)| value)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const START_MS: i64 = 1_750_000_000_000;
    const FRAME_MS: u64 = 40;

    /// A camera whose clock is `ahead_ms` of ours, at the end of a network that delays by `delay_ms`.
    #[derive(Default)]
    struct World {
        capture: CaptureTime,
        ahead_ms: i64,
        /// Ours was set by so much.
        ours_set_ms: i64,
        delay_ms: u64,
        /// Since the connection's first picture.
        now_ms: u64,
    }

    impl World {
        fn ahead(ahead_ms: i64) -> Self {
            Self { ahead_ms, delay_ms: 20, ..Self::default() }
        }

        fn picture(&mut self) -> Option<(bool, i64)> {
            self.now_ms += FRAME_MS;
            let received_ms = self.now_ms + self.delay_ms;
            self.capture.note(Reference {
                pts_ns: self.now_ms * 1_000_000,
                camera_ns: i128::from(START_MS + self.now_ms as i64 + self.ahead_ms) * NS_A_MS,
                received: UnixMs(START_MS + self.ours_set_ms + received_ms as i64),
                at: Duration::from_millis(received_ms),
            })
        }

        fn play(&mut self, pictures: usize) {
            for _ in 0..pictures {
                self.picture();
            }
        }

        fn newest(&self) -> (UnixMs, TimeSource) {
            let received = START_MS + self.ours_set_ms + (self.now_ms + self.delay_ms) as i64;
            self.capture.of(Some(self.now_ms * 1_000_000), UnixMs(received))
        }

        fn true_ms(&self) -> i64 {
            START_MS + self.now_ms as i64
        }
    }

    #[test]
    fn without_a_report_a_picture_is_of_when_it_came() {
        let came = UnixMs(START_MS);
        assert_eq!(CaptureTime::default().of(Some(7), came), (came, TimeSource::UNTOLD));
    }

    #[test]
    fn a_camera_a_little_ahead_is_believed() {
        let mut world = World::ahead(3_000);
        assert_eq!(world.picture(), Some((true, -2_980)), "told once");
        assert_eq!(world.picture(), None);
        assert_eq!(world.newest(), (UnixMs(world.true_ms() + 3_000), TimeSource::Camera { skew_ms: -2_980 }));
        let came = UnixMs(START_MS + 9);
        assert_eq!(world.capture.of(None, came), (came, TimeSource::Receipt { skew_ms: Some(-2_980) }));
    }

    #[test]
    fn a_picture_before_the_report_gets_its_camera_time_too() {
        let mut world = World::ahead(0);
        world.play(50);
        assert_eq!(world.capture.of(Some(0), UnixMs(0)).0, UnixMs(START_MS));
    }

    #[test]
    fn a_camera_an_hour_off_is_not_believed_and_its_skew_is_told() {
        let mut world = World::ahead(-3_600_000);
        assert_eq!(world.picture(), Some((false, 3_600_020)));
        let received = UnixMs(world.true_ms() + 20);
        assert_eq!(world.newest(), (received, TimeSource::Receipt { skew_ms: Some(3_600_020) }));
    }

    #[test]
    fn at_the_border_nothing_goes_to_and_fro() {
        let mut world = World::ahead(-10_030);
        world.play(1);
        let mut news = Vec::new();
        for back in 0..200 {
            world.ahead_ms = -10_030 + 10 * (back % 20);
            news.extend(world.picture());
        }
        assert_eq!(news, []);
        world.ahead_ms = -8_000;
        assert_eq!(world.picture(), Some((true, 8_020)));
    }

    #[test]
    fn a_stall_of_the_network_does_not_count_as_skew() {
        let mut world = World::ahead(0);
        world.play(10);
        world.delay_ms = 4_000;
        world.play(100);
        assert_eq!(world.newest(), (UnixMs(world.true_ms()), TimeSource::Camera { skew_ms: 20 }));
    }

    #[test]
    fn clocks_that_are_set_are_followed_at_once() {
        let mut world = World::ahead(0);
        world.play(100);
        world.ahead_ms = -5_000;
        world.play(1);
        assert_eq!(world.newest().1, TimeSource::Camera { skew_ms: 5_020 }, "the camera's, back");
        world.ours_set_ms = 7_000;
        world.play(1);
        assert_eq!(world.newest().1, TimeSource::Receipt { skew_ms: Some(12_020) }, "ours, forward");
        world.ours_set_ms = -7_000;
        world.play(1);
        assert_eq!(world.newest().1, TimeSource::Camera { skew_ms: -1_980 }, "ours, back");
        world.ahead_ms = 0;
        world.ours_set_ms = 0;
        world.play(1);
        assert_eq!(world.newest(), (UnixMs(world.true_ms()), TimeSource::Camera { skew_ms: 20 }));
    }

    #[test]
    fn a_drift_is_followed_within_the_window() {
        let mut world = World::ahead(0);
        for _ in 0..250 {
            world.ahead_ms -= 1;
            world.play(25);
        }
        let TimeSource::Camera { skew_ms } = world.newest().1 else { panic!("believed") };
        assert!((270 - 32..=270).contains(&skew_ms), "{skew_ms}");
    }

    #[test]
    fn senseless_times_do_no_harm() {
        let mut capture = CaptureTime::default();
        for camera_ns in [i128::from(i64::MAX) * NS_A_MS * 2, -i128::from(i64::MAX) * NS_A_MS * 2, 0] {
            capture.note(Reference { pts_ns: u64::MAX, camera_ns, received: UnixMs(START_MS), at: Duration::ZERO });
            assert_eq!(capture.of(Some(0), UnixMs(3)).0, UnixMs(3));
        }
    }

    proptest! {
        /// Whatever the network does: the camera's time exactly, and a skew that is too large by the least delay.
        #[test]
        fn delays_of_any_kind_change_no_time(
            ahead_ms in -8_000i64..8_000, delays in proptest::collection::vec(0u64..900, 1..300),
        ) {
            let mut world = World::ahead(ahead_ms);
            for &delay_ms in &delays {
                world.delay_ms = delay_ms;
                world.picture();
                let (taken, source) = world.newest();
                prop_assert_eq!(taken, UnixMs(world.true_ms() + ahead_ms));
                let TimeSource::Camera { skew_ms } = source else { panic!("{source:?}") };
                prop_assert!((0..900).contains(&(skew_ms + ahead_ms)));
            }
            let least = *delays.iter().min().unwrap() as i64;
            prop_assert_eq!(world.newest().1, TimeSource::Camera { skew_ms: least - ahead_ms });
        }

        /// A window that forgets gives the same as looking through all that is not too old.
        #[test]
        fn the_smallest_is_the_smallest_of_the_window(
            values in proptest::collection::vec((0u64..20, -50i64..50), 1..100),
        ) {
            let (mut window, mut second, mut all) = (Smallest::default(), 0, Vec::new());
            for (wait, value) in values {
                second += wait;
                window.add(second, value);
                all.push((second, value));
                let least = all.iter().filter(|(at, _)| at + WINDOW_S >= second).map(|&(_, value)| value).min();
                prop_assert_eq!(window.smallest(), least);
            }
        }
    }

    #[test]
    fn arrivals_are_watched_for_a_while_before_they_tell_a_moment() {
        let mut capture = CaptureTime::default();
        let moment_at = |capture: &mut CaptureTime, pts_ms: u64, late_ms: u64| {
            capture.arrived(pts_ms * 1_000_000, Duration::from_millis(pts_ms + late_ms));
            capture.moment(pts_ms * 1_000_000)
        };
        let first = moment_at(&mut capture, 0, 700);
        assert_eq!(first.since(&first), None, "all of the first may be late");
        assert_eq!(moment_at(&mut capture, 1000, 30).since(&first), None);
        let (settled, later) = (moment_at(&mut capture, 4000, 20), moment_at(&mut capture, 4040, 300));
        assert_eq!(later.since(&settled), Some(40_000_000), "a late packet is no later picture");
    }
}
