//! API keys: who may ask. Only a hash of a key is stored; the secret of a signing pair, which has to be read again to
//! check a signature, is stored sealed.

use rusqlite::{Connection, OptionalExtension, Row, named_params};

use super::error::StoreError;
use crate::domain::UnixMs;

#[derive(Clone, PartialEq, Eq)]
pub struct KeyRow {
    pub id: String,
    pub name: String,
    pub role: String,
    pub hash: Vec<u8>,
    /// The secret key of a signing pair, whose access key is the id.
    pub sealed: Option<Vec<u8>>,
    pub created_at: UnixMs,
    pub revoked_at: Option<UnixMs>,
    pub last_used_at: Option<UnixMs>,
}

impl std::fmt::Debug for KeyRow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyRow").field("id", &self.id).field("role", &self.role).finish_non_exhaustive()
    }
}

pub fn insert(connection: &Connection, row: &KeyRow) -> Result<(), StoreError> {
    connection.execute(
        "INSERT INTO api_keys (id, name, role, hash, sealed, created_at, revoked_at, last_used_at)
         VALUES (:id, :name, :role, :hash, :sealed, :created_at, :revoked_at, :last_used_at)",
        named_params! {
            ":id": row.id, ":name": row.name, ":role": row.role, ":hash": row.hash, ":sealed": row.sealed,
            ":created_at": row.created_at.0,
            ":revoked_at": row.revoked_at.map(|t| t.0), ":last_used_at": row.last_used_at.map(|t| t.0),
        },
    )?;
    Ok(())
}

/// False where there is no such key, or it was revoked before.
pub fn revoke(connection: &Connection, id: &str, now: UnixMs) -> Result<bool, StoreError> {
    let changed =
        connection.execute("UPDATE api_keys SET revoked_at = ?2 WHERE id = ?1 AND revoked_at IS NULL", (id, now.0))?;
    Ok(changed > 0)
}

pub fn touch(connection: &Connection, id: &str, now: UnixMs) -> Result<bool, StoreError> {
    Ok(connection.execute("UPDATE api_keys SET last_used_at = ?2 WHERE id = ?1", (id, now.0))? > 0)
}

pub fn find(connection: &Connection, id: &str) -> Result<Option<KeyRow>, StoreError> {
    Ok(connection.prepare_cached("SELECT * FROM api_keys WHERE id = ?1")?.query_row([id], read).optional()?)
}

/// Oldest first, revoked ones included.
pub fn list(connection: &Connection) -> Result<Vec<KeyRow>, StoreError> {
    let mut statement = connection.prepare_cached("SELECT * FROM api_keys ORDER BY created_at, id")?;
    Ok(statement.query_map([], read)?.collect::<Result<_, _>>()?)
}

fn read(row: &Row<'_>) -> rusqlite::Result<KeyRow> {
    Ok(KeyRow {
        id: row.get("id")?,
        name: row.get("name")?,
        role: row.get("role")?,
        hash: row.get("hash")?,
        sealed: row.get("sealed")?,
        created_at: UnixMs(row.get("created_at")?),
        revoked_at: row.get::<_, Option<i64>>("revoked_at")?.map(UnixMs),
        last_used_at: row.get::<_, Option<i64>>("last_used_at")?.map(UnixMs),
    })
}
