//! Everything that a receiver can do wrong at the level of bytes, one row each: nothing is lost, nothing is delivered
//! that was not, and the order of the track holds.
//!
//! The faulty receiver is a plain socket. It misbehaves for the first connections and is an honest receiver's front
//! door afterwards: it passes everything on to `sim::receiver`.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use face_edge::sim::receiver::{Options, Receiver};
use face_edge::store::{DeliveryState, OutputTarget};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use uuid::Uuid;

use crate::deliver::Sender;
use crate::messages::{face, until};

#[derive(Clone, Copy)]
enum Fault {
    /// Closes at once, with a reset.
    Refuse,
    /// Takes the request and says nothing.
    Hang,
    /// Takes the request and closes its side without an answer.
    HalfClose,
    /// Closes in the middle of its own head.
    CutHead,
    /// Says this.
    Says(&'static str),
    /// A good head and a body that never ends.
    EndlessBody,
    /// A good head and a body of which a byte comes now and then.
    SlowBody,
}

struct FaultyDoor {
    address: SocketAddr,
    connections: Arc<AtomicU32>,
    task: JoinHandle<()>,
}

impl Drop for FaultyDoor {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl FaultyDoor {
    /// Misbehaves `times`, then leads to `behind`.
    async fn open(fault: Fault, times: u32, behind: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&connections);
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                if counted.fetch_add(1, Ordering::Relaxed) < times {
                    tokio::spawn(misbehave(stream, fault));
                } else {
                    tokio::spawn(pass_on(stream, behind));
                }
            }
        });
        Self { address, connections, task }
    }
}

async fn misbehave(mut stream: TcpStream, fault: Fault) {
    if let Fault::Refuse = fault {
        return stream.set_zero_linger().unwrap();
    }
    read_request(&mut stream).await;
    // The other side may be gone before all of this is said.
    match fault {
        Fault::Refuse => {}
        Fault::Hang => std::future::pending().await,
        Fault::HalfClose => {
            stream.shutdown().await.ok();
            std::future::pending().await
        }
        Fault::CutHead => drop(stream.write_all(b"HTTP/1.1 2").await),
        Fault::Says(answer) => drop(stream.write_all(answer.as_bytes()).await),
        Fault::EndlessBody => {
            stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await.ok();
            while stream.write_all(&[b"ff\r\n".as_slice(), &[b'x'; 255], b"\r\n"].concat()).await.is_ok() {}
        }
        Fault::SlowBody => {
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n").await.ok();
            while stream.write_all(b"x").await.is_ok() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

async fn read_request(stream: &mut TcpStream) {
    let (mut bytes, mut chunk) = (Vec::new(), [0; 4096]);
    loop {
        let read = stream.read(&mut chunk).await.unwrap_or(0);
        bytes.extend_from_slice(&chunk[..read]);
        let text = String::from_utf8_lossy(&bytes);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
        if read == 0 || body.len() >= length.parse::<usize>().unwrap() {
            return;
        }
    }
}

async fn pass_on(mut stream: TcpStream, behind: SocketAddr) {
    let mut onward = TcpStream::connect(behind).await.unwrap();
    tokio::io::copy_bidirectional(&mut stream, &mut onward).await.ok();
}

const TIMES: u32 = 2;

/// Two messages of a track: whatever happens to the first, the second comes after it.
async fn survives(name: &'static str, fault: Fault, reason: &'static str) {
    let receiver = Receiver::start("127.0.0.1:0".parse().unwrap(), Options::default()).await.unwrap();
    let door = FaultyDoor::open(fault, TIMES, receiver.address()).await;
    let sender = Sender::start(None);
    let target = OutputTarget::webhook(format!("http://{}/faces", door.address), vec![]);
    for seq in 1..=2 {
        sender.send(&face(Uuid::from_u128(1), seq), target.clone()).await;
    }
    sender.tried().await;
    let said = sender.rows().pop().unwrap().reason.unwrap();
    assert!(said.contains(reason), "{name}: {said}");
    until(name, || sender.count(DeliveryState::Delivered) == 2).await;
    let summary = receiver.summary();
    assert!(summary.faces == 2 && summary.is_good(), "{name}: {summary}");
    assert!(door.connections.load(Ordering::Relaxed) > TIMES, "{name}");
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_comes_back_nothing_is_lost() {
    let mut cases = JoinSet::new();
    let says = |answer| Fault::Says(answer);
    for (name, fault, reason) in [
        ("refuse", Fault::Refuse, "connection"),
        ("hang", Fault::Hang, "no answer in time"),
        ("half close", Fault::HalfClose, "the connection broke"),
        ("cut head", Fault::CutHead, "the connection broke"),
        ("no HTTP", says("SSH-2.0-OpenSSH_9.2\r\n"), "the connection broke"),
        ("500", says("HTTP/1.1 500 Oops\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"), "status 500"),
        (
            "429",
            says("HTTP/1.1 429 Slow\r\nretry-after: 1\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"),
            "status 429",
        ),
        (
            "301",
            says("HTTP/1.1 301 Moved\r\nlocation: /elsewhere\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"),
            "status 301",
        ),
        ("425", says("HTTP/1.1 425 Early\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"), "status 425"),
    ] {
        cases.spawn(survives(name, fault, reason));
    }
    cases.join_all().await;
}

/// The head has said what counts; a body must not hold the outbox up.
#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_does_not_end_holds_nothing_up() {
    for fault in [Fault::EndlessBody, Fault::SlowBody] {
        let nowhere = "127.0.0.1:9".parse().unwrap();
        let door = FaultyDoor::open(fault, u32::MAX, nowhere).await;
        let sender = Sender::start(None);
        let target = OutputTarget::webhook(format!("http://{}/", door.address), vec![]);
        for seq in 1..=2 {
            sender.send(&face(Uuid::from_u128(1), seq), target.clone()).await;
        }
        until("both delivered", || sender.count(DeliveryState::Delivered) == 2).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_speaks_no_tls_is_tried_again() {
    let receiver = Receiver::start("127.0.0.1:0".parse().unwrap(), Options::default()).await.unwrap();
    let sender = Sender::start(None);
    let target = OutputTarget::webhook(format!("https://{}/", receiver.address()), vec![]);
    sender.send(&face(Uuid::from_u128(1), 1), target).await;
    let row = sender.tried().await;
    assert_eq!((row.state, receiver.received().len()), (DeliveryState::Pending, 0));
    assert!(row.reason.unwrap().starts_with("no connection"));
}
