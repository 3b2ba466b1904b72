//! The chains of evidence: a link for each delivery of an output that asks for it, made in the transaction that makes
//! the delivery, so that numbers have no gaps and a message keeps its link however often it is sent.

use rusqlite::Connection;

use super::error::StoreError;
use crate::domain::Message;
use crate::domain::evidence::{self, Hash, Link};

/// The next link of the output's chain, which then ends with it.
pub fn append(connection: &Connection, output: i64, message: &Message) -> Result<Link, StoreError> {
    let (number, hash) = connection
        .prepare_cached("SELECT chain_number, chain_hash FROM outputs WHERE id = ?1")?
        .query_row([output], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, Vec<u8>>(1)?)))?;
    let link = Link { number: number.unsigned_abs() + 1, previous: to_hash(&hash) };
    let hash = evidence::sha256(evidence::statement_of(&link, message).as_bytes());
    connection.prepare_cached("UPDATE outputs SET chain_number = ?2, chain_hash = ?3 WHERE id = ?1")?.execute((
        output,
        number + 1,
        hash,
    ))?;
    Ok(link)
}

/// Zeros before the first link.
pub fn to_hash(bytes: &[u8]) -> Hash {
    bytes.try_into().unwrap_or_default()
}
