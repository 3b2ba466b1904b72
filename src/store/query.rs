//! The one query engine: conditions and sorts over a collection, compiled into SQL. Every name is looked up in the
//! collection's own list and every value is bound, so that nothing a client writes becomes SQL.
//!
//! Rows without a sort come in the order of their ids, which only ever grow: in a traversal by offset, new rows come
//! at the end and deleted ones move the rest forward, so that no row comes twice. Sorts end with the id, so that their
//! order is total. Text compares without ASCII case; a row without a value meets no condition but `<>`.

use chrono::{NaiveDate, NaiveDateTime};
use rusqlite::types::{Value, ValueRef};
use rusqlite::{Connection, Row, params_from_iter};

use super::error::StoreError;
use super::record::{Cell, Record};

pub const LIMIT_DEFAULT: u32 = 50;
pub const LIMIT_MAX: u32 = 1000;
const QUERYS_MAX: usize = 32;
const VALUES_MAX: usize = 100;
const VALUE_CHARS: usize = 256;
pub const TIME_FORMAT: &str = "%Y-%m-%d %H:%M:%S";

/// What a client asks of a collection.
#[derive(Debug, Clone, PartialEq)]
pub struct Criteria {
    /// All must hold.
    pub querys: Vec<Condition>,
    pub sorts: Vec<Sort>,
    pub offset: u32,
    pub limit: u32,
}

impl Default for Criteria {
    fn default() -> Self {
        Self { querys: Vec::new(), sorts: Vec::new(), offset: 0, limit: LIMIT_DEFAULT }
    }
}

/// Several values: none of them for `<>`, any of them for the rest.
#[derive(Debug, Clone, PartialEq)]
pub struct Condition {
    pub name: String,
    pub op: Op,
    pub values: Vec<Operand>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Operand {
    Text(String),
    Integer(i64),
    Real(f64),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sort {
    pub name: String,
    pub descending: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
    Greater,
    AtLeast,
    Equal,
    Less,
    AtMost,
    Differs,
    Like,
}

impl Op {
    pub const ALL: [Self; 7] =
        [Self::Greater, Self::AtLeast, Self::Equal, Self::Less, Self::AtMost, Self::Differs, Self::Like];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Greater => ">",
            Self::AtLeast => ">=",
            Self::Equal => "=",
            Self::Less => "<",
            Self::AtMost => "<=",
            Self::Differs => "<>",
            Self::Like => "like",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|op| op.as_str().eq_ignore_ascii_case(text))
    }
}

/// Why a search cannot be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QueryFault {
    #[error("{place}: {name:?} is not supported here, expected one of {expected}")]
    Name { place: &'static str, name: String, expected: String },
    #[error("{0}")]
    Value(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Text,
    Integer,
    Flag,
    /// Unix seconds in the database.
    Time,
}

/// One name of a collection: where it stands, and what may be done with it.
#[derive(Debug, Clone, Copy)]
pub struct Field {
    name: &'static str,
    sql: &'static str,
    kind: Kind,
    query: bool,
    sort: bool,
    shown: bool,
}

pub const fn field(name: &'static str, sql: &'static str, kind: Kind) -> Field {
    Field { name, sql, kind, query: false, sort: false, shown: true }
}

impl Field {
    pub const fn query(self) -> Self {
        Self { query: true, ..self }
    }
    pub const fn sort(self) -> Self {
        Self { sort: true, ..self }
    }
    pub const fn hidden(self) -> Self {
        Self { shown: false, ..self }
    }
}

/// What can be traversed and searched.
#[derive(Debug)]
pub struct Collection {
    pub from: &'static str,
    /// Grows with every row and is never used twice.
    pub id: &'static str,
    /// The column that says whose a row is, in collections that belong to something.
    pub owner: Option<&'static str>,
    pub fields: &'static [Field],
}

#[derive(Debug, Clone, PartialEq)]
pub struct Page {
    /// All that match.
    pub total: u64,
    pub records: Vec<Record>,
}

/// Checked and ready to run.
#[derive(Debug, Clone)]
pub struct Search {
    collection: &'static Collection,
    conditions: Vec<String>,
    values: Vec<Value>,
    order: String,
    offset: u32,
    limit: u32,
}

impl Search {
    pub fn new(collection: &'static Collection, criteria: &Criteria) -> Result<Self, QueryFault> {
        if criteria.querys.len() > QUERYS_MAX || criteria.sorts.len() > QUERYS_MAX {
            return Err(QueryFault::Value(format!("querys and sorts hold at most {QUERYS_MAX} entries each")));
        }
        if !(1..=LIMIT_MAX).contains(&criteria.limit) {
            return Err(QueryFault::Value(format!("limit: is {}, expected 1 to {LIMIT_MAX}", criteria.limit)));
        }
        let (mut conditions, mut values) = (Vec::new(), Vec::new());
        for condition in &criteria.querys {
            let field = collection.find("querys", &condition.name, |field| field.query)?;
            conditions.push(compile(field, condition, &mut values)?);
        }
        let mut order = String::new();
        for sort in &criteria.sorts {
            let field = collection.find("sorts", &sort.name, |field| field.sort)?;
            order += &format!("{} {}, ", field.sql, if sort.descending { "DESC" } else { "ASC" });
        }
        // The direction of the last sort, so that an index gives both.
        order += collection.id;
        if criteria.sorts.last().is_some_and(|sort| sort.descending) {
            order += " DESC";
        }
        Ok(Self { collection, conditions, values, order, offset: criteria.offset, limit: criteria.limit })
    }

    /// Every row, the page of them.
    pub fn traverse(collection: &'static Collection, offset: u32, limit: u32) -> Result<Self, QueryFault> {
        Self::new(collection, &Criteria { offset, limit, ..Criteria::default() })
    }

    pub(super) fn page(&self, c: &Connection, owner: Option<i64>) -> Result<Page, StoreError> {
        let mut values = self.values.clone();
        let mut conditions = self.conditions.clone();
        if let (Some(column), Some(owner)) = (self.collection.owner, owner) {
            conditions.push(format!("{column} = ?"));
            values.push(owner.into());
        }
        let filter = if conditions.is_empty() { String::new() } else { format!("WHERE {}", conditions.join(" AND ")) };
        let from = self.collection.from;
        let total: i64 = c
            .prepare_cached(&format!("SELECT count(*) FROM {from} {filter}"))?
            .query_row(params_from_iter(&values), |row| row.get(0))?;
        values.extend([Value::from(self.limit), Value::from(self.offset)]);
        let mut statement = c.prepare_cached(&self.select(&filter))?;
        let records = statement
            .query_map(params_from_iter(&values), |row| self.collection.read(row))?
            .collect::<Result<_, _>>()?;
        Ok(Page { total: u64::try_from(total).unwrap_or(0), records })
    }

    fn select(&self, filter: &str) -> String {
        let (columns, from, order) = (self.collection.columns(), self.collection.from, &self.order);
        format!("SELECT {columns} FROM {from} {filter} ORDER BY {order} LIMIT ? OFFSET ?")
    }
}

impl Collection {
    /// All rows of an owner: for those that are few.
    pub(super) fn of(&self, c: &Connection, owner: i64) -> Result<Vec<Record>, StoreError> {
        let owned = self.owner.expect("asked of collections that belong to something only");
        let sql = format!("SELECT {} FROM {} WHERE {owned} = ?1 ORDER BY {}", self.columns(), self.from, self.id);
        let mut statement = c.prepare_cached(&sql)?;
        Ok(statement.query_map([owner], |row| self.read(row))?.collect::<Result<_, _>>()?)
    }

    /// The row with this id.
    pub(super) fn one(&self, c: &Connection, id: i64) -> Result<Record, StoreError> {
        let sql = format!("SELECT {} FROM {} WHERE {} = ?1", self.columns(), self.from, self.id);
        Ok(c.prepare_cached(&sql)?.query_row([id], |row| self.read(row))?)
    }

    fn find(&self, place: &'static str, name: &str, may: impl Fn(&Field) -> bool) -> Result<&Field, QueryFault> {
        let found = self.fields.iter().find(|field| field.name == name && may(field));
        found.ok_or_else(|| QueryFault::Name {
            place,
            name: name.chars().take(40).collect(),
            expected: self.fields.iter().filter(|f| may(f)).map(|f| f.name).collect::<Vec<_>>().join(", "),
        })
    }

    fn columns(&self) -> String {
        let shown = self.fields.iter().filter(|field| field.shown).map(|field| field.sql);
        std::iter::once(self.id).chain(shown).collect::<Vec<_>>().join(", ")
    }

    fn read(&self, row: &Row<'_>) -> rusqlite::Result<Record> {
        let mut record = Record { id: row.get(0)?, cells: Vec::new() };
        for (index, field) in self.fields.iter().filter(|field| field.shown).enumerate() {
            let cell = match (row.get_ref(index + 1)?, field.kind) {
                (ValueRef::Integer(n), Kind::Time) => Cell::Time { unix_s: n },
                (ValueRef::Integer(n), Kind::Flag) => Cell::Flag(n != 0),
                (ValueRef::Integer(n), _) => Cell::Integer(n),
                (ValueRef::Text(text), _) => Cell::Text(String::from_utf8_lossy(text).into_owned()),
                _ => continue,
            };
            record.cells.push((field.name.to_owned(), cell));
        }
        Ok(record)
    }
}

fn compile(field: &Field, condition: &Condition, values: &mut Vec<Value>) -> Result<String, QueryFault> {
    let (sql, count) = (field.sql, condition.values.len());
    if !(1..=VALUES_MAX).contains(&count) {
        let name = field.name;
        return Err(QueryFault::Value(format!("querys: {name} has {count} values, expected 1 to {VALUES_MAX}")));
    }
    for operand in &condition.values {
        values.push(bind(field, condition.op, operand)?);
    }
    let marks = vec!["?"; count].join(", ");
    Ok(match condition.op {
        Op::Equal => format!("{sql} IN ({marks})"),
        Op::Differs => format!("({sql} IS NULL OR {sql} NOT IN ({marks}))"),
        Op::Like => any_of(&text_of(field), "LIKE", count),
        op => any_of(sql, op.as_str(), count),
    })
}

fn any_of(sql: &str, op: &str, count: usize) -> String {
    format!("({})", vec![format!("{sql} {op} ?"); count].join(" OR "))
}

/// What a pattern is held against: the value as answers show it.
fn text_of(field: &Field) -> String {
    match field.kind {
        Kind::Text => field.sql.to_owned(),
        Kind::Integer | Kind::Flag => format!("CAST({} AS TEXT)", field.sql),
        Kind::Time => format!("strftime('{TIME_FORMAT}', {}, 'unixepoch')", field.sql),
    }
}

fn bind(field: &Field, op: Op, operand: &Operand) -> Result<Value, QueryFault> {
    let text = match operand {
        Operand::Text(text) if text.chars().count() > VALUE_CHARS => {
            return Err(QueryFault::Value(format!("{}: a value has more than {VALUE_CHARS} characters", field.name)));
        }
        Operand::Text(text) => text.clone(),
        Operand::Integer(n) => n.to_string(),
        Operand::Real(n) => n.to_string(),
    };
    let expected = match (field.kind, op) {
        (Kind::Text, _) | (_, Op::Like) => return Ok(text.into()),
        (Kind::Time, _) => match parse_time(&text) {
            Some(unix_s) => return Ok(unix_s.into()),
            None => "a date like 2024-01-31 or 2024-01-31 12:30:00",
        },
        (Kind::Integer | Kind::Flag, _) => match (text.parse::<i64>(), text.parse::<f64>()) {
            (Ok(n), _) => return Ok(n.into()),
            (_, Ok(n)) if n.is_finite() => return Ok(n.into()),
            _ => "a number",
        },
    };
    let shown: String = text.chars().take(40).collect();
    Err(QueryFault::Value(format!("querys: {} is compared with {shown:?}, expected {expected}", field.name)))
}

/// UTC; a date alone is its first second.
fn parse_time(text: &str) -> Option<i64> {
    let time = NaiveDateTime::parse_from_str(text, TIME_FORMAT).ok();
    let time = time.or_else(|| NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?.and_hms_opt(0, 0, 0));
    Some(time?.and_utc().timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::licences::SNS;
    use crate::store::migrations;

    fn plan(querys: &[(&str, Op)], sort: Option<(&str, bool)>) -> String {
        let c = Connection::open_in_memory().unwrap();
        migrations::migrate(&c).unwrap();
        let condition = |(name, op): &(&str, Op)| Condition {
            name: (*name).to_owned(),
            op: *op,
            values: vec![Operand::Text("2024-01-01".to_owned())],
        };
        let sorts = sort.into_iter().map(|(name, descending)| Sort { name: name.to_owned(), descending }).collect();
        let criteria = Criteria { querys: querys.iter().map(condition).collect(), sorts, ..Criteria::default() };
        let search = Search::new(&SNS, &criteria).unwrap();
        let filter = search.conditions.iter().map(|c| format!("WHERE {c}")).collect::<String>();
        let mut statement = c.prepare(&format!("EXPLAIN QUERY PLAN {}", search.select(&filter))).unwrap();
        let marks = vec![Value::Null; statement.parameter_count()];
        let lines = statement.query_map(params_from_iter(marks), |row| row.get::<_, String>(3)).unwrap();
        lines.map(Result::unwrap).collect::<Vec<_>>().join("; ")
    }

    #[test]
    fn what_is_compared_is_found_by_an_index() {
        for name in ["sn", "type", "regDate", "activeDate", "updateTime", "productName"] {
            let plan = plan(&[(name, Op::Equal)], None);
            assert!(plan.contains("SEARCH sns"), "{name}: {plan}");
        }
        let range = plan(&[("regDate", Op::AtLeast)], Some(("regDate", true)));
        assert!(range.contains("SEARCH sns USING INDEX sns_by_registration"), "{range}");
    }

    #[test]
    fn a_page_is_read_in_order_and_not_sorted() {
        let sorted = |plan: &str| plan.contains("TEMP B-TREE");
        assert!(!sorted(&plan(&[], None)));
        for name in ["sn", "status", "type", "regDate", "activeDate", "updateTime", "expirationDays"] {
            for descending in [false, true] {
                let plan = plan(&[], Some((name, descending)));
                assert!(!sorted(&plan), "{name}: {plan}");
            }
        }
    }
}
