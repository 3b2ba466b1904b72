//! `models pull`: puts model files into the models folder, from their public source or from a mirror. A file appears
//! there only when it is complete and its SHA-256 is right.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use indicatif::{ProgressBar, ProgressStyle};

use crate::detect::{Catalog, ModelEntry, read_verified, sha256_hex};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
const DOWNLOAD_TIMEOUT: Duration = Duration::from_secs(600);

#[derive(Debug, clap::Args)]
pub struct PullArgs {
    /// Models to fetch
    #[arg(required = true, value_name = "ALIAS")]
    aliases: Vec<String>,
    /// Folder to put them into; default FACE_EDGE_MODELS, or models/ in the working directory
    #[arg(long, value_name = "DIR")]
    models: Option<PathBuf>,
    /// Folder to copy them from (its subfolders are searched too) in place of their public source
    #[arg(long, value_name = "DIR")]
    mirror: Option<PathBuf>,
}

pub fn run(args: &PullArgs) -> anyhow::Result<()> {
    let catalog = Catalog::open(args.models.as_deref())?;
    let from_environment = std::env::var_os("FACE_EDGE_MODELS").filter(|value| !value.is_empty()).map(PathBuf::from);
    let folder = args.models.clone().or(from_environment).unwrap_or_else(|| PathBuf::from("models"));
    let entries = args.aliases.iter().map(|alias| catalog.entry(alias)).collect::<Result<Vec<_>, _>>()?;
    for entry in entries {
        let target = folder.join(&entry.file);
        if read_verified(entry, &target).is_ok() {
            println!("{}: {} is there already", entry.alias, target.display());
            continue;
        }
        let bytes = match &args.mirror {
            Some(mirror) => from_mirror(entry, mirror)?,
            None => from_source(entry)?,
        };
        put(&bytes, &target).with_context(|| format!("{} cannot be written", target.display()))?;
        println!("{}: {} ({} bytes, sha256 as expected)", entry.alias, target.display(), bytes.len());
    }
    Ok(())
}

fn from_mirror(entry: &ModelEntry, mirror: &Path) -> anyhow::Result<Vec<u8>> {
    let found = Catalog::with_folders(vec![mirror.to_path_buf()])?.find(entry);
    let path = found.with_context(|| format!("{}: no {} in it or its subfolders", mirror.display(), entry.file))?;
    Ok(read_verified(entry, &path)?)
}

fn from_source(entry: &ModelEntry) -> anyhow::Result<Vec<u8>> {
    let Some(url) = &entry.source else {
        anyhow::bail!("model {} ships with face-edge and has no public source; --mirror DIR copies it", entry.alias);
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let bytes = runtime
        .block_on(download(url, entry.size_bytes))
        .with_context(|| format!("{url} cannot be fetched; --mirror DIR takes {} from a folder", entry.file))?;
    let found = sha256_hex(&bytes);
    anyhow::ensure!(
        found == entry.sha256,
        "{url} has SHA-256 {found}, but models.toml says {}: what is there has changed; nothing was written",
        entry.sha256
    );
    Ok(bytes)
}

async fn download(url: &str, size_bytes: u64) -> anyhow::Result<Vec<u8>> {
    // Fails when the process has one already, which serves as well.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder().connect_timeout(CONNECT_TIMEOUT).timeout(DOWNLOAD_TIMEOUT).build()?;
    let mut response = client.get(url).send().await?.error_for_status()?;
    let bar = ProgressBar::new(size_bytes).with_style(ProgressStyle::with_template("{bar:40} {bytes}/{total_bytes}")?);
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        bytes.extend_from_slice(&chunk);
        anyhow::ensure!(bytes.len() as u64 <= size_bytes, "it is larger than the {size_bytes} bytes expected");
        bar.set_position(bytes.len() as u64);
    }
    bar.finish_and_clear();
    Ok(bytes)
}

/// Under another name first, so that nobody ever reads half a file.
fn put(bytes: &[u8], target: &Path) -> std::io::Result<()> {
    let folder = target.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder)?;
    let part = target.with_added_extension(format!("part-{}", std::process::id()));
    let written = std::fs::File::create(&part).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()
    });
    written.and_then(|()| std::fs::rename(&part, target)).inspect_err(|_| {
        let _ = std::fs::remove_file(&part);
    })
}
