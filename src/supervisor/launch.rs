//! From a task that may run to its open camera: the address is found, or asked for, and the stream begun.

use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use super::address::{self, Address, AddressError, Place};
use super::inbox::Answer;
use super::keeper::Keeper;
use super::running::{Running, Waiting, WaitsFor};
use super::telemetry::{self, Telemetry};
use super::words::{MainStream, failure};
use crate::channel::{Channel, Main, Streams};
use crate::clock;
use crate::deliver::{AddressQuestion, ResolveError, resolve};
use crate::domain::{Task, TaskId};
use crate::media::Pace;
use crate::status::{State, TaskStatus};

/// Between two times that a server is asked for an address; doubled each time up to the second.
const ASK_AGAIN: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(60));

impl Keeper {
    /// Finds the address and opens the camera, or asks for the address first.
    pub(super) fn launch(&mut self, task: Arc<Task>, tries: u32) {
        if tries == 0 {
            self.set_status(&task.id, TaskStatus::of(State::Starting));
        }
        match address::find(&task.source, &self.store) {
            Ok(Address::Known(place)) => self.open(task, place),
            Ok(Address::ToBeAsked(question)) => self.ask(task, question, tries),
            Err(AddressError::Store(error)) => self.ask_later(task, tries, &error.to_string()),
            Err(error @ AddressError::UnknownCamera { .. }) => {
                self.give_up(&task.id, failure(State::StartFailed, "IVA.0005", &error.to_string()));
            }
            Err(error) => self.give_up(&task.id, failure(State::StartFailed, "IVA.0004", &error.to_string())),
        }
    }

    fn open(&mut self, task: Arc<Task>, place: Place) {
        self.generation += 1;
        let generation = self.generation;
        let (id, inbox) = (task.id.clone(), Arc::clone(&self.inbox));
        let session = Uuid::new_v4();
        let (inbox_of_run, journal) = (Arc::clone(&self.inbox), self.journal.clone());
        let observer = Telemetry::new(task.id.clone(), generation, inbox_of_run, session, journal);
        let on_state = move |state| {
            telemetry::count_fault(&id, &state);
            inbox.state(id.clone(), generation, state);
        };
        let streams = self.streams(&task.id, generation, &place);
        let started =
            Channel::start(&self.site, (*task).clone(), streams, Pace::Live, session, Box::new(observer), on_state);
        match started {
            Ok(channel) => {
                let id = task.id.clone();
                let running = Running {
                    task,
                    channel,
                    generation,
                    main: place.main.is_some().then(MainStream::default),
                    address: place,
                    picture_size: None,
                    roi_size: None,
                    over: None,
                    drained: false,
                };
                self.running.insert(id, running);
            }
            Err(error) => self.give_up(&task.id, failure(State::StartFailed, "IVA.0004", &error.to_string())),
        }
    }

    fn streams(&self, id: &TaskId, generation: u64, place: &Place) -> Streams {
        let main = place.main.as_ref().map(|url| {
            let (id, inbox) = (id.clone(), Arc::clone(&self.inbox));
            let on_state = move |state| inbox.main_state(id.clone(), generation, state);
            Main { url: url.clone(), on_state: Box::new(on_state) }
        });
        Streams { url: place.url.clone(), main }
    }

    fn ask(&mut self, task: Arc<Task>, question: AddressQuestion, tries: u32) {
        self.generation += 1;
        let (generation, id, inbox) = (self.generation, task.id.clone(), Arc::clone(&self.inbox));
        self.network.spawn(async move { inbox.answer(id, generation, resolve(&question).await) });
        let wait = WaitsFor::Address { generation, tries };
        self.waiting.insert(task.id.clone(), Waiting { task, wait });
    }

    fn ask_later(&mut self, task: Arc<Task>, tries: u32, why: &str) {
        let (first, longest) = ASK_AGAIN;
        let at = clock::monotonic() + first.saturating_mul(1 << tries.min(10)).min(longest);
        let status = failure(State::Recovering, "IVA.0010", why);
        self.let_wait(task, WaitsFor::Moment { at, tries: tries + 1 }, status);
    }

    pub(super) fn note_answer(&mut self, answer: Answer) {
        let Answer { id, generation, address } = answer;
        let asked =
            |waiting: &Waiting| matches!(waiting.wait, WaitsFor::Address { generation: g, .. } if g == generation);
        if !self.waiting.get(&id).is_some_and(asked) {
            return;
        }
        let Some(Waiting { task, wait: WaitsFor::Address { tries, .. } }) = self.waiting.remove(&id) else { return };
        match address.map(address::answered) {
            Ok(Ok(place)) => self.open(task, place),
            Ok(Err(error)) => self.give_up(&id, failure(State::StartFailed, "IVA.0004", &error.to_string())),
            Err(error @ ResolveError::Never(_)) => {
                self.give_up(&id, failure(State::StartFailed, "IVA.0004", &error.to_string()));
            }
            Err(error @ ResolveError::Later(_)) => self.ask_later(task, tries, &error.to_string()),
        }
    }
}
