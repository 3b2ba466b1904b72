//! `output`: where the faces go. Several may stand side by side; at least one must.

use serde_json::Value;

use crate::domain::task::{GateBuffer, LocalPath, Webhook};
use crate::domain::{Category, Outputs};

use super::fields::{Fields, Findings, excerpt, kind};
use super::source::check_address;

pub(super) const URL_CHARS: usize = 1000;
/// Ten years.
const MAX_VALID_HOURS: u32 = 87_600;
const GATENUM_CHARS: usize = 4;

/// Outputs that others of this interface have and we have not, with the reason.
const REFUSED: [(&str, &str); 3] = [
    ("mqtt", "is not available yet; use webhook or localpath"),
    ("dis", "is an output of the cloud only; use webhook or localpath"),
    ("obs", "is an output of the cloud only; use webhook or localpath"),
];

pub(super) fn read(body: &Fields, findings: &mut Findings) -> Option<Outputs> {
    let output = body.required_object("output", findings)?;
    for (key, reason) in REFUSED {
        if output.get(key).is_some() {
            findings.invalid(output.path(key), reason);
        }
    }
    let known = ["webhook", "localpath", "gate_buffer"].into_iter().chain(REFUSED.map(|(key, _)| key));
    if known.into_iter().all(|key| output.get(key).is_none()) {
        findings.invalid("output", "names no output, expected webhook, localpath or gate_buffer");
    }
    let webhook = output.object("webhook", findings).and_then(|fields| webhook(&fields, findings));
    let localpath = output.object("localpath", findings).and_then(|fields| localpath(&fields, findings));
    let gate_buffer = output.object("gate_buffer", findings).map(|fields| gate_buffer(&fields, findings));
    Some(Outputs { webhook, localpath, gate_buffer })
}

fn webhook(fields: &Fields, findings: &mut Findings) -> Option<Webhook> {
    let url = fields.bounded_text("url", URL_CHARS, true, findings);
    if let Some(url) = &url {
        check_address(url, &["http", "https"], &fields.path("url"), findings);
    }
    let headers = fields.headers("headers", findings);
    let categories = categories(fields, findings);
    Some(Webhook { url: url?, headers, categories })
}

fn localpath(fields: &Fields, findings: &mut Findings) -> Option<LocalPath> {
    let path = fields.bounded_text("mount_source_path", URL_CHARS, true, findings);
    if let Some(path) = &path
        && (!path.starts_with('/') || path.contains('\0') || path.split('/').any(|part| part == ".."))
    {
        let found = excerpt(path);
        findings.invalid(
            fields.path("mount_source_path"),
            format!("is {found}, expected an absolute path of a folder, without .."),
        );
    }
    let categories = categories(fields, findings);
    Some(LocalPath { mount_source_path: path?, categories })
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
