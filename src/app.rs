//! Builds every part of the service, starts them in order, stops them in reverse. Nothing else does.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::analysts::Analysts;
use crate::api::keys::{KeyEnv, Keys};
use crate::api::tls::Tls;
use crate::api::{self, AppState, Eyes, Faces};
use crate::channel::Site;
use crate::config::{Config, IdleDecode, read_secret_file};
use crate::deliver::{Couriers, Dispatcher, DispatcherSettings, Guard, Signer, Waker, Webhook, WebhookSettings};
use crate::detect::{Catalog, Model, Runtime};
use crate::domain::{Message, Task};
use crate::eyes::PictureEyes;
use crate::fetch::Fetcher;
use crate::figures::Figures;
use crate::gallery::Gallery;
use crate::gate::{NightlyScan, RemoteServer, RemoteSettings, Schedule};
use crate::media;
use crate::memory;
use crate::recognise::Recogniser;
use crate::seal::Seal;
use crate::status::Status;
use crate::store::{Limits, OutputTarget, Store, StoredEmbedding};
use crate::supervisor::{Duties, Supervisor};
use crate::worker::Outbound;

const DEFAULT_MODEL: &str = "default";
/// Metrics' histograms are folded this often.
const UPKEEP: Duration = Duration::from_secs(5);
/// How long open requests may take to end once the service stops.
const HTTP_GRACE: Duration = Duration::from_secs(3);
/// The part that is not ready while the disk takes no messages.
const STORE: &str = "store";
/// Between two tries to store a message on a disk that does not take it.
const STORE_RETRY: Duration = Duration::from_millis(500);

/// The running service.
pub struct App {
    parts: Parts,
    signals: Signals,
}

struct Parts {
    supervisor: Supervisor,
    analysts: Analysts,
    dispatcher: Dispatcher,
    nightly_scan: NightlyScan,
    http: Http,
    stopping: Arc<std::sync::atomic::AtomicBool>,
}

struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

struct Http {
    address: SocketAddr,
    tls: Option<Tls>,
    stop: watch::Sender<bool>,
    task: JoinHandle<std::io::Result<()>>,
}

impl App {
    /// In order: what may fail because of this machine first, then the store, then what uses it, the cameras last.
    pub async fn start(config: &Config) -> anyhow::Result<Self> {
        // Before anybody can be told that the service is ready.
        let signals = Signals {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
        };
        media::init()?;
        let runtime = Runtime::load(config.onnxruntime.as_deref())?;
        let catalog = Catalog::open(config.models.as_deref())?;
        let model = Arc::new(catalog.load(config.model.as_deref().unwrap_or(DEFAULT_MODEL))?);
        let embedding = catalog.embedding().map(|entry| catalog.load(&entry.alias)).transpose()?;
        let tls = tls(config)?;
        let signers = webhook_signers(config)?;
        if let Some(folder) = &config.tasks
            && !folder.is_dir()
        {
            bail!("the folder of tasks {} is not there", folder.display());
        }
        let metrics = Figures::install().context("metrics")?;

        let limits = Limits::of_bytes(config.outbox_max_bytes);
        let store = Store::open_with(&config.data_dir, limits)
            .with_context(|| format!("the data folder {}", config.data_dir.display()))?;
        let seal = Arc::new(Seal::of_folder(&config.data_dir)?);
        let (keys, listen) = tokio::task::block_in_place(|| keys(&store, config.listen))?;
        let listener = TcpListener::bind(listen).await.with_context(|| format!("cannot listen on {listen}"))?;

        let box_keys = store.box_keys().await?.context("the box's own keys")?;
        let guard = Guard::new(config.receivers_allow.clone(), Some(listener.local_addr()?));
        let webhook = Webhook::new(signers, guard, box_keys.pictures, WebhookSettings::default())?;
        let couriers = Couriers::new(webhook, &box_keys.evidence);
        let dispatcher = Dispatcher::start(store.clone(), couriers, DispatcherSettings::default());
        let faces = faces(config, &runtime, &model, embedding, &store)?;
        let status = Arc::new(Status::default());
        let stopping = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let outbound: Arc<dyn Outbound> = Arc::new(ToOutbox {
            store: store.clone(),
            waker: dispatcher.waker(),
            status: Arc::clone(&status),
            recogniser: Recogniser::new(faces.clone(), store.clone()),
            stopping: Arc::clone(&stopping),
        });
        let analysts = Analysts::start(config.workers, &runtime, &model, &outbound)?;
        let site = Site {
            node_id: config.node_id.clone(),
            mailbox: Arc::clone(analysts.mailbox()),
            new_track_score: model.entry.score_threshold,
            idle_keyframes: config.cameras.idle_decode == IdleDecode::Keyframes,
            patience: media::Patience::default(),
            figures: metrics.clone(),
        };
        let duties = Duties {
            edge_pool_id: config.edge_pool_id.clone(),
            task_files: config.tasks.clone(),
            min_analyses_per_second: config.cameras.min_analyses_per_second,
        };
        let network = tokio::runtime::Handle::current();
        let supervisor = Supervisor::start(site, store.clone(), Arc::clone(&status), duties, network)?;
        let nightly_scan = nightly_scan(config, &store)?;
        let state = AppState {
            store: store.clone(),
            status,
            control: supervisor.remote(),
            keys: Arc::new(keys.sealed_by(seal)),
            metrics: metrics.clone(),
            edge_pool_id: config.edge_pool_id.as_str().into(),
            faces,
        };
        let http = Http::start(listener, tls, state, metrics)?;
        memory::give_back_startup_pages();
        tracing::info!(address = %http.address, model = model.entry.alias, node = config.node_id, "face-edge is ready");
        Ok(Self { parts: Parts { supervisor, analysts, dispatcher, nightly_scan, http, stopping }, signals })
    }

    pub fn address(&self) -> SocketAddr {
        self.parts.http.address
    }

    /// Until SIGINT or SIGTERM; a second one ends the process at once. SIGHUP reads the certificate again.
    pub async fn run_until_signal(self) -> anyhow::Result<()> {
        let Self { parts, signals: Signals { mut interrupt, mut terminate, mut hangup } } = self;
        loop {
            tokio::select! {
                _ = interrupt.recv() => break,
                _ = terminate.recv() => break,
                _ = hangup.recv() => parts.http.reload(),
            }
        }
        tracing::info!("stopping; a second signal ends at once");
        tokio::select! {
            () = parts.stop() => Ok(()),
            _ = interrupt.recv() => bail!("stopped before everything was put away"),
            _ = terminate.recv() => bail!("stopped before everything was put away"),
        }
    }
}

impl Parts {
    /// In reverse: no new requests, no new frames, what is in hand is committed, then delivery stops.
    async fn stop(self) {
        let Self { supervisor, analysts, dispatcher, nightly_scan, http, stopping } = self;
        http.stop().await;
        drop(nightly_scan);
        let cameras = tokio::task::spawn_blocking(move || {
            supervisor.stop();
            stopping.store(true, std::sync::atomic::Ordering::Relaxed);
            analysts.stop();
        });
        if cameras.await.is_err() {
            tracing::error!("the cameras did not stop in order");
        }
        dispatcher.stop().await;
    }
}

impl Http {
    fn start(listener: TcpListener, tls: Option<Tls>, state: AppState, metrics: Figures) -> anyhow::Result<Self> {
        let for_reload = tls.clone();
        let address = listener.local_addr()?;
        let (stop, mut stopped) = watch::channel(false);
        let mut upkeep = tokio::time::interval(UPKEEP);
        let task = tokio::spawn(async move {
            let mut until = stopped.clone();
            let server = api::serve(listener, tls, state, async move {
                // An error means that the sender is gone: stop as well.
                let _ = until.wait_for(|stop| *stop).await;
            });
            tokio::pin!(server);
            loop {
                tokio::select! {
                    ended = &mut server => return ended,
                    _ = upkeep.tick() => metrics.run_upkeep(),
                    _ = async { let _ = stopped.wait_for(|stop| *stop).await; tokio::time::sleep(HTTP_GRACE).await } => return Ok(()),
                }
            }
        });
        Ok(Self { address, tls: for_reload, stop, task })
    }

    fn reload(&self) {
        match self.tls.as_ref().map(Tls::reload) {
            Some(Ok(())) => tracing::info!("the certificate was read again"),
            Some(Err(error)) => tracing::error!(%error, "the certificate stays as it was"),
            None => {}
        }
    }

    async fn stop(self) {
        self.stop.send_replace(true);
        match self.task.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(%error, "the listener failed"),
            Err(_) => tracing::error!("the listener had panicked"),
        }
    }
}

/// The keys, and where to listen: without a chosen key, on loopback only.
fn keys(store: &Store, listen: SocketAddr) -> anyhow::Result<(Keys, SocketAddr)> {
    let bootstrap = Keys::bootstrap(store.clone(), KeyEnv::of_process())?;
    let mut address = listen;
    if bootstrap.loopback_only() && !listen.ip().is_loopback() {
        address.set_ip(IpAddr::V4(Ipv4Addr::LOCALHOST));
        tracing::warn!(%address, "no key has been chosen yet: answering on loopback only until the next start");
    }
    if let Some(key) = &bootstrap.first_key {
        // The one place where a key is shown: on the terminal, not in the log.
        println!("first admin key, shown this once: {key}");
    }
    Ok((bootstrap.keys, address))
}

fn tls(config: &Config) -> anyhow::Result<Option<Tls>> {
    match (&config.tls_cert, &config.tls_key) {
        (Some(cert), Some(key)) => Ok(Some(Tls::load(cert, key)?)),
        (None, None) => Ok(None),
        (Some(_), None) => bail!("tls_cert is set and tls_key is not: set both for HTTPS, or neither"),
        (None, Some(_)) => bail!("tls_key is set and tls_cert is not: set both for HTTPS, or neither"),
    }
}

/// What the interfaces of stored faces use; every stored embedding is in memory from here on.
fn faces(
    config: &Config,
    runtime: &Runtime,
    detector: &Arc<Model>,
    embedding: Option<Model>,
    store: &Store,
) -> anyhow::Result<Faces> {
    let eyes = PictureEyes::new(runtime, detector, embedding)?;
    let gallery = Arc::new(Gallery::default());
    let log = tokio::task::block_in_place(|| store.erasure_log().wait())?;
    match log.broken_at {
        None => tracing::info!(rows = log.rows, head = log.head, "the log of erased faces is whole"),
        Some(row) => tracing::error!(row, "the log of erased faces was tampered with: its chain breaks here"),
    }
    if let Some(recognition) = eyes.recognition() {
        let put = &mut |stored: StoredEmbedding| gallery.put(&stored.owner, &stored.face, &stored.embedding);
        tokio::task::block_in_place(|| store.embeddings(&recognition.model, put))?;
    }
    let fetch = Fetcher::new(config.faces.fetch_private_addresses).map_err(anyhow::Error::msg)?;
    Ok(Faces::new(Arc::new(eyes), Arc::new(fetch), gallery, config.faces.zone, config.workers))
}

fn nightly_scan(config: &Config, store: &Store) -> anyhow::Result<NightlyScan> {
    let schedule = Schedule { at: config.faces.scan_at, zone: config.faces.zone };
    Ok(NightlyScan::start(store.clone(), schedule, remote_gate_server(config)?))
}

/// Where one is configured.
pub fn remote_gate_server(config: &Config) -> anyhow::Result<Option<RemoteServer>> {
    let Some(base_url) = config.faces.remote_gate_server.clone() else { return Ok(None) };
    let token = std::env::var("FACE_EDGE_GATE_TOKEN").ok().filter(|token| !token.is_empty());
    Ok(Some(RemoteServer::new(RemoteSettings::new(base_url, token))?))
}

fn webhook_signers(config: &Config) -> anyhow::Result<Vec<Signer>> {
    let from_env = std::env::var("FACE_EDGE_WEBHOOK_SECRET").ok().filter(|secret| !secret.is_empty());
    let secret = match (&config.webhook_secret_file, from_env) {
        (Some(file), _) => Some(read_secret_file(file)?),
        (None, from_env) => from_env,
    };
    secret.map_or(Ok(Vec::new()), |secret| Signer::all(&secret).context("the webhook secret"))
}

/// Commits messages, one transaction each, and wakes the dispatcher. On a disk that does not take them it waits and
/// tries again: the analysis waits with it, and frames are dropped at the mailbox, where they are counted.
struct ToOutbox {
    store: Store,
    waker: Waker,
    status: Arc<Status>,
    recogniser: Recogniser,
    stopping: Arc<std::sync::atomic::AtomicBool>,
}

impl Outbound for ToOutbox {
    fn send(&self, task: &Task, messages: Vec<Message>) {
        for message in messages {
            let message = match message {
                Message::Face(face) => self.recogniser.treat(task, face).map(Message::Face),
                Message::Origin(origin) => Some(Message::Origin(origin)),
            };
            let Some(message) = message else { continue };
            let targets = OutputTarget::of(&task.outputs, message.category());
            self.commit(task, &message, &targets);
        }
        self.waker.wake();
    }
}

impl ToOutbox {
    fn commit(&self, task: &Task, message: &Message, targets: &[OutputTarget]) {
        while let Err(error) = self.store.enqueue(message, targets).wait() {
            tracing::error!(task = %task.id, %error, "a message could not be stored; trying again");
            metrics::counter!("face_edge_store_failures_total").increment(1);
            self.status.not_ready(STORE, error.to_string());
            if self.stopping.load(std::sync::atomic::Ordering::Relaxed) {
                metrics::counter!("face_edge_dropped_total", "stage" => "store", "reason" => "stopping").increment(1);
                return;
            }
            std::thread::park_timeout(STORE_RETRY);
        }
        self.status.ready(STORE);
    }
}
