//! Deliveries on their way out: claimed when due, recorded when tried.
//!
//! Deliveries of one output and track go strictly in the order in which they came: a later one is `queued` until the
//! earlier is delivered or dead, and only then `ready`. So a claim looks at nothing that it cannot take, and costs the
//! same with any backlog.

use std::sync::Arc;

use rusqlite::{Connection, Row};

use super::body;
use super::chain::to_hash;
use super::error::StoreError;
use super::moment::{Moment, UpMs};
use super::outbox::{Attempt, Claim, Claimed, DeliveryId, Outcome, OutputId, priority};
use super::picture_files;
use super::target::OutputTarget;
use crate::domain::evidence::Link;
use crate::domain::{Category, UnixMs};

/// Takes what is due, so many an output that at most `per_output` of it are claimed at once.
pub fn claim_due(connection: &Connection, now: Moment, per_output: usize) -> Result<Claim, StoreError> {
    let mut claim = Claim::default();
    for (output, target) in outputs(connection)? {
        let busy: i64 = connection.prepare_cached(BUSY_SQL)?.query_row([output], |row| row.get(0))?;
        let mut room = (per_output as i64 - busy).max(0);
        for category in [Category::FaceImage, Category::OriginImage] {
            let due = due_ids(connection, output, priority(category), now.up, room)?;
            room -= due.len() as i64;
            for id in due {
                claim.deliveries.extend(take(connection, id, now, OutputId(output), &target)?);
            }
            let next = next_due(connection, output, priority(category), now.up)?;
            claim.next_due = [claim.next_due, next].into_iter().flatten().min();
        }
    }
    Ok(claim)
}

fn outputs(connection: &Connection) -> Result<Vec<(i64, Arc<OutputTarget>)>, StoreError> {
    let mut statement =
        connection.prepare_cached("SELECT id, target FROM outputs WHERE disabled_at IS NULL ORDER BY id")?;
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

fn due_ids(c: &Connection, output: i64, priority: i64, now: UpMs, limit: i64) -> Result<Vec<i64>, StoreError> {
    let mut statement = c.prepare_cached(DUE_SQL)?;
    let ids = statement.query_map((output, priority, now.0, limit), |row| row.get(0))?;
    Ok(ids.collect::<Result<_, _>>()?)
}

fn next_due(c: &Connection, output: i64, priority: i64, now: UpMs) -> Result<Option<UpMs>, StoreError> {
    let due: Option<i64> = c.prepare_cached(NEXT_DUE_SQL)?.query_row((output, priority, now.0), |row| row.get(0))?;
    Ok(due.map(UpMs))
}

/// Marks one delivery as claimed and loads it. One that cannot be read is dead, and the others go on.
fn take(
    c: &Connection,
    id: i64,
    now: Moment,
    output: OutputId,
    target: &Arc<OutputTarget>,
) -> Result<Option<Claimed>, StoreError> {
    c.prepare_cached(
        "UPDATE deliveries SET state = 'claimed', attempts = attempts + 1, last_attempt_at = ?2 WHERE id = ?1",
    )?
    .execute((id, now.wall.0))?;
    let delivery = DeliveryId(id);
    let Some(claimed) = load(c, delivery, output, target)? else {
        let reason = "its stored message or picture cannot be read".to_owned();
        record(c, &Attempt { delivery, at: now.wall, outcome: Outcome::Dead { reason } })?;
        return Ok(None);
    };
    Ok(Some(claimed))
}

/// `None` where message or picture cannot be read.
fn load(
    c: &Connection,
    delivery: DeliveryId,
    output: OutputId,
    target: &Arc<OutputTarget>,
) -> Result<Option<Claimed>, StoreError> {
    let mut statement = c.prepare_cached(
        "SELECT d.attempts, d.waiting_since, d.chain_number, d.chain_previous, m.body, m.picture_until, m.message_id,
                m.picture_in_file, p.jpeg
         FROM deliveries d JOIN messages m ON m.id = d.message LEFT JOIN pictures p ON p.message = m.id
         WHERE d.id = ?1 AND m.picture_bytes > 0",
    )?;
    let mut rows = statement.query([delivery.0])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    let Some(jpeg) = jpeg(c, row)? else { return Ok(None) };
    let Some(message) = body::read(&row.get::<_, String>("body")?, jpeg) else { return Ok(None) };
    let previous: Option<Vec<u8>> = row.get("chain_previous")?;
    let link = row.get::<_, Option<i64>>("chain_number")?.zip(previous);
    Ok(Some(Claimed {
        delivery,
        output,
        target: Arc::clone(target),
        message: Arc::new(message),
        attempt: row.get("attempts")?,
        waiting_since: UpMs(row.get("waiting_since")?),
        picture_until: UnixMs(row.get("picture_until")?),
        link: link.map(|(number, hash)| Link { number: number.unsigned_abs(), previous: to_hash(&hash) }),
    }))
}

/// Of a row with `message_id`, `picture_in_file` and `jpeg`.
fn jpeg(c: &Connection, row: &Row<'_>) -> Result<Option<Arc<[u8]>>, StoreError> {
    if !row.get::<_, bool>("picture_in_file")? {
        return Ok(row.get_ref("jpeg")?.as_blob_or_null().ok().flatten().map(Arc::from));
    }
    let file = picture_files::path(&picture_files::folder(c), &row.get::<_, String>("message_id")?);
    match std::fs::read(file) {
        Ok(bytes) => Ok(Some(bytes.into())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// A message's picture, as long as it is kept for its receiver to fetch.
pub fn picture_to_fetch(c: &Connection, message_id: &str, now: UnixMs) -> Result<Option<Arc<[u8]>>, StoreError> {
    let mut statement = c.prepare_cached(
        "SELECT m.message_id, m.picture_in_file, p.jpeg FROM messages m LEFT JOIN pictures p ON p.message = m.id
         WHERE m.message_id = ?1 AND m.picture_bytes > 0 AND m.picture_until > ?2",
    )?;
    let mut rows = statement.query((message_id, now.0))?;
    let Some(row) = rows.next()? else { return Ok(None) };
    jpeg(c, row)
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
        Outcome::Disabled { reason } => {
            connection
                .prepare_cached(
                    "UPDATE outputs SET disabled_at = ?2, disabled_reason = ?3
                     WHERE id = (SELECT output FROM deliveries WHERE id = ?1)",
                )?
                .execute((id, attempt.at.0, reason))?;
            finish(connection, id, "dead", Some(reason), attempt.at)?;
        }
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
    let needed = c
        .prepare_cached(
            "SELECT 1 FROM deliveries WHERE message = ?1 AND state <> 'delivered'
             UNION ALL SELECT 1 FROM messages WHERE id = ?1 AND picture_until > ?2",
        )?
        .exists((message, at.0))?;
    if !needed {
        drop_picture(c, message)?;
    }
    promote(c, output, &lane)
}

/// Lets the next of a lane go, if it waits.
pub(super) fn promote(c: &Connection, output: i64, lane: &[u8]) -> Result<(), StoreError> {
    c.prepare_cached(PROMOTE_SQL)?.execute((output, lane))?;
    Ok(())
}

pub(super) fn drop_picture(connection: &Connection, message: i64) -> Result<(), StoreError> {
    connection.prepare_cached("DELETE FROM pictures WHERE message = ?1")?.execute([message])?;
    connection.prepare_cached("UPDATE messages SET picture_bytes = 0 WHERE id = ?1")?.execute([message])?;
    Ok(())
}

/// What a killed service had in hand is pending again, and what waits for a later try is tried now: a start is as good
/// a reason as any. Run before the first claim, by the one service of the folder.
pub fn recover(connection: &Connection, now: UpMs) -> Result<usize, StoreError> {
    let claimed = connection.execute("UPDATE deliveries SET state = 'ready' WHERE state = 'claimed'", [])?;
    connection.execute("UPDATE deliveries SET due_at = ?1 WHERE state = 'ready' AND due_at > ?1", [now.0])?;
    Ok(claimed)
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
