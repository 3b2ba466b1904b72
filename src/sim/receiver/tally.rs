//! What has arrived so far: counts, duplicates, order within tracks, and the latest pictures. Bounded, however long
//! it runs: of the messages themselves only the newest are remembered.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::hash::Hash;

use serde::Serialize;

use super::verify::Checked;
use crate::domain::UnixMs;

/// Messages and tracks that are remembered.
const REMEMBERED: usize = 100_000;
/// Pictures that the page shows.
const PICTURES: usize = 24;
/// Problems whose words are kept; all are counted.
const PROBLEMS: usize = 20;

/// One message that was taken.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Received {
    #[serde(skip)]
    pub at: UnixMs,
    pub message_id: String,
    /// A whole frame otherwise.
    pub is_face: bool,
    pub task_id: String,
    pub stream_id: String,
    pub track: Option<String>,
    pub seq: Option<u64>,
    pub reason: Option<String>,
    pub quality: Option<f64>,
    /// Of the face's box, in pixels of the frame.
    pub face_size: Option<(i64, i64)>,
    /// From the picture to its receipt.
    pub delay_ms: Option<i64>,
    /// It had been taken before.
    pub duplicate: bool,
    /// A later one of the same track was taken before it.
    pub out_of_order: bool,
    pub problems: Vec<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Summary {
    /// Messages taken, duplicates not counted.
    pub faces: u64,
    pub origin_images: u64,
    pub tracks: u64,
    pub duplicates: u64,
    pub out_of_order: u64,
    /// Messages with something wrong in them.
    pub bad: u64,
    /// Requests that were not taken because of a fault on demand.
    pub refused: u64,
    pub mean_delay_ms: Option<i64>,
    pub max_delay_ms: Option<i64>,
    /// The first few.
    pub problems: Vec<String>,
}

impl Summary {
    /// At least one face, and nothing wrong.
    pub fn is_good(&self) -> bool {
        self.faces > 0 && self.bad == 0 && self.out_of_order == 0
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} faces of {} tracks, {} whole frames", self.faces, self.tracks, self.origin_images)?;
        write!(f, "; {} duplicates, {} out of order, {} bad", self.duplicates, self.out_of_order, self.bad)?;
        if self.refused > 0 {
            write!(f, ", {} refused on demand", self.refused)?;
        }
        if let (Some(mean), Some(max)) = (self.mean_delay_ms, self.max_delay_ms) {
            write!(f, "; delay from picture to receipt {mean} ms on average, {max} ms at most")?;
        }
        self.problems.iter().try_for_each(|problem| write!(f, "\n  {problem}"))
    }
}

pub struct Picture {
    pub received: Received,
    pub jpeg: Vec<u8>,
}

#[derive(Default)]
pub struct Tally {
    pub messages: VecDeque<Received>,
    pub pictures: VecDeque<Picture>,
    seen: Recent<String, ()>,
    last_seq: Recent<String, u64>,
    total_delay_ms: i64,
    delays: i64,
    summary: Summary,
}

impl Tally {
    pub fn take(&mut self, checked: Checked, at: UnixMs) -> Received {
        let received = self.judge(&checked, at);
        self.count(&received);
        if self.messages.len() >= REMEMBERED {
            self.messages.pop_front();
        }
        self.messages.push_back(received.clone());
        if checked.picture_size.is_some() && !received.duplicate {
            self.pictures.truncate(PICTURES - 1);
            self.pictures.push_front(Picture { received: received.clone(), jpeg: checked.picture });
        }
        received
    }

    pub fn refuse(&mut self) {
        self.summary.refused += 1;
    }

    /// A request that was not signed as it should be.
    pub fn reject(&mut self, problem: String) {
        self.summary.bad += 1;
        if self.summary.problems.len() < PROBLEMS {
            self.summary.problems.push(problem);
        }
    }

    pub fn summary(&self) -> Summary {
        let mean_delay_ms = (self.delays > 0).then(|| self.total_delay_ms / self.delays);
        Summary { mean_delay_ms, ..self.summary.clone() }
    }

    fn judge(&mut self, checked: &Checked, at: UnixMs) -> Received {
        let duplicate = self.seen.put(checked.message_id.clone(), ()).is_some();
        let mut out_of_order = false;
        if let (Some(track), Some(seq), false) = (&checked.track, checked.seq, duplicate) {
            let last = self.last_seq.get(track).copied();
            if last.is_none() {
                self.summary.tracks += 1;
            }
            out_of_order = last.is_some_and(|last| last >= seq);
            self.last_seq.put(track.clone(), seq.max(last.unwrap_or(0)));
        }
        Received {
            at,
            message_id: checked.message_id.clone(),
            is_face: checked.is_face,
            task_id: checked.task_id.clone(),
            stream_id: checked.stream_id.clone(),
            track: checked.track.clone(),
            seq: checked.seq,
            reason: checked.reason.clone(),
            quality: checked.quality,
            face_size: checked.face_size,
            delay_ms: checked.timestamp_ms.map(|taken| at.0 - taken),
            duplicate,
            out_of_order,
            problems: checked.problems.clone(),
        }
    }

    fn count(&mut self, received: &Received) {
        let summary = &mut self.summary;
        summary.bad += u64::from(!received.problems.is_empty());
        summary.out_of_order += u64::from(received.out_of_order);
        let room = PROBLEMS.saturating_sub(summary.problems.len());
        summary.problems.extend(received.problems.iter().take(room).cloned());
        if received.duplicate {
            summary.duplicates += 1;
            return;
        }
        if received.is_face {
            summary.faces += 1;
        } else {
            summary.origin_images += 1;
        }
        if let Some(delay) = received.delay_ms {
            self.total_delay_ms += delay;
            self.delays += 1;
            summary.max_delay_ms = summary.max_delay_ms.max(Some(delay));
        }
    }
}

/// A map that forgets its oldest keys.
struct Recent<K, V> {
    map: HashMap<K, V>,
    order: VecDeque<K>,
}

impl<K, V> Default for Recent<K, V> {
    fn default() -> Self {
        Self { map: HashMap::new(), order: VecDeque::new() }
    }
}

impl<K: Clone + Eq + Hash, V> Recent<K, V> {
    fn get(&self, key: &K) -> Option<&V> {
        self.map.get(key)
    }

    fn put(&mut self, key: K, value: V) -> Option<V> {
        let before = self.map.insert(key.clone(), value);
        if before.is_none() {
            self.order.push_back(key);
            if self.order.len() > REMEMBERED
                && let Some(oldest) = self.order.pop_front()
            {
                self.map.remove(&oldest);
            }
        }
        before
    }
}
