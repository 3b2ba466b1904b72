//! Large pictures as files, `pictures/<aa>/<message id>.jpg` beside the database: written and synced with their folder
//! before the message commits, deleted after the commit that lets go of them. What a crash leaves in between is a file
//! without a row, which the next start sweeps away; never a row without its file.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use rusqlite::Connection;
use uuid::Uuid;

use super::error::StoreError;
use crate::domain::UnixMs;

const FOLDER: &str = "pictures";
const EXTENSION: &str = "jpg";

/// Notes, in the transaction that lets go of a picture, which file is to go after its commit.
pub const SETUP: &str = "CREATE TEMP TABLE gone (message_id TEXT NOT NULL);
    CREATE TEMP TRIGGER picture_let_go AFTER UPDATE OF picture_bytes ON main.messages
        WHEN OLD.picture_in_file = 1 AND OLD.picture_bytes > 0 AND NEW.picture_bytes = 0
        BEGIN INSERT INTO gone VALUES (OLD.message_id); END;
    CREATE TEMP TRIGGER message_let_go AFTER DELETE ON main.messages
        WHEN OLD.picture_in_file = 1 AND OLD.picture_bytes > 0
        BEGIN INSERT INTO gone VALUES (OLD.message_id); END;";

/// The folder of a database's pictures.
pub fn folder(connection: &Connection) -> PathBuf {
    let database = Path::new(connection.path().unwrap_or_default());
    database.parent().unwrap_or(Path::new("")).join(FOLDER)
}

pub fn path(folder: &Path, message_id: &str) -> PathBuf {
    folder.join(message_id.get(..2).unwrap_or("xx")).join(format!("{message_id}.{EXTENSION}"))
}

/// On the disk when it returns: the file, and its name in its folder.
pub fn write(data_dir: &Path, message_id: Uuid, jpeg: &[u8]) -> io::Result<()> {
    let file = path(&data_dir.join(FOLDER), &message_id.to_string());
    let parent = file.parent().expect("always in a folder");
    if !parent.is_dir() {
        DirBuilder::new().recursive(true).mode(0o700).create(parent)?;
        sync(&data_dir.join(FOLDER))?;
        sync(data_dir)?;
    }
    let hidden = file.with_extension("part");
    let written = put(&hidden, jpeg).and_then(|()| fs::rename(&hidden, &file)).and_then(|()| sync(parent));
    if written.is_err() {
        // What could not be written takes no room on a disk that is full.
        fs::remove_file(&hidden).ok();
    }
    written
}

fn put(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// After a commit: deletes the files of pictures that were let go.
pub fn delete_gone(connection: &Connection) -> Result<(), StoreError> {
    if !connection.prepare_cached("SELECT 1 FROM temp.gone")?.exists([])? {
        return Ok(());
    }
    let folder = folder(connection);
    let mut statement = connection.prepare_cached("SELECT message_id FROM temp.gone")?;
    let ids = statement.query_map([], |row| row.get::<_, String>(0))?.collect::<Result<Vec<_>, _>>()?;
    for id in ids {
        match fs::remove_file(path(&folder, &id)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(%error, message_id = id, "a picture's file could not be deleted; the next start tries");
            }
            _ => {}
        }
    }
    connection.execute("DELETE FROM temp.gone", [])?;
    Ok(())
}

/// Files of no message, at least so old. Young ones may belong to a message that is just being committed.
pub fn orphans(connection: &Connection, now: UnixMs, least_age: Duration) -> Result<Vec<PathBuf>, StoreError> {
    let folder = folder(connection);
    let mut orphans = Vec::new();
    let mut known = connection
        .prepare_cached("SELECT 1 FROM messages WHERE message_id = ?1 AND picture_in_file = 1 AND picture_bytes > 0")?;
    for shelf in entries(&folder)? {
        for file in entries(&shelf)? {
            let is_picture = file.extension().is_some_and(|extension| extension == EXTENSION);
            let id = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            if (least_age.is_zero() || age(&file, now) >= least_age) && !(is_picture && known.exists([id])?) {
                orphans.push(file);
            }
        }
    }
    Ok(orphans)
}

/// Zero where it cannot be known.
fn age(file: &Path, now: UnixMs) -> Duration {
    let modified = fs::metadata(file).and_then(|meta| meta.modified()).ok();
    let since_epoch = modified.and_then(|at| at.duration_since(UNIX_EPOCH).ok()).unwrap_or(Duration::MAX);
    Duration::from_millis(u64::try_from(now.0).unwrap_or(0)).saturating_sub(since_epoch)
}

fn entries(folder: &Path) -> io::Result<Vec<PathBuf>> {
    match fs::read_dir(folder) {
        Ok(entries) => entries.map(|entry| Ok(entry?.path())).collect(),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}
