//! The body of a search, `{"querys":[{"name","op","values"}],"sorts":[{"name","order"}]}`, into criteria.

use serde::Deserialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::answer::{LicenceError, NULL};
use super::params::Params;
use crate::store::{Collection, Condition, Criteria, Operand, QueryOp, Search, Sort};

#[derive(Debug, Default, Deserialize, ToSchema)]
pub struct SearchBody {
    /// All must hold.
    querys: Option<Vec<QueryBody>>,
    sorts: Option<Vec<SortBody>>,
}

#[derive(Debug, Deserialize, ToSchema)]
struct QueryBody {
    name: Option<String>,
    /// `>`, `>=`, `=`, `<`, `<=`, `<>` or `like`
    #[schema(example = "like")]
    op: Option<String>,
    /// Strings or numbers. None of them for `<>`, any of them for the rest.
    #[schema(value_type = Option<Vec<Object>>, example = json!(["A%"]))]
    values: Option<Vec<Value>>,
}

#[derive(Debug, Deserialize, ToSchema)]
struct SortBody {
    name: Option<String>,
    /// `ASC` (default) or `DESC`
    #[schema(example = "DESC")]
    order: Option<String>,
}

impl SearchBody {
    pub fn search(self, collection: &'static Collection, params: &Params) -> Result<Search, LicenceError> {
        let (offset, limit) = params.window()?;
        let querys = self.querys.unwrap_or_default().into_iter().map(condition).collect::<Result<_, _>>()?;
        let sorts = self.sorts.unwrap_or_default().into_iter().map(sort).collect::<Result<_, _>>()?;
        Ok(Search::new(collection, &Criteria { querys, sorts, offset, limit })?)
    }
}

pub fn traverse(collection: &'static Collection, params: &Params) -> Result<Search, LicenceError> {
    let (offset, limit) = params.window()?;
    Ok(Search::traverse(collection, offset, limit)?)
}

fn condition(body: QueryBody) -> Result<Condition, LicenceError> {
    let name = given("querys: name", body.name)?;
    let text = given("querys: op", body.op)?;
    let op = QueryOp::parse(&text);
    let op = op.ok_or_else(|| LicenceError::bad("querys: op is not one of > >= = < <= <> like"))?;
    let values = given("querys: values", body.values)?.into_iter().map(operand).collect::<Result<_, _>>()?;
    Ok(Condition { name, op, values })
}

fn operand(value: Value) -> Result<Operand, LicenceError> {
    match value {
        Value::String(text) => Ok(Operand::Text(text)),
        Value::Number(number) => {
            let integer = number.as_i64().map(Operand::Integer);
            let operand = integer.or_else(|| number.as_f64().map(Operand::Real));
            operand.ok_or_else(|| LicenceError::bad("querys: values holds a number that is too large"))
        }
        _ => Err(LicenceError::bad("querys: values holds something else than strings and numbers")),
    }
}

fn sort(body: SortBody) -> Result<Sort, LicenceError> {
    let name = given("sorts: name", body.name)?;
    let order = body.order.unwrap_or_else(|| "ASC".to_owned());
    let descending = order.eq_ignore_ascii_case("DESC");
    if !descending && !order.eq_ignore_ascii_case("ASC") {
        return Err(LicenceError::bad("sorts: order is not one of ASC, DESC"));
    }
    Ok(Sort { name, descending })
}

fn given<T>(place: &str, value: Option<T>) -> Result<T, LicenceError> {
    value.ok_or_else(|| LicenceError::new(NULL, format!("{place} is missing")))
}
