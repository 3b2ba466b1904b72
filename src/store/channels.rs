//! Camera channels under a licence: taken when a task starts, given back when it stops. Each answer is one
//! transaction, so that no two tasks ever hold the same last channel. What may be is decided in `domain::licence`.

use rusqlite::{Connection, OptionalExtension};

use super::error::StoreError;
use crate::domain::{Licence, UnixMs, Verdict};

/// The licence of tasks that name none. Every database has it.
pub const DEFAULT_SN: &str = "DEFAULT";

/// Who asks for a channel, and under which licence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelRequest {
    pub task_id: String,
    /// The installation's default licence where absent.
    pub sn: Option<String>,
    /// The box that would run it.
    pub node: String,
}

struct Terms {
    id: i64,
    licence: Licence,
}

/// Asked again by a task that has its channel, it is the check that it may keep it: writes nothing where it may, and
/// gives the channel back where it may not. Where a licence now allows fewer, those that came last lose theirs.
pub fn take(c: &Connection, request: &ChannelRequest, now: UnixMs) -> Result<Verdict, StoreError> {
    let Some(terms) = terms(c, request.sn.as_deref().unwrap_or(DEFAULT_SN))? else {
        release(c, &request.task_id)?;
        return Ok(Verdict::Unknown);
    };
    let held: Option<(i64, i64)> = c
        .prepare_cached("SELECT id, sn FROM channels WHERE task_id = ?1")?
        .query_row([&request.task_id], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let own = held.filter(|(_, sn)| *sn == terms.id).map(|(id, _)| id);
    let ahead: u32 = c
        .prepare_cached("SELECT count(*) FROM channels WHERE sn = ?1 AND id < ?2")?
        .query_row([terms.id, own.unwrap_or(i64::MAX)], |row| row.get(0))?;
    let verdict = terms.licence.verdict(now, ahead);
    match (&verdict, own) {
        (Verdict::Granted, Some(_)) => {}
        (Verdict::Granted, None) => enter(c, request, terms.id, now)?,
        _ => drop(release(c, &request.task_id)?),
    }
    Ok(verdict)
}

/// False where the task had none.
pub fn release(c: &Connection, task_id: &str) -> Result<bool, StoreError> {
    Ok(c.prepare_cached("DELETE FROM channels WHERE task_id = ?1")?.execute([task_id])? > 0)
}

pub fn release_all(c: &Connection, node: &str) -> Result<u64, StoreError> {
    Ok(c.execute("DELETE FROM channels WHERE node = ?1", [node])? as u64)
}

/// An sn that this box does not know is another installation's. As long as nobody has issued one here there is nothing
/// to tell them apart by, and the default licence stands for it.
fn terms(c: &Connection, sn: &str) -> Result<Option<Terms>, StoreError> {
    if let Some(terms) = known_terms(c, sn)? {
        return Ok(Some(terms));
    }
    let issued: bool = c
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM sns WHERE sn <> ?1)")?
        .query_row([DEFAULT_SN], |row| row.get(0))?;
    if issued { Ok(None) } else { known_terms(c, DEFAULT_SN) }
}

fn known_terms(c: &Connection, sn: &str) -> Result<Option<Terms>, StoreError> {
    let found = c
        .prepare_cached("SELECT id, status, active_at_s, expiration_days, concurrent_number FROM sns WHERE sn = ?1")?
        .query_row([sn], |row| {
            let activated_at_s: Option<i64> = row.get(2)?;
            let licence = Licence {
                enabled: row.get::<_, i64>(1)? == 0,
                activated_at: activated_at_s.map(|s| UnixMs(s.saturating_mul(1000))),
                lasts_days: row.get(3)?,
                channels: row.get(4)?,
            };
            Ok(Terms { id: row.get(0)?, licence })
        });
    Ok(found.optional()?)
}

fn enter(c: &Connection, request: &ChannelRequest, sn: i64, now: UnixMs) -> Result<(), StoreError> {
    release(c, &request.task_id)?;
    c.prepare_cached("INSERT INTO channels (task_id, sn, node) VALUES (?1, ?2, ?3)")?.execute((
        &request.task_id,
        sn,
        &request.node,
    ))?;
    c.prepare_cached(
        "UPDATE sns SET active_at_s = coalesce(active_at_s, ?2),
                        peak = max(peak, (SELECT count(*) FROM channels WHERE sn = ?1)) WHERE id = ?1",
    )?
    .execute([sn, now.secs()])?;
    c.prepare_cached(
        "INSERT INTO machines (sn, mid, reg_at_s, updated_at_s) VALUES (?1, ?2, ?3, ?3)
         ON CONFLICT (sn, mid) DO UPDATE SET updated_at_s = ?3",
    )?
    .execute((sn, &request.node, now.secs()))?;
    Ok(())
}
