//! Messages on their way in: one transaction a message. A message exists if and only if its transaction committed,
//! with its deliveries.

use std::sync::Arc;
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension};

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

pub(super) const fn priority(category: Category) -> i64 {
    match category {
        Category::FaceImage => 0,
        Category::OriginImage => 1,
    }
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
