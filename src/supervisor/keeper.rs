//! The supervisor's thread and all that it owns: the channels that run, the tasks that wait, the ones that end.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::sync::oneshot;

use super::Duties;
use super::address::{self, Address, AddressError};
use super::folder::TaskFolder;
use super::inbox::{Inbox, Mail};
use super::journal::Journal;
use super::plan::{Action, plan};
use super::room::Room;
use super::running::{Ending, Running, Waiting, WaitsFor};
use super::telemetry;
use super::words::faulty;
use crate::channel::Site;
use crate::clock;
use crate::domain::{Source, Task, TaskId};
use crate::media::CameraState;
use crate::memory;
use crate::status::{Noted, State, Status, TaskStatus};
use crate::store::{Actor, Desired, Store, StoreError, TaskError, TaskRow, TaskState};
use crate::task_json::TaskSpec;

const TICK: Duration = Duration::from_secs(2);
/// How long a stopped channel may take to send what its rules still hold.
const DRAIN_LIMIT: Duration = Duration::from_secs(3);
/// After so many tries in vain an address that was asked for may have gone stale: it is asked for again.
const STALE_AFTER_TRIES: u32 = 3;

pub struct Keeper {
    pub(super) site: Site,
    pub(super) store: Store,
    status: Arc<Status>,
    edge_pool_id: String,
    folder: Option<TaskFolder>,
    pub(super) network: Handle,
    pub(super) inbox: Arc<Inbox>,
    pub(super) journal: Journal,
    pub(super) running: BTreeMap<TaskId, Running>,
    pub(super) waiting: BTreeMap<TaskId, Waiting>,
    ending: Vec<Ending>,
    /// Tasks that shall be forgotten.
    deleting: BTreeSet<String>,
    /// Who waits to hear that a task has let go of its camera.
    asked_for: Vec<(TaskId, oneshot::Sender<()>)>,
    /// What is wanted could be read and done; else it is tried again at the next tick.
    agreed: bool,
    pub(super) generation: u64,
    reviewed_at: Option<Instant>,
    pub(super) room: Room,
}

impl Keeper {
    pub fn new(
        site: Site,
        store: Store,
        status: Arc<Status>,
        duties: Duties,
        network: Handle,
        inbox: Arc<Inbox>,
        journal: Journal,
    ) -> Self {
        let Duties { edge_pool_id, task_files, min_analyses_per_second } = duties;
        Self {
            site,
            store,
            status,
            folder: task_files.map(|folder| TaskFolder::new(folder, &edge_pool_id)),
            edge_pool_id,
            network,
            inbox,
            journal,
            running: BTreeMap::new(),
            waiting: BTreeMap::new(),
            ending: Vec::new(),
            deleting: BTreeSet::new(),
            asked_for: Vec::new(),
            agreed: false,
            generation: 0,
            reviewed_at: None,
            room: Room::new(min_analyses_per_second),
        }
    }

    pub fn run(mut self) {
        self.recover();
        loop {
            let mut mail = self.inbox.wait(TICK);
            for (id, generation, state) in &mail.states {
                self.note_camera(id, *generation, state);
            }
            for (id, generation, state) in &mail.main_states {
                self.note_main(id, *generation, state);
            }
            self.note_drained(&mail);
            for answer in std::mem::take(&mut mail.answers) {
                self.note_answer(answer);
            }
            if mail.stopping {
                return self.shut_down();
            }
            let files_changed = self.follow_files();
            if mail.woken || files_changed || !self.agreed {
                self.agreed = true;
                self.agree();
                // A licence may be what was changed.
                self.reviewed_at = None;
            }
            self.look_again();
            self.asked_for.append(&mut mail.releases);
            self.tell_released();
            for running in self.running.values() {
                telemetry::publish(&running.task.id, &running.channel);
            }
        }
    }

    /// Who asked about a task that still runs hears of it later.
    fn tell_released(&mut self) {
        for (id, released) in std::mem::take(&mut self.asked_for) {
            if self.running.contains_key(&id) || self.waiting.contains_key(&id) {
                self.asked_for.push((id, released));
            } else {
                // Whoever asked may have given up waiting.
                let _ = released.send(());
            }
        }
        self.asked_for.retain(|(_, released)| !released.is_closed());
    }

    /// A service that was killed left states and channels behind; nothing runs now.
    fn recover(&self) {
        let states = self.store.recover_tasks().wait();
        let channels = self.store.release_all_channels(&self.site.node_id).wait();
        let files = if self.folder.is_none() { self.store.follow_task_files(Vec::new()).wait() } else { Ok(()) };
        if let Err(error) = states.and(channels).map(drop).and(files) {
            tracing::error!(%error, "what the last run left behind could not be put right");
        }
    }

    fn follow_files(&mut self) -> bool {
        let Some(folder) = &mut self.folder else { return false };
        if !folder.has_changed() {
            return false;
        }
        let store = self.store.by(Actor::local(super::folder::CREATOR));
        if let Err(error) = store.follow_task_files(folder.rows()).wait() {
            tracing::error!(%error, "the folder of task files could not be followed; trying again");
            folder.forget();
        }
        true
    }

    fn agree(&mut self) {
        let desired = match self.desired() {
            Ok(desired) => desired,
            Err(error) => {
                tracing::error!(%error, "the tasks could not be read; what runs goes on");
                self.agreed = false;
                return;
            }
        };
        let running = self.running.iter().map(|(id, running)| (id.clone(), Arc::clone(&running.task)));
        let waiting = self.waiting.iter().map(|(id, waiting)| (id.clone(), Arc::clone(&waiting.task)));
        for action in plan(&desired, &running.chain(waiting).collect()) {
            match action {
                Action::Start(task) => self.admit(task, false),
                Action::Adjust(task) => self.adjust(task),
                Action::Stop(id) => self.stop(&id),
            }
        }
        self.follow_registry();
        for id in std::mem::take(&mut self.deleting) {
            self.forget(&id);
        }
    }

    /// The store's tasks of this pool that shall run and are not over.
    fn desired(&mut self) -> Result<BTreeMap<TaskId, Arc<Task>>, StoreError> {
        let to_run = self.store.tasks_to_run(&self.edge_pool_id).wait()?;
        self.deleting = to_run.deleting.into_iter().collect();
        let mut desired = BTreeMap::new();
        for row in to_run.wanted {
            match stored_task(&row) {
                Some(task) => drop(desired.insert(task.id.clone(), Arc::new(task))),
                None => tracing::error!(task = row.id, "the stored task is not valid any more; update or delete it"),
            }
        }
        Ok(desired)
    }

    /// Cameras whose address was changed are opened anew, those that are gone are let go.
    fn follow_registry(&mut self) {
        let of_registry = |running: &&Running| matches!(running.task.source, Source::Camera { .. });
        let tasks: Vec<_> = self
            .running
            .values()
            .filter(of_registry)
            .map(|running| (Arc::clone(&running.task), running.address.clone()))
            .collect();
        for (task, before) in tasks {
            let now = address::find(&task.source, &self.store);
            let same = matches!(&now, Ok(Address::Known(now)) if *now == before);
            if !same && !matches!(now, Err(AddressError::Store(_))) {
                self.end(&task.id);
                self.launch(task, 0);
            }
        }
    }

    /// The camera is let go of before the row is.
    fn forget(&mut self, id: &str) {
        match self.store.delete_task(id).wait() {
            Ok(_) => {
                TaskId::parse(id).into_iter().for_each(|id| self.status.remove(&id));
                self.site.figures.forget(id);
            }
            Err(error) => {
                tracing::error!(task = id, %error, "a deleted task could not be forgotten; trying again");
                self.agreed = false;
            }
        }
    }

    pub(super) fn let_wait(&mut self, task: Arc<Task>, wait: WaitsFor, status: TaskStatus) {
        self.set_status(&task.id, status);
        self.waiting.insert(task.id.clone(), Waiting { task, wait });
    }

    /// What time alone brings: licences that end or become good, and moments to ask again.
    fn look_again(&mut self) {
        let now = clock::monotonic();
        if self.reviewed_at.is_some_and(|at| now.duration_since(at) < TICK) {
            return;
        }
        self.reviewed_at = Some(now);
        self.review_room(now);
        self.review_licences();
        let due: Vec<_> = self
            .waiting
            .values()
            .filter_map(|waiting| match waiting.wait {
                WaitsFor::Moment { at, tries } if at <= now => Some((Arc::clone(&waiting.task), tries)),
                _ => None,
            })
            .collect();
        for (task, tries) in due {
            self.waiting.remove(&task.id);
            self.launch(task, tries);
        }
    }

    fn adjust(&mut self, task: Arc<Task>) {
        if let Some(waiting) = self.waiting.get_mut(&task.id) {
            waiting.task = task;
            return;
        }
        let Some(running) = self.running.get_mut(&task.id) else { return };
        running.channel.adjust((*task).clone());
        if running.task.rules.roi != task.rules.roi {
            running.roi_size = running.rules_size();
        }
        running.task = Arc::clone(&task);
        if let Some(status) = running.playing() {
            self.set_status(&task.id, status);
        }
    }

    fn stop(&mut self, id: &TaskId) {
        let deleted = self.deleting.contains(id.as_str());
        if !deleted && self.running.contains_key(id) {
            self.set_status(id, TaskStatus::of(State::Stopping));
        }
        self.end(id);
        self.waiting.remove(id);
        self.give_back(id);
        if deleted {
            return;
        }
        // Also not wanted here any more: a task that was given to another pool. It still waits, for another box.
        let wanted = self.store.task(id.as_str()).wait().ok().flatten().map(|row| row.desired);
        let state = if wanted == Some(Desired::Start) { State::Pending } else { State::Stopped };
        self.set_status(id, TaskStatus::of(state));
    }

    /// Lets go of the camera; what the rules still hold is sent.
    pub(super) fn end(&mut self, id: &TaskId) {
        if let Some(mut running) = self.running.remove(id) {
            running.channel.end();
            let deadline = clock::monotonic() + DRAIN_LIMIT;
            self.ending.push(Ending { generation: running.generation, _channel: running.channel, deadline });
        }
    }

    /// The task is over by itself and does not start again until it is changed or started.
    pub(super) fn give_up(&mut self, id: &TaskId, status: TaskStatus) {
        self.running.remove(id);
        self.waiting.remove(id);
        self.give_back(id);
        self.set_status(id, status);
    }

    fn note_camera(&mut self, id: &TaskId, generation: u64, state: &CameraState) {
        let Some(running) = self.running.get_mut(id).filter(|running| running.generation == generation) else { return };
        let status = match state {
            CameraState::Connecting => return,
            CameraState::Playing { width, height, .. } => {
                running.picture_size = Some((*width, *height));
                match running.playing() {
                    Some(status) => status,
                    None => return,
                }
            }
            CameraState::Still { fault } => faulty(State::Abnormal, fault),
            CameraState::Recovering { fault, attempt, .. } => {
                running.picture_size = None;
                let stale = *attempt >= STALE_AFTER_TRIES && matches!(running.task.source, Source::Restful { .. });
                let task = Arc::clone(&running.task);
                self.set_status(id, faulty(State::Recovering, fault));
                if stale {
                    self.end(id);
                    self.launch(task, 1);
                }
                return;
            }
            CameraState::Ended { cut_short } => {
                let over = cut_short.as_ref().map(|fault| TaskStatus::because(State::Succeeded, fault.to_string()));
                running.over = Some(over.unwrap_or(TaskStatus::of(State::Succeeded)));
                return;
            }
            CameraState::Failed { fault } => {
                running.over = Some(faulty(State::Failed, fault));
                return;
            }
        };
        self.set_status(id, status);
    }

    /// A task whose large stream fails goes on with pictures of the small one, and says so.
    fn note_main(&mut self, id: &TaskId, generation: u64, state: &CameraState) {
        let Some(running) = self.running.get_mut(id).filter(|running| running.generation == generation) else { return };
        let Some(main) = &mut running.main else { return };
        main.note(state);
        if let Some(status) = running.playing() {
            self.set_status(id, status);
        }
    }

    fn note_drained(&mut self, mail: &Mail) {
        let now = clock::monotonic();
        let channels = self.running.len() + self.ending.len();
        self.ending.retain(|ending| !mail.drained.contains(&ending.generation) && ending.deadline > now);
        for running in self.running.values_mut() {
            running.drained |= mail.drained.contains(&running.generation);
        }
        let over: Vec<_> = self
            .running
            .values()
            .filter(|running| running.drained)
            .filter_map(|running| Some((running.task.id.clone(), running.over.clone()?)))
            .collect();
        for (id, status) in over {
            self.give_up(&id, status);
        }
        if self.running.len() + self.ending.len() < channels {
            memory::give_back_freed();
        }
    }

    pub(super) fn set_status(&self, id: &TaskId, status: TaskStatus) {
        let state = TaskState {
            name: status.state.as_str().to_owned(),
            error: status.error.clone().map(|(code, message)| TaskError { code, message }),
        };
        if self.status.set(id, status.clone()) == Noted::Same {
            return;
        }
        tracing::info!(task = %id, state = state.name, why = status.why.as_deref(), "task");
        if let Err(error) = self.store.set_task_state(id.as_str(), state).wait() {
            tracing::error!(task = %id, %error, "the task's state could not be stored");
        }
    }

    fn shut_down(mut self) {
        let mut waiting = Vec::new();
        for (_, mut running) in std::mem::take(&mut self.running) {
            running.channel.end();
            waiting.push(running);
        }
        let deadline = clock::monotonic() + DRAIN_LIMIT;
        while !waiting.is_empty() && clock::monotonic() < deadline {
            let mail = self.inbox.wait(Duration::from_millis(100));
            waiting.retain(|running| !mail.drained.contains(&running.generation));
        }
        if let Err(error) = self.store.release_all_channels(&self.site.node_id).wait() {
            tracing::error!(%error, "the channels could not be given back; they are at the next start");
        }
    }
}

fn stored_task(row: &TaskRow) -> Option<Task> {
    TaskSpec::stored_task(&row.body, TaskId::parse(&row.id)?, row.index).ok()
}
