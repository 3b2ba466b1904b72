//! A face that is kept: whose it is, until when, where in its picture, and what makes it comparable.

use uuid::Uuid;

use super::detection::Landmarks;
use super::geometry::Rect;
use super::time::UnixMs;

/// Whose a stored face is. Owners of different kinds, and numbers of different spaces, are unrelated.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FaceOwner {
    /// A ticket holder, by the ticket's `lbsbh`.
    Ticket(String),
    /// A person of the directory.
    Person(Uuid),
    /// A person number in a space 0..=9.
    Number { space: u8, number: i64 },
}

/// When a ticket lets its holder in. Expired is what lies before now as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    pub from: UnixMs,
    pub to: UnixMs,
}

impl Validity {
    pub fn is_expired(&self, now: UnixMs) -> bool {
        self.to < now
    }
}

/// What an embedding model says of a face, of length 1: two are compared by their cosine.
#[derive(Clone, PartialEq)]
pub struct Embedding(Box<[f32]>);

impl Embedding {
    /// `None` where the numbers have no direction.
    pub fn of(mut numbers: Vec<f32>) -> Option<Self> {
        let length = numbers.iter().map(|n| f64::from(*n) * f64::from(*n)).sum::<f64>().sqrt();
        if !length.is_finite() || length < 1e-6 {
            return None;
        }
        numbers.iter_mut().for_each(|n| *n = (f64::from(*n) / length) as f32);
        Some(Self(numbers.into()))
    }

    pub fn as_slice(&self) -> &[f32] {
        &self.0
    }
}

impl std::fmt::Debug for Embedding {
    /// Without the numbers: this may end in a log.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Embedding({})", self.0.len())
    }
}

/// A face found in a picture, in that picture's pixels.
#[derive(Debug, Clone, PartialEq)]
pub struct SeenFace {
    pub bbox: Rect,
    /// The detector's confidence, 0..1.
    pub score: f32,
    pub landmarks: Option<Landmarks>,
    /// 0..1, docs/rules.md.
    pub quality: f32,
    /// Absent where no embedding model is installed, or it makes nothing of this face.
    pub embedding: Option<Embedding>,
}

/// A stranger of a picture, or a known person.
#[derive(Debug, Clone, PartialEq)]
pub struct Match {
    pub owner: FaceOwner,
    /// Cosine, −1..1.
    pub similarity: f32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_embedding_has_length_one_or_is_none() {
        assert_eq!(Embedding::of(vec![3.0, 4.0]).unwrap().as_slice(), [0.6, 0.8]);
        for nothing in [vec![], vec![0.0; 4], vec![f32::NAN, 1.0], vec![f32::INFINITY, 1.0]] {
            assert_eq!(Embedding::of(nothing), None);
        }
    }

    #[test]
    fn a_ticket_is_good_up_to_its_last_moment() {
        let validity = Validity { from: UnixMs(5), to: UnixMs(10) };
        assert!(!validity.is_expired(UnixMs(10)) && validity.is_expired(UnixMs(11)));
    }
}
