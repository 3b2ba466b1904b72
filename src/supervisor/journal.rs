//! What the rules see and decide about each track, on its way into the store: collected for a moment and written together, so
//! that analysing costs no sync. A journal that cannot keep up loses entries, counted; it never holds a frame up.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use uuid::Uuid;

use crate::clock;
use crate::domain::{StreamTime, TaskId};
use crate::rules::{Outcome, What};
use crate::store::{Decision, Observation, SeenFace, Store};
use crate::worker::{Picture, Seen, face_id};

const QUEUE: usize = 4096;
/// Written together at most.
const BATCH: usize = 1024;
const COLLECT: Duration = Duration::from_secs(1);

/// Cheap to clone.
#[derive(Clone)]
pub struct Journal(SyncSender<Entry>);

enum Entry {
    Decided(Decision),
    Seen(Observation),
}

impl Journal {
    /// Ends with its last clone.
    pub fn start(store: Store) -> std::io::Result<Self> {
        let (sender, receiver) = sync_channel(QUEUE);
        std::thread::Builder::new().name("journal".to_owned()).spawn(move || write(&store, &receiver))?;
        Ok(Self(sender))
    }

    pub fn note(&self, task: &TaskId, session: Uuid, outcome: &Outcome<Arc<Picture>>) {
        for sending in &outcome.sendings {
            let (reason, seq, quality) = (sending.reason.as_str(), sending.seq, sending.shot.quality.score);
            let taken = sending.shot.at.as_secs_f64();
            let what = format!("sent: {reason}, picture {seq}, taken at {taken:.2} s, quality {quality:.2}");
            self.put(task, face_id(session, sending.track), sending.shot.at, what);
        }
        for note in &outcome.verdicts {
            let what = match note.what {
                What::Verdict(verdict) => format!("{}: {verdict}", verdict.label()),
                What::Ended { sent, last } => format!("left: {sent} pictures sent; {}: {last}", last.label()),
            };
            self.put(task, face_id(session, note.track), note.at, what);
        }
    }

    pub fn seen(&self, task: &TaskId, session: Uuid, seen: &Seen<'_>) {
        let face = |(detection, measure): &(_, crate::rules::Measure)| SeenFace {
            detection: *detection,
            sharpness: measure.sharpness,
            exposure: measure.exposure,
        };
        self.send(Entry::Seen(Observation {
            task_id: task.to_string(),
            session: session.to_string(),
            at: seen.taken_at,
            stream_ns: seen.at.as_nanos(),
            frame_size: seen.frame_size,
            faces: seen.faces.iter().map(face).collect(),
        }));
    }

    fn put(&self, task: &TaskId, face_id: Uuid, at: StreamTime, what: String) {
        let decision = Decision {
            task_id: task.to_string(),
            face_id: face_id.to_string(),
            at: clock::unix_ms(),
            stream_ms: at.as_millis(),
            what,
        };
        self.send(Entry::Decided(decision));
    }

    fn send(&self, entry: Entry) {
        if self.0.try_send(entry).is_err() {
            metrics::counter!("face_edge_dropped_total", "stage" => "journal", "reason" => "behind").increment(1);
        }
    }
}

fn write(store: &Store, entries: &Receiver<Entry>) {
    while let Ok(first) = entries.recv() {
        let until = clock::monotonic() + COLLECT;
        let mut batch = vec![first];
        let mut over = false;
        while batch.len() < BATCH && !over {
            match entries.recv_timeout(until.saturating_duration_since(clock::monotonic())) {
                Ok(entry) => batch.push(entry),
                Err(RecvTimeoutError::Timeout) => break,
                Err(RecvTimeoutError::Disconnected) => over = true,
            }
        }
        let (mut decisions, mut seen) = (Vec::new(), Vec::new());
        for entry in batch {
            match entry {
                Entry::Decided(decision) => decisions.push(decision),
                Entry::Seen(observation) => seen.push(observation),
            }
        }
        if let Err(error) = store.note_tracks(decisions, seen).wait() {
            tracing::warn!(%error, "why faces were sent or not could not be noted");
            metrics::counter!("face_edge_dropped_total", "stage" => "journal", "reason" => "store").increment(1);
        }
    }
}
