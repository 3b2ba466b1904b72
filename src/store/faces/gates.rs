//! Gates, and what each is to be told of ticket holders' faces.
//!
//! Of a gate and a ticket only the newest event is kept: `add` means that the gate holds that face, `delete` that it
//! shall not. The index of a gate's events grows by one with each, so an older event that was overtaken leaves a gap
//! and nothing else; a gate that asks from any index on comes to hold exactly what it should.

use rusqlite::{Connection, OptionalExtension};

use super::super::error::StoreError;
use super::erasures::{self, Why};
use super::samples::{self, Place, SealedSample};
use crate::domain::{UnixMs, Validity};
use crate::seal::Seal;

/// Samples that a new gate is given in one step.
const FILL_STEP: i64 = 500;
/// Delete events are forgotten once they are acknowledged and this old.
const KEEP_DELETES_MS: i64 = 30 * 86_400_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventKind {
    Add,
    Delete,
}

impl EventKind {
    const fn number(self) -> i64 {
        match self {
            Self::Add => 0,
            Self::Delete => 1,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GateRow {
    pub gatenum: String,
    pub name: String,
    pub last_index: i64,
    /// True while the gate is still being given the samples that were there before it.
    pub filling: bool,
}

/// An event as a gate gets it. An `add` has its picture and validity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GateEvent {
    pub index: i64,
    pub kind: EventKind,
    pub lbsbh: String,
    pub picture: Vec<u8>,
    pub validity: Option<Validity>,
}

/// A ticket holder whose face a gate holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldTicket {
    pub lbsbh: String,
    pub validity: Validity,
}

/// Which gates a sample is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GateChoice {
    /// Those that are there and those to come.
    All,
    Some(Vec<String>),
}

/// False where the gate was there: it has the new name now.
pub fn register(c: &Connection, gatenum: &str, name: &str, now: UnixMs) -> Result<bool, StoreError> {
    if c.execute("UPDATE gates SET name = ?2 WHERE gatenum = ?1", (gatenum, name))? > 0 {
        return Ok(false);
    }
    let insert = "INSERT INTO gates (gatenum, name, filling, created_at) VALUES (?1, ?2, '', ?3)";
    c.execute(insert, (gatenum, name, now.0))?;
    Ok(true)
}

/// Gives a new gate some of the samples of all gates. True while there are more.
pub fn fill(c: &Connection, gatenum: &str, now: UnixMs) -> Result<bool, StoreError> {
    let found = c
        .prepare_cached("SELECT id, filling FROM gates WHERE gatenum = ?1 AND filling IS NOT NULL")?
        .query_row([gatenum], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?)))
        .optional()?;
    let Some((gate, after)) = found else { return Ok(false) };
    let rows = c
        .prepare_cached("SELECT owner, all_gates FROM samples WHERE kind = 0 AND owner > ?1 ORDER BY owner LIMIT ?2")?
        .query_map((&after, FILL_STEP), |row| Ok((row.get::<_, String>(0)?, row.get::<_, bool>(1)?)))?
        .collect::<Result<Vec<_>, _>>()?;
    for (lbsbh, _) in rows.iter().filter(|(_, all_gates)| *all_gates) {
        if newest(c, gate, lbsbh)?.is_none() {
            event(c, gate, EventKind::Add, lbsbh, now)?;
        }
    }
    let more = rows.len() as i64 == FILL_STEP;
    let reached = rows.last().filter(|_| more).map(|(lbsbh, _)| lbsbh);
    c.execute("UPDATE gates SET filling = ?2 WHERE id = ?1", (gate, reached))?;
    Ok(more)
}

pub fn all(c: &Connection) -> Result<Vec<GateRow>, StoreError> {
    let mut statement =
        c.prepare_cached("SELECT gatenum, name, last_index, filling IS NOT NULL FROM gates ORDER BY gatenum")?;
    let rows = statement.query_map([], |row| {
        Ok(GateRow { gatenum: row.get(0)?, name: row.get(1)?, last_index: row.get(2)?, filling: row.get(3)? })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

pub fn gate_id(c: &Connection, gatenum: &str) -> Result<Option<i64>, StoreError> {
    Ok(c.prepare_cached("SELECT id FROM gates WHERE gatenum = ?1")?
        .query_row([gatenum], |row| row.get(0))
        .optional()?)
}

/// Enrols a ticket holder or replaces the picture, and tells every gate concerned. `Err` names a gate that is not
/// there; then nothing has changed.
pub fn put(
    c: &Connection,
    sample: &SealedSample,
    choice: &GateChoice,
    now: UnixMs,
) -> Result<Result<(), String>, StoreError> {
    let lbsbh = &sample.place.owner;
    let every = ids(c)?;
    let mut chosen = Vec::new();
    match choice {
        GateChoice::All => chosen.clone_from(&every),
        GateChoice::Some(gatenums) => {
            for gatenum in gatenums {
                let Some(id) = gate_id(c, gatenum)? else { return Ok(Err(gatenum.clone())) };
                if !chosen.contains(&id) {
                    chosen.push(id);
                }
            }
        }
    }
    samples::put(c, sample, *choice == GateChoice::All, now)?;
    for gate in every {
        if chosen.contains(&gate) {
            event(c, gate, EventKind::Add, lbsbh, now)?;
        } else {
            retract(c, gate, lbsbh, now)?;
        }
    }
    Ok(Ok(()))
}

/// Takes a ticket holder's face from every gate and erases it. False where there is none.
pub fn remove(c: &Connection, lbsbh: &str, now: UnixMs) -> Result<bool, StoreError> {
    for gate in ids(c)? {
        retract(c, gate, lbsbh, now)?;
    }
    erasures::erase(c, &Place::ticket(lbsbh), Why::Removed, now)
}

/// A delete event where the gate holds that face. True where there was one to make.
pub fn retract(c: &Connection, gate: i64, lbsbh: &str, now: UnixMs) -> Result<bool, StoreError> {
    let holds = newest(c, gate, lbsbh)? == Some(EventKind::Add.number());
    if holds {
        event(c, gate, EventKind::Delete, lbsbh, now)?;
    }
    Ok(holds)
}

pub fn is_held(c: &Connection, lbsbh: &str) -> Result<bool, StoreError> {
    Ok(c.prepare_cached(IS_HELD)?.query_row([lbsbh], |row| row.get(0))?)
}

/// Gate by gate, which CROSS insists on: left to itself SQLite goes through all events.
const IS_HELD: &str = "SELECT EXISTS (
    SELECT 1 FROM gates g CROSS JOIN gate_events e ON e.gate = g.id AND e.lbsbh = ?1 WHERE e.kind = 0)";

fn newest(c: &Connection, gate: i64, lbsbh: &str) -> Result<Option<i64>, StoreError> {
    let mut statement = c.prepare_cached("SELECT kind FROM gate_events WHERE gate = ?1 AND lbsbh = ?2")?;
    Ok(statement.query_row((gate, lbsbh), |row| row.get(0)).optional()?)
}

fn event(c: &Connection, gate: i64, kind: EventKind, lbsbh: &str, now: UnixMs) -> Result<(), StoreError> {
    let index: i64 = c
        .prepare_cached("UPDATE gates SET last_index = last_index + 1 WHERE id = ?1 RETURNING last_index")?
        .query_row([gate], |row| row.get(0))?;
    c.prepare_cached("DELETE FROM gate_events WHERE gate = ?1 AND lbsbh = ?2")?.execute((gate, lbsbh))?;
    c.prepare_cached("INSERT INTO gate_events (gate, position, kind, lbsbh, at) VALUES (?1, ?2, ?3, ?4, ?5)")?
        .execute((gate, index, kind.number(), lbsbh, now.0))?;
    Ok(())
}

fn ids(c: &Connection) -> Result<Vec<i64>, StoreError> {
    let mut statement = c.prepare_cached("SELECT id FROM gates ORDER BY id")?;
    Ok(statement.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?)
}

/// A gate's events after `index`: at most `limit`, and pictures of about `max_bytes`; then whether there are more.
/// `None` where there is no such gate.
pub fn events(
    c: &Connection,
    seal: &Seal,
    gatenum: &str,
    index: i64,
    limit: usize,
    max_bytes: usize,
) -> Result<Option<(Vec<GateEvent>, bool)>, StoreError> {
    let Some(gate) = gate_id(c, gatenum)? else { return Ok(None) };
    let rows = c
        .prepare_cached(
            "SELECT position, kind, lbsbh FROM gate_events WHERE gate = ?1 AND position > ?2 ORDER BY position LIMIT ?3",
        )?
        .query_map((gate, index, limit as i64 + 1), |row| {
            Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?, row.get::<_, String>(2)?))
        })?
        .collect::<Result<Vec<_>, _>>()?;
    let (mut events, mut bytes) = (Vec::new(), 0);
    let total = rows.len();
    for (index, kind, lbsbh) in rows.into_iter().take(limit) {
        if bytes >= max_bytes {
            break;
        }
        let event = shown(c, seal, index, kind, lbsbh)?;
        bytes += event.picture.len();
        events.push(event);
    }
    let more = events.len() < total;
    Ok(Some((events, more)))
}

fn shown(c: &Connection, seal: &Seal, index: i64, kind: i64, lbsbh: String) -> Result<GateEvent, StoreError> {
    let place = Place::ticket(&lbsbh);
    let held = if kind == EventKind::Add.number() { samples::find(c, &place)? } else { None };
    let Some(sample) = held else {
        return Ok(GateEvent { index, kind: EventKind::Delete, lbsbh, picture: Vec::new(), validity: None });
    };
    let picture = samples::picture(c, seal, &place)?.unwrap_or_default();
    Ok(GateEvent { index, kind: EventKind::Add, lbsbh, picture, validity: sample.validity })
}

/// The gate has taken over everything up to `index`.
pub fn acknowledge(c: &Connection, gatenum: &str, index: i64) -> Result<(), StoreError> {
    c.prepare_cached(
        "UPDATE gates SET acknowledged = min(?2, last_index) WHERE gatenum = ?1 AND acknowledged < min(?2, last_index)",
    )?
    .execute((gatenum, index))?;
    Ok(())
}

/// What a gate holds, after `lbsbh`: so many, and whether there are more. `None` where there is no such gate.
pub fn held(
    c: &Connection,
    gatenum: &str,
    after: &str,
    limit: usize,
) -> Result<Option<(Vec<HeldTicket>, bool)>, StoreError> {
    let Some(gate) = gate_id(c, gatenum)? else { return Ok(None) };
    let mut rows = c
        .prepare_cached(
            "SELECT e.lbsbh, s.valid_from, s.valid_to FROM gate_events e
             JOIN samples s ON s.kind = 0 AND s.owner = e.lbsbh
             WHERE e.gate = ?1 AND e.lbsbh > ?2 AND e.kind = 0 ORDER BY e.lbsbh LIMIT ?3",
        )?
        .query_map((gate, after, limit as i64 + 1), |row| {
            let validity = Validity { from: UnixMs(row.get(1)?), to: UnixMs(row.get(2)?) };
            Ok(HeldTicket { lbsbh: row.get(0)?, validity })
        })?
        .collect::<Result<Vec<_>, _>>()?;
    let more = rows.len() > limit;
    rows.truncate(limit);
    Ok(Some((rows, more)))
}

/// Forgets delete events that every gate concerned has long taken over.
pub fn trim(c: &Connection, now: UnixMs) -> Result<u64, StoreError> {
    let deleted = c.execute(
        "DELETE FROM gate_events WHERE kind = 1 AND at < ?1
             AND position <= (SELECT acknowledged FROM gates WHERE gates.id = gate_events.gate)",
        [now.0 - KEEP_DELETES_MS],
    )?;
    Ok(deleted as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::migrations;

    /// It is asked for every sample that has expired.
    #[test]
    fn who_holds_a_ticket_is_looked_up_gate_by_gate() {
        let c = Connection::open_in_memory().unwrap();
        migrations::migrate(&c).unwrap();
        let mut statement = c.prepare(&format!("EXPLAIN QUERY PLAN {IS_HELD}")).unwrap();
        let steps = statement.query_map(["x"], |row| row.get::<_, String>(3)).unwrap().map(Result::unwrap);
        let plan = steps.collect::<Vec<_>>().join("; ");
        assert!(plan.contains("SEARCH e USING INDEX gate_events_by_ticket (gate=? AND lbsbh=?)"), "{plan}");
    }
}
