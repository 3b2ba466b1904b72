//! Tasks as the supervisor sees them: what its box shall run, what shall go, and what the folder of task files says.

use rusqlite::{Connection, named_params};

use super::error::StoreError;
use super::registry::{self, TaskRow};

/// What one box has to know of its pool.
#[derive(Debug, Default)]
pub struct ToRun {
    /// Shall run and are not over.
    pub wanted: Vec<TaskRow>,
    /// Shall be forgotten once nothing of them runs.
    pub deleting: Vec<String>,
}

pub fn to_run(connection: &Connection, edge_pool_id: &str) -> Result<ToRun, StoreError> {
    let mut wanted = connection.prepare_cached(
        "SELECT * FROM tasks WHERE edge_pool_id = ?1 AND desired = 'start' AND deleting = 0
                               AND state NOT IN ('SUCCEEDED', 'FAILED', 'START_FAILED')",
    )?;
    let wanted = wanted.query_map([edge_pool_id], registry::read)?.collect::<Result<_, _>>()?;
    let mut deleting = connection.prepare_cached("SELECT id FROM tasks WHERE deleting = 1")?;
    let deleting = deleting.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
    Ok(ToRun { wanted, deleting })
}

/// After a stop or a kill nothing runs: no state may say that something does.
pub fn recover(connection: &Connection) -> Result<u64, StoreError> {
    let changed = connection.execute(
        "UPDATE tasks SET state = CASE desired WHEN 'stop' THEN 'STOPPED' ELSE 'PENDING' END,
                          error_code = NULL, error_msg = NULL
         WHERE deleting = 0 AND state NOT IN ('SUCCEEDED', 'FAILED', 'START_FAILED', 'STOPPED', 'PENDING')",
        [],
    )?;
    Ok(changed as u64)
}

/// From here on the task shall go, also after a kill. False where there is no such task.
pub fn mark_deleting(connection: &Connection, id: &str) -> Result<bool, StoreError> {
    let changed = connection.execute(
        "UPDATE tasks SET deleting = 1, desired = 'stop', state = 'DELETING', error_code = NULL, error_msg = NULL
         WHERE id = ?1",
        [id],
    )?;
    Ok(changed > 0)
}

/// Tasks that come from files.
pub fn ids_of_files(connection: &Connection) -> Result<Vec<String>, StoreError> {
    let mut ids = connection.prepare_cached("SELECT id FROM tasks WHERE file IS NOT NULL")?;
    Ok(ids.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?)
}

/// Brings the tasks of files, `known`, into step: `rows` is all that the folder holds. A file that changed makes its task run
/// again, also one that was over; `updated_at` is the file's time.
pub fn follow_files(connection: &Connection, rows: &[TaskRow], known: &[String]) -> Result<(), StoreError> {
    for gone in known.iter().filter(|id| !rows.iter().any(|row| row.id == **id)) {
        mark_deleting(connection, gone)?;
    }
    let mut change = connection.prepare_cached(
        "UPDATE tasks SET project_id = :project_id, name = :name, service_version = :service_version, body = :body,
                          edge_pool_id = :edge_pool_id, input_index = :input_index, updated_at = :updated_at,
                          file = :file, desired = 'start', deleting = 0, error_code = NULL, error_msg = NULL,
                          state = CASE WHEN state IN ('SUCCEEDED', 'FAILED', 'START_FAILED', 'STOPPED', 'DELETING')
                                       THEN 'PENDING' ELSE state END
         WHERE id = :id AND (body <> :body OR updated_at <> :updated_at OR deleting = 1)",
    )?;
    for row in rows {
        if known.contains(&row.id) {
            change.execute(named_params! {
                ":id": row.id, ":project_id": row.project_id, ":name": row.name,
                ":service_version": row.service_version, ":body": row.body, ":edge_pool_id": row.edge_pool_id,
                ":input_index": row.index, ":updated_at": row.updated_at.0, ":file": row.file,
            })?;
        } else {
            registry::insert(connection, std::slice::from_ref(row))?;
        }
    }
    Ok(())
}
