//! Finds ONNX Runtime's shared library and loads it, once for the process. `ort` panics when it is used without
//! the library, so a `Runtime` is what every other use of it starts from.

use std::path::{Path, PathBuf};

use ort::LoadDynamicError;
use ort::environment::Environment;
use ort::logging::LogLevel;
use parking_lot::Mutex;

use super::error::DetectError;

/// Set before the library is loaded, it keeps it from reporting to its maker. Telling it later is too late: the first report
/// has been written by then.
pub const NO_REPORTS: &str = "ORT_DISABLE_TELEMETRY";
const LIBRARY: &str = "libonnxruntime.so";
/// `.runtime/` is also looked for above the program: a build lies two or three folders below its project.
const LEVELS_ABOVE_PROGRAM: usize = 4;
const SYSTEM_FOLDERS: [&str; 7] = [
    "/usr/local/lib",
    "/usr/lib/x86_64-linux-gnu",
    "/usr/lib/aarch64-linux-gnu",
    "/usr/lib64",
    "/usr/lib",
    "/lib64",
    "/opt/onnxruntime/lib",
];

static LOADED: Mutex<Option<Runtime>> = Mutex::new(None);

/// The loaded library; clones share it.
#[derive(Debug, Clone)]
pub struct Runtime {
    pub(super) environment: Environment,
    path: PathBuf,
}

impl Runtime {
    /// Loads `explicit` (from the command line or the configuration), else what ORT_DYLIB_PATH names, else the first
    /// that fits beside the program, in `.runtime/` and in the system's library folders. A file that was named
    /// is the only one tried. Once loaded, the library stays for the process: later calls give it back.
    pub fn load(explicit: Option<&Path>) -> Result<Self, DetectError> {
        let mut loaded = LOADED.lock();
        if let Some(runtime) = &*loaded {
            return Ok(runtime.clone());
        }
        let runtime = Self::load_first(&candidates(explicit))?;
        Ok(loaded.insert(runtime).clone())
    }

    /// The library's file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn load_first(candidates: &[PathBuf]) -> Result<Self, DetectError> {
        if std::env::var_os(NO_REPORTS).is_none() {
            return Err(DetectError::RuntimeWouldReport);
        }
        let mut tried = Vec::new();
        for path in candidates {
            let by_search_path = path.components().count() == 1;
            if !by_search_path && !path.exists() {
                tried.push(format!("{}: not there", path.display()));
                continue;
            }
            match ort::init_from(path) {
                Ok(builder) => {
                    let start = |error: ort::Error| DetectError::RuntimeStart(error.to_string());
                    let environment = builder.with_name("face-edge").with_telemetry(false).build().map_err(start)?;
                    environment.set_log_level(LogLevel::Error);
                    return Ok(Self { environment, path: path.clone() });
                }
                Err(error) => tried.push(format!("{}: {}", path.display(), reason(&error))),
            }
        }
        Err(DetectError::RuntimeMissing { minor: ort::MINOR_VERSION, tried })
    }
}

fn reason(error: &LoadDynamicError) -> String {
    match error {
        LoadDynamicError::BadVersion { version_str, .. } => {
            format!("too old (it is {version_str}, needed is 1.{} or newer)", ort::MINOR_VERSION)
        }
        LoadDynamicError::MissingApi { .. } => "is not ONNX Runtime".to_owned(),
        LoadDynamicError::Dlopen { error, .. } => format!("could not be loaded ({error})"),
        LoadDynamicError::InvalidVersionString => "does not say its version".to_owned(),
    }
}

fn candidates(explicit: Option<&Path>) -> Vec<PathBuf> {
    let named = explicit
        .map(Path::to_path_buf)
        .or_else(|| std::env::var_os("ORT_DYLIB_PATH").filter(|value| !value.is_empty()).map(PathBuf::from));
    if let Some(path) = named {
        // A bare name would be taken for one to look up in the system's search path.
        return vec![if path.components().count() == 1 { Path::new(".").join(path) } else { path }];
    }
    let program = std::env::current_exe().ok();
    let above: Vec<&Path> =
        program.iter().flat_map(|exe| exe.ancestors().skip(1)).take(1 + LEVELS_ABOVE_PROGRAM).collect();
    let mut paths: Vec<PathBuf> = above.first().map(|beside| beside.join(LIBRARY)).into_iter().collect();
    paths.push(Path::new(".runtime").join(LIBRARY));
    paths.extend(above.iter().map(|folder| folder.join(".runtime").join(LIBRARY)));
    for folder in SYSTEM_FOLDERS {
        paths.extend(versions_in(Path::new(folder)));
    }
    paths.push(PathBuf::from(LIBRARY));
    paths
}

/// `libonnxruntime.so` and `libonnxruntime.so.1.31.1` alike, the highest name first.
fn versions_in(folder: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(LIBRARY)))
        .collect();
    found.sort();
    found.reverse();
    if found.is_empty() { vec![folder.join(LIBRARY)] } else { found }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_named_file_is_the_only_one_tried() {
        assert_eq!(candidates(Some(Path::new("/opt/x.so"))), [PathBuf::from("/opt/x.so")]);
        assert_eq!(candidates(Some(Path::new("x.so"))), [PathBuf::from("./x.so")]);
    }

    #[test]
    fn an_old_library_is_told_from_a_wrong_one() {
        let path = || PathBuf::from("/usr/lib/libonnxruntime.so");
        let old = reason(&LoadDynamicError::BadVersion { version_str: "1.14.1".to_owned(), path: path() });
        assert_eq!(old, "too old (it is 1.14.1, needed is 1.18 or newer)");
        assert_eq!(reason(&LoadDynamicError::MissingApi { path: path() }), "is not ONNX Runtime");
    }

    #[test]
    fn a_missing_or_wrong_file_is_named_with_the_remedy() {
        let folder = tempfile::tempdir().unwrap();
        let text_file = folder.path().join("not-a-library.so");
        std::fs::write(&text_file, "hello").unwrap();
        let error = Runtime::load_first(&[folder.path().join("absent.so"), text_file]).unwrap_err().to_string();
        for part in ["absent.so: not there", "not-a-library.so: could not be loaded", "scripts/runtime.sh"] {
            assert!(error.contains(part), "{error}");
        }
    }
}
