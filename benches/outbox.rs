//! What the outbox costs: a message in, one from its storing to its receipt by a webhook, one claimed and recorded,
//! and a claim before backlogs of up to a million. Every figure but the last holds at least one sync to the disk of the
//! temporary folder.

use std::sync::Arc;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use face_edge::deliver::{Couriers, Dispatcher, DispatcherSettings, Guard, Webhook, WebhookSettings};
use face_edge::domain::{FaceImage, Message, Reason, Rect, StreamTime, TaskId, TimeSource, UnixMs};
use face_edge::store::{Attempt, Limits, Outcome, OutputTarget, Store, UpMs};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;
use uuid::Uuid;

const PICTURE_BYTES: usize = 40_000;
/// Of a backlog, so that its making does not take longer than its measuring.
const SMALL_PICTURE_BYTES: usize = 100;
const BACKLOGS: [u128; 3] = [1_000, 100_000, 1_000_000];
/// Of whole frames.
const LARGE_PICTURES: [usize; 3] = [100_000, 250_000, 1_000_000];
const AT_ONCE: usize = 32;

fn face(track: u128, picture: &Arc<[u8]>) -> Message {
    Message::Face(FaceImage {
        message_id: Uuid::new_v4(),
        task_id: TaskId::from_uuid(Uuid::from_u128(7)),
        stream_id: "gate-1".into(),
        node_id: "box-1".into(),
        face_id: Uuid::from_u128(track),
        detection_id: Uuid::new_v4(),
        origin_image_id: Uuid::new_v4(),
        taken_at: UnixMs(1_000),
        time_source: TimeSource::File,
        picture_stream: None,
        stream_time: StreamTime::ZERO,
        bbox: Rect::new(100.0, 80.0, 40.0, 50.0),
        confidence: 0.93,
        quality: 0.61,
        landmarks: None,
        reason: Reason::First,
        seq: 1,
        person: None,
        jpeg: Arc::clone(picture),
    })
}

fn target() -> [OutputTarget; 1] {
    [OutputTarget::webhook("http://127.0.0.1:9/", vec![])]
}

fn open() -> (TempDir, Store) {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let store = Store::open(dir.path()).expect("a fresh store");
    (dir, store)
}

async fn enqueue_all(store: &Store, messages: Vec<Message>) {
    enqueue_all_to(store, messages, &target()).await;
}

async fn enqueue_all_to(store: &Store, messages: Vec<Message>, target: &[OutputTarget]) {
    let mut calls = JoinSet::new();
    for message in messages {
        let call = store.enqueue_at(&message, target, UnixMs(1_000));
        calls.spawn(call.into_future());
    }
    while let Some(done) = calls.join_next().await {
        done.expect("no panic").expect("enqueued");
    }
}

fn enqueue(c: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let picture: Arc<[u8]> = vec![0x5a; PICTURE_BYTES].into();
    let mut group = c.benchmark_group("outbox_enqueue_40kB");
    for at_once in [1, AT_ONCE] {
        let (_dir, store) = open();
        group.throughput(Throughput::Elements(at_once as u64));
        group.bench_function(BenchmarkId::new("at_once", at_once), |b| {
            b.iter(|| {
                let messages = (0..at_once).map(|track| face(track as u128, &picture)).collect();
                runtime.block_on(enqueue_all(&store, messages));
            });
        });
    }
    group.finish();
}

/// From storing to the receiver's 204 and its record, over a real connection.
fn deliver(c: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let picture: Arc<[u8]> = vec![0x5a; PICTURE_BYTES].into();
    let (_dir, store) = open();
    let (url, dispatcher) = runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}/", listener.local_addr().expect("bound"));
        let app = axum::Router::new()
            .fallback(|_: axum::body::Bytes| async { axum::http::StatusCode::NO_CONTENT })
            .layer(axum::extract::DefaultBodyLimit::max(1 << 24));
        tokio::spawn(async move { axum::serve(listener, app).await });
        let guard = Guard::new(vec!["127.0.0.0/8".parse().expect("a range")], None);
        let webhook = Webhook::new(vec![], guard, [0; 32], WebhookSettings::default()).expect("a client");
        let couriers = Couriers::new(webhook, &[0; 32]);
        (url, Dispatcher::start(store.clone(), couriers, DispatcherSettings::default()))
    });
    let target = [OutputTarget::webhook(url, vec![])];
    let mut group = c.benchmark_group("outbox_enqueue_and_deliver_40kB");
    group.throughput(Throughput::Elements(AT_ONCE as u64));
    let mut track = 0;
    group.bench_function(BenchmarkId::new("at_once", AT_ONCE), |b| {
        b.iter(|| {
            let messages = (0..AT_ONCE as u128).map(|next| face(track + next, &picture)).collect();
            track += AT_ONCE as u128;
            runtime.block_on(async {
                enqueue_all_to(&store, messages, &target).await;
                dispatcher.waker().wake();
                while store.totals().await.expect("counted").delivered < track as u64 {
                    tokio::task::yield_now().await;
                }
            });
        });
    });
    group.finish();
    runtime.block_on(dispatcher.stop());
}

/// By this the size was chosen from which pictures are files.
fn rows_or_files(c: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let mut group = c.benchmark_group("outbox_enqueue_large");
    for size in LARGE_PICTURES {
        let picture: Arc<[u8]> = vec![0x5a; size].into();
        for (name, picture_in_row_bytes) in [("row", usize::MAX), ("file", 0)] {
            let dir = tempfile::tempdir().expect("a temporary folder");
            let limits = Limits { picture_in_row_bytes, ..Limits::default() };
            let store = Store::open_with(dir.path(), limits).expect("a fresh store");
            group.throughput(Throughput::Elements(8));
            group.bench_function(BenchmarkId::new(name, size), |b| {
                b.iter(|| {
                    let messages = (0..8).map(|track| face(track, &picture)).collect();
                    runtime.block_on(enqueue_all(&store, messages));
                });
            });
        }
    }
    group.finish();
}

fn backlog(runtime: &Runtime, size: u128) -> (TempDir, Store) {
    let (dir, store) = open();
    let picture: Arc<[u8]> = vec![0x5a; SMALL_PICTURE_BYTES].into();
    for first in (0..size).step_by(1_000) {
        let messages = (first..first + 1_000).map(|track| face(track, &picture)).collect();
        runtime.block_on(enqueue_all(&store, messages));
    }
    (dir, store)
}

fn claim(c: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    for size in BACKLOGS {
        let (_dir, store) = backlog(&runtime, size);
        // Every try fails and goes to the end of the line, so that the backlog stays what it is.
        let mut now = UnixMs(1_000_000);
        c.bench_function(&format!("outbox_claim_and_record/backlog_{size}"), |b| {
            b.iter(|| {
                now.0 += 1;
                let claim = store.claim_due(now, 1).wait().expect("claimed");
                let delivery = claim.deliveries[0].delivery;
                let outcome = Outcome::Retry { due_at: UpMs(now.0), reason: "status 500".into() };
                assert!(store.record(Attempt { delivery, at: now, outcome }).wait().expect("recorded"));
            });
        });
        c.bench_function(&format!("outbox_claim_nothing_due/backlog_{size}"), |b| {
            b.iter(|| assert!(store.claim_due(UnixMs(0), 8).wait().expect("claimed").deliveries.is_empty()));
        });
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20).without_plots();
    targets = enqueue, deliver, rows_or_files, claim
}
criterion_main!(benches);
