//! What belongs to an authorization code and is changed in batches: its features, users and customer. Each item is
//! changed whole or refused before anything of it is written.

use rusqlite::{Connection, OptionalExtension};

use super::error::StoreError;
use super::licence_changes::{Customer, FeatureTerms, Item, Outcome, Refusal, Refused, no_sn, refuse, touch};
use super::licences::{CUSTOMERS, SN_FEATURES};
use super::record::{Cell, Record};

/// The sn that a batch is for.
pub struct Holder {
    id: i64,
    sn: String,
    product: i64,
    users_number: Option<u32>,
}

pub fn each<T>(
    c: &Connection,
    sn: &str,
    items: &[T],
    at_s: i64,
    mut change: impl FnMut(&Holder, &T) -> Result<Item, StoreError>,
) -> Result<Outcome, StoreError> {
    let found = c
        .prepare_cached("SELECT id, sn, product, users_number, status FROM sns WHERE sn = ?1")?
        .query_row([sn], |row| {
            let holder = Holder { id: row.get(0)?, sn: row.get(1)?, product: row.get(2)?, users_number: row.get(3)? };
            Ok((holder, row.get::<_, i64>(4)? == 0))
        })
        .optional()?;
    let holder = match found {
        None => return Ok(no_sn()),
        Some((_, false)) => return Ok(Outcome::refused(Refusal::SnDisabled, "the sn is disabled: enable it first")),
        Some((holder, true)) => holder,
    };
    let mut outcome = Outcome::default();
    for item in items {
        outcome.add(change(&holder, item)?);
    }
    if !outcome.records.is_empty() {
        touch(c, holder.id, at_s)?;
    }
    Ok(outcome)
}

/// The one feature of the product that is meant.
pub fn find_feature(c: &Connection, product: i64, terms: &FeatureTerms) -> Result<Result<i64, Refused>, StoreError> {
    let mut statement = c.prepare_cached(
        "SELECT id FROM features WHERE product = ?1 AND (?2 IS NULL OR id = ?2) AND (?3 IS NULL OR name = ?3)
                                   AND (?4 IS NULL OR version = ?4) LIMIT 2",
    )?;
    let found: Vec<i64> = statement
        .query_map((product, terms.id, &terms.name, &terms.version), |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    let wanted = terms.id.map_or_else(|| terms.name.clone().unwrap_or_default(), |id| id.to_string());
    let refused = |message| Ok(Err(Refused { why: Refusal::NoFeature, message }));
    match found.as_slice() {
        [id] => Ok(Ok(*id)),
        [] => refused(format!("feature {wanted:?}: the product has none that matches")),
        _ => refused(format!("feature {wanted:?}: more than one matches; name the version or the id")),
    }
}

pub fn set_feature(c: &Connection, holder: &Holder, terms: &FeatureTerms) -> Result<Item, StoreError> {
    let feature = match find_feature(c, holder.product, terms)? {
        Ok(feature) => feature,
        Err(refused) => return Ok(Err(refused)),
    };
    if let Some(users) = terms.users {
        if holder.users_number.is_some_and(|most| users > most) {
            return Ok(refuse(Refusal::TooManyUsers, "users: is above the sn's usersNumber"));
        }
        if linked_users(c, holder.id)? > users {
            return Ok(refuse(Refusal::TooManyUsers, "users: more users are linked already"));
        }
    }
    write_feature(c, holder.id, feature, terms)?;
    let id = c.query_row("SELECT id FROM sn_features WHERE sn = ?1 AND feature = ?2", [holder.id, feature], |row| {
        row.get(0)
    })?;
    Ok(Ok(SN_FEATURES.one(c, id)?))
}

/// All of it: what the terms leave out is reset.
pub fn write_feature(c: &Connection, sn: i64, feature: i64, terms: &FeatureTerms) -> Result<(), StoreError> {
    c.prepare_cached(
        "INSERT INTO sn_features (sn, feature, value, expiration_days, users, source) VALUES (?1, ?2, ?3, ?4, ?5, 'SN')
         ON CONFLICT (sn, feature) DO UPDATE SET value = ?3, expiration_days = ?4, users = ?5",
    )?
    .execute((sn, feature, terms.value, terms.expiration_days, terms.users))?;
    Ok(())
}

pub fn linked_users(c: &Connection, sn: i64) -> Result<u32, StoreError> {
    Ok(c.prepare_cached("SELECT count(*) FROM sn_users WHERE sn = ?1")?.query_row([sn], |row| row.get(0))?)
}

fn user_id(c: &Connection, name: &str) -> Result<Option<i64>, StoreError> {
    Ok(c.prepare_cached("SELECT id FROM users WHERE name = ?1")?.query_row([name], |row| row.get(0)).optional()?)
}

pub fn link_user(c: &Connection, holder: &Holder, name: &str, guid: &str, at_s: i64) -> Result<Item, StoreError> {
    let known = user_id(c, name)?;
    let linked: bool = c
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM sn_users WHERE sn = ?1 AND user = ?2)")?
        .query_row((holder.id, known), |row| row.get(0))?;
    if linked {
        return Ok(Ok(user_record(holder, name)));
    }
    let of_features: Option<u32> =
        c.query_row("SELECT min(users) FROM sn_features WHERE sn = ?1", [holder.id], |row| row.get(0))?;
    let most = holder.users_number.into_iter().chain(of_features).min();
    if most.is_some_and(|most| linked_users(c, holder.id).is_ok_and(|linked| linked >= most)) {
        return Ok(refuse(Refusal::TooManyUsers, format!("user {name:?}: all users of the sn are given out")));
    }
    let user = match known {
        Some(user) => user,
        None => {
            c.execute("INSERT INTO users (name, guid, reg_at_s) VALUES (?1, ?2, ?3)", (name, guid, at_s))?;
            c.last_insert_rowid()
        }
    };
    c.execute("INSERT INTO sn_users (sn, user) VALUES (?1, ?2)", [holder.id, user])?;
    Ok(Ok(user_record(holder, name)))
}

pub fn unlink_user(c: &Connection, holder: &Holder, name: &str) -> Result<Item, StoreError> {
    let gone = c.execute(
        "DELETE FROM sn_users WHERE sn = ?1 AND user = (SELECT id FROM users WHERE name = ?2)",
        (holder.id, name),
    )?;
    if gone == 0 {
        return Ok(refuse(Refusal::NoUserOrCustomer, format!("user {name:?}: the sn has no such user")));
    }
    Ok(Ok(user_record(holder, name)))
}

fn user_record(holder: &Holder, name: &str) -> Record {
    let text = |name: &str, value: &str| (name.to_owned(), Cell::Text(value.to_owned()));
    Record { id: holder.id, cells: vec![text("sn", &holder.sn), text("name", name)] }
}

/// A customer is found by its name, or where none is given by its referenceId; a new name makes a new one.
pub fn set_customer(c: &Connection, holder: &Holder, customer: &Customer, at_s: i64) -> Result<Item, StoreError> {
    let find = |column: &str, value: &Option<String>| {
        c.query_row(&format!("SELECT id FROM customers WHERE {column} = ?1"), [value], |row| row.get::<_, i64>(0))
            .optional()
    };
    let (by_name, by_reference) = (find("name", &customer.name)?, find("reference_id", &customer.reference_id)?);
    let id = match (by_name, by_reference, &customer.name) {
        (Some(name), Some(reference), _) if name != reference => {
            return Ok(refuse(Refusal::CustomerExists, "referenceId: another customer has it already"));
        }
        (None, Some(_), Some(_)) => {
            return Ok(refuse(Refusal::CustomerExists, "referenceId: a customer of another name has it already"));
        }
        (None, None, None) => return Ok(refuse(Refusal::NoUserOrCustomer, "there is no such customer")),
        (None, None, Some(name)) => {
            c.execute(
                "INSERT INTO customers (name, reference_id, details, reg_at_s) VALUES (?1, ?2, ?3, ?4)",
                (name, &customer.reference_id, &customer.details, at_s),
            )?;
            c.last_insert_rowid()
        }
        (found, other, _) => {
            let id = found.or(other).expect("one of them is there in this arm");
            c.execute(
                "UPDATE customers SET details = ?2, reference_id = coalesce(?3, reference_id) WHERE id = ?1",
                (id, &customer.details, &customer.reference_id),
            )?;
            id
        }
    };
    c.execute("UPDATE sns SET customer = ?2 WHERE id = ?1", [holder.id, id])?;
    Ok(Ok(CUSTOMERS.one(c, id)?))
}
