//! What goes when the outbox is full or old. Never silently: each delivery that dies here gets a reason and is
//! counted. Pictures of deliveries that died before go first, then the oldest OriginImage, then the oldest FaceImage;
//! a delivery that is being carried out stays.

use rusqlite::{Connection, OptionalExtension};

use super::claim;
use super::error::StoreError;
use super::outbox::{self, Limits};
use crate::domain::UnixMs;

/// Messages that one call of `trim` looks at, so that it never holds the writer for long.
const TRIM_BATCH: i64 = 500;

/// Deliveries that died.
pub fn make_room(connection: &Connection, now: UnixMs, limits: &Limits) -> Result<u64, StoreError> {
    let mut died = 0;
    while over_limits(connection, limits)? {
        let Some(message) = victim(connection)? else { break };
        died += bury(connection, message, "the outbox was full", now)?;
    }
    count_dead(died, "full");
    Ok(died)
}

/// Ends deliveries past their age, forgets what was finished long ago and outputs that nothing refers to. Answers how
/// many messages it touched: call again while that is not zero.
pub fn trim(connection: &Connection, now: UnixMs, limits: &Limits) -> Result<u64, StoreError> {
    let too_old = now.0.saturating_sub(limits.max_age.as_millis() as i64);
    let forgotten = now.0.saturating_sub(limits.keep_finished.as_millis() as i64);
    let expired = ids(
        connection,
        "SELECT m.id FROM messages m WHERE m.created_at < ?1 AND m.open_deliveries > 0 AND NOT EXISTS
            (SELECT 1 FROM deliveries d WHERE d.message = m.id AND d.state = 'claimed')
         ORDER BY m.created_at LIMIT ?2",
        too_old,
    )?;
    let mut died = 0;
    for message in &expired {
        died += bury(connection, *message, "it was not delivered in time", now)?;
    }
    count_dead(died, "age");
    let finished = ids(
        connection,
        "SELECT id FROM messages WHERE created_at < ?1 AND open_deliveries = 0 ORDER BY created_at LIMIT ?2",
        forgotten,
    )?;
    for message in &finished {
        connection.prepare_cached("DELETE FROM messages WHERE id = ?1")?.execute([message])?;
    }
    connection.execute(
        "DELETE FROM outputs WHERE NOT EXISTS (SELECT 1 FROM deliveries WHERE deliveries.output = outputs.id)",
        [],
    )?;
    Ok((expired.len() + finished.len()) as u64)
}

fn over_limits(connection: &Connection, limits: &Limits) -> Result<bool, StoreError> {
    let totals = outbox::totals(connection)?;
    Ok(totals.pictures > limits.max_pictures || totals.picture_bytes > limits.max_picture_bytes)
}

fn victim(connection: &Connection) -> Result<Option<i64>, StoreError> {
    const DEAD: &str = "SELECT id FROM messages WHERE picture_bytes > 0 AND open_deliveries = 0 ORDER BY id LIMIT 1";
    const OLDEST: &str = "SELECT id FROM messages m WHERE picture_bytes > 0 AND category = ?1 AND NOT EXISTS
            (SELECT 1 FROM deliveries d WHERE d.message = m.id AND d.state = 'claimed')
         ORDER BY id LIMIT 1";
    let dead = connection.prepare_cached(DEAD)?.query_row([], |row| row.get(0)).optional()?;
    if dead.is_some() {
        return Ok(dead);
    }
    for category in ["OriginImage", "FaceImage"] {
        let oldest = connection.prepare_cached(OLDEST)?.query_row([category], |row| row.get(0)).optional()?;
        if oldest.is_some() {
            return Ok(oldest);
        }
    }
    Ok(None)
}

/// Ends a message's open deliveries and drops its picture.
fn bury(connection: &Connection, message: i64, reason: &str, now: UnixMs) -> Result<u64, StoreError> {
    let open = connection
        .prepare_cached("SELECT id FROM deliveries WHERE message = ?1 AND finished_at IS NULL ORDER BY id")?
        .query_map([message], |row| row.get(0))?
        .collect::<Result<Vec<i64>, _>>()?;
    for id in &open {
        claim::finish(connection, *id, "dead", Some(reason), now)?;
    }
    claim::drop_picture(connection, message)?;
    Ok(open.len() as u64)
}

fn ids(connection: &Connection, sql: &str, before: i64) -> Result<Vec<i64>, StoreError> {
    let mut statement = connection.prepare_cached(sql)?;
    let ids = statement.query_map((before, TRIM_BATCH), |row| row.get(0))?;
    Ok(ids.collect::<Result<_, _>>()?)
}

fn count_dead(deliveries: u64, reason: &'static str) {
    if deliveries > 0 {
        metrics::counter!("face_edge_dropped_total", "stage" => "outbox", "reason" => reason).increment(deliveries);
        tracing::warn!(deliveries, reason, "deliveries died undelivered");
    }
}
