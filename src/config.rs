//! The boot configuration: `face-edge.toml`, then `FACE_EDGE_<KEY>` over it, then the command line over both.
//!
//! An unknown key is an error with its place, so that a misspelt one never goes unnoticed. Every key has a default,
//! and the sample file documents each. Secrets are not among the keys: they come from the environment or from a file
//! that only its owner may read.

use std::collections::HashMap;
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use chrono::NaiveTime;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use url::Url;

use crate::domain::Cidr;
use crate::zone::Zone;

/// Read where the command line names no file; it may be absent.
pub const DEFAULT_FILE: &str = "face-edge.toml";
const ENV_PREFIX: &str = "FACE_EDGE_";

/// Everything the service needs to start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    pub listen: SocketAddr,
    pub data_dir: PathBuf,
    /// A folder of task files to run beside the tasks of the API.
    pub tasks: Option<PathBuf>,
    pub models: Option<PathBuf>,
    /// Alias of the detection model; the first that models.toml lists where `None`.
    pub model: Option<String>,
    pub onnxruntime: Option<PathBuf>,
    pub node_id: String,
    pub edge_pool_id: String,
    /// Analysis threads, at least 1.
    pub workers: usize,
    pub webhook_secret_file: Option<PathBuf>,
    pub outbox_max_bytes: u64,
    pub cameras: CamerasConfig,
    /// PEM files; with both the HTTP interface is HTTPS.
    pub tls_cert: Option<PathBuf>,
    pub tls_key: Option<PathBuf>,
    /// Private and special addresses that messages may be sent to; public ones always may.
    pub receivers_allow: Vec<Cidr>,
    pub log: LogFormat,
    pub faces: FacesConfig,
}

/// What cameras may cost.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CamerasConfig {
    pub idle_decode: IdleDecode,
    /// A camera that would push the others below it is not started; 0: none is refused.
    pub min_analyses_per_second: u32,
}

impl Default for CamerasConfig {
    fn default() -> Self {
        Self { idle_decode: IdleDecode::All, min_analyses_per_second: 1 }
    }
}

/// Of stored faces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FacesConfig {
    /// When the nightly scan is due, on the clocks of `zone`.
    pub scan_at: NaiveTime,
    pub zone: Zone,
    /// Another gate server, which the nightly scan is carried out at too.
    pub remote_gate_server: Option<Url>,
    /// Whether pictures may be fetched from addresses inside of the site.
    pub fetch_private_addresses: bool,
}

impl Default for FacesConfig {
    fn default() -> Self {
        let scan_at = NaiveTime::from_hms_opt(3, 0, 0).expect("three o'clock");
        Self { scan_at, zone: Zone::Local, remote_gate_server: None, fetch_private_addresses: false }
    }
}

/// What is decoded of a camera whose scene has been still and empty for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum IdleDecode {
    All,
    Keyframes,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    Text,
    Json,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    #[error("{file}: cannot be read ({reason}); name another file by --config")]
    Unreadable { file: String, reason: String },
    #[error("{file}:{line}:{column}: {message}")]
    Invalid { file: String, line: usize, column: usize, message: String },
    #[error("{variable} in the environment: {message}")]
    Environment { variable: String, message: String },
    #[error("{file}: {message}")]
    Secret { file: String, message: String },
}

/// What a file may say. The environment is read as one more of these.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Keys {
    listen: Option<SocketAddr>,
    data_dir: Option<PathBuf>,
    tasks: Option<PathBuf>,
    models: Option<PathBuf>,
    model: Option<String>,
    onnxruntime: Option<PathBuf>,
    node_id: Option<String>,
    edge_pool_id: Option<String>,
    workers: Option<usize>,
    webhook_secret_file: Option<PathBuf>,
    outbox_max_bytes: Option<u64>,
    cameras: Option<CamerasConfig>,
    tls_cert: Option<PathBuf>,
    tls_key: Option<PathBuf>,
    receivers_allow: Option<Ranges>,
    log: Option<LogFormat>,
    faces: Option<FacesKeys>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct FacesKeys {
    #[serde(default, deserialize_with = "clock_time")]
    scan_at: Option<NaiveTime>,
    #[serde(default, deserialize_with = "zone")]
    time_zone: Option<Zone>,
    #[serde(default, deserialize_with = "web_address")]
    remote_gate_server: Option<Url>,
    fetch_private_addresses: Option<bool>,
}

impl FacesKeys {
    fn with_defaults(self) -> FacesConfig {
        let default = FacesConfig::default();
        FacesConfig {
            scan_at: self.scan_at.unwrap_or(default.scan_at),
            zone: self.time_zone.unwrap_or_default(),
            remote_gate_server: self.remote_gate_server,
            fetch_private_addresses: self.fetch_private_addresses.unwrap_or(false),
        }
    }
}

/// A list of ranges, as the file writes it.
#[derive(Debug)]
struct Ranges(Vec<Cidr>);

/// What a local network uses.
const PRIVATE: [&str; 5] = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7"];

impl Ranges {
    fn private() -> Self {
        Self(PRIVATE.iter().map(|range| range.parse().expect("a range")).collect())
    }
}

impl<'de> Deserialize<'de> for Ranges {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let texts = Vec::<String>::deserialize(deserializer)?;
        let ranges = texts.iter().map(|text| text.parse().map_err(serde::de::Error::custom));
        ranges.collect::<Result<_, _>>().map(Self)
    }
}

impl Config {
    /// From the file (the default one where `None`) and this process's environment.
    pub fn load(file: Option<&Path>) -> Result<Self, ConfigError> {
        let env: HashMap<_, _> = std::env::vars().collect();
        Self::read(file, &|name| env.get(name).cloned())
    }

    /// With the caller's environment.
    pub fn read(file: Option<&Path>, env: &dyn Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let path = file.unwrap_or(Path::new(DEFAULT_FILE));
        let keys = match fs::read_to_string(path) {
            Ok(text) => parse(&text, &path.display().to_string())?,
            Err(error) if file.is_none() && error.kind() == std::io::ErrorKind::NotFound => Keys::default(),
            Err(error) => {
                return Err(ConfigError::Unreadable { file: path.display().to_string(), reason: error.to_string() });
            }
        };
        let merged = Keys {
            listen: text(env, "LISTEN")?.or(keys.listen),
            data_dir: text(env, "DATA_DIR")?.or(keys.data_dir),
            tasks: text(env, "TASKS")?.or(keys.tasks),
            models: text(env, "MODELS")?.or(keys.models),
            model: text(env, "MODEL")?.or(keys.model),
            onnxruntime: text(env, "ONNXRUNTIME")?.or(keys.onnxruntime),
            node_id: text(env, "NODE_ID")?.or(keys.node_id),
            edge_pool_id: text(env, "EDGE_POOL_ID")?.or(keys.edge_pool_id),
            workers: number(env, "WORKERS")?.or(keys.workers),
            webhook_secret_file: text(env, "WEBHOOK_SECRET_FILE")?.or(keys.webhook_secret_file),
            outbox_max_bytes: number(env, "OUTBOX_MAX_BYTES")?.or(keys.outbox_max_bytes),
            cameras: table(env, "CAMERAS")?.or(keys.cameras),
            tls_cert: text(env, "TLS_CERT")?.or(keys.tls_cert),
            tls_key: text(env, "TLS_KEY")?.or(keys.tls_key),
            receivers_allow: ranges(env, "RECEIVERS_ALLOW")?.or(keys.receivers_allow),
            log: text(env, "LOG")?.or(keys.log),
            faces: table(env, "FACES")?.or(keys.faces),
        };
        Ok(Self::with_defaults(merged))
    }

    fn with_defaults(keys: Keys) -> Self {
        Self {
            listen: keys.listen.unwrap_or(SocketAddr::from(([127, 0, 0, 1], 8800))),
            data_dir: keys.data_dir.unwrap_or_else(|| "./data".into()),
            tasks: keys.tasks,
            models: keys.models,
            model: keys.model,
            onnxruntime: keys.onnxruntime,
            node_id: keys.node_id.unwrap_or_else(host_name),
            edge_pool_id: keys.edge_pool_id.unwrap_or_else(|| "default".to_owned()),
            workers: keys.workers.filter(|&n| n > 0).unwrap_or_else(cores),
            webhook_secret_file: keys.webhook_secret_file,
            outbox_max_bytes: keys.outbox_max_bytes.unwrap_or(4 << 30),
            cameras: keys.cameras.unwrap_or_default(),
            tls_cert: keys.tls_cert,
            tls_key: keys.tls_key,
            receivers_allow: keys.receivers_allow.unwrap_or_else(Ranges::private).0,
            log: keys.log.unwrap_or(LogFormat::Text),
            faces: keys.faces.unwrap_or_default().with_defaults(),
        }
    }
}

/// A secret's text, without the line's end. Refused where anybody but its owner may read the file.
pub fn read_secret_file(path: &Path) -> Result<String, ConfigError> {
    let fail = |message: String| ConfigError::Secret { file: path.display().to_string(), message };
    let metadata = fs::metadata(path).map_err(|error| fail(format!("cannot be read ({error})")))?;
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(fail(format!("has mode {mode:04o}, so that others may read this secret; make it 0600")));
    }
    let text = fs::read_to_string(path).map_err(|error| fail(format!("cannot be read ({error})")))?;
    let secret = text.trim_end_matches(['\r', '\n']);
    if secret.is_empty() {
        Err(fail("is empty, expected the secret on one line".to_owned()))
    } else {
        Ok(secret.to_owned())
    }
}

fn parse(text: &str, file: &str) -> Result<Keys, ConfigError> {
    toml::from_str(text).map_err(|error| {
        let before = &text[..error.span().map_or(0, |span| span.start).min(text.len())];
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        ConfigError::Invalid {
            file: file.to_owned(),
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
            message: error.message().to_owned(),
        }
    })
}

/// A key that the file writes as a string. Set but empty counts as not set.
fn text<T: DeserializeOwned>(env: &dyn Fn(&str) -> Option<String>, key: &str) -> Result<Option<T>, ConfigError> {
    let Some(value) = variable(env, key) else { return Ok(None) };
    toml::Value::String(value).try_into().map(Some).map_err(|error: toml::de::Error| invalid(key, error.message()))
}

/// A key that the file writes as a table: in the environment an inline one, `{ scan_at = "03:00" }`.
fn table<T: DeserializeOwned>(env: &dyn Fn(&str) -> Option<String>, key: &str) -> Result<Option<T>, ConfigError> {
    let Some(value) = variable(env, key) else { return Ok(None) };
    let parsed: Result<HashMap<String, T>, _> = toml::from_str(&format!("value = {value}"));
    parsed.map(|mut parsed| parsed.remove("value")).map_err(|error| invalid(key, error.message()))
}

fn clock_time<'de, D: serde::Deserializer<'de>>(value: D) -> Result<Option<NaiveTime>, D::Error> {
    let text = String::deserialize(value)?;
    let time = NaiveTime::parse_from_str(&text, "%H:%M");
    time.map(Some).map_err(|_| serde::de::Error::custom(format!("is {text:?}, expected a time such as \"03:00\"")))
}

fn zone<'de, D: serde::Deserializer<'de>>(value: D) -> Result<Option<Zone>, D::Error> {
    let text = String::deserialize(value)?;
    let zone = Zone::parse(&text);
    zone.map(Some).ok_or_else(|| {
        serde::de::Error::custom(format!("is {text:?}, expected the name of a time zone such as \"Europe/Berlin\""))
    })
}

fn web_address<'de, D: serde::Deserializer<'de>>(value: D) -> Result<Option<Url>, D::Error> {
    let text = String::deserialize(value)?;
    let url = Url::parse(&text).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    let clean = url.filter(|url| url.username().is_empty() && url.password().is_none());
    let expected = "expected an address of http or https without account; its key belongs in FACE_EDGE_GATE_TOKEN";
    clean.map(Some).ok_or_else(|| serde::de::Error::custom(expected))
}

fn number<T: std::str::FromStr>(env: &dyn Fn(&str) -> Option<String>, key: &str) -> Result<Option<T>, ConfigError> {
    let Some(value) = variable(env, key) else { return Ok(None) };
    let parsed =
        value.parse().map_err(|_| invalid(key, &format!("is {value:?}, expected a whole number of at least 0")));
    parsed.map(Some)
}

/// Separated by commas.
fn ranges(env: &dyn Fn(&str) -> Option<String>, key: &str) -> Result<Option<Ranges>, ConfigError> {
    let Some(value) = variable(env, key) else { return Ok(None) };
    let ranges = value.split(',').map(str::trim).filter(|text| !text.is_empty()).map(str::parse);
    ranges.collect::<Result<_, _>>().map(|ranges| Some(Ranges(ranges))).map_err(|error: String| invalid(key, &error))
}

fn variable(env: &dyn Fn(&str) -> Option<String>, key: &str) -> Option<String> {
    env(&format!("{ENV_PREFIX}{key}")).filter(|value| !value.is_empty())
}

fn invalid(key: &str, message: &str) -> ConfigError {
    ConfigError::Environment { variable: format!("{ENV_PREFIX}{key}"), message: message.to_owned() }
}

fn host_name() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    if name.trim().is_empty() { "edge".to_owned() } else { name.trim().to_owned() }
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}
