//! The task interface through the real router: every operation, every error code, the documented list answer.

use std::future::Future;
use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Method, Request, StatusCode};
use face_edge::api::keys::{KeyEnv, Keys, Role, create};
use face_edge::api::{AppState, Control, Faces, router};
use face_edge::domain::{TaskId, UnixMs};
use face_edge::seal::Seal;
use face_edge::status::{State, Status, TaskStatus};
use face_edge::store::{Desired, Store, TaskError, TaskRow, TaskState};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tower::ServiceExt;

const SAMPLE: &str = include_str!("../golden/task-create.json");
pub const TASKS: &str = "/v2/p1/services/c-face-edge/tasks";
pub const TOKEN: &str = "test-token";

/// Notes what it was asked; lets go at once unless told to hang.
#[derive(Default)]
pub struct Supervisor {
    asked: Mutex<Vec<String>>,
    panics: bool,
}

impl Control for Supervisor {
    fn wake(&self) {
        assert!(!self.panics, "this supervisor panics");
        self.asked.lock().push("wake".to_owned());
    }

    fn released(&self, id: &TaskId) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        self.asked.lock().push(format!("released {id}"));
        Box::pin(std::future::ready(()))
    }
}

pub struct App {
    pub state: AppState,
    router: Router,
    pub store: Store,
    status: Arc<Status>,
    supervisor: Arc<Supervisor>,
    pub folder: tempfile::TempDir,
}

pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }
}

impl App {
    pub fn new() -> Self {
        Self::with(Supervisor::default(), None)
    }

    pub fn with(supervisor: Supervisor, access_key: Option<&str>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let (status, supervisor) = (Arc::new(Status::default()), Arc::new(supervisor));
        let seal = Arc::new(Seal::open_or_create(&folder.path().join("seal.key")).unwrap());
        let env = KeyEnv { token: Some(TOKEN.to_owned()), access_key: access_key.map(str::to_owned) };
        let state = AppState {
            store: store.clone(),
            status: Arc::clone(&status),
            control: Arc::clone(&supervisor) as Arc<dyn Control>,
            keys: Arc::new(Keys::new(store.clone(), env).unwrap().sealed_by(seal)),
            metrics: face_edge::figures::Figures::new(),
            edge_pool_id: "default".into(),
            faces: Faces::blind(),
        };
        Self { router: router(state.clone()), state, store, status, supervisor, folder }
    }

    pub async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = String::from_utf8(to_bytes(body, usize::MAX).await.unwrap().to_vec()).unwrap();
        assert!(parts.headers.contains_key("x-request-id"));
        Answer { status: parts.status, headers: parts.headers, body }
    }

    pub async fn call(&self, method: &str, path: &str, body: impl Into<Body>) -> Answer {
        let request = Request::builder().method(method).uri(path).header("X-Auth-Token", TOKEN);
        self.send(request.header("content-type", "application/json").body(body.into()).unwrap()).await
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.call("GET", path, Body::empty()).await
    }

    async fn list(&self, query: &str) -> Answer {
        self.get(&format!("{TASKS}?{query}")).await
    }

    /// Names of the page, and the count.
    async fn names(&self, query: &str) -> (u64, Vec<String>) {
        let answer = self.list(query).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
        let json = answer.json();
        let names = json["tasks"].as_array().unwrap().iter().map(|task| task["name"].as_str().unwrap().to_owned());
        (json["count"].as_u64().unwrap(), names.collect())
    }

    async fn created(&self, body: &Value) -> Vec<String> {
        let answer = self.call("POST", TASKS, body.to_string()).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
        let ids = answer.json();
        ids.as_array().unwrap().iter().map(|entry| entry["id"].as_str().unwrap().to_owned()).collect()
    }

    pub async fn key(&self, role: Role) -> String {
        let store = self.store.clone();
        tokio::task::spawn_blocking(move || create(&store, role.as_str(), role).unwrap().key).await.unwrap()
    }
}

pub fn sample() -> Value {
    serde_json::from_str(SAMPLE).unwrap()
}

#[track_caller]
pub fn refused(answer: &Answer, status: u16, code: &str, words: &str) {
    assert_eq!(answer.status.as_u16(), status, "{}", answer.body);
    let json = answer.json();
    assert_eq!(json.as_object().unwrap().keys().collect::<Vec<_>>(), ["error_code", "error_msg"]);
    assert_eq!(json["error_code"], code, "{json}");
    assert!(json["error_msg"].as_str().unwrap().contains(words), "{words:?} is not in {json}");
}

pub fn row(number: u128, name: &str, at: i64) -> TaskRow {
    let mut body = sample();
    body["name"] = json!(name);
    TaskRow {
        id: TaskId::from_uuid(uuid::Uuid::from_u128(number)).to_string(),
        project_id: "p1".to_owned(),
        name: name.to_owned(),
        creator: "someone".to_owned(),
        service_version: "3.0".to_owned(),
        edge_pool_id: "default".into(),
        file: None,
        desired: Desired::Start,
        state: TaskState { name: "RUNNING".to_owned(), error: None },
        index: 0,
        body: body.to_string(),
        created_at: UnixMs(at),
        updated_at: UnixMs(-at),
    }
}

#[tokio::test]
async fn a_task_lives() {
    let app = App::new();
    let mut body = sample();
    body["x_unknown"] = json!({"deep": [1, 2.5, null]});
    body["service_config"]["common"]["target_roi"] = json!({"polygons": [], "x": "é"});
    let ids = app.created(&body).await;
    assert_eq!(ids.len(), 1);
    let id = &ids[0];
    assert!(TaskId::parse(id).is_some());
    assert_eq!(*app.supervisor.asked.lock(), ["wake"]);

    let task = app.get(&format!("{TASKS}/{id}")).await.json();
    assert_eq!(task["id"], **id);
    assert_eq!((task["state"].as_str(), task["project_id"].as_str()), (Some("PENDING"), Some("p1")));
    assert_eq!(
        (task["creator"].as_str(), task["service_name"].as_str()),
        (Some("FACE_EDGE_TOKEN"), Some("c-face-edge"))
    );
    assert_eq!(task["x_unknown"], body["x_unknown"]);
    assert_eq!(task["service_config"]["common"]["target_roi"], r#"{"polygons":[],"x":"é"}"#);
    assert_eq!(task["input"], body["input"]);
    let time = task["created_at"].as_str().unwrap();
    assert!(time.len() == 20 && time.ends_with('Z'), "{time}");

    body["name"] = json!("renamed");
    let changed = app.call("PUT", &format!("{TASKS}/{id}"), body.to_string()).await;
    assert_eq!(changed.json()["name"], "renamed");
    for (verb, desired) in [("stop", Desired::Stop), ("start", Desired::Start)] {
        let answer = app.call("POST", &format!("{TASKS}/{id}/{verb}"), Body::empty()).await;
        assert_eq!((answer.status, answer.body.as_str()), (StatusCode::NO_CONTENT, ""));
        assert_eq!(app.store.task(id).await.unwrap().unwrap().desired, desired);
    }

    app.supervisor.asked.lock().clear();
    let answer = app.call("DELETE", &format!("{TASKS}/{id}"), Body::empty()).await;
    assert_eq!((answer.status, answer.body.as_str()), (StatusCode::NO_CONTENT, ""));
    assert_eq!(*app.supervisor.asked.lock(), ["wake", &format!("released {id}")]);
    refused(&app.get(&format!("{TASKS}/{id}")).await, 404, "IVA.0005", "no such task");
    refused(&app.call("DELETE", &format!("{TASKS}/{id}"), Body::empty()).await, 404, "IVA.0005", "no such task");
}

#[tokio::test]
async fn one_task_an_input() {
    let app = App::new();
    let mut body = sample();
    body["input"]["data"] = json!([{"url": "rtsp://h/a", "index": 7}, {"url": "rtsp://h/b"}]);
    let ids = app.created(&body).await;
    let second = app.get(&format!("{TASKS}/{}", ids[1])).await.json();
    assert_eq!(second["input"]["data"], json!([{"url": "rtsp://h/b"}]));
    assert_eq!(app.store.task(&ids[0]).await.unwrap().unwrap().index, 7);
    assert_eq!(app.names("").await.0, 2);
    let answer = app.call("PUT", &format!("{TASKS}/{}", ids[0]), body.to_string()).await;
    refused(&answer, 400, "IVA.0004", "input.data: holds 2 entries, expected one");
}

#[tokio::test]
async fn the_state_comes_with_its_words_and_its_error() {
    let app = App::new();
    let id = app.created(&sample()).await.remove(0);
    let task = TaskId::parse(&id).unwrap();
    app.status.set(&task, TaskStatus::because(State::Recovering, "the camera does not answer; next try in 4 s"));
    let shown = app.get(&format!("{TASKS}/{id}")).await.json();
    assert_eq!((shown["state"].as_str(), shown.get("status")), (Some("PENDING"), None), "not yet in the store");
    let error = TaskError { code: "IVA.0010".to_owned(), message: "no answer".to_owned() };
    let state = TaskState { name: "RECOVERING".to_owned(), error: Some(error) };
    app.store.set_task_state(&id, state).await.unwrap();
    let shown = &app.list("state=RECOVERING").await.json()["tasks"][0];
    assert_eq!(shown["status"], "the camera does not answer; next try in 4 s");
    assert_eq!(shown["error"], json!({"code": "IVA.0010", "message": "no answer"}));
}

/// The documented answer, task by task put into the store as a create body and its row, comes out again to the byte.
#[tokio::test]
async fn the_documented_list_is_reproduced() {
    let path = Path::new("../shared/fixtures/tasks-response.json");
    let Ok(text) = std::fs::read_to_string(path) else {
        println!("{} is absent: skipped", path.display());
        return;
    };
    let documented: Value = serde_json::from_str(&text).unwrap();
    let app = App::new();
    let word = |task: &Value, key: &str| task[key].as_str().unwrap().to_owned();
    let time = |task: &Value, key: &str| {
        UnixMs(chrono::DateTime::parse_from_rfc3339(task[key].as_str().unwrap()).unwrap().timestamp_millis() + 999)
    };
    for task in documented["tasks"].as_array().unwrap() {
        let mut body = task.clone();
        for ours in ["id", "creator", "project_id", "created_at", "updated_at", "state"] {
            body.as_object_mut().unwrap().shift_remove(ours);
        }
        let spec = face_edge::task_json::TaskSpec::from_value(body).unwrap();
        let row = TaskRow {
            id: word(task, "id"),
            project_id: word(task, "project_id"),
            name: word(task, "name"),
            creator: word(task, "creator"),
            service_version: word(task, "service_version"),
            edge_pool_id: "default".into(),
            file: None,
            desired: Desired::Start,
            state: TaskState { name: word(task, "state"), error: None },
            index: 0,
            body: spec.body_of_input(0).to_string(),
            created_at: time(task, "created_at"),
            updated_at: time(task, "updated_at"),
        };
        app.store.insert_tasks(vec![row]).await.unwrap();
    }
    let answer = app.get("/v2/1f793beac00d4801874db741cbfe10fa/services/c-face-edge/tasks").await;
    assert_eq!(answer.body, documented.to_string());
}

#[tokio::test]
async fn lists_are_filtered_ordered_and_paged() {
    let app = App::new();
    let mut rows: Vec<_> =
        ["a%b", "a_b", "a\\b", "axb", "门口"].iter().zip(1..).map(|(name, n)| row(n, name, n as i64 * 1000)).collect();
    rows[1].state.name = "STOPPED".to_owned();
    rows[2].service_version = "2.1".to_owned();
    rows.push(TaskRow { project_id: "p2".to_owned(), ..row(9, "other", 9000) });
    app.store.insert_tasks(rows).await.unwrap();
    let check = async |query: &str, count: u64, names: &[&str]| {
        let found = app.names(query).await;
        assert_eq!(found, (count, names.iter().map(ToString::to_string).collect()), "{query}");
    };
    check("", 5, &["门口", "axb", "a\\b", "a_b", "a%b"]).await;
    check("name_like=%25", 1, &["a%b"]).await;
    check("name_like=_", 1, &["a_b"]).await;
    check("name_like=%5C", 1, &["a\\b"]).await;
    check("name_like=%E5%8F%A3", 1, &["门口"]).await;
    check("name_like=a&order=name", 4, &["axb", "a_b", "a\\b", "a%b"]).await;
    check("name_like=", 5, &["门口", "axb", "a\\b", "a_b", "a%b"]).await;
    check("id_like=0000003", 1, &["a\\b"]).await;
    check("state=STOPPED", 1, &["a_b"]).await;
    check("service_version=2.1", 1, &["a\\b"]).await;
    check("created_since=2000&created_until=4000&order=created_at:ASC", 3, &["a_b", "a\\b", "axb"]).await;
    check("order=updated_at:DESC&limit=1", 5, &["a%b"]).await;
    check("order=name:ASC&offset=1&limit=2", 5, &["a\\b", "a_b"]).await;
    check("offset=100000", 5, &[]).await;
    check("a_parameter_of_tomorrow=1", 5, &["门口", "axb", "a\\b", "a_b", "a%b"]).await;
}

#[tokio::test]
async fn list_parameters_are_checked() {
    let app = App::new();
    for (query, words) in [
        ("limit=0", "limit: is \"0\", expected a whole number from 1 to 1000"),
        ("limit=1001", "limit: "),
        ("limit=", "limit: "),
        ("limit=ten", "limit: is \"ten\""),
        ("limit=%2B5", "limit: is \"+5\""),
        ("offset=100001", "offset: is \"100001\", expected a whole number from 0 to 100000"),
        ("offset=-1", "offset: "),
        ("created_since=-1", "created_since: "),
        ("created_until=1.5", "created_until: "),
        ("created_until=99999999999999999999", "created_until: "),
        ("state=running", "state: is \"running\", expected one of the states"),
        ("state=", "state: "),
        ("service_version=3", "service_version: is \"3\""),
        ("order=size", "order: is \"size\", expected name, created_at or updated_at"),
        ("order=name:asc", "order: is \"name:asc\", expected ASC or DESC"),
        ("order=", "order: "),
        ("limit=5&limit=6", "limit: is given twice"),
        (&format!("name_like={}", "a".repeat(257)), "name_like: "),
    ] {
        refused(&app.list(query).await, 400, "IVA.0004", words);
    }
}

#[tokio::test]
async fn broken_bodies_are_refused() {
    let app = App::new();
    let post = async |body: String| app.call("POST", TASKS, body).await;
    refused(&post(String::new()).await, 400, "IVA.0003", "line 1 column 0");
    refused(&post("{\n \"name\" 1}".to_owned()).await, 400, "IVA.0003", "line 2 column 9: expected `:`");
    refused(&post(SAMPLE.replace("\\\"", "\"")).await, 400, "IVA.0003", "line 31 column 24");
    refused(&post("{}".to_owned()).await, 400, "IVA.0004", "name: is required");
    refused(&post("[".repeat(100_000)).await, 400, "IVA.0003", "recursion limit");
    let mut body = sample();
    body["service_config"]["common"]["target_roi"] = json!("{\"polygons\":");
    refused(
        &post(body.to_string()).await,
        400,
        "IVA.0004",
        "service_config.common.target_roi: is a string whose content is not JSON",
    );
    body = sample();
    body["service_config"]["common"]["detection_min_size"] = json!(900);
    refused(&post(body.to_string()).await, 400, "IVA.0004", "detection_min_size: is 900, above detection_max_size");
    body = sample();
    body["input"]["data"] = vec![json!({"url": "rtsp://h/"}); 101].into();
    refused(&post(body.to_string()).await, 400, "IVA.0011", "input.data: holds 101 entries, at most 100");
    assert_eq!(app.names("").await.0, 0, "nothing was created");
}

#[tokio::test]
async fn large_bodies_are_refused_in_the_same_shape() {
    let app = App::new();
    let padded = |bytes: usize| format!("{}{SAMPLE}", " ".repeat(bytes - SAMPLE.len()));
    let answer = app.call("POST", TASKS, padded(20 << 20)).await;
    refused(&answer, 413, "IVA.0011", "larger than 1048576 bytes");
    refused(&app.call("POST", TASKS, padded((1 << 20) + 1)).await, 413, "IVA.0011", "larger");
    assert_eq!(app.call("POST", TASKS, padded(1 << 20)).await.status, StatusCode::OK);
    let request = Request::post(TASKS).header("X-Auth-Token", TOKEN).header("content-length", (20 << 20).to_string());
    refused(&app.send(request.body(Body::empty()).unwrap()).await, 413, "IVA.0011", "larger");
}

#[tokio::test]
async fn paths_that_lead_nowhere() {
    let app = App::new();
    for project in ["a.b", "%20", &"x".repeat(65), "%E9%97%A8"] {
        let path = format!("/v2/{project}/services/c-face-edge/tasks");
        refused(&app.get(&path).await, 400, "IVA.0002", "project id");
    }
    refused(&app.get("/v2/p1/services/c-other/tasks").await, 404, "IVA.0005", "this one is c-face-edge");
    for id in ["0123456789abcdef0123456789abcdef", "nonsense", "0123456789ABCDEF0123456789ABCDEF", "%FF"] {
        refused(&app.get(&format!("{TASKS}/{id}")).await, 404, "IVA.0005", "");
        refused(&app.call("POST", &format!("{TASKS}/{id}/start"), Body::empty()).await, 404, "IVA.0005", "");
    }
    refused(&app.get("/v3/nothing").await, 404, "IVA.0005", "nothing at /v3/nothing");
    let answer = app.call("DELETE", TASKS, Body::empty()).await;
    refused(&answer, 405, "IVA.0004", "the header Allow");
    assert!(answer.headers["allow"].to_str().unwrap().contains("POST"));
    refused(&app.call("PUT", "/healthz", Body::empty()).await, 405, "IVA.0004", "Allow");
    let id = app.created(&sample()).await.remove(0);
    refused(&app.get(&format!("/v2/p2/services/c-face-edge/tasks/{id}")).await, 404, "IVA.0005", "in this project");
}

#[tokio::test]
async fn a_key_is_needed_in_any_of_five_headers() {
    let app = App::new();
    let get = async |name: &str, value: &str| {
        app.send(Request::get(TASKS).header(name, value).body(Body::empty()).unwrap()).await
    };
    for name in ["X-Auth-Token", "bitkey", "Ocp-Apim-Subscription-Key", "oauth_token"] {
        assert_eq!(get(name, TOKEN).await.status, StatusCode::OK, "{name}");
        refused(&get(name, "wrong").await, 401, "IVA.0001", "not known");
    }
    assert_eq!(get("Authorization", &format!("Bearer {TOKEN}")).await.status, StatusCode::OK);
    refused(&get("Authorization", &format!("Basic {TOKEN}")).await, 401, "IVA.0001", "X-Auth-Token");
    refused(&get("x-none", "").await, 401, "IVA.0001", "X-Auth-Token");
    let unread = Request::post(TASKS).body(Body::from(SAMPLE)).unwrap();
    refused(&app.send(unread).await, 401, "IVA.0001", "X-Auth-Token");
}

#[tokio::test]
async fn roles() {
    let app = App::new();
    let mut body = sample();
    body["input"]["data"][0]["url"] = json!("rtsp://admin:hunter2@h/1");
    body["output"]["webhook"]["headers"]["authorization"] = json!("hunter2");
    let id = app.created(&body).await.remove(0);
    let task = format!("{TASKS}/{id}");
    let send = async |key: &str, method: Method, path: &str| {
        app.send(Request::builder().method(method).uri(path).header("bitkey", key).body(Body::from(SAMPLE)).unwrap())
            .await
    };
    let (viewer, gate, operator) =
        (app.key(Role::Viewer).await, app.key(Role::Gate).await, app.key(Role::Operator).await);
    let seen = send(&viewer, Method::GET, &task).await;
    assert!(
        seen.status == StatusCode::OK && !seen.body.contains("hunter2") && seen.body.contains("rtsp://admin:"),
        "{}",
        seen.body
    );
    assert!(send(&operator, Method::GET, &task).await.body.contains("hunter2"));
    refused(&send(&gate, Method::GET, TASKS).await, 403, "IVA.0009", "gate may not see tasks");
    for (method, path) in
        [(Method::POST, TASKS), (Method::PUT, &task), (Method::DELETE, &task), (Method::POST, &format!("{task}/stop"))]
    {
        refused(&send(&viewer, method, path).await, 403, "IVA.0009", "viewer may not");
    }
    let made = send(&operator, Method::POST, TASKS).await.json();
    let made = app.store.task(made[0]["id"].as_str().unwrap()).await.unwrap().unwrap();
    assert_eq!(made.creator, "operator");
}

#[tokio::test]
async fn our_own_faults_have_the_shape_too() {
    let app = App::with(Supervisor { panics: true, ..Supervisor::default() }, None);
    refused(&app.call("POST", TASKS, SAMPLE).await, 500, "IVA.0006", "not your fault");
}

#[tokio::test]
async fn health() {
    let app = App::new();
    let open = async |path: &str| app.send(Request::get(path).body(Body::empty()).unwrap()).await;
    assert_eq!(open("/healthz").await.status, StatusCode::OK);
    assert_eq!(open("/readyz").await.json(), json!({"ready": true, "reasons": []}));
    app.status.not_ready("model", "loading yunet");
    let waiting = open("/readyz").await;
    assert_eq!(waiting.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(waiting.json()["reasons"], json!([{"part": "model", "reason": "loading yunet"}]));
    assert!(open("/metrics").await.headers["content-type"].to_str().unwrap().starts_with("text/plain; version=0.0.4"));
    let description = open("/openapi.json").await.json();
    assert!(description["openapi"].as_str().unwrap().starts_with("3.1"));
    let paths: Vec<_> = description["paths"].as_object().unwrap().keys().map(String::as_str).collect();
    for path in ["/v2/{project_id}/services/{service_name}/tasks/{task_id}/start", "/healthz", "/readyz"] {
        assert!(paths.contains(&path), "{paths:?}");
    }
}

#[tokio::test]
async fn a_request_id_is_kept_or_made() {
    let app = App::new();
    let id = async |id: &str| {
        let answer = app.send(Request::get("/healthz").header("x-request-id", id).body(Body::empty()).unwrap()).await;
        answer.headers["x-request-id"].to_str().unwrap().to_owned()
    };
    assert_eq!(id("abc-1").await, "abc-1");
    assert_eq!(id("a b").await.len(), 36);
    assert_eq!(id(&"a".repeat(65)).await.len(), 36);
}

#[tokio::test]
async fn through_a_socket_a_20_mb_body_hears_its_answer() {
    let app = App::new();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let service = app.router.clone().into_make_service_with_connect_info::<SocketAddr>();
    let server = tokio::spawn(async move { axum::serve(listener, service).await });
    let answer = tokio::task::spawn_blocking(move || {
        use std::io::{Read, Write};
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        let length = 20 << 20;
        write!(stream, "POST {TASKS} HTTP/1.1\r\nhost: x\r\nx-auth-token: {TOKEN}\r\ncontent-length: {length}\r\n\r\n")
            .unwrap();
        stream.write_all(&vec![b' '; length]).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    })
    .await
    .unwrap();
    assert!(answer.starts_with("HTTP/1.1 413") && answer.contains("\"IVA.0011\""), "{answer}");
    server.abort();
}
