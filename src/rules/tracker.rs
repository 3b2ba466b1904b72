//! Which boxes of successive frames are the same face.
//!
//! Two rounds after ByteTrack (Zhang et al., 2022): clear detections are shared out among all tracks first, then the
//! faint ones among the tracks still without, so that a turned or half covered head keeps its track while faint boxes
//! begin none. Where ByteTrack compares by overlap alone, which fails once a face moves by its own size between two
//! analyses, a pair costs a mixture of overlap, distance in face sizes and ratio of sizes, within gates that widen
//! with the doubt about where the face is. Ages are stream time, never frames.

use std::time::Duration;

use crate::domain::{Detection, Rect, StreamTime};

use super::appearance::{Appearance, Looks};
use super::assign::{Costs, assign};
use super::evidence::Evidence;
use super::kalman::{Motion, size};
use super::verdict::Verdict;

/// How long a track lives on unseen. Half as long again as the second that it has to survive.
pub const PATIENCE: Duration = Duration::from_millis(1500);
/// Where analyses are far apart, a face may be missed in two of them, within this limit.
const PATIENCE_MAX: Duration = Duration::from_secs(10);
/// More faces than any picture of a camera holds at a useful size; bounds memory.
const TRACKS_MAX: usize = 256;

/// Gates, in face sizes: never narrower, and never wider, for a face of unknown speed and for one of known speed.
const GATE_MIN: f32 = 1.2;
const GATE_MAX_NEW: f32 = 3.5;
const GATE_MAX: f32 = 2.5;
/// Innovations within three deviations are the same face.
const GATE_DEVIATIONS: f32 = 3.0;
/// A face's size may change by this factor from one analysis to the next, and by the second one ever.
const RATIO_MAX: f32 = 1.5;
const RATIO_MAX_UNSEEN: f32 = 2.0;
/// Faint boxes are compared in a gate this much narrower.
const FAINT_GATE: f32 = 0.6;
/// Hands before a face and prints on clothes reach half-way now and then, but not two thirds.
const SURE: f32 = 2.0 / 3.0;
/// Boxes that share this much of their union, or of the smaller one, are one face.
const SAME_UNION: f32 = 0.5;
const SAME_SMALLER: f32 = 0.75;
/// The cost of leaving a track alone. Low enough that a face which is right where it is expected is not handed to a
/// hidden neighbour for the sake of one pair more; high enough for a long step without any overlap.
const APART: f32 = 0.75;

/// One face through time, with what the caller remembers about it.
pub(super) struct Track<T> {
    pub id: u64,
    motion: Motion,
    pub last_seen: StreamTime,
    /// How many frames it was seen in.
    hits: u32,
    pub best_score: f32,
    /// Since when this counts as a face rather than a possible false alarm.
    pub confirmed_at: Option<StreamTime>,
    evidence: Evidence,
    /// Its box in the present frame.
    pub seen: Option<Detection>,
    looks: Looks,
    pub memory: T,
}

/// A face of the present frame that is to get a track.
struct Candidate {
    detection: Detection,
    appearance: Option<Appearance>,
}

pub(super) struct Tracker<T> {
    pub tracks: Vec<Track<T>>,
    next_id: u64,
    new_track_score: f32,
    last: Option<StreamTime>,
    /// The time between the two observations before this one.
    cadence: Option<Duration>,
}

impl<T: Default> Tracker<T> {
    pub fn new(new_track_score: f32) -> Self {
        Self { tracks: Vec::new(), next_id: 1, new_track_score, last: None, cadence: None }
    }

    pub fn new_track_score(&self) -> f32 {
        self.new_track_score
    }

    /// A look this clear needs no further one: two thirds of the way from what begins a track to certainty.
    pub fn sure_score(&self) -> f32 {
        self.new_track_score + (1.0 - self.new_track_score) * SURE
    }

    /// How long a track lives on unseen, as analyses come at present. A first gap is believed to be the cadence.
    fn patience(&self) -> Duration {
        self.cadence.map_or(PATIENCE_MAX, |cadence| cadence.mul_f32(2.5).clamp(PATIENCE, PATIENCE_MAX))
    }

    /// Takes out the tracks that have been unseen for too long at `now`, each with the moment it left at.
    pub fn leave(&mut self, now: StreamTime) -> Vec<(Track<T>, StreamTime)> {
        let patience = self.patience();
        self.tracks
            .extract_if(.., |track| track.last_seen + patience < now)
            .map(|track| {
                let left = track.last_seen + patience;
                (track, left)
            })
            .collect()
    }

    /// Takes out all tracks and forgets the time; ids go on.
    pub fn reset(&mut self) -> Vec<Track<T>> {
        (self.last, self.cadence) = (None, None);
        std::mem::take(&mut self.tracks)
    }

    /// Gives each detection to a track, old or new. `aside` hears about those that go to none.
    pub fn observe(
        &mut self,
        now: StreamTime,
        detections: &[Detection],
        mut appearance: impl FnMut(&Detection) -> Option<Appearance>,
        mut aside: impl FnMut(Verdict),
    ) {
        self.step_to(now);
        let candidate = |detection| Candidate { detection, appearance: appearance(&detection) };
        let mut clear: Vec<Candidate> = distinct(detections, &mut aside).into_iter().map(candidate).collect();
        let faint = clear.split_off(clear.partition_point(|it| it.detection.score >= self.new_track_score));
        let left_over = self.share_out(now, clear, 1.0);
        for faint in self.share_out(now, faint, FAINT_GATE) {
            aside(Verdict::TooFaint { score: faint.detection.score, needed: self.new_track_score });
        }
        for newcomer in left_over {
            if self.tracks.len() < TRACKS_MAX {
                self.begin(now, newcomer);
            } else {
                aside(Verdict::Crowded);
            }
        }
        let (clear_score, sure_score) = (self.new_track_score, self.sure_score());
        self.tracks.iter_mut().for_each(|track| track.weigh_evidence(now, clear_score, sure_score));
    }

    fn step_to(&mut self, now: StreamTime) {
        let step = self.last.map(|last| now - last);
        for track in &mut self.tracks {
            track.seen = None;
            track.motion.advance(step.unwrap_or_default().as_secs_f32());
        }
        if step.is_some_and(|step| !step.is_zero()) {
            self.cadence = step;
        }
        self.last = Some(now);
    }

    /// Gives candidates to the tracks not seen yet in this frame; returns those that fit none.
    fn share_out(&mut self, now: StreamTime, candidates: Vec<Candidate>, narrowing: f32) -> Vec<Candidate> {
        let clear_score = self.new_track_score;
        let mut open: Vec<&mut Track<T>> = self.tracks.iter_mut().filter(|track| track.seen.is_none()).collect();
        let gates: Vec<Gate> = open.iter().map(|track| track.gate(now, narrowing)).collect();
        let costs =
            Costs::new(open.len(), candidates.len(), |t, c| match gates[t].cost(&candidates[c].detection.bbox) {
                cost if cost < APART && open[t].is_another(&candidates[c], now) => APART,
                cost => cost,
            });
        let mut track_of = vec![None; candidates.len()];
        for (row, column) in assign(&costs).into_iter().enumerate() {
            if let Some(column) = column.filter(|&column| costs.at(row, column) < APART) {
                track_of[column] = Some(row);
            }
        }
        let mut left_over = Vec::new();
        for (candidate, row) in candidates.into_iter().zip(track_of) {
            match row {
                Some(row) => open[row].see(now, candidate, clear_score),
                None => left_over.push(candidate),
            }
        }
        left_over
    }

    fn begin(&mut self, now: StreamTime, candidate: Candidate) {
        let Candidate { detection, appearance } = candidate;
        let mut looks = Looks::default();
        appearance.into_iter().for_each(|look| looks.remember(look));
        self.tracks.push(Track {
            id: self.next_id,
            motion: Motion::new(&detection.bbox),
            last_seen: now,
            hits: 1,
            best_score: detection.score,
            confirmed_at: None,
            evidence: Evidence::default(),
            seen: Some(detection),
            looks,
            memory: T::default(),
        });
        self.next_id += 1;
    }
}

impl<T> Track<T> {
    fn see(&mut self, now: StreamTime, candidate: Candidate, clear_score: f32) {
        let Candidate { detection, appearance } = candidate;
        self.motion.correct(&detection.bbox);
        // A frame given twice is still one look.
        self.hits += u32::from(now > self.last_seen);
        self.last_seen = now;
        self.best_score = self.best_score.max(detection.score);
        self.seen = Some(detection);
        // A faint box may be half a hand.
        if let Some(look) = appearance.filter(|_| detection.score >= clear_score) {
            self.looks.remember(look);
        }
    }

    fn weigh_evidence(&mut self, now: StreamTime, clear_score: f32, sure_score: f32) {
        if self.confirmed_at.is_some() {
            return;
        }
        let score = self.seen.map(|detection| detection.score);
        self.evidence.look(now, score.is_some_and(|score| score >= clear_score));
        if self.evidence.is_enough(now) || score.is_some_and(|score| score >= sure_score) {
            self.confirmed_at = Some(now);
        }
    }

    fn is_another(&self, candidate: &Candidate, now: StreamTime) -> bool {
        let present = candidate.appearance.as_ref();
        present.is_some_and(|present| self.looks.are_of_another(present, now - self.last_seen))
    }

    fn gate(&self, now: StreamTime, narrowing: f32) -> Gate {
        let unseen = (now - self.last_seen).as_secs_f32();
        let widest = if self.hits < 2 { GATE_MAX_NEW } else { GATE_MAX };
        let distance = (GATE_DEVIATIONS * self.motion.uncertainty()).clamp(GATE_MIN, widest) * narrowing;
        let ratio = (RATIO_MAX + 0.5 * unseen).min(RATIO_MAX_UNSEEN).ln();
        Gate { expected: self.motion.bbox(), distance, ratio, staleness: (unseen / PATIENCE.as_secs_f32()).min(1.0) }
    }
}

/// Where a track's next box may be.
struct Gate {
    expected: Rect,
    /// Between centres, in sizes of the larger of the two boxes.
    distance: f32,
    /// Of |ln| of the ratio of sizes.
    ratio: f32,
    /// 0 for a face seen a moment ago, 1 for one about to be given up.
    staleness: f32,
}

impl Gate {
    /// 0 for the same box again, `APART` for what cannot be this face.
    fn cost(&self, bbox: &Rect) -> f32 {
        let (own, other) = (size(&self.expected), size(bbox));
        let (here, there) = (self.expected.center(), bbox.center());
        let distance = (here.x - there.x).hypot(here.y - there.y) / own.max(other);
        let ratio = (own / other).ln().abs();
        if distance > self.distance || ratio > self.ratio {
            return APART;
        }
        let overlap = 0.45 * (1.0 - self.expected.iou(bbox));
        // Staleness weighs only where two tracks want one box: the one seen last has the better claim.
        (overlap + 0.2 * distance / GATE_MAX_NEW + 0.1 * ratio + 0.1 * self.staleness).min(APART)
    }
}

/// Each face once, best first.
fn distinct(given: &[Detection], aside: &mut impl FnMut(Verdict)) -> Vec<Detection> {
    let mut sorted: Vec<&Detection> = Vec::with_capacity(given.len());
    for detection in given {
        if is_box(detection) { sorted.push(detection) } else { aside(Verdict::Malformed) }
    }
    sorted.sort_by(|a, b| b.score.total_cmp(&a.score));
    let mut kept: Vec<Detection> = Vec::with_capacity(sorted.len());
    for detection in sorted {
        if kept.iter().any(|better| same_face(&better.bbox, &detection.bbox)) {
            aside(Verdict::Duplicate);
        } else {
            kept.push(*detection);
        }
    }
    kept
}

fn is_box(detection: &Detection) -> bool {
    let Rect { x, y, w, h } = detection.bbox;
    [x, y, w, h, detection.score].into_iter().all(f32::is_finite) && w > 0.0 && h > 0.0
}

fn same_face(a: &Rect, b: &Rect) -> bool {
    a.iou(b) > SAME_UNION || a.intersect(b).area() > SAME_SMALLER * a.area().min(b.area())
}
