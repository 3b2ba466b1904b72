//! `output`: where the faces go. Several may stand side by side; at least one must.

use serde_json::Value;

use crate::domain::task::{GateBuffer, LocalPath, Mqtt, Webhook};
use crate::domain::{Category, Outputs, Payload, Transport};

use super::fields::{Fields, Findings, excerpt, kind, shown_scalar};
use super::source::check_address;

pub(super) const URL_CHARS: usize = 1000;
const TOPIC_CHARS: usize = 200;
const TOPIC: &str = "face-edge";
const MAX_SECRETS: usize = 4;
/// Ten years.
const MAX_VALID_HOURS: u32 = 87_600;
const GATENUM_CHARS: usize = 4;

/// Outputs that others of this interface have and we have not, with the reason.
const REFUSED: [(&str, &str); 2] = [
    ("dis", "is an output of the cloud only; use webhook, mqtt or localpath"),
    ("obs", "is an output of the cloud only; use webhook, mqtt or localpath"),
];

pub(super) fn read(body: &Fields, findings: &mut Findings) -> Option<Outputs> {
    let output = body.required_object("output", findings)?;
    for (key, reason) in REFUSED {
        if output.get(key).is_some() {
            findings.invalid(output.path(key), reason);
        }
    }
    let known = ["webhook", "localpath", "mqtt", "gate_buffer"].into_iter().chain(REFUSED.map(|(key, _)| key));
    if known.into_iter().all(|key| output.get(key).is_none()) {
        findings.invalid("output", "names no output, expected webhook, localpath, mqtt, gate_buffer or several");
    }
    let webhook = output.object("webhook", findings).and_then(|fields| webhook(&fields, findings));
    let localpath = output.object("localpath", findings).and_then(|fields| localpath(&fields, findings));
    let mqtt = output.object("mqtt", findings).and_then(|fields| mqtt(&fields, findings));
    let gate_buffer = output.object("gate_buffer", findings).map(|fields| gate_buffer(&fields, findings));
    Some(Outputs { webhook, localpath, mqtt, gate_buffer })
}

fn webhook(fields: &Fields, findings: &mut Findings) -> Option<Webhook> {
    let url = fields.bounded_text("url", URL_CHARS, true, findings);
    if let Some(url) = &url {
        check_address(url, &["http", "https"], &fields.path("url"), findings);
    }
    let headers = fields.headers("headers", findings);
    let categories = categories(fields, findings);
    let secrets = secrets(fields, findings);
    let payload = payload(fields, findings);
    let transport = transport(fields, findings);
    let evidence = fields.switch("evidence", findings);
    Some(Webhook { url: url?, headers, categories, secrets, payload, transport, evidence })
}

/// Said of a secret without repeating it.
fn secrets(fields: &Fields, findings: &mut Findings) -> Vec<String> {
    let path = fields.path("secrets");
    let entries = fields.array("secrets", findings).unwrap_or_default();
    if entries.len() > MAX_SECRETS {
        findings.over(&path, format!("holds {} secrets, at most {MAX_SECRETS}", entries.len()));
    }
    let mut secrets = Vec::new();
    for (index, entry) in entries.iter().enumerate() {
        match entry.as_str() {
            Some(secret) if is_secret(secret) => secrets.push(secret.to_owned()),
            _ => findings.invalid(
                format!("{path}[{index}]"),
                "is no webhook secret, expected whsec_ and base64 of 24 to 64 bytes, or whsk_ and base64 of an \
                 ed25519 key of 32 or 64 bytes",
            ),
        }
    }
    secrets
}

fn is_secret(text: &str) -> bool {
    use base64::Engine;
    let bytes = |base64: &str| base64::engine::general_purpose::STANDARD.decode(base64).map_or(0, |bytes| bytes.len());
    match (text.strip_prefix("whsec_"), text.strip_prefix("whsk_")) {
        (Some(shared), _) => (24..=64).contains(&bytes(shared)),
        (_, Some(private)) => matches!(bytes(private), 32 | 64),
        (None, None) => false,
    }
}

fn payload(fields: &Fields, findings: &mut Findings) -> Payload {
    let base = fields.bounded_text("picture_base_url", URL_CHARS, false, findings);
    if let Some(base) = &base {
        check_address(base, &["http", "https"], &fields.path("picture_base_url"), findings);
    }
    match (fields.text("payload", findings), base) {
        (None | Some("inline"), _) => Payload::Inline,
        (Some("multipart"), _) => Payload::Multipart,
        (Some("thin"), Some(base)) => Payload::Thin { base },
        (Some("thin"), None) => {
            findings.invalid(
                fields.path("picture_base_url"),
                "is required with the payload thin, expected the address at which the receiver reaches this box",
            );
            Payload::Inline
        }
        (Some(other), _) => {
            let found = excerpt(other);
            findings.invalid(fields.path("payload"), format!("is {found}, expected inline, multipart or thin"));
            Payload::Inline
        }
    }
}

fn transport(fields: &Fields, findings: &mut Findings) -> Transport {
    let mut file = |key: &str| {
        let path = fields.bounded_text(key, URL_CHARS, false, findings)?;
        check_path(&path, &fields.path(key), "a PEM file", findings);
        Some(path)
    };
    let (ca_file, client_certificate_file) = (file("ca_file"), file("client_certificate_file"));
    let kbit_s = fields.whole("max_kbit_s", 0..=10_000_000, 0, findings);
    Transport { max_kbit_s: (kbit_s > 0).then_some(kbit_s), ca_file, client_certificate_file }
}

fn check_path(path: &str, field: &str, what: &str, findings: &mut Findings) {
    if !path.starts_with('/') || path.contains('\0') || path.split('/').any(|part| part == "..") {
        let found = excerpt(path);
        findings.invalid(field, format!("is {found}, expected an absolute path of {what}, without .."));
    }
}

fn localpath(fields: &Fields, findings: &mut Findings) -> Option<LocalPath> {
    let path = fields.bounded_text("mount_source_path", URL_CHARS, true, findings);
    if let Some(path) = &path {
        check_path(path, &fields.path("mount_source_path"), "a folder", findings);
    }
    let categories = categories(fields, findings);
    let evidence = fields.switch("evidence", findings);
    Some(LocalPath { mount_source_path: path?, categories, evidence })
}

fn mqtt(fields: &Fields, findings: &mut Findings) -> Option<Mqtt> {
    let url = fields.bounded_text("url", URL_CHARS, true, findings);
    if let Some(url) = &url {
        check_address(url, &["mqtt", "mqtts"], &fields.path("url"), findings);
    }
    let topic = fields.bounded_text("topic", TOPIC_CHARS, false, findings).unwrap_or_else(|| TOPIC.to_owned());
    if topic.chars().any(|c| matches!(c, '+' | '#') || c.is_control()) || topic.split('/').any(str::is_empty) {
        let found = excerpt(&topic);
        findings.invalid(
            fields.path("topic"),
            format!(
                "is {found}, expected what all topics begin with, such as site/faces, without +, # and empty levels"
            ),
        );
    }
    if let Some(qos) = fields.get("qos")
        && qos.as_f64() != Some(1.0)
    {
        let found = shown_scalar(qos);
        findings.invalid(fields.path("qos"), format!("is {found}, expected 1: less loses messages, more adds nothing"));
    }
    let discovery = fields.get("discovery").is_none() || fields.switch("discovery", findings);
    let categories = categories(fields, findings);
    let transport = transport(fields, findings);
    let evidence = fields.switch("evidence", findings);
    Some(Mqtt { url: url?, topic, categories, discovery, transport, evidence })
}

/// Ours: the best picture of each track becomes a sample of the gate buffer.
fn gate_buffer(fields: &Fields, findings: &mut Findings) -> GateBuffer {
    if fields.get("valid_hours").is_none() {
        findings.invalid(fields.path("valid_hours"), "is required, expected a whole number from 1 to 87600");
    }
    let valid_hours = fields.whole("valid_hours", 1..=MAX_VALID_HOURS, 1, findings);
    let mut gates = Vec::new();
    for (index, entry) in fields.array("gates", findings).unwrap_or_default().iter().enumerate() {
        match entry.as_str().filter(|gatenum| gatenum.chars().count() == GATENUM_CHARS) {
            Some(gatenum) => gates.push(gatenum.to_owned()),
            None => findings.invalid(
                format!("{}[{index}]", fields.path("gates")),
                format!("expected the gatenum of a gate, a string of {GATENUM_CHARS} characters"),
            ),
        }
    }
    GateBuffer { gates, valid_hours }
}

/// Each kind once, in the order given; FaceImage alone where the field is left out.
fn categories(fields: &Fields, findings: &mut Findings) -> Vec<Category> {
    const EXPECTED: &str = "expected FaceImage, OriginImage or both";
    let path = fields.path("data_category");
    if fields.get("data_category").is_none() {
        return vec![Category::FaceImage];
    }
    let Some(entries) = fields.array("data_category", findings) else { return Vec::new() };
    if entries.is_empty() {
        findings.invalid(&path, format!("is empty, {EXPECTED}"));
    }
    let mut categories = Vec::new();
    for (index, entry) in entries.iter().enumerate() {
        match category(entry) {
            Ok(category) if categories.contains(&category) => {}
            Ok(category) => categories.push(category),
            Err(found) => findings.invalid(format!("{path}[{index}]"), format!("is {found}, {EXPECTED}")),
        }
    }
    categories
}

fn category(entry: &Value) -> Result<Category, String> {
    match entry.as_str() {
        Some("FaceImage") => Ok(Category::FaceImage),
        Some("OriginImage") => Ok(Category::OriginImage),
        Some(other) => Err(excerpt(other)),
        None => Err(kind(entry).to_owned()),
    }
}
