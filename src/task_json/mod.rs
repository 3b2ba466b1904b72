//! A task as people write it: the create body of face-tasks.md, as JSON in a request or in a file.
//!
//! Parsing is pure and total: any bytes give either a `TaskSpec`, in which every value is valid, or a `TaskProblem`
//! that names every fault at once. Fields that we do not know are kept and given back. Nothing that is said about a
//! fault repeats an address, a header or a password.

mod emit;
mod fields;
mod locate;
mod outputs;
mod problem;
mod roi;
mod rules;
mod source;
mod words;

use serde_json::Value;

use crate::domain::{Outputs, Rules, Source, Task, TaskId};
use fields::{Fields, Findings};

pub use emit::{TaskFacts, TaskObject, mask_secrets, without_password};
pub use problem::TaskProblem;
pub use roi::check_roi_in_frame;
pub use source::check_stream_address;
pub use words::describe;

/// More inputs than this in one body are over the specification.
pub const MAX_INPUTS: usize = 100;
const NAME_CHARS: usize = 100;
const DESCRIPTION_CHARS: usize = 500;
const REFERENCE_CHARS: usize = 128;

/// A valid create body.
#[derive(Debug, Clone, PartialEq)]
pub struct TaskSpec {
    pub name: String,
    pub description: Option<String>,
    pub service_version: String,
    pub edge_pool_id: String,
    /// The licence (`sn`) that channels are taken from.
    pub resource_order_id: Option<String>,
    /// At least one.
    pub inputs: Vec<Input>,
    pub outputs: Outputs,
    pub rules: Rules,
    raw: Value,
}

/// One entry of `input.data`.
#[derive(Debug, Clone, PartialEq)]
pub struct Input {
    pub source: Source,
    /// As given, else the entry's position; unique in its body.
    pub index: u32,
}

impl TaskSpec {
    pub fn parse(text: &[u8]) -> Result<Self, TaskProblem> {
        let raw = serde_json::from_slice(text).map_err(|error| TaskProblem::not_json(&error, text))?;
        Self::from_value(raw)
    }

    pub fn from_value(mut raw: Value) -> Result<Self, TaskProblem> {
        let mut findings = Findings::default();
        let spec = read(&raw, &mut findings);
        match (spec, findings.into_problem()) {
            (_, Some(problem)) => Err(problem),
            (None, None) => Err(TaskProblem::Invalid(vec![fields::not_an_object("", &raw)])),
            (Some(mut spec), None) => {
                roi::write_as_text(&mut raw);
                spec.raw = raw;
                Ok(spec)
            }
        }
    }

    /// The body as it is given back: unknown fields kept, `target_roi` a string.
    pub fn raw(&self) -> &Value {
        &self.raw
    }

    /// The body of the task that is made of one input: `input.data` holds that entry alone.
    pub fn body_of_input(&self, position: usize) -> Value {
        let mut body = self.raw.clone();
        if let Some(Value::Array(data)) = body.pointer_mut("/input/data")
            && position < data.len()
        {
            *data = vec![data.swap_remove(position)];
        }
        body
    }

    /// One task an input, in the body's order, for as many ids as are given.
    pub fn tasks(&self, ids: impl IntoIterator<Item = TaskId>) -> Vec<Task> {
        self.inputs.iter().zip(ids).map(|(input, id)| self.task(input, id)).collect()
    }

    /// The task of a stored body, which has one input; `index` is what it had in the body that made it.
    pub fn stored_task(body: &str, id: TaskId, index: u32) -> Result<Task, TaskProblem> {
        let spec = Self::parse(body.as_bytes())?;
        let input = Input { source: spec.inputs[0].source.clone(), index };
        Ok(spec.task(&input, id))
    }

    fn task(&self, input: &Input, id: TaskId) -> Task {
        Task {
            id,
            name: self.name.clone(),
            edge_pool_id: self.edge_pool_id.clone(),
            resource_order_id: self.resource_order_id.clone(),
            index: input.index,
            source: input.source.clone(),
            outputs: self.outputs.clone(),
            rules: self.rules.clone(),
        }
    }
}

/// `None` where something required is missing or wrong, which then is among the findings.
fn read(raw: &Value, findings: &mut Findings) -> Option<TaskSpec> {
    let body = Fields::of(raw, "", findings)?;
    let name = body.required_text("name", findings).map(str::to_owned);
    if let Some(name) = &name {
        check_name(name, findings);
    }
    let description = body.text("description", findings).map(str::to_owned);
    if description.as_ref().is_some_and(|text| text.chars().count() > DESCRIPTION_CHARS) {
        findings.invalid("description", format!("is longer than {DESCRIPTION_CHARS} characters"));
    }
    let service_version = body.required_text("service_version", findings).map(str::to_owned);
    if let Some(version) = &service_version
        && !is_version(version)
    {
        let found = fields::excerpt(version);
        findings.invalid("service_version", format!("is {found}, expected digits.digits like 3.0, up to three each"));
    }
    let edge_pool_id = body.bounded_text("edge_pool_id", REFERENCE_CHARS, true, findings);
    let resource_order_id = body.bounded_text("resource_order_id", REFERENCE_CHARS, false, findings);
    let inputs = source::read(&body, findings);
    let outputs = outputs::read(&body, findings);
    let rules = rules::read(&body, findings);
    Some(TaskSpec {
        name: name?,
        description,
        service_version: service_version?,
        edge_pool_id: edge_pool_id?,
        resource_order_id,
        inputs: inputs?,
        outputs: outputs?,
        rules,
        raw: Value::Null,
    })
}

fn check_name(name: &str, findings: &mut Findings) {
    let allowed = "1 to 100 characters: Chinese, letters, digits, - and _";
    let count = name.chars().count();
    if count == 0 || count > NAME_CHARS {
        findings.invalid("name", format!("has {count} characters, expected {allowed}"));
    }
    if let Some(odd) = name.chars().find(|&c| !is_name_char(c)) {
        findings.invalid("name", format!("holds {odd:?}, expected {allowed}"));
    }
}

fn is_name_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '_') || is_chinese(c)
}

/// The CJK ideographs of Unicode: the first block, extension A, compatibility forms, and the planes above.
fn is_chinese(c: char) -> bool {
    matches!(c, '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{323af}' | '\u{3007}')
}

/// `n.n`, one to three digits each.
pub fn is_version(text: &str) -> bool {
    let digits = |part: &str| (1..=3).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit());
    text.split_once('.').is_some_and(|(major, minor)| digits(major) && digits(minor))
}
