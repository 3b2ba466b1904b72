//! `outbox`: what was delivered, what waits, what is dead and why. Works beside a running service.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::bail;
use serde_json::{Value, json};

use crate::clock;
use crate::domain::UnixMs;
use crate::store::{DeliveryId, DeliveryQuery, DeliveryRow, DeliveryState, Purge, Revive, Store};

/// Deliveries: pending, delivered, dead
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:\n  face-edge outbox list --state dead\n  face-edge outbox retry --all-dead")]
pub struct Args {
    #[command(subcommand)]
    command: Command,
    /// The service's folder
    #[arg(long, global = true, default_value = "data", env = "FACE_EDGE_DATA_DIR")]
    data_dir: PathBuf,
    /// Machine-readable output
    #[arg(long, global = true)]
    json: bool,
}

#[derive(clap::Subcommand, Debug)]
enum Command {
    /// Totals and the newest deliveries
    List {
        #[arg(long, value_enum)]
        state: Option<State>,
        /// Only of this task
        #[arg(long, value_name = "ID")]
        task: Option<String>,
        #[arg(long, default_value_t = 20)]
        limit: u32,
    },
    /// Everything about one delivery
    Show { id: i64 },
    /// Send dead deliveries again, those that still have their picture
    Retry {
        #[arg(required_unless_present = "all_dead", conflicts_with = "all_dead")]
        id: Option<i64>,
        #[arg(long)]
        all_dead: bool,
    },
    /// Forget messages whose deliveries are all delivered
    Purge {
        /// Dead ones too: they cannot be sent again
        #[arg(long)]
        dead: bool,
        /// Only those made at least so many hours ago
        #[arg(long, default_value_t = 0, value_name = "HOURS")]
        older_than: u64,
    },
}

#[derive(clap::ValueEnum, Debug, Clone, Copy)]
enum State {
    Pending,
    Claimed,
    Delivered,
    Dead,
}

pub fn run(args: &Args) -> anyhow::Result<()> {
    let store = Store::attach(&args.data_dir)?;
    match &args.command {
        Command::List { state, task, limit } => list(&store, args.json, *state, task.clone(), *limit),
        Command::Show { id } => show(&store, args.json, DeliveryId(*id)),
        Command::Retry { id, .. } => retry(&store, args.json, id.map(DeliveryId)),
        Command::Purge { dead, older_than } => purge(&store, args.json, *dead, *older_than),
    }
}

fn list(store: &Store, json: bool, state: Option<State>, task: Option<String>, limit: u32) -> anyhow::Result<()> {
    let totals = store.totals().wait()?;
    let query = DeliveryQuery { state: state.map(DeliveryState::from), task_id: task, before: None, limit };
    let rows = store.deliveries(query).wait()?;
    if json {
        let totals = json!({
            "pending": totals.pending, "claimed": totals.claimed, "delivered": totals.delivered, "dead": totals.dead,
            "pictures": totals.pictures, "picture_bytes": totals.picture_bytes,
        });
        let rows: Vec<_> = rows.iter().map(to_json).collect();
        println!("{}", json!({ "totals": totals, "deliveries": rows }));
        return Ok(());
    }
    println!(
        "{} pending, {} in hand, {} delivered, {} dead; {} pictures, {:.1} MB",
        totals.pending,
        totals.claimed,
        totals.delivered,
        totals.dead,
        totals.pictures,
        totals.picture_bytes as f64 / 1e6
    );
    for row in &rows {
        println!("{}", line(row));
    }
    Ok(())
}

fn show(store: &Store, json: bool, id: DeliveryId) -> anyhow::Result<()> {
    let Some(row) = store.delivery(id).wait()? else { bail!("there is no delivery {}: see `outbox list`", id.0) };
    let fields = to_json(&row);
    if json {
        println!("{fields}");
        return Ok(());
    }
    for (name, value) in fields.as_object().into_iter().flatten() {
        match value {
            Value::String(text) => println!("{name:<16} {text}"),
            other => println!("{name:<16} {other}"),
        }
    }
    Ok(())
}

fn retry(store: &Store, json: bool, id: Option<DeliveryId>) -> anyhow::Result<()> {
    let revived = store.revive(id.map_or(Revive::All, Revive::One), clock::unix_ms()).wait()?;
    if let (Some(id), 0) = (id, revived) {
        bail!("delivery {} is not dead, or its picture is gone: see `outbox show {}`", id.0, id.0);
    }
    answer(json, "pending_again", revived);
    Ok(())
}

fn purge(store: &Store, json: bool, dead: bool, older_than_hours: u64) -> anyhow::Result<()> {
    let age = Duration::from_secs(older_than_hours.saturating_mul(3600));
    let age_ms = i64::try_from(age.as_millis()).unwrap_or(i64::MAX);
    // Those of this very millisecond, too.
    let created_before = UnixMs(clock::unix_ms().0.saturating_sub(age_ms).saturating_add(1));
    let purged = store.purge(Purge { delivered: true, dead, created_before }).wait()?;
    answer(json, "messages_forgotten", purged);
    Ok(())
}

fn answer(json: bool, name: &str, count: u64) {
    if json { println!("{}", json!({ name: count })) } else { println!("{count} {}", name.replace('_', " ")) }
}

fn line(row: &DeliveryRow) -> String {
    let track = row.face_id.as_deref().map_or("-", |id| id.get(..8).unwrap_or(id));
    format!(
        "{:>8}  {}  {:<9}  {:<11} {track:<8} #{:<3} {:<9} {}  {} tries  {}",
        row.id.0,
        time(row.created_at),
        row.state.as_str(),
        row.category,
        row.seq.unwrap_or(0),
        row.output,
        row.destination,
        row.attempts,
        row.reason.as_deref().unwrap_or("")
    )
}

fn time(at: UnixMs) -> String {
    let time = chrono::DateTime::from_timestamp_millis(at.0).unwrap_or_default();
    time.to_rfc3339_opts(chrono::SecondsFormat::Secs, true)
}

fn to_json(row: &DeliveryRow) -> Value {
    json!({
        "id": row.id.0,
        "state": row.state.as_str(),
        "reason": row.reason,
        "attempts": row.attempts,
        "output": row.output,
        "destination": row.destination,
        "message_id": row.message_id.to_uppercase(),
        "category": row.category,
        "task_id": row.task_id,
        "stream_id": row.stream_id,
        "face_id": row.face_id,
        "seq": row.seq,
        "taken_at": time(row.taken_at),
        "created_at": time(row.created_at),
        "due_at": time(row.due_at),
        "last_attempt_at": row.last_attempt_at.map(time),
        "finished_at": row.finished_at.map(time),
        "picture_bytes": row.picture_bytes,
    })
}

impl From<State> for DeliveryState {
    fn from(state: State) -> Self {
        match state {
            State::Pending => Self::Pending,
            State::Claimed => Self::Claimed,
            State::Delivered => Self::Delivered,
            State::Dead => Self::Dead,
        }
    }
}
