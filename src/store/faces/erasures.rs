//! Erasing a stored face for good, and the log that says so.
//!
//! What is deleted here is overwritten with zeroes in its page (`secure_delete`), and the writer empties the write-ahead
//! log before it answers, so that no copy stays behind. Each erased face leaves a row in a chain: its hash covers the
//! row and the hash before it, so that a row that is changed or taken out later breaks the chain. The row tells when,
//! why, and a hash of whose; nothing of the face.

use rusqlite::{Connection, OptionalExtension};
use sha2::{Digest, Sha256};

use super::super::error::StoreError;
use super::samples::Place;
use crate::domain::UnixMs;

/// Why a face went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// Its ticket ended.
    Expired,
    /// Somebody asked.
    Removed,
    /// Another picture took its place.
    Replaced,
}

impl Why {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::Removed => "removed",
            Self::Replaced => "replaced",
        }
    }
}

/// The log, checked from its first row to its last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErasureLog {
    pub rows: u64,
    /// Of the last row, in hex: written down elsewhere, it shows a log that was cut short.
    pub head: String,
    /// The first row that does not continue the chain.
    pub broken_at: Option<u64>,
}

/// False where there was no such sample.
pub fn erase(c: &Connection, place: &Place, why: Why, now: UnixMs) -> Result<bool, StoreError> {
    c.execute_batch("PRAGMA secure_delete = ON")?;
    let deleted = c
        .prepare_cached("DELETE FROM samples WHERE kind = ?1 AND owner = ?2 AND face = ?3")
        .and_then(|mut statement| statement.execute((place.kind, &place.owner, &place.face)));
    c.execute_batch("PRAGMA secure_delete = OFF")?;
    if deleted? == 0 {
        return Ok(false);
    }
    note(c, place, why, now)?;
    Ok(true)
}

/// The name under which an erased face stands in the log.
pub fn subject(place: &Place) -> [u8; 32] {
    Sha256::digest(format!("{}\n{}\n{}", place.kind, place.owner, place.face)).into()
}

fn note(c: &Connection, place: &Place, why: Why, now: UnixMs) -> Result<(), StoreError> {
    let last = c
        .prepare_cached("SELECT seq, hash FROM erasures ORDER BY seq DESC LIMIT 1")?
        .query_row([], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, Vec<u8>>(1)?)))
        .optional()?;
    let (seq, before) = last.map_or((1, Vec::new()), |(seq, hash)| (seq + 1, hash));
    let subject = subject(place);
    let hash = link(&before, seq, now.0, why.as_str(), &subject);
    c.prepare_cached("INSERT INTO erasures (seq, at, reason, subject, hash) VALUES (?1, ?2, ?3, ?4, ?5)")?
        .execute((seq, now.0, why.as_str(), &subject[..], &hash[..]))?;
    Ok(())
}

pub fn check(c: &Connection) -> Result<ErasureLog, StoreError> {
    let mut statement = c.prepare_cached("SELECT seq, at, reason, subject, hash FROM erasures ORDER BY seq")?;
    let mut rows = statement.query([])?;
    let (mut count, mut before, mut broken_at) = (0, Vec::new(), None);
    while let Some(row) = rows.next()? {
        count += 1;
        let (seq, hash): (i64, Vec<u8>) = (row.get(0)?, row.get(4)?);
        let expected = link(&before, seq, row.get(1)?, &row.get::<_, String>(2)?, &row.get::<_, Vec<u8>>(3)?);
        if broken_at.is_none() && (hash != expected || seq != count as i64) {
            broken_at = Some(count);
        }
        before = hash;
    }
    let head = before.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(ErasureLog { rows: count, head, broken_at })
}

fn link(before: &[u8], seq: i64, at: i64, reason: &str, subject: &[u8]) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(before);
    hash.update(format!("\n{seq}\n{at}\n{reason}\n"));
    hash.update(subject);
    hash.finalize().into()
}

/// The number of the last row.
pub fn last(c: &Connection) -> Result<i64, StoreError> {
    Ok(c.prepare_cached("SELECT coalesce(max(seq), 0) FROM erasures")?.query_row([], |row| row.get(0))?)
}

/// Empties the write-ahead log. False where a reader was in the way.
pub fn flush(c: &Connection) -> Result<bool, StoreError> {
    let busy: i64 = c.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))?;
    if busy != 0 {
        tracing::warn!("what was erased stays in the write-ahead log for now: the database is being read");
    }
    Ok(busy == 0)
}
