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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Outputs, Point, Polygon, Roi, Rules, Source, TaskId};

    fn task() -> Task {
        let corners = [(1000.0, 500.0), (1800.0, 500.0), (1800.0, 1000.0)].map(|(x, y)| Point::new(x, y));
        let roi = Roi { polygons: vec![Polygon::new(corners.to_vec()).unwrap()] };
        Task {
            id: TaskId::parse(&"a".repeat(32)).expect("32 digits"),
            name: "t".into(),
            edge_pool_id: "default".into(),
            resource_order_id: None,
            index: 0,
            source: Source::Camera { id: "door".into() },
            outputs: Outputs::default(),
            rules: Rules { roi, ..Rules::default() },
        }
    }

    fn plays(width: u32, height: u32) -> CameraState {
        CameraState::Playing { width, height, codec: String::new(), decoder: String::new() }
    }

    #[test]
    fn a_region_is_of_the_large_stream_where_there_are_two() {
        let (task, small, mut main) = (task(), (640, 360), MainStream::default());
        assert_eq!(playing(&task, small, None).state, State::Abnormal);
        assert_eq!(playing(&task, small, Some(&main)).state, State::Running, "not known yet");
        main.note(&plays(1920, 1080));
        assert_eq!(playing(&task, small, Some(&main)), TaskStatus::of(State::Running));
        main.note(&plays(800, 450));
        assert_eq!(playing(&task, small, Some(&main)).state, State::Abnormal);
    }

    #[test]
    fn a_large_stream_that_does_not_play_is_told_and_the_task_runs() {
        let mut main = MainStream::default();
        main.note(&plays(1920, 1080));
        main.note(&CameraState::Ended { cut_short: None });
        let status = playing(&task(), (640, 360), Some(&main));
        assert_eq!((status.state, &status.error), (State::Running, &None));
        assert!(status.why.as_ref().is_some_and(|why| why.contains("detect_url")), "{status:?}");
        main.note(&plays(1920, 1080));
        assert_eq!(playing(&task(), (640, 360), Some(&main)), TaskStatus::of(State::Running));
    }
}
