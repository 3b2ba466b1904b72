//! The ticket-gate interface as it goes over the wire: one set of fields in, one answer out, each in JSON, XML, form and
//! BSON. Both directions are here: what the service serves, and what it asks of a remote server. Pure.
//!
//! The shapes are those of a .NET Web API: XML children stand in alphabetical order under the data contract's
//! namespaces; readers take any order and pass over what they do not know.

mod bson;
mod form;
mod json;
mod xml;

use std::collections::BTreeMap;

pub use json::{TotalScanAnswer, read_total_scan_answer, total_scan_request};

/// A form that bodies come and go in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Json,
    Xml,
    Form,
    Bson,
}

/// A format under one of its names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MediaType {
    pub format: Format,
    pub name: &'static str,
}

/// In the order of preference where a client takes several alike.
pub const MEDIA_TYPES: [MediaType; 6] = [
    MediaType { format: Format::Json, name: "application/json" },
    MediaType { format: Format::Json, name: "text/json" },
    MediaType { format: Format::Xml, name: "application/xml" },
    MediaType { format: Format::Xml, name: "text/xml" },
    MediaType { format: Format::Form, name: "application/x-www-form-urlencoded" },
    MediaType { format: Format::Bson, name: "application/bson" },
];

impl MediaType {
    /// Of a `Content-Type`, whatever its parameters.
    pub fn parse(header: &str) -> Option<Self> {
        let name = header.split(';').next().unwrap_or_default().trim();
        MEDIA_TYPES.into_iter().find(|known| known.name.eq_ignore_ascii_case(name))
    }

    /// The one that an `Accept` prefers; `fallback` where it takes anything, or nothing that is spoken here.
    pub fn accepted(header: Option<&str>, fallback: Self) -> Self {
        let mut best: Option<(f32, Self)> = None;
        for part in header.unwrap_or_default().split(',') {
            let (range, parameters) = part.split_once(';').unwrap_or((part, ""));
            let weight = parameters.split(';').find_map(|p| p.trim().strip_prefix("q=")?.trim().parse().ok());
            let weight: f32 = weight.unwrap_or(1.0);
            let Some(wanted) = in_range(range.trim(), fallback) else { continue };
            if weight > 0.0 && best.is_none_or(|(most, _)| weight > most) {
                best = Some((weight, wanted));
            }
        }
        best.map_or(fallback, |(_, wanted)| wanted)
    }

    /// With the charset, where the format is text.
    pub fn content_type(self) -> String {
        match self.format {
            Format::Bson => self.name.to_owned(),
            _ => format!("{}; charset=utf-8", self.name),
        }
    }
}

fn in_range(range: &str, fallback: MediaType) -> Option<MediaType> {
    match range.to_ascii_lowercase().as_str() {
        "*/*" => Some(fallback),
        "application/*" | "text/*" => {
            let kind = range.split('/').next().unwrap_or_default().to_ascii_lowercase() + "/";
            let all = std::iter::once(fallback).chain(MEDIA_TYPES);
            all.into_iter().find(|known| known.name.starts_with(&kind))
        }
        name => MediaType::parse(name),
    }
}

/// A call's names in XML: the root of what is sent, and of what is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CallNames {
    pub request: &'static str,
    pub answer: &'static str,
}

pub const TOTAL_SCAN: CallNames = CallNames {
    request: "BiometricTotalScanParm",
    answer: "CommonOperationResultWithTagOfGateFaceInfoTotalScanResultldpHZqFJ",
};
pub const ADD: CallNames =
    CallNames { request: "BiometricAddParm", answer: "CommonOperationResultWithTagOfGateFaceInfoAddResult" };
pub const SYNC: CallNames =
    CallNames { request: "BiometricSyncParm", answer: "CommonOperationResultWithTagOfGateFaceInfoSyncResult" };
pub const REMOVE: CallNames =
    CallNames { request: "BiometricRemoveParm", answer: "CommonOperationResultWithTagOfGateFaceInfoRemoveResult" };
pub const LIST: CallNames =
    CallNames { request: "BiometricListParm", answer: "CommonOperationResultWithTagOfGateFaceInfoListResult" };
pub const REGISTER: CallNames =
    CallNames { request: "GateRegisterParm", answer: "CommonOperationResultWithTagOfGateRegisterResult" };

/// The fields that a client sent, in lower case; one that is null or empty of everything is not there.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sent {
    fields: BTreeMap<String, Vec<String>>,
}

impl Sent {
    /// The first value; of a list, too.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.fields.get(name)?.first().map(String::as_str)
    }

    pub fn list(&self, name: &str) -> &[String] {
        self.fields.get(name).map_or(&[], Vec::as_slice)
    }

    fn put(&mut self, name: &str, values: Vec<String>) {
        self.fields.insert(name.to_ascii_lowercase(), values);
    }
}

/// A body that is not what its media type says.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unreadable(pub String);

/// What an answer's `tag` is made of. Names stand in alphabetical order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node {
    Text(String),
    Whole(i64),
    /// What each item is called in XML, and the items.
    List(&'static str, Vec<Record>),
}

pub type Record = Vec<(&'static str, Node)>;

/// `errcode` 0 is success.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub errcode: i64,
    pub errmsg: String,
    pub tag: Option<Record>,
}

impl Answer {
    pub fn done(tag: Option<Record>) -> Self {
        Self { errcode: 0, errmsg: String::new(), tag }
    }

    pub fn refused(errmsg: impl Into<String>) -> Self {
        Self { errcode: 1, errmsg: errmsg.into(), tag: None }
    }
}

/// What was wrong: `parm.` and the field's name, or `parm` of the whole; and why. For HTTP 400.
pub type Faults = Vec<(&'static str, String)>;

pub fn read(format: Format, names: CallNames, body: &[u8]) -> Result<Sent, Unreadable> {
    match format {
        Format::Json => json::read(body),
        Format::Xml => xml::read(body, names.request),
        Format::Form => form::read(body),
        Format::Bson => bson::read(body),
    }
}

pub fn write(format: Format, names: CallNames, answer: &Answer) -> Vec<u8> {
    match format {
        Format::Json => json::write(answer),
        Format::Xml => xml::write(answer, names.answer),
        Format::Form => form::write(answer),
        Format::Bson => bson::write(answer),
    }
}

/// Of HTTP 400: `{"Message": …, "ModelState": {"parm.field": ["…"]}}`.
pub fn write_faults(format: Format, faults: &Faults) -> Vec<u8> {
    match format {
        Format::Json => json::write_faults(faults),
        Format::Xml => xml::write_faults(faults),
        Format::Form => form::write_faults(faults),
        Format::Bson => bson::write_faults(faults),
    }
}

const INVALID: &str = "The request is invalid.";

fn utf8(body: &[u8]) -> Result<&str, Unreadable> {
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    std::str::from_utf8(body)
        .map_err(|error| Unreadable(format!("the body is not UTF-8 from byte {} on", error.valid_up_to())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scan(format: Format, body: &str) -> Sent {
        read(format, TOTAL_SCAN, body.as_bytes()).unwrap_or_else(|error| panic!("{format:?} {body}: {error}"))
    }

    #[test]
    fn the_same_request_in_every_format() {
        let ns = "http://schemas.datacontract.org/2004/07/DigitalScience.DataTransfer.Tour.V5.Parm";
        let bson = ::bson::doc! { "gatenum": "0001", "firstlbsbh": "T&1", "unknown": { "deep": [1, 2] } };
        let sent = [
            scan(Format::Json, r#"{"unknown":{"x":[1]},"gatenum":"0001","firstlbsbh":"T&1"}"#),
            scan(Format::Form, "firstlbsbh=T%261&gatenum=0001&unknown=5"),
            scan(
                Format::Xml,
                &format!(
                    r#"<?xml version="1.0" encoding="utf-8"?><!-- c --><p:BiometricTotalScanParm xmlns:p="{ns}"
                       xmlns:o="other"><o:gatenum>9999</o:gatenum><p:gatenum>00<![CDATA[01]]></p:gatenum>
                       <p:unknown><p:deep>1</p:deep></p:unknown><p:firstlbsbh>T&amp;&#49;</p:firstlbsbh>
                       </p:BiometricTotalScanParm>"#
                ),
            ),
            read(Format::Bson, TOTAL_SCAN, &bson.to_vec().unwrap()).unwrap(),
        ];
        for sent in sent {
            assert_eq!((sent.text("gatenum"), sent.text("firstlbsbh")), (Some("0001"), Some("T&1")), "{sent:?}");
        }
    }

    #[test]
    fn nothing_is_nothing_in_every_format() {
        let ns = r#"xmlns="http://schemas.datacontract.org/2004/07/DigitalScience.DataTransfer.Tour.V5.Parm"
                    xmlns:i="http://www.w3.org/2001/XMLSchema-instance""#;
        for sent in [
            scan(Format::Json, r#"{"gatenum":"0001","firstlbsbh":null}"#),
            scan(
                Format::Xml,
                &format!(
                    r#"<BiometricTotalScanParm {ns}><firstlbsbh i:nil="true" /><gatenum>0001</gatenum></BiometricTotalScanParm>"#
                ),
            ),
            scan(Format::Xml, "<BiometricTotalScanParm><gatenum>0001</gatenum></BiometricTotalScanParm>"),
            scan(Format::Form, "gatenum=0001"),
        ] {
            assert_eq!((sent.text("gatenum"), sent.text("firstlbsbh")), (Some("0001"), None));
        }
    }

    #[test]
    fn lists_come_as_each_format_writes_them() {
        let xml = r#"<BiometricAddParm><gates xmlns:a="http://schemas.microsoft.com/2003/10/Serialization/Arrays">
            <a:string>0001</a:string><a:string>0002</a:string></gates></BiometricAddParm>"#;
        let bson = ::bson::doc! { "gates": ["0001", "0002"] }.to_vec().unwrap();
        for sent in [
            read(Format::Json, ADD, br#"{"gates":["0001","0002"]}"#),
            read(Format::Form, ADD, b"gates=0001&gates=0002"),
            read(Format::Xml, ADD, xml.as_bytes()),
            read(Format::Bson, ADD, &bson),
        ] {
            assert_eq!(sent.unwrap().list("gates"), ["0001", "0002"]);
        }
    }

    #[test]
    fn what_is_no_such_body_is_refused() {
        let entity = r#"<!DOCTYPE a [<!ENTITY x "y">]><BiometricTotalScanParm/>"#;
        for (format, body) in [
            (Format::Json, "[]"),
            (Format::Json, "{"),
            (Format::Json, r#"{"gatenum":true}"#),
            (Format::Json, "\u{1}"),
            (Format::Xml, ""),
            (Format::Xml, "<Other/>"),
            (Format::Xml, "<BiometricTotalScanParm xmlns=\"urn:other\"/>"),
            (Format::Xml, "<BiometricTotalScanParm><gatenum>"),
            (Format::Xml, "<BiometricTotalScanParm/><BiometricTotalScanParm/>"),
            (Format::Xml, "<BiometricTotalScanParm><gatenum>&x;</gatenum></BiometricTotalScanParm>"),
            (Format::Xml, entity),
            (Format::Form, "gatenum=%ff"),
            (Format::Bson, ""),
            (Format::Bson, "\u{5}\0\0\0\u{1}"),
        ] {
            assert!(read(format, TOTAL_SCAN, body.as_bytes()).is_err(), "{format:?} {body:?}");
        }
    }

    #[test]
    fn accept_chooses_and_the_requests_own_is_next() {
        let form = MEDIA_TYPES[4];
        for (accept, chosen) in [
            (None, "application/x-www-form-urlencoded"),
            (Some("*/*"), "application/x-www-form-urlencoded"),
            (Some("image/png"), "application/x-www-form-urlencoded"),
            (Some("TEXT/XML"), "text/xml"),
            (Some("text/*"), "text/json"),
            (Some("application/json;q=0.5, application/bson"), "application/bson"),
            (Some("application/xml;q=0, application/json; q=0.1"), "application/json"),
        ] {
            assert_eq!(MediaType::accepted(accept, form).name, chosen, "{accept:?}");
        }
    }
}
