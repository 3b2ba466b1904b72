//! What this box signs with: made at its first start, kept with its data, never shown.

use rusqlite::{Connection, OptionalExtension};

use super::error::StoreError;

/// 32 random bytes each.
#[derive(Clone)]
pub struct BoxKeys {
    /// Of the addresses at which pictures are fetched.
    pub pictures: [u8; 32],
    /// The ed25519 seed of evidence.
    pub evidence: [u8; 32],
}

pub fn make_missing(connection: &Connection) -> Result<(), StoreError> {
    for name in ["pictures", "evidence"] {
        let key: [u8; 32] = rand::random();
        connection.execute("INSERT OR IGNORE INTO box_keys (name, key) VALUES (?1, ?2)", (name, key))?;
    }
    Ok(())
}

/// `None` before the service's first start.
pub fn read(connection: &Connection) -> Result<Option<BoxKeys>, StoreError> {
    let key = |name: &str| -> Result<Option<[u8; 32]>, StoreError> {
        let mut statement = connection.prepare_cached("SELECT key FROM box_keys WHERE name = ?1")?;
        Ok(statement.query_row([name], |row| row.get(0)).optional()?)
    };
    Ok(key("pictures")?.zip(key("evidence")?).map(|(pictures, evidence)| BoxKeys { pictures, evidence }))
}
