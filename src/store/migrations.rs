//! Brings a database to the schema that this program knows, one numbered file after the other, each in its own
//! transaction. A fresh database takes the same way as an old one. A file that was once released never changes.

use rusqlite::Connection;

use super::error::StoreError;

const MIGRATIONS: &[&str] = &[
    include_str!("migrations/0001_outbox.sql"),
    include_str!("migrations/0002_registry.sql"),
    include_str!("migrations/0003_licences.sql"),
    include_str!("migrations/0004_cameras.sql"),
    include_str!("migrations/0005_audit.sql"),
    include_str!("migrations/0006_faces.sql"),
    include_str!("migrations/0007_delivery.sql"),
    include_str!("migrations/0008_detect_url.sql"),
];

/// Refuses a database that a newer program has written.
pub fn migrate(connection: &Connection) -> Result<(), StoreError> {
    migrate_to(connection, MIGRATIONS.len())
}

fn migrate_to(connection: &Connection, target: usize) -> Result<(), StoreError> {
    let found: usize = connection.query_row("PRAGMA user_version", [], |row| row.get::<_, u32>(0))? as usize;
    if found > MIGRATIONS.len() {
        return Err(StoreError::Newer { found, known: MIGRATIONS.len() });
    }
    if found == target {
        return Ok(());
    }
    // A table that others refer to can be made anew only while references are not watched.
    connection.execute_batch("PRAGMA foreign_keys = OFF")?;
    let migrated = apply(connection, found, target);
    connection.execute_batch("PRAGMA foreign_keys = ON")?;
    migrated
}

fn apply(connection: &Connection, found: usize, target: usize) -> Result<(), StoreError> {
    for (index, sql) in MIGRATIONS.iter().enumerate().take(target).skip(found) {
        let version = index + 1;
        let done =
            connection.execute_batch(&format!("BEGIN IMMEDIATE; {sql} PRAGMA user_version = {version}; COMMIT;"));
        if let Err(error) = done {
            if !connection.is_autocommit() {
                connection.execute_batch("ROLLBACK")?;
            }
            return Err(error.into());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema(connection: &Connection) -> Vec<(String, String, String)> {
        let mut statement =
            connection.prepare("SELECT type, name, coalesce(sql, '') FROM sqlite_schema ORDER BY type, name").unwrap();
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).unwrap();
        rows.map(Result::unwrap).collect()
    }

    #[test]
    fn an_upgraded_schema_equals_a_fresh_one() {
        let fresh = Connection::open_in_memory().unwrap();
        migrate(&fresh).unwrap();
        for from in 1..MIGRATIONS.len() {
            let old = Connection::open_in_memory().unwrap();
            migrate_to(&old, from).unwrap();
            let (address, value) = if from < 7 { ("", "") } else { (", address", ", 'a'") };
            let output = format!(
                "INSERT INTO outputs (id, task_id, kind, target, created_at{address})
                 VALUES (1, 't', 'localpath', '{{}}', 5{value})"
            );
            old.execute(&output, []).unwrap();
            migrate(&old).unwrap();
            assert_eq!(schema(&old), schema(&fresh), "from version {from}");
            let kept: i64 = old.query_row("SELECT created_at FROM outputs", [], |row| row.get(0)).unwrap();
            assert_eq!(kept, 5, "rows of version {from} are kept");
        }
    }

    #[test]
    fn a_newer_database_is_refused_and_left_alone() {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch("PRAGMA user_version = 999").unwrap();
        assert!(matches!(migrate(&connection), Err(StoreError::Newer { found: 999, .. })));
        assert!(schema(&connection).is_empty());
    }
}
