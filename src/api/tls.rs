//! HTTPS: a listener that greets clients by TLS before it hands them on. A client that is slow to greet holds up
//! nobody else, and one that never does is dropped. The certificate may be changed while the service runs.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use axum::serve::Listener;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::config::{ConfigError, read_secret_file};

/// Clients that are greeted at once; more wait in the system's queue.
const GREETINGS: usize = 64;
const GREETING_LIMIT: Duration = Duration::from_secs(10);
/// Where the system has no more connections to give, it is asked again after this.
const ACCEPT_AGAIN: Duration = Duration::from_secs(1);

#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error(transparent)]
    Key(#[from] ConfigError),
    #[error("tls_cert {file}: {reason}; expected the certificate and those that signed it, in PEM")]
    Certificate { file: String, reason: String },
    #[error("tls_key {file}: holds no private key in PEM (PKCS#8, PKCS#1 or SEC1)")]
    NoKey { file: String },
    #[error("tls_cert {cert} and tls_key {key} do not go together: {reason}")]
    Pair { cert: String, key: String, reason: String },
}

/// The certificate as it is in its files, and as it was when they were read last.
#[derive(Clone)]
pub struct Tls {
    cert: PathBuf,
    key: PathBuf,
    config: Arc<ArcSwap<ServerConfig>>,
}

impl Tls {
    pub fn load(cert: &Path, key: &Path) -> Result<Self, TlsError> {
        let config = Arc::new(ArcSwap::new(read(cert, key)?));
        Ok(Self { cert: cert.to_owned(), key: key.to_owned(), config })
    }

    /// Reads the files again, for the clients that come from now on. On an error the old certificate stays.
    pub fn reload(&self) -> Result<(), TlsError> {
        self.config.store(read(&self.cert, &self.key)?);
        Ok(())
    }

    pub fn listen(&self, listener: TcpListener) -> io::Result<TlsListener> {
        let address = listener.local_addr()?;
        let (sender, greeted) = mpsc::channel(GREETINGS);
        let greeter = tokio::spawn(greet(listener, Arc::clone(&self.config), sender));
        Ok(TlsListener { address, greeted, greeter })
    }
}

type Greeted = (TlsStream<TcpStream>, SocketAddr);

pub struct TlsListener {
    address: SocketAddr,
    greeted: mpsc::Receiver<Greeted>,
    greeter: JoinHandle<()>,
}

impl Drop for TlsListener {
    fn drop(&mut self) {
        self.greeter.abort();
    }
}

impl Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> Greeted {
        match self.greeted.recv().await {
            Some(greeted) => greeted,
            // The greeter ends with this listener and not before.
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.address)
    }
}

async fn greet(listener: TcpListener, config: Arc<ArcSwap<ServerConfig>>, greeted: mpsc::Sender<Greeted>) {
    let places = Arc::new(Semaphore::new(GREETINGS));
    loop {
        let place = Arc::clone(&places).acquire_owned().await.expect("is never closed");
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_AGAIN).await;
                continue;
            }
        };
        let (acceptor, greeted) = (TlsAcceptor::from(config.load_full()), greeted.clone());
        tokio::spawn(async move {
            match tokio::time::timeout(GREETING_LIMIT, acceptor.accept(stream)).await {
                // An error means that the service stops.
                Ok(Ok(stream)) => drop(greeted.send((stream, peer)).await),
                Ok(Err(error)) => tracing::debug!(%peer, %error, "a client could not be greeted by TLS"),
                Err(_) => tracing::debug!(%peer, "a client did not greet in time"),
            }
            drop(place);
        });
    }
}

fn read(cert: &Path, key: &Path) -> Result<Arc<ServerConfig>, TlsError> {
    let name = |path: &Path| path.display().to_string();
    let unusable = |reason: String| TlsError::Certificate { file: name(cert), reason };
    let chain = CertificateDer::pem_file_iter(cert)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| unusable(error.to_string()))?;
    if chain.is_empty() {
        return Err(unusable("holds no certificate".to_owned()));
    }
    let secret = read_secret_file(key)?;
    let secret = PrivateKeyDer::from_pem_slice(secret.as_bytes()).map_err(|_| TlsError::NoKey { file: name(key) })?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, secret))
        .map_err(|error| TlsError::Pair { cert: name(cert), key: name(key), reason: error.to_string() })?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
