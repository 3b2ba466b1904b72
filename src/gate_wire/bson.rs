//! BSON. Only the outermost document is looked into, so that nesting costs nothing.

use bson::{Bson, Document, RawBsonRef, RawDocument, doc};

use super::{Answer, Faults, INVALID, Node, Record, Sent, Unreadable};

pub(super) fn read(body: &[u8]) -> Result<Sent, Unreadable> {
    let unreadable = |error: bson::error::Error| Unreadable(error.to_string());
    let document = RawDocument::from_bytes(body).map_err(unreadable)?;
    let mut sent = Sent::default();
    for element in document {
        let (name, value) = element.map_err(unreadable)?;
        match value {
            RawBsonRef::Null | RawBsonRef::Document(_) => {}
            RawBsonRef::Array(items) => {
                let items: Result<Option<Vec<_>>, _> = items.into_iter().map(|item| item.map(scalar)).collect();
                if let Some(values) = items.map_err(unreadable)? {
                    sent.put(name.as_str(), values);
                }
            }
            other => {
                let value = scalar(other).ok_or_else(|| Unreadable(format!("{name}: expected a string")))?;
                sent.put(name.as_str(), vec![value]);
            }
        }
    }
    Ok(sent)
}

fn scalar(value: RawBsonRef<'_>) -> Option<String> {
    match value {
        RawBsonRef::String(text) => Some(text.to_owned()),
        RawBsonRef::Int32(number) => Some(number.to_string()),
        RawBsonRef::Int64(number) => Some(number.to_string()),
        RawBsonRef::DateTime(time) => time.try_to_rfc3339_string().ok(),
        _ => None,
    }
}

pub(super) fn write(answer: &Answer) -> Vec<u8> {
    let tag = answer.tag.as_ref().map_or(Bson::Null, |tag| Bson::Document(record(tag)));
    bytes(&doc! { "errcode": number(answer.errcode), "errmsg": answer.errmsg.as_str(), "tag": tag })
}

fn record(record: &Record) -> Document {
    record.iter().map(|(name, node)| ((*name).to_owned(), value(node))).collect()
}

fn value(node: &Node) -> Bson {
    match node {
        Node::Text(text) => text.as_str().into(),
        Node::Whole(whole) => number(*whole),
        Node::List(_, items) => Bson::Array(items.iter().map(|item| Bson::Document(record(item))).collect()),
    }
}

/// In 32 bits where it fits, as those readers expect it.
fn number(number: i64) -> Bson {
    i32::try_from(number).map_or(Bson::Int64(number), Bson::Int32)
}

pub(super) fn write_faults(faults: &Faults) -> Vec<u8> {
    let state: Document =
        faults.iter().map(|(field, message)| ((*field).to_owned(), Bson::from(vec![message.as_str()]))).collect();
    bytes(&doc! { "Message": INVALID, "ModelState": state })
}

fn bytes(document: &Document) -> Vec<u8> {
    document.to_vec().expect("names without zero bytes, far below 2 GiB")
}
