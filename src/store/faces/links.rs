//! Photos linked to person numbers. A link is one photo's name under a number of a space; the number is gone with its
//! last photo.

use rusqlite::{Connection, OptionalExtension};

use super::super::error::StoreError;
use super::erasures::{self, Why};
use super::samples::{self, Place, SealedSample};
use crate::domain::{FaceOwner, UnixMs};

/// A photo under a number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PhotoLink {
    pub number: i64,
    pub name: String,
}

/// All of them, or none.
pub fn set(c: &Connection, photos: &[SealedSample], now: UnixMs) -> Result<(), StoreError> {
    for photo in photos {
        samples::put(c, photo, false, now)?;
        c.execute(
            "DELETE FROM unlinked_photos WHERE owner = ?1 AND face = ?2",
            (&photo.place.owner, &photo.place.face),
        )?;
    }
    Ok(())
}

/// For each, whether there was something to unlink.
pub fn unlink(c: &Connection, space: u8, links: &[PhotoLink], now: UnixMs) -> Result<Vec<bool>, StoreError> {
    links.iter().map(|link| unlink_one(c, space, link, now)).collect()
}

/// By its name the photo's link; by a name that no photo of this number ever had, all of the number's: whoever asks to
/// be forgotten by number must not stay because of a name that, as documented, only comes back.
fn unlink_one(c: &Connection, space: u8, link: &PhotoLink, now: UnixMs) -> Result<bool, StoreError> {
    let place = Place::new(&FaceOwner::Number { space, number: link.number }, &link.name);
    if erasures::erase(c, &place, Why::Removed, now)? {
        c.execute("INSERT OR IGNORE INTO unlinked_photos VALUES (?1, ?2)", (&place.owner, &place.face))?;
        if samples::count(c, &place)? == 0 {
            forget_names(c, &place)?;
        }
        return Ok(true);
    }
    let unlinked_before = c
        .prepare_cached("SELECT 1 FROM unlinked_photos WHERE owner = ?1 AND face = ?2")?
        .query_row((&place.owner, &place.face), |_| Ok(()))
        .optional()?;
    if unlinked_before.is_some() {
        return Ok(false);
    }
    let erased = samples::erase_owner(c, &place, Why::Removed, now)?;
    forget_names(c, &place)?;
    Ok(erased > 0)
}

fn forget_names(c: &Connection, place: &Place) -> Result<(), StoreError> {
    c.execute("DELETE FROM unlinked_photos WHERE owner = ?1", [&place.owner])?;
    Ok(())
}

/// Everything of a space. Answers how many photos.
pub fn truncate(c: &Connection, space: u8, now: UnixMs) -> Result<u64, StoreError> {
    let (from, to) = range(space);
    let photos = c
        .prepare_cached("SELECT owner, face FROM samples WHERE kind = 2 AND owner >= ?1 AND owner < ?2")?
        .query_map((&from, &to), |row| Ok(Place { kind: 2, owner: row.get(0)?, face: row.get(1)? }))?
        .collect::<Result<Vec<_>, _>>()?;
    for place in &photos {
        erasures::erase(c, place, Why::Removed, now)?;
    }
    c.execute("DELETE FROM unlinked_photos WHERE owner >= ?1 AND owner < ?2", (&from, &to))?;
    Ok(photos.len() as u64)
}

/// The largest number of a space, 0 where it is empty or all are below.
pub fn largest_number(c: &Connection, space: u8) -> Result<i64, StoreError> {
    let mut statement = c.prepare_cached(
        "SELECT max(CAST(substr(owner, 3) AS INTEGER)) FROM samples WHERE kind = 2 AND owner >= ?1 AND owner < ?2",
    )?;
    Ok(statement.query_row(range(space), |row| row.get::<_, Option<i64>>(0))?.unwrap_or(0).max(0))
}

/// Owners of a space begin with its digit and a slash; the next character after the slash is 0.
fn range(space: u8) -> (String, String) {
    (format!("{space}/"), format!("{space}0"))
}
