//! Whether several unsure looks add up to a face.
//!
//! A running sum that never falls below nothing, as in the CUSUM test (Page, *Continuous inspection schemes*, 1954):
//! each clear look adds one, each look without takes two away. A print that is taken for a face in one frame of four
//! never gets far, a face in poor light soon does, and what was long ago does not count.

use std::time::Duration;

use crate::domain::StreamTime;

/// So many clear looks more than unclear ones outweigh, and over this time: neighbouring frames show the same mistake.
const LOOKS: u32 = 3;
const SPAN: Duration = Duration::from_millis(300);
const UNCLEAR: u32 = 2;

#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Evidence {
    sum: u32,
    /// When the sum last rose from nothing.
    since: StreamTime,
    last: Option<StreamTime>,
}

impl Evidence {
    /// A frame given twice is still one look.
    pub fn look(&mut self, now: StreamTime, clear: bool) {
        if self.last.replace(now) == Some(now) {
            return;
        }
        if clear {
            if self.sum == 0 {
                self.since = now;
            }
            self.sum = self.sum.saturating_add(1);
        } else {
            self.sum = self.sum.saturating_sub(UNCLEAR);
        }
    }

    pub fn is_enough(&self, now: StreamTime) -> bool {
        self.sum >= LOOKS && now - self.since >= SPAN
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The moment in ms at which looks every `step_ms` are enough; `c` is a clear one.
    fn enough_at(looks: &str, step_ms: u64) -> Option<u64> {
        let mut evidence = Evidence::default();
        looks.chars().zip(0..).map(|(look, i)| (look, i * step_ms)).find_map(|(look, ms)| {
            let now = StreamTime::from_millis(ms);
            evidence.look(now, look == 'c');
            evidence.is_enough(now).then_some(ms)
        })
    }

    #[test]
    fn clear_looks_are_enough_after_their_time_and_number() {
        assert_eq!(enough_at("cccccccccccc", 40), Some(320));
        assert_eq!(enough_at("cccccccccccc", 160), Some(320));
        assert_eq!(enough_at("cccccccccccc", 1000), Some(2000));
    }

    #[test]
    fn a_burst_is_not_enough_nor_one_that_comes_again() {
        assert_eq!(enough_at("cccc........", 40), None);
        assert_eq!(enough_at(&"cccc......".repeat(20), 40), None);
        assert_eq!(enough_at(&"c.".repeat(100), 160), None);
    }

    #[test]
    fn a_gap_delays_and_a_long_past_without_does_not_count() {
        assert_eq!(enough_at("cc.cccccccc", 160), Some(800));
        assert_eq!(enough_at(&format!("{}ccc", ".".repeat(500)), 160), Some(502 * 160));
    }

    #[test]
    fn a_frame_given_twice_is_one_look() {
        let mut evidence = Evidence::default();
        for ms in [0, 0, 0, 400, 400] {
            evidence.look(StreamTime::from_millis(ms), true);
        }
        assert!(!evidence.is_enough(StreamTime::from_millis(400)));
    }
}
