//! Task files of a folder (`serve --tasks DIR`): each `*.json` is a create body. The folder is looked at again and
//! again, which works on every file system. A file that is not valid is reported once and left out; the others run.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use uuid::Uuid;

use crate::domain::{Task, TaskId};
use crate::task_json::{TaskProblem, TaskSpec};

/// A larger file is no task.
const MAX_BYTES: u64 = 1 << 20;

pub struct TaskFolder {
    folder: PathBuf,
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
    pub fn new(folder: PathBuf) -> Self {
        Self { folder, seen: None }
    }

    /// Whether anything differs from what [`TaskFolder::tasks`] gave last.
    pub fn has_changed(&mut self) -> bool {
        self.seen.as_ref() != Some(&list(&self.folder))
    }

    pub fn tasks(&mut self) -> BTreeMap<TaskId, Arc<Task>> {
        let listing = list(&self.folder);
        let is_news = self.seen.as_ref() != Some(&listing);
        let mut tasks = BTreeMap::new();
        for (file, (_, bytes)) in &listing {
            match read(file, *bytes) {
                Ok(found) => tasks.extend(found.into_iter().map(|task| (task.id.clone(), Arc::new(task)))),
                Err(error) if is_news => tracing::error!(%error, "task file left out"),
                Err(_) => {}
            }
        }
        self.seen = Some(listing);
        tasks
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

fn read(file: &Path, bytes: u64) -> Result<Vec<Task>, FolderError> {
    let name = || file.display().to_string();
    if bytes > MAX_BYTES {
        return Err(FolderError::TooLarge { file: name(), bytes });
    }
    let text = std::fs::read(file).map_err(|source| FolderError::Read { file: name(), source })?;
    let spec = TaskSpec::parse(&text).map_err(|problem| FolderError::Task { file: name(), problem })?;
    let stem = file.file_stem().unwrap_or_default().as_encoded_bytes().to_vec();
    // The file's name makes the ids, so that a task keeps its id over restarts and changes.
    let ids = (0u32..).map(|position| {
        let seed = [stem.as_slice(), b"\0", &position.to_be_bytes()].concat();
        TaskId::from_uuid(Uuid::new_v5(&Uuid::NAMESPACE_URL, &seed))
    });
    Ok(spec.tasks(ids))
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
        let mut folder = TaskFolder::new(dir.path().to_owned());
        assert!(folder.has_changed());
        let first = folder.tasks();
        assert_eq!(first.len(), 2);
        assert!(!folder.has_changed());
        assert_eq!(TaskFolder::new(dir.path().to_owned()).tasks(), first);

        std::fs::write(dir.path().join("door.json"), TASK.replace("camera/1", "camera/one")).unwrap();
        assert!(folder.has_changed());
        let changed = folder.tasks();
        assert!(changed.keys().eq(first.keys()) && changed != first);
        std::fs::remove_file(dir.path().join("door.json")).unwrap();
        assert!(folder.has_changed() && folder.tasks().is_empty());
    }
}
