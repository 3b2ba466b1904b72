//! What the store offers of messages and their deliveries: the outbox, its ledger, and why tracks were sent or not.

use std::sync::Arc;

use super::call::Call;
use super::decisions::{self, Decision};
use super::erasure::{self, Erasure};
use super::fsck::Findings;
use super::ledger::{self, DeliveryQuery, DeliveryRow, OutputRow, Purge, Revive};
use super::moment::Moment;
use super::observations::{self, Observation};
use super::outbox::{self, Attempt, Claim, DeliveryId, Enqueued, OutputId, Totals};
use super::writer::Op;
use super::{BoxKeys, OutputTarget, Store, body, box_keys, claim, picture_files};
use crate::clock;
use crate::domain::{Message, UnixMs};

impl Store {
    /// One transaction: message, picture and a delivery for each output. From its answer on nothing is lost.
    pub fn enqueue(&self, message: &Message, outputs: &[OutputTarget]) -> Call<Enqueued> {
        self.enqueue_at(message, outputs, self.now())
    }

    /// With the caller's time.
    pub fn enqueue_at(&self, message: &Message, outputs: &[OutputTarget], now: impl Into<Moment>) -> Call<Enqueued> {
        let limits = self.inner.limits;
        let picture_in_file = !outputs.is_empty() && message.jpeg().len() > limits.picture_in_row_bytes;
        let new = outbox::NewMessage {
            message: message.clone(),
            body: body::write(message),
            outputs: outputs.to_vec(),
            now: now.into(),
            picture_in_file,
        };
        let call = self.write(|reply| Op::Enqueue { message: Box::new(new), limits, reply });
        if !picture_in_file {
            return call;
        }
        let (dir, id, jpeg) = (self.inner.dir.clone(), message.id(), Arc::clone(message.jpeg()));
        call.after(Box::new(move || Ok(picture_files::write(&dir, id, &jpeg)?)))
    }

    /// Takes what is due, so many an output that at most `per_output` of it are claimed at once.
    pub fn claim_due(&self, now: impl Into<Moment>, per_output: usize) -> Call<Claim> {
        let now = now.into();
        self.write(|reply| Op::Claim { now, per_output, reply })
    }

    /// False, and nothing done, where the delivery is not claimed (any more).
    pub fn record(&self, attempt: Attempt) -> Call<bool> {
        self.write(|reply| Op::Record { attempt, reply })
    }

    /// Ends what is too old and forgets what was finished long ago, a batch a call: again while it answers not 0.
    pub fn trim(&self, now: impl Into<Moment>) -> Call<u64> {
        let now = now.into();
        let limits = self.inner.limits;
        self.write(|reply| Op::Trim { now, limits, reply })
    }

    pub fn totals(&self) -> Call<Totals> {
        self.read(outbox::totals)
    }

    pub fn deliveries(&self, query: DeliveryQuery) -> Call<Vec<DeliveryRow>> {
        self.read(move |c| ledger::list(c, &query))
    }

    pub fn delivery(&self, id: DeliveryId) -> Call<Option<DeliveryRow>> {
        self.read(move |c| ledger::show(c, id))
    }

    /// Sends dead deliveries again, those that still have their picture. Answers how many.
    pub fn revive(&self, which: Revive, now: impl Into<Moment>) -> Call<u64> {
        let now = now.into();
        self.write(|reply| Op::Revive { which, now, reply })
    }

    /// Every output that messages have been stored for, of one project's tasks or of all.
    pub fn outputs(&self, project_id: Option<&str>) -> Call<Vec<OutputRow>> {
        let (project_id, now) = (project_id.map(str::to_owned), self.now().up);
        self.read(move |c| ledger::outputs(c, project_id.as_deref(), now))
    }

    /// An output that was switched off is tried again. False where it was not.
    pub fn enable_output(&self, id: OutputId) -> Call<bool> {
        self.write(|reply| Op::EnableOutput { id, reply })
    }

    /// Looks for what does not fit together, and mends it when asked to.
    pub fn fsck(&self, mend: bool) -> Call<Findings> {
        self.write(|reply| Op::Fsck { mend, now: clock::unix_ms(), reply })
    }

    /// The picture of a message whose receiver may fetch it now.
    pub fn picture_to_fetch(&self, message_id: &str, now: UnixMs) -> Call<Option<Arc<[u8]>>> {
        let message_id = message_id.to_owned();
        self.read(move |c| claim::picture_to_fetch(c, &message_id, now))
    }

    /// `None` before the service's first start.
    pub fn box_keys(&self) -> Call<Option<BoxKeys>> {
        self.read(box_keys::read)
    }

    /// What was erased because of its age, newest first.
    pub fn erasures(&self, limit: u32) -> Call<Vec<Erasure>> {
        self.read(move |c| erasure::list(c, limit))
    }

    /// What the rules decided about tracks, and what they decided it from. Only the newest are kept.
    pub fn note_tracks(&self, decisions: Vec<Decision>, seen: Vec<Observation>) -> Call<()> {
        let now = self.now().up;
        self.write(|reply| Op::NoteTracks { decisions, seen, now, reply })
    }

    /// All that is known of what a task saw, in order.
    pub fn observations(&self, task_id: &str) -> Call<Vec<Observation>> {
        let task_id = task_id.to_owned();
        self.read(move |c| observations::list(c, &task_id))
    }

    /// The newest decisions about a task's tracks, or about one of them, in their order.
    pub fn decisions(&self, task_id: &str, face_id: Option<&str>, limit: u32) -> Call<Vec<Decision>> {
        let (task_id, face_id) = (task_id.to_owned(), face_id.map(str::to_owned));
        self.read(move |c| decisions::list(c, &task_id, face_id.as_deref(), limit))
    }

    /// Forgets finished messages. Answers how many.
    pub fn purge(&self, which: Purge) -> Call<u64> {
        self.write(|reply| Op::Purge { which, reply })
    }
}
