//! What the rules decided about each track, so that anybody can ask why a face was sent or not. Bounded: the newest
//! hundred thousand.

use rusqlite::{Connection, Row};

use super::error::StoreError;
use super::moment::UpMs;
use crate::domain::UnixMs;

const KEPT: i64 = 100_000;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    pub task_id: String,
    /// The track.
    pub face_id: String,
    pub at: UnixMs,
    /// Since the stream's start.
    pub stream_ms: u64,
    /// In words, with the figures and the setting's name.
    pub what: String,
}

pub fn add(connection: &Connection, rows: &[Decision], now: UpMs) -> Result<(), StoreError> {
    let mut insert = connection.prepare_cached(
        "INSERT INTO decisions (task_id, face_id, at, born_at, stream_ms, what) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?;
    for row in rows {
        insert.execute((&row.task_id, &row.face_id, row.at.0, now.0, row.stream_ms as i64, &row.what))?;
    }
    connection
        .prepare_cached("DELETE FROM decisions WHERE id <= (SELECT max(id) FROM decisions) - ?1")?
        .execute([KEPT])?;
    Ok(())
}

/// The newest, in their order.
pub fn list(
    connection: &Connection,
    task_id: &str,
    face_id: Option<&str>,
    limit: u32,
) -> Result<Vec<Decision>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT task_id, face_id, at, stream_ms, what FROM decisions
         WHERE task_id = ?1 AND (?2 IS NULL OR face_id = ?2) ORDER BY id DESC LIMIT ?3",
    )?;
    let mut rows = statement.query_map((task_id, face_id, limit), read)?.collect::<Result<Vec<_>, _>>()?;
    rows.reverse();
    Ok(rows)
}

fn read(row: &Row<'_>) -> rusqlite::Result<Decision> {
    Ok(Decision {
        task_id: row.get(0)?,
        face_id: row.get(1)?,
        at: UnixMs(row.get(2)?),
        stream_ms: row.get::<_, i64>(3)?.unsigned_abs(),
        what: row.get(4)?,
    })
}
