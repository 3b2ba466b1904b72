//! From the outbox to a receiver or a folder, over everything that can go wrong on the way.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use face_edge::deliver::{
    Couriers, Dispatcher, DispatcherSettings, Guard, LocalPathWriter, Signer, Waker, Webhook, WebhookSettings, Written,
};
use face_edge::domain::Message;
use face_edge::sim::receiver::{Fault, Options, Receiver};
use face_edge::store::{DeliveryQuery, DeliveryRow, DeliveryState, OutputTarget, Revive, Store};
use tempfile::TempDir;
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::messages::{face, origin, until};

const LOOPBACK: &str = "127.0.0.1:0";
const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// A store and its dispatcher, impatient enough for tests.
pub struct Sender {
    pub store: Store,
    pub dispatcher: Dispatcher,
    pub waker: Waker,
    _dir: TempDir,
}

/// Impatient, and allowed to send to this machine.
pub fn couriers(store: &Store, secret: Option<&str>) -> Couriers {
    let signers = secret.map(|secret| Signer::all(secret).unwrap()).unwrap_or_default();
    let patience = Duration::from_millis(500);
    let settings = WebhookSettings { connect_timeout: patience, total_timeout: patience };
    let keys = store.box_keys().wait().unwrap().unwrap();
    let webhook = Webhook::new(signers, loopback(), keys.pictures, settings).unwrap();
    Couriers::new(webhook, &keys.evidence)
}

pub fn loopback() -> Guard {
    Guard::new(vec!["127.0.0.0/8".parse().unwrap(), "::1".parse().unwrap()], None)
}

impl Sender {
    pub fn start(secret: Option<&str>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let dispatcher = Dispatcher::start(store.clone(), couriers(&store, secret), DispatcherSettings::default());
        Self { store, waker: dispatcher.waker(), dispatcher, _dir: dir }
    }

    pub async fn send(&self, message: &Message, target: OutputTarget) {
        self.store.enqueue(message, &[target]).await.unwrap();
        self.waker.wake();
    }

    /// Reading is quick, and only tests wait for it in a task.
    pub fn rows(&self) -> Vec<DeliveryRow> {
        let query = DeliveryQuery { limit: 1000, ..DeliveryQuery::default() };
        self.store.deliveries(query).wait().unwrap()
    }

    pub fn count(&self, state: DeliveryState) -> usize {
        self.rows().iter().filter(|row| row.state == state).count()
    }

    pub async fn tried(&self) -> DeliveryRow {
        until("a first try", || self.rows().iter().any(|row| row.reason.is_some())).await;
        self.rows().remove(0)
    }
}

fn hook(url: String) -> OutputTarget {
    OutputTarget::webhook(url, vec![("x-gate".into(), "7".into())])
}

async fn receiver(options: Options) -> Receiver {
    Receiver::start(LOOPBACK.parse().unwrap(), options).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn faces_and_whole_frames_arrive_signed_verified_and_in_order() {
    let saved = tempfile::tempdir().unwrap();
    let options = Options { secret: Some(SECRET.into()), save: Some(saved.path().to_owned()), ..Options::default() };
    let receiver = receiver(options).await;
    let sender = Sender::start(Some(SECRET));
    for seq in 1..=5 {
        for track in 1..=3 {
            sender.send(&face(Uuid::from_u128(track), seq), hook(receiver.url())).await;
        }
    }
    sender.send(&origin(), hook(receiver.url())).await;
    until("all delivered", || sender.count(DeliveryState::Delivered) == 16).await;
    sender.dispatcher.stop().await;

    let summary = receiver.stop().await;
    assert_eq!((summary.faces, summary.origin_images, summary.tracks), (15, 1, 3), "{summary}");
    assert!(summary.is_good() && summary.duplicates == 0, "{summary}");
    assert_eq!(fs::read_dir(saved.path()).unwrap().count(), 16);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_asks_for_a_signature_gets_none_and_says_no() {
    let receiver = receiver(Options { secret: Some(SECRET.into()), ..Options::default() }).await;
    let sender = Sender::start(None);
    sender.send(&face(Uuid::from_u128(1), 1), hook(receiver.url())).await;
    until("dead", || sender.count(DeliveryState::Dead) == 1).await;
    assert_eq!(sender.rows()[0].reason.as_deref(), Some("status 401 Unauthorized"));
    assert_eq!((receiver.summary().bad, receiver.received().len()), (1, 0));
}

/// What the receiver does at the first try, and what the delivery says then.
async fn survives(fault: &str, reason: &str) {
    let receiver = receiver(Options { fault: Some(fault.parse().unwrap()), ..Options::default() }).await;
    let sender = Sender::start(None);
    for seq in 1..=2 {
        sender.send(&face(Uuid::from_u128(1), seq), hook(receiver.url())).await;
    }
    let tried = sender.tried().await;
    assert_eq!(tried.seq, Some(2), "rows are newest first");
    let head = sender.rows().remove(1);
    assert!(head.reason.as_ref().unwrap().starts_with(reason), "{fault}: {:?}", head.reason);
    assert_eq!((tried.attempts, sender.count(DeliveryState::Delivered)), (0, 0), "{fault}: the second waits");

    receiver.set_fault(None);
    until("both delivered", || sender.count(DeliveryState::Delivered) == 2).await;
    let summary = receiver.summary();
    assert!(summary.faces == 2 && summary.is_good(), "{fault}: {summary}");
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_the_receiver_does_nothing_is_lost() {
    let mut cases = JoinSet::new();
    for (fault, reason) in [
        ("status=500", "status 500 Internal Server Error"),
        ("status=503", "status 503 Service Unavailable"),
        ("status=408", "status 408 Request Timeout"),
        ("status=429", "status 429 Too Many Requests"),
        ("status=301", "status 301 Moved Permanently"),
        ("status=307", "status 307 Temporary Redirect"),
        ("hang", "no answer in time"),
        ("delay=5s", "no answer in time"),
        ("cut", "the connection broke"),
    ] {
        cases.spawn(survives(fault, reason));
    }
    cases.join_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_is_away_gets_its_messages_when_it_is_back() {
    let first = receiver(Options::default()).await;
    let (address, url) = (first.address(), first.url());
    first.stop().await;
    let sender = Sender::start(None);
    sender.send(&face(Uuid::from_u128(1), 1), hook(url)).await;
    let reason = sender.tried().await.reason.unwrap();
    assert!(reason.starts_with("no connection"), "{reason}");
    assert!(!reason.contains("faces"), "no address in a reason: {reason}");

    let back = Receiver::start(address, Options::default()).await.unwrap();
    until("delivered", || sender.count(DeliveryState::Delivered) == 1).await;
    assert!(back.summary().is_good());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_may_ask_for_a_longer_wait() {
    let fault = Fault::Status { code: 429, retry_after_s: Some(60) };
    let receiver = receiver(Options { fault: Some(fault), ..Options::default() }).await;
    let sender = Sender::start(None);
    sender.send(&face(Uuid::from_u128(1), 1), hook(receiver.url())).await;
    let row = sender.tried().await;
    assert!(row.due_at.since(sender.store.now().up) > Duration::from_secs(50), "{row:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_does_not_want_it_is_not_asked_again_but_by_hand() {
    let receiver = receiver(Options { fault: Some("status=410".parse().unwrap()), ..Options::default() }).await;
    let sender = Sender::start(None);
    sender.send(&face(Uuid::from_u128(1), 1), hook(receiver.url())).await;
    until("dead", || sender.count(DeliveryState::Dead) == 1).await;
    let dead = sender.rows().remove(0);
    assert_eq!((dead.reason.as_deref(), dead.attempts), (Some("status 410 Gone"), 1));

    sender.send(&face(Uuid::from_u128(2), 1), hook(receiver.url())).await;
    let output = sender.store.outputs(None).wait().unwrap().remove(0);
    assert_eq!((output.waiting, output.disabled.unwrap().1.as_str()), (1, "status 410 Gone"), "it is switched off");
    assert!(sender.store.claim_due(sender.store.now(), 8).await.unwrap().deliveries.is_empty());
    assert_eq!(receiver.summary().refused, 1, "nothing more was tried");

    receiver.set_fault(None);
    assert_eq!(sender.store.revive(Revive::One(dead.id), sender.store.now()).await.unwrap(), 1);
    sender.waker.wake();
    until("both delivered", || sender.count(DeliveryState::Delivered) == 2).await;
    assert!(receiver.summary().is_good());
    assert_eq!(sender.store.outputs(None).wait().unwrap()[0].disabled, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_or_a_header_that_cannot_be_is_dead_at_once() {
    let sender = Sender::start(None);
    sender.send(&face(Uuid::from_u128(1), 1), hook("not an address".into())).await;
    let headers = vec![("host".into(), "elsewhere".into())];
    let target = OutputTarget::webhook("http://127.0.0.1:9/", headers);
    sender.send(&face(Uuid::from_u128(2), 1), target).await;
    until("both dead", || sender.count(DeliveryState::Dead) == 2).await;
    let reasons: Vec<_> = sender.rows().into_iter().map(|row| row.reason.unwrap()).collect();
    assert_eq!(reasons, ["header host cannot be set by a task", "the webhook's address is not valid"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_is_not_there_yet_gets_its_files_later() {
    let dir = tempfile::tempdir().unwrap();
    let mount = dir.path().join("disk");
    let sender = Sender::start(None);
    sender
        .send(
            &face(Uuid::from_u128(1), 1),
            OutputTarget::LocalPath { mount: mount.display().to_string(), evidence: false },
        )
        .await;
    let reason = sender.tried().await.reason.unwrap();
    let said = format!("the folder {} does not exist: make it, or mount its disk", mount.display());
    assert_eq!(reason, said);
    fs::create_dir(&mount).unwrap();
    until("delivered", || sender.count(DeliveryState::Delivered) == 1).await;
    assert_eq!(files(&mount).len(), 2);
}

/// All files below a folder, relative to it and sorted.
fn files(folder: &Path) -> Vec<PathBuf> {
    fn walk(folder: &Path, root: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, root, found);
            } else {
                found.push(path.strip_prefix(root).unwrap().to_owned());
            }
        }
    }
    let mut found = Vec::new();
    walk(folder, folder, &mut found);
    found.sort();
    found
}

fn day_folder(written: &Written) -> PathBuf {
    written.json.parent().unwrap().parent().unwrap().to_owned()
}

#[test]
fn files_lie_as_documented_and_count_up() {
    let mount = tempfile::tempdir().unwrap();
    let writer = LocalPathWriter::new(mount.path()).unwrap();
    let message = face(Uuid::from_u128(1), 1);
    let first = writer.write(&message).unwrap();
    let second = writer.write(&face(Uuid::from_u128(1), 2)).unwrap();
    let whole = writer.write(&origin()).unwrap();

    let day = day_folder(&first);
    assert!(day.starts_with("gate-1/faceimage") && day_folder(&whole).starts_with("gate-1/originimage"));
    assert_eq!(first.picture, day.join("pic/00000001.jpg"));
    assert_eq!(second.json, day.join("json/00000002.json"));
    assert_eq!(fs::read(mount.path().join(&first.picture)).unwrap(), &message.jpeg()[..]);
    let json: serde_json::Value = serde_json::from_slice(&fs::read(mount.path().join(&first.json)).unwrap()).unwrap();
    assert_eq!(json["image_path"], first.picture.to_str().unwrap());
    assert_eq!(json["message_id"], message.id().to_string().to_uppercase());
    assert_eq!(files(mount.path()).len(), 6, "no hidden files are left");
}

#[test]
fn a_message_written_again_after_a_crash_is_there_once() {
    let mount = tempfile::tempdir().unwrap();
    let messages: Vec<_> = (1..=3).map(|seq| face(Uuid::from_u128(1), seq)).collect();
    let written: Vec<_> = {
        let writer = LocalPathWriter::new(mount.path()).unwrap();
        messages.iter().map(|message| writer.write(message).unwrap()).collect()
    };
    let before = files(mount.path());
    // A new process that never heard that the last two were written.
    let writer = LocalPathWriter::new(mount.path()).unwrap();
    for (message, before) in messages.iter().zip(&written).skip(1) {
        assert_eq!(writer.write(message).unwrap(), *before);
    }
    assert_eq!(files(mount.path()), before);
}

#[test]
fn a_crash_between_picture_and_json_leaves_nothing_behind() {
    let mount = tempfile::tempdir().unwrap();
    let messages: Vec<_> = (1..=2).map(|seq| face(Uuid::from_u128(1), seq)).collect();
    let written: Vec<_> = {
        let writer = LocalPathWriter::new(mount.path()).unwrap();
        messages.iter().map(|message| writer.write(message).unwrap()).collect()
    };
    fs::remove_file(mount.path().join(&written[1].json)).unwrap();
    fs::write(mount.path().join(written[1].json.parent().unwrap()).join(".part"), "{\"half").unwrap();
    let writer = LocalPathWriter::new(mount.path()).unwrap();
    assert_eq!(writer.write(&messages[1]).unwrap(), written[1], "takes the place of the picture without a JSON");
    assert_eq!(files(mount.path()).len(), 4);
}

#[test]
fn a_folder_that_is_cleared_away_is_made_again() {
    let mount = tempfile::tempdir().unwrap();
    let writer = LocalPathWriter::new(mount.path()).unwrap();
    for gone in ["gate-1/faceimage", "gate-1"] {
        writer.write(&face(Uuid::from_u128(1), 1)).unwrap();
        fs::remove_dir_all(mount.path().join(gone)).unwrap();
        let written = writer.write(&face(Uuid::from_u128(2), 2)).unwrap();
        assert_eq!(files(mount.path()), [&written.json, &written.picture].map(|file| file.clone()));
    }
}

#[test]
fn files_of_others_are_not_overwritten() {
    let mount = tempfile::tempdir().unwrap();
    let first = LocalPathWriter::new(mount.path()).unwrap().write(&face(Uuid::from_u128(1), 1)).unwrap();
    let kept = mount.path().join(day_folder(&first)).join("pic/00000041.jpg");
    fs::write(&kept, "kept").unwrap();
    let next = LocalPathWriter::new(mount.path()).unwrap().write(&face(Uuid::from_u128(1), 2)).unwrap();
    assert!(next.picture.ends_with("00000042.jpg"), "{next:?}");
    assert_eq!(fs::read_to_string(kept).unwrap(), "kept");
}
