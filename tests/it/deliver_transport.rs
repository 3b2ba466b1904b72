//! How messages travel: as parts, as addresses, at a pace, over TLS with certificates of one's own, over HTTP/2, and
//! not to addresses that are refused.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Version};
use face_edge::clock;
use face_edge::deliver::{Couriers, Dispatcher, DispatcherSettings, Guard, Signer, Webhook, WebhookSettings};
use face_edge::domain::Message;
use face_edge::store::{DeliveryState, Form, OutputConnection, OutputTarget, Store, WebhookOptions};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::service::TowerToHyperService;
use parking_lot::Mutex;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use uuid::Uuid;

use crate::deliver::Sender;
use crate::messages::{face, origin, until};

/// A request as it came.
#[derive(Clone)]
struct Taken {
    version: Version,
    headers: HeaderMap,
    body: Bytes,
}

type Requests = Arc<Mutex<Vec<Taken>>>;

async fn take(State(requests): State<Requests>, version: Version, headers: HeaderMap, body: Bytes) -> StatusCode {
    requests.lock().push(Taken { version, headers, body });
    StatusCode::NO_CONTENT
}

fn app(requests: &Requests) -> Router {
    Router::new().fallback(take).with_state(Arc::clone(requests))
}

async fn plain_server() -> (SocketAddr, Requests) {
    let requests = Requests::default();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = app(&requests);
    tokio::spawn(async move { axum::serve(listener, server).await.unwrap() });
    (address, requests)
}

fn hook(url: String, options: WebhookOptions) -> OutputTarget {
    OutputTarget::Webhook { url, headers: vec![], options: Box::new(options) }
}

async fn delivered(sender: &Sender, count: usize) {
    until("delivered", || sender.count(DeliveryState::Delivered) == count).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn json_and_picture_travel_as_parts() {
    let (address, requests) = plain_server().await;
    let sender = Sender::start(Some("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"));
    let message = face(Uuid::from_u128(1), 1);
    let options = WebhookOptions { form: Form::Multipart, ..Default::default() };
    sender.send(&message, hook(format!("http://{address}/"), options)).await;
    delivered(&sender, 1).await;
    let taken = requests.lock()[0].clone();
    let kind = taken.headers["content-type"].to_str().unwrap().to_owned();
    let mut form = multer(&kind, &taken.body);
    let (json, picture) = (form.remove(0), form.remove(0));
    let json: Value = serde_json::from_slice(&json).unwrap();
    assert_eq!(json["message_id"], message.id().to_string().to_uppercase());
    assert_eq!(picture, message.jpeg().to_vec());
    let signer = Signer::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
    let header = |name: &str| taken.headers[name].to_str().unwrap().to_owned();
    let timestamp = header("webhook-timestamp").parse().unwrap();
    let wanted = signer.sign(&header("webhook-id"), timestamp, &taken.body);
    assert_eq!(header("webhook-signature"), wanted, "over the parts as they came");
}

/// The bodies of a form's parts, read by the rules of RFC 7578 alone.
fn multer(content_type: &str, body: &[u8]) -> Vec<Vec<u8>> {
    let boundary = format!("--{}", content_type.split_once("boundary=").unwrap().1);
    let find = |from: usize, what: &[u8]| body[from..].windows(what.len()).position(|w| w == what).map(|at| from + at);
    let (mut parts, mut at) = (Vec::new(), find(0, boundary.as_bytes()).unwrap() + boundary.len());
    while !body[at..].starts_with(b"--") {
        let start = find(at, b"\r\n\r\n").unwrap() + 4;
        let end = find(start, format!("\r\n{boundary}").as_bytes()).unwrap();
        parts.push(body[start..end].to_vec());
        at = end + 2 + boundary.len();
    }
    parts
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thin_message_says_where_its_picture_is() {
    let (address, requests) = plain_server().await;
    let sender = Sender::start(None);
    let options = WebhookOptions { form: Form::Thin { base: "http://10.0.0.7:8800".into() }, ..Default::default() };
    let message = face(Uuid::from_u128(1), 1);
    sender.send(&message, hook(format!("http://{address}/"), options)).await;
    delivered(&sender, 1).await;
    let json: Value = serde_json::from_slice(&requests.lock()[0].body).unwrap();
    assert!(json.get("image_base64").is_none());
    let url = json["image_url"].as_str().unwrap();
    assert!(url.starts_with(&format!("http://10.0.0.7:8800/pictures/{}.jpg?expires=", message.id())), "{url}");
    let expires = json["image_url_expires"].as_i64().unwrap();
    let day = expires - clock::unix_ms().secs();
    assert!((24 * 3600 - 60..=24 * 3600).contains(&day), "{day}");
}

#[tokio::test(flavor = "multi_thread")]
async fn faces_go_first_and_the_line_is_not_overfilled() {
    let (address, requests) = plain_server().await;
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    // About 4 kB a message: ten of them need about a second and a half.
    let connection = OutputConnection { max_kbit_s: Some(200), ..Default::default() };
    let target = hook(format!("http://{address}/"), WebhookOptions { connection, ..Default::default() });
    for _ in 0..2 {
        store.enqueue(&origin(), std::slice::from_ref(&target)).await.unwrap();
    }
    for track in 1..=8 {
        store.enqueue(&face(Uuid::from_u128(track), 1), std::slice::from_ref(&target)).await.unwrap();
    }
    let began = clock::monotonic();
    let settings = DispatcherSettings { per_output: 1, ..Default::default() };
    let dispatcher = Dispatcher::start(store.clone(), crate::deliver::couriers(&store, None), settings);
    until("all delivered", || store.totals().wait().unwrap().delivered == 10).await;
    let took = began.elapsed();
    dispatcher.stop().await;
    let requests = requests.lock();
    let bits: usize = requests.iter().skip(1).map(|taken| taken.body.len() * 8).sum();
    let least = Duration::from_secs_f64(bits as f64 / 200_000.0 * 0.8);
    assert!(took > least, "{bits} bits in {took:?}");
    let kind = |taken: &Taken| serde_json::from_slice::<Value>(&taken.body).unwrap()["event_type"].as_u64().unwrap();
    let kinds: Vec<_> = requests.iter().map(kind).collect();
    assert_eq!((&kinds[..8], &kinds[8..]), (&[65536; 8][..], &[65537; 2][..]));
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_addresses_are_never_called_and_what_waits_goes_once_they_are_allowed() {
    let (address, requests) = plain_server().await;
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let port = address.port();
    let hosts = ["127.0.0.1", "localhost", "127.1", "2130706433", "0x7f.1", "[::ffff:127.0.0.1]"];
    for (track, host) in (1..).zip(hosts) {
        let target = OutputTarget::webhook(format!("http://{host}:{port}/"), vec![]);
        store.enqueue(&face(Uuid::from_u128(track), 1), &[target]).await.unwrap();
    }
    let start = |guard| {
        let webhook = Webhook::new(vec![], guard, [0; 32], WebhookSettings::default()).unwrap();
        Dispatcher::start(store.clone(), Couriers::new(webhook, &[0; 32]), DispatcherSettings::default())
    };
    let strict = start(Guard::new(vec![], None));
    let rows = || {
        let query = face_edge::store::DeliveryQuery { limit: 99, ..Default::default() };
        store.deliveries(query).wait().unwrap()
    };
    until("all tried", || rows().iter().all(|row| row.reason.is_some())).await;
    strict.stop().await;
    for row in rows() {
        let reason = row.reason.unwrap();
        assert!(reason.contains("refused") && reason.contains("receivers_allow"), "{reason}");
        assert_eq!(row.state, DeliveryState::Pending);
    }
    let own = start(Guard::new(vec!["127.0.0.0/8".parse().unwrap(), "::1".parse().unwrap()], Some(address)));
    until("all tried again", || rows().iter().all(|row| row.attempts >= 2)).await;
    own.stop().await;
    assert!(rows().iter().all(|row| row.reason.as_ref().unwrap().contains("itself")), "its own listener");
    assert_eq!(requests.lock().len(), 0, "no connection was made");

    let open = start(crate::deliver::loopback());
    until("all delivered", || rows().iter().all(|row| row.state == DeliveryState::Delivered)).await;
    open.stop().await;
    assert_eq!(requests.lock().len(), hosts.len());
}

/// An authority that nobody knows, and certificates of it.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(vec![]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn pem(&self) -> String {
        self.0.pem()
    }

    /// Certificate and key.
    fn issue(&self, name: &str) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&key, &self.0).unwrap();
        (certificate.pem(), key.serialize_pem())
    }
}

/// Asks for a client's certificate of `clients`, if one is given; speaks HTTP/2 and 1.1.
async fn tls_server(authority: &Authority, clients: Option<&Authority>) -> (SocketAddr, Requests) {
    let (certificate, key) = authority.issue("localhost");
    let chain = vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider));
    let builder = builder.with_safe_default_protocol_versions().unwrap();
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(clients) => {
            let mut roots = rustls::RootCertStore::empty();
            roots.add(CertificateDer::from_pem_slice(clients.pem().as_bytes()).unwrap()).unwrap();
            let verifier =
                rustls::server::WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
            builder.with_client_cert_verifier(verifier)
        }
    };
    let mut config = builder.with_single_cert(chain, key).unwrap();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let (acceptor, requests) = (TlsAcceptor::from(Arc::new(config)), Requests::default());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, service) = (listener.local_addr().unwrap(), app(&requests));
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let (acceptor, service) = (acceptor.clone(), TowerToHyperService::new(service.clone()));
            tokio::spawn(async move {
                let Ok(stream) = acceptor.accept(stream).await else { return };
                let builder = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
                builder.serve_connection(TokioIo::new(stream), service).await.ok();
            });
        }
    });
    (address, requests)
}

fn write(dir: &Path, name: &str, pem: &str) -> Option<String> {
    let file = dir.join(name);
    fs::write(&file, pem).unwrap();
    Some(file.display().to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_authority_of_one_s_own_is_trusted_where_the_output_names_it_and_http2_is_spoken() {
    let authority = Authority::new();
    let (address, requests) = tls_server(&authority, None).await;
    let url = format!("https://localhost:{}/", address.port());
    let sender = Sender::start(None);
    sender.send(&face(Uuid::from_u128(1), 1), OutputTarget::webhook(url.clone(), vec![])).await;
    let reason = sender.tried().await.reason.unwrap();
    assert!(reason.contains("no connection"), "an unknown authority: {reason}");

    let dir = tempfile::tempdir().unwrap();
    let connection = OutputConnection { ca_file: write(dir.path(), "ca.pem", &authority.pem()), ..Default::default() };
    let options = WebhookOptions { connection, ..Default::default() };
    sender.send(&face(Uuid::from_u128(2), 1), hook(url, options)).await;
    delivered(&sender, 2).await;
    assert!(requests.lock().iter().all(|taken| taken.version == Version::HTTP_2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_may_ask_who_the_box_is() {
    let (authority, clients) = (Authority::new(), Authority::new());
    let (address, requests) = tls_server(&authority, Some(&clients)).await;
    let url = format!("https://localhost:{}/", address.port());
    let dir = tempfile::tempdir().unwrap();
    let ca_file = write(dir.path(), "ca.pem", &authority.pem());
    let missing = dir.path().join("box.pem").display().to_string();
    let target = |client_certificate_file| {
        let connection = OutputConnection { ca_file: ca_file.clone(), client_certificate_file, max_kbit_s: None };
        hook(url.clone(), WebhookOptions { connection, ..Default::default() })
    };
    let sender = Sender::start(None);
    sender.send(&face(Uuid::from_u128(1), 1), target(None)).await;
    sender.tried().await;
    assert_eq!(requests.lock().len(), 0, "without a certificate there is no call");
    sender.send(&face(Uuid::from_u128(1), 2), target(Some(missing.clone()))).await;
    until("the missing file is named", || {
        sender.rows().iter().any(|row| row.reason.as_ref().is_some_and(|reason| reason.contains(&missing)))
    })
    .await;
    let (certificate, key) = clients.issue("box-7");
    write(dir.path(), "box.pem", &format!("{certificate}{key}"));
    delivered(&sender, 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_output_signs_with_its_own_secrets_and_with_both_while_they_change() {
    let (address, requests) = plain_server().await;
    let sender = Sender::start(Some("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"));
    let own =
        ["whsec_C2FtcGxlLXNlY3JldC1vZi0zMi1ieXRlcy1sb25nISE=", "whsk_BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc="];
    let options = WebhookOptions { secrets: own.map(str::to_owned).to_vec(), ..Default::default() };
    sender.send(&face(Uuid::from_u128(1), 1), hook(format!("http://{address}/"), options)).await;
    delivered(&sender, 1).await;
    let taken = requests.lock()[0].clone();
    let header = |name: &str| taken.headers[name].to_str().unwrap().to_owned();
    let sign = |secret: &str| {
        let timestamp = header("webhook-timestamp").parse().unwrap();
        Signer::new(secret).unwrap().sign(&header("webhook-id"), timestamp, &taken.body)
    };
    assert_eq!(header("webhook-signature"), format!("{} {}", sign(own[0]), sign(own[1])));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_saved_series_is_verified_and_every_change_is_found() {
    let mount = tempfile::tempdir().unwrap();
    let sender = Sender::start(None);
    let target = OutputTarget::LocalPath { mount: mount.path().display().to_string(), evidence: true };
    // One after the other, so that the files are numbered as the links are.
    for seq in 1..=4 {
        sender.send(&face(Uuid::from_u128(1), seq), target.clone()).await;
    }
    let Message::Origin(mut frame) = origin() else { unreachable!("a frame") };
    frame.stream_id = "gate-1".into();
    sender.send(&Message::Origin(frame), target).await;
    delivered(&sender, 5).await;

    let folder = mount.path().to_owned();
    let verify = || {
        let program = env!("CARGO_BIN_EXE_face-edge");
        let output = std::process::Command::new(program).arg("verify").arg(&folder).output().unwrap();
        (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let (good, said) = verify();
    assert!(good && said.contains("5 messages, numbers 1 to 5"), "{said}");

    let mut files = Vec::new();
    let day = fs::read_dir(folder.join("gate-1/faceimage")).unwrap().next().unwrap().unwrap().path();
    for kind in ["json", "pic"] {
        let mut of_kind: Vec<_> = fs::read_dir(day.join(kind)).unwrap().map(|file| file.unwrap().path()).collect();
        of_kind.sort();
        files.push(of_kind.remove(1));
    }
    for (file, change, fault) in [
        (&files[0], "gate-1\",\"timestamp", "its signature does not fit"),
        (&files[1], "", "its picture is not the one that was signed"),
    ] {
        let kept = fs::read(file).unwrap();
        let changed = if change.is_empty() {
            [kept.as_slice(), b"x"].concat()
        } else {
            String::from_utf8(kept.clone()).unwrap().replace(change, "gate-2\",\"timestamp").into_bytes()
        };
        fs::write(file, changed).unwrap();
        let (good, said) = verify();
        assert!(!good && said.contains(fault), "{said}");
        fs::write(file, kept).unwrap();
    }
    fs::remove_file(&files[0]).unwrap();
    let (good, said) = verify();
    assert!(!good && said.contains("after number 1 comes 3"), "{said}");
}
