//! When a night's scan is due. Pure.

use chrono::NaiveTime;

use crate::domain::UnixMs;
use crate::zone::Zone;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Schedule {
    /// On the zone's clocks.
    pub at: NaiveTime,
    pub zone: Zone,
}

impl Schedule {
    /// The latest night whose scan is due, as the local date of its beginning. A night that was missed is made up for.
    pub fn night(&self, now: UnixMs) -> String {
        let today = self.zone.local(now).date();
        let begun = self.zone.moment(today.and_time(self.at)) <= now;
        let night = if begun { today } else { today.pred_opt().unwrap_or(today) };
        night.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_night_begins_at_its_time_on_the_sites_clocks() {
        let zone = Zone::parse("Asia/Shanghai").unwrap();
        let schedule = Schedule { at: NaiveTime::from_hms_opt(3, 0, 0).unwrap(), zone };
        let night = |text: &str| schedule.night(zone.parse_time(text, false).unwrap());
        assert_eq!(night("2026-05-02 02:59:59"), "2026-05-01");
        assert_eq!(night("2026-05-02 03:00:00"), "2026-05-02");
        assert_eq!(night("2026-05-02 23:59:00"), "2026-05-02");
    }

    #[test]
    fn a_time_that_clocks_skip_is_due_when_they_do() {
        let zone = Zone::parse("Europe/Berlin").unwrap();
        let schedule = Schedule { at: NaiveTime::from_hms_opt(2, 30, 0).unwrap(), zone };
        assert_eq!(schedule.night(zone.parse_time("2026-03-29 01:59:00", false).unwrap()), "2026-03-28");
        assert_eq!(schedule.night(zone.parse_time("2026-03-29 03:00:00", false).unwrap()), "2026-03-29");
    }
}
