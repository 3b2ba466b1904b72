//! What one track has sent, what it holds ready, and when the next sending falls due.
//!
//! Moments are exact: a picture belongs to the interval that it was taken in, whenever the frame after it arrives. So
//! at each observation, what fell due *before* it is settled first, then its picture is weighed, then what is due *at*
//! it is settled. Intervals include their end.

use std::time::Duration;

use crate::domain::{Detection, Reason, Repeat, Rules, StreamTime};

use super::engine::{Sending, Shot, View};
use super::filter::rejection;
use super::quality::Quality;
use super::verdict::Verdict;

pub(super) struct Ledger<P> {
    /// The first detection that passed the filter.
    first_reportable: Option<StreamTime>,
    /// The best picture of the present interval.
    best: Option<Shot<P>>,
    sent: Option<Sent>,
    /// The last verdict told.
    pub verdict: Option<Verdict>,
}

struct Sent {
    count: u32,
    /// When the first sending fell due: periods are counted from here.
    since: StreamTime,
    /// The end of the present period.
    period_end: StreamTime,
    /// Of the picture last sent.
    quality: f32,
    /// Of the face as last weighed.
    present_quality: f32,
}

/// What the ledger needs to know of the track in this moment.
#[derive(Clone, Copy)]
pub(super) struct Look<'a> {
    pub track: u64,
    pub rules: &'a Rules,
    /// When these rules took effect: nothing falls due by them before that.
    pub rules_since: StreamTime,
    /// Since when the track counts as a face.
    pub confirmed_at: Option<StreamTime>,
    /// A fainter detection continues the track but is no picture of it.
    pub clear_score: f32,
}

impl<P> Default for Ledger<P> {
    fn default() -> Self {
        Self { first_reportable: None, best: None, sent: None, verdict: None }
    }
}

impl<P> Ledger<P> {
    pub fn sent(&self) -> u32 {
        self.sent.as_ref().map_or(0, |sent| sent.count)
    }

    /// Settles what was due before `now`, weighs the picture of `now`, settles what is due at `now`.
    pub fn observe<V: View<Picture = P>>(
        &mut self,
        look: Look,
        now: StreamTime,
        seen: Option<&Detection>,
        view: &mut V,
        out: &mut Vec<Sending<P>>,
    ) {
        self.settle(look, Until::Before(now), out);
        if let Some(detection) = seen
            && detection.score >= look.clear_score
            && rejection(look.rules, &detection.bbox).is_none()
        {
            self.first_reportable.get_or_insert(now);
            self.weigh(look, now, detection, view, out);
        }
        self.settle(look, Until::At(now), out);
    }

    /// Settles all up to the moment of leaving, and the sending that face_must_send_sw asks for. Returns the verdict
    /// with which the track ends.
    pub fn leave(&mut self, look: Look, left: StreamTime, out: &mut Vec<Sending<P>>) -> Option<Verdict> {
        self.settle(look, Until::At(left), out);
        if self.sent.is_none()
            && let Some(due) = self.first_due(look)
        {
            if !look.rules.must_send {
                return Some(Verdict::LeftBeforeFirstSend { left, due });
            }
            self.send_first(look, Reason::Must, left, out);
        }
        self.after_sending(look.rules).or(self.verdict)
    }

    /// New rules for a living track: what was sent stays sent, a picture that may no longer be sent is let go, and
    /// the present period is counted by the new interval.
    pub fn set_rules(&mut self, rules: &Rules, now: StreamTime) {
        let without_use = self.sent.is_some() && !matches!(rules.repeat, Repeat::Period { .. });
        let refused = |shot: &Shot<P>| rejection(rules, &shot.detection.bbox).is_some();
        self.best.take_if(|shot| without_use || refused(shot));
        if self.best.is_none() && self.sent.is_none() {
            self.first_reportable = None;
        }
        if let Some(sent) = &mut self.sent
            && let Repeat::Period { interval } = rules.repeat
        {
            sent.period_end = Until::At(now).next_end(sent.since, interval);
        }
    }

    /// What keeps a face that passes the filter from being sent (again); `None` while it is not confirmed, or there is
    /// no picture of it.
    pub fn standing(&self, look: Look) -> Option<Verdict> {
        let waiting = || self.first_due(look).map(|until| Verdict::WaitingForFirstSend { until });
        self.after_sending(look.rules).or_else(waiting)
    }

    /// The verdict of a face that has been sent.
    pub fn after_sending(&self, rules: &Rules) -> Option<Verdict> {
        self.sent.as_ref().map(|sent| match rules.repeat {
            Repeat::Off => Verdict::RepeatOff,
            Repeat::Period { .. } => Verdict::PeriodNotOver { until: sent.period_end },
            Repeat::QualityStep { step } => {
                Verdict::NotBetter { quality: sent.present_quality, needed: step * sent.quality }
            }
        })
    }

    /// When the first sending falls due, once there is something to send.
    fn first_due(&self, look: Look) -> Option<StreamTime> {
        let due = self.first_reportable? + look.rules.first_send_after;
        self.best.as_ref()?;
        Some(due.max(look.confirmed_at?).max(look.rules_since))
    }

    fn settle(&mut self, look: Look, until: Until, out: &mut Vec<Sending<P>>) {
        if self.sent.is_none()
            && let Some(due) = self.first_due(look).filter(|due| until.covers(*due))
        {
            self.send_first(look, Reason::First, due, out);
        }
        let Repeat::Period { interval } = look.rules.repeat else { return };
        let Some(sent) = self.sent.as_mut().filter(|sent| until.covers(sent.period_end)) else { return };
        sent.period_end = until.next_end(sent.since, interval);
        if let Some(shot) = self.best.take() {
            out.push(sent.next(look.track, Reason::Period, shot));
        }
    }

    fn send_first(&mut self, look: Look, reason: Reason, since: StreamTime, out: &mut Vec<Sending<P>>) {
        let Some(shot) = self.best.take() else { return };
        let period_end = match look.rules.repeat {
            Repeat::Period { interval } => Until::At(since).next_end(since, interval),
            _ => since,
        };
        let quality = shot.quality.score;
        let mut sent = Sent { count: 0, since, period_end, quality, present_quality: quality };
        out.push(sent.next(look.track, reason, shot));
        self.sent = Some(sent);
    }

    /// Keeps the picture when it is the best of its interval, sends it when it is a step better than the last.
    fn weigh<V: View<Picture = P>>(
        &mut self,
        look: Look,
        now: StreamTime,
        detection: &Detection,
        view: &mut V,
        out: &mut Vec<Sending<P>>,
    ) {
        if self.sent.is_some() && look.rules.repeat == Repeat::Off {
            return;
        }
        let quality = Quality::of(detection, view.measure(detection), view.frame_size());
        let take = |view: &mut V| Shot { at: now, detection: *detection, quality, picture: view.cut(detection) };
        match (&mut self.sent, look.rules.repeat) {
            (Some(sent), Repeat::QualityStep { step }) => {
                sent.present_quality = quality.score;
                if quality.score > step * sent.quality {
                    out.push(sent.next(look.track, Reason::QualityStep, take(view)));
                }
            }
            _ if self.best.as_ref().is_none_or(|best| quality.score > best.quality.score) => {
                self.best = Some(take(view));
            }
            _ => {}
        }
    }
}

impl Sent {
    fn next<P>(&mut self, track: u64, reason: Reason, shot: Shot<P>) -> Sending<P> {
        self.count += 1;
        self.quality = shot.quality.score;
        Sending { track, seq: self.count, reason, shot }
    }
}

/// How far to settle.
#[derive(Clone, Copy)]
enum Until {
    Before(StreamTime),
    At(StreamTime),
}

impl Until {
    fn covers(self, due: StreamTime) -> bool {
        match self {
            Self::Before(limit) => due < limit,
            Self::At(limit) => due <= limit,
        }
    }

    /// The first period's end that is not covered. Periods are counted from `since`.
    fn next_end(self, since: StreamTime, interval: Duration) -> StreamTime {
        let interval = u64::try_from(interval.as_nanos()).unwrap_or(u64::MAX).max(1);
        let periods = match self {
            Self::Before(limit) => (limit.as_nanos().saturating_sub(since.as_nanos())).div_ceil(interval),
            Self::At(limit) => limit.as_nanos().saturating_sub(since.as_nanos()) / interval + 1,
        };
        StreamTime::from_nanos(since.as_nanos().saturating_add(interval.saturating_mul(periods)))
    }
}
