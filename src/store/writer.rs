//! The one thread that writes. It takes whatever waits in its queue as one batch: one transaction, one sync to the
//! disk, a savepoint for each operation so that one that fails does not take the others with it. Answers go out after
//! the commit, never before. A failed commit is the answer of the whole batch, and the thread goes on.

use std::thread::JoinHandle;

use rusqlite::Connection;
use tokio::sync::mpsc;

use super::audit::{By, Subject, noted};
use super::call::Reply;
use super::cameras::{self, CameraRow};
use super::channels::{self, ChannelRequest};
use super::decisions::{self, Decision};
use super::error::StoreError;
use super::faces::{self, FaceOp};
use super::fsck::{self, Findings};
use super::ledger::{self, Purge, Revive};
use super::licence_changes::{self, LicenceChange, Outcome, RequestMark};
use super::moment::{Moment, UpMs};
use super::observations::{self, Observation};
use super::outbox::{self, Attempt, Claim, Enqueued, Limits, NewMessage, OutputId};
use super::registry::{self, Desired, TaskRow, TaskState};
use super::{claim, eviction, keys, keys::KeyRow, picture_files};
use super::{crash, to_run};
use crate::domain::{UnixMs, Verdict};

/// Operations that may wait; callers wait beyond.
const QUEUE_LENGTH: usize = 64;
/// Operations of one transaction.
const BATCH_LENGTH: usize = 64;

/// What waits in the queue, and in whose name.
pub struct Job {
    pub op: Op,
    pub by: By,
}

/// Everything that changes the database.
pub enum Op {
    Enqueue { message: Box<NewMessage>, limits: Limits, reply: Reply<Enqueued> },
    Claim { now: Moment, per_output: usize, reply: Reply<Claim> },
    Record { attempt: Attempt, reply: Reply<bool> },
    Trim { now: Moment, limits: Limits, reply: Reply<u64> },
    Revive { which: Revive, now: Moment, reply: Reply<u64> },
    EnableOutput { id: OutputId, reply: Reply<bool> },
    Fsck { mend: bool, now: UnixMs, reply: Reply<Findings> },
    NoteTracks { decisions: Vec<Decision>, seen: Vec<Observation>, now: UpMs, reply: Reply<()> },
    Purge { which: Purge, reply: Reply<u64> },
    InsertTasks { rows: Vec<TaskRow>, reply: Reply<()> },
    UpdateTask { row: Box<TaskRow>, reply: Reply<bool> },
    DeleteTask { id: String, reply: Reply<bool> },
    MarkTaskDeleting { id: String, reply: Reply<bool> },
    FollowTaskFiles { rows: Vec<TaskRow>, reply: Reply<()> },
    RecoverTasks { reply: Reply<u64> },
    SetTaskState { id: String, state: TaskState, reply: Reply<bool> },
    SetTaskDesired { id: String, desired: Desired, now: UnixMs, reply: Reply<bool> },
    InsertCamera { row: CameraRow, reply: Reply<()> },
    UpdateCamera { row: CameraRow, reply: Reply<bool> },
    DeleteCamera { id: String, reply: Reply<bool> },
    InsertKey { row: KeyRow, reply: Reply<()> },
    RevokeKey { id: String, now: UnixMs, reply: Reply<bool> },
    TouchKey { id: String, now: UnixMs, reply: Reply<bool> },
    ChangeLicences { change: Box<LicenceChange>, mark: Option<RequestMark>, now: UnixMs, reply: Reply<Outcome> },
    TakeChannel { request: ChannelRequest, now: UnixMs, reply: Reply<Verdict> },
    ReleaseChannel { task_id: String, reply: Reply<bool> },
    ReleaseAllChannels { node: String, reply: Reply<u64> },
    Faces(FaceOp),
}

pub fn start(connection: Connection) -> Result<(mpsc::Sender<Job>, JoinHandle<()>), StoreError> {
    let (sender, receiver) = mpsc::channel(QUEUE_LENGTH);
    let thread = std::thread::Builder::new().name("store-writer".into()).spawn(move || run(&connection, receiver))?;
    Ok((sender, thread))
}

fn run(connection: &Connection, mut queue: mpsc::Receiver<Job>) {
    // At the start: what a service that was killed had erased and not yet flushed.
    let mut flushed_up_to = 0;
    faces::flush(connection, &mut flushed_up_to);
    while let Some(first) = queue.blocking_recv() {
        let mut batch = vec![first];
        while batch.len() < BATCH_LENGTH
            && let Ok(job) = queue.try_recv()
        {
            batch.push(job);
        }
        let flushes = batch.iter().any(|job| matches!(&job.op, Op::Faces(op) if op.flushes()));
        write_batch(connection, batch, &mut || {
            if flushes {
                faces::flush(connection, &mut flushed_up_to);
            }
        });
    }
}

/// Gives an answer out, or the error that took the whole batch.
pub(super) type Answer = Box<dyn FnOnce(Result<(), StoreError>)>;

/// `committed` is called between the commit and the answers.
fn write_batch(connection: &Connection, batch: Vec<Job>, committed: &mut dyn FnMut()) {
    let before = connection.total_changes();
    let mut outcome = connection.execute_batch("BEGIN IMMEDIATE").map_err(StoreError::from);
    let mut answers = Vec::with_capacity(batch.len());
    for Job { op, by } in batch {
        let (answer, failed) = op.run(connection, &by, &outcome);
        answers.push(answer);
        // A full disk or a read error makes SQLite take the whole transaction back at once.
        if outcome.is_ok() && connection.is_autocommit() {
            outcome = Err(failed.unwrap_or(StoreError::Other { detail: "the transaction was taken back".into() }));
        }
    }
    let changed = connection.total_changes() > before;
    if outcome.is_ok() {
        if changed {
            crash::point();
        }
        outcome = connection.execute_batch("COMMIT").map_err(StoreError::from);
        if changed {
            crash::point();
        }
    }
    if outcome.is_ok() {
        committed();
    }
    if outcome.is_err()
        && !connection.is_autocommit()
        && let Err(error) = connection.execute_batch("ROLLBACK")
    {
        tracing::error!(%error, "taking a transaction back failed");
    }
    if outcome.is_ok()
        && let Err(error) = picture_files::delete_gone(connection)
    {
        tracing::warn!(%error, "files of pictures that are not needed any more stay until the next start");
    }
    for answer in answers {
        answer(outcome.clone());
    }
}

impl Op {
    fn run(self, c: &Connection, by: &By, begun: &Result<(), StoreError>) -> (Answer, Option<StoreError>) {
        let begun = begun.clone();
        match self {
            Self::Enqueue { message, limits, reply } => {
                settle(c, begun, reply, |c| outbox::enqueue(c, &message, &limits))
            }
            Self::Claim { now, per_output, reply } => settle(c, begun, reply, |c| claim::claim_due(c, now, per_output)),
            Self::Record { attempt, reply } => settle(c, begun, reply, |c| claim::record(c, &attempt)),
            Self::Trim { now, limits, reply } => settle(c, begun, reply, |c| eviction::trim(c, now, &limits)),
            Self::Revive { which, now, reply } => settle(c, begun, reply, |c| ledger::revive(c, &which, now)),
            Self::EnableOutput { id, reply } => settle(c, begun, reply, |c| ledger::enable(c, id)),
            Self::Fsck { mend, now, reply } => settle(c, begun, reply, |c| fsck::check(c, mend, now)),
            Self::NoteTracks { decisions, seen, now, reply } => settle(c, begun, reply, |c| {
                decisions::add(c, &decisions, now).and_then(|()| observations::add(c, &seen, now))
            }),
            Self::Purge { which, reply } => settle(c, begun, reply, |c| ledger::purge(c, &which)),
            Self::InsertTasks { rows, reply } => settle(c, begun, reply, |c| {
                let ids = rows.iter().map(|row| row.id.as_str()).collect();
                noted(c, by, ("create", Subject::Task, ids), |c| registry::insert(c, &rows))
            }),
            Self::UpdateTask { row, reply } => settle(c, begun, reply, |c| {
                noted(c, by, ("update", Subject::Task, vec![&row.id]), |c| registry::update(c, &row))
            }),
            Self::DeleteTask { id, reply } => settle(c, begun, reply, |c| registry::delete(c, &id)),
            Self::MarkTaskDeleting { id, reply } => settle(c, begun, reply, |c| {
                noted(c, by, ("delete", Subject::Task, vec![&id]), |c| to_run::mark_deleting(c, &id))
            }),
            Self::FollowTaskFiles { rows, reply } => settle(c, begun, reply, |c| {
                let known = to_run::ids_of_files(c)?;
                let new = rows.iter().map(|row| &row.id).filter(|id| !known.contains(id));
                let ids = known.iter().chain(new).map(String::as_str).collect();
                noted(c, by, ("update", Subject::Task, ids), |c| to_run::follow_files(c, &rows, &known))
            }),
            Self::RecoverTasks { reply } => settle(c, begun, reply, to_run::recover),
            Self::SetTaskState { id, state, reply } => settle(c, begun, reply, |c| registry::set_state(c, &id, &state)),
            Self::SetTaskDesired { id, desired, now, reply } => {
                let action = desired.as_str();
                settle(c, begun, reply, |c| {
                    noted(c, by, (action, Subject::Task, vec![&id]), |c| registry::set_desired(c, &id, desired, now))
                })
            }
            Self::InsertCamera { row, reply } => settle(c, begun, reply, |c| {
                noted(c, by, ("create", Subject::Camera, vec![&row.id]), |c| cameras::insert(c, &row))
            }),
            Self::UpdateCamera { row, reply } => settle(c, begun, reply, |c| {
                noted(c, by, ("update", Subject::Camera, vec![&row.id]), |c| cameras::update(c, &row))
            }),
            Self::DeleteCamera { id, reply } => settle(c, begun, reply, |c| {
                noted(c, by, ("delete", Subject::Camera, vec![&id]), |c| cameras::delete(c, &id))
            }),
            Self::InsertKey { row, reply } => settle(c, begun, reply, |c| {
                noted(c, by, ("create", Subject::Key, vec![&row.id]), |c| keys::insert(c, &row))
            }),
            Self::RevokeKey { id, now, reply } => settle(c, begun, reply, |c| {
                noted(c, by, ("revoke", Subject::Key, vec![&id]), |c| keys::revoke(c, &id, now))
            }),
            Self::TouchKey { id, now, reply } => settle(c, begun, reply, |c| keys::touch(c, &id, now)),
            Self::ChangeLicences { change, mark, now, reply } => {
                settle(c, begun, reply, |c| licence_changes::run(c, by, &change, mark.as_ref(), now))
            }
            Self::TakeChannel { request, now, reply } => settle(c, begun, reply, |c| channels::take(c, &request, now)),
            Self::ReleaseChannel { task_id, reply } => settle(c, begun, reply, |c| channels::release(c, &task_id)),
            Self::ReleaseAllChannels { node, reply } => settle(c, begun, reply, |c| channels::release_all(c, &node)),
            Self::Faces(op) => op.run(c, begun),
        }
    }
}

/// Runs one operation in a savepoint; its answer waits for the commit.
pub(super) fn settle<T: Send + 'static>(
    connection: &Connection,
    begun: Result<(), StoreError>,
    reply: Reply<T>,
    operation: impl FnOnce(&Connection) -> Result<T, StoreError>,
) -> (Answer, Option<StoreError>) {
    let result = begun.and_then(|()| in_savepoint(connection, operation));
    let failed = result.as_ref().err().cloned();
    let answer = move |committed: Result<(), StoreError>| {
        // Nobody may be waiting any more: the write stands all the same.
        reply.send(committed.and(result)).ok();
    };
    (Box::new(answer), failed)
}

fn in_savepoint<T>(
    connection: &Connection,
    operation: impl FnOnce(&Connection) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    connection.execute_batch("SAVEPOINT op")?;
    let result = operation(connection);
    if connection.is_autocommit() {
        return result;
    }
    if result.is_err() {
        connection.execute_batch("ROLLBACK TO op")?;
    }
    connection.execute_batch("RELEASE op")?;
    result
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;
    use crate::store::{migrations, registry};

    fn small_database() -> Connection {
        let connection = Connection::open_in_memory().unwrap();
        migrations::migrate(&connection).unwrap();
        connection.execute_batch(picture_files::SETUP).unwrap();
        let pages: i64 = connection.query_row("PRAGMA page_count", [], |row| row.get(0)).unwrap();
        connection.execute_batch(&format!("PRAGMA max_page_count = {}", pages + 20)).unwrap();
        connection
    }

    fn insert(id: &str, body_bytes: usize) -> (Job, oneshot::Receiver<Result<(), StoreError>>) {
        let (reply, answer) = oneshot::channel();
        let row = TaskRow {
            id: id.into(),
            project_id: String::new(),
            name: String::new(),
            creator: String::new(),
            service_version: String::new(),
            edge_pool_id: String::new(),
            file: None,
            desired: Desired::Start,
            state: TaskState { name: String::new(), error: None },
            index: 0,
            body: "x".repeat(body_bytes),
            created_at: UnixMs(0),
            updated_at: UnixMs(0),
        };
        (Job { op: Op::InsertTasks { rows: vec![row], reply }, by: None }, answer)
    }

    /// Writes a batch and answers, for each operation, what it was told and whether its row is there.
    fn write(connection: &Connection, rows: &[(&str, usize)]) -> Vec<(Result<(), StoreError>, bool)> {
        let (ops, answers): (Vec<_>, Vec<_>) = rows.iter().map(|(id, bytes)| insert(id, *bytes)).unzip();
        write_batch(connection, ops, &mut || {});
        let told = answers.into_iter().map(|answer| answer.blocking_recv().unwrap());
        told.zip(rows).map(|(told, (id, _))| (told, registry::get(connection, id).unwrap().is_some())).collect()
    }

    #[test]
    fn an_operation_that_fails_leaves_the_rest_of_its_batch() {
        let connection = small_database();
        let told = write(&connection, &[("a", 1), ("a", 1), ("b", 1)]);
        assert!(matches!(told[1], (Err(StoreError::Conflict { .. }), true)));
        assert_eq!((&told[0], &told[2]), (&(Ok(()), true), &(Ok(()), true)));
    }

    #[test]
    fn a_full_disk_is_told_to_whom_it_concerns_and_writing_goes_on() {
        let connection = small_database();
        let told = write(&connection, &[("a", 1), ("large", 1 << 20), ("b", 1)]);
        assert_eq!(told[1], (Err(StoreError::Full), false));
        for (result, is_there) in &told {
            assert_eq!(result.is_ok(), *is_there, "what was answered is what happened: {told:?}");
        }
        assert!(connection.is_autocommit(), "no transaction is left open");
        assert_eq!(write(&connection, &[("later", 1)]), [(Ok(()), true)]);
    }

    #[test]
    fn when_another_holds_the_database_all_are_told() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("db");
        let (ours, other) = (Connection::open(&path).unwrap(), Connection::open(&path).unwrap());
        migrations::migrate(&ours).unwrap();
        ours.execute_batch(picture_files::SETUP).unwrap();
        ours.busy_timeout(std::time::Duration::ZERO).unwrap();
        other.execute_batch("BEGIN EXCLUSIVE").unwrap();
        let (op, answer) = insert("a", 1);
        write_batch(&ours, vec![op], &mut || {});
        assert!(matches!(answer.blocking_recv().unwrap(), Err(StoreError::Busy { .. })));
        other.execute_batch("ROLLBACK").unwrap();
        assert_eq!(write(&ours, &[("a", 1)]), [(Ok(()), true)]);
    }
}
