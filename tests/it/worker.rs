//! The way of a frame with a drawn picture and a finder that is told what it sees: mailbox, rules, pictures,
//! messages.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use face_edge::clock;
use face_edge::domain::{
    Category, Detection, Message, Outputs, Rect, Repeat, Rules, Source, StreamTime, Task, TaskId, TimeSource, UnixMs,
};
use face_edge::frame::{Color, Frame, Matrix, Moment, OwnedPlanes};
use face_edge::mailbox::{Mailbox, Sender};
use face_edge::rules::{Outcome, Tally};
use face_edge::worker::{self, Analysis, FindFaces, Observer, Outbound, Picture, Progress, Settings};
use parking_lot::Mutex;
use uuid::Uuid;

/// Sees, frame by frame, what it was told.
struct Told(VecDeque<Vec<Rect>>);

impl FindFaces for Told {
    type Error = Infallible;
    fn find(&mut self, _: &Frame, _: (f32, f32)) -> Result<Vec<Detection>, Infallible> {
        let boxes = self.0.pop_front().unwrap_or_default();
        Ok(boxes.into_iter().map(|bbox| Detection { bbox, score: 0.9, landmarks: None }).collect())
    }
}

#[derive(Default)]
struct Kept(Mutex<Vec<Message>>);

impl Outbound for Kept {
    fn send(&self, _: &Task, messages: Vec<Message>) {
        self.0.lock().extend(messages);
    }
}

/// Closes the mailbox when the stream has been dealt with, so that `work` returns.
struct CloseWhenDrained(Arc<Mailbox<Analysis>>);

impl Observer for CloseWhenDrained {
    fn decided(&mut self, _: &Outcome<Arc<Picture>>, _: &Tally) {}
    fn drained(&mut self) {
        self.0.close();
    }
}

fn task(rules: Rules, categories: Vec<Category>) -> Task {
    let localpath =
        face_edge::domain::task::LocalPath { mount_source_path: "/unused".into(), categories, evidence: false };
    Task {
        id: TaskId::from_uuid(Uuid::from_u128(7)),
        name: "t".into(),
        edge_pool_id: "default".into(),
        resource_order_id: None,
        index: 0,
        source: Source::Url { url: "file:///unused".into() },
        outputs: Outputs { localpath: Some(localpath), ..Outputs::default() },
        rules,
    }
}

fn frame(number: u64) -> Frame {
    let mut planes = OwnedPlanes::black(640, 360);
    planes.y.iter_mut().enumerate().for_each(|(i, y)| *y = 60 + (i % 640 % 120) as u8);
    Frame {
        buffer: Arc::new(planes),
        color: Color { matrix: Matrix::Bt709, full_range: false },
        stream_time: StreamTime::from_millis(number * 40),
        taken_at: UnixMs(1_600_000_000_000 + number as i64 * 40),
        arrived: clock::monotonic(),
        decoded: clock::monotonic(),
        time_source: TimeSource::Camera { skew_ms: 12 },
        moment: Moment::default(),
        number,
    }
}

/// Runs the frames through and gives what was sent. Before each frame `before` may change the settings.
fn run(task: Task, seen: Vec<Vec<Rect>>, mut before: impl FnMut(usize, &ArcSwap<Settings>) + Send) -> Vec<Message> {
    let mailbox = Mailbox::new();
    let settings = Arc::new(ArcSwap::from_pointee(Settings { task, node_id: "node".into() }));
    let observer = Box::new(CloseWhenDrained(Arc::clone(&mailbox)));
    let progress = Arc::new(Progress::default());
    let analysis =
        Analysis::new(Arc::clone(&settings), Uuid::from_u128(1), 0.6, Arc::clone(&progress), Arc::default(), observer);
    let sender = mailbox.open(analysis);
    let kept = Kept::default();
    let count = seen.len();
    std::thread::scope(|scope| {
        let (mailbox, kept) = (&mailbox, &kept);
        scope.spawn(move || worker::work(mailbox, &mut Told(seen.into()), kept));
        for number in 0..count {
            before(number, &settings);
            give(&sender, frame(number as u64));
            wait_until(|| progress.frames_analysed.load(std::sync::atomic::Ordering::Relaxed) > number as u64);
        }
        sender.end();
    });
    kept.0.into_inner()
}

fn give(sender: &Sender<Analysis>, frame: Frame) {
    assert!(sender.offer_waiting(frame, Duration::from_secs(10)).is_ok(), "the worker does not fetch its mail");
}

fn wait_until(condition: impl Fn() -> bool) {
    let deadline = std::time::Duration::from_secs(10);
    let started = face_edge::clock::monotonic();
    while !condition() {
        assert!(started.elapsed() < deadline, "the worker does not get on");
        std::thread::yield_now();
    }
}

const FACE: Rect = Rect::new(200.0, 100.0, 100.0, 120.0);

#[test]
fn a_face_leaves_as_a_picture_with_its_margin() {
    let sent = run(task(Rules::default(), vec![Category::FaceImage]), vec![vec![FACE]; 5], |_, _| {});
    let [Message::Face(face)] = sent.as_slice() else { panic!("one picture expected, got {}", sent.len()) };
    assert_eq!((face.bbox, face.seq, face.stream_time), (FACE, 1, StreamTime::ZERO));
    assert_eq!(face.taken_at, UnixMs(1_600_000_000_000));
    assert_eq!(face.time_source, TimeSource::Camera { skew_ms: 12 });
    let picture = image::load_from_memory(&face.jpeg).expect("a JPEG");
    assert_eq!((picture.width(), picture.height()), (140, 168));
}

#[test]
fn an_origin_image_goes_once_a_frame_and_names_its_faces() {
    let rules = Rules { send_origin_image: true, ..Rules::default() };
    let other = Rect::new(400.0, 100.0, 100.0, 120.0);
    let wanted = vec![Category::FaceImage, Category::OriginImage];
    let sent = run(task(rules, wanted), vec![vec![FACE, other]; 3], |_, _| {});
    let [Message::Face(a), Message::Face(b), Message::Origin(origin)] = sent.as_slice() else {
        panic!("two faces and their frame expected, got {}", sent.len())
    };
    assert_eq!((a.origin_image_id, b.origin_image_id), (origin.origin_image_id, origin.origin_image_id));
    assert_ne!(a.face_id, b.face_id);
    let ids: Vec<_> = origin.faces.iter().map(|face| face.detection_id).collect();
    assert_eq!(ids, [a.detection_id, b.detection_id]);
    let picture = image::load_from_memory(&origin.jpeg).expect("a JPEG");
    assert_eq!((picture.width(), picture.height()), (640, 360));
}

#[test]
fn an_origin_image_that_no_output_wants_is_not_made() {
    let rules = Rules { send_origin_image: true, ..Rules::default() };
    let sent = run(task(rules, vec![Category::FaceImage]), vec![vec![FACE]; 3], |_, _| {});
    assert_eq!(sent.iter().map(Message::category).collect::<Vec<_>>(), [Category::FaceImage]);
}

#[test]
fn a_face_that_waits_is_sent_when_the_stream_ends_if_it_must() {
    let rules = Rules { first_send_after: Duration::from_secs(60), must_send: true, ..Rules::default() };
    let sent = run(task(rules, vec![Category::FaceImage]), vec![vec![FACE]; 4], |_, _| {});
    let reasons: Vec<_> = sent.iter().map(|m| if let Message::Face(f) = m { f.reason.as_str() } else { "" }).collect();
    assert_eq!(reasons, ["must"]);
}

#[test]
fn changed_rules_hold_from_the_next_frame_and_the_track_goes_on() {
    let small = Rules { min_size_px: 200.0, ..Rules::default() };
    let repeating = Rules { repeat: Repeat::Period { interval: Duration::from_secs(1) }, ..Rules::default() };
    let changed = task(repeating, vec![Category::FaceImage]);
    let sent = run(task(small, vec![Category::FaceImage]), vec![vec![FACE]; 60], |number, settings| {
        if number == 10 {
            settings.store(Arc::new(Settings { task: changed.clone(), node_id: "node".into() }));
        }
    });
    let faces: Vec<_> = sent.iter().filter_map(|m| if let Message::Face(f) = m { Some(f) } else { None }).collect();
    assert_eq!(faces.iter().map(|f| f.seq).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(faces[0].stream_time, StreamTime::from_millis(400));
    assert_eq!(faces[0].face_id, faces[1].face_id);
}
