//! XML as a data contract serializer writes and reads it: children in alphabetical order on the way out, any order on
//! the way in. No document type, so no entities but the five that every XML has.

use quick_xml::escape::partial_escape;
use quick_xml::events::{BytesStart, Event};
use quick_xml::name::{Namespace, ResolveResult};
use quick_xml::reader::NsReader;

use super::{Answer, Faults, INVALID, Node, Record, Sent, Unreadable, utf8};

const PARM: &str = "http://schemas.datacontract.org/2004/07/DigitalScience.DataTransfer.Tour.V5.Parm";
const ANSWER: &str = "http://schemas.datacontract.org/2004/07/DigitalScience.DataTransfer";
const RESULT: &str = "http://schemas.datacontract.org/2004/07/DigitalScience.DataTransfer.Tour.V5.Result";
const INSTANCE: &str = "http://www.w3.org/2001/XMLSchema-instance";

/// `root` is in the contract's namespace or in none, and its fields with it.
pub(super) fn read(body: &[u8], root: &str) -> Result<Sent, Unreadable> {
    let mut reader = NsReader::from_str(utf8(body)?);
    reader.config_mut().expand_empty_elements = true;
    let mut reading = Reading::new(root);
    loop {
        let position = reader.buffer_position();
        let at = |message: String| Unreadable(format!("{message} (at byte {position})"));
        let (namespace, event) = reader.read_resolved_event().map_err(|error| at(error.to_string()))?;
        let namespace = match namespace {
            ResolveResult::Bound(Namespace(name)) => name,
            ResolveResult::Unbound => "",
            ResolveResult::Unknown(_) => return Err(at("a prefix is not declared".to_owned())),
        }
        .to_owned();
        match event {
            Event::Start(start) => {
                let nil = is_nil(&reader, &start).map_err(at)?;
                reading.begin(&namespace, start.local_name().into_inner(), nil).map_err(at)?;
            }
            Event::End(_) => reading.end(),
            Event::Text(text) => reading.text(&text.xml10_content()).map_err(at)?,
            Event::CData(text) => reading.text(&text.xml10_content()).map_err(at)?,
            Event::GeneralRef(reference) => {
                let character = reference.resolve_char_ref().map_err(|error| at(error.to_string()))?;
                let character = character.or_else(|| predefined(&reference.xml10_content()));
                let character = character.ok_or_else(|| at("an entity is not known".to_owned()))?;
                reading.text(character.encode_utf8(&mut [0; 4])).map_err(at)?;
            }
            Event::DocType(_) => return Err(at("a document type is not allowed".to_owned())),
            Event::Eof => return reading.finish(),
            _ => {}
        }
    }
}

fn is_nil(reader: &NsReader<&[u8]>, start: &BytesStart<'_>) -> Result<bool, String> {
    for attribute in start.attributes() {
        let attribute = attribute.map_err(|error| error.to_string())?;
        let (namespace, name) = reader.resolver().resolve_attribute(attribute.key);
        if name.into_inner() == "nil" && namespace == ResolveResult::Bound(Namespace(INSTANCE)) {
            return Ok(matches!(attribute.value.trim(), "true" | "1"));
        }
    }
    Ok(false)
}

fn predefined(name: &str) -> Option<char> {
    match name {
        "lt" => Some('<'),
        "gt" => Some('>'),
        "amp" => Some('&'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        _ => None,
    }
}

/// Fields are the root's children; a list's items are theirs. What lies deeper is passed over.
struct Reading<'a> {
    root: &'a str,
    namespace: Option<String>,
    depth: usize,
    done: bool,
    /// The field that is open, unless it is unknown or nil.
    field: Option<String>,
    text: String,
    items: Vec<String>,
    sent: Sent,
}

impl<'a> Reading<'a> {
    fn new(root: &'a str) -> Self {
        let (text, sent) = (String::new(), Sent::default());
        Self { root, namespace: None, depth: 0, done: false, field: None, text, items: Vec::new(), sent }
    }

    fn begin(&mut self, namespace: &str, name: &str, nil: bool) -> Result<(), String> {
        match self.depth {
            0 if self.done => return Err("there is more than one root".to_owned()),
            0 if name != self.root || !(namespace.is_empty() || namespace == PARM) => {
                return Err(format!("the root is {name:?} of {namespace:?}, expected {:?} of {PARM:?}", self.root));
            }
            0 => self.namespace = Some(namespace.to_owned()),
            1 => {
                let ours = self.namespace.as_deref() == Some(namespace) && !nil;
                self.field = ours.then(|| name.to_owned());
                self.text.clear();
                self.items.clear();
            }
            2 => self.items.push(String::new()),
            _ => {}
        }
        self.depth += 1;
        Ok(())
    }

    fn end(&mut self) {
        self.depth -= 1;
        if self.depth == 0 {
            self.done = true;
        }
        if self.depth == 1
            && let Some(name) = self.field.take()
        {
            let text = std::mem::take(&mut self.text);
            let values = if self.items.is_empty() { vec![text] } else { std::mem::take(&mut self.items) };
            self.sent.fields.insert(name, values);
        }
    }

    fn text(&mut self, text: &str) -> Result<(), String> {
        match (self.depth, self.items.last_mut()) {
            (0, _) if !text.trim().is_empty() => return Err("there is text outside of the root".to_owned()),
            (2, None) => self.text.push_str(text),
            (3, Some(item)) => item.push_str(text),
            _ => {}
        }
        Ok(())
    }

    fn finish(self) -> Result<Sent, Unreadable> {
        match (self.done, self.depth) {
            (true, 0) => Ok(self.sent),
            (false, 0) => Err(Unreadable(format!("the body is empty, expected the root {:?}", self.root))),
            _ => Err(Unreadable("the body ends inside of an element".to_owned())),
        }
    }
}

pub(super) fn write(answer: &Answer, root: &str) -> Vec<u8> {
    let (errcode, errmsg) = (answer.errcode, partial_escape(answer.errmsg.as_str()));
    let mut out = format!(
        "<{root} xmlns:i=\"{INSTANCE}\" xmlns=\"{ANSWER}\"><errcode>{errcode}</errcode><errmsg>{errmsg}</errmsg>"
    );
    match &answer.tag {
        None => out.push_str("<tag i:nil=\"true\" />"),
        Some(tag) => {
            out.push_str(&format!("<tag xmlns:d2p1=\"{RESULT}\">"));
            append(&mut out, tag);
            out.push_str("</tag>");
        }
    }
    out.push_str(&format!("</{root}>"));
    out.into_bytes()
}

fn append(out: &mut String, record: &Record) {
    for (name, node) in record {
        out.push_str(&format!("<d2p1:{name}>"));
        match node {
            Node::Text(text) => out.push_str(&partial_escape(text.as_str())),
            Node::Whole(number) => out.push_str(&number.to_string()),
            Node::List(item, items) => {
                for record in items {
                    out.push_str(&format!("<d2p1:{item}>"));
                    append(out, record);
                    out.push_str(&format!("</d2p1:{item}>"));
                }
            }
        }
        out.push_str(&format!("</d2p1:{name}>"));
    }
}

pub(super) fn write_faults(faults: &Faults) -> Vec<u8> {
    let mut out = format!("<Error><Message>{INVALID}</Message><ModelState>");
    for (field, message) in faults {
        out.push_str(&format!("<{field}>{}</{field}>", partial_escape(message.as_str())));
    }
    out.push_str("</ModelState></Error>");
    out.into_bytes()
}
