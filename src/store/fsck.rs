//! Looks for what does not fit together in the outbox, either way: files without a message, messages without their
//! picture, counts that are off, tracks whose next delivery was never let go; and puts it right when asked to.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use rusqlite::Connection;

use super::error::StoreError;
use super::{claim, eviction, picture_files};
use crate::domain::UnixMs;

/// A younger file may belong to a message that a running service is just committing.
const LEAST_FILE_AGE: Duration = Duration::from_secs(60);

/// How many of each were found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Findings {
    pub files_without_message: u64,
    pub messages_without_picture: u64,
    pub pictures_without_message: u64,
    pub wrong_counts: u64,
    pub stuck_tracks: u64,
    /// What SQLite itself says; such damage is not mended here.
    pub damage: Vec<String>,
}

impl Findings {
    pub fn is_clean(&self) -> bool {
        *self == Self::default()
    }

    pub fn rows(&self) -> [(&'static str, u64); 6] {
        [
            ("files_without_message", self.files_without_message),
            ("messages_without_picture", self.messages_without_picture),
            ("pictures_without_message", self.pictures_without_message),
            ("wrong_counts", self.wrong_counts),
            ("stuck_tracks", self.stuck_tracks),
            ("damage", self.damage.len() as u64),
        ]
    }
}

pub fn check(c: &Connection, mend: bool, now: UnixMs) -> Result<Findings, StoreError> {
    let damage = c
        .prepare("PRAGMA quick_check(20)")?
        .query_map([], |row| row.get::<_, String>(0))?
        .filter(|line| !matches!(line, Ok(line) if line == "ok"))
        .collect::<Result<Vec<_>, _>>()?;
    Ok(Findings {
        damage,
        files_without_message: files(c, mend, now)?,
        pictures_without_message: pictures(c, mend)?,
        messages_without_picture: messages(c, mend, now)?,
        stuck_tracks: tracks(c, mend)?,
        wrong_counts: counts(c, mend)?,
    })
}

/// At a start, when nothing is being committed: sweeps away what a crash left.
pub fn sweep_files(c: &Connection, now: UnixMs) -> Result<usize, StoreError> {
    let orphans = picture_files::orphans(c, now, Duration::ZERO)?;
    for file in &orphans {
        fs::remove_file(file)?;
    }
    Ok(orphans.len())
}

fn files(c: &Connection, mend: bool, now: UnixMs) -> Result<u64, StoreError> {
    let orphans = picture_files::orphans(c, now, LEAST_FILE_AGE)?;
    if mend {
        orphans.iter().try_for_each(fs::remove_file)?;
    }
    Ok(orphans.len() as u64)
}

fn pictures(c: &Connection, mend: bool) -> Result<u64, StoreError> {
    const STRAY: &str = "FROM pictures WHERE NOT EXISTS
        (SELECT 1 FROM messages m WHERE m.id = pictures.message AND m.picture_bytes > 0 AND m.picture_in_file = 0)";
    let found: i64 = c.query_row(&format!("SELECT count(*) {STRAY}"), [], |row| row.get(0))?;
    if mend && found > 0 {
        c.execute(&format!("DELETE {STRAY}"), [])?;
    }
    Ok(found.unsigned_abs())
}

/// Nothing can be sent of them: their open deliveries are dead, with the reason.
fn messages(c: &Connection, mend: bool, now: UnixMs) -> Result<u64, StoreError> {
    let folder = picture_files::folder(c);
    let mut lost = Vec::new();
    let mut statement = c.prepare(
        "SELECT m.id, m.message_id, m.picture_in_file, m.picture_bytes, length(p.jpeg)
         FROM messages m LEFT JOIN pictures p ON p.message = m.id WHERE m.picture_bytes > 0",
    )?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let held = if row.get(2)? {
            let file = picture_files::path(&folder, &row.get::<_, String>(1)?);
            fs::metadata(file).ok().and_then(|meta| i64::try_from(meta.len()).ok())
        } else {
            row.get(4)?
        };
        if held != Some(row.get(3)?) {
            lost.push(row.get(0)?);
        }
    }
    if mend {
        for message in &lost {
            eviction::bury(c, *message, "its picture was lost", now)?;
        }
    }
    Ok(lost.len() as u64)
}

/// Lanes in which deliveries wait behind one that is not there.
fn tracks(c: &Connection, mend: bool) -> Result<u64, StoreError> {
    let stuck = c
        .prepare(
            "SELECT output, lane FROM deliveries WHERE finished_at IS NULL GROUP BY output, lane
             HAVING sum(state <> 'queued') = 0",
        )?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<Result<Vec<(i64, Vec<u8>)>, _>>()?;
    if mend {
        for (output, lane) in &stuck {
            claim::promote(c, *output, lane)?;
        }
    }
    Ok(stuck.len() as u64)
}

fn counts(c: &Connection, mend: bool) -> Result<u64, StoreError> {
    const OPEN: &str = "(SELECT count(*) FROM deliveries d WHERE d.message = messages.id AND d.finished_at IS NULL)";
    const OPEN_OF_OUTPUT: &str =
        "(SELECT count(*) FROM deliveries d WHERE d.output = outputs.id AND d.finished_at IS NULL)";
    let mut wrong = 0;
    for (table, count) in [("messages", OPEN), ("outputs", OPEN_OF_OUTPUT)] {
        let sql = format!("SELECT count(*) FROM {table} WHERE open_deliveries <> {count}");
        wrong += c.query_row(&sql, [], |row| row.get::<_, i64>(0))?.unsigned_abs();
        if mend {
            c.execute(&format!("UPDATE {table} SET open_deliveries = {count} WHERE open_deliveries <> {count}"), [])?;
        }
    }
    for (name, value) in true_totals(c)? {
        wrong += u64::from(!c.prepare("SELECT 1 FROM totals WHERE name = ?1 AND value = ?2")?.exists((&name, value))?);
        if mend {
            c.execute("UPDATE totals SET value = ?2 WHERE name = ?1", (&name, value))?;
        }
    }
    Ok(wrong)
}

fn true_totals(c: &Connection) -> Result<BTreeMap<String, i64>, StoreError> {
    let states = ["queued", "ready", "claimed", "delivered", "dead"].map(|state| (state.to_owned(), 0));
    let mut totals = BTreeMap::from(states);
    let mut statement = c.prepare("SELECT state, count(*) FROM deliveries GROUP BY state")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        totals.insert(row.get(0)?, row.get(1)?);
    }
    for (kind, category) in [("face", "FaceImage"), ("origin", "OriginImage")] {
        let (pictures, bytes) = c.query_row(
            "SELECT count(*), coalesce(sum(picture_bytes), 0) FROM messages WHERE category = ?1 AND picture_bytes > 0",
            [category],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )?;
        totals.insert(format!("{kind}_pictures"), pictures);
        totals.insert(format!("{kind}_picture_bytes"), bytes);
    }
    Ok(totals)
}
