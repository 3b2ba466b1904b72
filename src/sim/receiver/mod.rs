//! A webhook receiver that trusts nothing: it verifies every message against the documentation, counts, finds
//! duplicates and broken order, saves and shows the pictures, and fails on demand. For the demo, for tests, and for
//! whoever sets a box up before the real receiver exists.

mod faults;
mod page;
mod tally;
mod verify;

pub use faults::Fault;
pub use tally::{Received, Summary};

use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{ConnectInfo, DefaultBodyLimit, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::clock;
use crate::domain::UnixMs;
use faults::{CutListener, CutSwitch};
use tally::Tally;
use verify::{Checked, Signature};

/// A 4K frame at full quality, in base64.
const LARGEST_BODY_BYTES: usize = 32 << 20;
/// For requests in hand when it stops.
const GRACE: Duration = Duration::from_secs(2);

#[derive(Debug, Default)]
pub struct Options {
    /// Pictures go here; made where it is missing.
    pub save: Option<PathBuf>,
    /// Every message must be signed with it.
    pub secret: Option<String>,
    pub fault: Option<Fault>,
    pub print: Print,
}

/// What goes to stdout while it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Print {
    #[default]
    Nothing,
    /// One line a face.
    Text,
    /// One JSON object a message.
    Json,
}

#[derive(Debug, thiserror::Error)]
pub enum ReceiverError {
    #[error("cannot listen on {address}: {source}; choose another with --listen")]
    Listen { address: SocketAddr, source: io::Error },
    #[error("cannot make the folder {folder}: {source}")]
    Folder { folder: String, source: io::Error },
    #[error("the webhook secret is not base64 (after an optional whsec_)")]
    Secret,
}

/// Takes messages on every path until it is stopped or dropped.
pub struct Receiver {
    address: SocketAddr,
    shared: Arc<Shared>,
    stopping: watch::Sender<bool>,
    server: JoinHandle<io::Result<()>>,
}

impl Receiver {
    pub async fn start(address: SocketAddr, options: Options) -> Result<Self, ReceiverError> {
        let key = options.secret.as_deref().map(secret_key).transpose()?;
        if let Some(folder) = &options.save {
            std::fs::create_dir_all(folder)
                .map_err(|source| ReceiverError::Folder { folder: folder.display().to_string(), source })?;
        }
        let listen = |source| ReceiverError::Listen { address, source };
        let listener = TcpListener::bind(address).await.map_err(listen)?;
        let bound = listener.local_addr().map_err(listen)?;
        let (stopping, stopped) = watch::channel(false);
        let shared = Arc::new(Shared {
            tally: Mutex::new(Tally::default()),
            fault: Mutex::new(options.fault),
            key,
            save: options.save,
            print: options.print,
            stopped: stopped.clone(),
        });
        let service = router(Arc::clone(&shared)).into_make_service_with_connect_info::<CutSwitch>();
        let server = axum::serve(CutListener(listener), service).with_graceful_shutdown(stop_asked(stopped));
        Ok(Self { address: bound, shared, stopping, server: tokio::spawn(server.into_future()) })
    }

    /// To be given to a task as its webhook.
    pub fn url(&self) -> String {
        format!("http://{}/faces", self.address)
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Everything taken so far, duplicates and all, in order of receipt; the newest hundred thousand.
    pub fn received(&self) -> Vec<Received> {
        self.shared.tally.lock().messages.iter().cloned().collect()
    }

    pub fn summary(&self) -> Summary {
        self.shared.tally.lock().summary()
    }

    /// For requests from now on.
    pub fn set_fault(&self, fault: Option<Fault>) {
        *self.shared.fault.lock() = fault;
    }

    /// The port is free afterwards.
    pub async fn stop(mut self) -> Summary {
        self.stopping.send_replace(true);
        if tokio::time::timeout(GRACE, &mut self.server).await.is_err() {
            self.server.abort();
            (&mut self.server).await.ok();
        }
        self.summary()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.server.abort();
    }
}

struct Shared {
    tally: Mutex<Tally>,
    fault: Mutex<Option<Fault>>,
    key: Option<Vec<u8>>,
    save: Option<PathBuf>,
    print: Print,
    stopped: watch::Receiver<bool>,
}

fn secret_key(secret: &str) -> Result<Vec<u8>, ReceiverError> {
    let text = secret.trim();
    STANDARD.decode(text.strip_prefix("whsec_").unwrap_or(text)).map_err(|_| ReceiverError::Secret)
}

async fn stop_asked(mut stopped: watch::Receiver<bool>) {
    stopped.wait_for(|stop| *stop).await.ok();
}

fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/", get(page::index).post(receive))
        .route("/pictures/{name}", get(page::picture))
        .route("/{*path}", axum::routing::post(receive))
        .layer(DefaultBodyLimit::max(LARGEST_BODY_BYTES))
        .with_state(shared)
}

async fn receive(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(switch): ConnectInfo<CutSwitch>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let at = clock::unix_ms();
    let fault = shared.fault.lock().clone();
    match fault {
        Some(Fault::Status { code, retry_after_s }) => {
            shared.tally.lock().refuse();
            return refusal(code, retry_after_s);
        }
        Some(Fault::Hang) => {
            shared.tally.lock().refuse();
            stop_asked(shared.stopped.clone()).await;
            return StatusCode::SERVICE_UNAVAILABLE.into_response();
        }
        Some(Fault::Delay(wait)) => tokio::time::sleep(wait).await,
        Some(Fault::Cut) => switch.throw(),
        None => {}
    }
    // Decoding a picture takes a while: not on the threads that serve.
    match tokio::task::spawn_blocking(move || shared.take(&headers, &body, at)).await {
        Ok(true) => StatusCode::NO_CONTENT.into_response(),
        Ok(false) => StatusCode::UNAUTHORIZED.into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

fn refusal(code: u16, retry_after_s: Option<u64>) -> Response {
    let mut response = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR).into_response();
    if let Some(seconds) = retry_after_s {
        response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
    }
    if response.status().is_redirection() {
        response.headers_mut().insert(header::LOCATION, header::HeaderValue::from_static("/elsewhere"));
    }
    response
}

impl Shared {
    /// False where the signature does not fit. A message with other faults is taken, and counted as bad.
    fn take(&self, headers: &HeaderMap, body: &[u8], at: UnixMs) -> bool {
        let signature = signature(headers);
        let signed = self.key.as_ref().map(|key| verify::check_signature(key, &signature, body, at.secs()));
        if let Some(Err(problem)) = signed {
            tracing::warn!("{problem}");
            self.tally.lock().reject(problem);
            return false;
        }
        let mut checked = verify::check_message(body);
        if signature.id.as_ref().is_some_and(|id| *id != checked.message_id) {
            checked.problems.push("webhook-id is not the message_id".into());
        }
        if let Some(folder) = &self.save
            && let Err(error) = save(folder, &checked, at)
        {
            tracing::warn!(%error, "a picture could not be saved");
        }
        let received = self.tally.lock().take(checked, at);
        self.report(&received);
        true
    }

    fn report(&self, received: &Received) {
        for problem in &received.problems {
            tracing::warn!(message_id = received.message_id, "{problem}");
        }
        let line = match self.print {
            Print::Text if received.is_face || !received.problems.is_empty() => line(received),
            Print::Json => serde_json::to_string(received).expect("no map keys: always JSON"),
            Print::Text | Print::Nothing => return,
        };
        // Whoever reads our lines may have gone; the receiver goes on.
        writeln!(io::stdout(), "{line}").ok();
    }
}

fn signature(headers: &HeaderMap) -> Signature {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    Signature { id: text("webhook-id"), timestamp: text("webhook-timestamp"), signatures: text("webhook-signature") }
}

/// Time, track, number, size, quality, rule, delay, and what is wrong.
fn line(received: &Received) -> String {
    let time = chrono::DateTime::from_timestamp_millis(received.at.0).unwrap_or_default();
    let time = time.with_timezone(&chrono::Local).format("%H:%M:%S%.3f");
    let track = received.track.as_deref().map_or("?", short);
    let (width, height) = received.face_size.unwrap_or_default();
    let mut line = format!(
        "{time}  track {track} #{:<3} {width:>4}×{height:<4} quality {:.2}  {:<12} {:>6} ms",
        received.seq.unwrap_or(0),
        received.quality.unwrap_or(0.0),
        received.reason.as_deref().unwrap_or("?"),
        received.delay_ms.unwrap_or(0),
    );
    for (set, word) in [(received.duplicate, "duplicate"), (received.out_of_order, "out of order")] {
        if set {
            line.push_str("  ");
            line.push_str(word);
        }
    }
    if !received.problems.is_empty() {
        line.push_str("  BAD: ");
        line.push_str(&received.problems.join("; "));
    }
    line
}

fn short(track: &str) -> &str {
    track.get(..8).unwrap_or(track)
}

/// Named by time, track and number, so that a folder listing is the story. Only hex digits of a message get into it.
fn save(folder: &Path, checked: &Checked, at: UnixMs) -> io::Result<()> {
    let hex = |text: &str| text.chars().filter(char::is_ascii_hexdigit).take(8).collect::<String>();
    let time = chrono::DateTime::from_timestamp_millis(checked.timestamp_ms.unwrap_or(at.0)).unwrap_or_default();
    let time = time.format("%Y%m%dT%H%M%S%.3f");
    let name = match (&checked.track, checked.seq) {
        // Short names of tracks may agree; two pictures must not share a file.
        (Some(track), Some(seq)) => format!("{time}_{}_{seq:03}_{}.jpg", hex(track), hex(&checked.message_id)),
        _ => format!("{time}_origin_{}.jpg", hex(&checked.message_id)),
    };
    std::fs::write(folder.join(name), &checked.picture)
}
