//! What a licence allows at a given time: whether it is good, and whether one more channel may run under it. Pure:
//! the store counts, the caller tells the time.

use std::time::Duration;

use super::time::UnixMs;

const DAY: Duration = Duration::from_secs(86_400);

/// The terms of one authorization code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Licence {
    pub enabled: bool,
    /// Its first channel activates it.
    pub activated_at: Option<UnixMs>,
    /// From its activation; without end where absent.
    pub lasts_days: Option<u32>,
    /// Channels that may run at once; any number where absent.
    pub channels: Option<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Good; its time begins with its first channel.
    NotYetActivated,
    Valid {
        until: Option<UnixMs>,
    },
    Expired {
        at: UnixMs,
    },
    Disabled,
}

/// What a task hears that asks for a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It has one, perhaps since long ago.
    Granted,
    /// All that the licence allows are taken: ask again when one is given back.
    NoneFree { channels: u32 },
    /// The licence is not good now; it may be good again later.
    Frozen { why: String },
    /// There is no such licence.
    Unknown,
}

impl Licence {
    pub fn standing(&self, now: UnixMs) -> Standing {
        if !self.enabled {
            return Standing::Disabled;
        }
        let Some(begun) = self.activated_at else { return Standing::NotYetActivated };
        match self.lasts_days.map(|days| begun + DAY * days) {
            Some(at) if at <= now => Standing::Expired { at },
            until => Standing::Valid { until },
        }
    }

    /// For a task that has so many channels of the same licence ahead of it: all that are taken where it has none
    /// yet, those that were taken before its own where it has one.
    pub fn verdict(&self, now: UnixMs, ahead: u32) -> Verdict {
        match (self.standing(now), self.channels) {
            (Standing::Disabled, _) => Verdict::Frozen { why: "the licence is disabled".to_owned() },
            (Standing::Expired { .. }, _) => {
                let days = self.lasts_days.unwrap_or(0);
                Verdict::Frozen { why: format!("the licence has ended, {days} days after its activation") }
            }
            (_, Some(channels)) if ahead >= channels => Verdict::NoneFree { channels },
            _ => Verdict::Granted,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEGUN: UnixMs = UnixMs(1_000);
    const END: UnixMs = UnixMs(1_000 + 2 * 86_400_000);

    fn two_days() -> Licence {
        Licence { enabled: true, activated_at: Some(BEGUN), lasts_days: Some(2), channels: Some(3) }
    }

    #[test]
    fn it_stands_as_the_date_says() {
        let unlimited = Licence { lasts_days: None, ..two_days() };
        let cases = [
            (Licence { activated_at: None, ..two_days() }, END, Standing::NotYetActivated),
            (two_days(), BEGUN, Standing::Valid { until: Some(END) }),
            (two_days(), UnixMs(END.0 - 1), Standing::Valid { until: Some(END) }),
            (two_days(), END, Standing::Expired { at: END }),
            (unlimited, UnixMs(i64::MAX), Standing::Valid { until: None }),
            (Licence { enabled: false, ..unlimited }, BEGUN, Standing::Disabled),
        ];
        for (licence, now, expected) in cases {
            assert_eq!(licence.standing(now), expected, "{licence:?} at {now:?}");
        }
    }

    #[test]
    fn a_channel_is_granted_while_the_licence_is_good_and_one_is_free() {
        assert_eq!(two_days().verdict(BEGUN, 2), Verdict::Granted);
        assert_eq!(two_days().verdict(BEGUN, 3), Verdict::NoneFree { channels: 3 });
        assert_eq!(Licence { channels: None, ..two_days() }.verdict(BEGUN, u32::MAX), Verdict::Granted);
        assert_eq!(Licence { channels: Some(0), ..two_days() }.verdict(BEGUN, 0), Verdict::NoneFree { channels: 0 });
        assert!(matches!(two_days().verdict(END, 0), Verdict::Frozen { .. }));
        assert!(matches!(Licence { enabled: false, ..two_days() }.verdict(BEGUN, 0), Verdict::Frozen { .. }));
    }
}
