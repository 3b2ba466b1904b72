//! The only place that asks what time it is.
#![allow(clippy::disallowed_methods)]

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::domain::UnixMs;

/// Wall time, for what people and other machines read.
pub fn unix_ms() -> UnixMs {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixMs(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX))
}

/// Never goes back; for timeouts, ages and latencies.
pub fn monotonic() -> Instant {
    Instant::now()
}
