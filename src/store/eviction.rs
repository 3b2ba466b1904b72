//! What goes when the outbox is full or old. Never silently: each delivery that dies here gets a reason and is
//! counted. Whole frames go before faces, pictures that nobody waits for before those that somebody does, old ones
//! before new ones; a delivery that is being carried out stays. Age is the time that the service has been up since, so
//! a clock that is put right ages nothing.

use rusqlite::{Connection, OptionalExtension};

use super::error::StoreError;
use super::moment::Moment;
use super::outbox::{self, Limits};
use super::{claim, erasure};
use crate::domain::{Category, UnixMs};

/// Messages that one call of `trim` looks at, so that it never holds the writer for long.
pub(super) const TRIM_BATCH: i64 = 500;
/// The service's own time is noted at most so often: each note is a write to the disk.
const NOTE_UP_EVERY_MS: i64 = 60_000;

/// Deliveries that died.
pub fn make_room(connection: &Connection, now: UnixMs, limits: &Limits) -> Result<u64, StoreError> {
    let mut died = 0;
    while let Some(first) = gives_way(connection, limits)? {
        let Some(message) = victim(connection, first)? else { break };
        died += bury(connection, message, "the outbox was full", now)?;
    }
    count_dead(died, "full");
    Ok(died)
}

/// Which kind is to lose a message first, if any.
fn gives_way(connection: &Connection, limits: &Limits) -> Result<Option<GivesWay>, StoreError> {
    let held = outbox::totals(connection)?;
    let Limits { faces, origins, .. } = limits;
    let origins_over = held.origin_pictures > origins.max_pictures || held.origin_picture_bytes > origins.max_bytes;
    if origins_over {
        return Ok(Some(GivesWay::OriginOnly));
    }
    let over = held.face_pictures > faces.max_pictures || held.picture_bytes() > faces.max_bytes + origins.max_bytes;
    Ok(over.then_some(GivesWay::OriginThenFace))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum GivesWay {
    OriginOnly,
    OriginThenFace,
}

/// Ends deliveries past their age, lets go of pictures that nobody may fetch any more, forgets what was finished long
/// ago and outputs that nothing refers to. Answers how many messages it touched: again while that is not zero.
pub fn trim(connection: &Connection, now: Moment, limits: &Limits) -> Result<u64, StoreError> {
    note_up(connection, now)?;
    let touched = erasure::erase(connection, now)?
        + expire(connection, now, limits)?
        + drop_fetched(connection, now.wall)?
        + forget(connection, now.up.before(limits.keep_finished).0)?;
    connection.execute(
        "DELETE FROM outputs WHERE open_deliveries = 0 AND chain_number = 0 AND disabled_at IS NULL
            AND NOT EXISTS (SELECT 1 FROM deliveries WHERE deliveries.output = outputs.id)",
        [],
    )?;
    Ok(touched)
}

fn note_up(connection: &Connection, now: Moment) -> Result<(), StoreError> {
    connection
        .prepare_cached("UPDATE totals SET value = ?1 WHERE name = 'up_ms' AND value <= ?1 - ?2")?
        .execute((now.up.0, NOTE_UP_EVERY_MS))?;
    Ok(())
}

fn expire(connection: &Connection, now: Moment, limits: &Limits) -> Result<u64, StoreError> {
    let (mut died, mut touched) = (0, 0);
    for (category, budget) in [(Category::OriginImage, limits.origins), (Category::FaceImage, limits.faces)] {
        let expired = connection
            .prepare_cached(
                "SELECT m.id FROM messages m
                 WHERE m.category = ?1 AND m.born_at < ?2 AND m.open_deliveries > 0 AND NOT EXISTS
                    (SELECT 1 FROM deliveries d WHERE d.message = m.id AND d.state = 'claimed')
                 ORDER BY m.born_at LIMIT ?3",
            )?
            .query_map((category.as_str(), now.up.before(budget.max_age).0, TRIM_BATCH), |row| row.get(0))?
            .collect::<Result<Vec<i64>, _>>()?;
        for message in &expired {
            died += bury(connection, *message, "it was not delivered in time", now.wall)?;
        }
        touched += expired.len() as u64;
    }
    count_dead(died, "age");
    Ok(touched)
}

/// Pictures of delivered messages that were kept for their receiver to fetch.
fn drop_fetched(connection: &Connection, now: UnixMs) -> Result<u64, StoreError> {
    let over = connection
        .prepare_cached(
            "SELECT id FROM messages m WHERE picture_until > 0 AND picture_until <= ?1 AND picture_bytes > 0
                AND open_deliveries = 0 AND NOT EXISTS
                (SELECT 1 FROM deliveries d WHERE d.message = m.id AND d.state <> 'delivered') LIMIT ?2",
        )?
        .query_map((now.0, TRIM_BATCH), |row| row.get(0))?
        .collect::<Result<Vec<i64>, _>>()?;
    for message in &over {
        claim::drop_picture(connection, *message)?;
    }
    Ok(over.len() as u64)
}

fn forget(connection: &Connection, born_before: i64) -> Result<u64, StoreError> {
    let finished = connection
        .prepare_cached("SELECT id FROM messages WHERE born_at < ?1 AND open_deliveries = 0 ORDER BY born_at LIMIT ?2")?
        .query_map((born_before, TRIM_BATCH), |row| row.get(0))?
        .collect::<Result<Vec<i64>, _>>()?;
    for message in &finished {
        connection.prepare_cached("DELETE FROM messages WHERE id = ?1")?.execute([message])?;
    }
    Ok(finished.len() as u64)
}

fn victim(connection: &Connection, first: GivesWay) -> Result<Option<i64>, StoreError> {
    const DONE: &str = "SELECT id FROM messages WHERE picture_bytes > 0 AND open_deliveries = 0 AND category = ?1
         ORDER BY id LIMIT 1";
    const OLDEST: &str = "SELECT id FROM messages m WHERE picture_bytes > 0 AND category = ?1 AND NOT EXISTS
            (SELECT 1 FROM deliveries d WHERE d.message = m.id AND d.state = 'claimed')
         ORDER BY id LIMIT 1";
    let both = [Category::OriginImage, Category::FaceImage];
    let kinds = if first == GivesWay::OriginOnly { &both[..1] } else { &both[..] };
    for sql in [DONE, OLDEST] {
        for category in kinds {
            let found = connection.prepare_cached(sql)?.query_row([category.as_str()], |row| row.get(0)).optional()?;
            if found.is_some() {
                return Ok(found);
            }
        }
    }
    Ok(None)
}

/// Ends a message's open deliveries and drops its picture.
pub(super) fn bury(connection: &Connection, message: i64, reason: &str, now: UnixMs) -> Result<u64, StoreError> {
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

pub(super) fn count_dead(deliveries: u64, reason: &'static str) {
    if deliveries > 0 {
        metrics::counter!("face_edge_dropped_total", "stage" => "outbox", "reason" => reason).increment(deliveries);
        tracing::warn!(deliveries, reason, "deliveries died undelivered");
    }
}
