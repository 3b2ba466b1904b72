//! `sim receiver`: takes, verifies and counts messages until it is told to stop, then sums up.

use std::env::{self, VarError};
use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Context, bail};
use tokio::signal::unix::{SignalKind, signal};

use crate::sim::receiver::{Fault, Options, Print, Receiver, Summary};

const SECRET_VARIABLE: &str = "FACE_EDGE_WEBHOOK_SECRET";

/// A webhook receiver that verifies every message, counts, shows the pictures, and fails on demand.
///
/// Its page is at the address that it listens on. With FACE_EDGE_WEBHOOK_SECRET in the environment every message
/// must be signed with it. Exits 1 when a message was not as documented or out of order.
#[derive(clap::Args, Debug)]
#[command(after_help = "Example:\n  face-edge sim receiver --save faces --fault status=500")]
pub struct Args {
    /// Address and port to listen on
    #[arg(long, default_value = "127.0.0.1:9000")]
    listen: SocketAddr,
    /// Folder for the pictures
    #[arg(long, value_name = "DIR")]
    save: Option<PathBuf>,
    /// status=500 | status=429,retry-after=7 | delay=2s | hang | cut
    #[arg(long)]
    fault: Option<Fault>,
    /// One JSON object a message, and one at the end
    #[arg(long)]
    json: bool,
}

pub async fn run(args: &Args) -> anyhow::Result<()> {
    // Before anything is announced: whoever waits for the announcement may stop us at once.
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let options = Options {
        save: args.save.clone(),
        secret: secret()?,
        fault: args.fault.clone(),
        print: if args.json { Print::Json } else { Print::Text },
    };
    let receiver = Receiver::start(args.listen, options).await?;
    eprintln!("listening on {}, pictures at http://{}/", receiver.url(), receiver.address());
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    let summary = receiver.stop().await;
    println!("{}", if args.json { serde_json::to_string(&summary)? } else { summary.to_string() });
    judge(&summary)
}

fn secret() -> anyhow::Result<Option<String>> {
    match env::var(SECRET_VARIABLE) {
        Ok(secret) => Ok(Some(secret)),
        Err(VarError::NotPresent) => Ok(None),
        Err(error) => Err(error).context(SECRET_VARIABLE),
    }
}

fn judge(summary: &Summary) -> anyhow::Result<()> {
    if summary.bad > 0 || summary.out_of_order > 0 {
        bail!("{} messages were not as documented, {} out of order", summary.bad, summary.out_of_order);
    }
    Ok(())
}
