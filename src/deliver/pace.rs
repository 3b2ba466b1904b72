//! Holds an output to its share of the line: before a message goes, it waits until those before it would have gone
//! through at the output's rate. Pure: the caller tells the time and sleeps.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::store::OutputId;

/// Outputs that are remembered; one that is forgotten may go at once.
const REMEMBERED: usize = 1024;

#[derive(Debug, Default)]
pub struct Pace {
    /// When each output's line is free again.
    free: HashMap<OutputId, Instant>,
}

impl Pace {
    /// Takes the line for so many bytes; answers how long to wait before sending them.
    pub fn take(&mut self, output: OutputId, bytes: usize, kbit_s: u32, now: Instant) -> Duration {
        if self.free.len() >= REMEMBERED {
            self.free.retain(|_, free| *free > now);
        }
        let free = self.free.entry(output).or_insert(now);
        let start = (*free).max(now);
        let bits = bytes as f64 * 8.0;
        *free = start + Duration::from_secs_f64(bits / (f64::from(kbit_s.max(1)) * 1000.0));
        start - now
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    #[test]
    fn bytes_leave_at_the_rate_and_outputs_do_not_wait_for_each_other() {
        let (mut pace, start) = (Pace::default(), clock::monotonic());
        let second = Duration::from_secs(1);
        let (slow, other) = (OutputId(1), OutputId(2));
        assert_eq!(pace.take(slow, 1_000, 8, start), Duration::ZERO, "the first goes at once");
        assert_eq!(pace.take(slow, 2_000, 8, start), second, "1000 bytes at 8 kbit/s");
        assert_eq!(pace.take(slow, 1_000, 8, start), 3 * second);
        assert_eq!(pace.take(other, 1_000, 8, start), Duration::ZERO);
        assert_eq!(pace.take(slow, 1_000, 8, start + 10 * second), Duration::ZERO, "nothing is saved up either");
        assert_eq!(pace.take(slow, 1_000, 8, start + 10 * second), second);
    }
}
