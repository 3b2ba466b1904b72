//! A task's state in the words of the interface, and why it is in it.

use crate::domain::{Task, Verdict};
use crate::media::{CameraState, Fault, FaultKind};
use crate::status::{State, TaskStatus};
use crate::task_json::check_roi_in_frame;

/// The camera plays; whether the task can find anything in its picture is another question.
///
/// Of a camera with two streams the task's numbers mean the large one's pixels.
pub fn playing(task: &Task, size: (u32, u32), main: Option<&MainStream>) -> TaskStatus {
    let size = main.map_or(Some(size), |main| main.size);
    let wrong = size.and_then(|(width, height)| check_roi_in_frame(&task.rules.roi, width, height));
    match (wrong, main.and_then(|main| main.trouble.as_ref())) {
        (Some(invalid), _) => failure(State::Abnormal, "IVA.0004", &invalid.to_string()),
        (None, Some(trouble)) => {
            TaskStatus::because(State::Running, format!("pictures come from detect_url's stream: {trouble}"))
        }
        (None, None) => TaskStatus::of(State::Running),
    }
}

/// What is known of a camera's large stream.
#[derive(Default)]
pub struct MainStream {
    /// Width and height, as it was last seen.
    size: Option<(u32, u32)>,
    /// Why it does not play.
    trouble: Option<String>,
}

impl MainStream {
    pub fn note(&mut self, state: &CameraState) {
        match state {
            CameraState::Connecting => {}
            CameraState::Playing { width, height, .. } => {
                self.size = Some((*width, *height));
                self.trouble = None;
            }
            CameraState::Recovering { fault, .. } | CameraState::Failed { fault } => {
                self.trouble = Some(fault.to_string());
            }
            CameraState::Ended { .. } => self.trouble = Some("it ended".to_owned()),
        }
    }
}

pub fn faulty(state: State, fault: &Fault) -> TaskStatus {
    let code = if fault.kind == FaultKind::NotFound { "IVA.0005" } else { "IVA.0010" };
    failure(state, code, &fault.to_string())
}

/// `None` where the licence lets the task run.
pub fn unlicensed(task: &Task, verdict: &Verdict) -> Option<TaskStatus> {
    let sn = task.resource_order_id.as_deref().unwrap_or("of this installation");
    match verdict {
        Verdict::Granted => None,
        Verdict::NoneFree { channels } => {
            let why =
                format!("all {channels} channels of the licence {sn} are taken; it starts when one is given back");
            Some(failure(State::LackOfResources, "IVA.0007", &why))
        }
        Verdict::Frozen { why } => {
            Some(failure(State::Frozen, "IVA.0007", &format!("licence {sn}: {why}; the task goes on when it is good")))
        }
        Verdict::Unknown => {
            let why = format!("there is no licence {sn} here (resource_order_id); the task starts when there is");
            Some(failure(State::Frozen, "IVA.0007", &why))
        }
    }
}

pub fn failure(state: State, code: &str, message: &str) -> TaskStatus {
    TaskStatus { error: Some((code.to_owned(), message.to_owned())), ..TaskStatus::because(state, message) }
}
