//! `verify`: whether a saved series of messages is complete and as the box made it. Needs nothing but the files.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::deliver::evidence::{self, Proved};

/// Checks a saved series of messages: pictures, signatures, gaps
///
/// Messages are JSON files anywhere below the folder, with the picture in them (image_base64) or beside them
/// (image_path, below the folder). Exits 1 where one was changed, or one is missing between the first and the last.
#[derive(clap::Args, Debug)]
#[command(after_help = "Example:\n  face-edge verify faces/ --key 4zvwRjXUKGfvwnParsHAS3HuSVzV5cA4McphgmoCtajS=")]
pub struct Args {
    folder: PathBuf,
    /// The box's public key, if it is known otherwise: messages of any other are refused
    #[arg(long, value_name = "BASE64")]
    key: Option<String>,
}

pub fn run(args: &Args, out: &mut dyn Write) -> anyhow::Result<()> {
    let mut files = Vec::new();
    collect(&args.folder, &mut files).with_context(|| format!("the folder {}", args.folder.display()))?;
    let mut chains: BTreeMap<(String, String), Vec<Proved>> = BTreeMap::new();
    let mut faults = 0_usize;
    for file in &files {
        match check(&args.folder, file, args.key.as_deref()) {
            Ok(proved) => chains.entry((proved.public_key.clone(), proved.task_id.clone())).or_default().push(proved),
            Err(fault) => {
                faults += 1;
                writeln!(out, "{}: {fault}", file.display())?;
            }
        }
    }
    for ((key, task), series) in &mut chains {
        series.sort_by_key(|proved| proved.link.number);
        series.dedup_by_key(|proved| proved.message_id.clone());
        let broken = breaks(series);
        for fault in &broken {
            writeln!(out, "task {task}: {fault}")?;
        }
        faults += broken.len();
        let (first, last) = (series.first(), series.last());
        let number = |proved: Option<&Proved>| proved.map_or(0, |proved| proved.link.number);
        writeln!(
            out,
            "task {task}, box {key}: {} messages, numbers {} to {}",
            series.len(),
            number(first),
            number(last)
        )?;
    }
    if files.is_empty() {
        bail!("there is no message (*.json) below {}", args.folder.display());
    }
    if faults > 0 {
        bail!("{faults} faults in {} messages", files.len());
    }
    Ok(())
}

/// What does not follow on what comes before it.
fn breaks(series: &[Proved]) -> Vec<String> {
    let pairs = series.iter().zip(series.iter().skip(1));
    let fault = |(before, after): (&Proved, &Proved)| {
        let (a, b) = (before.link.number, after.link.number);
        if b != a + 1 {
            return Some(format!("after number {a} comes {b}: what lies between is missing, or one number came twice"));
        }
        (after.link.previous != before.hash).then(|| format!("number {b} does not follow on the {a} that is here"))
    };
    pairs.filter_map(fault).collect()
}

fn check(root: &Path, file: &Path, key: Option<&str>) -> Result<Proved, String> {
    let bytes = fs::read(file).map_err(|error| format!("cannot be read ({error})"))?;
    let message: Value = serde_json::from_slice(&bytes).map_err(|error| format!("is not JSON ({error})"))?;
    let text = |key: &str| message.get(key).and_then(Value::as_str);
    let picture = match (text("image_base64"), text("image_path")) {
        (Some(base64), _) => STANDARD.decode(base64).map_err(|_| "image_base64 is not base64".to_owned())?,
        (None, Some(path)) => {
            fs::read(root.join(path)).map_err(|error| format!("its picture {path} cannot be read ({error})"))?
        }
        (None, None) => return Err("has neither image_base64 nor image_path".to_owned()),
    };
    let proved = evidence::verify(&message, &picture)?;
    match key {
        Some(key) if key != proved.public_key => Err("is signed by another box".to_owned()),
        _ => Ok(proved),
    }
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "json") {
            files.push(path);
        }
    }
    files.sort();
    Ok(())
}
