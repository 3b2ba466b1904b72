//! `keys create|list|revoke`: API keys and their roles, also while the service runs.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::bail;
use chrono::{DateTime, SecondsFormat};
use clap::{Subcommand, ValueEnum};
use serde_json::{Value, json};

use crate::api::keys::{Role, create, create_pair};
use crate::clock;
use crate::config::Config;
use crate::domain::UnixMs;
use crate::seal::Seal;
use crate::store::{Actor, KeyRow, Store};

/// Make, list and revoke API keys
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: face-edge keys create --role operator --name portal")]
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
    /// Make a key; it is shown this once
    #[command(after_help = "Example: face-edge keys create --role viewer --name wall-screen")]
    Create {
        /// What it may do
        #[arg(long, value_enum, default_value = "operator")]
        role: RoleArg,
        /// Whom it is for; shown in lists and as the creator of tasks
        #[arg(long, default_value = "unnamed")]
        name: String,
        /// A pair that signs requests (access key and secret key), for clients of the published SDK
        #[arg(long)]
        signing: bool,
    },
    /// All keys, revoked ones included
    #[command(after_help = "Example: face-edge keys list --json")]
    List,
    /// End a key; it stays listed
    #[command(after_help = "Example: face-edge keys revoke 1f0c9a2b77de")]
    Revoke {
        /// The key's id, as list shows it
        id: String,
    },
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum RoleArg {
    Admin,
    Operator,
    Gate,
    Viewer,
}

impl From<RoleArg> for Role {
    fn from(role: RoleArg) -> Self {
        match role {
            RoleArg::Admin => Self::Admin,
            RoleArg::Operator => Self::Operator,
            RoleArg::Gate => Self::Gate,
            RoleArg::Viewer => Self::Viewer,
        }
    }
}

/// On the service's database, which need not be there yet to make a key.
pub fn run(args: &Args, out: &mut dyn Write) -> anyhow::Result<()> {
    let data_dir = match &args.data_dir {
        Some(data_dir) => data_dir.clone(),
        None => Config::load(None)?.data_dir,
    };
    let store = open(&data_dir, &args.command)?.by(Actor::local("face-edge keys"));
    match &args.command {
        Command::Create { role, name, signing } => {
            let role = Role::from(*role);
            let (id, shown, made) = if *signing {
                let pair = create_pair(&store, &Seal::of_folder(&data_dir)?, name, role)?;
                let secrets = json!({"access_key": pair.access_key, "secret_key": pair.secret_key});
                (pair.access_key.clone(), format!("{}:{}", pair.access_key, pair.secret_key), secrets)
            } else {
                let key = create(&store, name, role)?;
                (key.id, key.key.clone(), json!({"key": key.key}))
            };
            if args.json {
                let mut all = json!({"id": id, "name": name, "role": role.as_str()});
                all.as_object_mut()
                    .into_iter()
                    .for_each(|all| all.extend(made.as_object().cloned().unwrap_or_default()));
                return Ok(writeln!(out, "{all:#}")?);
            }
            writeln!(out, "{shown}")?;
            eprintln!("key {id} of the role {}; it is not shown again", role.as_str());
        }
        Command::List => list(&store.keys().wait()?, args.json, out)?,
        Command::Revoke { id } => {
            if !store.revoke_key(id, clock::unix_ms()).wait()? {
                bail!("there is no key {id:?} that is not yet revoked; `face-edge keys list` shows the ids");
            }
            if args.json {
                writeln!(out, "{:#}", json!({"id": id, "revoked": true}))?;
            } else {
                writeln!(out, "revoked {id}")?;
            }
        }
    }
    Ok(())
}

/// Beside a running service where there is one; else the folder is made for a first key.
fn open(data_dir: &Path, command: &Command) -> anyhow::Result<Store> {
    match Store::attach(data_dir) {
        Err(_) if matches!(command, Command::Create { .. }) => Ok(Store::open(data_dir)?),
        opened => Ok(opened?),
    }
}

fn list(rows: &[KeyRow], json: bool, out: &mut dyn Write) -> io::Result<()> {
    if json {
        return writeln!(out, "{:#}", rows.iter().map(as_json).collect::<Value>());
    }
    writeln!(out, "{:<22}{:<10}{:<22}{:<22}{:<9}NAME", "ID", "ROLE", "CREATED", "LAST USED", "STATE")?;
    for row in rows {
        let state = if row.revoked_at.is_some() { "revoked" } else { "active" };
        let used = row.last_used_at.map_or_else(|| "never".to_owned(), rfc3339);
        let created = rfc3339(row.created_at);
        writeln!(out, "{:<22}{:<10}{created:<22}{used:<22}{state:<9}{}", row.id, row.role, row.name)?;
    }
    Ok(())
}

fn as_json(row: &KeyRow) -> Value {
    json!({
        "id": row.id, "name": row.name, "role": row.role, "signing": row.sealed.is_some(), "created_at": rfc3339(row.created_at),
        "last_used_at": row.last_used_at.map(rfc3339), "revoked_at": row.revoked_at.map(rfc3339),
    })
}

fn rfc3339(at: UnixMs) -> String {
    DateTime::from_timestamp(at.secs(), 0).unwrap_or_default().to_rfc3339_opts(SecondsFormat::Secs, true)
}
