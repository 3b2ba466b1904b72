//! `outbox`: what was delivered, what waits, what is dead and why. Works beside a running service.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::bail;
use serde_json::{Value, json};

use crate::clock;
use crate::domain::UnixMs;
use crate::store::{DeliveryId, DeliveryQuery, DeliveryRow, DeliveryState, OutputId, Purge, Revive, Store, TimeRange};

/// Deliveries: pending, delivered, dead
#[derive(clap::Args, Debug)]
#[command(
    after_help = "Examples:\n  face-edge outbox list --state dead\n  face-edge outbox retry --since 2026-11-22T08:00:00Z"
)]
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
        /// Only of this track
        #[arg(long, value_name = "ID")]
        face: Option<String>,
        /// Only of pictures taken from then on, as 2026-11-22T08:00:00Z
        #[arg(long, value_name = "TIME", value_parser = moment)]
        since: Option<UnixMs>,
        /// Only of pictures taken up to then
        #[arg(long, value_name = "TIME", value_parser = moment)]
        until: Option<UnixMs>,
        #[arg(long, default_value_t = 20)]
        limit: u32,
    },
    /// Everything about one delivery
    Show { id: i64 },
    /// Send dead deliveries again, those that still have their picture
    Retry {
        #[arg(required_unless_present_any = ["all_dead", "since", "until"], conflicts_with_all = ["all_dead", "since", "until"])]
        id: Option<i64>,
        #[arg(long)]
        all_dead: bool,
        /// Those of pictures taken from then on, as 2026-11-22T08:00:00Z
        #[arg(long, value_name = "TIME", value_parser = moment)]
        since: Option<UnixMs>,
        /// Those of pictures taken up to then
        #[arg(long, value_name = "TIME", value_parser = moment)]
        until: Option<UnixMs>,
    },
    /// Where messages go, what waits there and for how long, and which outputs are switched off
    Outputs,
    /// Switch an output on again that its receiver had switched off (status 410)
    Enable { id: i64 },
    /// What was erased because its task keeps nothing longer (retention_hours)
    Erased {
        #[arg(long, default_value_t = 100)]
        limit: u32,
    },
    /// Look for what does not fit together in the outbox, and mend it
    Fsck {
        /// Only look
        #[arg(long)]
        dry_run: bool,
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
        Command::List { state, task, face, since, until, limit } => {
            let query = DeliveryQuery {
                state: state.map(DeliveryState::from),
                task_id: task.clone(),
                face_id: face.clone(),
                taken: TimeRange { since: *since, until: *until },
                limit: *limit,
                ..DeliveryQuery::default()
            };
            list(&store, args.json, query)
        }
        Command::Show { id } => show(&store, args.json, DeliveryId(*id)),
        Command::Retry { id, since, until, .. } => {
            let range = TimeRange { since: *since, until: *until };
            retry(&store, args.json, id.map(DeliveryId), range)
        }
        Command::Outputs => outputs(&store, args.json),
        Command::Enable { id } => enable(&store, args.json, OutputId(*id)),
        Command::Erased { limit } => erased(&store, args.json, *limit),
        Command::Fsck { dry_run } => fsck(&store, args.json, !dry_run),
        Command::Purge { dead, older_than } => purge(&store, args.json, *dead, *older_than),
    }
}

fn list(store: &Store, json: bool, query: DeliveryQuery) -> anyhow::Result<()> {
    let totals = store.totals().wait()?;
    let rows = store.deliveries(query).wait()?;
    if json {
        let totals = json!({
            "pending": totals.pending, "claimed": totals.claimed, "delivered": totals.delivered, "dead": totals.dead,
            "pictures": totals.pictures(), "picture_bytes": totals.picture_bytes(),
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
        totals.pictures(),
        totals.picture_bytes() as f64 / 1e6
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

fn retry(store: &Store, json: bool, id: Option<DeliveryId>, range: TimeRange) -> anyhow::Result<()> {
    let which = id.map_or(Revive::Taken { range, task_id: None, project_id: None }, Revive::One);
    let revived = store.revive(which, store.now()).wait()?;
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

fn outputs(store: &Store, json: bool) -> anyhow::Result<()> {
    for output in store.outputs(None).wait()? {
        let disabled = output.disabled.as_ref().map(|(at, reason)| format!("switched off at {}: {reason}", time(*at)));
        let oldest_s = output.oldest_waits_ms.map(|ms| ms as f64 / 1000.0);
        if json {
            let (id, task_id, kind) = (output.id.0, &output.task_id, output.kind);
            println!(
                "{}",
                json!({"id": id, "task_id": task_id, "output": kind, "destination": output.destination,
                       "waiting": output.waiting, "oldest_waits_s": oldest_s, "disabled": disabled})
            );
            continue;
        }
        println!(
            "{:>5}  {}  {:<9} {}  {} waiting{}  {}",
            output.id.0,
            output.task_id,
            output.kind,
            output.destination,
            output.waiting,
            oldest_s.map(|s| format!(", the oldest for {s:.0} s")).unwrap_or_default(),
            disabled.unwrap_or_default()
        );
    }
    Ok(())
}

fn enable(store: &Store, json: bool, id: OutputId) -> anyhow::Result<()> {
    if !store.enable_output(id).wait()? {
        bail!("output {} is not switched off, or there is none: see `outbox outputs`", id.0);
    }
    answer(json, "outputs_switched_on", 1);
    Ok(())
}

fn erased(store: &Store, json: bool, limit: u32) -> anyhow::Result<()> {
    for row in store.erasures(limit).wait()? {
        let (at, taken_at, message_id) = (time(row.at), time(row.taken_at), row.message_id.to_uppercase());
        if json {
            let (task_id, undelivered) = (&row.task_id, row.undelivered);
            println!(
                "{}",
                json!({"at": at, "task_id": task_id, "message_id": message_id, "taken_at": taken_at,
                       "undelivered": undelivered})
            );
        } else {
            println!("{at}  {}  {message_id}  taken {taken_at}  {} undelivered", row.task_id, row.undelivered);
        }
    }
    Ok(())
}

fn fsck(store: &Store, json: bool, mend: bool) -> anyhow::Result<()> {
    let found = store.fsck(mend).wait()?;
    if json {
        let mut fields: serde_json::Map<String, Value> =
            found.rows().into_iter().map(|(name, count)| (name.to_owned(), count.into())).collect();
        fields.insert("mended".to_owned(), mend.into());
        println!("{}", Value::Object(fields));
    } else {
        found.rows().iter().for_each(|(name, count)| println!("{count:>8} {}", name.replace('_', " ")));
    }
    if !found.damage.is_empty() {
        bail!("the database itself is damaged ({}): restore a copy", found.damage.join("; "));
    }
    if !mend && !found.is_clean() {
        bail!("not everything fits together: run it without --dry-run to mend it");
    }
    Ok(())
}

/// RFC 3339.
fn moment(text: &str) -> Result<UnixMs, String> {
    let parsed = chrono::DateTime::parse_from_rfc3339(text);
    parsed.map(|at| UnixMs(at.timestamp_millis())).map_err(|_| "expected a time like 2026-11-22T08:00:00Z".to_owned())
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
