//! The models by alias: what models.toml says of each, where its file lies, and whether it is the right one.
//! A model is data: decoder, input rule and thresholds come from its entry, so that a new file needs no new code
//! as long as one of the decoders reads it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::error::DetectError;
use super::sanitise;

const BUILT_IN: &str = include_str!("../../models/models.toml");
/// Folders below a models folder that are looked into, this deep.
const SUBFOLDER_DEPTH: usize = 4;

/// How a model's outputs are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Decoder {
    /// Per stride 8, 16, 32: cls, obj, bbox, kps.
    Yunet,
    /// Scores of background and face, and boxes as corners from 0 to 1.
    Ultralight,
    /// No detector: one output of numbers that describe an aligned face of 112 × 112 pixels.
    Arcface,
}

/// The order of the input's three planes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PixelOrder {
    Bgr,
    Rgb,
}

/// What a model wants as input: planar f32, each value (v − mean) · scale with v from 0 to 255.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InputRule {
    pub order: PixelOrder,
    pub mean: f32,
    pub scale: f32,
    /// Any width and height that are multiples of this.
    pub multiple_of: Option<usize>,
    /// The only width and height it takes.
    pub fixed: Option<(usize, usize)>,
}

/// What models.toml says of one model.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelEntry {
    /// The table's name.
    #[serde(skip)]
    pub alias: String,
    pub file: String,
    pub sha256: String,
    pub size_bytes: u64,
    /// Absent for what ships with the project.
    pub source: Option<String>,
    pub licence: String,
    pub decoder: Decoder,
    pub input: InputRule,
    pub min_face_px: f32,
    pub max_face_px: f32,
    pub score_threshold: f32,
    pub nms_iou: f32,
}

/// A model ready to be loaded by any number of workers.
#[derive(Debug, Clone)]
pub struct Model {
    pub entry: ModelEntry,
    pub path: PathBuf,
    /// Sanitised ONNX.
    pub onnx: Vec<u8>,
}

/// All known entries, and the folders in which their files are looked for.
#[derive(Debug, Clone)]
pub struct Catalog {
    entries: BTreeMap<String, ModelEntry>,
    folders: Vec<PathBuf>,
}

impl Catalog {
    /// Looks in `models_dir` (from the command line or the configuration), then FACE_EDGE_MODELS, then `models/` beside
    /// the program, in the working directory, and above the program: a build lies two folders below its project.
    pub fn open(models_dir: Option<&Path>) -> Result<Self, DetectError> {
        let program = std::env::current_exe().unwrap_or_default();
        let mut around = program.ancestors().skip(1).take(3).map(|folder| folder.join("models"));
        let places = [
            models_dir.map(Path::to_path_buf),
            std::env::var_os("FACE_EDGE_MODELS").filter(|value| !value.is_empty()).map(PathBuf::from),
            around.next(),
            Some(PathBuf::from("models")),
        ];
        Self::with_folders(places.into_iter().flatten().chain(around).collect())
    }

    /// The built-in entries and those of each folder's models.toml; an earlier folder's entry wins.
    pub fn with_folders(folders: Vec<PathBuf>) -> Result<Self, DetectError> {
        let mut entries = parse("models.toml (built in)", BUILT_IN)?;
        for folder in folders.iter().rev() {
            let path = folder.join("models.toml");
            match std::fs::read_to_string(&path) {
                Ok(text) => entries.extend(parse(&path.display().to_string(), &text)?),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) if error.kind() == std::io::ErrorKind::NotADirectory => {}
                Err(source) => return Err(DetectError::Read { path, source }),
            }
        }
        Ok(Self { entries, folders })
    }

    pub fn entries(&self) -> impl Iterator<Item = &ModelEntry> {
        self.entries.values()
    }

    pub fn folders(&self) -> &[PathBuf] {
        &self.folders
    }

    pub fn entry(&self, alias: &str) -> Result<&ModelEntry, DetectError> {
        self.entries.get(alias).ok_or_else(|| DetectError::UnknownModel {
            alias: alias.to_owned(),
            known: self.entries.keys().cloned().collect(),
        })
    }

    /// The embedding model: of those whose file is there the first by alias.
    pub fn embedding(&self) -> Option<&ModelEntry> {
        self.entries.values().find(|entry| entry.decoder == Decoder::Arcface && self.find(entry).is_some())
    }

    /// The first file of that name in the folders and their subfolders.
    pub fn find(&self, entry: &ModelEntry) -> Option<PathBuf> {
        self.folders.iter().find_map(|folder| find_below(folder, &entry.file, SUBFOLDER_DEPTH))
    }

    /// Finds, reads, checks and sanitises a model.
    pub fn load(&self, alias: &str) -> Result<Model, DetectError> {
        let entry = self.entry(alias)?.clone();
        let path = self.find(&entry).ok_or_else(|| self.missing(&entry))?;
        let bytes = read_verified(&entry, &path)?;
        let onnx = sanitise::without_weight_inputs(&bytes).map_err(|malformed| DetectError::NotOnnx {
            alias: entry.alias.clone(),
            path: path.clone(),
            reason: malformed.to_string(),
        })?;
        Ok(Model { entry, path, onnx })
    }

    fn missing(&self, entry: &ModelEntry) -> DetectError {
        let ModelEntry { alias, file, .. } = entry;
        let hint = match entry.source {
            Some(_) => format!("Fetch it with `face-edge models pull {alias}`, or name its folder with --models DIR."),
            None => format!("{file} ships with face-edge: name the folder that holds it with --models DIR."),
        };
        DetectError::ModelMissing { alias: alias.clone(), file: file.clone(), tried: self.folders.clone(), hint }
    }
}

/// The file's bytes, if they are what the entry says.
pub fn read_verified(entry: &ModelEntry, path: &Path) -> Result<Vec<u8>, DetectError> {
    let bytes = std::fs::read(path).map_err(|source| DetectError::Read { path: path.to_path_buf(), source })?;
    if bytes.is_empty() {
        return Err(DetectError::ModelEmpty { alias: entry.alias.clone(), path: path.to_path_buf() });
    }
    let found = sha256_hex(&bytes);
    if found != entry.sha256 {
        return Err(DetectError::ModelChanged {
            alias: entry.alias.clone(),
            path: path.to_path_buf(),
            expected: entry.sha256.clone(),
            found,
        });
    }
    Ok(bytes)
}

pub fn sha256_hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn parse(origin: &str, text: &str) -> Result<BTreeMap<String, ModelEntry>, DetectError> {
    let invalid = |message: String| DetectError::Catalog { origin: origin.to_owned(), message };
    let mut entries: BTreeMap<String, ModelEntry> =
        toml::from_str(text).map_err(|error| invalid(error.to_string().trim_end().to_owned()))?;
    for (alias, entry) in &mut entries {
        entry.alias.clone_from(alias);
        check(entry).map_err(|message| invalid(format!("[{alias}] {message}")))?;
    }
    Ok(entries)
}

fn check(entry: &ModelEntry) -> Result<(), String> {
    let sha_ok = entry.sha256.len() == 64 && entry.sha256.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let size_ok = match (entry.input.multiple_of, entry.input.fixed) {
        (Some(step), None) => (1..=512).contains(&step) && step % decoder_step(entry.decoder) == 0,
        (None, Some((width, height))) => {
            let step = decoder_step(entry.decoder);
            (1..=4096).contains(&width) && (1..=4096).contains(&height) && width % step == 0 && height % step == 0
        }
        _ => false,
    };
    let fraction = |value: f32| (0.0..=1.0).contains(&value);
    let problem = [
        (Path::new(&entry.file).file_name() != Some(entry.file.as_ref()), "file: must be a bare file name"),
        (!sha_ok, "sha256: must be 64 lower-case hex digits"),
        (
            !size_ok,
            "input: needs either multiple_of or fixed = [width, height], in multiples of 32 for the yunet decoder",
        ),
        (
            entry.decoder == Decoder::Arcface && entry.input.fixed != Some((112, 112)),
            "input: the arcface decoder takes aligned faces, so fixed = [112, 112]",
        ),
        (!(entry.input.scale.is_finite() && entry.input.scale != 0.0), "input.scale: must be a number other than 0"),
        (!entry.input.mean.is_finite(), "input.mean: must be a number"),
        (
            !(entry.min_face_px >= 1.0 && entry.max_face_px > entry.min_face_px && entry.max_face_px.is_finite()),
            "min_face_px and max_face_px: need 1 <= min_face_px < max_face_px",
        ),
        (!fraction(entry.score_threshold), "score_threshold: must lie between 0 and 1"),
        (!fraction(entry.nms_iou), "nms_iou: must lie between 0 and 1"),
    ]
    .into_iter()
    .find_map(|(wrong, message)| wrong.then_some(message));
    problem.map_or(Ok(()), |message| Err(message.to_owned()))
}

/// Input sides must be multiples of the decoder's coarsest stride.
fn decoder_step(decoder: Decoder) -> usize {
    match decoder {
        Decoder::Yunet => 32,
        Decoder::Ultralight | Decoder::Arcface => 1,
    }
}

fn find_below(folder: &Path, file: &str, depth: usize) -> Option<PathBuf> {
    let here = folder.join(file);
    if here.is_file() {
        return Some(here);
    }
    if depth == 0 {
        return None;
    }
    let mut subfolders: Vec<PathBuf> =
        std::fs::read_dir(folder).ok()?.flatten().map(|entry| entry.path()).filter(|path| path.is_dir()).collect();
    subfolders.sort();
    subfolders.iter().find_map(|subfolder| find_below(subfolder, file, depth - 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_entries_are_valid_and_named() {
        let catalog = Catalog::with_folders(Vec::new()).unwrap();
        for alias in ["default", "yunet_n", "yunet_s", "rfb_320", "rfb_640"] {
            assert_eq!(catalog.entry(alias).unwrap().alias, alias);
        }
    }

    #[test]
    fn an_unknown_alias_lists_the_known_ones() {
        let text = Catalog::with_folders(Vec::new()).unwrap().entry("yolo").unwrap_err().to_string();
        assert!(text.contains("\"yolo\"") && text.contains("default, rfb_320"), "{text}");
    }

    #[test]
    fn a_broken_entry_is_named_with_what_is_wrong() {
        let cases = [
            ("multiple_of = 32", "multiple_of = 20", "input: needs either"),
            ("multiple_of = 32", "multiple_of = 32, fixed = [320, 240]", "input: needs either"),
            ("score_threshold = 0.6", "score_threshold = 60", "score_threshold: must lie"),
            ("file = \"face-edge-n.onnx\"", "file = \"../face-edge-n.onnx\"", "bare file name"),
            ("decoder = \"yunet\"", "decoder = \"yolo\"", "unknown variant `yolo`"),
            ("nms_iou = 0.3", "nms_iuo = 0.3", "unknown field `nms_iuo`"),
        ];
        for (right, wrong, expected) in cases {
            let text = parse("test.toml", &BUILT_IN.replacen(right, wrong, 1)).unwrap_err().to_string();
            assert!(text.contains("test.toml") && text.contains(expected), "{wrong}: {text}");
        }
    }
}
