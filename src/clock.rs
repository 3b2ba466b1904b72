//! The only place that asks what time it is.
#![allow(clippy::disallowed_methods)]

use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use nix::time::{ClockId, clock_gettime};

use crate::domain::UnixMs;

/// Wall time, for what people and other machines read.
pub fn unix_ms() -> UnixMs {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixMs(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX))
}

/// Since this was first asked for in this process; never goes back.
pub fn uptime() -> Duration {
    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(Instant::now).elapsed()
}

/// Never goes back; for timeouts, ages and latencies.
pub fn monotonic() -> Instant {
    Instant::now()
}

/// Processor time that the calling thread has used since it began.
pub fn thread_cpu() -> Duration {
    cpu(ClockId::CLOCK_THREAD_CPUTIME_ID)
}

/// Processor time that all threads of this process have used.
pub fn process_cpu() -> Duration {
    cpu(ClockId::CLOCK_PROCESS_CPUTIME_ID)
}

fn cpu(of: ClockId) -> Duration {
    clock_gettime(of).expect("Linux keeps this clock").into()
}
