//! The time zone in which a site lives: in it tickets begin and end, and the nightly scan is due.

use chrono::{DateTime, Local, MappedLocalTime, NaiveDate, NaiveDateTime, NaiveTime, TimeZone, Utc};

use crate::domain::UnixMs;

/// How times without a zone are written.
const WRITTEN: &str = "%Y-%m-%d %H:%M:%S";

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Zone {
    /// This machine's.
    #[default]
    Local,
    Named(chrono_tz::Tz),
}

impl Zone {
    /// A name such as `Asia/Shanghai`.
    pub fn parse(name: &str) -> Option<Self> {
        name.parse().ok().map(Self::Named)
    }

    pub fn local(self, at: UnixMs) -> NaiveDateTime {
        let utc = DateTime::<Utc>::from_timestamp_millis(at.0).unwrap_or_default();
        match self {
            Self::Local => utc.with_timezone(&Local).naive_local(),
            Self::Named(zone) => utc.with_timezone(&zone).naive_local(),
        }
    }

    /// The moment at which clocks show `local`; the first where they show it twice, and where they skip it, the moment
    /// at which they do.
    pub fn moment(self, local: NaiveDateTime) -> UnixMs {
        match self {
            Self::Local => first(&Local, local),
            Self::Named(zone) => first(&zone, local),
        }
    }

    /// `2026-05-01 12:00:00`, a `T` between, with a zone of its own (`…Z`, `…+02:00`), or a date alone: its first
    /// moment, or with `end` its last second.
    pub fn parse_time(self, text: &str, end: bool) -> Option<UnixMs> {
        if let Ok(at) = DateTime::parse_from_rfc3339(text) {
            return Some(UnixMs(at.timestamp_millis()));
        }
        let forms = [WRITTEN, "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M"];
        if let Some(local) = forms.iter().find_map(|form| NaiveDateTime::parse_from_str(text, form).ok()) {
            return Some(self.moment(local));
        }
        let date = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?;
        let time = if end { NaiveTime::from_hms_opt(23, 59, 59)? } else { NaiveTime::MIN };
        Some(self.moment(date.and_time(time)))
    }

    pub fn shown(self, at: UnixMs) -> String {
        self.local(at).format(WRITTEN).to_string()
    }
}

fn first<Z: TimeZone>(zone: &Z, local: NaiveDateTime) -> UnixMs {
    let mut asked = local;
    // Clocks skip at most a day, and then by whole minutes.
    for _ in 0..=24 * 60 {
        match zone.from_local_datetime(&asked) {
            MappedLocalTime::Single(at) | MappedLocalTime::Ambiguous(at, _) => return UnixMs(at.timestamp_millis()),
            MappedLocalTime::None => asked += chrono::TimeDelta::minutes(1),
        }
    }
    UnixMs(local.and_utc().timestamp_millis())
}

#[cfg(test)]
mod tests {
    use super::*;

    const BERLIN: Zone = Zone::Named(chrono_tz::Europe::Berlin);

    fn at(text: &str) -> i64 {
        BERLIN.parse_time(text, false).unwrap_or_else(|| panic!("{text}")).0
    }

    #[test]
    fn times_as_people_write_them() {
        let noon = 1_767_265_200_000;
        for text in ["2026-01-01 12:00:00", "2026-01-01T12:00:00", "2026-01-01T11:00:00Z", "2026-01-01 12:00"] {
            assert_eq!(at(text), noon, "{text}");
        }
        assert_eq!(BERLIN.shown(UnixMs(noon)), "2026-01-01 12:00:00");
        assert_eq!(at("2026-01-01"), noon - 12 * 3_600_000);
        assert_eq!(BERLIN.parse_time("2026-01-01", true), Some(UnixMs(noon + 12 * 3_600_000 - 1000)));
        for wrong in ["", "tomorrow", "2026-02-30", "2026-01-01 25:00:00"] {
            assert_eq!(BERLIN.parse_time(wrong, false), None, "{wrong}");
        }
        assert_eq!((Zone::parse("Asia/Shanghai").is_some(), Zone::parse("Nowhere/Land")), (true, None));
    }

    #[test]
    fn a_time_that_clocks_skip_or_show_twice_is_a_moment_all_the_same() {
        assert_eq!(at("2026-03-29 02:30:00"), at("2026-03-29 03:00:00"), "skipped");
        assert_eq!(at("2026-10-25 02:30:00"), at("2026-10-25T02:30:00+02:00"), "twice: the first");
    }
}
