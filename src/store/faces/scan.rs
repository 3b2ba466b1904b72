//! The expiry scan: every ticket holder's sample is looked at, page by page, and an expired one becomes a delete event
//! for the gate that is scanned for. A page is one transaction: its events, what is erased, and how far the scan came.
//! A sample that no gate holds any more is erased with the page.

use rusqlite::{Connection, OptionalExtension};

use super::super::error::StoreError;
use super::erasures::{self, Why};
use super::gates;
use super::samples::Place;
use crate::domain::UnixMs;

/// Samples looked at in one page.
pub const PAGE: usize = 50;

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ScanPage {
    pub looked_at: usize,
    /// Delete events made.
    pub deleted: usize,
    /// Tickets whose sample is gone, held by no gate any more.
    pub erased: usize,
    pub more: bool,
    /// The last that was looked at; empty where none was.
    pub last: String,
}

/// A page of a scan that the store itself keeps the place of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScanStep {
    pub gatenum: String,
    pub page: ScanPage,
}

/// How far a scan at the remote server came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemotePlace {
    pub gatenum: String,
    pub after: String,
}

/// The page after `after`. `None` where there is no such gate.
pub fn page(c: &Connection, gatenum: &str, after: &str, now: UnixMs) -> Result<Option<ScanPage>, StoreError> {
    let Some(gate) = gates::gate_id(c, gatenum)? else { return Ok(None) };
    let mut rows = c
        .prepare_cached("SELECT owner, valid_to FROM samples WHERE kind = 0 AND owner > ?1 ORDER BY owner LIMIT ?2")?
        .query_map((after, PAGE as i64 + 1), |row| Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?)))?
        .collect::<Result<Vec<_>, _>>()?;
    let more = rows.len() > PAGE;
    rows.truncate(PAGE);
    let last = rows.last().map(|(lbsbh, _)| lbsbh.clone()).unwrap_or_default();
    let mut page = ScanPage { looked_at: rows.len(), more, last, ..ScanPage::default() };
    for (lbsbh, _) in rows.iter().filter(|(_, valid_to)| *valid_to < now.0) {
        page.deleted += usize::from(gates::retract(c, gate, lbsbh, now)?);
        if !gates::is_held(c, lbsbh)? {
            page.erased += usize::from(erasures::erase(c, &Place::ticket(lbsbh), Why::Expired, now)?);
        }
    }
    Ok(Some(page))
}

/// Begins tonight's scans, here and, where one is configured, at the remote server. False where that was done before.
pub fn begin_night(c: &Connection, night: &str, remote: bool) -> Result<bool, StoreError> {
    let begun = c.execute(
        "INSERT INTO scan_night (only, night) VALUES (1, ?1)
         ON CONFLICT (only) DO UPDATE SET night = ?1 WHERE night <> ?1",
        [night],
    )? > 0;
    if begun {
        c.execute("UPDATE gates SET scan_after = coalesce(scan_after, '')", [])?;
        c.execute("UPDATE gates SET remote_after = coalesce(remote_after, '') WHERE ?1", [remote])?;
    }
    Ok(begun)
}

/// Begins a scan by hand, of one gate or of all; one that is under way goes on. False where there is no such gate.
pub fn begin(c: &Connection, gatenum: Option<&str>) -> Result<bool, StoreError> {
    let begun = c.execute(
        "UPDATE gates SET scan_after = coalesce(scan_after, '') WHERE ?1 IS NULL OR gatenum = ?1",
        [gatenum],
    )?;
    Ok(begun > 0 || gatenum.is_none())
}

/// The next page of a scan that is under way, of one gate or of any. `None` where none is.
pub fn step(c: &Connection, gatenum: Option<&str>, now: UnixMs) -> Result<Option<ScanStep>, StoreError> {
    let under_way = c
        .prepare_cached(
            "SELECT gatenum, scan_after FROM gates WHERE scan_after IS NOT NULL AND (?1 IS NULL OR gatenum = ?1)
             ORDER BY gatenum LIMIT 1",
        )?
        .query_row([gatenum], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)))
        .optional()?;
    let Some((gatenum, after)) = under_way else { return Ok(None) };
    let page = page(c, &gatenum, &after, now)?.unwrap_or_default();
    let reached = page.more.then_some(&page.last);
    c.prepare_cached("UPDATE gates SET scan_after = ?2 WHERE gatenum = ?1")?.execute((&gatenum, reached))?;
    Ok(Some(ScanStep { gatenum, page }))
}

/// A scan at the remote server that is under way.
pub fn remote_place(c: &Connection) -> Result<Option<RemotePlace>, StoreError> {
    let mut statement = c.prepare_cached(
        "SELECT gatenum, remote_after FROM gates WHERE remote_after IS NOT NULL ORDER BY gatenum LIMIT 1",
    )?;
    let read = |row: &rusqlite::Row<'_>| Ok(RemotePlace { gatenum: row.get(0)?, after: row.get(1)? });
    Ok(statement.query_row([], read).optional()?)
}

/// `after`: where to go on; `None`: that gate's scan is done.
pub fn remote_reached(c: &Connection, gatenum: &str, after: Option<&str>) -> Result<(), StoreError> {
    c.execute("UPDATE gates SET remote_after = ?2 WHERE gatenum = ?1", (gatenum, after))?;
    Ok(())
}
