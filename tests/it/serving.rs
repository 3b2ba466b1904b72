//! How the interface is served: HTTPS, an orderly end, no other origins, and not too much to one key.

use std::future::IntoFuture;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::body::Body;
use axum::http::{Request, StatusCode};
use face_edge::api::keys::{KeyEnv, Keys};
use face_edge::api::rates::Rates;
use face_edge::api::router;
use face_edge::api::tls::Tls;
use rustls::pki_types::ServerName;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tower::ServiceExt;

use crate::api::{App, TASKS, TOKEN};
use crate::messages::until;

struct Pair {
    cert: PathBuf,
    key: PathBuf,
}

fn issue(folder: &Path, name: &str) -> Pair {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let pair = Pair { cert: folder.join(format!("{name}.pem")), key: folder.join(format!("{name}.key")) };
    std::fs::write(&pair.cert, made.cert.pem()).unwrap();
    std::fs::write(&pair.key, made.signing_key.serialize_pem()).unwrap();
    std::fs::set_permissions(&pair.key, std::fs::Permissions::from_mode(0o600)).unwrap();
    pair
}

struct Served {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    server: JoinHandle<std::io::Result<()>>,
    _app: App,
}

async fn serve(tls: Option<Tls>) -> Served {
    let app = App::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let server = face_edge::api::serve(listener, tls, app.state.clone(), async { drop(stopped.await) });
    Served { address, stop: Some(stop), server: tokio::spawn(server), _app: app }
}

/// The answer to GET /healthz, of a server that shows exactly this certificate.
async fn over_tls(address: SocketAddr, cert: &Path) -> Result<String, std::io::Error> {
    let mut roots = RootCertStore::empty();
    roots.add(rustls::pki_types::CertificateDer::from_pem_file(cert).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let connector = TlsConnector::from(Arc::new(builder.with_root_certificates(roots).with_no_client_auth()));
    let stream = TcpStream::connect(address).await?;
    let mut stream = connector.connect(ServerName::try_from("localhost").unwrap(), stream).await?;
    stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

#[tokio::test]
async fn https_is_spoken_and_the_certificate_can_change() {
    let folder = tempfile::tempdir().unwrap();
    let first = issue(folder.path(), "first");
    let tls = Tls::load(&first.cert, &first.key).unwrap();
    let served = serve(Some(tls.clone())).await;
    // Those who never greet hold up nobody.
    let silent: Vec<_> = (0..5).map(|_| std::net::TcpStream::connect(served.address).unwrap()).collect();
    let answer = over_tls(served.address, &first.cert).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("\r\n\r\nok"), "{answer}");

    let mut plain = TcpStream::connect(served.address).await.unwrap();
    plain.write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    plain.read_to_end(&mut answer).await.ok();
    assert!(!answer.starts_with(b"HTTP"), "without TLS there is no answer");

    let second = issue(folder.path(), "second");
    std::fs::write(&first.key, "no key").unwrap();
    assert!(tls.reload().is_err());
    assert!(over_tls(served.address, &first.cert).await.is_ok(), "the old one stays");
    std::fs::copy(&second.cert, &first.cert).unwrap();
    std::fs::copy(&second.key, &first.key).unwrap();
    tls.reload().unwrap();
    assert!(over_tls(served.address, &second.cert).await.is_ok(), "the new one is shown");
    drop(silent);
}

#[test]
fn a_certificate_that_cannot_be_used_is_explained() {
    let folder = tempfile::tempdir().unwrap();
    let (one, other) = (issue(folder.path(), "one"), issue(folder.path(), "other"));
    let empty = folder.path().join("empty");
    std::fs::write(&empty, "nothing\n").unwrap();
    std::fs::set_permissions(&empty, std::fs::Permissions::from_mode(0o600)).unwrap();
    let error = |cert: &Path, key: &Path| Tls::load(cert, key).err().unwrap().to_string();
    let said = error(&folder.path().join("none"), &one.key);
    assert!(said.contains("tls_cert") && said.contains("none"), "{said}");
    assert!(error(&empty, &one.key).contains("holds no certificate"));
    assert!(error(&one.cert, &empty).contains("holds no private key in PEM"));
    let said = error(&one.cert, &other.key);
    assert!(said.contains("do not go together"), "{said}");
    std::fs::set_permissions(&one.key, std::fs::Permissions::from_mode(0o644)).unwrap();
    assert!(error(&one.cert, &one.key).contains("make it 0600"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_request_is_answered_before_the_end() {
    let mut served = serve(None).await;
    let address = served.address;
    let body = include_str!("../golden/task-create.json");
    let begin = move || {
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        let length = body.len();
        write!(stream, "POST {TASKS} HTTP/1.1\r\nhost: x\r\nx-auth-token: {TOKEN}\r\nexpect: 100-continue\r\n")
            .unwrap();
        write!(stream, "content-length: {length}\r\n\r\n").unwrap();
        let mut reader = BufReader::new(stream);
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        assert!(line.starts_with("HTTP/1.1 100"), "its body is asked for: {line}");
        reader
    };
    let mut reader = tokio::task::spawn_blocking(begin).await.unwrap();
    served.stop.take().unwrap().send(()).unwrap();
    until("nobody else is let in", || std::net::TcpStream::connect(address).is_err()).await;
    assert!(!served.server.is_finished(), "the open request is waited for");
    let end = move || {
        reader.get_mut().write_all(body.as_bytes()).unwrap();
        let mut answer = String::new();
        reader.read_to_string(&mut answer).unwrap();
        answer
    };
    let answer = tokio::task::spawn_blocking(end).await.unwrap();
    assert!(answer.contains("HTTP/1.1 200") && answer.contains("[{\"id\":"), "{answer}");
    served.server.await.unwrap().unwrap();
}

#[tokio::test]
async fn other_origins_are_not_let_in() {
    let app = App::new();
    for method in ["GET", "OPTIONS"] {
        let request = Request::builder().method(method).uri(TASKS).header("X-Auth-Token", TOKEN);
        let request = request.header("origin", "https://elsewhere").header("access-control-request-method", "GET");
        let answer = app.send(request.body(Body::empty()).unwrap()).await;
        let allowed = answer.headers.keys().find(|name| name.as_str().starts_with("access-control"));
        assert_eq!(allowed, None, "{method}");
    }
}

#[tokio::test]
async fn a_key_that_asks_too_often_waits() {
    let app = App::new();
    let env = KeyEnv { token: Some(TOKEN.to_owned()), access_key: None };
    let keys = Keys::new(app.store.clone(), env).unwrap().with_rates(Rates::new(1, 2));
    let mut state = app.state.clone();
    state.keys = Arc::new(keys);
    let router = router(state);
    let ask = |path: &str| {
        let request = Request::get(path).header("bitkey", TOKEN).body(Body::empty()).unwrap();
        router.clone().oneshot(request).into_future()
    };
    for _ in 0..2 {
        assert_eq!(ask(TASKS).await.unwrap().status(), StatusCode::OK);
    }
    let directory = "/face/v1.2-preview.1/dynamicpersongroups";
    for path in [TASKS, "/bitanswer/api/sns", directory] {
        let answer = ask(path).await.unwrap();
        assert_eq!(answer.status(), StatusCode::TOO_MANY_REQUESTS, "{path}");
        assert_eq!(answer.headers()["retry-after"], "1");
        let body = axum::body::to_bytes(answer.into_body(), usize::MAX).await.unwrap();
        assert!(String::from_utf8_lossy(&body).contains("asks too often; it may again in 1 s"));
    }
    assert_eq!(ask("/healthz").await.unwrap().status(), StatusCode::OK, "who watches over the box is not stopped");
}
