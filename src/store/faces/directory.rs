//! The person directory: persons, their faces, dynamic groups, and the operations by which they changed. A change and
//! its operation are one transaction, so that an operation that can be asked for has been carried out.

use rusqlite::{Connection, OptionalExtension, Row};
use uuid::Uuid;

use super::super::error::StoreError;
use super::erasures::{self, Why};
use super::samples::{self, Place, SealedSample};
use crate::domain::{FaceOwner, UnixMs};

pub const MAX_FACES: u64 = 248;
/// What one installation holds: as many as a search is measured with.
pub const MAX_PERSONS: u64 = 100_000;
pub const MAX_GROUPS: u64 = 10_000;
const KEEP_OPERATIONS_MS: i64 = 48 * 3_600_000;

pub enum DirectoryChange {
    CreateGroup {
        id: String,
        name: String,
        user_data: Option<String>,
        add: Vec<Uuid>,
    },
    /// What is `None` stays.
    UpdateGroup {
        id: String,
        name: Option<String>,
        user_data: Option<String>,
        add: Vec<Uuid>,
        remove: Vec<Uuid>,
    },
    DeleteGroup {
        id: String,
    },
    CreatePerson {
        id: Uuid,
        name: String,
        user_data: Option<String>,
    },
    /// What is `None` stays.
    UpdatePerson {
        id: Uuid,
        name: Option<String>,
        user_data: Option<String>,
    },
    /// With all faces, out of all groups.
    DeletePerson {
        id: Uuid,
    },
    AddFace {
        person: Uuid,
        sample: Box<SealedSample>,
    },
    UpdateFace {
        person: Uuid,
        face: Uuid,
        model: String,
        user_data: Option<String>,
    },
    DeleteFace {
        person: Uuid,
        face: Uuid,
        model: String,
    },
}

/// Why nothing has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DirectoryRefusal {
    GroupExists,
    NoGroup,
    NoPerson,
    NoFace,
    TooManyFaces,
    TooManyPersons,
    TooManyGroups,
}

/// A person or a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedRow {
    pub id: String,
    pub name: String,
    pub user_data: Option<String>,
}

/// Ids greater than `start`, ascending, at most `top`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    pub start: String,
    pub top: u32,
}

/// With an operation, its note as well. What is refused leaves no trace: the caller takes it back.
pub fn change(
    c: &Connection,
    change: &DirectoryChange,
    operation: Option<Uuid>,
    now: UnixMs,
) -> Result<Result<(), DirectoryRefusal>, StoreError> {
    c.execute_batch("SAVEPOINT directory")?;
    let done = carry_out(c, change, now);
    if !matches!(done, Ok(Ok(()))) {
        c.execute_batch("ROLLBACK TO directory; RELEASE directory")?;
        return done;
    }
    c.execute_batch("RELEASE directory")?;
    if let Some(id) = operation {
        c.execute("DELETE FROM operations WHERE created_at < ?1", [now.0 - KEEP_OPERATIONS_MS])?;
        c.execute("INSERT INTO operations (id, created_at) VALUES (?1, ?2)", (id.to_string(), now.0))?;
    }
    done
}

fn carry_out(
    c: &Connection,
    change: &DirectoryChange,
    now: UnixMs,
) -> Result<Result<(), DirectoryRefusal>, StoreError> {
    use DirectoryRefusal as Refusal;
    match change {
        DirectoryChange::CreateGroup { id, name, user_data, add } => {
            if group(c, id)?.is_some() {
                return Ok(Err(Refusal::GroupExists));
            }
            if count(c, "person_groups")? >= MAX_GROUPS {
                return Ok(Err(Refusal::TooManyGroups));
            }
            c.execute("INSERT INTO person_groups (id, name, user_data) VALUES (?1, ?2, ?3)", (id, name, user_data))?;
            join(c, id, add)
        }
        DirectoryChange::UpdateGroup { id, name, user_data, add, remove } => {
            let sql = "UPDATE person_groups SET name = coalesce(?2, name), user_data = coalesce(?3, user_data)
                       WHERE id = ?1";
            if c.execute(sql, (id, name, user_data))? == 0 {
                return Ok(Err(Refusal::NoGroup));
            }
            for person in remove {
                c.execute("DELETE FROM group_members WHERE grp = ?1 AND person = ?2", (id, person.to_string()))?;
            }
            join(c, id, add)
        }
        DirectoryChange::DeleteGroup { id } => {
            Ok(some(c.execute("DELETE FROM person_groups WHERE id = ?1", [id])?, Refusal::NoGroup))
        }
        DirectoryChange::CreatePerson { id, name, user_data } => {
            if count(c, "persons")? >= MAX_PERSONS {
                return Ok(Err(Refusal::TooManyPersons));
            }
            let sql = "INSERT INTO persons (id, name, user_data, created_at) VALUES (?1, ?2, ?3, ?4)";
            c.execute(sql, (id.to_string(), name, user_data, now.0))?;
            Ok(Ok(()))
        }
        DirectoryChange::UpdatePerson { id, name, user_data } => {
            let sql = "UPDATE persons SET name = coalesce(?2, name), user_data = coalesce(?3, user_data) WHERE id = ?1";
            Ok(some(c.execute(sql, (id.to_string(), name, user_data))?, Refusal::NoPerson))
        }
        DirectoryChange::DeletePerson { id } => {
            samples::erase_owner(c, &Place::new(&FaceOwner::Person(*id), ""), Why::Removed, now)?;
            Ok(some(c.execute("DELETE FROM persons WHERE id = ?1", [id.to_string()])?, Refusal::NoPerson))
        }
        DirectoryChange::AddFace { person: id, sample } => {
            if person(c, *id)?.is_none() {
                return Ok(Err(Refusal::NoPerson));
            }
            if samples::count(c, &sample.place)? >= MAX_FACES {
                return Ok(Err(Refusal::TooManyFaces));
            }
            samples::put(c, sample, false, now)?;
            Ok(Ok(()))
        }
        DirectoryChange::UpdateFace { person: id, face, model, user_data } => {
            if person(c, *id)?.is_none() {
                return Ok(Err(Refusal::NoPerson));
            }
            let sql = "UPDATE samples SET user_data = ?4
                       WHERE kind = 1 AND owner = ?1 AND face = ?2 AND recognition_model = ?3";
            Ok(some(c.execute(sql, (id.to_string(), face.to_string(), model, user_data))?, Refusal::NoFace))
        }
        DirectoryChange::DeleteFace { person: id, face, model } => {
            if person(c, *id)?.is_none() {
                return Ok(Err(Refusal::NoPerson));
            }
            let place = Place::new(&FaceOwner::Person(*id), &face.to_string());
            let found = samples::find(c, &place)?.filter(|row| row.recognition_model.as_ref() == Some(model));
            let erased = found.is_some() && erasures::erase(c, &place, Why::Removed, now)?;
            Ok(some(usize::from(erased), Refusal::NoFace))
        }
    }
}

fn join(c: &Connection, group: &str, persons: &[Uuid]) -> Result<Result<(), DirectoryRefusal>, StoreError> {
    for id in persons {
        if person(c, *id)?.is_none() {
            return Ok(Err(DirectoryRefusal::NoPerson));
        }
        c.execute("INSERT OR IGNORE INTO group_members (grp, person) VALUES (?1, ?2)", (group, id.to_string()))?;
    }
    Ok(Ok(()))
}

fn some(changed: usize, otherwise: DirectoryRefusal) -> Result<(), DirectoryRefusal> {
    if changed > 0 { Ok(()) } else { Err(otherwise) }
}

fn count(c: &Connection, table: &str) -> Result<u64, StoreError> {
    let sql = format!("SELECT count(*) FROM {table}");
    Ok(c.prepare_cached(&sql)?.query_row([], |row| row.get::<_, i64>(0))? as u64)
}

pub fn group(c: &Connection, id: &str) -> Result<Option<NamedRow>, StoreError> {
    let mut statement = c.prepare_cached("SELECT id, name, user_data FROM person_groups WHERE id = ?1")?;
    Ok(statement.query_row([id], named).optional()?)
}

pub fn person(c: &Connection, id: Uuid) -> Result<Option<NamedRow>, StoreError> {
    let mut statement = c.prepare_cached("SELECT id, name, user_data FROM persons WHERE id = ?1")?;
    Ok(statement.query_row([id.to_string()], named).optional()?)
}

pub fn groups(c: &Connection, window: &Window) -> Result<Vec<NamedRow>, StoreError> {
    let sql = "SELECT id, name, user_data FROM person_groups WHERE id > ?1 ORDER BY id LIMIT ?2";
    Ok(c.prepare_cached(sql)?.query_map((&window.start, window.top), named)?.collect::<Result<_, _>>()?)
}

pub fn persons(c: &Connection, window: &Window) -> Result<Vec<NamedRow>, StoreError> {
    let sql = "SELECT id, name, user_data FROM persons WHERE id > ?1 ORDER BY id LIMIT ?2";
    Ok(c.prepare_cached(sql)?.query_map((&window.start, window.top), named)?.collect::<Result<_, _>>()?)
}

/// `None` where there is no such group.
pub fn persons_of_group(c: &Connection, id: &str, window: &Window) -> Result<Option<Vec<String>>, StoreError> {
    if group(c, id)?.is_none() {
        return Ok(None);
    }
    let sql = "SELECT person FROM group_members WHERE grp = ?1 AND person > ?2 ORDER BY person LIMIT ?3";
    let mut statement = c.prepare_cached(sql)?;
    let rows = statement.query_map((id, &window.start, window.top), |row| row.get(0))?;
    Ok(Some(rows.collect::<Result<_, _>>()?))
}

/// `None` where there is no such person.
pub fn groups_of_person(c: &Connection, id: Uuid, window: &Window) -> Result<Option<Vec<String>>, StoreError> {
    if person(c, id)?.is_none() {
        return Ok(None);
    }
    let sql = "SELECT grp FROM group_members WHERE person = ?1 AND grp > ?2 ORDER BY grp LIMIT ?3";
    let mut statement = c.prepare_cached(sql)?;
    let rows = statement.query_map((id.to_string(), &window.start, window.top), |row| row.get(0))?;
    Ok(Some(rows.collect::<Result<_, _>>()?))
}

/// When an operation was carried out; `None` where there is none, or it is too old.
pub fn operation(c: &Connection, id: Uuid, now: UnixMs) -> Result<Option<UnixMs>, StoreError> {
    let sql = "SELECT created_at FROM operations WHERE id = ?1 AND created_at >= ?2";
    let mut statement = c.prepare_cached(sql)?;
    let found = statement.query_row((id.to_string(), now.0 - KEEP_OPERATIONS_MS), |row| row.get(0)).optional()?;
    Ok(found.map(UnixMs))
}

fn named(row: &Row<'_>) -> rusqlite::Result<NamedRow> {
    Ok(NamedRow { id: row.get(0)?, name: row.get(1)?, user_data: row.get(2)? })
}
