//! What the supervisor is told, by whom it must never wait for. Nobody who puts something in waits: of a camera's
//! states the newest stays, everything else is a flag or a set, so memory is bounded by the number of channels.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use tokio::sync::oneshot;

use crate::clock;
use crate::deliver::ResolveError;
use crate::domain::TaskId;
use crate::media::CameraState;

#[derive(Default)]
pub struct Inbox {
    mail: Mutex<Kept>,
    arrived: Condvar,
}

#[derive(Default)]
struct Kept {
    states: BTreeMap<(TaskId, u64), CameraState>,
    main_states: BTreeMap<(TaskId, u64), CameraState>,
    drained: BTreeSet<u64>,
    answers: Vec<Answer>,
    releases: Vec<(TaskId, oneshot::Sender<()>)>,
    woken: bool,
    stopping: bool,
}

/// What a server said that was asked for a task's address; one at most for each question that is open.
pub struct Answer {
    pub id: TaskId,
    pub generation: u64,
    pub address: Result<String, ResolveError>,
}

/// Everything since the last look.
pub struct Mail {
    pub states: Vec<(TaskId, u64, CameraState)>,
    /// Of the large streams of cameras that have two.
    pub main_states: Vec<(TaskId, u64, CameraState)>,
    /// Generations of channels whose analysis has nothing left.
    pub drained: BTreeSet<u64>,
    pub answers: Vec<Answer>,
    pub releases: Vec<(TaskId, oneshot::Sender<()>)>,
    pub woken: bool,
    pub stopping: bool,
}

impl Inbox {
    pub fn wake(&self) {
        self.put(|kept| kept.woken = true);
    }

    pub fn stop(&self) {
        self.put(|kept| kept.stopping = true);
    }

    pub fn state(&self, id: TaskId, generation: u64, state: CameraState) {
        self.put(|kept| drop(kept.states.insert((id, generation), state)));
    }

    pub fn main_state(&self, id: TaskId, generation: u64, state: CameraState) {
        self.put(|kept| drop(kept.main_states.insert((id, generation), state)));
    }

    pub fn drained(&self, generation: u64) {
        self.put(|kept| {
            kept.drained.insert(generation);
        });
    }

    pub fn answer(&self, id: TaskId, generation: u64, address: Result<String, ResolveError>) {
        self.put(|kept| kept.answers.push(Answer { id, generation, address }));
    }

    /// Answered once the store has been looked at again and this task has no camera.
    pub fn release(&self, id: TaskId) -> oneshot::Receiver<()> {
        let (sender, receiver) = oneshot::channel();
        self.put(|kept| {
            kept.releases.push((id, sender));
            kept.woken = true;
        });
        receiver
    }

    /// Waits for something to arrive, at most for `limit`.
    pub fn wait(&self, limit: Duration) -> Mail {
        let deadline = clock::monotonic() + limit;
        let mut kept = self.mail.lock();
        while kept.is_empty() && !self.arrived.wait_until(&mut kept, deadline).timed_out() {}
        let Kept { states, main_states, drained, answers, releases, woken, stopping } = std::mem::take(&mut *kept);
        let listed = |states: BTreeMap<(TaskId, u64), CameraState>| {
            states.into_iter().map(|((id, generation), state)| (id, generation, state)).collect()
        };
        Mail { states: listed(states), main_states: listed(main_states), drained, answers, releases, woken, stopping }
    }

    fn put(&self, change: impl FnOnce(&mut Kept)) {
        change(&mut self.mail.lock());
        self.arrived.notify_one();
    }
}

impl Kept {
    fn is_empty(&self) -> bool {
        let nothing = self.states.is_empty()
            && self.main_states.is_empty()
            && self.drained.is_empty()
            && self.releases.is_empty();
        nothing && self.answers.is_empty() && !self.woken && !self.stopping
    }
}
