//! Messages on their way: in with one transaction, claimed when due, recorded when tried.
//!
//! A message exists if and only if its transaction committed, with its deliveries. Deliveries of one output and track
//! go strictly in the order in which they came: a later one is `queued` until the earlier is delivered or dead, and
//! only then `ready`. So a claim looks at nothing that it cannot take, and costs the same with any backlog.

use std::sync::Arc;
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension};

use super::body;
use super::error::StoreError;
use super::eviction;
use super::target::OutputTarget;
use crate::domain::{Category, Message, UnixMs};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DeliveryId(pub i64);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OutputId(pub i64);

/// What the outbox may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Messages that still have their picture.
    pub max_pictures: u64,
    pub max_picture_bytes: u64,
    /// An open delivery of an older message is dead.
    pub max_age: Duration,
    /// What was delivered or is dead stays listed for this long.
    pub keep_finished: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        const DAY: Duration = Duration::from_secs(24 * 3600);
        Self { max_pictures: 200_000, max_picture_bytes: 4 << 30, max_age: DAY * 4, keep_finished: DAY * 7 }
    }
}

/// A message made ready for its row outside of the writer's thread.
pub struct NewMessage {
    pub message: Message,
    pub body: String,
    pub outputs: Vec<OutputTarget>,
    pub now: UnixMs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Enqueued {
    /// 0 where no output asks for it, or where the same message is there already.
    pub deliveries: usize,
    /// Deliveries of other messages that died to make room.
    pub evicted: u64,
}

/// One delivery to carry out. Nobody else gets it until it is recorded or the service starts anew.
#[derive(Debug, Clone)]
pub struct Claimed {
    pub delivery: DeliveryId,
    pub output: OutputId,
    pub target: Arc<OutputTarget>,
    pub message: Arc<Message>,
    /// Counts the tries of this delivery, this one included, from 1.
    pub attempt: u32,
    /// From when the time to give up counts.
    pub waiting_since: UnixMs,
}

#[derive(Debug, Default)]
pub struct Claim {
    pub deliveries: Vec<Claimed>,
    /// When the next one that waits for its time is due.
    pub next_due: Option<UnixMs>,
}

/// What became of a claimed delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    pub delivery: DeliveryId,
    pub at: UnixMs,
    pub outcome: Outcome,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    Delivered,
    Retry { due_at: UnixMs, reason: String },
    Dead { reason: String },
}

/// Deliveries by state, and the pictures held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Totals {
    /// Waiting: for their time, or for an earlier one of their track.
    pub pending: u64,
    pub claimed: u64,
    pub delivered: u64,
    pub dead: u64,
    pub pictures: u64,
    pub picture_bytes: u64,
}

pub fn enqueue(connection: &Connection, new: &NewMessage, limits: &Limits) -> Result<Enqueued, StoreError> {
    if new.outputs.is_empty() {
        return Ok(Enqueued::default());
    }
    let Some(message) = insert_message(connection, new)? else { return Ok(Enqueued::default()) };
    connection
        .prepare_cached("INSERT INTO pictures (message, jpeg) VALUES (?1, ?2)")?
        .execute((message, &new.message.jpeg()[..]))?;
    for target in &new.outputs {
        let output = output_id(connection, new, target)?;
        insert_delivery(connection, new, message, output)?;
    }
    let evicted = eviction::make_room(connection, new.now, limits)?;
    Ok(Enqueued { deliveries: new.outputs.len(), evicted })
}

/// `None` where the message is there already: an enqueue may be repeated when its answer was lost.
fn insert_message(connection: &Connection, new: &NewMessage) -> Result<Option<i64>, StoreError> {
    let message = &new.message;
    let (face_id, seq) = match message {
        Message::Face(face) => (Some(face.face_id.to_string()), Some(face.seq)),
        Message::Origin(_) => (None, None),
    };
    let inserted = connection
        .prepare_cached(
            "INSERT INTO messages (message_id, category, task_id, stream_id, face_id, seq, taken_at, created_at, body,
                                   picture_bytes, open_deliveries)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11) ON CONFLICT (message_id) DO NOTHING",
        )?
        .execute((
            message.id().to_string(),
            message.category().as_str(),
            message.task_id().as_str(),
            message.stream_id(),
            face_id,
            seq,
            message.taken_at().0,
            new.now.0,
            &new.body,
            message.jpeg().len() as i64,
            new.outputs.len() as i64,
        ))?;
    Ok((inserted > 0).then(|| connection.last_insert_rowid()))
}

fn output_id(connection: &Connection, new: &NewMessage, target: &OutputTarget) -> Result<i64, StoreError> {
    let json = serde_json::to_string(target).expect("strings only: always JSON");
    let key = (new.message.task_id().as_str(), target.kind(), json);
    let found = connection
        .prepare_cached("SELECT id FROM outputs WHERE task_id = ?1 AND kind = ?2 AND target = ?3")?
        .query_row((key.0, key.1, &key.2), |row| row.get(0))
        .optional()?;
    if let Some(id) = found {
        return Ok(id);
    }
    connection.execute(
        "INSERT INTO outputs (task_id, kind, target, created_at) VALUES (?1, ?2, ?3, ?4)",
        (key.0, key.1, &key.2, new.now.0),
    )?;
    Ok(connection.last_insert_rowid())
}

fn insert_delivery(connection: &Connection, new: &NewMessage, message: i64, output: i64) -> Result<(), StoreError> {
    let (lane, priority) = match &new.message {
        Message::Face(face) => (face.face_id, priority(Category::FaceImage)),
        Message::Origin(origin) => (origin.message_id, priority(Category::OriginImage)),
    };
    connection
        .prepare_cached(
            "INSERT INTO deliveries (message, output, lane, priority, due_at, waiting_since, state)
             SELECT ?1, ?2, ?3, ?4, ?5, ?5, CASE WHEN EXISTS (
                 SELECT 1 FROM deliveries WHERE output = ?2 AND lane = ?3 AND finished_at IS NULL
             ) THEN 'queued' ELSE 'ready' END",
        )?
        .execute((message, output, lane.as_bytes(), priority, new.now.0))?;
    Ok(())
}

const fn priority(category: Category) -> i64 {
    match category {
        Category::FaceImage => 0,
        Category::OriginImage => 1,
    }
}

/// Takes what is due, so many an output that at most `per_output` of it are claimed at once.
pub fn claim_due(connection: &Connection, now: UnixMs, per_output: usize) -> Result<Claim, StoreError> {
    let mut claim = Claim::default();
    for (output, target) in outputs(connection)? {
        let busy: i64 = connection.prepare_cached(BUSY_SQL)?.query_row([output], |row| row.get(0))?;
        let mut room = (per_output as i64 - busy).max(0);
        for category in [Category::FaceImage, Category::OriginImage] {
            let due = due_ids(connection, output, priority(category), now, room)?;
            room -= due.len() as i64;
            for id in due {
                claim.deliveries.extend(take(connection, id, now, OutputId(output), &target)?);
            }
            let next = next_due(connection, output, priority(category), now)?;
            claim.next_due = [claim.next_due, next].into_iter().flatten().min();
        }
    }
    Ok(claim)
}

fn outputs(connection: &Connection) -> Result<Vec<(i64, Arc<OutputTarget>)>, StoreError> {
    let mut statement = connection.prepare_cached("SELECT id, target FROM outputs ORDER BY id")?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get::<_, String>(1)?)))?;
    rows.map(|row| {
        let (id, json) = row?;
        let target = serde_json::from_str(&json)
            .map_err(|_| StoreError::Corrupt { detail: format!("the target of output {id} cannot be read") })?;
        Ok((id, Arc::new(target)))
    })
    .collect()
}

const BUSY_SQL: &str = "SELECT count(*) FROM deliveries WHERE state = 'claimed' AND output = ?1";
const DUE_SQL: &str =
    "SELECT id FROM deliveries WHERE state = 'ready' AND output = ?1 AND priority = ?2 AND due_at <= ?3
     ORDER BY due_at, id LIMIT ?4";
const NEXT_DUE_SQL: &str =
    "SELECT min(due_at) FROM deliveries WHERE state = 'ready' AND output = ?1 AND priority = ?2 AND due_at > ?3";
const PROMOTE_SQL: &str = "UPDATE deliveries SET state = 'ready' WHERE id = (
        SELECT id FROM deliveries WHERE output = ?1 AND lane = ?2 AND finished_at IS NULL ORDER BY id LIMIT 1
     ) AND state = 'queued'";

fn due_ids(c: &Connection, output: i64, priority: i64, now: UnixMs, limit: i64) -> Result<Vec<i64>, StoreError> {
    let mut statement = c.prepare_cached(DUE_SQL)?;
    let ids = statement.query_map((output, priority, now.0, limit), |row| row.get(0))?;
    Ok(ids.collect::<Result<_, _>>()?)
}

fn next_due(c: &Connection, output: i64, priority: i64, now: UnixMs) -> Result<Option<UnixMs>, StoreError> {
    let due: Option<i64> = c.prepare_cached(NEXT_DUE_SQL)?.query_row((output, priority, now.0), |row| row.get(0))?;
    Ok(due.map(UnixMs))
}

/// Marks one delivery as claimed and loads it. One that cannot be read is dead, and the others go on.
fn take(
    c: &Connection,
    id: i64,
    now: UnixMs,
    output: OutputId,
    target: &Arc<OutputTarget>,
) -> Result<Option<Claimed>, StoreError> {
    c.prepare_cached(
        "UPDATE deliveries SET state = 'claimed', attempts = attempts + 1, last_attempt_at = ?2 WHERE id = ?1",
    )?
    .execute((id, now.0))?;
    let loaded = c
        .prepare_cached(
            "SELECT d.attempts, d.waiting_since, m.body, p.jpeg FROM deliveries d
             JOIN messages m ON m.id = d.message JOIN pictures p ON p.message = m.id WHERE d.id = ?1",
        )?
        .query_row([id], |row| {
            let jpeg: Arc<[u8]> = Arc::from(row.get_ref(3)?.as_blob()?);
            let body: String = row.get(2)?;
            Ok((row.get(0)?, UnixMs(row.get(1)?), body::read(&body, jpeg)))
        })
        .optional()?;
    let delivery = DeliveryId(id);
    let Some((attempt, waiting_since, Some(message))) = loaded else {
        let reason = "its stored message or picture cannot be read".to_owned();
        record(c, &Attempt { delivery, at: now, outcome: Outcome::Dead { reason } })?;
        return Ok(None);
    };
    let (target, message) = (Arc::clone(target), Arc::new(message));
    Ok(Some(Claimed { delivery, output, target, message, attempt, waiting_since }))
}

/// False, and nothing done, where the delivery is not claimed (any more).
pub fn record(connection: &Connection, attempt: &Attempt) -> Result<bool, StoreError> {
    let id = attempt.delivery.0;
    let claimed =
        connection.prepare_cached("SELECT 1 FROM deliveries WHERE id = ?1 AND state = 'claimed'")?.exists([id])?;
    if !claimed {
        return Ok(false);
    }
    match &attempt.outcome {
        Outcome::Delivered => finish(connection, id, "delivered", None, attempt.at)?,
        Outcome::Dead { reason } => finish(connection, id, "dead", Some(reason), attempt.at)?,
        Outcome::Retry { due_at, reason } => {
            connection
                .prepare_cached("UPDATE deliveries SET state = 'ready', due_at = ?2, reason = ?3 WHERE id = ?1")?
                .execute((id, due_at.0, reason))?;
        }
    }
    Ok(true)
}

/// Ends an open delivery and lets the next of its lane go.
pub(super) fn finish(c: &Connection, id: i64, state: &str, reason: Option<&str>, at: UnixMs) -> Result<(), StoreError> {
    let (message, output, lane): (i64, i64, Vec<u8>) = c
        .prepare_cached(
            "UPDATE deliveries SET state = ?2, reason = ?3, finished_at = ?4 WHERE id = ?1
             RETURNING message, output, lane",
        )?
        .query_row((id, state, reason, at.0), |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    c.prepare_cached("UPDATE messages SET open_deliveries = open_deliveries - 1 WHERE id = ?1")?.execute([message])?;
    let undelivered =
        c.prepare_cached("SELECT 1 FROM deliveries WHERE message = ?1 AND state <> 'delivered'")?.exists([message])?;
    if !undelivered {
        drop_picture(c, message)?;
    }
    c.prepare_cached(PROMOTE_SQL)?.execute((output, lane))?;
    Ok(())
}

pub(super) fn drop_picture(connection: &Connection, message: i64) -> Result<(), StoreError> {
    connection.prepare_cached("DELETE FROM pictures WHERE message = ?1")?.execute([message])?;
    connection.prepare_cached("UPDATE messages SET picture_bytes = 0 WHERE id = ?1")?.execute([message])?;
    Ok(())
}

/// What a killed service had in hand is pending again. Run before the first claim, by the one service of the folder.
pub fn recover(connection: &Connection) -> Result<usize, StoreError> {
    Ok(connection.execute("UPDATE deliveries SET state = 'ready' WHERE state = 'claimed'", [])?)
}

pub fn trim(connection: &Connection, now: UnixMs, limits: &Limits) -> Result<u64, StoreError> {
    eviction::trim(connection, now, limits)
}

pub fn totals(connection: &Connection) -> Result<Totals, StoreError> {
    let mut totals = Totals::default();
    let mut statement = connection.prepare_cached("SELECT name, value FROM totals")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let value = u64::try_from(row.get::<_, i64>(1)?).unwrap_or(0);
        match row.get_ref(0)?.as_str().unwrap_or_default() {
            "queued" | "ready" => totals.pending += value,
            "claimed" => totals.claimed = value,
            "delivered" => totals.delivered = value,
            "dead" => totals.dead = value,
            "pictures" => totals.pictures = value,
            "picture_bytes" => totals.picture_bytes = value,
            _ => {}
        }
    }
    Ok(totals)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A claim must cost the same with any backlog, so each of its steps has to be a search in an index that holds
    /// nothing but what it looks for: no scan, no sorting.
    #[test]
    fn every_step_of_a_claim_is_an_index_search() {
        let connection = Connection::open_in_memory().unwrap();
        super::super::migrations::migrate(&connection).unwrap();
        for (sql, index) in [
            (DUE_SQL, "deliveries_ready (output=? AND priority=? AND due_at<?)"),
            (NEXT_DUE_SQL, "deliveries_ready (output=? AND priority=? AND due_at>?)"),
            (PROMOTE_SQL, "deliveries_open (output=? AND lane=?)"),
            (BUSY_SQL, "deliveries_claimed (output=?)"),
        ] {
            let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
            let count = statement.parameter_count();
            let rows = statement
                .query_map(rusqlite::params_from_iter(std::iter::repeat_n(0, count)), |row| row.get::<_, String>(3))
                .unwrap();
            let plan: Vec<String> = rows.map(Result::unwrap).collect();
            let text = plan.join("; ");
            assert!(text.contains(index), "{sql}\n{text}");
            assert!(!text.contains("SCAN deliveries") && !text.contains("TEMP B-TREE"), "{sql}\n{text}");
        }
    }
}
