//! The command line: one file a subcommand. Exit codes: 0 done, 2 a bad argument or input file, 1 any other failure.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Parser, Subcommand};

use crate::detect::{Catalog, Model, Runtime};
use crate::task_json::TaskProblem;

pub mod run;

#[derive(Parser)]
#[command(
    name = "face-edge",
    version,
    about = "Finds faces in camera video and sends each one on, once, at the right moment"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// One task until its inputs end, no service needed
    Run(run::Args),
}

/// Which detector, and where its files are.
#[derive(clap::Args)]
pub struct DetectorArgs {
    /// The detection model, by its alias in models.toml
    #[arg(long, value_name = "ALIAS", default_value = "default")]
    model: String,
    /// A folder of models, looked into before all others
    #[arg(long, value_name = "DIR")]
    models: Option<PathBuf>,
    /// ONNX Runtime's shared library
    #[arg(long, value_name = "FILE")]
    onnxruntime: Option<PathBuf>,
}

impl DetectorArgs {
    fn load(&self) -> anyhow::Result<(Runtime, Arc<Model>)> {
        let runtime = Runtime::load(self.onnxruntime.as_deref())?;
        let model = Catalog::open(self.models.as_deref())?.load(&self.model)?;
        Ok((runtime, Arc::new(model)))
    }
}

/// An address as it is; a file's name as a `file://` address.
fn file_url(text: &str) -> Result<String, BadInput> {
    if text.contains("://") {
        return Ok(text.to_owned());
    }
    let path = Path::new(text).canonicalize().map_err(|error| BadInput(format!("{text}: {error}")))?;
    let url = url::Url::from_file_path(&path).map_err(|()| BadInput(format!("{text}: not a usable path")))?;
    Ok(url.into())
}

/// What a person gave is wrong; the message says what and where.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct BadInput(pub String);

pub fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Run(args) => run::run(&args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("face-edge: {error:#}");
            ExitCode::from(if is_bad_input(&error) { 2 } else { 1 })
        }
    }
}

fn is_bad_input(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| cause.is::<BadInput>() || cause.is::<TaskProblem>())
}
