//! A camera with two streams over real RTSP: found in the small one, cut out of the large one, at the same moment. The
//! drawn scene is recorded at two sizes with a frame counter in the picture.

use std::collections::HashMap;
use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use face_edge::channel::{Channel, Main, Site, Streams};
use face_edge::clock;
use face_edge::domain::task::LocalPath;
use face_edge::domain::{
    Category, Detection, FaceImage, Message, OriginImage, Outputs, PictureStream, Rect, Repeat, Rules, Source,
    StreamTime, Task, TaskId, TimeSource,
};
use face_edge::frame::{Frame, OwnedPlanes, Planes};
use face_edge::mailbox::Mailbox;
use face_edge::media::{self, Pace};
use face_edge::rules::{Outcome, Tally};
use face_edge::sim::camera::{SimCamera, SimSpec};
use face_edge::sim::reports::Reports;
use face_edge::sim::{recording, scene};
use face_edge::worker::{self, Analysis, FindFaces, Observer, Outbound, Picture};
use image::GrayImage;
use parking_lot::{Condvar, Mutex};
use serde_json::json;
use uuid::Uuid;

use crate::support::town::Town;

const PATIENCE: Duration = Duration::from_secs(60);
const FRAMES: usize = 50;
/// Of the large picture, of the small one.
const TIMES: usize = 3;
const BITS: usize = 6;
/// Side of one block of the counter, in the large picture.
const BLOCK: usize = 48;

/// Where in the scene somebody is well seen throughout.
fn first_frame() -> usize {
    let seen =
        |number: usize| scene::truth(number).iter().any(|face| face.visible > 0.99 && face.bbox.shorter_side() > 150.0);
    (0..scene::FRAMES - FRAMES).find(|&first| (first..first + FRAMES).all(seen)).expect("the scene has such people")
}

/// Two rows of blocks at the top left: the number in bits, and its complement.
fn count_into(picture: &mut OwnedPlanes, number: usize) {
    let width = picture.width;
    for (row, value) in [number, !number].into_iter().enumerate() {
        for bit in 0..BITS {
            let luma = if value >> bit & 1 == 1 { 235 } else { 16 };
            for y in row * BLOCK..(row + 1) * BLOCK {
                picture.y[y * width + bit * BLOCK..][..BLOCK].fill(luma);
            }
            for y in row * BLOCK / 2..(row + 1) * BLOCK / 2 {
                picture.u[y * width / 2 + bit * BLOCK / 2..][..BLOCK / 2].fill(128);
                picture.v[y * width / 2 + bit * BLOCK / 2..][..BLOCK / 2].fill(128);
            }
        }
    }
}

/// `None` where it cannot be read.
fn read_counter(luma: impl Fn(usize, usize) -> u8, block: usize) -> Option<usize> {
    let row = |row: usize| {
        (0..BITS).fold(0, |sum, bit| {
            let is_set = luma(bit * block + block / 2, row * block + block / 2) > 128;
            sum | usize::from(is_set) << bit
        })
    };
    let (number, complement) = (row(0), row(1));
    (number ^ complement == (1 << BITS) - 1).then_some(number)
}

fn smaller(picture: &OwnedPlanes) -> OwnedPlanes {
    let (width, height) = (picture.width / TIMES, picture.height / TIMES);
    let plane = |samples: &[u8], stride: usize, width: usize, height: usize| {
        let mean = |x: usize, y: usize| {
            let rows = (0..TIMES).map(|dy| &samples[(y * TIMES + dy) * stride + x * TIMES..][..TIMES]);
            (rows.flatten().map(|&sample| usize::from(sample)).sum::<usize>() / (TIMES * TIMES)) as u8
        };
        (0..width * height).map(|i| mean(i % width, i / width)).collect::<Vec<u8>>()
    };
    OwnedPlanes {
        layout: picture.layout,
        width,
        height,
        y: plane(&picture.y, picture.width, width, height),
        u: plane(&picture.u, picture.width / 2, width / 2, height / 2),
        v: plane(&picture.v, picture.width / 2, width / 2, height / 2),
    }
}

/// The large video and the small one.
pub fn record(folder: &Path) -> [PathBuf; 2] {
    let (first, mut scene) = (first_frame(), scene::Scene::new());
    let pictures: Vec<OwnedPlanes> = (0..FRAMES)
        .map(|number| {
            let mut picture = scene.frame(first + number);
            count_into(&mut picture, number);
            picture
        })
        .collect();
    let copy = |p: &OwnedPlanes| OwnedPlanes { y: p.y.clone(), u: p.u.clone(), v: p.v.clone(), ..*p };
    let (large, small) = (folder.join("large.mp4"), folder.join("small.mp4"));
    let size = (scene::WIDTH, scene::HEIGHT);
    recording::record_pictures(&large, size, FRAMES, &mut |n| copy(&pictures[n]), &mut |_, _| ()).unwrap();
    let size = (scene::WIDTH / TIMES, scene::HEIGHT / TIMES);
    recording::record_pictures(&small, size, FRAMES, &mut |n| smaller(&pictures[n]), &mut |_, _| ()).unwrap();
    [large, small]
}

/// Knows where the faces are, by the counter in the small picture; notes which picture was when.
struct Knowing {
    first: usize,
    seen: Arc<Mutex<HashMap<StreamTime, usize>>>,
    windows: Arc<Mutex<Vec<(f32, f32)>>>,
}

fn counter_of(planes: &Planes<'_>, block: usize) -> Option<usize> {
    read_counter(|x, y| planes.y[y * planes.y_stride + x], block)
}

impl FindFaces for Knowing {
    type Error = Infallible;

    fn find(&mut self, frame: &Frame, window: (f32, f32)) -> Result<Vec<Detection>, Infallible> {
        let planes = frame.planes();
        assert_eq!((planes.width, planes.height), (scene::WIDTH / TIMES, scene::HEIGHT / TIMES));
        let number = counter_of(&planes, BLOCK / TIMES).expect("the counter is legible in the small picture");
        self.seen.lock().insert(frame.stream_time, number);
        self.windows.lock().push(window);
        Ok(faces_in_small(self.first + number))
    }
}

fn faces_in_small(number: usize) -> Vec<Detection> {
    let by = |value: f32| value / TIMES as f32;
    let faces = scene::truth(number).into_iter().filter(|face| face.visible > 0.9);
    let small = faces.map(|face| {
        let Rect { x, y, w, h } = face.bbox;
        Detection { bbox: Rect::new(by(x), by(y), by(w), by(h)), score: 0.9, landmarks: Some(face.landmarks) }
    });
    small.collect()
}

#[derive(Default)]
struct Kept(Mutex<Vec<Message>>, Condvar);

impl Outbound for Kept {
    fn send(&self, _: &Task, messages: Vec<Message>) {
        self.0.lock().extend(messages);
        self.1.notify_all();
    }
}

impl Kept {
    fn wait(&self, what: &str, done: impl Fn(&[FaceImage]) -> bool) -> Vec<Message> {
        let deadline = clock::monotonic() + PATIENCE;
        let mut kept = self.0.lock();
        loop {
            let faces: Vec<FaceImage> = kept.iter().filter_map(as_face).collect();
            if done(&faces) {
                return kept.clone();
            }
            let late = self.1.wait_until(&mut kept, deadline).timed_out();
            let shown: Vec<_> = faces.iter().map(|face| (face.picture_stream, face.time_source)).collect();
            assert!(!late, "waited in vain for {what}: {shown:?}");
        }
    }
}

fn as_face(message: &Message) -> Option<FaceImage> {
    if let Message::Face(face) = message { Some(face.clone()) } else { None }
}

struct Nobody;

impl Observer for Nobody {
    fn decided(&mut self, _: &Outcome<Arc<Picture>>, _: &Tally) {}
    fn drained(&mut self) {}
}

fn task() -> Task {
    let categories = vec![Category::FaceImage, Category::OriginImage];
    let localpath = LocalPath { mount_source_path: "/unused".into(), categories, evidence: false };
    Task {
        id: TaskId::from_uuid(Uuid::from_u128(7)),
        name: "t".into(),
        edge_pool_id: "default".into(),
        resource_order_id: None,
        index: 0,
        source: Source::Camera { id: "door".into() },
        outputs: Outputs { localpath: Some(localpath), ..Outputs::default() },
        rules: Rules {
            min_size_px: 120.0,
            send_origin_image: true,
            repeat: Repeat::Period { interval: Duration::from_secs(1) },
            ..Rules::default()
        },
    }
}

struct Site2 {
    kept: Arc<Kept>,
    seen: Arc<Mutex<HashMap<StreamTime, usize>>>,
    windows: Arc<Mutex<Vec<(f32, f32)>>>,
    channel: Option<Channel>,
    mailbox: Arc<Mailbox<Analysis>>,
    worker: Option<std::thread::JoinHandle<()>>,
}

fn watch(url: String, main: String) -> Site2 {
    media::init().unwrap();
    let mailbox = Mailbox::new();
    let (kept, seen, windows) = (Arc::new(Kept::default()), Arc::default(), Arc::default());
    let mut finder = Knowing { first: first_frame(), seen: Arc::clone(&seen), windows: Arc::clone(&windows) };
    let (boxes, out) = (Arc::clone(&mailbox), Arc::clone(&kept));
    let worker = std::thread::Builder::new().name("detect-0".into());
    let worker = worker.spawn(move || worker::work(&boxes, &mut finder, &*out)).unwrap();
    let site = Site {
        node_id: "node".into(),
        mailbox: Arc::clone(&mailbox),
        new_track_score: 0.6,
        idle_keyframes: false,
        patience: face_edge::media::Patience::default(),
        figures: face_edge::figures::Figures::new(),
    };
    let streams = Streams { url, main: Some(Main { url: main, on_state: Box::new(|_| ()) }) };
    let channel =
        Channel::start(&site, task(), streams, Pace::Live, Uuid::from_u128(1), Box::new(Nobody), |_| ()).unwrap();
    Site2 { kept, seen, windows, channel: Some(channel), mailbox, worker: Some(worker) }
}

impl Drop for Site2 {
    fn drop(&mut self) {
        self.channel = None;
        self.mailbox.close();
        let ended = self.worker.take().unwrap().join();
        assert!(std::thread::panicking() || ended.is_ok(), "the worker panicked");
    }
}

fn gray(jpeg: &[u8]) -> GrayImage {
    image::load_from_memory(jpeg).expect("a JPEG").to_luma8()
}

/// What a face's picture shows is what the whole picture shows there.
fn difference(crop: &GrayImage, whole: &GrayImage, bbox: &Rect) -> f32 {
    let region = bbox.grow(face_edge::snapshot::CROP_MARGIN).clip(whole.width() as f32, whole.height() as f32);
    let (left, top) = (region.x.round() as u32 & !1, region.y.round() as u32 & !1);
    let at =
        |x: u32, y: u32| (f32::from(crop.get_pixel(x, y)[0]) - f32::from(whole.get_pixel(left + x, top + y)[0])).abs();
    let sum: f32 = (0..crop.height()).flat_map(|y| (0..crop.width()).map(move |x| (x, y))).map(|(x, y)| at(x, y)).sum();
    sum / (crop.width() * crop.height()) as f32
}

fn check_pair(face: &FaceImage, origin: &OriginImage, small_number: usize) {
    assert_eq!((face.picture_stream, origin.picture_stream), (Some(PictureStream::Main), Some(PictureStream::Main)));
    let whole = gray(&origin.jpeg);
    assert_eq!((whole.width() as usize, whole.height() as usize), (scene::WIDTH, scene::HEIGHT));
    let number = read_counter(|x, y| whole.get_pixel(x as u32, y as u32)[0], BLOCK).expect("a legible counter");
    let apart = number.abs_diff(small_number);
    assert!(apart.min(FRAMES - apart) <= 1, "found in picture {small_number}, cut out of picture {number}");
    let truth = scene::truth(first_frame() + small_number);
    let overlap = truth.iter().map(|truth| truth.bbox.iou(&face.bbox)).fold(0.0, f32::max);
    assert!(overlap > 0.99, "the box is in the large picture's pixels: {overlap}");
    let there = scene::truth(first_frame() + number);
    assert!(there.iter().any(|truth| truth.bbox.iou(&face.bbox) > 0.85), "the face is there in that picture, too");
    let crop = gray(&face.jpeg);
    let width = face.bbox.grow(face_edge::snapshot::CROP_MARGIN).clip(whole.width() as f32, whole.height() as f32).w;
    assert!((crop.width() as f32 - width).abs() <= 2.0, "{} px wide, expected {width}", crop.width());
    assert!(difference(&crop, &whole, &face.bbox) < 4.0, "{}", difference(&crop, &whole, &face.bbox));
}

/// Until then it may not be known yet which pictures of the two streams belong together.
const EARLY_MS: u64 = 6_000;

fn is_main(face: &FaceImage) -> bool {
    face.picture_stream == Some(PictureStream::Main)
}

fn origin_of(face: &FaceImage, messages: &[Message]) -> OriginImage {
    let origin = messages.iter().find_map(|message| match message {
        Message::Origin(origin) if origin.origin_image_id == face.origin_image_id => Some(origin.clone()),
        _ => None,
    });
    origin.expect("each face's whole picture")
}

fn check_all(site: &Site2, messages: &[Message]) -> usize {
    let seen = site.seen.lock();
    let (faces, small): (Vec<FaceImage>, Vec<FaceImage>) = messages.iter().filter_map(as_face).partition(is_main);
    let early = |face: &FaceImage| face.stream_time < StreamTime::from_millis(EARLY_MS);
    assert!(small.iter().all(early), "the two can be compared from the first seconds on");
    for face in &faces {
        check_pair(face, &origin_of(face, messages), seen[&face.stream_time]);
    }
    assert!(site.windows.lock().iter().all(|(min_px, _)| (min_px - 40.0).abs() < 1e-3), "the detector's pixels");
    faces.len()
}

fn film(folder: &Path, reports: Reports) -> SimCamera {
    SimCamera::start(SimSpec { reports, in_step: true, ..SimSpec::new(record(folder).to_vec()) }).unwrap()
}

#[test]
fn pictures_are_cut_out_of_the_main_stream_at_the_same_moment() {
    let folder = tempfile::tempdir().unwrap();
    // Far off, and no harm: both streams have the same clock.
    let sim = film(folder.path(), Reports::Ahead { ms: 3_600_000 });
    let site = watch(sim.url(1), sim.url(0));
    let told = |face: &FaceImage| matches!(face.time_source, TimeSource::Receipt { skew_ms: Some(_) });
    let messages = site.kept.wait("pictures before and after the first reports", |faces| {
        faces.iter().filter(|face| is_main(face)).count() >= 8 && faces.iter().filter(|face| told(face)).count() >= 4
    });
    assert!(check_all(&site, &messages) >= 8);
    let progress = Arc::clone(site.channel.as_ref().unwrap().progress());
    let cut = progress.pictures_main.load(Ordering::Relaxed);
    assert!(cut >= 8);
    let spent_ms = progress.main_decode_ns.load(Ordering::Relaxed) / 1_000_000;
    println!("{cut} pictures out of a 1080p stream with a key frame every 2 s: {} ms each", spent_ms / cut);
}

#[test]
fn without_reports_the_two_streams_are_paired_by_arrival() {
    let folder = tempfile::tempdir().unwrap();
    let sim = film(folder.path(), Reports::None);
    let site = watch(sim.url(1), sim.url(0));
    let messages = site.kept.wait("pictures", |faces| faces.iter().filter(|face| is_main(face)).count() >= 6);
    assert!(check_all(&site, &messages) >= 6);
}

#[test]
fn without_its_main_stream_a_camera_gives_its_small_pictures() {
    let folder = tempfile::tempdir().unwrap();
    let sim = film(folder.path(), Reports::default());
    let site = watch(sim.url(1), sim.url(7));
    // The rules take the small picture's pixels then: nobody is 120 of them wide.
    let task = Task { rules: Rules { min_size_px: 40.0, ..task().rules }, ..task() };
    site.channel.as_ref().unwrap().adjust(task);
    let messages = site.kept.wait("two pictures", |faces| faces.len() >= 2);
    for face in messages.iter().filter_map(as_face) {
        assert_eq!(face.picture_stream, Some(PictureStream::Detect));
        let truth = scene::truth(first_frame() + site.seen.lock()[&face.stream_time]);
        let small = |rect: Rect| Rect::new(rect.x / 3.0, rect.y / 3.0, rect.w / 3.0, rect.h / 3.0);
        assert!(truth.iter().any(|truth| small(truth.bbox).iou(&face.bbox) > 0.99), "in the small picture's pixels");
        assert!(gray(&face.jpeg).width() < 200);
    }
    let progress = Arc::clone(site.channel.as_ref().unwrap().progress());
    assert!(progress.pictures_small.load(Ordering::Relaxed) >= 2);
    assert!(progress.frames_unsized.load(Ordering::Relaxed) > 0, "it waited for the size");
}

/// What the town's analyst saw when.
static SEEN: LazyLock<Mutex<HashMap<StreamTime, usize>>> = LazyLock::new(Mutex::default);

fn sees(frame: &Frame) -> Vec<Detection> {
    static FIRST: LazyLock<usize> = LazyLock::new(first_frame);
    let planes = frame.planes();
    assert_eq!(planes.width, scene::WIDTH / TIMES, "only the small stream is looked at");
    let number = counter_of(&planes, BLOCK / TIMES).expect("the counter is legible in the small picture");
    SEEN.lock().insert(frame.stream_time, number);
    faces_in_small(*FIRST + number)
}

/// Registered with two addresses, watched by a task that names it, both through the interface.
#[test]
fn a_registered_camera_of_two_streams_is_served_from_both() {
    let folder = tempfile::tempdir().unwrap();
    let sim = film(folder.path(), Reports::default());
    let town = Town::new(face_edge::media::Patience::default(), sees);
    let cameras = "/v2/p1/services/c-face-edge/cameras";
    let camera = |main: usize| json!({"id": "door", "name": "door", "url": sim.url(main), "detect_url": sim.url(1)});
    let (status, answer) = town.call("POST", cameras, camera(7));
    assert_eq!(status, 201, "{answer}");
    let (status, answer) = town.call(
        "POST",
        "/v2/p1/services/c-face-edge/tasks",
        json!({
            "name": "two", "service_version": "3.0", "edge_pool_id": "default",
            "input": {"type": "edgecamera", "data": [{"id": "door"}]},
            "output": {"webhook": {"url": "http://127.0.0.1:9/", "data_category": ["FaceImage", "OriginImage"]}},
            "service_config": {"common": {"detection_min_size": 40, "origin_image_send_sw": 1,
                "face_repeat_send_sw": 1, "face_repeat_send_interval": 1}},
        }),
    );
    assert!(status.is_success(), "{answer}");
    let id = answer[0]["id"].as_str().unwrap();
    // Its large stream is not there: the task runs and sends what it has.
    town.running(id);
    wait_for_faces(&town, |faces| faces.iter().any(|face| face.picture_stream == Some(PictureStream::Detect)));

    let (status, answer) = town.call("PUT", &format!("{cameras}/door"), camera(0));
    assert_eq!(status, 200, "{answer}");
    let messages = wait_for_faces(&town, |faces| faces.iter().filter(|face| is_main(face)).count() >= 4);
    let seen = SEEN.lock();
    for face in messages.iter().filter_map(as_face).filter(is_main) {
        check_pair(&face, &origin_of(&face, &messages), seen[&face.stream_time]);
    }
}

fn wait_for_faces(town: &Town, done: impl Fn(&[FaceImage]) -> bool) -> Vec<Message> {
    let deadline = clock::monotonic() + PATIENCE;
    loop {
        let messages = town.sent();
        let faces: Vec<FaceImage> = messages.iter().filter_map(as_face).collect();
        if done(&faces) {
            return messages;
        }
        assert!(clock::monotonic() < deadline, "waited in vain, with {} faces", faces.len());
        std::thread::park_timeout(Duration::from_millis(20));
    }
}
