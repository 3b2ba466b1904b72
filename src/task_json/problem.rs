//! Why a task body was refused, in the form that a request's answer and a command's output need.

use std::fmt;

use crate::domain::Invalid;

use super::locate::{Position, locate};

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TaskProblem {
    /// Line and column count from 1.
    NotJson { line: usize, column: usize, expected: String },
    /// At least one.
    Invalid(Vec<Invalid>),
    /// Well formed, but more than the specification allows. At least one.
    OverSpecification(Vec<Invalid>),
}

impl TaskProblem {
    pub(super) fn not_json(error: &serde_json::Error, text: &[u8]) -> Self {
        let (line, column) = (error.line(), error.column());
        let message = error.to_string();
        let mut expected = match message.rfind(" at line ") {
            Some(end) => message[..end].to_owned(),
            None => message,
        };
        let failing = text.split(|&b| b == b'\n').nth(line.saturating_sub(1)).unwrap_or_default();
        if failing.windows(UNESCAPED_ROI.len()).any(|part| part == UNESCAPED_ROI) {
            expected.push_str("; target_roi is a string, so each quotation mark inside it is written \\\"");
        }
        Self::NotJson { line, column, expected }
    }

    /// `file:line:col: field: message`, one line a fault. `text` is what was parsed.
    pub fn lines(&self, file: &str, text: &[u8]) -> Vec<String> {
        match self {
            Self::NotJson { line, column, expected } => vec![format!("{file}:{line}:{column}: not JSON: {expected}")],
            Self::Invalid(faults) | Self::OverSpecification(faults) => faults
                .iter()
                .map(|fault| {
                    let Position { line, column } = locate(text, &fault.field);
                    format!("{file}:{line}:{column}: {fault}")
                })
                .collect(),
        }
    }
}

/// What a body looks like whose `target_roi` lost its backslashes.
const UNESCAPED_ROI: &[u8] = b"\"{\"";

impl fmt::Display for TaskProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotJson { line, column, expected } => write!(f, "not JSON: line {line} column {column}: {expected}"),
            Self::Invalid(faults) | Self::OverSpecification(faults) => {
                for (position, fault) in faults.iter().enumerate() {
                    let separator = if position == 0 { "" } else { "; " };
                    write!(f, "{separator}{fault}")?;
                }
                Ok(())
            }
        }
    }
}

impl std::error::Error for TaskProblem {}
