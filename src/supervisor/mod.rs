//! Makes what runs agree with what is wanted. The control plane changes desired state only; cameras start and stop
//! here and nowhere else.
//!
//! One thread owns all channels. It wakes when the API or a camera has something to say, and at every tick looks
//! into the folder of task files.

mod folder;
mod inbox;
mod plan;
mod telemetry;

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use uuid::Uuid;

use crate::api::Control;
use crate::channel::{Channel, Site};
use crate::clock;
use crate::domain::{Source, Task, TaskId};
use crate::media::{CameraState, Fault, FaultKind, Pace};
use crate::status::{Noted, State, Status, TaskStatus};
use crate::store::{Desired, Store, StoreError, TaskError, TaskQuery, TaskRow, TaskState};
use crate::task_json::{TaskSpec, check_roi_in_frame};
use folder::TaskFolder;
use inbox::{Inbox, Mail};
use plan::{Action, plan};
use telemetry::Telemetry;

const TICK: Duration = Duration::from_secs(2);
/// How long a stopped channel may take to send what its rules still hold.
const DRAIN_LIMIT: Duration = Duration::from_secs(3);

pub struct Supervisor {
    inbox: Arc<Inbox>,
    thread: JoinHandle<()>,
}

/// The API's end of it.
pub struct Remote(Arc<Inbox>);

impl Control for Remote {
    fn wake(&self) {
        self.0.wake();
    }

    fn released(&self, id: &TaskId) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let released = self.0.release(id.clone());
        // An error means that the supervisor is gone, and with it every camera.
        Box::pin(async move { released.await.unwrap_or_default() })
    }
}

impl Supervisor {
    pub fn start(
        site: Site,
        store: Store,
        status: Arc<Status>,
        task_files: Option<std::path::PathBuf>,
    ) -> std::io::Result<Self> {
        let inbox = Arc::new(Inbox::default());
        inbox.wake();
        let keeper = Keeper {
            site,
            store,
            status,
            folder: task_files.map(TaskFolder::new),
            inbox: Arc::clone(&inbox),
            running: BTreeMap::new(),
            finished: BTreeMap::new(),
            ending: Vec::new(),
            generation: 0,
        };
        let thread = std::thread::Builder::new().name("supervisor".to_owned()).spawn(move || keeper.run())?;
        Ok(Self { inbox, thread })
    }

    pub fn remote(&self) -> Arc<dyn Control> {
        Arc::new(Remote(Arc::clone(&self.inbox)))
    }

    /// Ends every channel and returns when what they held has been sent.
    pub fn stop(self) {
        self.inbox.stop();
        if self.thread.join().is_err() {
            tracing::error!("the supervisor had panicked");
        }
    }
}

struct Keeper {
    site: Site,
    store: Store,
    status: Arc<Status>,
    folder: Option<TaskFolder>,
    inbox: Arc<Inbox>,
    running: BTreeMap<TaskId, Running>,
    /// Tasks of the folder that are over; they start again when their file changes.
    finished: BTreeMap<TaskId, Arc<Task>>,
    ending: Vec<Ending>,
    generation: u64,
}

struct Running {
    task: Arc<Task>,
    channel: Channel,
    generation: u64,
    /// How its file ended, once it has; the channel stays until it is drained.
    over: Option<TaskStatus>,
    drained: bool,
}

/// Its camera is gone; its rules may still have something to send.
struct Ending {
    generation: u64,
    /// Kept for its slot in the mailbox.
    _channel: Channel,
    deadline: Instant,
}

impl Keeper {
    fn run(mut self) {
        loop {
            let mail = self.inbox.wait(TICK);
            for (id, generation, state) in mail.states.iter() {
                self.note_camera(id, *generation, state);
            }
            self.note_drained(&mail);
            if mail.stopping {
                return self.shut_down();
            }
            if mail.woken || self.folder.as_mut().is_some_and(TaskFolder::has_changed) {
                self.agree();
            }
            for (id, released) in mail.releases {
                // Whoever asked may have given up waiting.
                let _ = if self.running.contains_key(&id) { Ok(()) } else { released.send(()) };
            }
            for running in self.running.values() {
                telemetry::publish(&running.task.id, &running.channel);
            }
        }
    }

    fn agree(&mut self) {
        let desired = match self.desired() {
            Ok(desired) => desired,
            Err(error) => {
                tracing::error!(%error, "the tasks could not be read; what runs goes on");
                return;
            }
        };
        let running = self.running.iter().map(|(id, running)| (id.clone(), Arc::clone(&running.task))).collect();
        for action in plan(&desired, &running) {
            match action {
                Action::Start(task) => self.start(task),
                Action::Adjust(task) => self.adjust(task),
                Action::Stop(id) => self.stop(&id),
            }
        }
    }

    /// The store's tasks that shall run and are not over, and those of the folder.
    fn desired(&mut self) -> Result<BTreeMap<TaskId, Arc<Task>>, StoreError> {
        let everything = TaskQuery { limit: u32::MAX, ..TaskQuery::default() };
        let (_, rows) = self.store.tasks(everything).wait()?;
        let mut desired = BTreeMap::new();
        for row in rows.into_iter().filter(wants_to_run) {
            match stored_task(&row) {
                Some(task) => drop(desired.insert(task.id.clone(), Arc::new(task))),
                None => tracing::error!(task = row.id, "the stored task is not valid any more; update or delete it"),
            }
        }
        if let Some(folder) = &mut self.folder {
            let files = folder.tasks();
            self.finished.retain(|id, over| files.get(id) == Some(over));
            desired.extend(files.into_iter().filter(|(id, _)| !self.finished.contains_key(id)));
        }
        Ok(desired)
    }

    fn start(&mut self, task: Arc<Task>) {
        self.generation += 1;
        let generation = self.generation;
        self.set_status(&task.id, TaskStatus::of(State::Starting));
        let Source::Url { url } = &task.source else {
            let why = "inputs of type edgecamera, edgerestful and vcn are not available yet; use an input of type url";
            return self.give_up(&task, failure(State::StartFailed, "IVA.0010", why));
        };
        let (id, inbox) = (task.id.clone(), Arc::clone(&self.inbox));
        let observer = Telemetry::new(task.id.clone(), generation, Arc::clone(&self.inbox));
        let on_state = move |state| inbox.state(id.clone(), generation, state);
        let started =
            Channel::start(&self.site, (*task).clone(), url, Pace::Live, Uuid::new_v4(), Box::new(observer), on_state);
        match started {
            Ok(channel) => {
                let id = task.id.clone();
                self.running.insert(id, Running { task, channel, generation, over: None, drained: false });
            }
            Err(error) => self.give_up(&task, failure(State::StartFailed, "IVA.0004", &error.to_string())),
        }
    }

    fn adjust(&mut self, task: Arc<Task>) {
        if let Some(running) = self.running.get_mut(&task.id) {
            running.channel.adjust((*task).clone());
            running.task = task;
        }
    }

    fn stop(&mut self, id: &TaskId) {
        self.set_status(id, TaskStatus::of(State::Stopping));
        if let Some(mut running) = self.running.remove(id) {
            running.channel.end();
            let deadline = clock::monotonic() + DRAIN_LIMIT;
            self.ending.push(Ending { generation: running.generation, _channel: running.channel, deadline });
        }
        self.set_status(id, TaskStatus::of(State::Stopped));
    }

    /// The task is over by itself and does not start again until it is changed or started.
    fn give_up(&mut self, task: &Arc<Task>, status: TaskStatus) {
        self.running.remove(&task.id);
        self.finished.insert(task.id.clone(), Arc::clone(task));
        self.set_status(&task.id, status);
    }

    fn note_camera(&mut self, id: &TaskId, generation: u64, state: &CameraState) {
        let Some(running) = self.running.get_mut(id).filter(|running| running.generation == generation) else { return };
        let status = match state {
            CameraState::Connecting => return,
            CameraState::Playing { width, height, .. } => playing(&running.task, *width, *height),
            CameraState::Recovering { fault, .. } => faulty(State::Recovering, fault),
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

    fn note_drained(&mut self, mail: &Mail) {
        let now = clock::monotonic();
        self.ending.retain(|ending| !mail.drained.contains(&ending.generation) && ending.deadline > now);
        for running in self.running.values_mut() {
            running.drained |= mail.drained.contains(&running.generation);
        }
        let over: Vec<_> = self
            .running
            .values()
            .filter(|running| running.drained)
            .filter_map(|running| Some((Arc::clone(&running.task), running.over.clone()?)))
            .collect();
        for (task, status) in over {
            self.give_up(&task, status);
        }
    }

    fn set_status(&self, id: &TaskId, status: TaskStatus) {
        let state = TaskState {
            name: status.state.as_str().to_owned(),
            error: status.error.clone().map(|(code, message)| TaskError { code, message }),
        };
        tracing::info!(task = %id, state = state.name, why = status.why.as_deref(), "task");
        if self.status.set(id, status) == Noted::Changed
            && let Err(error) = self.store.set_task_state(id.as_str(), state).wait()
        {
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
    }
}

fn wants_to_run(row: &TaskRow) -> bool {
    let over = [State::Succeeded, State::Failed, State::StartFailed].iter().any(|s| s.as_str() == row.state.name);
    row.desired == Desired::Start && !over
}

fn stored_task(row: &TaskRow) -> Option<Task> {
    TaskSpec::stored_task(&row.body, TaskId::parse(&row.id)?, row.index).ok()
}

/// The camera plays; whether the task can find anything in its picture is another question.
fn playing(task: &Task, width: u32, height: u32) -> TaskStatus {
    match check_roi_in_frame(&task.rules.roi, width, height) {
        None => TaskStatus::of(State::Running),
        Some(invalid) => failure(State::Abnormal, "IVA.0004", &invalid.to_string()),
    }
}

fn faulty(state: State, fault: &Fault) -> TaskStatus {
    let code = if fault.kind == FaultKind::NotFound { "IVA.0005" } else { "IVA.0010" };
    failure(state, code, &fault.to_string())
}

fn failure(state: State, code: &str, message: &str) -> TaskStatus {
    TaskStatus { error: Some((code.to_owned(), message.to_owned())), ..TaskStatus::because(state, message) }
}
