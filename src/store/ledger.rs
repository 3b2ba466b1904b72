//! The outbox as people look at it: list, show, send the dead again, forget.

use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, Row, params_from_iter};

use super::error::StoreError;
use super::outbox::DeliveryId;
use super::target::OutputTarget;
use crate::domain::UnixMs;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeliveryState {
    /// Waiting: for its time, or for an earlier one of its track.
    Pending,
    /// Being carried out.
    Claimed,
    Delivered,
    Dead,
}

impl DeliveryState {
    pub const ALL: [Self; 4] = [Self::Pending, Self::Claimed, Self::Delivered, Self::Dead];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Claimed => "claimed",
            Self::Delivered => "delivered",
            Self::Dead => "dead",
        }
    }

    const fn condition(self) -> &'static str {
        match self {
            Self::Pending => "d.state IN ('queued', 'ready')",
            Self::Claimed => "d.state = 'claimed'",
            Self::Delivered => "d.state = 'delivered'",
            Self::Dead => "d.state = 'dead'",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveryRow {
    pub id: DeliveryId,
    pub message_id: String,
    pub category: String,
    pub task_id: String,
    pub stream_id: String,
    pub face_id: Option<String>,
    pub seq: Option<u32>,
    pub output: &'static str,
    /// Nothing secret.
    pub destination: String,
    pub state: DeliveryState,
    pub attempts: u32,
    pub taken_at: UnixMs,
    pub created_at: UnixMs,
    pub due_at: UnixMs,
    pub last_attempt_at: Option<UnixMs>,
    pub finished_at: Option<UnixMs>,
    /// Why the last try failed, or why it is dead.
    pub reason: Option<String>,
    /// 0 once the picture is gone; then it cannot be sent again.
    pub picture_bytes: u64,
}

/// Newest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveryQuery {
    pub state: Option<DeliveryState>,
    pub task_id: Option<String>,
    /// Only those with a smaller id: the next page.
    pub before: Option<DeliveryId>,
    pub limit: u32,
}

/// Which dead deliveries to send again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Revive {
    One(DeliveryId),
    All,
}

/// Which finished deliveries to forget.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Purge {
    pub delivered: bool,
    pub dead: bool,
    pub created_before: UnixMs,
}

const SELECT: &str = "SELECT d.*, m.message_id, m.category, m.task_id, m.stream_id, m.face_id, m.seq, m.taken_at,
        m.created_at, m.picture_bytes, o.target
    FROM deliveries d JOIN messages m ON m.id = d.message JOIN outputs o ON o.id = d.output";

pub fn list(connection: &Connection, query: &DeliveryQuery) -> Result<Vec<DeliveryRow>, StoreError> {
    let mut conditions = vec![query.state.map_or("true", DeliveryState::condition)];
    let mut values = Vec::new();
    if let Some(task_id) = &query.task_id {
        conditions.push("m.task_id = ?");
        values.push(Value::from(task_id.clone()));
    }
    if let Some(before) = query.before {
        conditions.push("d.id < ?");
        values.push(Value::from(before.0));
    }
    values.push(Value::from(query.limit));
    let sql = format!("{SELECT} WHERE {} ORDER BY d.id DESC LIMIT ?", conditions.join(" AND "));
    let mut statement = connection.prepare_cached(&sql)?;
    let rows = statement.query_map(params_from_iter(&values), read)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

pub fn show(connection: &Connection, id: DeliveryId) -> Result<Option<DeliveryRow>, StoreError> {
    Ok(connection.prepare_cached(&format!("{SELECT} WHERE d.id = ?1"))?.query_row([id.0], read).optional()?)
}

/// Dead deliveries that still have their picture are pending again, due at once. Answers how many.
pub fn revive(connection: &Connection, which: &Revive, now: UnixMs) -> Result<u64, StoreError> {
    let only = match which {
        Revive::One(id) => Some(id.0),
        Revive::All => None,
    };
    let ids = connection
        .prepare_cached(
            "SELECT d.id FROM deliveries d JOIN messages m ON m.id = d.message
             WHERE d.state = 'dead' AND m.picture_bytes > 0 AND (?1 IS NULL OR d.id = ?1) ORDER BY d.id",
        )?
        .query_map([only], |row| row.get(0))?
        .collect::<Result<Vec<i64>, _>>()?;
    for id in &ids {
        revive_one(connection, *id, now)?;
    }
    Ok(ids.len() as u64)
}

fn revive_one(connection: &Connection, id: i64, now: UnixMs) -> Result<(), StoreError> {
    let message: i64 = connection
        .prepare_cached(
            "UPDATE deliveries SET due_at = ?2, waiting_since = ?2, finished_at = NULL,
                 state = CASE WHEN EXISTS (
                     SELECT 1 FROM deliveries o
                     WHERE o.output = deliveries.output AND o.lane = deliveries.lane AND o.finished_at IS NULL
                 ) THEN 'queued' ELSE 'ready' END
             WHERE id = ?1 RETURNING message",
        )?
        .query_row((id, now.0), |row| row.get(0))?;
    connection
        .prepare_cached("UPDATE messages SET open_deliveries = open_deliveries + 1, created_at = ?2 WHERE id = ?1")?
        .execute((message, now.0))?;
    Ok(())
}

/// Forgets messages all of whose deliveries are finished in a way that `which` names. Answers how many messages.
pub fn purge(connection: &Connection, which: &Purge) -> Result<u64, StoreError> {
    let deleted = connection.execute(
        "DELETE FROM messages WHERE open_deliveries = 0 AND created_at < ?1 AND NOT EXISTS (
            SELECT 1 FROM deliveries d WHERE d.message = messages.id
                AND ((d.state = 'delivered' AND NOT ?2) OR (d.state = 'dead' AND NOT ?3)))",
        (which.created_before.0, which.delivered, which.dead),
    )?;
    Ok(deleted as u64)
}

fn read(row: &Row<'_>) -> rusqlite::Result<DeliveryRow> {
    let state: String = row.get("state")?;
    let target: String = row.get("target")?;
    let target: Option<OutputTarget> = serde_json::from_str(&target).ok();
    Ok(DeliveryRow {
        id: DeliveryId(row.get("id")?),
        message_id: row.get::<_, String>("message_id")?,
        category: row.get("category")?,
        task_id: row.get("task_id")?,
        stream_id: row.get("stream_id")?,
        face_id: row.get("face_id")?,
        seq: row.get("seq")?,
        output: target.as_ref().map_or("unknown", OutputTarget::kind),
        destination: target.as_ref().map_or_else(|| "?".to_owned(), OutputTarget::shown),
        state: DeliveryState::ALL.into_iter().find(|s| s.as_str() == state).unwrap_or(DeliveryState::Pending),
        attempts: row.get("attempts")?,
        taken_at: UnixMs(row.get("taken_at")?),
        created_at: UnixMs(row.get("created_at")?),
        due_at: UnixMs(row.get("due_at")?),
        last_attempt_at: row.get::<_, Option<i64>>("last_attempt_at")?.map(UnixMs),
        finished_at: row.get::<_, Option<i64>>("finished_at")?.map(UnixMs),
        reason: row.get("reason")?,
        picture_bytes: row.get::<_, i64>("picture_bytes")?.unsigned_abs(),
    })
}
