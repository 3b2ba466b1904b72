//! Which pictures of a stream are analysed: one of every so many, counted in the order in which they are shown.
//!
//! Pictures left out before decoding count as if they had been decoded, so what is analysed does not depend on how
//! the stream was coded. Where a picture's place is not known before it is decoded, it is foretold from its time; a
//! wrong guess costs no more than that a later picture of the same run is analysed.

/// More than any decoder holds back; beyond it, nothing comes out and the list would only grow.
const LEFT_OUT_MAX: usize = 256;

#[derive(Debug, Default)]
pub struct Beat {
    /// Of the next picture.
    number: u64,
    analysed: Option<u64>,
    /// A picture whose presentation time and number are known.
    known: Option<(u64, u64)>,
    /// Presentation times of pictures left out and not yet counted, ascending.
    left_out: Vec<u64>,
}

impl Beat {
    /// A new connection: times start anew, and its first picture is wanted.
    pub fn reconnected(&mut self) {
        *self = Self { number: self.number, ..Self::default() };
    }

    /// Before decoding: whether this is the picture that opens a run of `every`.
    pub fn opens_a_run(&mut self, pts_ns: u64, interval_ns: u64, every: u64) -> bool {
        let (known_ns, number) = *self.known.get_or_insert((pts_ns, self.number));
        let steps = ((pts_ns as f64 - known_ns as f64) / interval_ns.max(1) as f64).round() as i64;
        (number as i64).saturating_add(steps).rem_euclid(every as i64) == 0
    }

    /// Before decoding: this picture will not come.
    pub fn leave_out(&mut self, pts_ns: u64) {
        if self.left_out.len() == LEFT_OUT_MAX {
            self.number += self.left_out.len() as u64;
            self.left_out.clear();
        }
        let at = self.left_out.partition_point(|&other| other <= pts_ns);
        self.left_out.insert(at, pts_ns);
    }

    /// After decoding: the number of this picture.
    pub fn count(&mut self, pts_ns: Option<u64>) -> u64 {
        if let Some(pts_ns) = pts_ns {
            let before = self.left_out.partition_point(|&other| other < pts_ns);
            self.left_out.drain(..before);
            self.number += before as u64;
            self.known = Some((pts_ns, self.number));
        }
        self.number += 1;
        self.number - 1
    }

    /// After counting: whether to analyse it, as the first whole picture in its run.
    pub fn take(&mut self, number: u64, every: u64) -> bool {
        let wanted = self.analysed.is_none_or(|last| last / every != number / every);
        if wanted {
            self.analysed = Some(number);
        }
        wanted
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const INTERVAL_NS: u64 = 40_000_000;

    /// Plays pictures in decoding order (display place, can be left out) and tells which display places are analysed.
    /// What is decoded comes out as soon as nothing earlier is outstanding.
    fn play(coded: &[(u64, bool)], every: u64) -> (Vec<u64>, usize) {
        let mut beat = Beat::default();
        let (mut analysed, mut decoded) = (Vec::new(), Vec::new());
        let mut dropped = 0;
        for (at, &(place, disposable)) in coded.iter().enumerate() {
            let pts = place * INTERVAL_NS + 7;
            if disposable && !beat.opens_a_run(pts, INTERVAL_NS, every) {
                beat.leave_out(pts);
                dropped += 1;
            } else {
                decoded.push(place);
            }
            decoded.sort_unstable();
            let next_to_come = coded[at + 1..].iter().map(|&(place, _)| place).min().unwrap_or(u64::MAX);
            for place in decoded.extract_if(.., |place| *place < next_to_come) {
                let number = beat.count(Some(place * INTERVAL_NS + 7));
                assert_eq!(number, place);
                if beat.take(number, every) {
                    analysed.push(place);
                }
            }
        }
        (analysed, dropped)
    }

    #[test]
    fn every_fifth_of_a_stream_with_b_frames_is_the_same_as_of_one_without() {
        // I0 P4 B2 b1 b3 P8 …: half of the pictures are referred to by none.
        let coded: Vec<(u64, bool)> = std::iter::once((0, false))
            .chain((0..25).flat_map(|group| {
                let base = group * 4;
                [(base + 4, false), (base + 2, false), (base + 1, true), (base + 3, true)]
            }))
            .collect();
        let (analysed, dropped) = play(&coded, 5);
        assert_eq!(analysed, (0..=100).step_by(5).collect::<Vec<_>>());
        assert_eq!(dropped, 40, "of 50, those 10 that are analysed stay");
    }

    #[test]
    fn a_rate_that_is_not_the_declared_one_keeps_the_count() {
        let mut beat = Beat::default();
        let mut analysed = Vec::new();
        for place in 0..40u64 {
            let pts = place * INTERVAL_NS * 2;
            let disposable = place % 2 == 1;
            if disposable && !beat.opens_a_run(pts, INTERVAL_NS, 5) {
                beat.leave_out(pts);
                continue;
            }
            let number = beat.count(Some(pts));
            assert_eq!(number, place);
            if beat.take(number, 5) {
                analysed.push(number);
            }
        }
        assert_eq!(analysed.len(), 8, "one of each five: {analysed:?}");
    }

    #[test]
    fn without_times_pictures_are_counted() {
        let mut beat = Beat::default();
        let analysed: Vec<u64> = (0..12).map(|_| beat.count(None)).collect();
        assert_eq!(analysed.into_iter().filter(|&number| beat.take(number, 5)).collect::<Vec<_>>(), [0, 5, 10]);
    }

    #[test]
    fn a_new_connection_starts_with_a_wanted_picture() {
        let mut beat = Beat::default();
        let first = beat.count(Some(0));
        assert!(beat.take(first, 5));
        beat.reconnected();
        let second = beat.count(Some(9));
        assert_eq!(second, 1);
        assert!(beat.take(second, 5));
    }

    proptest! {
        #[test]
        fn no_run_goes_unseen_while_pictures_are_decoded(
            kinds in proptest::collection::vec(any::<bool>(), 1..200), every in 1u64..9,
        ) {
            let coded: Vec<(u64, bool)> = kinds.iter().enumerate().map(|(at, &disposable)| (at as u64, disposable)).collect();
            let (analysed, _) = play(&coded, every);
            prop_assert_eq!(analysed, (0..kinds.len() as u64).step_by(every as usize).collect::<Vec<_>>());
        }
    }
}
