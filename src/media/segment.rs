//! Coded pictures of the last seconds, from key frame to key frame: what is needed to decode one of them later. Pure.
//!
//! Two segments are kept, the one that grows and the one before. A claim holds its segment alive beyond that, and moves
//! on to the next one where its moment turns out to lie there. Bounded in bytes and time: a segment that is full takes
//! no more pictures, and what is claimed of its rest is absent.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use super::capture_time::CaptureTime;
use crate::clock;
use crate::frame::Moment;
use crate::main_stream::Absent;

const KEPT: usize = 2;
/// What one segment may hold.
const BYTES_MAX: usize = 16 << 20;
const SPAN_MAX_NS: u64 = 12_000_000_000;
/// Pictures of two streams farther apart are not of the same moment.
const APART_MAX_NS: i64 = 40_000_000;
/// No nearer picture will come: half the distance between two at 25 a second.
const NEAR_NS: i64 = 20_000_000;
/// A picture so much later has come, and what belongs before it is there, too.
const PASSED_NS: i64 = 200_000_000;
/// A main stream's pictures are large, and come a little later than the small ones.
const PATIENCE: Duration = Duration::from_millis(400);
const NS_A_MS: i64 = 1_000_000;

/// One coded picture; `B` is its data.
pub struct Unit<B> {
    pub data: B,
    pub bytes: usize,
    pub pts_ns: u64,
}

/// What all pictures of a segment have in common; `C` says how they are coded.
pub struct Segment<B, C> {
    pub coding: C,
    /// The connection's, which may learn more while the segment is kept.
    pub clock: Arc<Mutex<CaptureTime>>,
    filled: Mutex<Filled<B>>,
}

struct Filled<B> {
    units: Vec<Unit<B>>,
    bytes: usize,
    is_full: bool,
    /// The next segment has begun, or the connection is over.
    is_closed: bool,
}

pub struct Ring<B, C> {
    inner: Mutex<Inner<B, C>>,
    grown: Condvar,
}

struct Inner<B, C> {
    segments: VecDeque<Arc<Segment<B, C>>>,
    claims: Vec<Weak<Claimed<B, C>>>,
}

/// A moment, and the segment that it lies in.
pub struct Claimed<B, C> {
    moment: Moment,
    segment: Mutex<Option<Arc<Segment<B, C>>>>,
}

/// Pictures in the order of decoding, from the key frame to the wanted one, which is shown at `pts_ns`.
pub struct Run<B, C> {
    pub segment: Arc<Segment<B, C>>,
    pub units: Vec<B>,
    pub pts_ns: u64,
}

/// What became of a picture that was put in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Put {
    Kept,
    /// The segment is full, and was not before.
    Full,
    LeftOut,
}

impl<B, C> Default for Ring<B, C> {
    fn default() -> Self {
        let inner = Inner { segments: VecDeque::new(), claims: Vec::new() };
        Self { inner: Mutex::new(inner), grown: Condvar::new() }
    }
}

impl<B: Clone, C> Ring<B, C> {
    /// A connection begins or is over: what it held before stays with those who claimed it.
    pub fn restart(&self) {
        let mut inner = self.inner.lock();
        if let Some(last) = inner.segments.back() {
            last.filled.lock().is_closed = true;
        }
        inner.segments.clear();
        self.grown.notify_all();
    }

    /// A key frame: a segment begins with it.
    pub fn begin(&self, clock: &Arc<Mutex<CaptureTime>>, coding: C, unit: Unit<B>) {
        let mut inner = self.inner.lock();
        let at = clock.lock().moment(unit.pts_ns);
        let filled = Filled { bytes: unit.bytes, units: vec![unit], is_full: false, is_closed: false };
        let segment = Arc::new(Segment { coding, clock: Arc::clone(clock), filled: Mutex::new(filled) });
        if let Some(before) = inner.segments.back() {
            before.filled.lock().is_closed = true;
        }
        inner.segments.push_back(Arc::clone(&segment));
        if inner.segments.len() > KEPT {
            inner.segments.pop_front();
        }
        inner.claims.retain(|claim| {
            let Some(claim) = claim.upgrade() else { return false };
            if at.since(&claim.moment).is_some_and(|later| later <= NEAR_NS) {
                *claim.segment.lock() = Some(Arc::clone(&segment));
            }
            true
        });
        self.grown.notify_all();
    }

    /// A picture that needs the ones before it.
    pub fn put(&self, unit: Unit<B>) -> Put {
        let inner = self.inner.lock();
        let Some(segment) = inner.segments.back() else { return Put::LeftOut };
        let put = segment.filled.lock().put(unit);
        self.grown.notify_all();
        put
    }

    pub fn claim(&self, moment: Moment) -> Arc<Claimed<B, C>> {
        let mut inner = self.inner.lock();
        let begun = |segment: &&Arc<Segment<B, C>>| segment.starts_after(&moment).is_some_and(|late| late <= NEAR_NS);
        let segment = inner.segments.iter().rev().find(begun).map(Arc::clone);
        let claim = Arc::new(Claimed { moment, segment: Mutex::new(segment) });
        // Here, too: a stream that never plays has no key frames to do it at.
        inner.claims.retain(|claim| claim.strong_count() > 0);
        inner.claims.push(Arc::downgrade(&claim));
        claim
    }

    /// What has to be decoded for the picture nearest to the claim's moment.
    pub fn run(&self, claim: &Claimed<B, C>) -> Result<Run<B, C>, Absent> {
        let deadline = clock::monotonic() + PATIENCE;
        let mut inner = self.inner.lock();
        let mut is_late = false;
        loop {
            let segment = claim.segment.lock().clone();
            let Some(segment) = segment else { return Err(inner.nothing_for(&claim.moment)) };
            let look = segment.look(&claim.moment);
            if look.is_settled || is_late {
                return look.run(segment);
            }
            is_late = self.grown.wait_until(&mut inner, deadline).timed_out();
        }
    }
}

impl<B, C> Inner<B, C> {
    /// Why no segment holds the moment: all begin after it, or there is none.
    fn nothing_for(&self, moment: &Moment) -> Absent {
        let late = self.segments.front().and_then(|first| first.starts_after(moment));
        late.map_or(Absent::NotPlaying, |late| Absent::Apart { ms: late / NS_A_MS })
    }
}

/// What a segment has for a moment.
struct Look {
    nearest: usize,
    apart_ns: i64,
    /// Nothing nearer will come.
    is_settled: bool,
    is_full: bool,
}

impl<B, C> Segment<B, C> {
    fn starts_after(&self, moment: &Moment) -> Option<i64> {
        let first_ns = self.filled.lock().units.first()?.pts_ns;
        self.clock.lock().moment(first_ns).since(moment)
    }

    fn look(&self, moment: &Moment) -> Look {
        let filled = self.filled.lock();
        let clock = self.clock.lock();
        let later = |unit: &Unit<B>| clock.moment(unit.pts_ns).since(moment).unwrap_or(i64::MAX);
        let all = filled.units.iter().map(later).enumerate();
        let (nearest, apart) = all.clone().min_by_key(|(_, ns)| ns.unsigned_abs()).unwrap_or((0, i64::MAX));
        let has_passed = all.clone().any(|(_, ns)| ns >= PASSED_NS);
        let apart_ns = apart.saturating_abs();
        let is_settled = apart_ns <= NEAR_NS || has_passed || filled.is_closed || filled.is_full;
        Look { nearest, apart_ns, is_settled, is_full: filled.is_full }
    }
}

impl Look {
    fn run<B: Clone, C>(&self, segment: Arc<Segment<B, C>>) -> Result<Run<B, C>, Absent> {
        if self.apart_ns > APART_MAX_NS {
            return Err(if self.is_full { Absent::TooLong } else { Absent::Apart { ms: self.apart_ns / NS_A_MS } });
        }
        let filled = segment.filled.lock();
        let wanted = &filled.units[..=self.nearest];
        let pts_ns = wanted[self.nearest].pts_ns;
        let units = wanted.iter().map(|unit| unit.data.clone()).collect();
        drop(filled);
        Ok(Run { segment, units, pts_ns })
    }
}

impl<B> Filled<B> {
    fn put(&mut self, unit: Unit<B>) -> Put {
        if self.is_full {
            return Put::LeftOut;
        }
        let first_ns = self.units.first().map_or(unit.pts_ns, |first| first.pts_ns);
        if self.bytes + unit.bytes > BYTES_MAX || unit.pts_ns.saturating_sub(first_ns) > SPAN_MAX_NS {
            self.is_full = true;
            return Put::Full;
        }
        self.bytes += unit.bytes;
        self.units.push(unit);
        Put::Kept
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME_NS: u64 = 40_000_000;

    type Words = Ring<u64, ()>;

    /// A stream whose pictures arrive `late_ms` after they were taken, by our clock; the camera tells no time.
    fn clock(late_ms: u64) -> Arc<Mutex<CaptureTime>> {
        let mut capture = CaptureTime::default();
        for second in [0, 10] {
            capture.arrived(second * 1_000_000_000, Duration::from_secs(second) + Duration::from_millis(late_ms));
        }
        Arc::new(Mutex::new(capture))
    }

    fn unit(number: u64) -> Unit<u64> {
        Unit { data: number, bytes: 1000, pts_ns: number * FRAME_NS }
    }

    /// Pictures from..to, a key frame every `every`.
    fn play(ring: &Words, clock: &Arc<Mutex<CaptureTime>>, numbers: std::ops::Range<u64>, every: u64) {
        for number in numbers {
            if number % every == 0 {
                ring.begin(clock, (), unit(number));
            } else {
                ring.put(unit(number));
            }
        }
    }

    fn at(ms: i64) -> Moment {
        Moment::new(None, Some(ms * NS_A_MS))
    }

    fn units(run: Result<Run<u64, ()>, Absent>) -> Vec<u64> {
        run.unwrap_or_else(|absent| panic!("{absent}")).units
    }

    #[test]
    fn a_moment_is_decoded_from_the_key_frame_before_it() {
        let (ring, clock) = (Words::default(), clock(0));
        play(&ring, &clock, 0..60, 25);
        assert_eq!(units(ring.run(&ring.claim(at(25 * 40)))), [25]);
        assert_eq!(units(ring.run(&ring.claim(at(28 * 40 + 19)))), [25, 26, 27, 28]);
        assert_eq!(units(ring.run(&ring.claim(at(50 * 40 - 15)))), [50], "the next key frame is nearer");
        assert_eq!(ring.run(&ring.claim(at(20 * 40))).err(), Some(Absent::Apart { ms: 200 }), "no longer there");
    }

    #[test]
    fn a_claim_keeps_its_pictures_from_going() {
        let (ring, clock) = (Words::default(), clock(0));
        play(&ring, &clock, 0..10, 25);
        let early = ring.claim(at(3 * 40));
        let next = ring.claim(at(26 * 40));
        play(&ring, &clock, 10..200, 25);
        assert_eq!(units(ring.run(&early)), [0, 1, 2, 3]);
        assert_eq!(units(ring.run(&next)), [25, 26], "it moved on to the segment that it lies in");
        let watched = Arc::downgrade(&early.segment.lock().clone().unwrap());
        drop(early);
        assert!(watched.upgrade().is_none(), "and is gone with it");
    }

    #[test]
    fn a_picture_on_its_way_is_waited_for() {
        let (ring, clock) = (Arc::new(Words::default()), clock(0));
        play(&ring, &clock, 0..10, 25);
        let claim = ring.claim(at(12 * 40));
        let other = Arc::clone(&ring);
        let later = std::thread::Builder::new().name("later".into());
        let later = later.spawn(move || play(&other, &clock, 10..14, 25)).unwrap();
        let run = ring.run(&claim);
        later.join().unwrap();
        assert_eq!(units(run).last(), Some(&12));
    }

    #[test]
    fn what_does_not_come_is_absent_and_says_why() {
        let (ring, clock) = (Words::default(), clock(0));
        for ms in 0..1000 {
            assert_eq!(ring.run(&ring.claim(at(ms))).err(), Some(Absent::NotPlaying));
        }
        assert!(ring.inner.lock().claims.len() <= 1, "none is remembered that nobody holds");
        play(&ring, &clock, 0..10, 25);
        assert_eq!(ring.run(&ring.claim(at(400 + 100))).err(), Some(Absent::Apart { ms: 140 }));
        let kept = ring.claim(at(80));
        ring.restart();
        assert_eq!(units(ring.run(&kept)), [0, 1, 2], "what was claimed outlives the connection");
        assert_eq!(ring.run(&ring.claim(at(80))).err(), Some(Absent::NotPlaying));
    }

    #[test]
    fn a_lost_picture_is_replaced_by_its_neighbour() {
        let (ring, clock) = (Words::default(), clock(0));
        play(&ring, &clock, 0..3, 25);
        play(&ring, &clock, 4..12, 25);
        assert_eq!(units(ring.run(&ring.claim(at(3 * 40 + 1)))), [0, 1, 2, 4]);
    }

    #[test]
    fn a_segment_is_bounded_in_bytes_and_in_time() {
        let (ring, clock) = (Words::default(), clock(0));
        ring.begin(&clock, (), unit(0));
        let large = |number| Unit { bytes: BYTES_MAX / 4, ..unit(number) };
        assert_eq!([1, 2, 3].map(|number| ring.put(large(number))), [Put::Kept; 3]);
        assert_eq!([4, 5].map(|number| ring.put(large(number))), [Put::Full, Put::LeftOut]);
        assert_eq!(ring.run(&ring.claim(at(400))).err(), Some(Absent::TooLong));
        assert_eq!(units(ring.run(&ring.claim(at(80)))), [0, 1, 2]);
        play(&ring, &clock, 25..600, 1000);
        ring.begin(&clock, (), unit(600));
        assert_eq!(ring.put(unit(600 + SPAN_MAX_NS / FRAME_NS)), Put::Kept);
        assert_eq!(ring.put(unit(601 + SPAN_MAX_NS / FRAME_NS)), Put::Full);
    }

    #[test]
    fn two_streams_meet_by_the_cameras_clock_where_both_know_it() {
        let reported = |late_ms: u64, ahead_ms: i128| {
            let clock = clock(late_ms);
            let camera_ns = i128::from(NS_A_MS) * (1_750_000_000_000 + ahead_ms);
            let received = crate::domain::UnixMs(1_750_000_000_000 + late_ms as i64);
            clock.lock().note(super::super::capture_time::Reference {
                pts_ns: 0,
                camera_ns,
                received,
                at: Duration::from_millis(late_ms),
            });
            clock
        };
        // The large stream's packets take 90 ms longer.
        let (small, large) = (reported(10, 3_600_000), reported(100, 3_600_000));
        let ring = Words::default();
        play(&ring, &large, 0..20, 25);
        let moment = small.lock().moment(7 * FRAME_NS);
        assert_eq!(units(ring.run(&ring.claim(moment))).last(), Some(&7));
        let by_receipt = Moment::new(None, Some((7 * FRAME_NS) as i64 + 10 * NS_A_MS));
        assert_eq!(units(ring.run(&ring.claim(by_receipt))).last(), Some(&5), "the delay is all that is known");
    }
}
