//! The outbox as people look at it: list, show, send the dead again, forget.

use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, Row, params_from_iter};

use super::error::StoreError;
use super::moment::{Moment, UpMs};
use super::outbox::{DeliveryId, OutputId};
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
    /// On the time that the service has been up.
    pub due_at: UpMs,
    pub last_attempt_at: Option<UnixMs>,
    pub finished_at: Option<UnixMs>,
    /// Why the last try failed, or why it is dead.
    pub reason: Option<String>,
    /// 0 once the picture is gone; then it cannot be sent again.
    pub picture_bytes: u64,
}

/// Newest first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DeliveryQuery {
    pub state: Option<DeliveryState>,
    pub task_id: Option<String>,
    /// Only those of tasks that this project has.
    pub project_id: Option<String>,
    /// The track.
    pub face_id: Option<String>,
    pub message_id: Option<String>,
    /// Of pictures taken then, both ends included.
    pub taken: TimeRange,
    /// Only those with a smaller id: the next page.
    pub before: Option<DeliveryId>,
    pub limit: u32,
}

/// Open where an end is not given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TimeRange {
    pub since: Option<UnixMs>,
    pub until: Option<UnixMs>,
}

/// Which dead deliveries to send again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Revive {
    One(DeliveryId),
    /// Of pictures taken then; of one task, of one project's tasks, or of all.
    Taken {
        range: TimeRange,
        task_id: Option<String>,
        project_id: Option<String>,
    },
    All,
}

/// One output as people look at it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutputRow {
    pub id: OutputId,
    pub task_id: String,
    pub kind: &'static str,
    /// Nothing secret.
    pub destination: String,
    /// Deliveries that are neither delivered nor dead.
    pub waiting: u64,
    /// How long the oldest of them has waited, in time that the service was up.
    pub oldest_waits_ms: Option<i64>,
    pub disabled: Option<(UnixMs, String)>,
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
    if let Some(project) = &query.project_id {
        conditions.push("m.task_id IN (SELECT id FROM tasks WHERE project_id = ?)");
        values.push(Value::from(project.clone()));
    }
    if let Some(face_id) = &query.face_id {
        conditions.push("m.face_id = ?");
        values.push(Value::from(face_id.to_ascii_lowercase()));
    }
    if let Some(message_id) = &query.message_id {
        conditions.push("m.message_id = ?");
        values.push(Value::from(message_id.to_ascii_lowercase()));
    }
    if let Some(since) = query.taken.since {
        conditions.push("m.taken_at >= ?");
        values.push(Value::from(since.0));
    }
    if let Some(until) = query.taken.until {
        conditions.push("m.taken_at <= ?");
        values.push(Value::from(until.0));
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
pub fn revive(connection: &Connection, which: &Revive, now: Moment) -> Result<u64, StoreError> {
    let all = TimeRange::default();
    let (only, range, task_id, project_id) = match which {
        Revive::One(id) => (Some(id.0), all, None, None),
        Revive::Taken { range, task_id, project_id } => (None, *range, task_id.as_deref(), project_id.as_deref()),
        Revive::All => (None, all, None, None),
    };
    let (since, until) = (range.since.map(|at| at.0), range.until.map(|at| at.0));
    let ids = connection
        .prepare_cached(
            "SELECT d.id FROM deliveries d JOIN messages m ON m.id = d.message
             WHERE d.state = 'dead' AND m.picture_bytes > 0 AND (?1 IS NULL OR d.id = ?1)
                AND (?2 IS NULL OR m.taken_at >= ?2) AND (?3 IS NULL OR m.taken_at <= ?3)
                AND (?4 IS NULL OR m.task_id = ?4)
                AND (?5 IS NULL OR m.task_id IN (SELECT id FROM tasks WHERE project_id = ?5)) ORDER BY d.id",
        )?
        .query_map((only, since, until, task_id, project_id), |row| row.get(0))?
        .collect::<Result<Vec<i64>, _>>()?;
    for id in &ids {
        revive_one(connection, *id, now)?;
    }
    Ok(ids.len() as u64)
}

/// A person asks for it, so an output that was switched off is tried again.
fn revive_one(connection: &Connection, id: i64, now: Moment) -> Result<(), StoreError> {
    let (message, output): (i64, i64) = connection
        .prepare_cached(
            "UPDATE deliveries SET due_at = ?2, waiting_since = ?2, finished_at = NULL,
                 state = CASE WHEN EXISTS (
                     SELECT 1 FROM deliveries o
                     WHERE o.output = deliveries.output AND o.lane = deliveries.lane AND o.finished_at IS NULL
                 ) THEN 'queued' ELSE 'ready' END
             WHERE id = ?1 RETURNING message, output",
        )?
        .query_row((id, now.up.0), |row| Ok((row.get(0)?, row.get(1)?)))?;
    connection
        .prepare_cached("UPDATE messages SET open_deliveries = open_deliveries + 1, born_at = ?2 WHERE id = ?1")?
        .execute((message, now.up.0))?;
    enable(connection, OutputId(output))?;
    Ok(())
}

/// False where there is no such output, or it is not switched off.
pub fn enable(connection: &Connection, id: OutputId) -> Result<bool, StoreError> {
    let changed = connection
        .prepare_cached(
            "UPDATE outputs SET disabled_at = NULL, disabled_reason = NULL WHERE id = ?1 AND disabled_at IS NOT NULL",
        )?
        .execute([id.0])?;
    Ok(changed > 0)
}

/// Every output that is known, of one project or of all.
pub fn outputs(connection: &Connection, project_id: Option<&str>, now: UpMs) -> Result<Vec<OutputRow>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT o.id, o.task_id, o.target, o.open_deliveries, o.disabled_at, o.disabled_reason,
            (SELECT m.born_at FROM messages m JOIN deliveries d ON d.message = m.id WHERE d.id =
                (SELECT min(id) FROM deliveries WHERE output = o.id AND finished_at IS NULL)) AS oldest
         FROM outputs o WHERE ?1 IS NULL OR o.task_id IN (SELECT id FROM tasks WHERE project_id = ?1) ORDER BY o.id",
    )?;
    let rows = statement.query_map([project_id], |row| {
        let target: Option<OutputTarget> = serde_json::from_str(&row.get::<_, String>("target")?).ok();
        let disabled = row.get::<_, Option<i64>>("disabled_at")?.map(UnixMs);
        let reason: Option<String> = row.get("disabled_reason")?;
        let oldest: Option<i64> = row.get("oldest")?;
        Ok(OutputRow {
            id: OutputId(row.get("id")?),
            task_id: row.get("task_id")?,
            kind: target.as_ref().map_or("unknown", OutputTarget::kind),
            destination: target.as_ref().map_or_else(|| "?".to_owned(), OutputTarget::shown),
            waiting: row.get::<_, i64>("open_deliveries")?.unsigned_abs(),
            oldest_waits_ms: oldest.map(|born| now.0.saturating_sub(born).max(0)),
            disabled: disabled.map(|at| (at, reason.unwrap_or_default())),
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
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
        due_at: UpMs(row.get("due_at")?),
        last_attempt_at: row.get::<_, Option<i64>>("last_attempt_at")?.map(UnixMs),
        finished_at: row.get::<_, Option<i64>>("finished_at")?.map(UnixMs),
        reason: row.get("reason")?,
        picture_bytes: row.get::<_, i64>("picture_bytes")?.unsigned_abs(),
    })
}
