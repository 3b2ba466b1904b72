//! What the keeper keeps of each task: while it runs, while it waits, while it ends.

use std::sync::Arc;
use std::time::Instant;

use super::address::Place;
use super::words::{MainStream, playing};
use crate::channel::Channel;
use crate::domain::Task;
use crate::status::{State, TaskStatus};

pub struct Running {
    pub task: Arc<Task>,
    pub channel: Channel,
    pub generation: u64,
    pub address: Place,
    /// Width and height, once it plays.
    pub picture_size: Option<(u32, u32)>,
    /// Those of the picture that its region is meant for: the first one that the region was applied to.
    pub roi_size: Option<(u32, u32)>,
    /// Of a camera with two streams, the large one.
    pub main: Option<MainStream>,
    /// How its file ended, once it has; the channel stays until it is drained.
    pub over: Option<TaskStatus>,
    pub drained: bool,
}

impl Running {
    /// Width and height of the picture in whose pixels the task's numbers are.
    pub fn rules_size(&self) -> Option<(u32, u32)> {
        self.main.as_ref().map_or(self.picture_size, |main| main.size)
    }

    /// In which state it is while its camera plays; `None` when it does not.
    pub fn playing(&mut self) -> Option<TaskStatus> {
        self.picture_size?;
        let size = self.rules_size();
        self.roi_size = self.roi_size.or(size);
        let status = match size.zip(self.roi_size) {
            Some((size, meant_for)) => playing(&self.task, size, meant_for),
            None => TaskStatus::of(State::Running),
        };
        Some(self.main.as_ref().map_or(status.clone(), |main| main.speak(status)))
    }
}

/// Shall run and cannot yet.
pub struct Waiting {
    pub task: Arc<Task>,
    pub wait: WaitsFor,
}

pub enum WaitsFor {
    /// A channel of its licence.
    Licence,
    /// Time of this box.
    Room,
    /// An answer to the question for its address.
    Address { generation: u64, tries: u32 },
    /// The time to ask again.
    Moment { at: Instant, tries: u32 },
}

/// Its camera is gone; its rules may still have something to send.
pub struct Ending {
    pub generation: u64,
    /// Kept for its slot in the mailbox.
    pub _channel: Channel,
    pub deadline: Instant,
}
