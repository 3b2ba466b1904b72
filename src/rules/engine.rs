//! The rules of one stream: detections of one frame after the other in, pictures to send and reasons out.
//!
//! What happens depends on the sequence of stream times and detections alone. Memory is bounded: a number of tracks,
//! and one picture for each that waits for something.

use std::sync::Arc;
use std::time::Duration;

use crate::domain::{Detection, Reason, Rules, StreamTime};

use super::appearance::Appearance;
use super::filter::rejection;
use super::ledger::{Ledger, Look};
use super::measure::Measure;
use super::quality::Quality;
use super::tracker::{Track, Tracker};
use super::verdict::{Note, Tally, Verdict, What};

/// A clock that goes back by less than this is held still; by more, and it is a new stream.
const BACKWARDS_MAX: Duration = Duration::from_secs(1);

/// What the rules ask of the present frame. The pixels stay outside.
pub trait View {
    type Picture;

    /// Width and height in pixels.
    fn frame_size(&self) -> (f32, f32);

    /// How the face looks in this frame, so that whoever takes someone's place in a cut gets a track of their own.
    /// `None`: go by the boxes alone.
    fn appearance(&mut self, _face: &Detection) -> Option<Appearance> {
        None
    }

    /// Asked for faces that pass the filter and may be sent.
    fn measure(&mut self, face: &Detection) -> Measure;

    /// The face's picture out of this frame; asked when it is the best so far or is to be sent.
    fn cut(&mut self, face: &Detection) -> Self::Picture;
}

/// A picture of a face and what is known about it.
#[derive(Debug, Clone, PartialEq)]
pub struct Shot<P> {
    pub at: StreamTime,
    pub detection: Detection,
    pub quality: Quality,
    pub picture: P,
}

/// A picture that is to leave now.
#[derive(Debug, Clone, PartialEq)]
pub struct Sending<P> {
    pub track: u64,
    /// Counts this track's pictures, from 1.
    pub seq: u32,
    pub reason: Reason,
    pub shot: Shot<P>,
}

/// What one observation led to.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome<P> {
    /// Of one track in the order of time; tracks that left come first.
    pub sendings: Vec<Sending<P>>,
    pub verdicts: Vec<Note>,
}

impl<P> Default for Outcome<P> {
    fn default() -> Self {
        Self { sendings: Vec::new(), verdicts: Vec::new() }
    }
}

/// The state of one stream. `P` is whatever stands for a picture.
pub struct Engine<P> {
    rules: Arc<Rules>,
    rules_since: StreamTime,
    tracker: Tracker<Ledger<P>>,
    /// The latest observation.
    last: Option<StreamTime>,
    tally: Tally,
}

impl<P> Engine<P> {
    /// Detections from `new_track_score` begin tracks and may be sent; fainter ones only continue tracks.
    pub fn new(rules: Arc<Rules>, new_track_score: f32) -> Self {
        Self {
            rules,
            rules_since: StreamTime::ZERO,
            tracker: Tracker::new(new_track_score),
            last: None,
            tally: Tally::default(),
        }
    }

    /// From the next observation on. The tracks live on, and what was sent stays sent.
    pub fn set_rules(&mut self, rules: Arc<Rules>) {
        self.rules = rules;
        self.rules_since = self.last.unwrap_or_default();
        for track in &mut self.tracker.tracks {
            track.memory.set_rules(&self.rules, self.rules_since);
        }
    }

    /// All detections of the frame shown at `now`, those below `new_track_score` included. To be called for every
    /// analysed frame, also without detections: time passes by it.
    pub fn observe<V: View<Picture = P>>(
        &mut self,
        now: StreamTime,
        detections: &[Detection],
        view: &mut V,
    ) -> Outcome<P> {
        let mut outcome = self.restart_if_back(now);
        // A picture of a moment that has been settled would count into an interval that is over.
        let fresh = self.last.is_none_or(|last| now > last);
        let now = self.last.map_or(now, |last| now.max(last));
        self.last = Some(now);
        for (track, left) in self.tracker.leave(now) {
            self.end(track, left, &mut outcome);
        }
        let tally = &mut self.tally;
        self.tracker.observe(now, detections, |face| view.appearance(face), |verdict| tally.add(&verdict));
        let scores = Scores::of(&self.tracker);
        for track in &mut self.tracker.tracks {
            let look = look(&self.rules, self.rules_since, track, scores);
            let seen = track.seen.as_ref().filter(|_| fresh);
            track.memory.observe(look, now, seen, view, &mut outcome.sendings);
            let verdict = judge(look, track, scores);
            if track.seen.is_some() {
                self.tally.add(&verdict);
            }
            if track.memory.verdict.is_none_or(|told| told.label() != verdict.label()) {
                outcome.verdicts.push(Note { track: track.id, at: now, what: What::Verdict(verdict) });
            }
            track.memory.verdict = Some(verdict);
        }
        outcome
    }

    /// The stream is over: every track leaves. The engine can begin anew after it.
    pub fn finish(&mut self, now: StreamTime) -> Outcome<P> {
        let now = self.last.take().map_or(now, |last| now.max(last));
        let mut outcome = Outcome::default();
        for (track, left) in self.tracker.leave(now) {
            self.end(track, left, &mut outcome);
        }
        for track in self.tracker.reset() {
            self.end(track, now, &mut outcome);
        }
        outcome.sendings.sort_by_key(|sending| sending.track);
        self.rules_since = StreamTime::ZERO;
        outcome
    }

    /// How often each verdict was given, since the beginning.
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    /// How many faces are being tracked.
    pub fn tracks(&self) -> usize {
        self.tracker.tracks.len()
    }

    fn restart_if_back(&mut self, now: StreamTime) -> Outcome<P> {
        match self.last {
            Some(last) if now + BACKWARDS_MAX < last => self.finish(last),
            _ => Outcome::default(),
        }
    }

    fn end(&mut self, mut track: Track<Ledger<P>>, left: StreamTime, outcome: &mut Outcome<P>) {
        let scores = Scores::of(&self.tracker);
        let look = look(&self.rules, self.rules_since, &track, scores);
        let last = track.memory.leave(look, left, &mut outcome.sendings);
        let last = last.unwrap_or_else(|| unconfirmed(&track, scores));
        if let Verdict::LeftBeforeFirstSend { .. } = last {
            self.tally.add(&last);
        }
        let what = What::Ended { sent: track.memory.sent(), last };
        outcome.verdicts.push(Note { track: track.id, at: left, what });
    }
}

/// The model's scores that matter here.
#[derive(Clone, Copy)]
struct Scores {
    clear: f32,
    sure: f32,
}

impl Scores {
    fn of<T: Default>(tracker: &Tracker<T>) -> Self {
        Self { clear: tracker.new_track_score(), sure: tracker.sure_score() }
    }
}

fn look<'a, P>(rules: &'a Rules, rules_since: StreamTime, track: &Track<Ledger<P>>, scores: Scores) -> Look<'a> {
    Look { track: track.id, rules, rules_since, confirmed_at: track.confirmed_at, clear_score: scores.clear }
}

/// What keeps this track from being sent (again) in this frame. A face that is out of sight keeps its last verdict,
/// until that has been overtaken by its first sending.
fn judge<P>(look: Look, track: &Track<Ledger<P>>, scores: Scores) -> Verdict {
    let standing = |score: f32| {
        track.memory.standing(look).unwrap_or_else(|| match track.confirmed_at {
            Some(_) => Verdict::TooFaint { score, needed: scores.clear },
            None => unconfirmed(track, scores),
        })
    };
    match (&track.seen, track.memory.verdict) {
        (Some(detection), _) => rejection(look.rules, &detection.bbox).unwrap_or_else(|| standing(detection.score)),
        (None, Some(told)) if !matches!(told, Verdict::WaitingForFirstSend { .. }) => told,
        (None, _) => standing(track.best_score),
    }
}

fn unconfirmed<P>(track: &Track<Ledger<P>>, scores: Scores) -> Verdict {
    Verdict::Unconfirmed { score: track.best_score, needed: scores.sure }
}
