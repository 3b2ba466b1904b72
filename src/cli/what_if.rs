//! `check --against`: what a changed task would have sent, tried on what was really seen.
//!
//! Both the stored task's rules and the new ones run over the recorded faces, and the two are compared. What was recorded
//! holds no pixels, so tracks are told apart by their boxes alone, in both runs alike; and a face that the stored task's
//! size window hid from the detector was never seen.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use serde_json::json;

use super::BadInput;
use crate::detect::Catalog;
use crate::domain::{Detection, Reason, Rules, StreamTime, TaskId, UnixMs};
use crate::rules::{Engine, Measure, Outcome, View};
use crate::store::{Observation, Store, TaskQuery, TaskRow};
use crate::task_json::TaskSpec;

/// One picture that is, or would be, sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Sent {
    taken_ns: u64,
    track: u64,
}

type SentBy = BTreeMap<Sent, Reason>;

/// `task`: the stored task's id, where its name is not that of the file.
pub fn run(
    data_dir: &Path,
    spec: &TaskSpec,
    task: Option<&str>,
    as_json: bool,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    let store = Store::attach(data_dir)?;
    let row = stored(&store, spec, task)?;
    let id = TaskId::parse(&row.id).ok_or_else(|| BadInput(format!("{} is no task id", row.id)))?;
    let before = TaskSpec::stored_task(&row.body, id, row.index)?.rules;
    let seen = store.observations(&row.id).wait()?;
    if seen.is_empty() {
        return Err(BadInput(format!("nothing has been seen for the task {} yet", row.name)).into());
    }
    let new_track_score = Catalog::open(None)?.entry("default")?.score_threshold;
    let (mut added, mut gone, mut kept) = (0, 0, 0);
    for session in sessions(&seen) {
        let (old, new) = (replay(&before, new_track_score, session), replay(&spec.rules, new_track_score, session));
        for sent in old.keys().chain(new.keys()).copied().collect::<BTreeSet<_>>() {
            let (change, reason) = match (old.get(&sent), new.get(&sent)) {
                (Some(_), Some(_)) => {
                    kept += 1;
                    continue;
                }
                (None, Some(reason)) => ("added", reason),
                (Some(reason), _) => ("gone", reason),
                (None, None) => continue,
            };
            if change == "added" {
                added += 1
            } else {
                gone += 1
            }
            let at = time(wall(session, sent.taken_ns));
            let (track, reason) = (sent.track, reason.as_str());
            if as_json {
                writeln!(out, "{}", json!({"change": change, "taken_at": at, "track": track, "reason": reason}))?;
            } else {
                writeln!(out, "{change:<5}  taken {at}  track {track}  {reason}")?;
            }
        }
    }
    if as_json {
        writeln!(out, "{}", json!({"added": added, "gone": gone, "unchanged": kept}))?;
    } else {
        writeln!(out, "{added} pictures would be added, {gone} would go, {kept} stay")?;
    }
    Ok(())
}

fn stored(store: &Store, spec: &TaskSpec, task: Option<&str>) -> anyhow::Result<TaskRow> {
    if let Some(id) = task {
        let row = store.task(id).wait()?;
        return row.ok_or_else(|| BadInput(format!("there is no task {id} in that folder")).into());
    }
    let query = TaskQuery { name_like: Some(spec.name.clone()), limit: 1000, ..TaskQuery::default() };
    let (_, rows) = store.tasks(query).wait()?;
    let mut named: Vec<_> = rows.into_iter().filter(|row| row.name == spec.name).collect();
    match (named.pop(), named.is_empty()) {
        (Some(row), true) => Ok(row),
        (None, _) => {
            Err(BadInput(format!("there is no task named {:?} in that folder: name one by --task", spec.name)).into())
        }
        (Some(_), false) => {
            Err(BadInput(format!("several tasks are named {:?}: choose one by --task", spec.name)).into())
        }
    }
}

/// The runs of the stream, one after the other.
fn sessions(seen: &[Observation]) -> impl Iterator<Item = &[Observation]> {
    seen.chunk_by(|a, b| a.session == b.session && a.stream_ns <= b.stream_ns)
}

fn replay(rules: &Rules, new_track_score: f32, seen: &[Observation]) -> SentBy {
    let mut engine = Engine::new(Arc::new(rules.clone()), new_track_score);
    let mut sent = SentBy::new();
    let mut note = |outcome: Outcome<()>| {
        for sending in outcome.sendings {
            sent.insert(Sent { taken_ns: sending.shot.at.as_nanos(), track: sending.track }, sending.reason);
        }
    };
    let mut last = StreamTime::ZERO;
    for frame in seen {
        last = StreamTime::from_nanos(frame.stream_ns);
        let detections: Vec<_> = frame.faces.iter().map(|face| face.detection).collect();
        note(engine.observe(last, &detections, &mut Recorded(frame)));
    }
    note(engine.finish(last));
    sent
}

/// A frame as it was recorded.
struct Recorded<'a>(&'a Observation);

impl View for Recorded<'_> {
    type Picture = ();

    fn frame_size(&self) -> (f32, f32) {
        self.0.frame_size
    }

    fn measure(&mut self, face: &Detection) -> Measure {
        let found = self.0.faces.iter().find(|seen| seen.detection.bbox == face.bbox);
        found.map_or(Measure { sharpness: 0.0, exposure: 0.0 }, |seen| Measure {
            sharpness: seen.sharpness,
            exposure: seen.exposure,
        })
    }

    fn cut(&mut self, _: &Detection) {}
}

fn wall(session: &[Observation], taken_ns: u64) -> UnixMs {
    let frame = session.iter().find(|frame| frame.stream_ns == taken_ns);
    frame.map_or(UnixMs(0), |frame| frame.at)
}

fn time(at: UnixMs) -> String {
    let time = chrono::DateTime::from_timestamp_millis(at.0).unwrap_or_default();
    time.to_rfc3339_opts(chrono::SecondsFormat::Millis, true)
}
