//! From presentation times to stream time: since the first frame, never back, and on through reconnects.

use std::time::Duration;

use crate::domain::StreamTime;

/// A live source whose own time runs this far from the wall's has set its clock anew.
const LARGEST_DRIFT: Duration = Duration::from_secs(5);

#[derive(Default)]
pub struct Timeline {
    last: Option<StreamTime>,
    /// The presentation time that belongs to `base`, in this connection.
    origin_ns: Option<u64>,
    last_pts_ns: Option<u64>,
    base: StreamTime,
}

impl Timeline {
    /// A new connection: its presentation times have nothing to do with the last one's.
    pub fn reconnected(&mut self) {
        self.origin_ns = None;
        self.last_pts_ns = None;
    }

    /// Of a file's frame. A frame without a time follows the last one by `frame_ns`.
    pub fn file(&mut self, pts_ns: Option<u64>, frame_ns: u64) -> StreamTime {
        let time = match pts_ns {
            Some(pts_ns) => {
                self.base + Duration::from_nanos(pts_ns.saturating_sub(*self.origin_ns.get_or_insert(pts_ns)))
            }
            None => self.last.map_or(self.base, |last| last + Duration::from_nanos(frame_ns)),
        };
        self.forward(time)
    }

    /// Of a live source's frame that arrives `elapsed` after the first one ever did.
    pub fn live(&mut self, pts_ns: Option<u64>, elapsed: Duration) -> StreamTime {
        let wall = StreamTime::ZERO + elapsed;
        let Some(pts_ns) = pts_ns else { return self.forward(wall) };
        // After a jump back GStreamer repeats the last time until the camera's has come there again.
        let runs = self.last_pts_ns.replace(pts_ns).is_none_or(|last| last < pts_ns);
        let origin_ns = self.origin_ns.filter(|_| runs);
        let by_pts =
            origin_ns.and_then(|origin| pts_ns.checked_sub(origin)).map(|ns| self.base + Duration::from_nanos(ns));
        let time = match by_pts {
            Some(time) if time.since(wall).max(wall.since(time)) <= LARGEST_DRIFT => time,
            _ => {
                self.origin_ns = Some(pts_ns);
                self.base = wall;
                wall
            }
        };
        self.forward(time)
    }

    fn forward(&mut self, time: StreamTime) -> StreamTime {
        let time = match self.last {
            Some(last) if time <= last => last + Duration::from_nanos(1),
            _ => time,
        };
        self.last = Some(time);
        time
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn secs(time: StreamTime) -> f64 {
        time.as_secs_f64()
    }

    #[test]
    fn a_file_starts_at_zero_and_never_goes_back() {
        let mut line = Timeline::default();
        let times: Vec<u64> = [Some(7), Some(47), Some(20), None].map(|pts| line.file(pts, 40).as_nanos()).to_vec();
        assert_eq!(times, [0, 40, 41, 81]);
    }

    #[test]
    fn a_live_source_goes_on_after_a_reconnect_by_the_time_that_passed() {
        let mut line = Timeline::default();
        assert_eq!(secs(line.live(Some(3 * SECOND), Duration::ZERO)), 0.0);
        assert_eq!(secs(line.live(Some(4 * SECOND), Duration::from_millis(1200))), 1.0);
        line.reconnected();
        assert_eq!(secs(line.live(Some(0), Duration::from_secs(9))), 9.0);
        assert_eq!(secs(line.live(Some(SECOND), Duration::from_secs(10))), 10.0);
    }

    #[test]
    fn a_camera_whose_time_stands_or_goes_back_a_little_keeps_to_the_walls_time() {
        let mut line = Timeline::default();
        line.live(Some(100 * SECOND), Duration::ZERO);
        for second in 1..4 {
            assert_eq!(secs(line.live(Some(100 * SECOND), Duration::from_secs(second))), second as f64);
        }
        assert_eq!(secs(line.live(Some(98 * SECOND), Duration::from_secs(4))), 4.0);
        assert_eq!(secs(line.live(Some(99 * SECOND), Duration::from_millis(5100))), 5.0);
    }

    #[test]
    fn a_camera_that_sets_its_clock_anew_keeps_to_the_walls_time() {
        let mut line = Timeline::default();
        line.live(Some(100 * SECOND), Duration::ZERO);
        assert_eq!(secs(line.live(Some(4000 * SECOND), Duration::from_secs(1))), 1.0);
        assert_eq!(secs(line.live(Some(4001 * SECOND), Duration::from_secs(2))), 2.0);
        assert_eq!(secs(line.live(Some(5 * SECOND), Duration::from_secs(3))), 3.0);
        assert_eq!(secs(line.live(None, Duration::from_secs(4))), 4.0);
    }
}
