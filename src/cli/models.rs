//! `models list|pull|verify|eval`: which models there are, whether their files are the right ones, where to get them,
//! and how well they find faces.

mod eval;
mod matfile;
mod pull;
mod wider;

use std::path::PathBuf;

use serde_json::{Value, json};

use crate::detect::{Catalog, DetectError, ModelEntry, read_verified};

/// List, fetch, verify and measure the detection models
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: face-edge models pull yunet_n")]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Show the models of models.toml: file, licence, source
    #[command(after_help = "Example: face-edge models list --json")]
    List(Listed),
    /// Fetch model files, checked by their SHA-256
    #[command(after_help = "Example: face-edge models pull yunet_n yunet_s --mirror /media/usb/models")]
    Pull(pull::PullArgs),
    /// Compare model files with their SHA-256
    #[command(after_help = "Example: face-edge models verify default yunet_n")]
    Verify(VerifyArgs),
    /// Measure a model on labelled pictures, by the protocol of WIDER FACE
    #[command(after_help = "Example: face-edge models eval wider_val --model yunet_n --json")]
    Eval(eval::EvalArgs),
}

#[derive(Debug, clap::Args)]
struct Listed {
    /// Folder with model files (its subfolders are searched too)
    #[arg(long, value_name = "DIR")]
    models: Option<PathBuf>,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct VerifyArgs {
    /// Models that must be there; all that are found when none is named
    #[arg(value_name = "ALIAS")]
    aliases: Vec<String>,
    #[command(flatten)]
    listed: Listed,
}

pub fn run(args: &Args) -> anyhow::Result<()> {
    match &args.command {
        Command::List(listed) => list(listed),
        Command::Pull(args) => pull::run(args),
        Command::Verify(args) => verify(args),
        Command::Eval(args) => eval::run(args),
    }
}

fn list(listed: &Listed) -> anyhow::Result<()> {
    let catalog = Catalog::open(listed.models.as_deref())?;
    if listed.json {
        let all: Vec<Value> = catalog.entries().map(|entry| describe(entry, catalog.find(entry))).collect();
        println!("{:#}", Value::from(all));
        return Ok(());
    }
    for entry in catalog.entries() {
        let place = catalog.find(entry).map_or("not here".to_owned(), |path| path.display().to_string());
        println!("{:<14} {:<11} {place}", entry.alias, entry.licence);
        println!("{:<14} sha256 {}", "", entry.sha256);
        println!("{:<14} {}", "", source(entry));
    }
    Ok(())
}

fn describe(entry: &ModelEntry, path: Option<PathBuf>) -> Value {
    json!({
        "alias": entry.alias,
        "file": entry.file,
        "present": path.is_some(),
        "path": path.map(|path| path.display().to_string()),
        "sha256": entry.sha256,
        "size_bytes": entry.size_bytes,
        "licence": entry.licence,
        "source": entry.source,
    })
}

fn source(entry: &ModelEntry) -> &str {
    entry.source.as_deref().unwrap_or("ships with face-edge")
}

/// Fails when a file is not what models.toml says, or when a model that was named is not there.
fn verify(args: &VerifyArgs) -> anyhow::Result<()> {
    let catalog = Catalog::open(args.listed.models.as_deref())?;
    for alias in &args.aliases {
        catalog.entry(alias)?;
    }
    let wanted = |entry: &&ModelEntry| args.aliases.is_empty() || args.aliases.contains(&entry.alias);
    let verdicts: Vec<Verdict> = catalog.entries().filter(wanted).map(|entry| Verdict::of(&catalog, entry)).collect();
    if args.listed.json {
        println!("{:#}", Value::from(verdicts.iter().map(Verdict::json).collect::<Vec<_>>()));
    } else {
        verdicts.iter().for_each(|verdict| println!("{:<14} {}", verdict.alias, verdict.words()));
    }
    let bad = |verdict: &&Verdict| verdict.problem.is_some() || (verdict.path.is_none() && !args.aliases.is_empty());
    let bad: Vec<&str> = verdicts.iter().filter(bad).map(|verdict| verdict.alias.as_str()).collect();
    anyhow::ensure!(bad.is_empty(), "not in order: {}; `face-edge models pull ALIAS` fetches a model", bad.join(", "));
    Ok(())
}

struct Verdict {
    alias: String,
    path: Option<PathBuf>,
    problem: Option<DetectError>,
}

impl Verdict {
    fn of(catalog: &Catalog, entry: &ModelEntry) -> Self {
        let path = catalog.find(entry);
        let problem = path.as_ref().and_then(|path| read_verified(entry, path).err());
        Self { alias: entry.alias.clone(), path, problem }
    }

    fn words(&self) -> String {
        match (&self.path, &self.problem) {
            (None, _) => "not here".to_owned(),
            (Some(path), None) => format!("ok  {}", path.display()),
            (Some(_), Some(problem)) => problem.to_string(),
        }
    }

    fn json(&self) -> Value {
        json!({
            "alias": self.alias,
            "present": self.path.is_some(),
            "ok": self.path.is_some() && self.problem.is_none(),
            "path": self.path.as_ref().map(|path| path.display().to_string()),
            "problem": self.problem.as_ref().map(ToString::to_string),
        })
    }
}
