//! Channels under licences: a task takes one before it starts, keeps it while the licence is good, and gives it back
//! when it stops. A task that may not run waits, and goes on by itself when it may.

use std::sync::Arc;

use super::keeper::Keeper;
use super::running::{Waiting, WaitsFor};
use super::words::{self, unlicensed};
use crate::clock;
use crate::domain::{Task, TaskId};
use crate::status::{State, TaskStatus};
use crate::store::ChannelRequest;

impl Keeper {
    /// Starts a task for which there is room and that has its channel; another one waits.
    pub(super) fn admit(&mut self, task: Arc<Task>, waited_for_room: bool) {
        if let Some(status) = self.no_room(waited_for_room) {
            return self.let_wait(task, WaitsFor::Room, status);
        }
        match self.refusal(&task) {
            None => self.launch(task, 0),
            Some(status) => self.let_wait(task, WaitsFor::Licence, status),
        }
    }

    /// Looks at every licence again: who runs may have to wait, who waits may go on.
    pub(super) fn review_licences(&mut self) {
        let running: Vec<_> = self.running.values().map(|running| Arc::clone(&running.task)).collect();
        for task in running {
            if let Some(status) = self.refusal(&task) {
                self.end(&task.id);
                self.let_wait(task, WaitsFor::Licence, status);
            }
        }
        let waits = |waiting: &Waiting| match waiting.wait {
            WaitsFor::Licence => Some((Arc::clone(&waiting.task), false)),
            WaitsFor::Room => Some((Arc::clone(&waiting.task), true)),
            WaitsFor::Address { .. } | WaitsFor::Moment { .. } => None,
        };
        let waiting: Vec<_> = self.waiting.values().filter_map(waits).collect();
        for (task, for_room) in waiting {
            self.waiting.remove(&task.id);
            self.admit(task, for_room);
        }
    }

    pub(super) fn give_back(&self, id: &TaskId) {
        if let Err(error) = self.store.release_channel(id.as_str()).wait() {
            tracing::error!(task = %id, %error, "the task's channel could not be given back; it is at the next start");
        }
    }

    /// Takes a channel, or says why there is none.
    fn refusal(&self, task: &Task) -> Option<TaskStatus> {
        let request = ChannelRequest {
            task_id: task.id.to_string(),
            sn: task.resource_order_id.clone(),
            node: self.site.node_id.clone(),
        };
        match self.store.take_channel(request, clock::unix_ms()).wait() {
            Ok(verdict) => unlicensed(task, &verdict),
            // What runs goes on while the disk does not answer.
            Err(_) if self.running.contains_key(&task.id) => None,
            Err(error) => Some(words::failure(State::Pending, "IVA.0010", &error.to_string())),
        }
    }
}
