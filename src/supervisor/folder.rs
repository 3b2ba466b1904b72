//! Task files of a folder (`serve --tasks DIR`): each `*.json` is a create body. The folder is looked at again and
//! again, which works on every file system. A file that is not valid is reported and left out; the others run. In the
//! store a file's task is a row like any other that says which file it comes from, and only the file changes it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use uuid::Uuid;

use crate::clock;
use crate::domain::{Invalid, TaskId, UnixMs};
use crate::status::State;
use crate::store::{Desired, TaskRow, TaskState};
use crate::task_json::{TaskProblem, TaskSpec};

/// A larger file is no task.
const MAX_BYTES: u64 = 1 << 20;
/// Who made the tasks of files.
pub const CREATOR: &str = "tasks-dir";
/// The project of a file's tasks, where its key `project_id` names none.
const PROJECT: &str = "default";

pub struct TaskFolder {
    folder: PathBuf,
    /// A file that lies on this box is meant for it, whatever pool it names.
    edge_pool_id: String,
    seen: Option<Listing>,
}

/// Name, time of change, and size of each file.
type Listing = BTreeMap<PathBuf, (SystemTime, u64)>;

#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    #[error("{file}: cannot be read: {source}")]
    Read { file: String, source: std::io::Error },
    #[error("{file}: has {bytes} bytes; a task file has at most {MAX_BYTES}")]
    TooLarge { file: String, bytes: u64 },
    #[error("{file}: {problem}")]
    Task { file: String, problem: TaskProblem },
}

impl TaskFolder {
    pub fn new(folder: PathBuf, edge_pool_id: &str) -> Self {
        Self { folder, edge_pool_id: edge_pool_id.to_owned(), seen: None }
    }

    /// Whether anything differs from what [`TaskFolder::rows`] gave last.
    pub fn has_changed(&mut self) -> bool {
        self.seen.as_ref() != Some(&list(&self.folder))
    }

    /// What was given is not known to anybody.
    pub fn forget(&mut self) {
        self.seen = None;
    }

    pub fn rows(&mut self) -> Vec<TaskRow> {
        let listing = list(&self.folder);
        let mut rows = Vec::new();
        for (file, (changed_at, bytes)) in &listing {
            match read(file, *changed_at, *bytes, &self.edge_pool_id) {
                Ok(found) => rows.extend(found),
                Err(error) => tracing::error!(%error, "task file left out"),
            }
        }
        self.seen = Some(listing);
        rows
    }
}

fn list(folder: &Path) -> Listing {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.path().extension().is_some_and(|extension| extension == "json"))
        .filter_map(|entry| {
            let about = entry.metadata().ok().filter(std::fs::Metadata::is_file)?;
            Some((entry.path(), (about.modified().ok()?, about.len())))
        })
        .collect()
}

fn read(file: &Path, changed_at: SystemTime, bytes: u64, edge_pool_id: &str) -> Result<Vec<TaskRow>, FolderError> {
    let name = || file.display().to_string();
    if bytes > MAX_BYTES {
        return Err(FolderError::TooLarge { file: name(), bytes });
    }
    let text = std::fs::read(file).map_err(|source| FolderError::Read { file: name(), source })?;
    let problem = |problem| FolderError::Task { file: name(), problem };
    let spec = TaskSpec::parse(&text).map_err(problem)?;
    let project_id = project(&spec).map_err(|invalid| problem(TaskProblem::Invalid(vec![invalid])))?;
    let stem = file.file_stem().unwrap_or_default().as_encoded_bytes();
    let since_epoch = changed_at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let row = |position: usize| TaskRow {
        id: id(stem, position).to_string(),
        project_id: project_id.clone(),
        name: spec.name.clone(),
        creator: CREATOR.to_owned(),
        service_version: spec.service_version.clone(),
        edge_pool_id: edge_pool_id.to_owned(),
        file: Some(name()),
        desired: Desired::Start,
        state: TaskState { name: State::Pending.as_str().to_owned(), error: None },
        index: spec.inputs[position].index,
        body: spec.body_of_input(position).to_string(),
        created_at: clock::unix_ms(),
        updated_at: UnixMs(since_epoch.as_millis() as i64),
    };
    Ok((0..spec.inputs.len()).map(row).collect())
}

/// The file's name makes the ids, so that a task keeps its id over restarts and changes.
fn id(stem: &[u8], position: usize) -> TaskId {
    let seed = [stem, b"\0", &(position as u32).to_be_bytes()].concat();
    TaskId::from_uuid(Uuid::new_v5(&Uuid::NAMESPACE_URL, &seed))
}

fn project(spec: &TaskSpec) -> Result<String, Invalid> {
    let plain = |text: &str| text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    match spec.raw().get("project_id").map(|value| value.as_str().unwrap_or_default()) {
        None => Ok(PROJECT.to_owned()),
        Some(id) if (1..=64).contains(&id.len()) && plain(id) => Ok(id.to_owned()),
        Some(_) => Err(Invalid::new("project_id", "is invalid, expected 1 to 64 letters, digits, - and _")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TASK: &str = r#"{"name": "door", "service_version": "3.0", "edge_pool_id": "default",
        "input": {"type": "url", "data": [{"url": "rtsp://camera/1"}, {"url": "rtsp://camera/2"}]},
        "output": {"localpath": {"mount_source_path": "/out", "data_category": ["FaceImage"]}}}"#;

    #[test]
    fn tasks_keep_their_ids_and_bad_files_stay_out() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("door.json"), TASK).unwrap();
        std::fs::write(dir.path().join("broken.json"), "{").unwrap();
        std::fs::write(dir.path().join("notes.txt"), "not a task").unwrap();
        let mut folder = TaskFolder::new(dir.path().to_owned(), "here");
        assert!(folder.has_changed());
        let ids = |rows: &[TaskRow]| rows.iter().map(|row| row.id.clone()).collect::<Vec<_>>();
        let first = folder.rows();
        assert_eq!(first.len(), 2);
        assert_eq!((first[0].edge_pool_id.as_str(), first[0].project_id.as_str()), ("here", "default"));
        assert!(first[0].file.as_ref().unwrap().ends_with("door.json"));
        assert!(!folder.has_changed());
        assert_eq!(ids(&TaskFolder::new(dir.path().to_owned(), "here").rows()), ids(&first));

        std::fs::write(dir.path().join("door.json"), TASK.replace("camera/1", "camera/one")).unwrap();
        assert!(folder.has_changed());
        let changed = folder.rows();
        assert!(ids(&changed) == ids(&first) && changed[0].body != first[0].body);
        std::fs::remove_file(dir.path().join("door.json")).unwrap();
        assert!(folder.has_changed() && folder.rows().is_empty());
    }
}
