//! What the outbox promises beyond order: no clock makes messages old, whole frames give way to faces, pictures in
//! files never part from their messages, outputs keep their identity, chains have no gaps.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use face_edge::domain::evidence::{sha256, statement_of};
use face_edge::domain::{Message, UnixMs};
use face_edge::store::{
    Attempt, Budget, Claimed, Decision, DeliveryQuery, DeliveryState, Form, Limits, Moment, Outcome, OutputTarget,
    Revive, Store, TimeRange, UpMs, WebhookOptions,
};
use uuid::Uuid;

use crate::messages::{face, origin};

const HOUR: Duration = Duration::from_secs(3600);
const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);

fn at(wall: UnixMs, up_s: u64) -> Moment {
    Moment { wall, up: UpMs(0) + Duration::from_secs(up_s) }
}

fn hook(name: &str) -> OutputTarget {
    OutputTarget::webhook(format!("http://127.0.0.1:1/{name}"), vec![])
}

fn with_options(options: WebhookOptions) -> OutputTarget {
    OutputTarget::Webhook { url: "http://127.0.0.1:1/a".into(), headers: vec![], options: Box::new(options) }
}

fn rows(store: &Store, state: DeliveryState) -> usize {
    let query = DeliveryQuery { state: Some(state), limit: 1000, ..DeliveryQuery::default() };
    store.deliveries(query).wait().unwrap().len()
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let shelves = fs::read_dir(dir.join("pictures")).into_iter().flatten().map(|shelf| shelf.unwrap().path());
    let mut found: Vec<_> = shelves.flat_map(|shelf| fs::read_dir(shelf).unwrap()).map(|f| f.unwrap().path()).collect();
    found.sort();
    found
}

fn record(store: &Store, claimed: &Claimed, outcome: Outcome) {
    let attempt = Attempt { delivery: claimed.delivery, at: UnixMs(50), outcome };
    assert!(store.record(attempt).wait().unwrap());
}

#[test]
fn a_clock_that_jumps_makes_no_message_old_and_no_retry_late() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let wall = UnixMs(1_700_000_000_000);
    store.enqueue_at(&face(Uuid::from_u128(1), 1), &[hook("a")], at(wall, 10)).wait().unwrap();
    store.enqueue_at(&face(Uuid::from_u128(2), 1), &[hook("a")], at(wall, 10)).wait().unwrap();

    let forward = at(wall + YEAR * 10, 20);
    assert_eq!(store.trim(forward).wait().unwrap(), 0);
    assert_eq!(rows(&store, DeliveryState::Pending), 2, "ten years on the clock, ten seconds in truth");
    let claimed = store.claim_due(forward, 8).wait().unwrap().deliveries;
    assert_eq!(claimed[0].waiting_since, UpMs(10_000), "the time to give up has not passed either");
    for claimed in &claimed {
        record(&store, claimed, Outcome::Retry { due_at: forward.up + HOUR, reason: "status 500".into() });
    }

    let back = at(UnixMs(0), 21);
    assert!(store.claim_due(back, 8).wait().unwrap().deliveries.is_empty());
    let later = at(UnixMs(1), 20 + 3600);
    assert_eq!(store.claim_due(later, 8).wait().unwrap().deliveries.len(), 2, "due an hour later, whatever the clock");

    let four_days = at(UnixMs(2), 10 + 4 * 24 * 3600 + 1);
    store.enqueue_at(&face(Uuid::from_u128(3), 1), &[hook("b")], at(wall, 10)).wait().unwrap();
    assert_eq!(store.trim(four_days).wait().unwrap(), 1, "time that has really passed does count");
    assert_eq!(rows(&store, DeliveryState::Dead), 1);
}

#[test]
fn the_service_s_own_time_goes_on_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    store.enqueue_at(&face(Uuid::from_u128(1), 1), &[hook("a")], at(UnixMs(0), 0)).wait().unwrap();
    store.trim(at(UnixMs(0), 5 * 3600)).wait().unwrap();
    drop(store);
    let store = Store::open(dir.path()).unwrap();
    let up = store.now().up;
    assert!(up >= UpMs(0) + HOUR * 5 && up < UpMs(0) + HOUR * 6, "{up:?}");
    assert_eq!(store.claim_due(store.now(), 8).wait().unwrap().deliveries.len(), 1);
}

#[test]
fn whole_frames_keep_to_their_budget_and_faces_may_take_it_over() {
    let dir = tempfile::tempdir().unwrap();
    let size = face(Uuid::nil(), 1).jpeg().len() as u64;
    let budget = Budget { max_bytes: 2 * size, ..Limits::default().faces };
    let limits = Limits { faces: budget, origins: budget, ..Limits::default() };
    let store = Store::open_with(dir.path(), limits).unwrap();
    let put = |message: Message| store.enqueue_at(&message, &[hook("a")], UnixMs(1)).wait().unwrap().evicted;
    let frames: Vec<_> = (0..3).map(|_| put(origin())).collect();
    assert_eq!(frames, [0, 0, 1], "the third frame costs the first, although nothing else is there");
    let faces: Vec<_> = (1..=5).map(|track| put(face(Uuid::from_u128(track), 1))).collect();
    assert_eq!(faces, [0, 0, 1, 1, 1], "then the frames, then the oldest face");
    let totals = store.totals().wait().unwrap();
    assert_eq!((totals.face_pictures, totals.origin_pictures), (4, 0));
    assert_eq!((totals.face_picture_bytes, totals.origin_picture_bytes), (4 * size, 0));
    let query = DeliveryQuery { state: Some(DeliveryState::Dead), limit: 10, ..DeliveryQuery::default() };
    let dead = store.deliveries(query).wait().unwrap();
    assert!(dead.iter().all(|row| row.reason.as_deref() == Some("the outbox was full")), "each with its reason");
}

#[test]
fn the_kinds_age_by_budgets_of_their_own() {
    let dir = tempfile::tempdir().unwrap();
    let defaults = Limits::default();
    let limits = Limits { origins: Budget { max_age: HOUR, ..defaults.origins }, ..defaults };
    let store = Store::open_with(dir.path(), limits).unwrap();
    store.enqueue_at(&face(Uuid::from_u128(1), 1), &[hook("a")], UnixMs(0)).wait().unwrap();
    store.enqueue_at(&origin(), &[hook("a")], UnixMs(0)).wait().unwrap();
    assert_eq!(store.trim(UnixMs(1) + HOUR).wait().unwrap(), 1);
    let query = DeliveryQuery { state: Some(DeliveryState::Dead), limit: 10, ..DeliveryQuery::default() };
    let dead = store.deliveries(query).wait().unwrap();
    assert_eq!((dead.len(), dead[0].category.as_str()), (1, "OriginImage"));
}

fn in_files() -> Limits {
    Limits { picture_in_row_bytes: 0, ..Limits::default() }
}

#[test]
fn a_large_picture_is_a_file_as_long_as_it_is_needed() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open_with(dir.path(), in_files()).unwrap();
    let message = face(Uuid::from_u128(1), 1);
    store.enqueue_at(&message, &[hook("a"), hook("b")], UnixMs(1)).wait().unwrap();
    assert_eq!(fs::read(&files(dir.path())[0]).unwrap(), &message.jpeg()[..]);
    let claimed = store.claim_due(UnixMs(1), 8).wait().unwrap().deliveries;
    assert_eq!(*claimed[1].message, message);
    record(&store, &claimed[0], Outcome::Delivered);
    assert_eq!(files(dir.path()).len(), 1, "the other output needs it");
    record(&store, &claimed[1], Outcome::Delivered);
    assert!(files(dir.path()).is_empty());
    store.enqueue_at(&message, &[hook("a")], UnixMs(1)).wait().unwrap();
    assert!(files(dir.path()).is_empty(), "enqueued again after its delivery, it leaves nothing behind");
}

#[test]
fn what_a_crash_leaves_is_swept_and_what_is_lost_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open_with(dir.path(), in_files()).unwrap();
    for track in 1..=2 {
        store.enqueue_at(&face(Uuid::from_u128(track), 1), &[hook("a")], UnixMs(1)).wait().unwrap();
    }
    let kept = files(dir.path());
    let orphan = kept[0].with_file_name(format!("{}.jpg", Uuid::from_u128(9)));
    fs::write(&orphan, "committed never").unwrap();
    assert!(store.fsck(true).wait().unwrap().is_clean(), "a young file may be about to be committed");
    drop(store);
    let store = Store::open_with(dir.path(), in_files()).unwrap();
    assert_eq!(files(dir.path()), kept, "a start sweeps files of no message, and no others");

    fs::remove_file(&kept[0]).unwrap();
    let found = store.fsck(false).wait().unwrap();
    assert_eq!((found.messages_without_picture, found.files_without_message), (1, 0), "{found:?}");
    assert_eq!(rows(&store, DeliveryState::Dead), 0, "only looked");
    store.fsck(true).wait().unwrap();
    let query = DeliveryQuery { state: Some(DeliveryState::Dead), limit: 10, ..DeliveryQuery::default() };
    let dead = store.deliveries(query).wait().unwrap();
    assert_eq!((dead.len(), dead[0].reason.as_deref()), (1, Some("its picture was lost")));
    assert!(store.fsck(false).wait().unwrap().is_clean());
}

#[test]
fn fsck_mends_counts_and_lets_stuck_tracks_go() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    for seq in 1..=2 {
        store.enqueue_at(&face(Uuid::from_u128(1), seq), &[hook("a")], UnixMs(1)).wait().unwrap();
    }
    let sabotage = rusqlite::Connection::open(dir.path().join("face-edge.db")).unwrap();
    sabotage
        .execute_batch(
            "UPDATE deliveries SET state = 'queued'; UPDATE totals SET value = 7 WHERE name = 'face_pictures';
             UPDATE messages SET open_deliveries = 0; PRAGMA foreign_keys = OFF;
             INSERT INTO pictures VALUES (99, x'00');",
        )
        .unwrap();
    let found = store.fsck(false).wait().unwrap();
    assert_eq!((found.stuck_tracks, found.pictures_without_message), (1, 1), "{found:?}");
    assert!(found.wrong_counts >= 3, "{found:?}");
    assert_eq!(store.fsck(true).wait().unwrap(), found);
    let after = store.fsck(false).wait().unwrap();
    assert!(after.is_clean(), "{after:?}");
    assert_eq!(store.claim_due(UnixMs(1), 8).wait().unwrap().deliveries.len(), 1);
}

#[test]
fn a_thin_message_s_picture_stays_until_its_address_expires() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let thin = with_options(WebhookOptions { form: Form::Thin { base: "http://box".into() }, ..Default::default() });
    let message = face(Uuid::from_u128(1), 1);
    let id = message.id().to_string();
    store.enqueue_at(&message, &[thin], UnixMs(1)).wait().unwrap();
    let claimed = store.claim_due(UnixMs(1), 8).wait().unwrap().deliveries.remove(0);
    let until = claimed.picture_until;
    assert_eq!(until, UnixMs(1) + HOUR * 24);
    record(&store, &claimed, Outcome::Delivered);
    let fetched = store.picture_to_fetch(&id, UnixMs(until.0 - 1)).wait().unwrap();
    assert_eq!(fetched.as_deref(), Some(&message.jpeg()[..]));
    assert_eq!(store.picture_to_fetch(&id, until).wait().unwrap(), None);
    assert_eq!(store.trim(at(until, 1)).wait().unwrap(), 1);
    assert_eq!(store.totals().wait().unwrap().pictures(), 0);

    let plain = face(Uuid::from_u128(2), 1);
    store.enqueue_at(&plain, &[hook("b")], UnixMs(1)).wait().unwrap();
    assert_eq!(store.picture_to_fetch(&plain.id().to_string(), UnixMs(2)).wait().unwrap(), None, "was not offered");
}

#[test]
fn an_output_is_its_address_and_takes_up_what_its_task_says_last() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let old = with_options(WebhookOptions { secrets: vec!["whsec_old".into()], ..Default::default() });
    let new =
        with_options(WebhookOptions { secrets: vec!["whsec_new".into(), "whsec_old".into()], ..Default::default() });
    store.enqueue_at(&face(Uuid::from_u128(1), 1), &[old], UnixMs(1)).wait().unwrap();
    store.enqueue_at(&face(Uuid::from_u128(1), 2), std::slice::from_ref(&new), UnixMs(1)).wait().unwrap();
    assert_eq!(store.outputs(None).wait().unwrap().len(), 1);
    let waiting = store.claim_due(UnixMs(1), 8).wait().unwrap().deliveries;
    assert_eq!((waiting.len(), &*waiting[0].target), (1, &new), "one track, in order, signed by both from now on");
    record(&store, &waiting[0], Outcome::Disabled { reason: "status 410 Gone".into() });
    assert!(store.claim_due(UnixMs(1), 8).wait().unwrap().deliveries.is_empty(), "switched off");
    let output = store.outputs(None).wait().unwrap().remove(0);
    assert_eq!((output.waiting, output.disabled.is_some()), (1, true));
    let changed = with_options(WebhookOptions::default());
    store.enqueue_at(&face(Uuid::from_u128(2), 1), &[changed], UnixMs(1)).wait().unwrap();
    assert_eq!(store.claim_due(UnixMs(1), 8).wait().unwrap().deliveries.len(), 2, "a changed task is tried again");
}

#[test]
fn dead_deliveries_of_a_time_are_sent_again() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    for track in 1..=3 {
        let Message::Face(mut message) = face(Uuid::from_u128(track), 1) else { unreachable!("a face") };
        message.taken_at = UnixMs(track as i64 * 1000);
        store.enqueue_at(&Message::Face(message), &[hook("a")], UnixMs(1)).wait().unwrap();
    }
    for claimed in store.claim_due(UnixMs(1), 8).wait().unwrap().deliveries {
        record(&store, &claimed, Outcome::Dead { reason: "status 404".into() });
    }
    let range = |since, until| TimeRange { since: Some(UnixMs(since)), until: Some(UnixMs(until)) };
    let revive = |range, task: Option<&str>| {
        let task_id = task.map(str::to_owned);
        store.revive(Revive::Taken { range, task_id, project_id: None }, UnixMs(2)).wait().unwrap()
    };
    assert_eq!(revive(range(0, 999), None), 0);
    assert_eq!(revive(range(0, 9999), Some("another task")), 0);
    assert_eq!(revive(range(2000, 3000), None), 2);
    assert_eq!((rows(&store, DeliveryState::Dead), rows(&store, DeliveryState::Pending)), (1, 2));
    let query = DeliveryQuery { taken: range(1000, 2000), limit: 9, ..DeliveryQuery::default() };
    assert_eq!(store.deliveries(query).wait().unwrap().len(), 2);
    let query = DeliveryQuery { face_id: Some(Uuid::from_u128(3).to_string()), limit: 9, ..DeliveryQuery::default() };
    assert_eq!(store.deliveries(query).wait().unwrap().len(), 1);
}

#[test]
fn a_chain_has_no_gaps_and_each_link_names_the_one_before() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let target = [with_options(WebhookOptions { evidence: true, ..Default::default() })];
    for track in 1..=3 {
        store.enqueue_at(&face(Uuid::from_u128(track), 1), &target, UnixMs(1)).wait().unwrap();
    }
    let claimed = store.claim_due(UnixMs(1), 8).wait().unwrap().deliveries;
    let mut previous = [0; 32];
    for (number, claimed) in (1..).zip(&claimed) {
        let link = claimed.link.unwrap();
        assert_eq!((link.number, link.previous), (number, previous));
        previous = sha256(statement_of(&link, &claimed.message).as_bytes());
    }
    record(&store, &claimed[1], Outcome::Retry { due_at: UpMs(1), reason: "status 500".into() });
    let again = store.claim_due(UnixMs(1), 8).wait().unwrap().deliveries.remove(0);
    assert_eq!(again.link, claimed[1].link, "however often it is sent");
}

#[test]
fn decisions_are_listed_in_order_and_bounded() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let decision = |face: &str, at: i64| Decision {
        task_id: "t".into(),
        face_id: face.into(),
        at: UnixMs(at),
        stream_ms: 7,
        what: format!("too_small {at}"),
    };
    store.note_tracks((0..5).map(|at| decision("a", at)).collect(), vec![]).wait().unwrap();
    store.note_tracks(vec![decision("b", 9)], vec![]).wait().unwrap();
    let times = |face: Option<&str>, limit| -> Vec<i64> {
        store.decisions("t", face, limit).wait().unwrap().iter().map(|decision| decision.at.0).collect()
    };
    assert_eq!(times(None, 3), [3, 4, 9]);
    assert_eq!(times(Some("a"), 100), [0, 1, 2, 3, 4]);
    assert!(store.decisions("other", None, 9).wait().unwrap().is_empty());
    for _ in 0..101 {
        store.note_tracks((0..1000).map(|at| decision("c", at)).collect(), vec![]).wait().unwrap();
    }
    assert_eq!(times(None, 1_000_000).len(), 100_000);
}

#[test]
fn what_a_task_keeps_no_longer_is_erased_and_written_down() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open_with(dir.path(), in_files()).unwrap();
    let task_id = face(Uuid::nil(), 1).task_id().to_string();
    let sql = rusqlite::Connection::open(dir.path().join("face-edge.db")).unwrap();
    let body = r#"{"service_config": {"common": {"retention_hours": 2}}}"#;
    sql.execute(
        "INSERT INTO tasks (id, project_id, name, creator, service_version, desired, state, input_index, body,
            created_at, updated_at) VALUES (?1, '', '', '', '', 'stop', '', 0, ?2, 0, 0)",
        (&task_id, body),
    )
    .unwrap();
    store.enqueue_at(&face(Uuid::from_u128(1), 1), &[hook("a")], at(UnixMs(1), 0)).wait().unwrap();
    let done = store.claim_due(at(UnixMs(1), 0), 8).wait().unwrap().deliveries.remove(0);
    record(&store, &done, Outcome::Delivered);
    store.enqueue_at(&face(Uuid::from_u128(2), 1), &[hook("a")], at(UnixMs(1), 0)).wait().unwrap();
    store.enqueue_at(&face(Uuid::from_u128(3), 1), &[hook("a")], at(UnixMs(1), 3600)).wait().unwrap();
    assert_eq!(store.trim(at(UnixMs(1) + YEAR, 7200)).wait().unwrap(), 0, "whatever the clock says");
    assert_eq!(store.trim(at(UnixMs(9), 7201)).wait().unwrap(), 2);
    assert_eq!((rows(&store, DeliveryState::Pending), rows(&store, DeliveryState::Delivered)), (1, 0));
    assert_eq!(files(dir.path()).len(), 1);
    let log = store.erasures(10).wait().unwrap();
    assert_eq!(log.iter().map(|row| (row.at, row.undelivered)).collect::<Vec<_>>(), [(UnixMs(9), 1), (UnixMs(9), 0)]);
    assert!(store.fsck(false).wait().unwrap().is_clean());
}
