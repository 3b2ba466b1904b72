//! What can go wrong in the store, told apart by what the caller does about it.

use rusqlite::ErrorCode;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// Try again later; nothing that was committed is lost.
    #[error("the disk under the data folder is full: free some space, the service goes on by itself")]
    Full,
    #[error("the data folder cannot be written: check its owner, its mode and how it is mounted")]
    ReadOnly,
    #[error(
        "the disk under the data folder gives errors (the system's log, dmesg, says which): the service goes on by itself once it works"
    )]
    Disk,
    /// Try again at once or later.
    #[error("the database is held by another program (for longer than {waited_ms} ms): try again")]
    Busy { waited_ms: u64 },
    /// A second service on the same folder.
    #[error("the data folder {dir} is in use by another face-edge: stop it or choose another --data-dir")]
    InUse { dir: String },
    /// Needs a person.
    #[error(
        "the database is damaged ({detail}): move face-edge.db, face-edge.db-wal and face-edge.db-shm away and start again, or restore a copy"
    )]
    Corrupt { detail: String },
    #[error("the database has schema version {found}, this program knows {known}: install the newer face-edge")]
    Newer { found: usize, known: usize },
    /// The caller's value clashes with one that is there.
    #[error("it is already there ({detail})")]
    Conflict { detail: String },
    /// The store has been closed.
    #[error("the store is closed")]
    Closed,
    #[error("the store failed: {detail}")]
    Other { detail: String },
}

/// How long one connection waits for another.
pub const BUSY_TIMEOUT_MS: u64 = 5_000;

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        // The statement's text is left out: rusqlite's messages name tables and columns, never values.
        let detail = match &error {
            rusqlite::Error::SqliteFailure(code, message) => message.clone().unwrap_or_else(|| code.to_string()),
            other => other.to_string(),
        };
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Self::Full,
            Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => Self::ReadOnly,
            Some(ErrorCode::SystemIoFailure) => Self::Disk,
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Busy { waited_ms: BUSY_TIMEOUT_MS },
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Self::Corrupt { detail },
            Some(ErrorCode::ConstraintViolation) => Self::Conflict { detail },
            _ => Self::Other { detail },
        }
    }
}

impl From<std::io::Error> for StoreError {
    fn from(error: std::io::Error) -> Self {
        use std::io::ErrorKind;
        match error.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Self::Full,
            ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem | ErrorKind::NotADirectory => Self::ReadOnly,
            _ => Self::Other { detail: error.to_string() },
        }
    }
}
