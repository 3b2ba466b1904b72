//! `gate scan|erasures`: the nightly expiry scan by hand, and the log of what was erased; also while the service runs.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::bail;
use clap::Subcommand;
use indicatif::{ProgressBar, ProgressDrawTarget};
use serde_json::json;

use super::BadInput;
use crate::app::remote_gate_server;
use crate::config::Config;
use crate::gate::{self, Totals};
use crate::store::{ScanStep, Store};

/// A scan that takes longer shows how far it is.
const SHOW_PROGRESS_AFTER: Duration = Duration::from_secs(2);

/// Stored faces of ticket holders: the expiry scan, what was erased
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: face-edge gate scan 0001")]
pub struct Args {
    #[command(subcommand)]
    command: Command,
    /// The service's folder [default: data_dir of the configuration]
    #[arg(long, global = true)]
    data_dir: Option<PathBuf>,
    /// Print the result as JSON
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// The nightly expiry scan, now: of one gate, or of all
    #[command(after_help = "Example: face-edge gate scan --json")]
    Scan {
        /// Four characters, as the gate was registered
        gatenum: Option<String>,
    },
    /// Checks the log of erased faces from its first row to its last
    #[command(after_help = "Example: face-edge gate erasures")]
    Erasures,
}

pub async fn run(args: &Args, out: &mut (dyn Write + Send)) -> anyhow::Result<()> {
    let config = Config::load(None)?;
    let store = Store::attach(args.data_dir.as_ref().unwrap_or(&config.data_dir))?;
    match &args.command {
        Command::Scan { gatenum } => scan(&config, &store, gatenum.as_deref(), args.json, out).await,
        Command::Erasures => erasures(&store, args.json, out).await,
    }
}

async fn scan(
    config: &Config,
    store: &Store,
    gatenum: Option<&str>,
    json: bool,
    out: &mut (dyn Write + Send),
) -> anyhow::Result<()> {
    if !store.begin_scan(gatenum).await? {
        let gatenum = gatenum.unwrap_or_default();
        return Err(
            BadInput(format!("there is no gate {gatenum:?}; it is made known by /api/Servo/Gate/Register")).into()
        );
    }
    let mut gates: BTreeMap<String, Totals> = BTreeMap::new();
    let progress = ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden());
    let begun = crate::clock::monotonic();
    let mut each = |step: &ScanStep| {
        let gate = gates.entry(step.gatenum.clone()).or_default();
        gate.pages += 1;
        gate.looked_at += step.page.looked_at;
        gate.deleted += step.page.deleted;
        gate.erased += step.page.erased;
        if begun.elapsed() > SHOW_PROGRESS_AFTER {
            progress.set_draw_target(ProgressDrawTarget::stderr());
            progress.set_message(format!("gate {}: {} samples looked at", step.gatenum, gate.looked_at));
            progress.tick();
        }
    };
    gate::scan(store, gatenum, &mut each).await?;
    progress.finish_and_clear();
    print(&gates, json, out)?;
    match remote_gate_server(config)? {
        Some(remote) => scan_remote(store, &remote, gatenum).await,
        None => Ok(()),
    }
}

async fn scan_remote(store: &Store, remote: &gate::RemoteServer, gatenum: Option<&str>) -> anyhow::Result<()> {
    for gate in store.gates().await?.iter().filter(|gate| gatenum.is_none_or(|wanted| wanted == gate.gatenum)) {
        let mut after = Some(String::new());
        while let Some(place) = after {
            after = remote.page(&gate.gatenum, &place).await?;
        }
        eprintln!("gate {}: scanned at the remote gate server", gate.gatenum);
    }
    Ok(())
}

fn print(gates: &BTreeMap<String, Totals>, json: bool, out: &mut (dyn Write + Send)) -> anyhow::Result<()> {
    if json {
        let gates: Vec<_> = gates
            .iter()
            .map(|(gatenum, t)| {
                json!({"gatenum": gatenum, "pages": t.pages, "looked_at": t.looked_at, "deleted": t.deleted,
                       "erased": t.erased})
            })
            .collect();
        return Ok(writeln!(out, "{:#}", json!({"gates": gates}))?);
    }
    for (gatenum, totals) in gates {
        let Totals { pages, looked_at, deleted, erased } = totals;
        writeln!(
            out,
            "gate {gatenum}: {looked_at} samples looked at in {pages} pages, {deleted} delete events, {erased} erased"
        )?;
    }
    Ok(())
}

async fn erasures(store: &Store, json: bool, out: &mut (dyn Write + Send)) -> anyhow::Result<()> {
    let log = store.erasure_log().await?;
    if json {
        writeln!(out, "{:#}", json!({"rows": log.rows, "head": log.head, "broken_at": log.broken_at}))?;
    } else {
        writeln!(out, "{} erased faces, head {}", log.rows, if log.head.is_empty() { "none" } else { &log.head })?;
    }
    match log.broken_at {
        None => Ok(()),
        Some(row) => bail!("the log was tampered with: row {row} does not continue the chain"),
    }
}
