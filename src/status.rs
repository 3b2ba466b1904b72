//! Where things stand right now: what each task is doing and why, and whether the service is ready.
//!
//! The supervisor writes, everybody reads; locks are held for one look-up. The store keeps each task's state too, since
//! lists are filtered by it: whoever calls `set` and hears `Changed` writes it there. What is only here are the words.

use std::collections::{BTreeMap, HashMap};

use parking_lot::RwLock;

use crate::domain::TaskId;

/// The documented states of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    Pending,
    Scheduling,
    Starting,
    Running,
    Recovering,
    Upgrading,
    Stopping,
    Stopped,
    /// A file that ended.
    Succeeded,
    Abnormal,
    Failed,
    CreateFailed,
    StartFailed,
    Deleting,
    Freezing,
    /// No licence.
    Frozen,
    LackOfResources,
}

impl State {
    pub const ALL: [Self; 17] = [
        Self::Pending,
        Self::Scheduling,
        Self::Starting,
        Self::Running,
        Self::Recovering,
        Self::Upgrading,
        Self::Stopping,
        Self::Stopped,
        Self::Succeeded,
        Self::Abnormal,
        Self::Failed,
        Self::CreateFailed,
        Self::StartFailed,
        Self::Deleting,
        Self::Freezing,
        Self::Frozen,
        Self::LackOfResources,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "PENDING",
            Self::Scheduling => "SCHEDULING",
            Self::Starting => "STARTING",
            Self::Running => "RUNNING",
            Self::Recovering => "RECOVERING",
            Self::Upgrading => "UPGRADING",
            Self::Stopping => "STOPPING",
            Self::Stopped => "STOPPED",
            Self::Succeeded => "SUCCEEDED",
            Self::Abnormal => "ABNORMAL",
            Self::Failed => "FAILED",
            Self::CreateFailed => "CREATE_FAILED",
            Self::StartFailed => "START_FAILED",
            Self::Deleting => "DELETING",
            Self::Freezing => "FREEZING",
            Self::Frozen => "FROZEN",
            Self::LackOfResources => "LACK_OF_RESOURCES",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }
}

/// What one task is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskStatus {
    pub state: State,
    /// Why, in words a person can act on; nothing where the state says it all. Never an address or a password.
    pub why: Option<String>,
    /// Code and message of what went wrong, as answers give it.
    pub error: Option<(String, String)>,
}

impl TaskStatus {
    pub fn of(state: State) -> Self {
        Self { state, why: None, error: None }
    }

    pub fn because(state: State, why: impl Into<String>) -> Self {
        Self { why: Some(why.into()), ..Self::of(state) }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Noted {
    /// State or error differ from before: the store is to be told.
    Changed,
    /// At most the words differ.
    Same,
}

/// The board itself.
#[derive(Default)]
pub struct Status {
    tasks: RwLock<HashMap<TaskId, TaskStatus>>,
    /// What the service still waits for, by part.
    waiting: RwLock<BTreeMap<&'static str, String>>,
}

impl Status {
    pub fn set(&self, id: &TaskId, status: TaskStatus) -> Noted {
        let before = self.tasks.write().insert(id.clone(), status.clone());
        match before {
            Some(before) if before.state == status.state && before.error == status.error => Noted::Same,
            _ => Noted::Changed,
        }
    }

    pub fn get(&self, id: &TaskId) -> Option<TaskStatus> {
        self.tasks.read().get(id).cloned()
    }

    pub fn remove(&self, id: &TaskId) {
        self.tasks.write().remove(id);
    }

    /// How many tasks are in each state that occurs.
    pub fn count_by_state(&self) -> HashMap<State, usize> {
        let mut counts = HashMap::new();
        for status in self.tasks.read().values() {
            *counts.entry(status.state).or_default() += 1;
        }
        counts
    }

    /// A part of the service says that it cannot do its work yet, or no longer.
    pub fn not_ready(&self, part: &'static str, reason: impl Into<String>) {
        self.waiting.write().insert(part, reason.into());
    }

    pub fn ready(&self, part: &'static str) {
        self.waiting.write().remove(part);
    }

    /// Parts that are not ready, each with its reason; empty when the service is.
    pub fn reasons(&self) -> Vec<(&'static str, String)> {
        self.waiting.read().iter().map(|(part, reason)| (*part, reason.clone())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back() {
        for state in State::ALL {
            assert_eq!(State::parse(state.as_str()), Some(state));
        }
        assert_eq!(State::parse("running"), None);
    }

    #[test]
    fn new_words_alone_are_no_change() {
        let (board, id) = (Status::default(), TaskId::from_uuid(uuid::Uuid::nil()));
        assert_eq!(board.set(&id, TaskStatus::of(State::Running)), Noted::Changed);
        assert_eq!(board.set(&id, TaskStatus::because(State::Running, "12 frames a second")), Noted::Same);
        let error = Some(("IVA.0010".to_owned(), "the camera refused the password".to_owned()));
        assert_eq!(board.set(&id, TaskStatus { error, ..TaskStatus::of(State::Running) }), Noted::Changed);
        assert_eq!(board.count_by_state(), HashMap::from([(State::Running, 1)]));
    }

    #[test]
    fn ready_when_nothing_is_waited_for() {
        let board = Status::default();
        board.not_ready("model", "loading");
        assert_eq!(board.reasons(), [("model", "loading".to_owned())]);
        board.ready("model");
        assert!(board.reasons().is_empty());
    }
}
