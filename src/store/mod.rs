//! Everything that outlives the process, in one SQLite file: the outbox, the tasks, the keys.
//!
//! The database has one writer, a thread of this module; whoever reads has a connection of its own and never waits
//! for it. What was answered is on the disk (WAL, synchronous=FULL). The file holds pictures and the secrets of task
//! bodies, so only its owner may read it. No failure of the disk ends the service: each is an error of one call.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rusqlite::Connection;
use tokio::sync::mpsc;

pub mod audit;
mod body;
mod box_keys;
mod call;
mod cameras;
mod chain;
mod channels;
mod claim;
mod crash;
mod decisions;
mod deliveries;
mod erasure;
mod error;
mod eviction;
mod faces;
mod fsck;
mod keys;
mod ledger;
mod licence_changes;
pub mod licences;
mod migrations;
mod moment;
mod observations;
mod outbox;
mod picture_files;
pub mod picture_link;
mod query;
mod record;
mod redact;
mod registry;
mod sn_parts;
mod target;
mod to_run;
mod writer;

pub use audit::Actor;
pub use box_keys::BoxKeys;
pub use call::Call;
pub use cameras::{CameraQuery, CameraRow};
pub use channels::{ChannelRequest, DEFAULT_SN};
pub use decisions::Decision;
pub use erasure::Erasure;
pub use error::StoreError;
pub use faces::{
    DirectoryChange, DirectoryRefusal, ErasureLog, EventKind, GateChoice, GateEvent, GateRow, HeldTicket, MAX_FACES,
    MAX_GROUPS, MAX_PERSONS, NamedRow, NewSample, PhotoLink, RemotePlace, SCAN_PAGE, SampleRow, ScanPage, ScanStep,
    SealedSample, StoredEmbedding, Window,
};
pub use fsck::Findings;
pub use keys::KeyRow;
pub use ledger::{DeliveryQuery, DeliveryRow, DeliveryState, OutputRow, Purge, Revive, TimeRange};
pub use licence_changes::{
    Customer, FeatureTerms, LicenceChange, NewFeature, NewProduct, NewSns, Outcome as LicenceOutcome, Refusal, Refused,
    RequestMark, SnTerms,
};
pub use licences::{Owner, SnScope};
pub use moment::{Moment, UpMs};
pub use observations::{Observation, SeenFace};
pub use outbox::{Attempt, Budget, Claim, Claimed, DeliveryId, Enqueued, Limits, Outcome, OutputId, Totals};
pub use query::{
    Collection, Condition, Criteria, LIMIT_DEFAULT, LIMIT_MAX, Op as QueryOp, Operand, Page, QueryFault, Search, Sort,
    TIME_FORMAT,
};
pub use record::{Cell, Record};
pub use registry::{Desired, OrderBy, TaskError, TaskQuery, TaskRow, TaskState};
pub use target::{Connection as OutputConnection, Form, OutputTarget, WebhookOptions};
pub use to_run::ToRun;

use crate::clock;
use crate::domain::{UnixMs, Verdict};
use crate::seal::Seal;
use audit::By;
use writer::{Job, Op};

const FILE_NAME: &str = "face-edge.db";
const LOCK_NAME: &str = "face-edge.lock";
const LOCK_TRIES: u32 = 20;
const LOCK_WAIT: Duration = Duration::from_millis(10);
/// Idle read connections that are kept.
const READERS: usize = 4;

/// Cheap to clone; all clones are the same store. Closed when the last one goes, after the operations in its queue.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
    by: By,
}

struct Inner {
    dir: PathBuf,
    path: PathBuf,
    limits: Limits,
    /// For how long the service had been up in all when this store was opened, and when that was.
    up_before: UpMs,
    opened: Instant,
    // Taken when closing, so that the writer sees the end of its queue.
    queue: Option<mpsc::Sender<Job>>,
    writer: Option<JoinHandle<()>>,
    readers: Mutex<Vec<Connection>>,
    /// Opened when it is first needed: a service that keeps no face makes no key.
    seal: Mutex<Option<Arc<Seal>>>,
    /// Held as long as the store is open; the system lets go of it with the process.
    _lock: Option<File>,
}

impl Store {
    /// Opens the folder's database for the service, which has it alone; makes both where they are missing. Deliveries
    /// that a killed service had in hand are pending again.
    pub fn open(dir: &Path) -> Result<Self, StoreError> {
        Self::open_with(dir, Limits::default())
    }

    pub fn open_with(dir: &Path, limits: Limits) -> Result<Self, StoreError> {
        make_private_dir(dir)?;
        let lock = lock(dir)?;
        let store = Self::start(dir, limits, Some(lock))?;
        Ok(store)
    }

    /// Opens the folder's database beside a service that may be running: for commands.
    pub fn attach(dir: &Path) -> Result<Self, StoreError> {
        if !dir.join(FILE_NAME).is_file() {
            let detail =
                format!("there is no {FILE_NAME} in {}: name the service's folder by --data-dir", dir.display());
            return Err(StoreError::Other { detail });
        }
        Self::start(dir, Limits::default(), None)
    }

    fn start(dir: &Path, limits: Limits, lock: Option<File>) -> Result<Self, StoreError> {
        let path = dir.join(FILE_NAME);
        // Made here, so that SQLite's own default mode never applies; its other files take the mode over.
        OpenOptions::new().create(true).append(true).mode(0o600).open(&path)?;
        let connection = connect(&path)?;
        migrations::migrate(&connection)?;
        connection.execute_batch(picture_files::SETUP)?;
        let up_before = up_before(&connection)?;
        if lock.is_some() {
            box_keys::make_missing(&connection)?;
            let recovered = claim::recover(&connection, up_before)?;
            let swept = fsck::sweep_files(&connection, clock::unix_ms())?;
            tracing::debug!(recovered, swept, "the outbox is open");
        }
        let (queue, writer) = writer::start(connection)?;
        let (queue, writer, readers) = (Some(queue), Some(writer), Mutex::new(Vec::new()));
        let (dir, opened) = (dir.to_owned(), clock::monotonic());
        let seal = Mutex::default();
        let inner = Inner { dir, path, limits, up_before, opened, queue, writer, readers, seal, _lock: lock };
        Ok(Self { inner: Arc::new(inner), by: None })
    }

    /// On both clocks.
    pub fn now(&self) -> Moment {
        let up = self.inner.up_before + (clock::monotonic() - self.inner.opened);
        Moment { wall: clock::unix_ms(), up }
    }

    fn write<T: Send + 'static>(&self, make: impl FnOnce(call::Reply<T>) -> Op) -> Call<T> {
        Call::write(self.clone(), make)
    }

    /// The same store in somebody's name: what is changed through it is noted as theirs.
    pub fn by(&self, actor: Actor) -> Self {
        Self { inner: Arc::clone(&self.inner), by: Some(Arc::new(actor)) }
    }

    fn queue(&self) -> &mpsc::Sender<Job> {
        self.inner.queue.as_ref().expect("taken only when the last clone goes")
    }

    fn seal(&self) -> Result<Arc<Seal>, StoreError> {
        let mut seal = self.inner.seal.lock();
        if let Some(seal) = &*seal {
            return Ok(Arc::clone(seal));
        }
        let folder = self.inner.path.parent().unwrap_or(Path::new("."));
        let opened = Seal::of_folder(folder).map_err(|error| StoreError::Other { detail: error.to_string() })?;
        Ok(Arc::clone(seal.insert(Arc::new(opened))))
    }

    fn read<T: Send + 'static>(
        &self,
        query: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Call<T> {
        let inner = Arc::clone(&self.inner);
        Call::read(move || inner.with_reader(query))
    }
}

/// Tasks.
impl Store {
    /// All or none; `Conflict` where an id is taken.
    pub fn insert_tasks(&self, rows: Vec<TaskRow>) -> Call<()> {
        self.write(|reply| Op::InsertTasks { rows, reply })
    }

    pub fn task(&self, id: &str) -> Call<Option<TaskRow>> {
        let id = id.to_owned();
        self.read(move |c| registry::get(c, &id))
    }

    /// How many match, and the page of them.
    pub fn tasks(&self, query: TaskQuery) -> Call<(u64, Vec<TaskRow>)> {
        self.read(move |c| registry::list(c, &query))
    }

    /// Replaces name, version, body, index, desired state and `updated_at`; not state and error, which are the
    /// supervisor's. False where there is no such task.
    pub fn update_task(&self, row: TaskRow) -> Call<bool> {
        self.write(|reply| Op::UpdateTask { row: Box::new(row), reply })
    }

    /// The second step of a deletion. False where the task is not there, or shall not go (any more).
    pub fn delete_task(&self, id: &str) -> Call<bool> {
        let id = id.to_owned();
        self.write(|reply| Op::DeleteTask { id, reply })
    }

    /// The first step of a deletion: from its answer on the task shall go, also after a kill. The supervisor, or
    /// `delete_task` once the camera is let go, takes the second. False where there is no such task.
    pub fn mark_task_deleting(&self, id: &str) -> Call<bool> {
        let id = id.to_owned();
        self.write(|reply| Op::MarkTaskDeleting { id, reply })
    }

    /// What a box of that pool shall run, and what shall go.
    pub fn tasks_to_run(&self, edge_pool_id: &str) -> Call<ToRun> {
        let edge_pool_id = edge_pool_id.to_owned();
        self.read(move |c| to_run::to_run(c, &edge_pool_id))
    }

    /// At a start, before anything runs: states that say that something does are put right. Answers how many.
    pub fn recover_tasks(&self) -> Call<u64> {
        self.write(|reply| Op::RecoverTasks { reply })
    }

    /// `rows` is all that the folder of task files holds.
    pub fn follow_task_files(&self, rows: Vec<TaskRow>) -> Call<()> {
        self.write(|reply| Op::FollowTaskFiles { rows, reply })
    }

    /// What is, by the supervisor.
    pub fn set_task_state(&self, id: &str, state: TaskState) -> Call<bool> {
        let id = id.to_owned();
        self.write(|reply| Op::SetTaskState { id, state, reply })
    }

    /// What is wanted, by the API.
    pub fn set_task_desired(&self, id: &str, desired: Desired, now: UnixMs) -> Call<bool> {
        let id = id.to_owned();
        self.write(|reply| Op::SetTaskDesired { id, desired, now, reply })
    }
}

/// The camera registry.
impl Store {
    /// `Conflict` where the id is taken.
    pub fn insert_camera(&self, row: CameraRow) -> Call<()> {
        self.write(|reply| Op::InsertCamera { row, reply })
    }

    /// False where there is no such camera.
    pub fn update_camera(&self, row: CameraRow) -> Call<bool> {
        self.write(|reply| Op::UpdateCamera { row, reply })
    }

    pub fn delete_camera(&self, id: &str) -> Call<bool> {
        let id = id.to_owned();
        self.write(|reply| Op::DeleteCamera { id, reply })
    }

    pub fn camera(&self, id: &str) -> Call<Option<CameraRow>> {
        let id = id.to_owned();
        self.read(move |c| cameras::get(c, &id))
    }

    /// How many match, and the page of them.
    pub fn cameras(&self, query: CameraQuery) -> Call<(u64, Vec<CameraRow>)> {
        self.read(move |c| cameras::list(c, &query))
    }
}

/// API keys.
impl Store {
    pub fn insert_key(&self, row: KeyRow) -> Call<()> {
        self.write(|reply| Op::InsertKey { row, reply })
    }

    /// Revoked ones included.
    pub fn key(&self, id: &str) -> Call<Option<KeyRow>> {
        let id = id.to_owned();
        self.read(move |c| keys::find(c, &id))
    }

    /// Oldest first, revoked ones included.
    pub fn keys(&self) -> Call<Vec<KeyRow>> {
        self.read(keys::list)
    }

    /// False where there is no such key, or it was revoked before.
    pub fn revoke_key(&self, id: &str, now: UnixMs) -> Call<bool> {
        let id = id.to_owned();
        self.write(|reply| Op::RevokeKey { id, now, reply })
    }

    /// Notes that a key was used. Not for every request: each costs a sync to the disk.
    pub fn touch_key(&self, id: &str, now: UnixMs) -> Call<bool> {
        let id = id.to_owned();
        self.write(|reply| Op::TouchKey { id, now, reply })
    }
}

/// Licences.
impl Store {
    pub fn products(&self, search: Search) -> Call<Page> {
        self.read(move |c| search.page(c, None))
    }

    pub fn sns(&self, search: Search, scope: SnScope) -> Call<Page> {
        self.read(move |c| licences::sns(c, &search, scope))
    }

    pub fn sn(&self, sn: &str, scope: SnScope) -> Call<Option<Record>> {
        let sn = sn.to_owned();
        self.read(move |c| licences::sn(c, &sn, scope))
    }

    /// Rows of a collection that belongs to a product or an sn; `None` where there is no such one.
    pub fn owned(&self, search: Search, owner: Owner) -> Call<Option<Page>> {
        self.read(move |c| licences::owned(c, &search, &owner))
    }

    /// With a mark: carried out once a day, answered every time.
    pub fn change_licences(
        &self,
        change: LicenceChange,
        mark: Option<RequestMark>,
        now: UnixMs,
    ) -> Call<LicenceOutcome> {
        self.write(|reply| Op::ChangeLicences { change: Box::new(change), mark, now, reply })
    }
}

/// Who changed what.
impl Store {
    pub fn audit(&self, search: Search) -> Call<Page> {
        self.read(move |c| search.page(c, None))
    }
}

/// Camera channels under a licence.
impl Store {
    /// One channel for a task that shall run, or why not. Again for one that runs, at every look: the answer may have
    /// become another (the licence ended, was disabled, allows fewer), and then its channel is given back already.
    pub fn take_channel(&self, request: ChannelRequest, now: UnixMs) -> Call<Verdict> {
        self.write(|reply| Op::TakeChannel { request, now, reply })
    }

    /// False where the task had none.
    pub fn release_channel(&self, task_id: &str) -> Call<bool> {
        let task_id = task_id.to_owned();
        self.write(|reply| Op::ReleaseChannel { task_id, reply })
    }

    /// What a box held when it was last stopped or killed: at its start, before any task does. Answers how many.
    pub fn release_all_channels(&self, node: &str) -> Call<u64> {
        let node = node.to_owned();
        self.write(|reply| Op::ReleaseAllChannels { node, reply })
    }
}

impl Inner {
    fn with_reader<T>(&self, query: impl FnOnce(&Connection) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let idle = self.readers.lock().pop();
        let connection = match idle {
            Some(connection) => connection,
            None => {
                let connection = connect(&self.path)?;
                connection.execute_batch("PRAGMA query_only = ON")?;
                connection
            }
        };
        // What one question reads is of one moment.
        let result = connection.unchecked_transaction().map_err(StoreError::from).and_then(|moment| query(&moment));
        let mut readers = self.readers.lock();
        if readers.len() < READERS {
            readers.push(connection);
        }
        result
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.queue.take();
        if let Some(writer) = self.writer.take()
            && writer.join().is_err()
        {
            tracing::error!("the store's writer ended by a panic");
        }
    }
}

fn connect(path: &Path) -> Result<Connection, StoreError> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(Duration::from_millis(error::BUSY_TIMEOUT_MS))?;
    connection.set_prepared_statement_cache_capacity(64);
    connection.execute_batch(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;
         PRAGMA journal_size_limit = 67108864; PRAGMA trusted_schema = OFF;
         PRAGMA temp_store = MEMORY;",
    )?;
    Ok(connection)
}

fn up_before(connection: &Connection) -> Result<UpMs, StoreError> {
    Ok(UpMs(connection.query_row("SELECT value FROM totals WHERE name = 'up_ms'", [], |row| row.get(0))?))
}

fn make_private_dir(dir: &Path) -> Result<(), StoreError> {
    Ok(fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?)
}

fn lock(dir: &Path) -> Result<File, StoreError> {
    let file = OpenOptions::new().create(true).append(true).mode(0o600).open(dir.join(LOCK_NAME))?;
    // A process that is being started holds every open file of its parent for a moment, this one among them.
    for _ in 0..LOCK_TRIES {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) => std::thread::park_timeout(LOCK_WAIT),
            Err(TryLockError::Error(error)) => return Err(error.into()),
        }
    }
    Err(StoreError::InUse { dir: dir.display().to_string() })
}
