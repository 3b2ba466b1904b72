//! Privacy: a task that says how long its pictures and messages may be kept (`retention_hours`) has them erased after
//! that time, delivered or not, and each erasure is written down. Age is the time that the service has been up since.

use rusqlite::{Connection, Row};

use super::error::StoreError;
use super::eviction::{self, TRIM_BATCH};
use super::moment::Moment;
use crate::domain::UnixMs;

const HOUR_MS: i64 = 3_600_000;
/// Word for word the expression of the index tasks_with_retention, so that no other task is looked at.
const RETENTIONS: &str = "SELECT id,
        CASE WHEN json_valid(body) THEN json_extract(body, '$.service_config.common.retention_hours') END
    FROM tasks
    WHERE CASE WHEN json_valid(body) THEN json_extract(body, '$.service_config.common.retention_hours') END IS NOT NULL";
/// Erasures that stay written down.
const KEPT: i64 = 100_000;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Erasure {
    pub at: UnixMs,
    pub task_id: String,
    pub message_id: String,
    pub taken_at: UnixMs,
    /// Deliveries that had not been delivered.
    pub undelivered: u64,
}

/// Answers how many messages went: again while that is not zero.
pub fn erase(c: &Connection, now: Moment) -> Result<u64, StoreError> {
    let mut erased = 0;
    let mut undelivered = 0;
    for (task_id, hours) in retentions(c)? {
        let born_before = now.up.0.saturating_sub(hours.saturating_mul(HOUR_MS));
        for (id, message_id, taken_at) in old_messages(c, &task_id, born_before)? {
            let open = eviction::bury(c, id, "its task keeps nothing longer (retention_hours)", now.wall)?;
            c.prepare_cached("DELETE FROM messages WHERE id = ?1")?.execute([id])?;
            c.prepare_cached(
                "INSERT INTO message_erasures (at, task_id, message_id, taken_at, undelivered) VALUES (?1, ?2, ?3, ?4, ?5)",
            )?
            .execute((now.wall.0, &task_id, message_id, taken_at, open as i64))?;
            erased += 1;
            undelivered += open;
        }
        c.prepare_cached("DELETE FROM decisions WHERE task_id = ?1 AND born_at < ?2")?
            .execute((&task_id, born_before))?;
        c.prepare_cached("DELETE FROM observations WHERE task_id = ?1 AND born_at < ?2")?
            .execute((&task_id, born_before))?;
    }
    if erased > 0 {
        eviction::count_dead(undelivered, "retention");
        c.execute("DELETE FROM message_erasures WHERE id <= (SELECT max(id) FROM message_erasures) - ?1", [KEPT])?;
        tracing::info!(erased, "messages were erased because their tasks keep nothing longer");
    }
    Ok(erased)
}

fn retentions(c: &Connection) -> Result<Vec<(String, i64)>, StoreError> {
    let mut statement = c.prepare_cached(RETENTIONS)?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get::<_, f64>(1)? as i64)))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// One that is being carried out goes with the next look.
fn old_messages(c: &Connection, task_id: &str, born_before: i64) -> Result<Vec<(i64, String, i64)>, StoreError> {
    let mut statement = c.prepare_cached(
        "SELECT m.id, m.message_id, m.taken_at FROM messages m WHERE m.task_id = ?1 AND m.born_at < ?2 AND NOT EXISTS
            (SELECT 1 FROM deliveries d WHERE d.message = m.id AND d.state = 'claimed')
         ORDER BY m.born_at LIMIT ?3",
    )?;
    let rows =
        statement.query_map((task_id, born_before, TRIM_BATCH), |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Newest first.
pub fn list(c: &Connection, limit: u32) -> Result<Vec<Erasure>, StoreError> {
    let mut statement = c.prepare_cached(
        "SELECT at, task_id, message_id, taken_at, undelivered FROM message_erasures ORDER BY id DESC LIMIT ?1",
    )?;
    Ok(statement.query_map([limit], read)?.collect::<Result<_, _>>()?)
}

fn read(row: &Row<'_>) -> rusqlite::Result<Erasure> {
    Ok(Erasure {
        at: UnixMs(row.get(0)?),
        task_id: row.get(1)?,
        message_id: row.get(2)?,
        taken_at: UnixMs(row.get(3)?),
        undelivered: row.get::<_, i64>(4)?.unsigned_abs(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_tasks_that_say_how_long_are_looked_at() {
        let connection = Connection::open_in_memory().unwrap();
        super::super::migrations::migrate(&connection).unwrap();
        let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {RETENTIONS}")).unwrap();
        let plan: Vec<String> = statement.query_map([], |row| row.get(3)).unwrap().map(Result::unwrap).collect();
        assert!(plan.iter().all(|step| step.contains("tasks_with_retention")), "{plan:?}");
    }
}
