//! The camera registry: cameras by a name of ours, so that a task need not know an address or a password.

use rusqlite::{Connection, OptionalExtension, Row, named_params};

use super::error::StoreError;
use super::registry::contains;
use crate::domain::UnixMs;

#[derive(Clone, PartialEq, Eq)]
pub struct CameraRow {
    pub id: String,
    pub name: String,
    pub url: String,
    /// The small stream, which is analysed in place of the other.
    pub detect_url: Option<String>,
    pub username: Option<String>,
    pub password: Option<String>,
    pub created_at: UnixMs,
    pub updated_at: UnixMs,
}

impl std::fmt::Debug for CameraRow {
    /// Without address and account.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CameraRow").field("id", &self.id).field("name", &self.name).finish_non_exhaustive()
    }
}

/// Ordered by id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CameraQuery {
    /// Contained in the name; as for tasks.
    pub name_like: String,
    pub offset: u32,
    pub limit: u32,
}

/// `Conflict` where the id is taken.
pub fn insert(connection: &Connection, row: &CameraRow) -> Result<(), StoreError> {
    connection.execute(
        "INSERT INTO cameras (id, name, url, detect_url, username, password, created_at, updated_at)
         VALUES (:id, :name, :url, :detect_url, :username, :password, :created_at, :updated_at)",
        named_params! {
            ":id": row.id, ":name": row.name, ":url": row.url, ":detect_url": row.detect_url,
            ":username": row.username, ":password": row.password,
            ":created_at": row.created_at.0, ":updated_at": row.updated_at.0,
        },
    )?;
    Ok(())
}

/// Everything but id and time of creation. False where there is no such camera.
pub fn update(connection: &Connection, row: &CameraRow) -> Result<bool, StoreError> {
    let changed = connection.execute(
        "UPDATE cameras SET name = :name, url = :url, detect_url = :detect_url, username = :username, password = :password,
                            updated_at = :updated_at WHERE id = :id",
        named_params! {
            ":id": row.id, ":name": row.name, ":url": row.url, ":detect_url": row.detect_url,
            ":username": row.username, ":password": row.password,
            ":updated_at": row.updated_at.0,
        },
    )?;
    Ok(changed > 0)
}

pub fn delete(connection: &Connection, id: &str) -> Result<bool, StoreError> {
    Ok(connection.execute("DELETE FROM cameras WHERE id = ?1", [id])? > 0)
}

pub fn get(connection: &Connection, id: &str) -> Result<Option<CameraRow>, StoreError> {
    Ok(connection.prepare_cached("SELECT * FROM cameras WHERE id = ?1")?.query_row([id], read).optional()?)
}

/// How many match, and the page of them.
pub fn list(connection: &Connection, query: &CameraQuery) -> Result<(u64, Vec<CameraRow>), StoreError> {
    let pattern = contains(&query.name_like);
    let total: i64 = connection
        .prepare_cached("SELECT count(*) FROM cameras WHERE name LIKE ?1 ESCAPE '\\'")?
        .query_row([&pattern], |row| row.get(0))?;
    let mut statement = connection
        .prepare_cached("SELECT * FROM cameras WHERE name LIKE ?1 ESCAPE '\\' ORDER BY id LIMIT ?2 OFFSET ?3")?;
    let rows = statement.query_map((&pattern, query.limit, query.offset), read)?.collect::<Result<_, _>>()?;
    Ok((u64::try_from(total).unwrap_or(0), rows))
}

fn read(row: &Row<'_>) -> rusqlite::Result<CameraRow> {
    Ok(CameraRow {
        id: row.get("id")?,
        name: row.get("name")?,
        url: row.get("url")?,
        detect_url: row.get("detect_url")?,
        username: row.get("username")?,
        password: row.get("password")?,
        created_at: UnixMs(row.get("created_at")?),
        updated_at: UnixMs(row.get("updated_at")?),
    })
}
