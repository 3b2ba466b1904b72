//! A task's state in the words of the interface, and why it is in it.

use super::load::NoRoom;
use crate::domain::{Task, Verdict};
use crate::media::{CameraState, Fault, FaultKind};
use crate::status::{State, TaskStatus};
use crate::task_json::check_roi_in_frame;

/// The camera plays; whether the task can find anything in its picture is another question. `meant_for`: the size of
/// the picture that its region was given for.
pub fn playing(task: &Task, (width, height): (u32, u32), meant_for: (u32, u32)) -> TaskStatus {
    let roi = &task.rules.roi;
    if let Some(invalid) = check_roi_in_frame(roi, meant_for.0, meant_for.1) {
        return failure(State::Abnormal, "IVA.0004", &invalid.to_string());
    }
    if roi.polygons.is_empty() || (width, height) == meant_for {
        return TaskStatus::of(State::Running);
    }
    let why = format!(
        "service_config.common.target_roi was given for a picture of {}×{} and the camera sends {width}×{height} now: \
         the task goes on with the region stretched to it; give it anew in the new picture's pixels",
        meant_for.0, meant_for.1
    );
    failure(State::Abnormal, "IVA.0004", &why)
}

/// What is known of a camera's large stream.
#[derive(Default)]
pub struct MainStream {
    /// Width and height, as it was last seen.
    pub size: Option<(u32, u32)>,
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
            CameraState::Still { fault } | CameraState::Recovering { fault, .. } | CameraState::Failed { fault } => {
                self.trouble = Some(fault.to_string());
            }
            CameraState::Ended { .. } => self.trouble = Some("it ended".to_owned()),
        }
    }

    /// Says beside a state that all is well but for the large stream.
    pub fn speak(&self, status: TaskStatus) -> TaskStatus {
        match &self.trouble {
            Some(trouble) if status.error.is_none() => {
                TaskStatus::because(status.state, format!("pictures come from detect_url's stream: {trouble}"))
            }
            _ => status,
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

/// A camera too many for this box.
pub fn no_room(short: &NoRoom) -> TaskStatus {
    let NoRoom { cameras, taken_cores, cores, analyses_per_second, floor } = short;
    let why = format!(
        "no room on this box: {cameras} cameras take {taken_cores:.2} of {cores} cores before any analysis, which leaves \
         each {analyses_per_second:.1} analyses a second, and min_analyses_per_second asks for {floor}; it starts when \
         another task stops"
    );
    failure(State::LackOfResources, "IVA.0010", &why)
}

pub fn failure(state: State, code: &str, message: &str) -> TaskStatus {
    TaskStatus { error: Some((code.to_owned(), message.to_owned())), ..TaskStatus::because(state, message) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_stream_that_does_not_play_is_told_and_the_task_runs() {
        let plays = CameraState::Playing { width: 1920, height: 1080, codec: String::new(), decoder: String::new() };
        let mut main = MainStream::default();
        main.note(&plays);
        main.note(&CameraState::Ended { cut_short: None });
        let status = main.speak(TaskStatus::of(State::Running));
        assert_eq!((status.state, &status.error, main.size), (State::Running, &None, Some((1920, 1080))));
        assert!(status.why.as_ref().is_some_and(|why| why.contains("detect_url")), "{status:?}");
        let wrong = failure(State::Abnormal, "IVA.0004", "the region is outside");
        assert_eq!(main.speak(wrong.clone()), wrong, "what is wrong comes first");
        main.note(&plays);
        assert_eq!(main.speak(TaskStatus::of(State::Running)), TaskStatus::of(State::Running));
    }
}
