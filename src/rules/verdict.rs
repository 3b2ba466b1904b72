//! Why a face is not being sent: each verdict with the figures that led to it, in words and as a counter.

use std::fmt;

use crate::domain::{Point, StreamTime};

/// What keeps a tracked face from being sent (again) at this moment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Verdict {
    /// The shorter side is below detection_min_size.
    TooSmall { px: f32, min: f32 },
    /// The longer side is above detection_max_size.
    TooLarge { px: f32, max: f32 },
    /// The box centre lies outside every polygon of target_roi.
    OutsideRoi { center: Point },
    /// Not seen clearly, or not for long: it may be a false alarm.
    Unconfirmed { score: f32, needed: f32 },
    /// face_first_send_threshold is not over.
    WaitingForFirstSend { until: StreamTime },
    /// Gone before face_first_send_threshold was over, and face_must_send_sw is 0.
    LeftBeforeFirstSend { left: StreamTime, due: StreamTime },
    /// Sent, and face_repeat_send_sw is 0.
    RepeatOff,
    /// Sent; the next period's end is to come.
    PeriodNotOver { until: StreamTime },
    /// Sent; a further picture needs a quality above `needed`.
    NotBetter { quality: f32, needed: f32 },
    /// Too faint to begin a track where there is none, or to be sent.
    TooFaint { score: f32, needed: f32 },
    /// A second box on a face that already has one.
    Duplicate,
    /// The tracker is full.
    Crowded,
    /// The detector gave a box that is none (empty, or not finite).
    Malformed,
}

impl Verdict {
    /// All labels, in the order of the tally.
    pub const LABELS: [&'static str; 13] = [
        "too_small",
        "too_large",
        "outside_roi",
        "unconfirmed",
        "waiting_for_first_send",
        "left_before_first_send",
        "repeat_off",
        "period_not_over",
        "not_better",
        "too_faint",
        "duplicate",
        "crowded",
        "malformed",
    ];

    /// For counters: the kind of verdict without its figures.
    pub const fn label(&self) -> &'static str {
        Self::LABELS[self.index()]
    }

    const fn index(&self) -> usize {
        match self {
            Self::TooSmall { .. } => 0,
            Self::TooLarge { .. } => 1,
            Self::OutsideRoi { .. } => 2,
            Self::Unconfirmed { .. } => 3,
            Self::WaitingForFirstSend { .. } => 4,
            Self::LeftBeforeFirstSend { .. } => 5,
            Self::RepeatOff => 6,
            Self::PeriodNotOver { .. } => 7,
            Self::NotBetter { .. } => 8,
            Self::TooFaint { .. } => 9,
            Self::Duplicate => 10,
            Self::Crowded => 11,
            Self::Malformed => 12,
        }
    }

    /// For people: one line with the figures and the name of the setting.
    pub fn explain(&self) -> String {
        self.to_string()
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::TooSmall { px, min } => write!(f, "{px:.0} px is below detection_min_size {min:.0}"),
            Self::TooLarge { px, max } => write!(f, "{px:.0} px is above detection_max_size {max:.0}"),
            Self::OutsideRoi { center } => write!(f, "centre {:.0},{:.0} is outside target_roi", center.x, center.y),
            Self::Unconfirmed { score, needed } => {
                write!(
                    f,
                    "not seen clearly for long, confidence {score:.2} at best; one look is enough from {needed:.2}"
                )
            }
            Self::WaitingForFirstSend { until } => {
                write!(f, "face_first_send_threshold is over at {:.2} s", until.as_secs_f64())
            }
            Self::LeftBeforeFirstSend { left, due } => write!(
                f,
                "left at {:.2} s, before its first sending at {:.2} s, and face_must_send_sw is 0",
                left.as_secs_f64(),
                due.as_secs_f64()
            ),
            Self::RepeatOff => f.write_str("already sent, and face_repeat_send_sw is 0"),
            Self::PeriodNotOver { until } => {
                write!(f, "already sent; this face_repeat_send_interval ends at {:.2} s", until.as_secs_f64())
            }
            Self::NotBetter { quality, needed } => {
                write!(f, "already sent; quality {quality:.2} is not above {needed:.2} (face_repeat_send_step)")
            }
            Self::TooFaint { score, needed } => {
                write!(f, "confidence {score:.2} is below the {needed:.2} that begins a track and may be sent")
            }
            Self::Duplicate => f.write_str("a second box on the same face"),
            Self::Crowded => f.write_str("too many faces are being tracked"),
            Self::Malformed => f.write_str("the detector's box is empty or not finite"),
        }
    }
}

/// Something to know about a track besides its pictures. Written when a verdict's kind changes, not when its
/// figures do.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Note {
    pub track: u64,
    pub at: StreamTime,
    pub what: What,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum What {
    /// From now on this keeps the face from being sent (again).
    Verdict(Verdict),
    /// The track is over, with this many pictures sent; the last verdict says why not more.
    Ended { sent: u32, last: Verdict },
}

/// How often each verdict was given: once for every box of every analysed frame, and once more for a track that
/// left unsent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally([u64; Verdict::LABELS.len()]);

impl Tally {
    pub(super) fn add(&mut self, verdict: &Verdict) {
        self.0[verdict.index()] += 1;
    }

    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
        Verdict::LABELS.into_iter().zip(self.0)
    }

    pub fn of(&self, label: &str) -> u64 {
        self.iter().find(|(name, _)| *name == label).map_or(0, |(_, count)| count)
    }
}
