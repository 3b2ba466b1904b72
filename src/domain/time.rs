//! Two clocks that must not be mixed up: the stream's own time, and the wall's.

use std::ops::{Add, Sub};
use std::time::Duration;

/// Presentation time since the stream's start, in nanoseconds. All rules run on it, so that a file analysed
/// faster than real time gives the same faces as the same file played live.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct StreamTime(u64);

impl StreamTime {
    pub const ZERO: Self = Self(0);

    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    pub const fn from_millis(millis: u64) -> Self {
        Self(millis * 1_000_000)
    }

    pub fn from_secs_f64(secs: f64) -> Self {
        Self((secs.max(0.0) * 1e9).round() as u64)
    }

    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    pub const fn as_millis(self) -> u64 {
        self.0 / 1_000_000
    }

    pub fn as_secs_f64(self) -> f64 {
        self.0 as f64 / 1e9
    }

    /// Time since `earlier`; zero when `earlier` is later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for StreamTime {
    type Output = Self;
    fn add(self, rhs: Duration) -> Self {
        Self(self.0.saturating_add(rhs.as_nanos().min(u128::from(u64::MAX)) as u64))
    }
}

impl Sub for StreamTime {
    type Output = Duration;
    fn sub(self, rhs: Self) -> Duration {
        self.since(rhs)
    }
}

/// Milliseconds since the Unix epoch, UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct UnixMs(pub i64);

impl UnixMs {
    /// Whole seconds, rounded down.
    pub const fn secs(self) -> i64 {
        self.0.div_euclid(1000)
    }
}

/// Whose clock told when a picture was taken, and by how much that clock is behind ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeSource {
    /// The camera's, by its sender reports.
    Camera { skew_ms: i64 },
    /// Ours, when the picture came. With a skew: the camera tells a time that is too far from ours to be believed.
    Receipt { skew_ms: Option<i64> },
    /// Of a file: when playing began, and the picture's place in it.
    File,
}

impl TimeSource {
    /// Received, and no clock of the camera is known.
    pub const UNTOLD: Self = Self::Receipt { skew_ms: None };

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Camera { .. } => "camera",
            Self::Receipt { .. } => "receipt",
            Self::File => "file",
        }
    }

    /// Our clock minus the camera's; negative where the camera is ahead.
    pub const fn skew_ms(self) -> Option<i64> {
        match self {
            Self::Camera { skew_ms } => Some(skew_ms),
            Self::Receipt { skew_ms } => skew_ms,
            Self::File => None,
        }
    }
}

impl Add<Duration> for UnixMs {
    type Output = Self;
    fn add(self, rhs: Duration) -> Self {
        Self(self.0.saturating_add(rhs.as_millis().min(i64::MAX as u128) as i64))
    }
}
