//! The architecture's invariants, checked on the source text: who may import whom, and where each foreign library
//! is named. ARCHITECTURE.md explains them; this is what keeps them true.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Modules of ours that a module may use, by its first path component. Files not listed here compose the rest.
const MAY_USE: &[(&str, &[&str])] = &[
    ("domain", &[]),
    ("rules", &["domain"]),
    ("clock", &["domain"]),
    ("frame", &["domain"]),
    ("config", &["domain", "zone"]),
    ("mailbox", &["clock", "frame"]),
    ("motion", &["domain", "frame"]),
    ("snapshot", &["domain", "frame"]),
    ("task_json", &["domain"]),
    ("detect", &["clock", "domain", "frame"]),
    ("main_stream", &["frame"]),
    ("media", &["clock", "domain", "frame", "main_stream"]),
    ("messages", &["clock", "domain", "frame", "main_stream", "rules", "snapshot", "veil"]),
    ("seal", &["config"]),
    ("store", &["clock", "domain", "seal"]),
    ("deliver", &["clock", "domain", "store"]),
    ("status", &["clock", "domain"]),
    (
        "api",
        &[
            "clock",
            "config",
            "domain",
            "figures",
            "gallery",
            "gate_wire",
            "picture",
            "seal",
            "status",
            "store",
            "task_json",
            "zone",
        ],
    ),
    ("eyes", &["api", "detect", "domain", "picture", "rules"]),
    ("fetch", &["api"]),
    ("figures", &["clock"]),
    ("gallery", &["domain"]),
    ("gate", &["clock", "domain", "gate_wire", "store", "zone"]),
    ("gate_wire", &[]),
    ("picture", &["clock", "domain"]),
    ("zone", &["domain"]),
    ("sim", &["clock", "domain", "frame"]),
    ("analysts", &["detect", "domain", "frame", "mailbox", "worker"]),
    ("channel", &["domain", "figures", "frame", "mailbox", "media", "worker"]),
    ("veil", &["domain", "frame", "snapshot"]),
    ("worker", &["clock", "domain", "frame", "mailbox", "main_stream", "messages", "motion", "rules"]),
];

/// Foreign libraries and the only places that may name them.
const NAMED_ONLY_IN: &[(&str, &[&str])] = &[
    ("ort", &["detect"]),
    ("gst", &["media", "sim"]),
    ("gst_app", &["media", "sim"]),
    ("gst_video", &["media", "sim"]),
    ("gst_rtsp_server", &["sim"]),
    ("rusqlite", &["store"]),
    ("chacha20poly1305", &["seal"]),
    ("reqwest", &["deliver", "cli/models", "fetch", "gate"]),
    ("rumqttc", &["deliver"]),
    ("quick_xml", &["gate_wire"]),
    ("multer", &["api"]),
    ("axum", &["api", "sim"]),
    ("jpeg_encoder", &["snapshot"]),
    ("clap", &["cli", "main"]),
    ("libc", &["memory"]),
    ("anyhow", &["app", "cli", "main", "supervisor"]),
];

struct Source {
    /// `media/pipeline`, without `src/` and `.rs`.
    module: String,
    /// Without tests, comments and strings' worth of noise: tests may reach further than the code they test.
    code: String,
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    collect(&root, &mut files);
    assert!(files.len() > 20, "no source found in {}", root.display());
    files.iter().map(|file| read(&root, file)).collect()
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("src can be read") {
        let path = entry.expect("src can be read").path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

fn read(root: &Path, file: &Path) -> Source {
    let text = fs::read_to_string(file).expect("source is UTF-8");
    let code = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
    let code = code.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
    let module = file.strip_prefix(root).expect("below src").with_extension("");
    Source { module: module.to_string_lossy().trim_end_matches("/mod").to_owned(), code }
}

/// The first path components after `crate::`, also in `use crate::{a, b::c}`.
fn used_modules(code: &str) -> BTreeSet<String> {
    let mut used = BTreeSet::new();
    for (at, prefix) in code.match_indices("crate::") {
        let rest = &code[at + prefix.len()..];
        match rest.strip_prefix('{') {
            Some(group) => used.extend(top_level_names(group)),
            None => used.extend(first_name(rest)),
        }
    }
    used
}

fn first_name(text: &str) -> Option<String> {
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    (end > 0).then(|| text[..end].to_owned())
}

fn top_level_names(group: &str) -> Vec<String> {
    let (mut depth, mut names, mut item) = (0, Vec::new(), String::new());
    for c in group.chars() {
        match c {
            '}' if depth == 0 => break,
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => names.extend(first_name(std::mem::take(&mut item).trim())),
            _ => {}
        }
        if depth > 0 || !matches!(c, ',') {
            item.push(c);
        }
    }
    names.extend(first_name(item.trim()));
    names
}

fn names_crate(code: &str, library: &str) -> bool {
    code.match_indices(&format!("{library}::")).any(|(at, _)| {
        let before = code[..at].chars().next_back();
        !before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':')
    })
}

#[test]
fn modules_import_only_what_their_layer_allows() {
    let mut broken = Vec::new();
    for source in sources() {
        let layer = source.module.split('/').next().unwrap_or_default();
        let Some((_, allowed)) = MAY_USE.iter().find(|(name, _)| *name == layer) else { continue };
        for used in used_modules(&source.code) {
            if used != layer && !allowed.contains(&used.as_str()) {
                broken.push(format!("src/{}.rs uses crate::{used}; {layer} may use {allowed:?}", source.module));
            }
        }
    }
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
}

#[test]
fn each_foreign_library_is_named_in_its_one_place() {
    let mut broken = Vec::new();
    for source in sources() {
        for (library, places) in NAMED_ONLY_IN {
            let allowed = places.iter().any(|p| source.module == *p || source.module.starts_with(&format!("{p}/")));
            if !allowed && names_crate(&source.code, library) {
                broken.push(format!("src/{}.rs names {library}, which belongs in {places:?}", source.module));
            }
        }
    }
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
}

#[test]
fn the_check_sees_what_it_looks_for() {
    let code = "use crate::{api::{self, x}, domain::Task, store};\nfn f() { crate::media::init() }";
    assert_eq!(used_modules(code).into_iter().collect::<Vec<_>>(), ["api", "domain", "media", "store"]);
    assert!(names_crate("use ort::Session;", "ort") && !names_crate("use abort::x; a::ort::b()", "ort"));
}
