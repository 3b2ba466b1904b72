//! The service is killed while it stores and delivers, again and again: what it had committed arrives.
//!
//! The child is this very test binary, run with one test's name. It says on stdout which messages are committed; the
//! parent reads that, and kills it somewhere in the middle.

use std::collections::HashMap;
use std::env;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use face_edge::deliver::{Couriers, Dispatcher, DispatcherSettings, Webhook, WebhookSettings};
use face_edge::sim::receiver::{Options, Received, Receiver};
use face_edge::store::{Limits, OutputTarget, Store};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use uuid::Uuid;

use crate::deliver::loopback;
use crate::messages::{face, until};

const DIR: &str = "FACE_EDGE_TEST_KILL9_DIR";
const URL: &str = "FACE_EDGE_TEST_KILL9_URL";
/// The first sequence number of this run; absent: only drain.
const FROM: &str = "FACE_EDGE_TEST_KILL9_FROM";

/// How often; `make chaos` says more.
const KILLS: &str = "FACE_EDGE_TEST_KILLS";
const FEW_KILLS: u32 = 15;
const TRACKS: u128 = 4;
/// More than a run lives for.
const PER_RUN: u32 = 1000;

/// Stores and delivers until it is killed, or drains what is there.
#[test]
#[ignore = "the child of what_was_committed_arrives_however_often_the_service_is_killed"]
fn child() {
    let (Ok(dir), Ok(url)) = (env::var(DIR), env::var(URL)) else { panic!("run by its parent only") };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        // In every other run pictures are files.
        let in_files = env::var(FROM).is_ok_and(|from| (from.parse::<u32>().unwrap() / PER_RUN) % 2 == 1);
        let limits = Limits { picture_in_row_bytes: if in_files { 0 } else { usize::MAX }, ..Limits::default() };
        let store = Store::open_with(Path::new(&dir), limits).unwrap();
        let keys = store.box_keys().await.unwrap().unwrap();
        let webhook = Webhook::new(vec![], loopback(), keys.pictures, WebhookSettings::default()).unwrap();
        let couriers = Couriers::new(webhook, &keys.evidence);
        let dispatcher = Dispatcher::start(store.clone(), couriers, DispatcherSettings::default());
        let target = [OutputTarget::webhook(url, vec![])];
        let first: Option<u32> = env::var(FROM).ok().map(|text| text.parse().unwrap());
        for seq in first.into_iter().flat_map(|first| first..first + PER_RUN) {
            for track in 0..TRACKS {
                let message = face(Uuid::from_u128(track), seq);
                store.enqueue(&message, &target).await.unwrap();
                dispatcher.waker().wake();
                let mut stdout = std::io::stdout().lock();
                writeln!(stdout, "committed {}", message.id().to_string().to_uppercase()).unwrap();
                stdout.flush().unwrap();
            }
        }
        until("the outbox is empty", || {
            let totals = store.totals().wait().unwrap();
            totals.pending + totals.claimed == 0
        })
        .await;
        dispatcher.stop().await;
    });
}

fn spawn(dir: &Path, url: &str, from: Option<u32>) -> Child {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--exact", "kill9::child", "--ignored", "--nocapture"]);
    command.env(DIR, dir).env(URL, url).stdout(Stdio::piped()).stderr(Stdio::inherit());
    if let Some(from) = from {
        command.env(FROM, from.to_string());
    }
    command.spawn().unwrap()
}

/// Kills the child after it has said so many messages; answers all that it said.
fn committed_until_killed(mut child: Child, after: usize) -> Vec<String> {
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut committed = Vec::new();
    for line in lines {
        // The last line may be cut.
        let Ok(line) = line else { break };
        if let Some(id) = line.strip_prefix("committed ").filter(|id| id.len() == 36) {
            committed.push(id.to_owned());
        }
        if committed.len() == after {
            child.kill().unwrap();
        }
    }
    assert!(!child.wait().unwrap().success(), "it was killed");
    committed
}

fn first_receipts(received: &[Received]) -> HashMap<&str, Vec<u64>> {
    let mut tracks: HashMap<&str, Vec<u64>> = HashMap::new();
    for face in received.iter().filter(|face| !face.duplicate) {
        tracks.entry(face.track.as_deref().unwrap()).or_default().push(face.seq.unwrap());
    }
    tracks
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_committed_arrives_however_often_the_service_is_killed() {
    let dir = tempfile::tempdir().unwrap();
    let receiver = Receiver::start("127.0.0.1:0".parse().unwrap(), Options::default()).await.unwrap();
    let seed = rand::random();
    println!("seed {seed}");
    let mut chance = StdRng::seed_from_u64(seed);
    let mut committed = Vec::new();
    let kills = env::var(KILLS).map_or(FEW_KILLS, |text| text.parse().unwrap());
    for kill in 0..kills {
        let child = spawn(dir.path(), &receiver.url(), Some(1 + kill * PER_RUN));
        let after = chance.random_range(1..40);
        let lines = tokio::task::spawn_blocking(move || committed_until_killed(child, after)).await.unwrap();
        assert!(lines.len() >= after);
        committed.extend(lines);
    }
    let mut last = spawn(dir.path(), &receiver.url(), None);
    let ended = tokio::time::timeout(Duration::from_secs(60), tokio::task::spawn_blocking(move || last.wait()));
    assert!(ended.await.unwrap().unwrap().unwrap().success(), "the last run drains the outbox");

    let received = receiver.received();
    let missing: Vec<_> = committed.iter().filter(|id| !received.iter().any(|r| r.message_id == **id)).collect();
    assert!(missing.is_empty(), "{} of {} committed messages never arrived", missing.len(), committed.len());
    let summary = receiver.summary();
    println!("{kills} kills, {} messages committed; {summary}", committed.len());
    assert_eq!(summary.bad, 0, "{summary}");
    for (track, seqs) in first_receipts(&received) {
        assert!(seqs.is_sorted(), "track {track} arrived as {seqs:?}");
    }
}
