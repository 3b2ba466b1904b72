//! Reading typed fields out of a JSON object, every fault collected under the field's path.
//! A field that is `null` counts as left out. Strings are not quoted in messages here: they may be secrets.

use std::ops::RangeInclusive;

use serde_json::{Map, Value};

use crate::domain::Invalid;

use super::problem::TaskProblem;

/// All that was found wrong so far.
#[derive(Default)]
pub(super) struct Findings {
    invalid: Vec<Invalid>,
    over: Vec<Invalid>,
}

impl Findings {
    pub fn invalid(&mut self, field: impl Into<String>, message: impl Into<String>) {
        self.invalid.push(Invalid::new(field, message));
    }

    /// Well formed, but more of it than the specification allows.
    pub fn over(&mut self, field: impl Into<String>, message: impl Into<String>) {
        self.over.push(Invalid::new(field, message));
    }

    pub fn into_problem(mut self) -> Option<TaskProblem> {
        if self.invalid.is_empty() {
            return (!self.over.is_empty()).then_some(TaskProblem::OverSpecification(self.over));
        }
        self.invalid.append(&mut self.over);
        Some(TaskProblem::Invalid(self.invalid))
    }
}

/// One JSON object and where it is.
pub(super) struct Fields<'a> {
    map: &'a Map<String, Value>,
    path: String,
}

impl<'a> Fields<'a> {
    pub fn of(value: &'a Value, path: &str, findings: &mut Findings) -> Option<Self> {
        let Value::Object(map) = value else {
            let invalid = not_an_object(path, value);
            findings.invalid(invalid.field, invalid.message);
            return None;
        };
        Some(Self { map, path: path.to_owned() })
    }

    pub fn path(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    pub fn get(&self, key: &str) -> Option<&'a Value> {
        self.map.get(key).filter(|value| !value.is_null())
    }

    pub fn text(&self, key: &str, findings: &mut Findings) -> Option<&'a str> {
        let value = self.get(key)?;
        if value.as_str().is_none() {
            findings.invalid(self.path(key), format!("is {}, expected a string", kind(value)));
        }
        value.as_str()
    }

    pub fn required_text(&self, key: &str, findings: &mut Findings) -> Option<&'a str> {
        self.require(key, "a string", findings)?;
        self.text(key, findings)
    }

    /// A string of 1 to `max_chars` characters.
    pub fn bounded_text(&self, key: &str, max_chars: usize, required: bool, findings: &mut Findings) -> Option<String> {
        let text = if required { self.required_text(key, findings) } else { self.text(key, findings) }?;
        let count = text.chars().count();
        if count > max_chars || (count == 0 && required) {
            findings.invalid(self.path(key), format!("has {count} characters, expected 1 to {max_chars}"));
            return None;
        }
        (count > 0).then(|| text.to_owned())
    }

    pub fn object(&self, key: &str, findings: &mut Findings) -> Option<Fields<'a>> {
        Fields::of(self.get(key)?, &self.path(key), findings)
    }

    pub fn required_object(&self, key: &str, findings: &mut Findings) -> Option<Fields<'a>> {
        self.require(key, "an object", findings)?;
        self.object(key, findings)
    }

    pub fn array(&self, key: &str, findings: &mut Findings) -> Option<&'a [Value]> {
        let value = self.get(key)?;
        if !value.is_array() {
            findings.invalid(self.path(key), format!("is {}, expected an array", kind(value)));
        }
        value.as_array().map(Vec::as_slice)
    }

    /// A number within `range`; `default` where it is left out or wrong.
    pub fn number(&self, key: &str, range: RangeInclusive<f64>, default: f64, findings: &mut Findings) -> f64 {
        let Some(value) = self.get(key) else { return default };
        match value.as_f64().filter(|number| range.contains(number)) {
            Some(number) => number,
            None => {
                let found = shown_scalar(value);
                findings.invalid(self.path(key), format!("is {found}, expected a number {}", bounds(&range)));
                default
            }
        }
    }

    /// A whole number within `range` (`1` and `1.0` are the same); `default` where it is left out or wrong.
    pub fn whole(&self, key: &str, range: RangeInclusive<u32>, default: u32, findings: &mut Findings) -> u32 {
        let Some(value) = self.get(key) else { return default };
        match value
            .as_f64()
            .filter(|n| n.fract() == 0.0 && *n >= f64::from(*range.start()) && *n <= f64::from(*range.end()))
        {
            Some(number) => number as u32,
            None => {
                let bounds = bounds(&(f64::from(*range.start())..=f64::from(*range.end())));
                let found = shown_scalar(value);
                findings.invalid(self.path(key), format!("is {found}, expected a whole number {bounds}"));
                default
            }
        }
    }

    /// A switch, 0 or 1, off where it is left out.
    pub fn switch(&self, key: &str, findings: &mut Findings) -> bool {
        let Some(value) = self.get(key) else { return false };
        let number = value.as_f64();
        if number != Some(0.0) && number != Some(1.0) {
            findings.invalid(self.path(key), format!("is {}, expected 0 or 1", shown_scalar(value)));
        }
        number == Some(1.0)
    }

    /// Names and values of HTTP headers; empty where they are left out or wrong.
    pub fn headers(&self, key: &str, findings: &mut Findings) -> Vec<(String, String)> {
        let Some(fields) = self.object(key, findings) else { return Vec::new() };
        if fields.map.len() > MAX_HEADERS {
            findings.over(self.path(key), format!("holds {} headers, at most {MAX_HEADERS}", fields.map.len()));
            return Vec::new();
        }
        fields.map.iter().filter_map(|(name, value)| fields.header(name, value, findings)).collect()
    }

    fn header(&self, name: &str, value: &Value, findings: &mut Findings) -> Option<(String, String)> {
        if name.is_empty() || !name.bytes().all(is_token_byte) {
            findings.invalid(&self.path, format!("{} is no name of an HTTP header", excerpt(name)));
            return None;
        }
        let Some(text) = value.as_str() else {
            findings.invalid(self.path(name), format!("is {}, expected a string", kind(value)));
            return None;
        };
        if text.chars().any(|c| c.is_control() && c != '\t') {
            findings.invalid(self.path(name), "holds a line break or another control character, which no header may");
            return None;
        }
        Some((name.to_owned(), text.to_owned()))
    }

    fn require(&self, key: &str, expected: &str, findings: &mut Findings) -> Option<()> {
        if self.get(key).is_none() {
            findings.invalid(self.path(key), format!("is required, expected {expected}"));
            return None;
        }
        Some(())
    }
}

const MAX_HEADERS: usize = 64;
const EXCERPT_CHARS: usize = 40;

pub(super) fn not_an_object(path: &str, value: &Value) -> Invalid {
    let field = if path.is_empty() { "body" } else { path };
    Invalid::new(field, format!("is {}, expected an object", kind(value)))
}

/// What sort of value it is, without the value.
pub(super) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

/// A value that is no secret, for a message: numbers and words as they stand, the rest by their kind.
pub(super) fn shown_scalar(value: &Value) -> String {
    match value {
        Value::Number(number) => number.to_string(),
        Value::Bool(flag) => flag.to_string(),
        Value::String(text) => format!("the string {}", excerpt(text)),
        other => kind(other).to_owned(),
    }
}

/// A quoted text, shortened.
pub(super) fn excerpt(text: &str) -> String {
    let start: String = text.chars().take(EXCERPT_CHARS).collect();
    if start.len() < text.len() { format!("{start:?}…") } else { format!("{start:?}") }
}

fn bounds(range: &RangeInclusive<f64>) -> String {
    match (*range.start(), *range.end()) {
        (low, high) if high >= UNBOUNDED => format!("of at least {low}"),
        (low, high) => format!("from {low} to {high}"),
    }
}

/// From here on an upper bound only keeps arithmetic safe; messages leave it out.
pub(super) const UNBOUNDED: f64 = 1e9;

fn is_token_byte(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b)
}
