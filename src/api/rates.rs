//! How much one key may ask: a bucket of requests a key, filled evenly. Generous: it stops a client that went wild,
//! not one that works.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Of one key, on average.
const PER_SECOND: u32 = 200;
/// At once, after a pause.
const BURST: u32 = 600;
/// Keys that are known to be good are few; this only bounds what a fault could cost.
const MAX_KEYS: usize = 4096;

pub struct Rates {
    per_second: f64,
    burst: f64,
    buckets: Mutex<HashMap<String, Bucket>>,
}

struct Bucket {
    left: f64,
    at: Instant,
}

impl Default for Rates {
    fn default() -> Self {
        Self::new(PER_SECOND, BURST)
    }
}

impl Rates {
    pub fn new(per_second: u32, burst: u32) -> Self {
        Self { per_second: f64::from(per_second), burst: f64::from(burst), buckets: Mutex::default() }
    }

    /// Takes one request of this key's; `Err` says how long it is until there is one again.
    pub fn take(&self, key: &str, now: Instant) -> Result<(), Duration> {
        let mut buckets = self.buckets.lock();
        if !buckets.contains_key(key) {
            if buckets.len() >= MAX_KEYS {
                buckets.retain(|_, bucket| self.filled(bucket, now) < self.burst);
            }
            buckets.insert(key.to_owned(), Bucket { left: self.burst, at: now });
        }
        let bucket = buckets.get_mut(key).expect("was put there above");
        *bucket = Bucket { left: self.filled(bucket, now), at: now };
        if bucket.left < 1.0 {
            return Err(Duration::from_secs_f64((1.0 - bucket.left) / self.per_second));
        }
        bucket.left -= 1.0;
        Ok(())
    }

    fn filled(&self, bucket: &Bucket, now: Instant) -> f64 {
        let since = now.saturating_duration_since(bucket.at).as_secs_f64();
        (bucket.left + since * self.per_second).min(self.burst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_then_an_even_flow_each_key_for_itself() {
        let (rates, now) = (Rates::new(10, 3), crate::clock::monotonic());
        let taken = |at: Instant| (0..5).filter(|_| rates.take("a", at).is_ok()).count();
        assert_eq!(taken(now), 3);
        assert_eq!(rates.take("a", now), Err(Duration::from_millis(100)));
        assert_eq!(rates.take("b", now), Ok(()), "another key does not wait for it");
        assert_eq!(taken(now + Duration::from_millis(250)), 2);
        assert_eq!(taken(now + Duration::from_secs(3600)), 3, "no more than a burst is saved up");
    }

    #[test]
    fn memory_is_bounded() {
        let (rates, now) = (Rates::new(10, 3), crate::clock::monotonic());
        for n in 0..2 * MAX_KEYS {
            let at = now + Duration::from_secs(n as u64);
            assert_eq!(rates.take(&n.to_string(), at), Ok(()));
        }
        assert!(rates.buckets.lock().len() <= MAX_KEYS);
    }
}
