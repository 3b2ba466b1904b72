//! The interfaces of stored faces through the real router, with eyes that need no model: a picture of 100 + 10·n pixels
//! width shows n faces, and whose they are is told by its colour.

use std::future::Future;
use std::io::Cursor;
use std::pin::Pin;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request, StatusCode};
use face_edge::api::keys::{KeyEnv, Keys};
use face_edge::api::rates::Rates;
use face_edge::api::{AppState, Control, Eyes, Faces, Fetch, Recognition, router};
use face_edge::domain::{Embedding, FaceOwner, Landmarks, Point, Rect, SeenFace, TaskId, UnixMs, Validity};
use face_edge::gallery::Gallery;
use face_edge::picture::Picture;
use face_edge::status::Status;
use face_edge::store::{GateChoice, NewSample, Store};
use face_edge::zone::Zone;
use image::{ImageFormat, RgbImage};
use serde_json::Value;
use tower::ServiceExt;

pub const TOKEN: &str = "test-token";

pub struct FakeEyes(pub Option<Recognition>);

impl Eyes for FakeEyes {
    fn look(&self, picture: &Picture, embed: bool) -> Result<Vec<SeenFace>, String> {
        let (width, height) = picture.size();
        let count = width.saturating_sub(100) / 10;
        let color = &picture.rgb()[..3];
        let numbers = color.iter().map(|byte| f32::from(byte / 32) - 3.5).collect();
        let embedding = self.0.as_ref().filter(|_| embed).and_then(|_| Embedding::of(numbers));
        let face = |index: usize| SeenFace {
            bbox: Rect::new(5.0 + 10.0 * index as f32, 10.0, 8.0, height as f32 / 2.0),
            score: 0.9,
            landmarks: Some(Landmarks([Point::new(7.0, 20.0); 5])),
            quality: 0.5,
            embedding: embedding.clone(),
        };
        Ok((0..count).map(face).collect())
    }

    fn recognition(&self) -> Option<&Recognition> {
        self.0.as_ref()
    }
}

/// A JPEG of so many faces of the person of that colour.
pub fn picture(faces: u32, color: [u8; 3]) -> Vec<u8> {
    encoded(ImageFormat::Jpeg, 100 + 10 * faces, color)
}

pub fn encoded(format: ImageFormat, width: u32, color: [u8; 3]) -> Vec<u8> {
    let mut out = Cursor::new(Vec::new());
    // A little noise, so that it has more than a kilobyte.
    let noise = |x: u32, y: u32| ((x * 7919 + y * 104_729 + x * y * 31) % 13) as u8;
    let picture = RgbImage::from_fn(width, 100, |x, y| {
        if x + y < 60 { color.into() } else { color.map(|c| c.saturating_add(noise(x, y))).into() }
    });
    picture.write_to(&mut out, format).unwrap();
    out.into_inner()
}

struct Nobody;

impl Control for Nobody {
    fn wake(&self) {}

    fn released(&self, _: &TaskId) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(std::future::ready(()))
    }
}

pub struct NoFetch;

impl Fetch for NoFetch {
    fn fetch(&self, url: &str, _: usize) -> Pin<Box<dyn Future<Output = Result<Vec<u8>, String>> + Send>> {
        let answer =
            if url.ends_with("one.jpg") { Ok(picture(1, [200, 100, 50])) } else { Err("not there".to_owned()) };
        Box::pin(std::future::ready(answer))
    }
}

pub struct FacesApp {
    pub router: Router,
    pub store: Store,
    pub gallery: Arc<Gallery>,
    _folder: tempfile::TempDir,
}

pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

impl FacesApp {
    pub fn new() -> Self {
        Self::with(FakeEyes(Some(Recognition { model: "test".to_owned(), threshold: 0.95 })))
    }

    pub fn with(eyes: FakeEyes) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let (gallery, zone) = (Arc::<Gallery>::default(), Zone::parse("Asia/Shanghai").unwrap());
        let env = KeyEnv { token: Some(TOKEN.to_owned()), access_key: None };
        let state = AppState {
            store: store.clone(),
            status: Arc::new(Status::default()),
            control: Arc::new(Nobody),
            keys: Arc::new(Keys::new(store.clone(), env).unwrap().with_rates(Rates::new(1_000_000, 1_000_000))),
            metrics: face_edge::figures::Figures::new(),
            edge_pool_id: "default".into(),
            faces: Faces::new(Arc::new(eyes), Arc::new(NoFetch), Arc::clone(&gallery), zone, 2),
        };
        Self { router: router(state), store, gallery, _folder: folder }
    }

    pub async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = to_bytes(body, usize::MAX).await.unwrap().to_vec();
        Answer { status: parts.status, headers: parts.headers, body }
    }

    pub async fn call(&self, method: &str, path: &str, headers: &[(&str, &str)], body: impl Into<Body>) -> Answer {
        let mut request = Request::builder().method(method).uri(path).header("X-Auth-Token", TOKEN);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send(request.body(body.into()).unwrap()).await
    }

    pub async fn json(&self, method: &str, path: &str, body: &Value) -> Answer {
        self.call(method, path, &[("content-type", "application/json"), ("host", "box")], body.to_string()).await
    }
}

pub fn lbsbh(number: usize) -> String {
    format!("T{number:05}")
}

/// 120 ticket holders, 70 of them expired, at two gates.
pub fn enrol_120(store: &Store) {
    let now = face_edge::clock::unix_ms();
    for gate in ["0001", "0002"] {
        store.register_gate(gate, gate, now).wait().unwrap();
        assert!(!store.fill_gate(gate, now).wait().unwrap());
    }
    for number in 0..120 {
        let expired = number % 12 < 7;
        enrol(store, &lbsbh(number), if expired { -1000 } else { 86_400_000 });
    }
}

/// At all gates, valid until so many milliseconds from now on.
pub fn enrol(store: &Store, lbsbh: &str, for_ms: i64) {
    let now = face_edge::clock::unix_ms();
    let sample = NewSample {
        owner: FaceOwner::Ticket(lbsbh.to_owned()),
        face: String::new(),
        seen: SeenFace {
            bbox: Rect::new(0.0, 0.0, 9.0, 9.0),
            score: 0.9,
            landmarks: None,
            quality: 0.5,
            embedding: None,
        },
        picture: format!("the picture of {lbsbh}").into_bytes(),
        model: None,
        validity: Some(Validity { from: UnixMs(now.0 - 2000), to: UnixMs(now.0 + for_ms) }),
        recognition_model: None,
        user_data: None,
    };
    let sample = store.sealed(sample).unwrap();
    store.put_ticket(sample, GateChoice::All, now).wait().unwrap().unwrap();
}
