//! The outbox against a naive model in memory, and what it promises about order, room, recovery and damage.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use face_edge::domain::{
    FaceImage, Message, OriginFace, OriginImage, Reason, Rect, StreamTime, TaskId, TimeSource, UnixMs,
};
use face_edge::store::{
    Attempt, Budget, Claimed, DeliveryQuery, DeliveryState, Limits, Outcome, OutputTarget, Purge, Revive, Store,
    StoreError, UpMs,
};
use proptest::prelude::*;
use uuid::Uuid;

fn everything() -> DeliveryQuery {
    DeliveryQuery { limit: 1000, ..DeliveryQuery::default() }
}

fn face(track: u128, seq: u32, picture: &[u8]) -> Message {
    Message::Face(FaceImage {
        message_id: Uuid::new_v4(),
        task_id: TaskId::from_uuid(Uuid::nil()),
        stream_id: "cam".into(),
        node_id: "node".into(),
        face_id: Uuid::from_u128(track),
        detection_id: Uuid::new_v4(),
        origin_image_id: Uuid::new_v4(),
        taken_at: UnixMs(1_000),
        time_source: TimeSource::UNTOLD,
        picture_stream: None,
        stream_time: StreamTime::from_millis(5),
        bbox: Rect::new(1.0, 2.0, 3.0, 4.0),
        confidence: 0.9,
        quality: 0.5,
        landmarks: None,
        reason: Reason::First,
        seq,
        person: None,
        jpeg: Arc::from(picture),
    })
}

fn origin(picture: &[u8]) -> Message {
    Message::Origin(OriginImage {
        message_id: Uuid::new_v4(),
        task_id: TaskId::from_uuid(Uuid::nil()),
        stream_id: "cam".into(),
        node_id: "node".into(),
        origin_image_id: Uuid::new_v4(),
        taken_at: UnixMs(1_000),
        time_source: TimeSource::UNTOLD,
        picture_stream: None,
        stream_time: StreamTime::from_millis(5),
        faces: vec![OriginFace { face_id: Uuid::nil(), detection_id: Uuid::nil(), bbox: Rect::default() }],
        jpeg: Arc::from(picture),
    })
}

fn hook(name: &str) -> OutputTarget {
    OutputTarget::webhook(format!("http://127.0.0.1:1/{name}"), vec![])
}

fn done(claimed: &Claimed, outcome: Outcome) -> Attempt {
    Attempt { delivery: claimed.delivery, at: UnixMs(50), outcome }
}

fn sequence_numbers(claimed: &[Claimed]) -> Vec<u32> {
    claimed.iter().map(|c| if let Message::Face(f) = &*c.message { f.seq } else { 0 }).collect()
}

#[test]
fn a_track_goes_in_order_and_tracks_go_side_by_side() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    for (track, seq) in [(1, 1), (1, 2), (2, 1), (1, 3)] {
        store.enqueue_at(&face(track, seq, b"jpeg"), &[hook("a")], UnixMs(10)).wait().unwrap();
    }
    assert!(store.claim_due(UnixMs(9), 8).wait().unwrap().deliveries.is_empty(), "not due yet");
    let first = store.claim_due(UnixMs(10), 8).wait().unwrap().deliveries;
    assert_eq!(sequence_numbers(&first), [1, 1], "the heads of both tracks");
    assert!(store.claim_due(UnixMs(10), 8).wait().unwrap().deliveries.is_empty(), "the rest waits for them");

    let retry = Outcome::Retry { due_at: UpMs(90), reason: "status 500".into() };
    assert!(store.record(done(&first[0], retry)).wait().unwrap());
    let claim = store.claim_due(UnixMs(89), 8).wait().unwrap();
    assert!(claim.deliveries.is_empty(), "a failed head holds its track back");
    assert_eq!(claim.next_due, Some(UpMs(90)));

    let head = store.claim_due(UnixMs(90), 8).wait().unwrap().deliveries;
    assert_eq!((sequence_numbers(&head), head[0].attempt), (vec![1], 2));
    store.record(done(&head[0], Outcome::Dead { reason: "status 410".into() })).wait().unwrap();
    let next = store.claim_due(UnixMs(90), 8).wait().unwrap().deliveries;
    assert_eq!(sequence_numbers(&next), [2], "a dead head lets the next one go");
}

#[test]
fn faces_go_before_whole_frames_and_an_output_takes_only_its_share() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    store.enqueue_at(&origin(b"frame"), &[hook("a"), hook("b")], UnixMs(1)).wait().unwrap();
    for track in 1..=3 {
        store.enqueue_at(&face(track, 1, b"face"), &[hook("a")], UnixMs(2)).wait().unwrap();
    }
    let claimed = store.claim_due(UnixMs(5), 2).wait().unwrap().deliveries;
    let to = |name: &str| claimed.iter().filter(|c| *c.target == hook(name)).count();
    assert_eq!((to("a"), to("b")), (2, 1));
    assert!(claimed.iter().filter(|c| *c.target == hook("a")).all(|c| matches!(*c.message, Message::Face(_))));
}

#[test]
fn a_killed_service_finds_its_deliveries_again_and_a_recorded_one_stays_so() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let sent = face(1, 1, b"the picture");
    store.enqueue_at(&sent, &[hook("a")], UnixMs(1)).wait().unwrap();
    store.enqueue_at(&face(2, 1, b"another"), &[hook("a")], UnixMs(1)).wait().unwrap();
    let claimed = store.claim_due(UnixMs(1), 8).wait().unwrap().deliveries;
    assert!(store.record(done(&claimed[1], Outcome::Delivered)).wait().unwrap());
    drop(store);

    let store = Store::open(dir.path()).unwrap();
    let again = store.claim_due(UnixMs(1), 8).wait().unwrap().deliveries;
    assert_eq!(again.len(), 1);
    assert_eq!(*again[0].message, sent, "message and picture as they were");
    assert!(store.record(done(&again[0], Outcome::Delivered)).wait().unwrap());
    assert!(!store.record(done(&again[0], Outcome::Delivered)).wait().unwrap(), "recorded before");
    let totals = store.totals().wait().unwrap();
    assert_eq!((totals.pending, totals.claimed, totals.delivered, totals.pictures()), (0, 0, 2, 0));
}

#[test]
fn the_picture_stays_until_the_last_output_has_it() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    store.enqueue_at(&face(1, 1, &[7; 100]), &[hook("a"), hook("b")], UnixMs(1)).wait().unwrap();
    let claimed = store.claim_due(UnixMs(1), 8).wait().unwrap().deliveries;
    store.record(done(&claimed[0], Outcome::Delivered)).wait().unwrap();
    assert_eq!(store.totals().wait().unwrap().picture_bytes(), 100);
    store.record(done(&claimed[1], Outcome::Delivered)).wait().unwrap();
    assert_eq!(store.totals().wait().unwrap().picture_bytes(), 0);
}

#[test]
fn the_same_message_twice_is_one_message() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let message = face(1, 1, b"x");
    assert_eq!(store.enqueue(&message, &[hook("a")]).wait().unwrap().deliveries, 1);
    assert_eq!(store.enqueue(&message, &[hook("a")]).wait().unwrap().deliveries, 0);
    assert_eq!(store.totals().wait().unwrap().pending, 1);
}

#[test]
fn when_full_the_oldest_whole_frame_goes_first_then_the_oldest_face() {
    let dir = tempfile::tempdir().unwrap();
    let limits = Limits::of_bytes(300);
    let store = Store::open_with(dir.path(), limits).unwrap();
    let put = |message: &Message| store.enqueue_at(message, &[hook("a")], UnixMs(1)).wait().unwrap().evicted;
    let picture = [0; 100];
    assert_eq!(put(&face(1, 1, &picture)), 0);
    assert_eq!(put(&origin(&picture)), 0);
    assert_eq!(put(&face(1, 2, &picture)), 0);
    assert_eq!(put(&face(1, 3, &picture)), 1, "the frame");
    assert_eq!(put(&face(1, 4, &picture)), 1, "the oldest face");

    let rows = store.deliveries(DeliveryQuery { state: Some(DeliveryState::Dead), ..everything() }).wait().unwrap();
    let dead: Vec<_> = rows.iter().map(|r| (r.category.as_str(), r.seq, r.reason.as_deref())).collect();
    let why = Some("the outbox was full");
    assert_eq!(dead, [("OriginImage", None, why), ("FaceImage", Some(1), why)]);
    let claimed = store.claim_due(UnixMs(1), 8).wait().unwrap().deliveries;
    assert_eq!(sequence_numbers(&claimed), [2], "the track goes on behind the evicted head");
    assert_eq!(store.revive(Revive::All, UnixMs(2)).wait().unwrap(), 0, "nothing to send without a picture");
}

#[test]
fn old_deliveries_die_and_finished_ones_are_forgotten() {
    let dir = tempfile::tempdir().unwrap();
    let day = Duration::from_secs(24 * 3600);
    let budget = Budget { max_age: day, ..Limits::default().faces };
    let limits = Limits { faces: budget, keep_finished: 2 * day, ..Limits::default() };
    let store = Store::open_with(dir.path(), limits).unwrap();
    store.enqueue_at(&face(1, 1, b"x"), &[hook("a")], UnixMs(0)).wait().unwrap();
    store.enqueue_at(&face(2, 1, b"x"), &[hook("a")], UnixMs(0) + day).wait().unwrap();
    assert_eq!(store.trim(UnixMs(1) + day).wait().unwrap(), 1);
    let rows = store.deliveries(everything()).wait().unwrap();
    let states: Vec<_> = rows.iter().map(|r| (r.state, r.picture_bytes)).collect();
    assert_eq!(states, [(DeliveryState::Pending, 1), (DeliveryState::Dead, 0)]);
    assert_eq!(store.trim(UnixMs(1) + 2 * day).wait().unwrap(), 2, "one dies, the dead one is forgotten");
    assert_eq!(store.deliveries(everything()).wait().unwrap().len(), 1);
}

#[test]
fn a_dead_delivery_can_be_sent_again_and_purged() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    store.enqueue_at(&face(1, 1, b"x"), &[hook("a")], UnixMs(1)).wait().unwrap();
    store.enqueue_at(&face(1, 2, b"x"), &[hook("a")], UnixMs(1)).wait().unwrap();
    let head = store.claim_due(UnixMs(1), 8).wait().unwrap().deliveries;
    store.record(done(&head[0], Outcome::Dead { reason: "status 404".into() })).wait().unwrap();

    let other = Store::attach(dir.path()).unwrap();
    assert_eq!(other.revive(Revive::One(head[0].delivery), UnixMs(9)).wait().unwrap(), 1);
    let second = store.claim_due(UnixMs(9), 8).wait().unwrap().deliveries;
    assert_eq!(sequence_numbers(&second), [2], "the one that took its place goes on");
    store.record(done(&second[0], Outcome::Delivered)).wait().unwrap();
    let first = store.claim_due(UnixMs(9), 8).wait().unwrap().deliveries;
    assert_eq!(sequence_numbers(&first), [1]);
    store.record(done(&first[0], Outcome::Dead { reason: "status 404".into() })).wait().unwrap();

    let purge = |delivered, dead| Purge { delivered, dead, created_before: UnixMs(100) };
    assert_eq!(other.purge(purge(true, false)).wait().unwrap(), 1);
    assert_eq!(other.purge(purge(false, true)).wait().unwrap(), 1);
    assert_eq!(store.totals().wait().unwrap(), face_edge::store::Totals::default());
}

#[test]
fn a_folder_has_one_service() {
    let dir = tempfile::tempdir().unwrap();
    let first = Store::open(dir.path()).unwrap();
    assert!(matches!(Store::open(dir.path()), Err(StoreError::InUse { .. })));
    drop(first);
    Store::open(dir.path()).unwrap();
}

#[test]
fn a_damaged_file_is_an_error_that_says_so() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("face-edge.db"), vec![0x5a; 8192]).unwrap();
    assert!(matches!(Store::open(dir.path()), Err(StoreError::Corrupt { .. })));
}

#[test]
fn callers_may_await_instead_of_waiting() {
    let dir = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let store = Store::open(dir.path()).unwrap();
        store.enqueue(&face(1, 1, b"x"), &[hook("a")]).await.unwrap();
        assert_eq!(store.totals().await.unwrap().pending, 1);
    });
}

/// What the outbox should do, written down as plainly as possible.
#[derive(Default)]
struct Model {
    /// By order of arrival: track, sequence number, due time, state.
    deliveries: BTreeMap<usize, (u128, u32, i64, Phase)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Open,
    Claimed,
    Delivered,
    Dead,
}

impl Model {
    fn claim(&mut self, now: i64, room: usize) -> Vec<(u128, u32)> {
        let busy = self.deliveries.values().filter(|d| d.3 == Phase::Claimed).count();
        let mut heads = BTreeMap::new();
        for (index, (track, _, due, phase)) in &self.deliveries {
            if matches!(phase, Phase::Open | Phase::Claimed) {
                heads.entry(*track).or_insert((*due, *index, *phase));
            }
        }
        let mut due: Vec<_> = heads.into_values().filter(|h| h.2 == Phase::Open && h.0 <= now).collect();
        due.sort_unstable_by_key(|h| (h.0, h.1));
        due.truncate(room.saturating_sub(busy));
        due.into_iter().map(|(_, index, _)| self.set(index, Phase::Claimed)).collect()
    }

    /// What is next on each track is tried at once; the service's own time begins at 0.
    fn restart(&mut self) {
        let mut seen = BTreeSet::new();
        for (track, _, due, phase) in self.deliveries.values_mut() {
            if *phase == Phase::Open && seen.insert(*track) {
                *due = 0;
            }
        }
    }

    fn set(&mut self, index: usize, phase: Phase) -> (u128, u32) {
        let delivery = self.deliveries.get_mut(&index).unwrap();
        delivery.3 = phase;
        (delivery.0, delivery.1)
    }

    fn index(&self, key: (u128, u32)) -> usize {
        *self.deliveries.iter().find(|(_, d)| (d.0, d.1) == key).unwrap().0
    }

    fn count(&self, phase: Phase) -> u64 {
        self.deliveries.values().filter(|d| d.3 == phase).count() as u64
    }
}

#[derive(Debug, Clone)]
enum Step {
    Enqueue {
        track: u128,
    },
    Claim {
        room: usize,
    },
    /// Of the claimed ones, that at `which` modulo their number.
    Record {
        which: usize,
        outcome: u8,
    },
    Pass {
        ms: i64,
    },
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..4u128).prop_map(|track| Step::Enqueue { track }),
        3 => (1..6usize).prop_map(|room| Step::Claim { room }),
        4 => (any::<usize>(), 0..3u8).prop_map(|(which, outcome)| Step::Record { which, outcome }),
        2 => (1..50i64).prop_map(|ms| Step::Pass { ms }),
        1 => Just(Step::Restart),
    ]
}

fn key(claimed: &Claimed) -> (u128, u32) {
    match &*claimed.message {
        Message::Face(face) => (face.face_id.as_u128(), face.seq),
        Message::Origin(_) => unreachable!("only faces are enqueued"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn the_outbox_does_what_a_naive_model_does(steps in proptest::collection::vec(step(), 1..60)) {
        let dir = tempfile::tempdir().unwrap();
        let mut store = Store::open(dir.path()).unwrap();
        let (mut model, mut in_hand, mut now) = (Model::default(), Vec::<Claimed>::new(), 100_i64);
        for step in steps {
            match step {
                Step::Enqueue { track } => {
                    let seq = model.deliveries.len() as u32 + 1;
                    model.deliveries.insert(seq as usize, (track, seq, now, Phase::Open));
                    store.enqueue_at(&face(track, seq, b"x"), &[hook("a")], UnixMs(now)).wait().unwrap();
                }
                Step::Claim { room } => {
                    let claimed = store.claim_due(UnixMs(now), room).wait().unwrap().deliveries;
                    prop_assert_eq!(claimed.iter().map(key).collect::<Vec<_>>(), model.claim(now, room));
                    in_hand.extend(claimed);
                }
                Step::Record { .. } if in_hand.is_empty() => {}
                Step::Record { which, outcome } => {
                    let claimed = in_hand.remove(which % in_hand.len());
                    let index = model.index(key(&claimed));
                    let outcome = match outcome {
                        0 => { model.set(index, Phase::Delivered); Outcome::Delivered }
                        1 => { model.set(index, Phase::Dead); Outcome::Dead { reason: "no".into() } }
                        _ => {
                            model.set(index, Phase::Open);
                            model.deliveries.get_mut(&index).unwrap().2 = now + 20;
                            Outcome::Retry { due_at: UpMs(now + 20), reason: "later".into() }
                        }
                    };
                    prop_assert!(store.record(done(&claimed, outcome)).wait().unwrap());
                }
                Step::Pass { ms } => now += ms,
                Step::Restart => {
                    drop(store);
                    store = Store::open(dir.path()).unwrap();
                    for claimed in in_hand.drain(..) {
                        let index = model.index(key(&claimed));
                        model.set(index, Phase::Open);
                    }
                    model.restart();
                }
            }
            let totals = store.totals().wait().unwrap();
            prop_assert_eq!(totals.pending, model.count(Phase::Open));
            prop_assert_eq!(totals.claimed, model.count(Phase::Claimed));
            prop_assert_eq!(totals.delivered, model.count(Phase::Delivered));
            prop_assert_eq!(totals.dead, model.count(Phase::Dead));
            prop_assert_eq!(totals.pictures(), totals.pending + totals.claimed + totals.dead);
        }
    }
}
