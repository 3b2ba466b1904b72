//! Messages on their way in: one transaction a message. A message exists if and only if its transaction committed,
//! with its deliveries.

use std::sync::Arc;
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension};

use super::error::StoreError;
use super::moment::{Moment, UpMs};
use super::target::OutputTarget;
use super::{chain, eviction, picture_link};
use crate::domain::evidence::Link;
use crate::domain::{Category, Message, UnixMs};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DeliveryId(pub i64);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OutputId(pub i64);

/// What the outbox may hold. Whole frames stay within their own budget; faces may take over what frames leave of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    pub faces: Budget,
    pub origins: Budget,
    /// What was delivered or is dead stays listed for this long.
    pub keep_finished: Duration,
    /// Larger pictures are files; smaller ones are rows, which cost fewer syncs.
    pub picture_in_row_bytes: usize,
}

/// Of one kind of message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// Messages that still have their picture.
    pub max_pictures: u64,
    pub max_bytes: u64,
    /// An open delivery of a message that has waited longer is dead.
    pub max_age: Duration,
}

const DAY: Duration = Duration::from_secs(24 * 3600);

impl Limits {
    /// So many bytes of pictures, half for each kind.
    pub fn of_bytes(max_bytes: u64) -> Self {
        let budget = |max_pictures, max_bytes| Budget { max_pictures, max_bytes, max_age: DAY * 4 };
        Self {
            faces: budget(2_000_000, max_bytes.div_ceil(2)),
            origins: budget(200_000, max_bytes / 2),
            keep_finished: DAY * 7,
            picture_in_row_bytes: 300_000,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self::of_bytes(4 << 30)
    }
}

/// A message made ready for its row outside of the writer's thread.
pub struct NewMessage {
    pub message: Message,
    pub body: String,
    pub outputs: Vec<OutputTarget>,
    pub now: Moment,
    /// The picture lies in its file already.
    pub picture_in_file: bool,
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
    pub waiting_since: UpMs,
    /// Up to when the receiver may fetch the picture itself.
    pub picture_until: UnixMs,
    /// Its place in the output's chain of evidence, where the output asks for one.
    pub link: Option<Link>,
}

#[derive(Debug, Default)]
pub struct Claim {
    pub deliveries: Vec<Claimed>,
    /// When the next one that waits for its time is due.
    pub next_due: Option<UpMs>,
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
    Retry {
        due_at: UpMs,
        reason: String,
    },
    Dead {
        reason: String,
    },
    /// Dead, and nothing more goes to this output until somebody asks for it.
    Disabled {
        reason: String,
    },
}

/// Deliveries by state, and the pictures held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Totals {
    /// Waiting: for their time, or for an earlier one of their track.
    pub pending: u64,
    pub claimed: u64,
    pub delivered: u64,
    pub dead: u64,
    pub face_pictures: u64,
    pub origin_pictures: u64,
    pub face_picture_bytes: u64,
    pub origin_picture_bytes: u64,
}

impl Totals {
    pub fn pictures(&self) -> u64 {
        self.face_pictures + self.origin_pictures
    }

    pub fn picture_bytes(&self) -> u64 {
        self.face_picture_bytes + self.origin_picture_bytes
    }
}

pub fn enqueue(connection: &Connection, new: &NewMessage, limits: &Limits) -> Result<Enqueued, StoreError> {
    if new.outputs.is_empty() {
        return Ok(Enqueued::default());
    }
    let Some(message) = insert_message(connection, new)? else {
        forget_second_file(connection, new)?;
        return Ok(Enqueued::default());
    };
    if !new.picture_in_file {
        connection
            .prepare_cached("INSERT INTO pictures (message, jpeg) VALUES (?1, ?2)")?
            .execute((message, &new.message.jpeg()[..]))?;
    }
    for target in &new.outputs {
        let output = output_id(connection, new, target)?;
        let link = if target.wants_evidence() { Some(chain::append(connection, output, &new.message)?) } else { None };
        insert_delivery(connection, new, message, output, link)?;
    }
    let evicted = eviction::make_room(connection, new.now.wall, limits)?;
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
                                   picture_bytes, open_deliveries, born_at, picture_in_file, picture_until)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14) ON CONFLICT (message_id) DO NOTHING",
        )?
        .execute(rusqlite::params![
            message.id().to_string(),
            message.category().as_str(),
            message.task_id().as_str(),
            message.stream_id(),
            face_id,
            seq,
            message.taken_at().0,
            new.now.wall.0,
            &new.body,
            message.jpeg().len() as i64,
            new.outputs.len() as i64,
            new.now.up.0,
            new.picture_in_file,
            picture_until(new).0,
        ])?;
    Ok((inserted > 0).then(|| connection.last_insert_rowid()))
}

/// 0 where no output has its receiver fetch the picture.
fn picture_until(new: &NewMessage) -> UnixMs {
    let thin = new.outputs.iter().any(OutputTarget::is_thin);
    if thin { new.now.wall + picture_link::FETCHABLE } else { UnixMs(0) }
}

/// The file of a message that was there already, written once more, is of use only while the message has its picture.
fn forget_second_file(connection: &Connection, new: &NewMessage) -> Result<(), StoreError> {
    if new.picture_in_file {
        connection.execute(
            "INSERT INTO temp.gone SELECT ?1 WHERE NOT EXISTS (SELECT 1 FROM messages
                WHERE message_id = ?1 AND picture_in_file = 1 AND picture_bytes > 0)",
            [new.message.id().to_string()],
        )?;
    }
    Ok(())
}

/// An output whose task says something new about it takes that up, also for what waits, and is tried again.
fn output_id(connection: &Connection, new: &NewMessage, target: &OutputTarget) -> Result<i64, StoreError> {
    let json = serde_json::to_string(target).expect("strings and numbers only: always JSON");
    let (task_id, kind, address) = (new.message.task_id().as_str(), target.kind(), target.address());
    let found: Option<(i64, bool)> = connection
        .prepare_cached("SELECT id, target = ?4 FROM outputs WHERE task_id = ?1 AND kind = ?2 AND address = ?3")?
        .query_row((task_id, kind, &address, &json), |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    match found {
        Some((id, true)) => Ok(id),
        Some((id, false)) => {
            connection.execute(
                "UPDATE outputs SET target = ?2, disabled_at = NULL, disabled_reason = NULL WHERE id = ?1",
                (id, &json),
            )?;
            Ok(id)
        }
        None => {
            connection.execute(
                "INSERT INTO outputs (task_id, kind, address, target, created_at) VALUES (?1, ?2, ?3, ?4, ?5)",
                (task_id, kind, &address, &json, new.now.wall.0),
            )?;
            Ok(connection.last_insert_rowid())
        }
    }
}

fn insert_delivery(
    connection: &Connection,
    new: &NewMessage,
    message: i64,
    output: i64,
    link: Option<Link>,
) -> Result<(), StoreError> {
    let (lane, priority) = match &new.message {
        Message::Face(face) => (face.face_id, priority(Category::FaceImage)),
        Message::Origin(origin) => (origin.message_id, priority(Category::OriginImage)),
    };
    connection
        .prepare_cached(
            "INSERT INTO deliveries (message, output, lane, priority, due_at, waiting_since, chain_number,
                                     chain_previous, state)
             SELECT ?1, ?2, ?3, ?4, ?5, ?5, ?6, ?7, CASE WHEN EXISTS (
                 SELECT 1 FROM deliveries WHERE output = ?2 AND lane = ?3 AND finished_at IS NULL
             ) THEN 'queued' ELSE 'ready' END",
        )?
        .execute((
            message,
            output,
            lane.as_bytes(),
            priority,
            new.now.up.0,
            link.map(|link| link.number as i64),
            link.map(|link| link.previous),
        ))?;
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
            "face_pictures" => totals.face_pictures = value,
            "origin_pictures" => totals.origin_pictures = value,
            "face_picture_bytes" => totals.face_picture_bytes = value,
            "origin_picture_bytes" => totals.origin_picture_bytes = value,
            _ => {}
        }
    }
    Ok(totals)
}
