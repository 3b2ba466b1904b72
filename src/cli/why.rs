//! `why`: what the rules decided about a task's tracks, or about one of them. Works beside a running service.

use std::io::Write;
use std::path::PathBuf;

use anyhow::bail;
use serde_json::json;

use crate::store::{Decision, Store};

/// Why a face was sent or not: the chain of decisions
#[derive(clap::Args, Debug)]
#[command(after_help = "Example:\n  face-edge why 0123456789abcdef0123456789abcdef")]
pub struct Args {
    /// The task's id
    task: String,
    /// One track, as messages name it; all where left out
    face_id: Option<String>,
    /// The service's folder
    #[arg(long, default_value = "data", env = "FACE_EDGE_DATA_DIR")]
    data_dir: PathBuf,
    /// The newest so many
    #[arg(long, default_value_t = 1000)]
    limit: u32,
    /// One JSON object a decision
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Args, out: &mut dyn Write) -> anyhow::Result<()> {
    let store = Store::attach(&args.data_dir)?;
    let face_id = args.face_id.as_deref().map(str::to_ascii_lowercase);
    let decisions = store.decisions(&args.task, face_id.as_deref(), args.limit).wait()?;
    if decisions.is_empty() {
        bail!("nothing is known about that (any more): the newest 100000 decisions are kept; is the task's id right?");
    }
    for decision in &decisions {
        if args.json {
            writeln!(out, "{}", to_json(decision))?;
        } else {
            writeln!(out, "{}  track {}  {}", time(decision), short(&decision.face_id), decision.what)?;
        }
    }
    Ok(())
}

fn to_json(decision: &Decision) -> serde_json::Value {
    json!({"task_id": decision.task_id, "face_id": decision.face_id, "at_ms": decision.at.0,
           "stream_ms": decision.stream_ms, "what": decision.what})
}

fn time(decision: &Decision) -> String {
    let time = chrono::DateTime::from_timestamp_millis(decision.at.0).unwrap_or_default();
    let time = time.to_rfc3339_opts(chrono::SecondsFormat::Millis, true);
    format!("{time}  {:>9.2} s", decision.stream_ms as f64 / 1000.0)
}

fn short(face_id: &str) -> &str {
    face_id.get(..8).unwrap_or(face_id)
}
