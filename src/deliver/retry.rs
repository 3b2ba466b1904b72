//! When a failed delivery is tried again. Pure: chance comes in as a number.
//!
//! The waits double from one second to fifteen minutes, each shortened or lengthened by up to a fifth so that many
//! deliveries that failed together do not come back together, and go on for three days.

use std::time::Duration;

const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(15 * 60);
const JITTER: f64 = 0.2;
/// From when the message was made.
pub const GIVE_UP_AFTER: Duration = Duration::from_secs(3 * 24 * 3600);
/// What a receiver may ask for in Retry-After.
const LONGEST_ASKED: Duration = Duration::from_secs(3600);

/// How long to wait after the failure of try number `attempt` (from 1) of a delivery that has waited for `waited`;
/// `None` to give up. `asked`: what the receiver asked for, never less than our own wait and never above an hour.
/// `chance`: 0..1.
pub fn delay(attempt: u32, waited: Duration, asked: Option<Duration>, chance: f64) -> Option<Duration> {
    if waited >= GIVE_UP_AFTER {
        return None;
    }
    let doublings = attempt.saturating_sub(1).min(20);
    let plain = FIRST.saturating_mul(1 << doublings).min(LONGEST);
    let spread = 1.0 + JITTER * (2.0 * chance.clamp(0.0, 1.0) - 1.0);
    let own = plain.mul_f64(spread);
    Some(own.max(asked.unwrap_or_default().min(LONGEST_ASKED)))
}

/// The value of a Retry-After header: seconds, or a date.
pub fn parse_retry_after(value: &str, now_secs: i64) -> Option<Duration> {
    if let Ok(seconds) = value.trim().parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let date = chrono::DateTime::parse_from_rfc2822(value.trim()).ok()?;
    Some(Duration::from_secs(u64::try_from(date.timestamp() - now_secs).unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const MIDDLE: f64 = 0.5;

    #[test]
    fn waits_double_up_to_a_quarter_of_an_hour() {
        let waits: Vec<u64> = (1..=13).map(|attempt| delay(attempt, SECOND, None, MIDDLE).unwrap().as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900, 900]);
        assert_eq!(delay(u32::MAX, SECOND, None, MIDDLE), Some(LONGEST));
    }

    #[test]
    fn chance_spreads_by_a_fifth() {
        assert_eq!(delay(4, SECOND, None, 0.0), Some(Duration::from_millis(6_400)));
        assert_eq!(delay(4, SECOND, None, 1.0), Some(Duration::from_millis(9_600)));
    }

    #[test]
    fn after_three_days_it_gives_up() {
        assert!(delay(300, GIVE_UP_AFTER - SECOND, None, MIDDLE).is_some());
        assert_eq!(delay(300, GIVE_UP_AFTER, None, MIDDLE), None);
    }

    #[test]
    fn what_the_receiver_asks_for_counts_within_bounds() {
        assert_eq!(delay(1, SECOND, Some(30 * SECOND), MIDDLE), Some(30 * SECOND));
        assert_eq!(delay(6, SECOND, Some(SECOND), MIDDLE), Some(32 * SECOND), "never sooner than our own");
        assert_eq!(delay(1, SECOND, Some(90_000 * SECOND), MIDDLE), Some(LONGEST_ASKED));
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        assert_eq!(parse_retry_after(" 120 ", 0), Some(120 * SECOND));
        assert_eq!(parse_retry_after("Wed, 21 Oct 2015 07:28:00 GMT", 1_445_412_400), Some(80 * SECOND));
        assert_eq!(parse_retry_after("Wed, 21 Oct 2015 07:28:00 GMT", 1_999_999_999), Some(Duration::ZERO));
        assert_eq!(parse_retry_after("soon", 0), None);
    }
}
