//! Faces on their way to the outbox: named, held back, enrolled for the gates.

use std::sync::Arc;
use std::time::Duration;

use face_edge::api::{Faces, Recognition};
use face_edge::domain::task::GateBuffer;
use face_edge::domain::{Embedding, FaceImage, FaceOwner, Message, Outputs, Rules, Source, Task, TaskId, UnixMs};
use face_edge::gallery::Gallery;
use face_edge::recognise::Recogniser;
use face_edge::store::{EventKind, Store};
use face_edge::zone::Zone;
use uuid::Uuid;

use crate::messages::face;
use crate::support::faces::{FakeEyes, NoFetch, picture};

const ANN: [u8; 3] = [250, 10, 10];
const BOB: [u8; 3] = [10, 10, 250];

struct Box {
    recogniser: Recogniser,
    store: Store,
    gallery: Arc<Gallery>,
    _folder: tempfile::TempDir,
}

fn start(recognition: bool) -> Box {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let gallery = Arc::<Gallery>::default();
    let eyes = FakeEyes(recognition.then(|| Recognition { model: "test".to_owned(), threshold: 0.95 }));
    let faces = Faces::new(Arc::new(eyes), Arc::new(NoFetch), Arc::clone(&gallery), Zone::default(), 1);
    Box { recogniser: Recogniser::new(faces, store.clone()), store, gallery, _folder: folder }
}

fn task(rules: Rules, gate_buffer: Option<GateBuffer>) -> Task {
    Task {
        id: TaskId::from_uuid(Uuid::from_u128(1)),
        name: "t".into(),
        edge_pool_id: "default".into(),
        resource_order_id: None,
        index: 0,
        source: Source::Camera { id: "c".into() },
        outputs: Outputs { gate_buffer, ..Outputs::default() },
        rules,
    }
}

fn sent(track: u128, color: [u8; 3], quality: f32, at_ms: i64) -> FaceImage {
    let Message::Face(face) = face(Uuid::from_u128(track), 1) else { panic!("a face") };
    FaceImage { jpeg: picture(1, color).into(), quality, taken_at: UnixMs(at_ms), ..face }
}

#[test]
fn a_known_person_is_named_where_the_task_asks() {
    let it = start(true);
    let (id, rules) = (Uuid::from_u128(77), Rules { recognize_person: true, ..Rules::default() });
    let ann = Embedding::of(vec![7.0 - 3.5, -3.5, -3.5]).unwrap();
    it.gallery.put(&FaceOwner::Person(id), "f", &ann);
    let named = it.recogniser.treat(&task(rules, None), sent(1, ANN, 0.5, 0)).unwrap().person.unwrap();
    assert!(named.id == id && named.similarity > 0.95);
    let asks = Rules { recognize_person: true, ..Rules::default() };
    assert_eq!(it.recogniser.treat(&task(asks, None), sent(2, BOB, 0.5, 0)).unwrap().person, None, "a stranger");
    assert_eq!(it.recogniser.treat(&task(Rules::default(), None), sent(1, ANN, 0.5, 0)).unwrap().person, None);
}

#[test]
fn the_same_person_is_sent_once_for_all_cameras() {
    let it = start(true);
    let task = task(Rules { same_person_quiet: Duration::from_secs(60), ..Rules::default() }, None);
    let passes = |track, color, at_ms| it.recogniser.treat(&task, sent(track, color, 0.5, at_ms)).is_some();
    assert!(passes(1, ANN, 0));
    assert!(!passes(2, ANN, 30_000));
    assert!(passes(3, BOB, 30_000));
    assert!(passes(2, ANN, 60_000));
    let blind = start(false);
    assert!((0..3).all(|track| blind.recogniser.treat(&task, sent(track, ANN, 0.5, 0)).is_some()), "no model, no rule");
}

#[test]
fn a_tracks_best_picture_becomes_a_sample_for_the_gates() {
    let it = start(false);
    for gatenum in ["0001", "0002"] {
        it.store.register_gate(gatenum, gatenum, UnixMs(0)).wait().unwrap();
    }
    let output = GateBuffer { gates: vec!["0001".to_owned()], valid_hours: 2 };
    let task = task(Rules::default(), Some(output));
    for (quality, at_ms) in [(0.5, 1000), (0.4, 2000), (0.6, 3000)] {
        assert!(it.recogniser.treat(&task, sent(9, ANN, quality, at_ms)).is_some());
    }
    let lbsbh = Uuid::from_u128(9).simple().to_string();
    let events = |gatenum| it.store.gate_events(gatenum, 0, 10, 1 << 20).wait().unwrap().unwrap().0;
    let held = events("0001");
    assert_eq!((held.len(), held[0].kind, held[0].index, &held[0].lbsbh), (1, EventKind::Add, 2, &lbsbh));
    assert_eq!(held[0].picture, picture(1, ANN));
    assert_eq!(held[0].validity.unwrap().to, UnixMs(3000 + 2 * 3_600_000));
    assert_eq!(events("0002"), []);
    assert_eq!(it.store.erasure_log().wait().unwrap().rows, 1, "the picture that was replaced");
}
