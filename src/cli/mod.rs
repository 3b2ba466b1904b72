//! The command line: one file a subcommand. Exit codes: 0 done, 2 a bad argument or input file, 1 any other failure.

use std::io::stdout;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Parser, Subcommand};

use crate::cli::check::CheckError;
use crate::config::ConfigError;
use crate::detect::{Catalog, DetectError, Detectors, Model, Runtime};
use crate::task_json::TaskProblem;

pub mod bench;
pub mod check;
pub mod detect;
pub mod gate;
pub mod keys;
pub mod models;
pub mod outbox;
pub mod run;
pub mod serve;
pub mod sim_camera;
pub mod sim_receiver;
mod surroundings;
pub mod verify;
mod what_if;
pub mod why;

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
    /// The service: cameras, rules, delivery and the control plane
    Serve(serve::Args),
    /// One task until its inputs end, no service needed
    Run(run::Args),
    /// Faces in pictures
    Detect(detect::Args),
    /// Validates task files and says what each would do
    Check(check::Args),
    /// Measures this box: decoding, detection, encoding, and how many cameras it holds
    Bench(bench::Args),
    /// The models of models.toml
    Models(models::Args),
    /// Deliveries: pending, delivered, dead
    Outbox(outbox::Args),
    /// Why a face was sent or not: the chain of decisions
    Why(why::Args),
    /// Checks a saved series of messages: pictures, signatures, gaps
    Verify(verify::Args),
    /// API keys and their roles
    Keys(keys::Args),
    /// Stored faces of ticket holders: the expiry scan, what was erased
    Gate(gate::Args),
    /// A simulated camera, a simulated receiver
    #[command(subcommand)]
    Sim(Sim),
}

#[derive(Subcommand)]
enum Sim {
    /// An RTSP camera that plays a video in a loop, or a drawn scene
    Camera(sim_camera::Args),
    /// A webhook receiver that verifies, counts and saves what arrives
    Receiver(sim_receiver::Args),
}

/// Which detector, and where its files are.
#[derive(Debug, clap::Args)]
pub struct DetectorArgs {
    /// The detection model, by its alias in models.toml
    #[arg(long, value_name = "ALIAS", default_value = "default")]
    model: String,
    /// A folder of models (with its subfolders), looked into before all others
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

    /// For the commands that look at pictures.
    fn detectors(&self) -> anyhow::Result<Detectors> {
        let (runtime, model) = self.load()?;
        Ok(Detectors::new(&runtime, model))
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
    let cli = Cli::parse();
    surroundings::arrange();
    let result = match cli.command {
        Command::Serve(args) => serve::run(&args),
        Command::Run(args) => run::run(&args),
        Command::Detect(args) => detect::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Check(args) => check::run(&args, &mut stdout(), check::input_size)
            .map_err(Into::into)
            .and_then(|()| check::against(&args, &mut stdout())),
        Command::Models(args) => models::run(&args),
        Command::Outbox(args) => outbox::run(&args),
        Command::Why(args) => why::run(&args, &mut stdout()),
        Command::Verify(args) => verify::run(&args, &mut stdout()),
        Command::Keys(args) => keys::run(&args, &mut stdout()),
        Command::Gate(args) => wait_for(gate::run(&args, &mut stdout())),
        Command::Sim(Sim::Camera(args)) => sim_camera::run(args),
        Command::Sim(Sim::Receiver(args)) => wait_for(sim_receiver::run(&args)),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("face-edge: {error:#}");
            ExitCode::from(if is_bad_input(&error) { 2 } else { 1 })
        }
    }
}

fn wait_for(command: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?.block_on(command)
}

fn is_bad_input(error: &anyhow::Error) -> bool {
    let names_no_model = |cause: &(dyn std::error::Error + 'static)| {
        matches!(cause.downcast_ref(), Some(DetectError::UnknownModel { .. } | DetectError::Catalog { .. }))
    };
    error.chain().any(|cause| {
        names_no_model(cause) || {
            cause.is::<BadInput>() || cause.is::<TaskProblem>() || cause.is::<ConfigError>() || cause.is::<CheckError>()
        }
    })
}
