//! JSON: the format of old, and the one in which a remote server is asked.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{Answer, Faults, INVALID, Node, Record, Sent, Unreadable, utf8};

pub(super) fn read(body: &[u8]) -> Result<Sent, Unreadable> {
    let text = utf8(body)?;
    let value: Value = serde_json::from_str(text).map_err(|error| Unreadable(error.to_string()))?;
    let Value::Object(fields) = value else { return Err(Unreadable("expected a JSON object".to_owned())) };
    let mut sent = Sent::default();
    for (name, value) in fields {
        match value {
            Value::Null | Value::Object(_) => {}
            Value::Array(items) => {
                if let Some(values) = items.into_iter().map(scalar).collect() {
                    sent.put(&name, values);
                }
            }
            other => {
                let value = scalar(other).ok_or_else(|| Unreadable(format!("{name}: expected a string")))?;
                sent.put(&name, vec![value]);
            }
        }
    }
    Ok(sent)
}

fn scalar(value: Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

pub(super) fn write(answer: &Answer) -> Vec<u8> {
    let tag = answer.tag.as_ref().map(record);
    json!({"errcode": answer.errcode, "errmsg": answer.errmsg, "tag": tag}).to_string().into_bytes()
}

fn record(record: &Record) -> Value {
    Value::Object(record.iter().map(|(name, node)| ((*name).to_owned(), value(node))).collect())
}

fn value(node: &Node) -> Value {
    match node {
        Node::Text(text) => text.as_str().into(),
        Node::Whole(number) => (*number).into(),
        Node::List(_, items) => items.iter().map(record).collect(),
    }
}

pub(super) fn write_faults(faults: &Faults) -> Vec<u8> {
    let state: Map<String, Value> =
        faults.iter().map(|(field, message)| ((*field).to_owned(), json!([message]))).collect();
    json!({"Message": INVALID, "ModelState": state}).to_string().into_bytes()
}

/// What a remote server is asked: the page after `firstlbsbh`.
pub fn total_scan_request(gatenum: &str, firstlbsbh: &str) -> String {
    json!({"firstlbsbh": firstlbsbh, "gatenum": gatenum}).to_string()
}

/// What a remote server says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TotalScanAnswer {
    pub more: bool,
    pub last: String,
}

/// `Err` holds what was wrong: of the answer's shape, or what the server itself refused.
pub fn read_total_scan_answer(body: &[u8]) -> Result<TotalScanAnswer, Unreadable> {
    #[derive(Deserialize)]
    struct Whole {
        errcode: i64,
        #[serde(default)]
        errmsg: Option<String>,
        tag: Option<Tag>,
    }
    #[derive(Deserialize)]
    struct Tag {
        hasmorepage: Option<String>,
        lastlbsbh: Option<String>,
    }
    let whole: Whole = serde_json::from_str(utf8(body)?).map_err(|error| Unreadable(error.to_string()))?;
    if whole.errcode != 0 {
        let why = whole.errmsg.unwrap_or_default();
        return Err(Unreadable(format!("the server answered errcode {} ({why})", whole.errcode)));
    }
    let tag = whole.tag.ok_or_else(|| Unreadable("the answer has no tag".to_owned()))?;
    Ok(TotalScanAnswer { more: tag.hasmorepage.as_deref() == Some("1"), last: tag.lastlbsbh.unwrap_or_default() })
}
