//! Deliveries on their way out: claimed when due, recorded when tried.
//!
//! Deliveries of one output and track go strictly in the order in which they came: a later one is `queued` until the
//! earlier is delivered or dead, and only then `ready`. So a claim looks at nothing that it cannot take, and costs the
//! same with any backlog.

use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension};

use super::body;
use super::error::StoreError;
use super::outbox::{Attempt, Claim, Claimed, DeliveryId, Outcome, OutputId, priority};
use super::target::OutputTarget;
use crate::domain::{Category, UnixMs};

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
