//! The envelope of every answer, `{"status":0,"data":{"total":…,"items":[…]}}`, and the numbers of its errors. What
//! is empty is left out.

use axum::Json;
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use chrono::DateTime;
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::api::ApiError;
use crate::store::{Cell, LicenceOutcome, Page, QueryFault, Record, Refusal, StoreError, TIME_FORMAT};

pub const NOT_LOGGED_IN: u32 = 513;
pub const NULL: u32 = 514;
pub const BAD_PARAMETER: u32 = 515;
const UNKNOWN: u32 = 516;
const SOME_FAILED: u32 = 1995;
const UNSUPPORTED_NAME: u32 = 4123;

pub type Answer = Result<Envelope, LicenceError>;

/// Every answer of this interface.
#[derive(Debug, Default, Serialize, ToSchema)]
pub struct Envelope {
    /// 0, or the number of the error.
    status: u32,
    /// What went wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    msg: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    data: Option<PageData>,
}

#[derive(Debug, Serialize, ToSchema)]
struct PageData {
    /// All that match, not only the page.
    total: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<Object>, required = false)]
    items: Vec<Value>,
}

impl Envelope {
    pub fn page(page: &Page) -> Self {
        let items = page.records.iter().map(item).collect();
        Self { data: Some(PageData { total: page.total, items }), ..Self::default() }
    }

    /// Entries of the log of changes: what is JSON in the store is JSON here.
    pub fn entries(page: &Page) -> Self {
        let mut envelope = Self::page(page);
        for item in envelope.data.iter_mut().flat_map(|data| &mut data.items) {
            for side in ["before", "after"] {
                if let Some(value) = item.get_mut(side) {
                    let parsed = value.as_str().and_then(|text| serde_json::from_str(text).ok());
                    *value = parsed.unwrap_or_default();
                }
            }
        }
        envelope
    }

    pub fn count(total: u64) -> Self {
        Self { data: Some(PageData { total, items: Vec::new() }), ..Self::default() }
    }

    pub fn records(records: &[Record]) -> Self {
        let items: Vec<_> = records.iter().map(item).collect();
        Self { data: Some(PageData { total: items.len() as u64, items }), ..Self::default() }
    }
}

impl IntoResponse for Envelope {
    fn into_response(self) -> Response {
        Json(self).into_response()
    }
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct LicenceError {
    http: StatusCode,
    number: u32,
    message: String,
    header: Option<(HeaderName, HeaderValue)>,
}

impl LicenceError {
    pub fn new(number: u32, message: impl Into<String>) -> Self {
        Self { http: StatusCode::OK, number, message: message.into(), header: None }
    }

    pub fn bad(message: impl Into<String>) -> Self {
        Self::new(BAD_PARAMETER, message)
    }

    /// A right key whose role may not do this.
    pub fn not_allowed(message: impl Into<String>) -> Self {
        Self { http: StatusCode::FORBIDDEN, ..Self::new(NOT_LOGGED_IN, message) }
    }

    pub fn missing(why: Refusal, message: &str) -> Self {
        Self::new(number(why), message)
    }
}

impl IntoResponse for LicenceError {
    fn into_response(self) -> Response {
        let envelope = Envelope { status: self.number, msg: Some(self.message), data: None };
        let mut response = (self.http, Json(envelope)).into_response();
        response.headers_mut().extend(self.header);
        response
    }
}

impl From<StoreError> for LicenceError {
    fn from(error: StoreError) -> Self {
        ApiError::from(error).into()
    }
}

impl From<ApiError> for LicenceError {
    fn from(error: ApiError) -> Self {
        let (message, header) = (error.to_string(), error.header());
        match error {
            ApiError::TooOften { .. } => {
                Self { http: StatusCode::TOO_MANY_REQUESTS, header, ..Self::new(UNKNOWN, message) }
            }
            ApiError::Unauthorized(_) => Self { http: StatusCode::UNAUTHORIZED, ..Self::new(NOT_LOGGED_IN, message) },
            ApiError::Invalid(_) | ApiError::TooLarge { .. } => Self::bad(message),
            _ => Self::new(UNKNOWN, message),
        }
    }
}

impl From<QueryFault> for LicenceError {
    fn from(fault: QueryFault) -> Self {
        let number = if matches!(fault, QueryFault::Name { .. }) { UNSUPPORTED_NAME } else { BAD_PARAMETER };
        Self::new(number, fault.to_string())
    }
}

/// What a change did: all of it, nothing for one reason, or some.
pub fn outcome(outcome: &LicenceOutcome) -> Answer {
    let Some(first) = outcome.refused.first() else { return Ok(Envelope::records(&outcome.records)) };
    let all_alike = outcome.refused.iter().all(|refused| refused.why == first.why);
    let message = outcome.refused.iter().map(|refused| refused.message.as_str()).collect::<Vec<_>>().join("; ");
    if outcome.records.is_empty() && all_alike {
        return Err(LicenceError::new(number(first.why), message));
    }
    Ok(Envelope { status: SOME_FAILED, msg: Some(message), ..Envelope::records(&outcome.records) })
}

const fn number(why: Refusal) -> u32 {
    match why {
        Refusal::Parameter => BAD_PARAMETER,
        Refusal::NoFeature => 1283,
        Refusal::NoDataItem => 1537,
        Refusal::SnDisabled => 1797,
        Refusal::NoSn => 1798,
        Refusal::NoUserOrCustomer => 1832,
        Refusal::CustomerExists => 1918,
        Refusal::ProductExists => 1992,
        Refusal::NoProduct => 2305,
        Refusal::TooManyUsers => 5633,
    }
}

fn item(record: &Record) -> Value {
    let cells = record.cells.iter().map(|(name, cell)| (name.clone(), value(cell)));
    Value::Object(cells.collect::<Map<_, _>>())
}

fn value(cell: &Cell) -> Value {
    match cell {
        Cell::Text(text) => text.as_str().into(),
        Cell::Integer(n) => (*n).into(),
        Cell::Flag(flag) => (*flag).into(),
        Cell::Time { unix_s } => {
            DateTime::from_timestamp(*unix_s, 0).unwrap_or_default().format(TIME_FORMAT).to_string().into()
        }
        Cell::Record(record) => item(record),
        Cell::List(records) => records.iter().map(item).collect(),
    }
}
