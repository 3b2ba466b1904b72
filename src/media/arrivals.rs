//! When coded pictures reached the decoder, until it gives them. Pure.

use std::collections::VecDeque;
use std::time::Instant;

/// More than any decoder holds back.
const KEPT: usize = 64;

#[derive(Default)]
pub struct Arrivals {
    pictures: VecDeque<(u64, Instant)>,
}

impl Arrivals {
    pub fn note(&mut self, pts_ns: u64, at: Instant) {
        if self.pictures.len() == KEPT {
            self.pictures.pop_front();
        }
        self.pictures.push_back((pts_ns, at));
    }

    /// Once for each picture.
    pub fn of(&mut self, pts_ns: u64) -> Option<Instant> {
        let place = self.pictures.iter().position(|(pts, _)| *pts == pts_ns)?;
        self.pictures.remove(place).map(|(_, at)| at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    #[test]
    fn pictures_come_out_in_any_order_and_once() {
        let (mut arrivals, start) = (Arrivals::default(), clock::monotonic());
        for pts in [0, 120, 40, 80] {
            arrivals.note(pts, start);
        }
        assert_eq!(arrivals.of(40), Some(start));
        assert_eq!(arrivals.of(40), None);
        assert_eq!(arrivals.of(0), Some(start));
    }

    #[test]
    fn what_never_comes_out_is_forgotten() {
        let (mut arrivals, start) = (Arrivals::default(), clock::monotonic());
        (0..1000).for_each(|pts| arrivals.note(pts, start));
        assert_eq!(arrivals.pictures.len(), KEPT);
        assert_eq!((arrivals.of(1), arrivals.of(999)), (None, Some(start)));
    }
}
