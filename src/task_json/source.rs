//! `input`: one type, and one entry of `data` a stream.

use std::collections::HashSet;

use serde_json::Value;
use url::Url;

use crate::domain::Source;

use super::fields::{Fields, Findings, excerpt, kind, shown_scalar};
use super::outputs::URL_CHARS;
use super::problem::TaskProblem;
use super::{Input, MAX_INPUTS};

const CAMERA_ID_CHARS: usize = 63;
const STREAM_SCHEMES: [&str; 6] = ["rtsp", "rtsps", "http", "https", "file", "v4l2"];

#[derive(Clone, Copy)]
enum InputType {
    EdgeCamera,
    Url,
    EdgeRestful,
    Vcn,
}

/// A platform's address and account, beside `data`.
#[derive(Clone)]
struct Platform {
    ip: String,
    port: u16,
    username: String,
    password: String,
}

pub(super) fn read(body: &Fields, findings: &mut Findings) -> Option<Vec<Input>> {
    let input = body.required_object("input", findings)?;
    let kind = input_type(&input, findings);
    let data = input.array("data", findings).unwrap_or_default();
    if data.is_empty() && input.get("data").is_none_or(Value::is_array) {
        findings.invalid("input.data", "is required, expected an array of at least one entry");
    }
    if data.len() > MAX_INPUTS {
        findings.over("input.data", format!("holds {} entries, at most {MAX_INPUTS}", data.len()));
        return None;
    }
    let kind = kind?;
    let platform = if matches!(kind, InputType::Vcn) { platform(&input, findings) } else { None };
    let indices = indices(data, findings);
    let sources: Vec<_> = data
        .iter()
        .enumerate()
        .map(|(position, entry)| {
            let fields = Fields::of(entry, &format!("input.data[{position}]"), findings)?;
            source(kind, &fields, platform.as_ref(), findings)
        })
        .collect();
    let inputs = sources.into_iter().zip(indices);
    inputs.map(|(source, index)| Some(Input { source: source?, index })).collect()
}

fn input_type(input: &Fields, findings: &mut Findings) -> Option<InputType> {
    let given = input.required_text("type", findings)?;
    let expected = "expected edgecamera, url, edgerestful or vcn";
    let refusal = match given {
        "edgecamera" => return Some(InputType::EdgeCamera),
        "url" => return Some(InputType::Url),
        "edgerestful" => return Some(InputType::EdgeRestful),
        "vcn" => return Some(InputType::Vcn),
        "vis" | "obs" => format!("is {given:?}, an input of the cloud only; {expected}"),
        other => format!("is {}, {expected}", excerpt(other)),
    };
    findings.invalid("input.type", refusal);
    None
}

/// Each entry's `index`, or its position where it has none; no two may be the same.
fn indices(data: &[Value], findings: &mut Findings) -> Vec<u32> {
    let mut seen = HashSet::new();
    let mut indices = Vec::with_capacity(data.len());
    for (position, entry) in data.iter().enumerate() {
        let path = format!("input.data[{position}].index");
        let given = entry.get("index").filter(|value| !value.is_null());
        let whole = |n: &f64| n.fract() == 0.0 && (0.0..=f64::from(u32::MAX)).contains(n);
        let index = match given.map(|value| value.as_f64().filter(whole)) {
            None => position as u32,
            Some(Some(number)) => number as u32,
            Some(None) => {
                let found = given.map(shown_scalar).unwrap_or_default();
                findings.invalid(path, format!("is {found}, expected a whole number of at least 0"));
                continue;
            }
        };
        if !seen.insert(index) {
            let message = format!("is {index}, which another entry has already; expected each index once");
            findings.invalid(path, message);
        }
        indices.push(index);
    }
    indices
}

fn source(kind: InputType, entry: &Fields, platform: Option<&Platform>, findings: &mut Findings) -> Option<Source> {
    match kind {
        InputType::EdgeCamera => {
            Some(Source::Camera { id: entry.bounded_text("id", CAMERA_ID_CHARS, true, findings)? })
        }
        InputType::Url => {
            let url = entry.bounded_text("url", URL_CHARS, true, findings)?;
            check_address(&url, &STREAM_SCHEMES, &entry.path("url"), findings);
            Some(Source::Url { url })
        }
        InputType::EdgeRestful => restful(entry, findings),
        InputType::Vcn => {
            let device_id = entry.bounded_text("device_id", CAMERA_ID_CHARS, true, findings);
            let stream_type = entry.whole("stream_type", 1..=3, 1, findings) as u8;
            let Platform { ip, port, username, password } = platform?.clone();
            Some(Source::Vcn { ip, port, username, password, device_id: device_id?, stream_type })
        }
    }
}

fn restful(entry: &Fields, findings: &mut Findings) -> Option<Source> {
    let url = entry.bounded_text("url", URL_CHARS, true, findings);
    if let Some(url) = &url {
        check_address(url, &["http", "https"], &entry.path("url"), findings);
    }
    let headers = entry.headers("headers", findings);
    let certificate_check = match entry.get("certificate_check") {
        None => true,
        Some(Value::Bool(flag)) => *flag,
        Some(other) => {
            findings.invalid(entry.path("certificate_check"), format!("is {}, expected true or false", kind(other)));
            true
        }
    };
    let rtsp_path_in_response = entry.bounded_text("rtsp_path_in_response", URL_CHARS, true, findings);
    Some(Source::Restful { url: url?, headers, certificate_check, rtsp_path_in_response: rtsp_path_in_response? })
}

fn platform(input: &Fields, findings: &mut Findings) -> Option<Platform> {
    let vcn = input.required_object("vcn", findings)?;
    let ip = vcn.bounded_text("ip", URL_CHARS, true, findings);
    let port = vcn.get("port").is_some().then(|| vcn.whole("port", 1..=65_535, 1, findings) as u16);
    if port.is_none() {
        findings.invalid("input.vcn.port", "is required, expected a whole number from 1 to 65535");
    }
    let username = vcn.required_text("username", findings);
    let password = vcn.required_text("password", findings);
    Some(Platform { ip: ip?, port: port?, username: username?.to_owned(), password: password?.to_owned() })
}

/// Of an address that a camera is opened by, `url` in messages: what is wrong with it.
pub fn check_stream_address(field: &str, address: &str) -> Result<(), TaskProblem> {
    let mut findings = Findings::default();
    if address.chars().count() > URL_CHARS {
        findings.invalid(field, format!("is longer than {URL_CHARS} characters"));
    }
    check_address(address, &STREAM_SCHEMES, field, &mut findings);
    findings.into_problem().map_or(Ok(()), Err)
}

/// An address of one of `schemes`, with a host (network) or a path (`file`, `v4l2`). The message never repeats it.
pub(super) fn check_address(address: &str, schemes: &[&str], field: &str, findings: &mut Findings) {
    let expected = || format!("expected an address that begins with {}", schemes.join("://, ") + "://");
    let url = match Url::parse(address) {
        Ok(url) => url,
        Err(error) => return findings.invalid(field, format!("is no address ({error}), {}", expected())),
    };
    if !schemes.contains(&url.scheme()) || !address.contains("://") {
        return findings.invalid(field, format!("has the scheme {}, {}", excerpt(url.scheme()), expected()));
    }
    if address.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return findings.invalid(field, "holds a space or a control character; write it as %20 and the like");
    }
    let host = url.host_str().unwrap_or_default();
    match url.scheme() {
        "file" if !host.is_empty() => findings.invalid(field, "names a host; a local file is file:///absolute/path"),
        "file" | "v4l2" if url.path().len() < 2 => findings.invalid(field, "names no path"),
        "file" | "v4l2" => {}
        _ if host.is_empty() => findings.invalid(field, "names no host"),
        _ => {}
    }
}
