//! Messages as files: `<mount>/<stream>/faceimage/<yyyymmdd>/{pic,json}/<n>` and `…/originimage/…`.
//!
//! The day is that of the picture, in UTC; `n` counts up within a day's folder, eight digits wide at least. A file
//! appears whole or not at all: it is written under a hidden name, synced and renamed, the picture before the JSON,
//! and the folders are synced. So a JSON file says that the message is complete.
//!
//! A message that is written again (the box lost power between writing and noting it) is found by its id among the
//! folder's newest JSON files and not written twice. Files that were there are never overwritten, as long as one
//! process writes to a mount.

use std::collections::{HashMap, VecDeque};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Component, Path, PathBuf};

use parking_lot::Mutex;

use super::evidence::Evidence;
use super::payload;
use crate::domain::{Category, Message, UnixMs};

/// Newest messages of a folder that are known by their ids; more than can ever be in hand at once.
const REMEMBERED: usize = 256;
/// Folders whose state is kept; it can always be read again.
const FOLDERS: usize = 64;

pub struct LocalPathWriter {
    mount: PathBuf,
    durable: bool,
    folders: Mutex<HashMap<PathBuf, Folder>>,
}

/// Both relative to the mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    pub picture: PathBuf,
    pub json: PathBuf,
}

/// One day of one stream and category.
struct Folder {
    next: u64,
    /// Message id and number, newest last.
    newest: VecDeque<(String, u64)>,
}

impl LocalPathWriter {
    /// `mount`: an absolute path without `..`. It must exist when something is written: what lies below is made.
    pub fn new(mount: &Path) -> io::Result<Self> {
        let plain = mount.components().all(|c| matches!(c, Component::RootDir | Component::Normal(_)));
        if !mount.is_absolute() || !plain {
            let text = format!("the folder {} is not an absolute path without `..`", mount.display());
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        Ok(Self { mount: mount.to_owned(), durable: true, folders: Mutex::new(HashMap::new()) })
    }

    /// Without waiting for the disk: for a command whose run can be repeated, where the syncs would cost more than the
    /// analysis.
    pub fn not_durable(self) -> Self {
        Self { durable: false, ..self }
    }

    /// Returns when both files and their folders are on the disk, if the writer is durable.
    pub fn write(&self, message: &Message) -> io::Result<Written> {
        self.write_proved(message, None)
    }

    /// The same, with evidence in the JSON.
    pub fn write_proved(&self, message: &Message, evidence: Option<&Evidence>) -> io::Result<Written> {
        let first = self.write_files(message, evidence);
        // Somebody may have cleared a day's folder away, or mounted another disk.
        let again = |error: io::Error| match error.kind() {
            io::ErrorKind::NotFound => self.write_files(message, evidence),
            _ => Err(error),
        };
        first.or_else(again).map_err(|error| self.explained(&error))
    }

    /// With the folder, and what to do.
    fn explained(&self, error: &io::Error) -> io::Error {
        let mount = self.mount.display();
        let text = match error.kind() {
            io::ErrorKind::NotFound => format!("the folder {mount} does not exist: make it, or mount its disk"),
            io::ErrorKind::PermissionDenied => format!(
                "the folder {mount}, or one in it, may not be written to: give it to the user that face-edge runs as; \
                 below /home, allow it in the service's unit (ProtectHome=)"
            ),
            io::ErrorKind::ReadOnlyFilesystem => format!(
                "the folder {mount} may only be read here: mount its disk for writing, or allow it in the service's \
                 unit (ReadWritePaths=)"
            ),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                format!("the disk of the folder {mount} is full: make room")
            }
            _ => format!("the folder {mount}: {error}"),
        };
        io::Error::new(error.kind(), text)
    }

    fn write_files(&self, message: &Message, evidence: Option<&Evidence>) -> io::Result<Written> {
        fs::metadata(&self.mount)?;
        let day = day_folder(message);
        let mut folders = self.folders.lock();
        if folders.len() >= FOLDERS && !folders.contains_key(&day) {
            folders.clear();
        }
        let folder = match folders.entry(day.clone()) {
            std::collections::hash_map::Entry::Occupied(entry) => entry.into_mut(),
            std::collections::hash_map::Entry::Vacant(entry) => entry.insert(self.open(&day)?),
        };
        let id = payload::message_id(message);
        if let Some((_, number)) = folder.newest.iter().find(|(known, _)| *known == id) {
            return Ok(written(&day, *number));
        }
        let files = written(&day, folder.next);
        let json = payload::with_path(message, &files.picture.to_string_lossy(), evidence);
        let picture = self.put(&self.mount.join(&files.picture), message.jpeg());
        if let Err(error) = picture.and_then(|()| self.put(&self.mount.join(&files.json), json.as_bytes())) {
            // The next one looks what is there.
            folders.remove(&day);
            return Err(error);
        }
        folder.remember(id);
        Ok(files)
    }

    /// The whole file under its name, or nothing.
    fn put(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let folder = path.parent().expect("always below a day's folder");
        // One hidden name a folder: what a crash leaves is overwritten by the next file.
        let hidden = folder.join(".part");
        let mut file = File::create(&hidden)?;
        file.write_all(bytes)?;
        if !self.durable {
            return fs::rename(&hidden, path);
        }
        file.sync_all()?;
        fs::rename(&hidden, path)?;
        sync_dir(folder)
    }

    /// Makes the day's folders, and reads what an earlier run left there.
    fn open(&self, day: &Path) -> io::Result<Folder> {
        let pictures = make_dirs(&self.mount, &day.join("pic"))?;
        let jsons = make_dirs(&self.mount, &day.join("json"))?;
        let mut numbers = numbers(&jsons)?;
        numbers.sort_unstable();
        let last_message = numbers.last().copied().unwrap_or(0);
        let last_picture = self::numbers(&pictures)?.into_iter().max().unwrap_or(0);
        // One picture without its JSON is what a crash leaves: the message comes again and takes its place.
        let next = if last_picture == last_message + 1 { last_picture } else { last_message.max(last_picture) + 1 };
        let newest = numbers.iter().rev().take(REMEMBERED).rev();
        let newest = newest.filter_map(|n| Some((id_in(&jsons.join(file_name(*n, "json")))?, *n))).collect();
        Ok(Folder { next, newest })
    }
}

impl Folder {
    fn remember(&mut self, id: String) {
        if self.newest.len() >= REMEMBERED {
            self.newest.pop_front();
        }
        self.newest.push_back((id, self.next));
        self.next += 1;
    }
}

fn day_folder(message: &Message) -> PathBuf {
    let kind = match message.category() {
        Category::FaceImage => "faceimage",
        Category::OriginImage => "originimage",
    };
    Path::new(&safe_name(message.stream_id())).join(kind).join(day(message.taken_at()))
}

fn day(at: UnixMs) -> String {
    let date = chrono::DateTime::from_timestamp_millis(at.0).unwrap_or_default();
    date.format("%Y%m%d").to_string()
}

/// A stream's name as one folder name: what could lead elsewhere is written as %XX.
fn safe_name(stream_id: &str) -> String {
    let mut name = String::with_capacity(stream_id.len());
    for (index, c) in stream_id.chars().enumerate() {
        if c.is_alphanumeric() || matches!(c, '-' | '_') || (c == '.' && index > 0) {
            name.push(c);
        } else {
            let mut bytes = [0; 4];
            name.extend(c.encode_utf8(&mut bytes).bytes().map(|b| format!("%{b:02X}")));
        }
    }
    if name.is_empty() { "%00".to_owned() } else { name }
}

fn file_name(number: u64, extension: &str) -> String {
    format!("{number:08}.{extension}")
}

fn written(day: &Path, number: u64) -> Written {
    Written {
        picture: day.join("pic").join(file_name(number, "jpg")),
        json: day.join("json").join(file_name(number, "json")),
    }
}

fn numbers(folder: &Path) -> io::Result<Vec<u64>> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name();
        let number: Option<u64> =
            name.to_str().and_then(|name| name.split_once('.')).and_then(|(stem, _)| stem.parse().ok());
        numbers.extend(number);
    }
    Ok(numbers)
}

fn id_in(json: &Path) -> Option<String> {
    let message: serde_json::Value = serde_json::from_slice(&fs::read(json).ok()?).ok()?;
    Some(message.get("message_id")?.as_str()?.to_owned())
}

/// Makes the folders of `path` below `mount` and syncs each that got a new entry.
fn make_dirs(mount: &Path, path: &Path) -> io::Result<PathBuf> {
    let mut folder = mount.to_owned();
    for part in path.components() {
        let parent = folder.clone();
        folder.push(part);
        match fs::create_dir(&folder) {
            Ok(()) => sync_dir(&parent)?,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Ok(folder)
}

fn sync_dir(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_name_is_one_folder_below_the_mount() {
        for (stream, folder) in [
            ("cam-1", "cam-1"),
            ("../../etc", "%2E.%2F..%2Fetc"),
            ("..", "%2E."),
            ("a/b", "a%2Fb"),
            ("门口", "门口"),
            ("", "%00"),
        ] {
            assert_eq!(safe_name(stream), folder);
        }
    }

    #[test]
    fn a_mount_is_absolute_and_straight() {
        for bad in ["faces", "./faces", "/data/../etc", ""] {
            assert!(LocalPathWriter::new(Path::new(bad)).is_err(), "{bad}");
        }
        assert!(LocalPathWriter::new(Path::new("/data/faces")).is_ok());
    }

    #[test]
    fn an_error_names_the_folder_and_what_to_do() {
        let writer = LocalPathWriter::new(Path::new("/srv/faces")).unwrap();
        for (errno, said) in [
            (2, "/srv/faces does not exist: make it"),
            (13, "/srv/faces, or one in it, may not be written to: give it to the user"),
            (30, "/srv/faces may only be read here: mount its disk for writing"),
            (28, "the disk of the folder /srv/faces is full: make room"),
            (122, "the disk of the folder /srv/faces is full: make room"),
            (20, "the folder /srv/faces: Not a directory"),
        ] {
            let error = io::Error::from_raw_os_error(errno);
            let explained = writer.explained(&error);
            assert!(explained.to_string().contains(said), "{explained}");
            assert_eq!(explained.kind(), error.kind());
        }
    }

    #[test]
    fn days_are_those_of_utc() {
        assert_eq!(day(UnixMs(1_700_006_399_999)), "20231114");
        assert_eq!(day(UnixMs(1_700_006_400_000)), "20231115");
    }
}
