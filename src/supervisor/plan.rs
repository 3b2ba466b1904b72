//! What has to happen for what runs to agree with what is wanted. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::domain::{Task, TaskId};

/// What has to happen for one task.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    Start(Arc<Task>),
    /// Rules or outputs changed: the stream goes on.
    Adjust(Arc<Task>),
    Stop(TaskId),
}

/// The steps from `running` to `desired`. A task whose source changed is stopped and started; stops come first, so
/// that a camera is let go before somebody else asks for it.
pub fn plan(desired: &BTreeMap<TaskId, Arc<Task>>, running: &BTreeMap<TaskId, Arc<Task>>) -> Vec<Action> {
    let mut stops = Vec::new();
    let mut starts = Vec::new();
    for (id, task) in running {
        match desired.get(id) {
            None => stops.push(Action::Stop(id.clone())),
            Some(wanted) if wanted.source != task.source => {
                stops.push(Action::Stop(id.clone()));
                starts.push(Action::Start(Arc::clone(wanted)));
            }
            Some(wanted) if wanted != task => starts.push(Action::Adjust(Arc::clone(wanted))),
            Some(_) => {}
        }
    }
    let new = desired.iter().filter(|(id, _)| !running.contains_key(*id));
    starts.extend(new.map(|(_, task)| Action::Start(Arc::clone(task))));
    stops.append(&mut starts);
    stops
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Outputs, Rules, Source};

    fn task(id: char, url: &str, min_size_px: f32) -> Arc<Task> {
        Arc::new(Task {
            id: TaskId::parse(&id.to_string().repeat(32)).expect("32 digits"),
            name: "t".into(),
            edge_pool_id: "default".into(),
            resource_order_id: None,
            index: 0,
            source: Source::Url { url: url.into() },
            outputs: Outputs::default(),
            rules: Rules { min_size_px, ..Rules::default() },
        })
    }

    fn map(tasks: &[&Arc<Task>]) -> BTreeMap<TaskId, Arc<Task>> {
        tasks.iter().map(|task| (task.id.clone(), Arc::clone(task))).collect()
    }

    #[test]
    fn nothing_to_do_when_they_agree() {
        let a = task('a', "rtsp://1", 90.0);
        assert_eq!(plan(&map(&[&a]), &map(&[&a])), []);
    }

    #[test]
    fn stops_come_before_starts() {
        let (a, b) = (task('a', "rtsp://1", 90.0), task('b', "rtsp://1", 90.0));
        assert_eq!(plan(&map(&[&b]), &map(&[&a])), [Action::Stop(a.id.clone()), Action::Start(b)]);
    }

    #[test]
    fn changed_rules_keep_the_stream() {
        let (before, after) = (task('a', "rtsp://1", 90.0), task('a', "rtsp://1", 120.0));
        assert_eq!(plan(&map(&[&after]), &map(&[&before])), [Action::Adjust(after)]);
    }

    #[test]
    fn a_changed_source_restarts() {
        let (before, after) = (task('a', "rtsp://1", 90.0), task('a', "rtsp://2", 90.0));
        assert_eq!(plan(&map(&[&after]), &map(&[&before])), [Action::Stop(after.id.clone()), Action::Start(after)]);
    }
}
