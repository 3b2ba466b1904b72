//! How long to wait before the next try at a camera: 1 s, doubling to 60 s, with jitter so that cameras that fell
//! together do not come back together.

use std::time::Duration;

const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(60);

#[derive(Default)]
pub struct Backoff {
    attempt: u32,
}

impl Backoff {
    /// The number of the next try, from 1, and the wait before it. `luck` is drawn from 0..1.
    pub fn next(&mut self, luck: f64) -> (u32, Duration) {
        self.attempt = self.attempt.saturating_add(1);
        let full = FIRST.saturating_mul(1 << (self.attempt - 1).min(6)).min(LONGEST);
        (self.attempt, full.mul_f64(0.5 + luck.clamp(0.0, 1.0) / 2.0))
    }

    /// The camera played well: the next trouble is a new one.
    pub fn reset(&mut self) {
        self.attempt = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_up_to_a_minute_and_starts_over_after_good_play() {
        let mut backoff = Backoff::default();
        let full: Vec<u64> = (0..9).map(|_| backoff.next(1.0).1.as_secs()).collect();
        assert_eq!(full, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
        backoff.reset();
        assert_eq!(backoff.next(1.0), (1, Duration::from_secs(1)));
        assert_eq!(backoff.next(0.0), (2, Duration::from_secs(1)), "jitter takes at most half");
    }
}
