//! Products, authorization codes and what belongs to them: the collections that can be searched, and how an
//! authorization code is shown with what belongs to it.

use rusqlite::{Connection, OptionalExtension};

use super::error::StoreError;
use super::query::{Collection, Field, Kind, Page, Search, field};
use super::record::{Cell, Record};

pub static PRODUCTS: Collection = Collection {
    from: "products",
    id: "products.id",
    owner: None,
    fields: &[
        field("productName", "products.name", Kind::Text).query().sort(),
        field("productGuid", "products.guid", Kind::Text).query(),
        field("refId", "products.ref_id", Kind::Text).query(),
        field("description", "products.description", Kind::Text),
    ],
};

/// Of a product.
pub static FEATURES: Collection = Collection {
    from: "features",
    id: "features.id",
    owner: Some("features.product"),
    fields: &[
        field("id", "features.id", Kind::Integer).sort(),
        field("guid", "features.guid", Kind::Text).query(),
        field("name", "features.name", Kind::Text).query().sort(),
        field("featureId", "features.feature_id", Kind::Integer).sort(),
        field("version", "features.version", Kind::Text).sort(),
        field("value", "features.value", Kind::Integer),
        field("status", "features.status", Kind::Integer).query().sort(),
    ],
};

/// Of a product.
pub static TEMPLATES: Collection =
    Collection { from: "templates", id: "templates.id", owner: Some("templates.product"), fields: TEMPLATE_FIELDS };

pub static SNS: Collection = Collection {
    from: "sns LEFT JOIN products ON products.id = sns.product",
    id: "sns.id",
    owner: None,
    fields: &[
        field("sn", "sns.sn", Kind::Text).query().sort(),
        field("activeDate", "sns.active_at_s", Kind::Time).query().sort(),
        field("status", "sns.status", Kind::Integer).query().sort(),
        field("updateTime", "sns.updated_at_s", Kind::Time).query().sort(),
        field("regDate", "sns.reg_at_s", Kind::Time).query().sort(),
        field("type", "sns.type", Kind::Text).query().sort(),
        field("expirationDays", "sns.expiration_days", Kind::Integer).query().sort(),
        field("concurrentNumber", "sns.concurrent_number", Kind::Integer).query().sort(),
        field("usersNumber", "sns.users_number", Kind::Integer),
        field("transferVolume", "sns.transfer_volume", Kind::Integer),
        field("transferNumber", "sns.transfer_number", Kind::Integer),
        field("productName", "products.name", Kind::Text).query().sort().hidden(),
        field("licenseBorrow", "sns.license_borrow", Kind::Flag),
        field("peak", "sns.peak", Kind::Integer),
    ],
};

pub static SN_FEATURES: Collection = Collection {
    from: "sn_features JOIN features ON features.id = sn_features.feature",
    id: "sn_features.id",
    owner: Some("sn_features.sn"),
    fields: &[
        field("id", "features.id", Kind::Integer),
        field("name", "features.name", Kind::Text),
        field("featureId", "features.feature_id", Kind::Integer),
        field("version", "features.version", Kind::Text),
        field("value", "sn_features.value", Kind::Integer),
        field("expirationDays", "sn_features.expiration_days", Kind::Integer),
        field("users", "sn_features.users", Kind::Integer),
        field("source", "sn_features.source", Kind::Text),
    ],
};

pub static SN_DATA: Collection = Collection {
    from: "sn_data",
    id: "sn_data.id",
    owner: Some("sn_data.sn"),
    fields: &[
        field("name", "sn_data.name", Kind::Text),
        field("value", "sn_data.value", Kind::Text),
        field("updateTime", "sn_data.updated_at_s", Kind::Time),
        field("status", "sn_data.status", Kind::Integer),
        field("source", "sn_data.source", Kind::Text),
    ],
};

pub static SN_MACHINES: Collection = Collection {
    from: "machines",
    id: "machines.id",
    owner: Some("machines.sn"),
    fields: &[
        field("id", "machines.id", Kind::Integer),
        field("status", "machines.status", Kind::Integer),
        field("regDate", "machines.reg_at_s", Kind::Time),
        field("lastUpdateDate", "machines.updated_at_s", Kind::Time),
        field("mid", "machines.mid", Kind::Text),
    ],
};

pub static SN_USERS: Collection = Collection {
    from: "sn_users JOIN users ON users.id = sn_users.user",
    id: "sn_users.id",
    owner: Some("sn_users.sn"),
    fields: &[
        field("name", "users.name", Kind::Text),
        field("guid", "users.guid", Kind::Text),
        field("regDate", "users.reg_at_s", Kind::Time),
        field("status", "users.status", Kind::Integer),
    ],
};

pub static SN_CUSTOMERS: Collection = Collection {
    from: "customers JOIN sns ON sns.customer = customers.id",
    id: "customers.id",
    owner: Some("sns.id"),
    fields: CUSTOMER_FIELDS,
};

pub static CUSTOMERS: Collection =
    Collection { from: "customers", id: "customers.id", owner: None, fields: CUSTOMER_FIELDS };

const CUSTOMER_FIELDS: &[Field] = &[
    field("name", "customers.name", Kind::Text),
    field("description", "customers.details ->> 'description'", Kind::Text),
    field("regDate", "customers.reg_at_s", Kind::Time),
    field("officeNumber", "customers.details ->> 'officeNumber'", Kind::Text),
    field("mobileNumber", "customers.details ->> 'mobileNumber'", Kind::Text),
    field("email", "customers.details ->> 'email'", Kind::Text),
    field("address", "customers.details ->> 'address'", Kind::Text),
    field("city", "customers.details ->> 'city'", Kind::Text),
    field("country", "customers.details ->> 'country'", Kind::Text),
    field("postcode", "customers.details ->> 'postcode'", Kind::Text),
    field("contact", "customers.details ->> 'contact'", Kind::Text),
    field("referenceId", "customers.reference_id", Kind::Text),
];

static SN_PRODUCT: Collection = Collection {
    from: "products JOIN sns ON sns.product = products.id",
    id: "products.id",
    owner: Some("sns.id"),
    fields: &[
        field("productName", "products.name", Kind::Text),
        field("productGuid", "products.guid", Kind::Text),
        field("description", "products.description", Kind::Text),
    ],
};

static SN_TEMPLATE: Collection = Collection {
    from: "templates JOIN sns ON sns.template = templates.id",
    id: "templates.id",
    owner: Some("sns.id"),
    fields: TEMPLATE_FIELDS,
};

static SN_BUSINESS: Collection = Collection {
    from: "sns",
    id: "sns.id",
    owner: Some("sns.business IS NOT NULL AND sns.id"),
    fields: &[
        field("guid", "sns.business ->> 'guid'", Kind::Text),
        field("name", "sns.business ->> 'name'", Kind::Text),
        field("type", "sns.business ->> 'type'", Kind::Text),
        field("description", "sns.business ->> 'description'", Kind::Text),
    ],
};

const TEMPLATE_FIELDS: &[Field] = &[
    field("regDate", "templates.reg_at_s", Kind::Time),
    field("name", "templates.name", Kind::Text),
    field("status", "templates.status", Kind::Integer),
    field("description", "templates.description", Kind::Text),
];

/// What is shown with an authorization code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SnScope {
    pub product: bool,
    pub template: bool,
    pub business: bool,
    pub features: bool,
    pub data: bool,
    pub machines: bool,
}

impl SnScope {
    pub const ALL: Self =
        Self { product: true, template: true, business: true, features: true, data: true, machines: true };
}

/// Whose rows are asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Owner {
    Product(String),
    Sn(String),
}

pub fn sns(c: &Connection, search: &Search, scope: SnScope) -> Result<Page, StoreError> {
    let mut page = search.page(c, None)?;
    for record in &mut page.records {
        widen(c, record, scope)?;
    }
    Ok(page)
}

pub fn sn(c: &Connection, sn: &str, scope: SnScope) -> Result<Option<Record>, StoreError> {
    let Some(id) = sn_id(c, sn)? else { return Ok(None) };
    let mut record = SNS.one(c, id)?;
    widen(c, &mut record, scope)?;
    Ok(Some(record))
}

/// `None` where there is no such owner.
pub fn owned(c: &Connection, search: &Search, owner: &Owner) -> Result<Option<Page>, StoreError> {
    let id = match owner {
        Owner::Product(name) => product_id(c, name)?,
        Owner::Sn(sn) => sn_id(c, sn)?,
    };
    id.map(|id| search.page(c, Some(id))).transpose()
}

pub fn sn_id(c: &Connection, sn: &str) -> Result<Option<i64>, StoreError> {
    Ok(c.prepare_cached("SELECT id FROM sns WHERE sn = ?1")?.query_row([sn], |row| row.get(0)).optional()?)
}

pub fn product_id(c: &Connection, name: &str) -> Result<Option<i64>, StoreError> {
    Ok(c.prepare_cached("SELECT id FROM products WHERE name = ?1")?.query_row([name], |row| row.get(0)).optional()?)
}

fn widen(c: &Connection, record: &mut Record, scope: SnScope) -> Result<(), StoreError> {
    let id = record.id;
    for (wanted, name, list) in [
        (scope.features, "features", &SN_FEATURES),
        (scope.data, "data", &SN_DATA),
        (scope.machines, "machines", &SN_MACHINES),
    ] {
        if wanted {
            record.add(name, Cell::List(list.of(c, id)?));
        }
    }
    for (wanted, name, single) in [
        (scope.product, "product", &SN_PRODUCT),
        (scope.business, "business", &SN_BUSINESS),
        (scope.template, "template", &SN_TEMPLATE),
    ] {
        if wanted && let Some(found) = single.of(c, id)?.pop() {
            record.add(name, Cell::Record(found));
        }
    }
    Ok(())
}
