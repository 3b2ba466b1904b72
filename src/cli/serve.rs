//! `serve`: the service.

use std::io::IsTerminal;
use std::net::SocketAddr;
use std::path::PathBuf;

use super::wait_for;
use crate::app::App;
use crate::config::{Config, LogFormat};

#[derive(clap::Args)]
#[command(after_help = "Example:\n  face-edge serve --tasks tasks/")]
pub struct Args {
    /// Configuration; face-edge.toml in the working directory is read where there is one
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where the service keeps its database [default: ./data]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Where it answers [default: 127.0.0.1:8800]
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    /// Also runs the task files of this folder, following changes
    #[arg(long, value_name = "DIR")]
    tasks: Option<PathBuf>,
}

pub fn run(args: &Args) -> anyhow::Result<()> {
    let mut config = Config::load(args.config.as_deref())?;
    if let Some(data_dir) = &args.data_dir {
        config.data_dir.clone_from(data_dir);
    }
    if let Some(listen) = args.listen {
        config.listen = listen;
    }
    if let Some(tasks) = &args.tasks {
        config.tasks = Some(tasks.clone());
    }
    start_logging(config.log);
    wait_for(async { App::start(&config).await?.run_until_signal().await })
}

/// To stderr; `RUST_LOG` chooses what, as usual. Colours only where a person looks on.
fn start_logging(format: LogFormat) {
    use tracing_subscriber::EnvFilter;
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info,ort=warn"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let builder = if std::io::stderr().is_terminal() { builder } else { builder.with_ansi(false) };
    match format {
        LogFormat::Text => builder.init(),
        LogFormat::Json => builder.json().init(),
    }
}
