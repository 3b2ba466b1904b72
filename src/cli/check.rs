//! `check TASK.json…`: validates task files and says what each would do.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::what_if;
use crate::detect::{Catalog, SizeWindow, plan_input};
use crate::task_json::{TaskProblem, TaskSpec, describe};

/// Validate task files and say what each would do
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  face-edge check tasks/door.json\n  face-edge check --against data new-door.json")]
pub struct Args {
    /// Task files, as POSTed to the service
    #[arg(required = true, value_name = "TASK.json")]
    files: Vec<PathBuf>,
    /// Also try the rules on what the task of that name has seen, in the folder of a service: which pictures would be
    /// added and which would go
    #[arg(long, value_name = "DATA_DIR")]
    against: Option<PathBuf>,
    /// The stored task to compare with, where its name is another
    #[arg(long, value_name = "ID", requires = "against")]
    task: Option<String>,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

/// Why `check` did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// Faults in the files, one line each: `file:line:col: field: message`. The exit code is 2.
    #[error("{}", .0.join("\n"))]
    BadFiles(Vec<String>),
    #[error("the result cannot be written: {0}")]
    Output(#[from] io::Error),
}

/// The detector's input for a 1080p picture, by the default model's rule.
pub fn input_size(spec: &TaskSpec) -> Option<String> {
    let catalog = Catalog::open(None).ok()?;
    let window = SizeWindow { min_px: spec.rules.min_size_px, max_px: spec.rules.max_size_px };
    let plan = plan_input(catalog.entry("default").ok()?, (1920, 1080), window);
    let passes: Vec<_> = plan.passes.iter().map(|pass| format!("{}×{}", pass.width, pass.height)).collect();
    Some(format!("{} (for 1920×1080 pictures)", passes.join(" and ")))
}

/// Checks every file before it fails. `input_size` says which detector input is chosen for a task, such as `640×384`.
pub fn run(
    args: &Args,
    out: &mut dyn Write,
    input_size: impl Fn(&TaskSpec) -> Option<String>,
) -> Result<(), CheckError> {
    let mut faults = Vec::new();
    let mut reports = Vec::new();
    for file in &args.files {
        match check(file, &input_size) {
            Ok(words) if args.json => reports.push(report(file, &words, &[])),
            Ok(words) => writeln!(out, "{}: valid\n{}", file.display(), words.join("\n"))?,
            Err(lines) => {
                reports.push(report(file, &[], &lines));
                faults.extend(lines);
            }
        }
    }
    if args.json {
        writeln!(out, "{:#}", Value::from(reports))?;
    }
    if faults.is_empty() { Ok(()) } else { Err(CheckError::BadFiles(faults)) }
}

/// What the files' rules would change, as far as `--against` asks for it. The files are valid.
pub fn against(args: &Args, out: &mut dyn Write) -> anyhow::Result<()> {
    let Some(data_dir) = &args.against else { return Ok(()) };
    for file in &args.files {
        let spec = read_task(file).map_err(CheckError::BadFiles)?;
        what_if::run(data_dir, &spec, args.task.as_deref(), args.json, out)?;
    }
    Ok(())
}

/// What the file's task would do, or its faults, each with its place.
fn check(file: &Path, input_size: impl Fn(&TaskSpec) -> Option<String>) -> Result<Vec<String>, Vec<String>> {
    let spec = read_task(file)?;
    Ok(describe(&spec, input_size(&spec).as_deref()))
}

/// A task file, or its faults as `file:line:col: field: message`.
pub fn read_task(file: &Path) -> Result<TaskSpec, Vec<String>> {
    let name = file.display().to_string();
    let text = std::fs::read(file).map_err(|error| vec![format!("{name}: cannot be read ({error})")])?;
    TaskSpec::parse(&text).map_err(|problem: TaskProblem| problem.lines(&name, &text))
}

fn report(file: &Path, words: &[String], faults: &[String]) -> Value {
    json!({"file": file.display().to_string(), "valid": faults.is_empty(), "does": words, "faults": faults})
}
