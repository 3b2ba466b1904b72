//! Who changed what: an entry for each change that was made in somebody's name, in the change's own transaction. It
//! holds what was before and after, of a change only the fields that differ, and no secret (`redact`). Bounded: the
//! oldest entries go.

use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, named_params};
use serde_json::{Map, Value, json};

use super::error::StoreError;
use super::licences::{self, FEATURES, PRODUCTS, SN_CUSTOMERS, SN_USERS, SnScope, TEMPLATES};
use super::query::{Collection, Kind, field};
use super::record::{Cell, Record};
use super::redact::redact;
use super::{cameras, keys};
use crate::clock;

/// Entries beyond are forgotten, the oldest first.
const MAX_ENTRIES: i64 = 100_000;
/// Of all entries together.
const MAX_BYTES: i64 = 64 << 20;
/// What is longer is noted by its length alone.
const MAX_SIDE_BYTES: usize = 64 << 10;

pub static AUDIT: Collection = Collection {
    from: "audit",
    id: "audit.id",
    owner: None,
    fields: &[
        field("id", "audit.id", Kind::Integer).query().sort(),
        field("time", "audit.at_s", Kind::Time).query().sort(),
        field("who", "audit.who", Kind::Text).query().sort(),
        field("keyId", "audit.key_id", Kind::Text).query(),
        field("requestId", "audit.request_id", Kind::Text).query(),
        field("action", "audit.action", Kind::Text).query(),
        field("kind", "audit.kind", Kind::Text).query(),
        field("object", "audit.object", Kind::Text).query().sort(),
        field("before", "audit.before", Kind::Text),
        field("after", "audit.after", Kind::Text),
    ],
};

/// In whose name something is changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    /// The key's name, or what of this box acts by itself.
    pub name: String,
    /// The key's id.
    pub key_id: Option<String>,
    pub request_id: Option<String>,
}

impl Actor {
    /// Something of this box, without a key.
    pub fn local(name: &str) -> Self {
        Self { name: name.to_owned(), key_id: None, request_id: None }
    }
}

/// Nobody's changes are not noted: those of the service's own work.
pub type By = Option<Arc<Actor>>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    Task,
    Camera,
    Key,
    Product,
    Sn,
}

impl Subject {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Task => "task",
            Self::Camera => "camera",
            Self::Key => "key",
            Self::Product => "product",
            Self::Sn => "sn",
        }
    }
}

/// Carries out a change of these objects and notes what became different. `action` names a change of one that was
/// there before and after; the others are `create` and `delete`.
pub fn noted<T>(
    c: &Connection,
    by: &By,
    (action, subject, objects): (&str, Subject, Vec<&str>),
    change: impl FnOnce(&Connection) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    let Some(by) = by else { return change(c) };
    let look = || objects.iter().map(|object| subject.snapshot(c, object)).collect::<Result<Vec<_>, _>>();
    let before = look()?;
    let done = change(c)?;
    for (object, (before, after)) in objects.iter().zip(before.into_iter().zip(look()?)) {
        if before != after {
            write(c, by, (action, subject, object), before, after)?;
        }
    }
    trim(c)?;
    Ok(done)
}

type Snapshot = Option<Map<String, Value>>;

impl Subject {
    /// As it stands, secrets and all.
    fn snapshot(self, c: &Connection, object: &str) -> Result<Snapshot, StoreError> {
        match self {
            Self::Task => task(c, object),
            Self::Camera => Ok(cameras::get(c, object)?.and_then(|row| {
                let account = (row.username, row.password);
                map(json!({"name": row.name, "url": row.url, "detect_url": row.detect_url, "username": account.0, "password": account.1}))
            })),
            Self::Key => Ok(keys::find(c, object)?.and_then(|row| {
                let (signing, revoked) = (row.sealed.is_some(), row.revoked_at.is_some());
                map(json!({"name": row.name, "role": row.role, "signing": signing, "revoked": revoked}))
            })),
            Self::Product => product(c, object),
            Self::Sn => sn(c, object),
        }
    }
}

/// A task that shall go is gone.
fn task(c: &Connection, id: &str) -> Result<Snapshot, StoreError> {
    let found: Option<(String, String)> = c
        .prepare_cached("SELECT body, desired FROM tasks WHERE id = ?1 AND deleting = 0")?
        .query_row([id], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    Ok(found.map(|(body, desired)| {
        let mut snapshot = serde_json::from_str(&body).unwrap_or_default();
        let map: &mut Map<_, _> = &mut snapshot;
        map.insert("desired".to_owned(), desired.into());
        snapshot
    }))
}

fn product(c: &Connection, name: &str) -> Result<Snapshot, StoreError> {
    let Some(id) = licences::product_id(c, name)? else { return Ok(None) };
    let mut snapshot = plain(&PRODUCTS.one(c, id)?);
    snapshot.insert("features".to_owned(), all(&FEATURES.of(c, id)?));
    snapshot.insert("templates".to_owned(), all(&TEMPLATES.of(c, id)?));
    Ok(Some(snapshot))
}

fn sn(c: &Connection, sn: &str) -> Result<Snapshot, StoreError> {
    let scope = SnScope { machines: false, ..SnScope::ALL };
    let Some(record) = licences::sn(c, sn, scope)? else { return Ok(None) };
    let mut snapshot = plain(&record);
    // It is the time of the entry.
    snapshot.shift_remove("updateTime");
    snapshot.insert("users".to_owned(), all(&SN_USERS.of(c, record.id)?));
    snapshot.insert("customers".to_owned(), all(&SN_CUSTOMERS.of(c, record.id)?));
    Ok(Some(snapshot))
}

fn map(value: Value) -> Snapshot {
    if let Value::Object(map) = value { Some(map) } else { None }
}

fn all(records: &[Record]) -> Value {
    records.iter().map(|record| Value::Object(plain(record))).collect()
}

fn plain(record: &Record) -> Map<String, Value> {
    let value = |cell: &Cell| match cell {
        Cell::Text(text) => text.as_str().into(),
        Cell::Integer(n) | Cell::Time { unix_s: n } => (*n).into(),
        Cell::Flag(flag) => (*flag).into(),
        Cell::Record(record) => plain(record).into(),
        Cell::List(records) => all(records),
    };
    record.cells.iter().map(|(name, cell)| (name.clone(), value(cell))).collect()
}

fn write(
    c: &Connection,
    by: &Actor,
    (action, subject, object): (&str, Subject, &str),
    before: Snapshot,
    after: Snapshot,
) -> Result<(), StoreError> {
    let action = match (&before, &after) {
        (None, _) => "create",
        (_, None) => "delete",
        _ => action,
    };
    let [before, after] = without_what_is_alike(before, after).map(|side| side.map(text));
    c.prepare_cached(
        "INSERT INTO audit (at_s, who, key_id, request_id, action, kind, object, before, after)
         VALUES (:at_s, :who, :key_id, :request_id, :action, :kind, :object, :before, :after)",
    )?
    .execute(named_params! {
        ":at_s": clock::unix_ms().secs(), ":who": by.name, ":key_id": by.key_id, ":request_id": by.request_id,
        ":action": action, ":kind": subject.as_str(), ":object": object, ":before": before, ":after": after,
    })?;
    Ok(())
}

fn without_what_is_alike(before: Snapshot, after: Snapshot) -> [Snapshot; 2] {
    let (Some(mut before), Some(mut after)) = (before.clone(), after.clone()) else { return [before, after] };
    let alike: Vec<_> = before.iter().filter(|(k, v)| after.get(*k) == Some(v)).map(|(k, _)| k.clone()).collect();
    for name in alike {
        before.shift_remove(&name);
        after.shift_remove(&name);
    }
    [Some(before), Some(after)]
}

fn text(side: Map<String, Value>) -> String {
    let mut side = Value::Object(side);
    redact(&mut side);
    let text = side.to_string();
    if text.len() > MAX_SIDE_BYTES { json!({"too_long_to_note_bytes": text.len()}).to_string() } else { text }
}

/// Both bounds hold before the transaction that broke them ends.
fn trim(c: &Connection) -> Result<(), StoreError> {
    let mut is_over = c.prepare_cached("SELECT entries > ?1 OR bytes > ?2 FROM audit_size")?;
    let mut forget = c.prepare_cached("DELETE FROM audit WHERE id = (SELECT min(id) FROM audit)")?;
    while is_over.query_row([MAX_ENTRIES, MAX_BYTES], |row| row.get(0))? {
        forget.execute([])?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::migrations;

    #[test]
    fn the_oldest_entries_go_at_either_bound() {
        let c = Connection::open_in_memory().unwrap();
        migrations::migrate(&c).unwrap();
        let fill = |entries: i64, bytes: i64| {
            c.execute(
                "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1)
                 INSERT INTO audit (at_s, who, action, kind, object, after)
                 SELECT 0, 'w', 'create', 'task', i, hex(zeroblob(?2 / 2)) FROM n",
                [entries, bytes],
            )
            .unwrap();
            trim(&c).unwrap();
            c.query_row("SELECT count(*), min(id), (SELECT entries FROM audit_size) FROM audit", [], |row| {
                Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?, row.get::<_, i64>(2)?))
            })
            .unwrap()
        };
        assert_eq!(fill(MAX_ENTRIES + 7, 2), (MAX_ENTRIES, 8, MAX_ENTRIES));
        let (left, _, counted) = fill(70, 1 << 20);
        assert_eq!((left, counted), (64, 64), "by their bytes");
    }

    #[test]
    fn of_a_change_only_what_differs_is_kept() {
        let side = |value: Value| map(value);
        let [before, after] = without_what_is_alike(
            side(json!({"name": "a", "same": [1], "gone": 1})),
            side(json!({"name": "b", "same": [1], "new": 2})),
        );
        assert_eq!(before, side(json!({"name": "a", "gone": 1})));
        assert_eq!(after, side(json!({"name": "b", "new": 2})));
        assert!(text(side(json!({"x": "y".repeat(MAX_SIDE_BYTES)})).unwrap()).contains("too_long"));
    }
}
