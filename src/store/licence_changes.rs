//! What changes licences. Each change is one transaction together with the note of its answer, so that a request that
//! is sent again, even after a crash, is answered and not carried out again. An item that is refused changes nothing;
//! the others of its batch stand.

use rusqlite::{Connection, OptionalExtension, ToSql, named_params};
use serde::{Deserialize, Serialize};

use super::audit::{By, Subject, noted};
use super::error::StoreError;
use super::licences::{PRODUCTS, SNS, product_id, sn_id};
use super::record::Record;
use super::sn_parts::{
    each, find_feature, link_user, linked_users, set_customer, set_feature, unlink_user, write_feature,
};
use crate::domain::UnixMs;

const DAY_S: i64 = 86_400;

#[derive(Debug, Clone, PartialEq)]
pub enum LicenceChange {
    AddProduct(NewProduct),
    GenerateSns(NewSns),
    ChangeSn {
        sn: String,
        terms: SnTerms,
        data: Vec<(String, String)>,
    },
    SetFeatures {
        sn: String,
        features: Vec<FeatureTerms>,
    },
    /// Name and, where the user is new, its guid.
    LinkUsers {
        sn: String,
        users: Vec<(String, String)>,
    },
    UnlinkUsers {
        sn: String,
        names: Vec<String>,
    },
    /// The last one becomes the sn's.
    SetCustomers {
        sn: String,
        customers: Vec<Customer>,
    },
}

#[derive(Debug, Clone, PartialEq, Default)]
pub struct NewProduct {
    pub name: String,
    pub guid: String,
    pub ref_id: Option<String>,
    pub description: Option<String>,
    pub features: Vec<NewFeature>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct NewFeature {
    pub guid: String,
    pub name: String,
    pub feature_id: i64,
    pub version: Option<String>,
    pub value: Option<i64>,
}

#[derive(Debug, Clone, PartialEq, Default)]
pub struct NewSns {
    pub sns: Vec<String>,
    pub product: String,
    pub template: String,
    /// JSON
    pub business: Option<String>,
    pub kind: String,
    pub terms: SnTerms,
    pub transfer_volume: u32,
    pub transfer_number: u32,
    pub license_borrow: Option<bool>,
    pub features: Vec<FeatureTerms>,
    pub data: Vec<(String, String)>,
}

/// What is absent stays as it is; `Some(None)` takes the limit away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SnTerms {
    pub status: Option<i64>,
    pub expiration_days: Option<Option<u32>>,
    pub concurrent_number: Option<Option<u32>>,
    pub users_number: Option<Option<u32>>,
}

/// Found by id, or by name and version.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FeatureTerms {
    pub id: Option<i64>,
    pub name: Option<String>,
    pub version: Option<String>,
    pub value: Option<i64>,
    pub expiration_days: Option<u32>,
    pub users: Option<u32>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Customer {
    pub name: Option<String>,
    pub reference_id: Option<String>,
    /// JSON object
    pub details: String,
}

/// Marks a request that may be sent again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestMark {
    /// Whose it is, and its id.
    pub id: String,
    /// Of what it asks.
    pub fingerprint: Vec<u8>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Outcome {
    /// What was made or changed.
    pub records: Vec<Record>,
    pub refused: Vec<Refused>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    pub why: Refusal,
    pub message: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Refusal {
    Parameter,
    NoFeature,
    NoDataItem,
    SnDisabled,
    NoSn,
    NoUserOrCustomer,
    CustomerExists,
    ProductExists,
    NoProduct,
    TooManyUsers,
}

impl LicenceChange {
    /// What the log of changes calls it, and what it is about.
    fn subject(&self) -> (&'static str, Subject, Vec<&str>) {
        match self {
            Self::AddProduct(product) => ("create", Subject::Product, vec![&product.name]),
            Self::GenerateSns(new) => ("create", Subject::Sn, new.sns.iter().map(String::as_str).collect()),
            Self::ChangeSn { sn, .. } => ("update", Subject::Sn, vec![sn]),
            Self::SetFeatures { sn, .. } => ("set_features", Subject::Sn, vec![sn]),
            Self::LinkUsers { sn, .. } => ("link_users", Subject::Sn, vec![sn]),
            Self::UnlinkUsers { sn, .. } => ("unlink_users", Subject::Sn, vec![sn]),
            Self::SetCustomers { sn, .. } => ("set_customers", Subject::Sn, vec![sn]),
        }
    }
}

/// An item's record, or why it was refused.
pub(super) type Item = Result<Record, Refused>;

impl Outcome {
    pub(super) fn refused(why: Refusal, message: impl Into<String>) -> Self {
        Self { refused: vec![Refused { why, message: message.into() }], ..Self::default() }
    }

    pub(super) fn add(&mut self, item: Item) {
        match item {
            Ok(record) => self.records.push(record),
            Err(refused) => self.refused.push(refused),
        }
    }
}

pub fn run(
    c: &Connection,
    by: &By,
    change: &LicenceChange,
    mark: Option<&RequestMark>,
    now: UnixMs,
) -> Result<Outcome, StoreError> {
    let carry_out = || noted(c, by, change.subject(), |c| apply(c, change, now.secs()));
    let Some(mark) = mark else { return carry_out() };
    c.prepare_cached("DELETE FROM answered_requests WHERE at_s <= ?1")?.execute([now.secs() - DAY_S])?;
    let before: Option<(Vec<u8>, String)> = c
        .prepare_cached("SELECT fingerprint, answer FROM answered_requests WHERE request = ?1")?
        .query_row([&mark.id], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    if let Some((fingerprint, answer)) = before {
        if fingerprint != mark.fingerprint {
            let message = "x-bit-req-id: this id was used by another request within a day";
            return Ok(Outcome::refused(Refusal::Parameter, message));
        }
        return serde_json::from_str(&answer).map_err(|error| StoreError::Other { detail: error.to_string() });
    }
    let outcome = carry_out()?;
    if !outcome.records.is_empty() {
        let answer =
            serde_json::to_string(&outcome).map_err(|error| StoreError::Other { detail: error.to_string() })?;
        c.prepare_cached("INSERT INTO answered_requests (request, fingerprint, answer, at_s) VALUES (?1, ?2, ?3, ?4)")?
            .execute((&mark.id, &mark.fingerprint, answer, now.secs()))?;
    }
    Ok(outcome)
}

fn apply(c: &Connection, change: &LicenceChange, at_s: i64) -> Result<Outcome, StoreError> {
    match change {
        LicenceChange::AddProduct(product) => add_product(c, product, at_s),
        LicenceChange::GenerateSns(new) => generate(c, new, at_s),
        LicenceChange::ChangeSn { sn, terms, data } => change_sn(c, sn, terms, data, at_s),
        LicenceChange::SetFeatures { sn, features } => {
            each(c, sn, features, at_s, |holder, terms| set_feature(c, holder, terms))
        }
        LicenceChange::LinkUsers { sn, users } => {
            each(c, sn, users, at_s, |holder, (name, guid)| link_user(c, holder, name, guid, at_s))
        }
        LicenceChange::UnlinkUsers { sn, names } => {
            each(c, sn, names, at_s, |holder, name| unlink_user(c, holder, name))
        }
        LicenceChange::SetCustomers { sn, customers } => {
            each(c, sn, customers, at_s, |holder, customer| set_customer(c, holder, customer, at_s))
        }
    }
}

pub(super) fn refuse(why: Refusal, message: impl Into<String>) -> Item {
    Err(Refused { why, message: message.into() })
}

fn add_product(c: &Connection, product: &NewProduct, at_s: i64) -> Result<Outcome, StoreError> {
    let taken: bool = c.query_row(
        "SELECT EXISTS (SELECT 1 FROM products WHERE name = ?1 OR ref_id = ?2)",
        (&product.name, &product.ref_id),
        |row| row.get(0),
    )?;
    if taken {
        return Ok(Outcome::refused(Refusal::ProductExists, "there is a product of this name or refId already"));
    }
    c.execute(
        "INSERT INTO products (name, guid, ref_id, description, reg_at_s) VALUES (?1, ?2, ?3, ?4, ?5)",
        (&product.name, &product.guid, &product.ref_id, &product.description, at_s),
    )?;
    let id = c.last_insert_rowid();
    c.execute("INSERT INTO templates (product, name, reg_at_s) VALUES (?1, 'Default', ?2)", [id, at_s])?;
    for feature in &product.features {
        c.execute(
            "INSERT INTO features (product, guid, name, feature_id, version, value) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            (id, &feature.guid, &feature.name, feature.feature_id, &feature.version, feature.value),
        )?;
    }
    Ok(Outcome { records: vec![PRODUCTS.one(c, id)?], refused: Vec::new() })
}

fn generate(c: &Connection, new: &NewSns, at_s: i64) -> Result<Outcome, StoreError> {
    let Some(product) = product_id(c, &new.product)? else {
        return Ok(Outcome::refused(Refusal::NoProduct, "there is no such product"));
    };
    let template: Option<i64> = c
        .query_row("SELECT id FROM templates WHERE product = ?1 AND name = ?2", (product, &new.template), |row| {
            row.get(0)
        })
        .optional()?;
    let Some(template) = template else {
        return Ok(Outcome::refused(Refusal::Parameter, "templateName: the product has no such template"));
    };
    let mut features = Vec::new();
    for terms in &new.features {
        match find_feature(c, product, terms)? {
            Ok(feature) => features.push((feature, terms)),
            Err(refused) => return Ok(Outcome { refused: vec![refused], ..Outcome::default() }),
        }
    }
    let mut outcome = Outcome::default();
    for sn in &new.sns {
        let id = insert_sn(c, sn, new, [product, template], at_s)?;
        for (feature, terms) in &features {
            write_feature(c, id, *feature, terms)?;
        }
        outcome.records.push(SNS.one(c, id)?);
    }
    Ok(outcome)
}

fn insert_sn(
    c: &Connection,
    sn: &str,
    new: &NewSns,
    [product, template]: [i64; 2],
    at_s: i64,
) -> Result<i64, StoreError> {
    let terms = &new.terms;
    c.prepare_cached(
        "INSERT INTO sns (sn, product, template, status, type, reg_at_s, updated_at_s, expiration_days,
                          concurrent_number, users_number, business, transfer_volume, transfer_number, license_borrow)
         VALUES (:sn, :product, :template, :status, :type, :at, :at, :days, :channels, :users, :business, :volume,
                 :number, :borrow)",
    )?
    .execute(named_params! {
        ":sn": sn, ":product": product, ":template": template, ":status": terms.status.unwrap_or(0),
        ":type": new.kind, ":at": at_s, ":days": terms.expiration_days.flatten(),
        ":channels": terms.concurrent_number.flatten(), ":users": terms.users_number.flatten(),
        ":business": new.business, ":volume": new.transfer_volume, ":number": new.transfer_number,
        ":borrow": new.license_borrow,
    })?;
    let id = c.last_insert_rowid();
    c.prepare_cached(
        "INSERT INTO sn_features (sn, feature, value, source)
         SELECT ?1, id, value, 'PRODUCT' FROM features WHERE product = ?2 AND status = 0",
    )?
    .execute([id, product])?;
    for (name, value) in &new.data {
        c.prepare_cached(
            "INSERT INTO sn_data (sn, name, value, source, updated_at_s) VALUES (?1, ?2, ?3, 'SN', ?4)
             ON CONFLICT (sn, name) DO UPDATE SET value = excluded.value",
        )?
        .execute((id, name, value, at_s))?;
    }
    Ok(id)
}

fn change_sn(
    c: &Connection,
    sn: &str,
    terms: &SnTerms,
    data: &[(String, String)],
    at_s: i64,
) -> Result<Outcome, StoreError> {
    let Some(id) = sn_id(c, sn)? else { return Ok(no_sn()) };
    if let Some(Some(users)) = terms.users_number
        && linked_users(c, id)? > users
    {
        return Ok(Outcome::refused(Refusal::TooManyUsers, "usersNumber: more users are linked already"));
    }
    for (name, _) in data {
        let there: bool =
            c.query_row("SELECT EXISTS (SELECT 1 FROM sn_data WHERE sn = ?1 AND name = ?2)", (id, name), |r| r.get(0))?;
        if !there {
            return Ok(Outcome::refused(Refusal::NoDataItem, "data: the sn has no item of this name"));
        }
    }
    let set = |column: &str, value: Option<&dyn ToSql>| match value {
        Some(value) => c.execute(&format!("UPDATE sns SET {column} = ?2 WHERE id = ?1"), (id, value)).map(drop),
        None => Ok(()),
    };
    set("status", terms.status.as_ref().map(|v| v as &dyn ToSql))?;
    set("expiration_days", terms.expiration_days.as_ref().map(|v| v as &dyn ToSql))?;
    set("concurrent_number", terms.concurrent_number.as_ref().map(|v| v as &dyn ToSql))?;
    set("users_number", terms.users_number.as_ref().map(|v| v as &dyn ToSql))?;
    for (name, value) in data {
        c.execute(
            "UPDATE sn_data SET value = ?3, updated_at_s = ?4 WHERE sn = ?1 AND name = ?2",
            (id, name, value, at_s),
        )?;
    }
    touch(c, id, at_s)?;
    Ok(Outcome { records: vec![SNS.one(c, id)?], refused: Vec::new() })
}

pub(super) fn no_sn() -> Outcome {
    Outcome::refused(Refusal::NoSn, "there is no such sn")
}

pub(super) fn touch(c: &Connection, sn: i64, at_s: i64) -> Result<(), StoreError> {
    c.prepare_cached("UPDATE sns SET updated_at_s = ?2 WHERE id = ?1")?.execute([sn, at_s])?;
    Ok(())
}
