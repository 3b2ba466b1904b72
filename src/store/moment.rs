//! The two times that the outbox knows. People read wall time, which may jump when a clock is put right; waiting and
//! ageing run on the time for which the service has been up, which only ever grows by what has really passed and goes
//! on where it stopped when the service starts again. So no clock can make messages old, or a retry far away.

use std::ops::Add;
use std::time::Duration;

use crate::domain::UnixMs;

/// Milliseconds that the service has run for since its outbox was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct UpMs(pub i64);

impl UpMs {
    /// Zero when `earlier` is later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    pub fn before(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(millis(span)))
    }
}

impl Add<Duration> for UpMs {
    type Output = Self;
    fn add(self, span: Duration) -> Self {
        Self(self.0.saturating_add(millis(span)))
    }
}

fn millis(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}

/// One moment, on both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    pub wall: UnixMs,
    pub up: UpMs,
}

/// Of a box whose clock never jumps and which has run since 1970.
impl From<UnixMs> for Moment {
    fn from(wall: UnixMs) -> Self {
        Self { wall, up: UpMs(wall.0) }
    }
}
