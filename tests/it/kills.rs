//! The service is killed between any two steps of create, start, stop and delete. What survives a kill is what was
//! committed, so a step is a commit that changed something: a child (this very test binary) carries out a script and
//! stands still before or after the n-th of them, the parent kills it there by SIGKILL and starts the same folder
//! again. Every n is tried, until the script comes through unharmed. After each: what is wanted is what was answered,
//! what is agrees with it, and no camera or channel is held by a task that should have none.

use std::collections::BTreeMap;
use std::env;
use std::io::{BufRead, BufReader, Read};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode};
use face_edge::api::keys::{KeyEnv, Keys};
use face_edge::api::rates::Rates;
use face_edge::api::{AppState, Faces, router};
use face_edge::channel::Site;
use face_edge::domain::UnixMs;
use face_edge::mailbox::Mailbox;
use face_edge::status::Status;
use face_edge::store::{Desired, LicenceChange, NewSns, SnTerms, Store, TaskQuery, TaskRow};
use face_edge::supervisor::{Duties, Supervisor};
use parking_lot::Mutex;
use rusqlite::{Connection, OpenFlags};
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::messages::until;

const DIR: &str = "FACE_EDGE_TEST_KILLS_DIR";
const PORT: &str = "FACE_EDGE_TEST_KILLS_PORT";
const STAND_STILL_AT: &str = "FACE_EDGE_TEST_STAND_STILL_AT";
const TASKS: &str = "/v2/p1/services/c-face-edge/tasks";
const TOKEN: &str = "test-token";
/// It has one channel.
const SN: &str = "S1";

#[derive(Debug, Clone, Copy)]
enum Step {
    Create(&'static str),
    Stop(&'static str),
    Start(&'static str),
    /// The stream goes on.
    Rules(&'static str),
    /// The stream is opened anew.
    Source(&'static str),
    Delete(&'static str),
}

/// Two tasks under a licence of one channel, so that it goes from hand to hand.
const SCRIPT: &[Step] = &[
    Step::Create("a"),
    Step::Create("b"),
    Step::Stop("a"),
    Step::Start("a"),
    Step::Rules("b"),
    Step::Source("b"),
    Step::Delete("b"),
    Step::Source("a"),
    Step::Stop("a"),
    Step::Start("a"),
    Step::Delete("a"),
];

/// What people want of a task: that it runs, its address's last part, its rules.
#[derive(Debug, Clone, PartialEq)]
struct Wanted {
    runs: bool,
    path: String,
    min_size: u64,
}

type Model = BTreeMap<String, Wanted>;

impl Step {
    const fn task(self) -> &'static str {
        match self {
            Self::Create(name) | Self::Stop(name) | Self::Start(name) => name,
            Self::Rules(name) | Self::Source(name) | Self::Delete(name) => name,
        }
    }

    fn apply(self, model: &mut Model) {
        let name = self.task().to_owned();
        match self {
            Self::Create(_) => drop(model.insert(name.clone(), Wanted { runs: true, path: name, min_size: 90 })),
            Self::Delete(_) => drop(model.remove(&name)),
            _ => {
                let wanted = model.get_mut(&name).expect("the script is in order");
                match self {
                    Self::Stop(_) => wanted.runs = false,
                    Self::Start(_) => wanted.runs = true,
                    Self::Rules(_) => wanted.min_size += 10,
                    _ => wanted.path.push('x'),
                }
            }
        }
    }
}

fn model_after(steps: usize) -> Model {
    let mut model = Model::new();
    SCRIPT[..steps].iter().for_each(|step| step.apply(&mut model));
    model
}

/// The service without its models: nothing here has a picture to look at.
struct Service {
    store: Store,
    router: Router,
    supervisor: Supervisor,
    database: PathBuf,
}

impl Service {
    fn start(dir: &Path) -> Self {
        face_edge::media::init().unwrap();
        let store = Store::open(dir).unwrap();
        let status = Arc::new(Status::default());
        let site = Site {
            node_id: "box".into(),
            mailbox: Mailbox::new(),
            new_track_score: 0.5,
            idle_keyframes: false,
            patience: face_edge::media::Patience::default(),
            figures: face_edge::figures::Figures::new(),
        };
        let duties = Duties { edge_pool_id: "default".into(), task_files: None, min_analyses_per_second: 0 };
        let network = tokio::runtime::Handle::current();
        let supervisor = Supervisor::start(site, store.clone(), Arc::clone(&status), duties, network).unwrap();
        let env = KeyEnv { token: Some(TOKEN.to_owned()), access_key: None };
        let keys = Keys::new(store.clone(), env).unwrap().with_rates(Rates::new(1_000_000, 1_000_000));
        let state = AppState {
            store: store.clone(),
            status,
            control: supervisor.remote(),
            keys: Arc::new(keys),
            metrics: face_edge::figures::Figures::new(),
            edge_pool_id: "default".into(),
            faces: Faces::blind(),
        };
        Self { store, router: router(state), supervisor, database: dir.join("face-edge.db") }
    }

    async fn stop(self) {
        tokio::task::spawn_blocking(move || self.supervisor.stop()).await.unwrap();
    }

    async fn call(&self, method: &str, path: &str, body: Value) -> (StatusCode, Value) {
        call(&self.router, method, path, body).await
    }

    /// Those that shall go are gone to whoever looks.
    fn rows(&self) -> Vec<TaskRow> {
        self.store.tasks(TaskQuery::default()).wait().unwrap().1
    }

    fn wanted(&self) -> Model {
        let wanted = |row: &TaskRow| {
            let body: Value = serde_json::from_str(&row.body).unwrap();
            Wanted {
                runs: row.desired == Desired::Start,
                path: path_of(body["input"]["data"][0]["url"].as_str().unwrap()),
                min_size: body["service_config"]["common"]["detection_min_size"].as_u64().unwrap(),
            }
        };
        self.rows().iter().map(|row| (row.name.clone(), wanted(row))).collect()
    }

    /// Ids of the tasks that hold a channel.
    fn holders(&self) -> Vec<String> {
        let c = Connection::open_with_flags(&self.database, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
        let mut statement = c.prepare("SELECT task_id FROM channels ORDER BY task_id").unwrap();
        statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
    }

    /// What is agrees with what is wanted: the path of the camera that runs, if that is one.
    fn settled(&self) -> Option<Vec<String>> {
        let (rows, holders) = (self.rows(), self.holders());
        let started = rows.iter().filter(|row| row.desired == Desired::Start).count();
        let agrees = |row: &TaskRow| {
            let held = holders.contains(&row.id);
            match row.state.name.as_str() {
                "STOPPED" => row.desired == Desired::Stop && !held,
                "STARTING" | "RECOVERING" => row.desired == Desired::Start && held,
                "LACK_OF_RESOURCES" => row.desired == Desired::Start && !held,
                _ => false,
            }
        };
        if !rows.iter().all(agrees) || holders.len() != started.min(1) {
            return None;
        }
        let running = self
            .wanted()
            .into_iter()
            .filter(|(name, _)| rows.iter().any(|row| row.name == *name && holders.contains(&row.id)));
        Some(running.map(|(_, wanted)| wanted.path).collect())
    }

    async fn carry_out(&self, step: Step, port: u16) {
        let name = step.task();
        let id = self.rows().into_iter().find(|row| row.name == name).map(|row| row.id).unwrap_or_default();
        let mut after = self.wanted();
        step.apply(&mut after);
        let one = format!("{TASKS}/{id}");
        let (status, answer) = match step {
            Step::Create(_) => self.call("POST", TASKS, body(name, &after[name], port)).await,
            Step::Stop(_) => self.call("POST", &format!("{one}/stop"), Value::Null).await,
            Step::Start(_) => self.call("POST", &format!("{one}/start"), Value::Null).await,
            Step::Rules(_) | Step::Source(_) => self.call("PUT", &one, body(name, &after[name], port)).await,
            Step::Delete(_) => self.call("DELETE", &one, Value::Null).await,
        };
        assert!(status.is_success(), "{step:?}: {status} {answer}");
    }
}

async fn call(router: &Router, method: &str, path: &str, body: Value) -> (StatusCode, Value) {
    let body = if body.is_null() { Body::empty() } else { Body::from(body.to_string()) };
    let request = Request::builder().method(method).uri(path).header("X-Auth-Token", TOKEN).body(body).unwrap();
    let response = router.clone().oneshot(request).await.unwrap();
    let status = response.status();
    let bytes = to_bytes(response.into_body(), usize::MAX).await.unwrap();
    (status, serde_json::from_slice(&bytes).unwrap_or_default())
}

fn body(name: &str, wanted: &Wanted, port: u16) -> Value {
    json!({
        "name": name, "service_version": "3.0", "edge_pool_id": "default", "resource_order_id": SN,
        "input": {"type": "url", "data": [{"url": format!("rtsp://127.0.0.1:{port}/{}", wanted.path)}]},
        "output": {"webhook": {"url": "http://127.0.0.1:9/faces"}},
        "service_config": {"common": {"detection_min_size": wanted.min_size}},
    })
}

fn path_of(url: &str) -> String {
    url.rsplit('/').next().unwrap_or_default().to_owned()
}

/// A licence of one channel.
fn issue(store: &Store) {
    let terms = SnTerms { concurrent_number: Some(Some(1)), ..SnTerms::default() };
    let (product, template, kind) = ("demo".to_owned(), "Default".to_owned(), "LOCAL".to_owned());
    let new = NewSns { sns: vec![SN.to_owned()], product, template, kind, terms, ..NewSns::default() };
    let done = store.change_licences(LicenceChange::GenerateSns(new), None, UnixMs(0)).wait().unwrap();
    assert_eq!(done.refused, []);
}

/// Cameras that take a connection and never say a word; which of them somebody is connected to.
struct Cameras {
    port: u16,
    connected: Arc<Mutex<Vec<String>>>,
}

impl Cameras {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let connected = Arc::new(Mutex::new(Vec::new()));
        let all = Arc::clone(&connected);
        let thread = |name: &str| std::thread::Builder::new().name(name.to_owned());
        let accept = move || {
            for stream in listener.incoming().flatten() {
                let all = Arc::clone(&all);
                thread("camera").spawn(move || hold(stream, &all)).unwrap();
            }
        };
        thread("cameras").spawn(accept).unwrap();
        Self { port, connected }
    }

    fn connected(&self) -> Vec<String> {
        let mut paths = self.connected.lock().clone();
        paths.sort();
        paths
    }
}

/// `OPTIONS rtsp://127.0.0.1:554/a RTSP/1.0`, then nothing until the other side goes.
fn hold(stream: TcpStream, all: &Mutex<Vec<String>>) {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    if reader.read_line(&mut line).is_err() || line.is_empty() {
        return;
    }
    let path = path_of(line.split(' ').nth(1).unwrap_or_default());
    all.lock().push(path.clone());
    let mut rest = [0; 1024];
    while reader.read(&mut rest).is_ok_and(|n| n > 0) {}
    let mut all = all.lock();
    let at = all.iter().position(|connected| *connected == path).expect("was put there above");
    all.remove(at);
}

#[test]
#[ignore = "the child of killed_between_any_two_steps_the_service_finds_its_way"]
fn child() {
    let (Ok(dir), Ok(port)) = (env::var(DIR), env::var(PORT)) else { panic!("run by its parent only") };
    let port = port.parse().unwrap();
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let service = Service::start(Path::new(&dir));
        tokio::task::block_in_place(|| issue(&service.store));
        for step in SCRIPT {
            service.carry_out(*step, port).await;
            println!("answered");
            until("what is agrees with what is wanted", || service.settled().is_some()).await;
        }
        println!("done");
        service.stop().await;
    });
}

/// Kills the child where it stands still; how many steps it had answered, and whether it came to its end instead.
fn run_child(dir: &Path, port: u16, stand_still_at: u32) -> (usize, bool) {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--exact", "kills::child", "--ignored", "--nocapture"]);
    command.env(DIR, dir).env(PORT, port.to_string()).env(STAND_STILL_AT, stand_still_at.to_string());
    let mut child: Child = command.stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn().unwrap();
    let (mut answered, mut done) = (0, false);
    for line in BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok) {
        match line.as_str() {
            "answered" => answered += 1,
            "done" => done = true,
            "standing still" => {
                nix::sys::signal::kill(
                    nix::unistd::Pid::from_raw(child.id().cast_signed()),
                    nix::sys::signal::Signal::SIGKILL,
                )
                .unwrap();
            }
            _ => {}
        }
    }
    let success = child.wait().unwrap().success();
    assert_eq!(success, done, "the child failed by itself at {stand_still_at}");
    (answered, done)
}

async fn finds_its_way(dir: &Path, cameras: &Cameras, answered: usize) {
    let service = Service::start(dir);
    let allowed = [model_after(answered), model_after((answered + 1).min(SCRIPT.len()))];
    until("what is agrees with what is wanted, and with the cameras", || {
        service.settled().is_some_and(|running| running == cameras.connected())
    })
    .await;
    let wanted = service.wanted();
    assert!(allowed.contains(&wanted), "after {answered} answers: {wanted:?}, expected one of {allowed:?}");
    for row in service.rows() {
        let (status, answer) = service.call("DELETE", &format!("{TASKS}/{}", row.id), Value::Null).await;
        assert_eq!(status, StatusCode::NO_CONTENT, "{answer}");
    }
    assert_eq!((service.rows(), service.holders()), (vec![], vec![]), "nothing is left");
    until("every camera is let go", || cameras.connected().is_empty()).await;
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_between_any_two_steps_the_service_finds_its_way() {
    let cameras = Cameras::start();
    for place in 1.. {
        let dir = tempfile::tempdir().unwrap();
        let (folder, port) = (dir.path().to_owned(), cameras.port);
        let (answered, done) = tokio::task::spawn_blocking(move || run_child(&folder, port, place)).await.unwrap();
        finds_its_way(dir.path(), &cameras, answered).await;
        if done {
            println!("killed at each of {} places; {} answers", place - 1, answered);
            assert!(place > 40 && answered == SCRIPT.len(), "the script has more steps than that");
            return;
        }
    }
}

/// Starts, stops and changes of a task that come while it is deleted: it goes, whoever comes first.
#[tokio::test(flavor = "multi_thread")]
async fn what_comes_during_a_deletion_does_not_bring_a_task_back() {
    const ROUNDS: usize = 25;
    let (cameras, dir) = (Cameras::start(), tempfile::tempdir().unwrap());
    let service = Service::start(dir.path());
    tokio::task::block_in_place(|| issue(&service.store));
    for round in 0..ROUNDS {
        let wanted = Wanted { runs: true, path: format!("r{round}"), min_size: 90 };
        let (_, made) = service.call("POST", TASKS, body("t", &wanted, cameras.port)).await;
        let one = format!("{TASKS}/{}", made[0]["id"].as_str().unwrap());
        // Now and then its camera is still being opened.
        if round % 3 > 0 {
            until("the camera is open", || cameras.connected() == [wanted.path.clone()]).await;
        }
        let other = body("t", &Wanted { path: format!("{}x", wanted.path), ..wanted.clone() }, cameras.port);
        let mut calls = vec![
            ("POST", format!("{one}/stop"), Value::Null),
            ("POST", format!("{one}/start"), Value::Null),
            ("PUT", one.clone(), other),
            ("DELETE", one.clone(), Value::Null),
            ("POST", format!("{one}/start"), Value::Null),
        ];
        let turn = round % calls.len();
        calls.rotate_left(turn);
        let answers: Vec<_> = calls
            .into_iter()
            .map(|(method, path, body)| {
                let router = service.router.clone();
                tokio::spawn(async move { (method, call(&router, method, &path, body).await) })
            })
            .collect();
        for answer in answers {
            let (method, (status, body)) = answer.await.unwrap();
            let fine = status.is_success() || (method != "DELETE" && status == StatusCode::NOT_FOUND);
            assert!(fine, "{method}: {status} {body}");
        }
        assert_eq!(service.call("GET", &one, Value::Null).await.0, StatusCode::NOT_FOUND);
        assert_eq!((service.rows(), service.holders()), (vec![], vec![]), "round {round}");
        until("its camera is let go", || cameras.connected().is_empty()).await;
    }
    service.stop().await;
}
