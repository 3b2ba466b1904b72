//! What becomes of a face on its way to the outbox where its task asks for more than sending it: who it is, whether the
//! same person was just sent by another camera, and a ticket's sample for the gates.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use uuid::Uuid;

use crate::api::Faces;
use crate::domain::task::GateBuffer;
use crate::domain::{Embedding, FaceImage, FaceOwner, KnownPerson, Rect, SeenFace, Task, UnixMs, Validity};
use crate::gallery::Circle;
use crate::picture::{Kind, Picture, PictureLimits};
use crate::store::{GateChoice, NewSample, Store, StoreError};

/// Persons that were sent lately; more are forgotten, the oldest first.
const MAX_SIGHTINGS: usize = 4096;
const HOUR: Duration = Duration::from_secs(3600);
/// Of what this box has made itself.
const PICTURES: PictureLimits =
    PictureLimits { min_bytes: 1, max_bytes: 64 << 20, min_side_px: 1, max_side_px: 16_384, kinds: &[Kind::Jpeg] };

pub struct Recogniser {
    faces: Faces,
    store: Store,
    sightings: Mutex<Sightings>,
    warned: AtomicBool,
}

impl Recogniser {
    pub fn new(faces: Faces, store: Store) -> Self {
        Self { faces, store, sightings: Mutex::default(), warned: AtomicBool::new(false) }
    }

    /// `None`: the same person was sent just now. Blocks for as long as looking at a small picture takes.
    pub fn treat(&self, task: &Task, mut face: FaceImage) -> Option<FaceImage> {
        let (rules, quiet) = (&task.rules, task.rules.same_person_quiet);
        let wants_person = rules.recognize_person || !quiet.is_zero();
        if !wants_person && task.outputs.gate_buffer.is_none() {
            return Some(face);
        }
        let seen = self.look(&face, wants_person);
        if let Some(embedding) = seen.embedding.as_ref()
            && let Some(recognition) = self.faces.eyes.recognition()
        {
            if !quiet.is_zero() {
                let mut sightings = self.sightings.lock();
                if sightings.is_again(face.face_id, embedding, recognition.threshold, face.taken_at, quiet) {
                    metrics::counter!("face_edge_same_person_total").increment(1);
                    return None;
                }
            }
            if rules.recognize_person {
                face.person = self.known(embedding, recognition.threshold);
            }
        } else if wants_person && self.faces.eyes.recognition().is_none() && !self.warned.swap(true, Ordering::Relaxed)
        {
            tracing::warn!(task = %task.id, "a task asks who persons are, but no embedding model is installed");
        }
        if let Some(output) = &task.outputs.gate_buffer
            && let Err(error) = self.enrol(output, &face, seen)
        {
            metrics::counter!("face_edge_enrol_failures_total").increment(1);
            tracing::error!(task = %task.id, %error, "a face could not be enrolled for the gates");
        }
        Some(face)
    }

    /// The face of its own picture; without a better answer, the whole picture.
    fn look(&self, face: &FaceImage, embed: bool) -> SeenFace {
        let whole = SeenFace {
            bbox: Rect::default(),
            score: face.confidence,
            landmarks: None,
            quality: face.quality,
            embedding: None,
        };
        let Ok(picture) = Picture::decode(&face.jpeg, &PICTURES) else { return whole };
        let (width, height) = picture.size();
        let whole = SeenFace { bbox: Rect::new(0.0, 0.0, width as f32, height as f32), ..whole };
        match self.faces.eyes.look(&picture, embed) {
            Ok(faces) => {
                let largest = faces.into_iter().max_by(|a, b| a.bbox.area().total_cmp(&b.bbox.area()));
                largest.map_or(whole, |found| SeenFace { quality: face.quality, ..found })
            }
            Err(error) => {
                tracing::error!(error, "a face's picture could not be looked at");
                whole
            }
        }
    }

    fn known(&self, embedding: &Embedding, threshold: f32) -> Option<KnownPerson> {
        let best = self.faces.gallery.best(Circle::Persons, embedding).filter(|best| best.similarity >= threshold)?;
        match best.owner {
            FaceOwner::Person(id) => Some(KnownPerson { id, similarity: best.similarity }),
            FaceOwner::Ticket(_) | FaceOwner::Number { .. } => None,
        }
    }

    /// Unless a better picture of this track is there.
    fn enrol(&self, output: &GateBuffer, face: &FaceImage, seen: SeenFace) -> Result<(), StoreError> {
        let lbsbh = face.face_id.simple().to_string();
        if self.store.ticket(&lbsbh).wait()?.is_some_and(|there| there.seen.quality >= face.quality) {
            return Ok(());
        }
        let sample = self.store.sealed(NewSample {
            owner: FaceOwner::Ticket(lbsbh),
            face: String::new(),
            seen: SeenFace { embedding: None, ..seen },
            picture: face.jpeg.to_vec(),
            model: None,
            validity: Some(Validity { from: face.taken_at, to: face.taken_at + HOUR * output.valid_hours }),
            recognition_model: None,
            user_data: None,
        })?;
        let choice = match output.gates.as_slice() {
            [] => GateChoice::All,
            gates => GateChoice::Some(gates.to_vec()),
        };
        let put = self.store.put_ticket(sample, choice, face.taken_at).wait()?;
        put.map_err(|gatenum| StoreError::Other { detail: format!("there is no gate {gatenum}") })
    }
}

/// Whom the box has sent lately, by face and by track.
#[derive(Default)]
struct Sightings(VecDeque<Sighting>);

struct Sighting {
    track: Uuid,
    embedding: Embedding,
    at: UnixMs,
}

impl Sightings {
    /// False, and noted, where this person was not sent by another track within `quiet`.
    fn is_again(&mut self, track: Uuid, embedding: &Embedding, threshold: f32, at: UnixMs, quiet: Duration) -> bool {
        let alike = |other: &Embedding| {
            other.as_slice().iter().zip(embedding.as_slice()).map(|(a, b)| a * b).sum::<f32>() >= threshold
        };
        let recent = |sighting: &&Sighting| (at.0 - sighting.at.0).unsigned_abs() < quiet.as_millis() as u64;
        if self.0.iter().rev().filter(recent).any(|other| other.track != track && alike(&other.embedding)) {
            return true;
        }
        self.0.retain(|sighting| sighting.track != track);
        if self.0.len() >= MAX_SIGHTINGS {
            self.0.pop_front();
        }
        self.0.push_back(Sighting { track, embedding: embedding.clone(), at });
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_person_is_held_back_for_a_while_on_every_camera() {
        let mut sightings = Sightings::default();
        let ann = Embedding::of(vec![1.0, 0.1, 0.0]).unwrap();
        let ann_again = Embedding::of(vec![1.0, 0.0, 0.1]).unwrap();
        let bob = Embedding::of(vec![0.0, 1.0, 0.0]).unwrap();
        let quiet = Duration::from_secs(60);
        let mut is_again = |track: u128, who: &Embedding, at_s: i64| {
            sightings.is_again(Uuid::from_u128(track), who, 0.8, UnixMs(at_s * 1000), quiet)
        };
        assert!(!is_again(1, &ann, 0), "the first time");
        assert!(is_again(2, &ann_again, 30), "on another camera");
        assert!(!is_again(2, &bob, 30), "somebody else");
        assert!(!is_again(1, &ann, 50), "the same track goes on, by its own rules");
        assert!(is_again(3, &ann_again, 70), "counted from the last sending");
        assert!(!is_again(3, &ann_again, 110));
    }

    #[test]
    fn memory_is_bounded() {
        let mut sightings = Sightings::default();
        for track in 0..2 * MAX_SIGHTINGS as u128 {
            let who = Embedding::of(vec![track as f32, 1.0]).unwrap();
            sightings.is_again(Uuid::from_u128(track), &who, 2.0, UnixMs(0), HOUR);
        }
        assert_eq!(sightings.0.len(), MAX_SIGHTINGS);
    }
}
