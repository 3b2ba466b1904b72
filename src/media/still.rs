//! Tells a picture that stands still from a scene in which nothing happens.
//!
//! A sensor's noise and the encoder's own key frames change a picture a little all the time, also at night. A camera
//! whose encoder hangs sends one picture again and again: what is decoded is the same to the last sample. So are the
//! pictures of a covered lens, of which a person should hear, too.

use std::time::{Duration, Instant};

use crate::frame::Planes;

const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Between two key frames an encoder may repeat a picture of which nothing has changed to its eye.
const KEYS_MIN: u64 = 3;
/// Of a stream whose key frames are so rare, or have ceased: this much longer.
const WITHOUT_KEYS: u32 = 5;
/// Every so many rows are looked at: smaller than any line of text that a camera writes into its picture.
const ROW_STEP: usize = 8;

#[derive(Default)]
pub struct Stillness {
    same: Option<Same>,
}

/// Since when all looks were the same.
struct Same {
    print: u64,
    since: Instant,
    keys_then: u64,
    last_look: Instant,
    keys: u64,
}

impl Stillness {
    /// `keys`: how many key frames there were so far. Looks once a second at most.
    pub fn look(&mut self, planes: &Planes<'_>, now: Instant, keys: u64) {
        if self.same.as_ref().is_some_and(|same| now.saturating_duration_since(same.last_look) < LOOK_EVERY) {
            return;
        }
        let print = print(planes);
        match &mut self.same {
            Some(same) if same.print == print => (same.last_look, same.keys) = (now, keys),
            _ => self.same = Some(Same { print, since: now, keys_then: keys, last_look: now, keys }),
        }
    }

    /// How long the picture has been the same, from the first look at it to the last.
    pub fn lasted(&self) -> Duration {
        self.same.as_ref().map_or(Duration::ZERO, |same| same.last_look.saturating_duration_since(same.since))
    }

    /// Whether that is too long for a live picture.
    pub fn is_stuck(&self, limit: Duration) -> bool {
        let keys = self.same.as_ref().map_or(0, |same| same.keys - same.keys_then);
        let limit = if keys >= KEYS_MIN { limit } else { limit * WITHOUT_KEYS };
        self.lasted() >= limit
    }
}

/// A fingerprint of the luma; four sums side by side, so that a processor need not wait for each.
fn print(planes: &Planes<'_>) -> u64 {
    const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut sums = [ODD, !ODD, ODD.rotate_left(17), ODD.rotate_left(43)];
    for row in (ROW_STEP / 2..planes.height).step_by(ROW_STEP) {
        let row = &planes.y[row * planes.y_stride..][..planes.width];
        for (index, bytes) in row.chunks(8).enumerate() {
            let mut word = [0; 8];
            word[..bytes.len()].copy_from_slice(bytes);
            let sum = &mut sums[index % 4];
            *sum = (*sum ^ u64::from_le_bytes(word)).wrapping_mul(ODD).rotate_left(29);
        }
    }
    sums.into_iter().fold(planes.width as u64, |all, sum| (all ^ sum).wrapping_mul(ODD).rotate_left(31))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;
    use crate::frame::{OwnedPlanes, PixelBuffer};

    const LIMIT: Duration = Duration::from_secs(60);

    fn watch(seconds: u64, keys_every: u64, picture: impl Fn(u64) -> OwnedPlanes) -> Stillness {
        let (mut stillness, start) = (Stillness::default(), clock::monotonic());
        for second in 0..=seconds {
            stillness.look(&picture(second).planes(), start + Duration::from_secs(second), second / keys_every);
        }
        stillness
    }

    #[test]
    fn one_picture_again_and_again_is_stuck_after_a_minute() {
        let black = |_| OwnedPlanes::black(640, 360);
        assert!(!watch(59, 2, black).is_stuck(LIMIT));
        assert!(watch(60, 2, black).is_stuck(LIMIT));
        assert_eq!(watch(60, 2, black).lasted(), LIMIT);
    }

    #[test]
    fn without_key_frames_it_takes_longer_to_say_so() {
        let black = |_| OwnedPlanes::black(640, 360);
        assert!(!watch(299, 1000, black).is_stuck(LIMIT));
        assert!(watch(300, 1000, black).is_stuck(LIMIT));
    }

    #[test]
    fn a_single_sample_is_noise_enough() {
        let noisy = |second: u64| {
            let mut night = OwnedPlanes::black(640, 360);
            night.y[640 * 180 + 17] += (second / 30 % 2) as u8;
            night
        };
        assert!(!watch(600, 2, noisy).is_stuck(LIMIT), "every half minute by one");
    }

    #[test]
    fn every_place_in_a_row_that_is_looked_at_counts() {
        let black = OwnedPlanes::black(637, 40);
        for column in 0..637 {
            let mut other = OwnedPlanes::black(637, 40);
            other.y[637 * 12 + column] ^= 1;
            assert_ne!(print(&black.planes()), print(&other.planes()), "{column}");
        }
    }
}
