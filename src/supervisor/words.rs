//! A task's state in the words of the interface, and why it is in it.

use super::load::NoRoom;
use crate::domain::{Task, Verdict};
use crate::media::{CameraState, Fault, FaultKind};
use crate::status::{State, TaskStatus};
use crate::task_json::check_roi_in_frame;

/// The camera plays; whether the task can find anything in its picture is another question. `sizes`: of the picture in
/// whose pixels the task's numbers are, and of the one that its region was given for. Of a camera with two streams both
/// are the large one's, and may not be known yet.
pub fn playing(task: &Task, sizes: Option<[(u32, u32); 2]>, main: Option<&MainStream>) -> TaskStatus {
    let wrong = sizes.and_then(|[size, meant_for]| region_trouble(task, size, meant_for));
    match (wrong, main.and_then(|main| main.trouble.as_ref())) {
        (Some(wrong), _) => failure(State::Abnormal, "IVA.0004", &wrong),
        (None, Some(trouble)) => {
            TaskStatus::because(State::Running, format!("pictures come from detect_url's stream: {trouble}"))
        }
        (None, None) => TaskStatus::of(State::Running),
    }
}

fn region_trouble(task: &Task, (width, height): (u32, u32), meant_for: (u32, u32)) -> Option<String> {
    let roi = &task.rules.roi;
    if let Some(invalid) = check_roi_in_frame(roi, meant_for.0, meant_for.1) {
        return Some(invalid.to_string());
    }
    let is_stretched = !roi.polygons.is_empty() && (width, height) != meant_for;
    is_stretched.then(|| {
        format!(
            "service_config.common.target_roi was given for a picture of {}×{} and the camera sends {width}×{height} \
             now: the task goes on with the region stretched to it; give it anew in the new picture's pixels",
            meant_for.0, meant_for.1
        )
    })
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
    pub fn size(&self) -> Option<(u32, u32)> {
        self.size
    }

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
        assert_eq!(playing(&task, Some([small; 2]), None).state, State::Abnormal);
        assert_eq!(playing(&task, None, Some(&main)).state, State::Running, "not known yet");
        main.note(&plays(1920, 1080));
        let large = main.size().unwrap();
        assert_eq!(playing(&task, Some([large; 2]), Some(&main)), TaskStatus::of(State::Running));
        main.note(&plays(800, 450));
        let status = playing(&task, Some([main.size().unwrap(), large]), Some(&main));
        assert_eq!(status.state, State::Abnormal);
        assert!(status.why.unwrap().contains("1920×1080"), "the size that it was given for");
    }

    #[test]
    fn a_large_stream_that_does_not_play_is_told_and_the_task_runs() {
        let mut main = MainStream::default();
        main.note(&plays(1920, 1080));
        main.note(&CameraState::Ended { cut_short: None });
        let status = playing(&task(), Some([(1920, 1080); 2]), Some(&main));
        assert_eq!((status.state, &status.error), (State::Running, &None));
        assert!(status.why.as_ref().is_some_and(|why| why.contains("detect_url")), "{status:?}");
        main.note(&plays(1920, 1080));
        assert_eq!(playing(&task(), Some([(1920, 1080); 2]), Some(&main)), TaskStatus::of(State::Running));
    }
}
