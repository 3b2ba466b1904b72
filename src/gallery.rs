//! Who is this? Exact search by cosine over every stored embedding.
//!
//! All embeddings lie in memory: on the disk they are sealed, so there is nothing that could be mapped. Beside its
//! numbers each row has them as bytes, a quarter of the memory to walk through; the error that this makes is known for
//! each row, so a row is looked at in full only if it may still be the best. The answer is that of a full search.

use std::collections::{BTreeMap, HashMap};

use parking_lot::RwLock;

use crate::domain::{Embedding, FaceOwner, Match};
use uuid::Uuid;

/// Whom a face is compared with: owners of one kind, of one space.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Circle {
    Persons,
    Space(u8),
}

impl Circle {
    /// Ticket holders are in none: gates recognise them, not this box.
    fn of(owner: &FaceOwner) -> Option<Self> {
        match owner {
            FaceOwner::Ticket(_) => None,
            FaceOwner::Person(_) => Some(Self::Persons),
            FaceOwner::Number { space, .. } => Some(Self::Space(*space)),
        }
    }
}

/// Every stored embedding of one model.
#[derive(Default)]
pub struct Gallery {
    circles: RwLock<HashMap<Circle, Rows>>,
}

impl Gallery {
    /// In place of the one that is there for this face.
    pub fn put(&self, owner: &FaceOwner, face: &str, embedding: &Embedding) {
        let Some(circle) = Circle::of(owner) else { return };
        let mut circles = self.circles.write();
        circles.entry(circle).or_default().put((owner.clone(), face.to_owned()), embedding);
    }

    pub fn forget(&self, owner: &FaceOwner, face: &str) {
        self.change(owner, |rows| rows.forget(&(owner.clone(), face.to_owned())));
    }

    pub fn forget_owner(&self, owner: &FaceOwner) {
        self.change(owner, |rows| rows.forget_owner(owner));
    }

    fn change(&self, owner: &FaceOwner, change: impl FnOnce(&mut Rows)) {
        if let Some(circle) = Circle::of(owner)
            && let Some(rows) = self.circles.write().get_mut(&circle)
        {
            change(rows);
        }
    }

    pub fn forget_space(&self, space: u8) {
        self.circles.write().remove(&Circle::Space(space));
    }

    pub fn len(&self, circle: Circle) -> usize {
        self.circles.read().get(&circle).map_or(0, |rows| rows.keys.len())
    }

    pub fn is_empty(&self, circle: Circle) -> bool {
        self.len(circle) == 0
    }

    /// The most similar face of a circle, whatever its similarity; of equal ones the first that is met.
    pub fn best(&self, circle: Circle, embedding: &Embedding) -> Option<Match> {
        self.circles.read().get(&circle)?.best(embedding)
    }
}

type Key = (FaceOwner, String);

#[derive(Default)]
struct Rows {
    width: usize,
    keys: Vec<Key>,
    places: BTreeMap<Key, usize>,
    /// `width` a row.
    numbers: Vec<f32>,
    /// The numbers in steps of `scales`, rounded.
    bytes: Vec<i8>,
    scales: Vec<f32>,
    /// How far the rounded row lies from the row.
    errors: Vec<f32>,
}

impl Rows {
    fn put(&mut self, key: Key, embedding: &Embedding) {
        let row = embedding.as_slice();
        if self.keys.is_empty() {
            self.width = row.len();
        }
        if row.len() != self.width {
            return;
        }
        self.forget(&key);
        let rounded = Rounded::of(row);
        self.numbers.extend_from_slice(row);
        self.bytes.extend_from_slice(&rounded.bytes);
        self.scales.push(rounded.scale);
        self.errors.push(rounded.error);
        self.places.insert(key.clone(), self.keys.len());
        self.keys.push(key);
    }

    /// The last row takes the place.
    fn forget(&mut self, key: &Key) {
        let Some(place) = self.places.remove(key) else { return };
        let (last, width) = (self.keys.len() - 1, self.width);
        self.numbers.copy_within(last * width..(last + 1) * width, place * width);
        self.bytes.copy_within(last * width..(last + 1) * width, place * width);
        // What is cut off below stays in memory otherwise.
        self.numbers[last * width..].fill(0.0);
        self.bytes[last * width..].fill(0);
        self.numbers.truncate(last * width);
        self.bytes.truncate(last * width);
        self.scales.swap_remove(place);
        self.errors.swap_remove(place);
        self.keys.swap_remove(place);
        if let Some(moved) = self.keys.get(place) {
            self.places.insert(moved.clone(), place);
        }
    }

    fn forget_owner(&mut self, owner: &FaceOwner) {
        let from = (owner.clone(), String::new());
        let keys: Vec<Key> =
            self.places.range(from..).map(|(key, _)| key).take_while(|key| key.0 == *owner).cloned().collect();
        keys.iter().for_each(|key| self.forget(key));
    }

    fn best(&self, embedding: &Embedding) -> Option<Match> {
        let wanted = embedding.as_slice();
        if wanted.len() != self.width || self.keys.is_empty() {
            return None;
        }
        let rounded = Rounded::of(wanted);
        let steps: Vec<i16> = rounded.bytes.iter().map(|&step| i16::from(step)).collect();
        let (mut best, mut best_similarity) = (0, f32::NEG_INFINITY);
        for (place, row) in self.bytes.chunks_exact(self.width).enumerate() {
            let rough = dot_steps(&steps, row) as f32 * rounded.scale * self.scales[place];
            // |q·x − q̂·x̂| ≤ |q − q̂|·|x| + |q̂|·|x − x̂|, with |x| = 1 and |q̂| ≤ 1 + |q − q̂|.
            let most = rough + rounded.error + (1.0 + rounded.error) * self.errors[place] + 1e-5;
            if most > best_similarity {
                let similarity = dot(wanted, &self.numbers[place * self.width..][..self.width]);
                if similarity > best_similarity {
                    (best, best_similarity) = (place, similarity);
                }
            }
        }
        Some(Match { owner: self.keys[best].0.clone(), similarity: best_similarity })
    }
}

/// A row in steps of its largest number's 127th part.
struct Rounded {
    bytes: Vec<i8>,
    scale: f32,
    /// Distance to the row.
    error: f32,
}

impl Rounded {
    fn of(row: &[f32]) -> Self {
        let largest = row.iter().fold(0f32, |most, n| most.max(n.abs()));
        let scale = if largest > 0.0 { largest / 127.0 } else { 1.0 };
        let bytes: Vec<i8> = row.iter().map(|n| (n / scale).round() as i8).collect();
        let squares = row.iter().zip(&bytes).map(|(n, step)| (n - f32::from(*step) * scale).powi(2));
        let error = squares.sum::<f32>().sqrt();
        Self { bytes, scale, error }
    }
}

fn dot_steps(a: &[i16], b: &[i8]) -> i32 {
    a.iter().zip(b).map(|(&a, &b)| i32::from(a) * i32::from(i16::from(b))).sum()
}

/// In sixteen sums side by side, so that the compiler makes vector code of it.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    const LANES: usize = 16;
    let (a_chunks, a_rest) = a.as_chunks::<LANES>();
    let (b_chunks, b_rest) = b.as_chunks::<LANES>();
    let mut sums = [0f32; LANES];
    for (a, b) in a_chunks.iter().zip(b_chunks) {
        for lane in 0..LANES {
            sums[lane] += a[lane] * b[lane];
        }
    }
    sums.iter().sum::<f32>() + a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum::<f32>()
}

/// The name of a match in messages and answers: a person's UUID, a ticket's number, `person<N>`.
pub fn shown(owner: &FaceOwner) -> String {
    match owner {
        FaceOwner::Ticket(lbsbh) => lbsbh.clone(),
        FaceOwner::Person(id) => Uuid::to_string(id),
        FaceOwner::Number { number, .. } => format!("person{number}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};

    fn random(chance: &mut StdRng, width: usize) -> Embedding {
        Embedding::of((0..width).map(|_| chance.random_range(-1.0f32..1.0)).collect()).unwrap()
    }

    fn number(number: i64) -> FaceOwner {
        FaceOwner::Number { space: 3, number }
    }

    #[test]
    fn the_answer_is_that_of_a_full_search() {
        for width in [1, 7, 128, 512] {
            let mut chance = StdRng::seed_from_u64(width as u64);
            let gallery = Gallery::default();
            let all: Vec<_> = (0..500).map(|_| random(&mut chance, width)).collect();
            for (index, embedding) in all.iter().enumerate() {
                gallery.put(&number(index as i64), "", embedding);
            }
            for _ in 0..50 {
                let wanted = random(&mut chance, width);
                let full = |e: &Embedding| dot(e.as_slice(), wanted.as_slice());
                let most = all.iter().map(full).fold(f32::MIN, f32::max);
                let found = gallery.best(Circle::Space(3), &wanted).unwrap();
                assert_eq!(found.similarity, most, "of width {width}");
            }
        }
    }

    #[test]
    fn what_is_forgotten_is_not_found_and_the_rest_is() {
        let mut chance = StdRng::seed_from_u64(1);
        let gallery = Gallery::default();
        let faces: Vec<_> = (0..60).map(|n| (number(n / 3), format!("{}", n % 3), random(&mut chance, 32))).collect();
        for (owner, face, embedding) in &faces {
            gallery.put(owner, face, embedding);
        }
        let someone = FaceOwner::Person(Uuid::nil());
        gallery.put(&someone, "", &faces[0].2);
        gallery.put(&FaceOwner::Ticket("T".into()), "", &faces[0].2);
        gallery.forget(&number(5), "1");
        gallery.forget_owner(&number(7));
        assert_eq!(gallery.len(Circle::Space(3)), 56);
        for (owner, face, embedding) in &faces {
            let gone = *owner == number(7) || (*owner == number(5) && face == "1");
            let found = gallery.best(Circle::Space(3), embedding).unwrap();
            assert_eq!(found.similarity < 0.9999, gone, "{owner:?} {face}");
            assert!(gone || found.owner == *owner);
        }
        gallery.forget_space(3);
        assert_eq!(gallery.best(Circle::Space(3), &faces[0].2), None);
        assert_eq!(gallery.best(Circle::Persons, &faces[0].2).unwrap().owner, someone);
    }

    #[test]
    fn embeddings_of_another_width_are_no_match() {
        let gallery = Gallery::default();
        gallery.put(&number(1), "", &Embedding::of(vec![1.0, 0.0]).unwrap());
        gallery.put(&number(2), "", &Embedding::of(vec![1.0, 0.0, 0.0]).unwrap());
        assert_eq!(gallery.len(Circle::Space(3)), 1);
        assert_eq!(gallery.best(Circle::Space(3), &Embedding::of(vec![1.0, 0.0, 0.0]).unwrap()), None);
    }
}
