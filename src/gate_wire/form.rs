//! Forms. What is nested is named by its path: `tag.hasmorepage`, `tag.events[0].kind`.

use std::borrow::Cow;

use url::form_urlencoded::{Serializer, parse};

use super::{Answer, Faults, INVALID, Node, Record, Sent, Unreadable, utf8};

pub(super) fn read(body: &[u8]) -> Result<Sent, Unreadable> {
    utf8(body)?;
    let mut sent = Sent::default();
    for (name, value) in parse(body) {
        // The parser puts this mark in the place of bytes that are not UTF-8.
        if value.contains('\u{fffd}') {
            return Err(Unreadable(format!("{name}: is not UTF-8")));
        }
        sent.fields.entry(name.to_ascii_lowercase()).or_default().push(value.into_owned());
    }
    Ok(sent)
}

pub(super) fn write(answer: &Answer) -> Vec<u8> {
    let mut out = Serializer::new(String::new());
    out.append_pair("errcode", &answer.errcode.to_string()).append_pair("errmsg", &answer.errmsg);
    if let Some(tag) = &answer.tag {
        append(&mut out, "tag", tag);
    }
    out.finish().into_bytes()
}

fn append(out: &mut Serializer<'_, String>, path: &str, record: &Record) {
    for (name, node) in record {
        let path = format!("{path}.{name}");
        let text: Cow<'_, str> = match node {
            Node::Text(text) => text.into(),
            Node::Whole(number) => number.to_string().into(),
            Node::List(_, items) => {
                for (index, item) in items.iter().enumerate() {
                    append(out, &format!("{path}[{index}]"), item);
                }
                continue;
            }
        };
        out.append_pair(&path, &text);
    }
}

pub(super) fn write_faults(faults: &Faults) -> Vec<u8> {
    let mut out = Serializer::new(String::new());
    out.append_pair("Message", INVALID);
    for (field, message) in faults {
        out.append_pair(&format!("ModelState.{field}"), message);
    }
    out.finish().into_bytes()
}
