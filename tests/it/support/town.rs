//! A service with real cameras and without a model: what sees the frames is told by the test.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode};
use face_edge::api::keys::{KeyEnv, Keys};
use face_edge::api::rates::Rates;
use face_edge::api::{AppState, Faces, router};
use face_edge::channel::Site;
use face_edge::clock;
use face_edge::domain::{Detection, Message, Task};
use face_edge::frame::Frame;
use face_edge::mailbox::Mailbox;
use face_edge::media::Patience;
use face_edge::status::Status;
use face_edge::store::Store;
use face_edge::supervisor::{Duties, Supervisor};
use face_edge::worker::{self, FindFaces, Outbound};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tower::ServiceExt;

const TASKS: &str = "/v2/p1/services/c-face-edge/tasks";
const TOKEN: &str = "test-token";
const LIMIT: Duration = Duration::from_secs(60);

/// Where a test sees faces in a frame.
pub type Sees = fn(&Frame) -> Vec<Detection>;

struct Finder(Sees);

impl FindFaces for Finder {
    type Error = Infallible;
    fn find(&mut self, frame: &Frame, _: (f32, f32)) -> Result<Vec<Detection>, Infallible> {
        Ok((self.0)(frame))
    }
}

#[derive(Default)]
struct Kept(Mutex<Vec<Message>>);

impl Outbound for Kept {
    fn send(&self, _: &Task, messages: Vec<Message>) {
        self.0.lock().extend(messages);
    }
}

pub struct Town {
    runtime: Runtime,
    router: Router,
    supervisor: Option<Supervisor>,
    mailbox: Arc<Mailbox<worker::Analysis>>,
    analyst: Option<std::thread::JoinHandle<()>>,
    sent: Arc<Kept>,
    _folder: tempfile::TempDir,
}

/// A task as the interface shows it.
#[derive(Debug, Clone, PartialEq)]
pub struct Shown {
    pub state: String,
    pub code: String,
    pub message: String,
}

impl Town {
    pub fn new(patience: Patience, sees: Sees) -> Self {
        face_edge::media::init().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let runtime = Runtime::new().unwrap();
        let (store, status, mailbox) =
            (Store::open(folder.path()).unwrap(), Arc::new(Status::default()), Mailbox::new());
        let site = Site {
            node_id: "box".into(),
            mailbox: Arc::clone(&mailbox),
            new_track_score: 0.5,
            idle_keyframes: false,
            patience,
            figures: face_edge::figures::Figures::new(),
        };
        let duties = Duties { edge_pool_id: "default".into(), task_files: None, min_analyses_per_second: 0 };
        let network = runtime.handle().clone();
        let supervisor = Supervisor::start(site, store.clone(), Arc::clone(&status), duties, network).unwrap();
        let env = KeyEnv { token: Some(TOKEN.to_owned()), access_key: None };
        let keys = Keys::new(store.clone(), env).unwrap().with_rates(Rates::new(1_000_000, 1_000_000));
        let state = AppState {
            store,
            status,
            control: supervisor.remote(),
            keys: Arc::new(keys),
            metrics: face_edge::figures::Figures::new(),
            edge_pool_id: "default".into(),
            faces: Faces::blind(),
        };
        let sent = Arc::new(Kept::default());
        let (inbox, outbound) = (Arc::clone(&mailbox), Arc::clone(&sent));
        let analyst = move || worker::work(&inbox, &mut Finder(sees), &*outbound);
        let analyst = std::thread::Builder::new().name("analyst".into()).spawn(analyst).unwrap();
        Self {
            runtime,
            router: router(state),
            supervisor: Some(supervisor),
            mailbox,
            analyst: Some(analyst),
            sent,
            _folder: folder,
        }
    }

    pub fn call(&self, method: &str, path: &str, body: Value) -> (StatusCode, Value) {
        let body = if body.is_null() { Body::empty() } else { Body::from(body.to_string()) };
        let request = Request::builder().method(method).uri(path).header("X-Auth-Token", TOKEN).body(body).unwrap();
        let router = self.router.clone();
        self.runtime.block_on(async move {
            let response = router.oneshot(request).await.unwrap();
            let status = response.status();
            let bytes = to_bytes(response.into_body(), usize::MAX).await.unwrap();
            (status, serde_json::from_slice(&bytes).unwrap_or_default())
        })
    }

    /// A task's id.
    pub fn create(&self, name: &str, url: &str, rules: Value) -> String {
        let body = json!({
            "name": name, "service_version": "3.0", "edge_pool_id": "default",
            "input": {"type": "url", "data": [{"url": url}]},
            "output": {"webhook": {"url": "http://127.0.0.1:9/faces", "data_category": ["FaceImage"]}},
            "service_config": {"common": rules},
        });
        let (status, answer) = self.call("POST", TASKS, body);
        assert!(status.is_success(), "{status} {answer}");
        answer[0]["id"].as_str().unwrap().to_owned()
    }

    /// Returns when its camera was let go.
    pub fn delete(&self, id: &str) {
        let (status, answer) = self.call("DELETE", &format!("{TASKS}/{id}"), Value::Null);
        assert_eq!(status, StatusCode::NO_CONTENT, "{answer}");
    }

    pub fn shown(&self, id: &str) -> Shown {
        let (_, task) = self.call("GET", &format!("{TASKS}/{id}"), Value::Null);
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let error = &task["error"];
        Shown { state: text(&task["state"]), code: text(&error["code"]), message: text(&error["message"]) }
    }

    pub fn wait(&self, id: &str, what: &str, wanted: impl Fn(&Shown) -> bool) -> Shown {
        let deadline = clock::monotonic() + LIMIT;
        let mut seen: Vec<Shown> = Vec::new();
        loop {
            let shown = self.shown(id);
            if wanted(&shown) {
                return shown;
            }
            if seen.last() != Some(&shown) {
                seen.push(shown);
            }
            assert!(clock::monotonic() < deadline, "waited in vain for {what}; it was {seen:?}");
            std::thread::park_timeout(Duration::from_millis(10));
        }
    }

    pub fn running(&self, id: &str) -> Shown {
        self.wait(id, "RUNNING", |shown| shown.state == "RUNNING")
    }

    pub fn sent(&self) -> Vec<Message> {
        self.sent.0.lock().clone()
    }
}

impl Drop for Town {
    fn drop(&mut self) {
        self.supervisor.take().into_iter().for_each(Supervisor::stop);
        self.mailbox.close();
        if let Some(analyst) = self.analyst.take() {
            let _ = analyst.join();
        }
    }
}

/// Sees nobody.
pub fn nobody(_: &Frame) -> Vec<Detection> {
    Vec::new()
}
