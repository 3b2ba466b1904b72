//! What the interface costs: lists of 50 tasks in tables of any size, and requests a second on one core beside a plain
//! axum handler that answers with the same JSON.
//!
//! Through a socket, with a key of the store, as a client would. Two clocks for each request: the wall's, and the CPU
//! time that the process spent on it without the client's own thread, which a busy machine does not spoil. "On one
//! core" is requests by seconds of that CPU time.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Json;
use axum::response::IntoResponse;
use axum::routing::get;
use face_edge::api::keys::{KeyEnv, Keys, Role, create};
use face_edge::api::rates::Rates;
use face_edge::api::{AppState, Control, Faces, router};
use face_edge::clock;
use face_edge::domain::{TaskId, UnixMs};
use face_edge::status::Status;
use face_edge::store::{Desired, Store, TaskRow, TaskState};
use nix::sys::resource::{UsageWho, getrusage};
use serde_json::{Value, json};
use uuid::Uuid;

const TABLES: [u128; 3] = [1_000, 10_000, 100_000];
const REQUESTS: usize = 1_500;
const WARM_UP: usize = 100;
const TASKS: &str = "/v2/p1/services/c-face-edge/tasks";
const BODY: &str = include_str!("../tests/golden/task-create.json");
const STATES: [&str; 4] = ["RUNNING", "RUNNING", "STOPPED", "RECOVERING"];
const P99_BOUND: Duration = Duration::from_millis(5);

struct Nobody;

impl Control for Nobody {
    fn wake(&self) {}
    fn released(&self, _: &TaskId) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(std::future::ready(()))
    }
}

fn row(number: u128) -> TaskRow {
    let mut body: Value = serde_json::from_str(BODY).expect("the sample is JSON");
    body["name"] = json!(format!("door-{number}"));
    TaskRow {
        id: TaskId::from_uuid(Uuid::from_u128(number.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)))
            .to_string(),
        project_id: "p1".into(),
        name: format!("door-{number}"),
        creator: "bench".into(),
        service_version: if number.is_multiple_of(10) { "2.1".into() } else { "3.0".into() },
        edge_pool_id: "default".into(),
        file: None,
        desired: Desired::Start,
        state: TaskState { name: STATES[number as usize % STATES.len()].into(), error: None },
        index: 0,
        body: body.to_string(),
        created_at: UnixMs(number as i64 * 1000),
        updated_at: UnixMs(number as i64 * 1000),
    }
}

fn fill(store: &Store, tasks: u128) {
    let numbers: Vec<_> = (0..tasks).collect();
    for chunk in numbers.chunks(1000) {
        store.insert_tasks(chunk.iter().map(|number| row(*number)).collect()).wait().expect("inserted");
    }
}

/// On a thread of its own, with one thread for the requests.
fn serve(app: axum::Router) -> SocketAddr {
    let (address, told) = std::sync::mpsc::sync_channel(1);
    let server = std::thread::Builder::new().name("server".into()).spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
            address.send(listener.local_addr().expect("an address")).expect("somebody waits");
            let service = app.into_make_service_with_connect_info::<SocketAddr>();
            axum::serve(listener, service).await.expect("serves");
        });
    });
    server.expect("a thread");
    told.recv().expect("the server starts")
}

/// One connection that stays.
struct Client {
    reader: BufReader<TcpStream>,
    key: String,
}

impl Client {
    fn connect(address: SocketAddr, key: &str) -> Self {
        let stream = TcpStream::connect(address).expect("the server listens");
        stream.set_nodelay(true).expect("a TCP socket");
        Self { reader: BufReader::with_capacity(1 << 17, stream), key: key.to_owned() }
    }

    fn get(&mut self, path: &str) -> Vec<u8> {
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nx-auth-token: {}\r\n\r\n", self.key);
        self.reader.get_mut().write_all(request.as_bytes()).expect("sent");
        let (mut line, mut length) = (String::new(), 0);
        self.reader.read_line(&mut line).expect("answered");
        assert!(line.starts_with("HTTP/1.1 200"), "{path}: {line}");
        while line != "\r\n" {
            line.clear();
            self.reader.read_line(&mut line).expect("a header");
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().expect("a number");
            }
        }
        let mut body = vec![0; length];
        self.reader.read_exact(&mut body).expect("the body");
        body
    }
}

#[derive(Clone, Copy)]
struct Cost {
    wall: Duration,
    cpu: Duration,
}

fn cpu(who: UsageWho) -> Duration {
    let usage = getrusage(who).expect("the system counts");
    let time = |t: nix::sys::time::TimeVal| Duration::new(t.tv_sec() as u64, t.tv_usec() as u32 * 1000);
    time(usage.user_time()) + time(usage.system_time())
}

fn measured(client: &mut Client, path: &str) -> Vec<Cost> {
    for _ in 0..WARM_UP {
        client.get(path);
    }
    let one = |client: &mut Client| {
        let (begun, all, own): (Instant, _, _) =
            (clock::monotonic(), cpu(UsageWho::RUSAGE_SELF), cpu(UsageWho::RUSAGE_THREAD));
        client.get(path);
        let wall = begun.elapsed();
        let (all, own) = (cpu(UsageWho::RUSAGE_SELF) - all, cpu(UsageWho::RUSAGE_THREAD) - own);
        Cost { wall, cpu: all.saturating_sub(own) }
    };
    (0..REQUESTS).map(|_| one(client)).collect()
}

fn at(costs: &[Cost], share: f64, of: impl Fn(&Cost) -> Duration) -> Duration {
    let mut sorted: Vec<_> = costs.iter().map(of).collect();
    sorted.sort();
    sorted[((sorted.len() - 1) as f64 * share).round() as usize]
}

fn ms(time: Duration) -> String {
    format!("{:7.3}", time.as_secs_f64() * 1e3)
}

fn per_core_second(costs: &[Cost]) -> f64 {
    costs.len() as f64 / costs.iter().map(|cost| cost.cpu).sum::<Duration>().as_secs_f64()
}

fn print(what: &str, tasks: u128, bytes: usize, costs: &[Cost]) {
    let (p50, p99) = (at(costs, 0.5, |c| c.wall), at(costs, 0.99, |c| c.wall));
    let (cpu50, cpu99) = (at(costs, 0.5, |c| c.cpu), at(costs, 0.99, |c| c.cpu));
    let bound = if p99 <= P99_BOUND { "" } else { "  above 5 ms" };
    println!(
        "{what:<26} {tasks:>7} tasks {bytes:>6} B  wall p50 {} p99 {} ms  cpu p50 {} p99 {} ms{bound}",
        ms(p50),
        ms(p99),
        ms(cpu50),
        ms(cpu99)
    );
}

struct Installation {
    _dir: tempfile::TempDir,
    client: Client,
}

impl Installation {
    fn with(tasks: u128) -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let store = Store::open(dir.path()).expect("a fresh store");
        fill(&store, tasks);
        let key = create(&store, "bench", Role::Operator).expect("a key").key;
        let keys =
            Keys::new(store.clone(), KeyEnv::default()).expect("no pair").with_rates(Rates::new(1 << 30, 1 << 30));
        let state = AppState {
            store,
            status: Arc::new(Status::default()),
            control: Arc::new(Nobody),
            keys: Arc::new(keys),
            metrics: face_edge::figures::Figures::new(),
            edge_pool_id: "default".into(),
            faces: Faces::blind(),
        };
        Self { client: Client::connect(serve(router(state)), &key), _dir: dir }
    }
}

/// A window of 500 tasks in the middle, whatever the size.
fn queries(tasks: u128) -> Vec<(&'static str, String)> {
    let middle = tasks / 2 * 1000;
    vec![
        ("newest", "limit=50".into()),
        ("by state", "limit=50&state=STOPPED".into()),
        ("by version", "limit=50&service_version=2.1".into()),
        ("by name", "limit=50&order=name:ASC".into()),
        ("by state, by last change", "limit=50&state=RUNNING&order=updated_at:DESC".into()),
        ("created in a window", format!("limit=50&created_since={middle}&created_until={}", middle + 499_000)),
        ("the last page", format!("limit=50&offset={}", tasks - 50)),
        ("name contains (linear)", "limit=50&name_like=door-77".into()),
    ]
}

/// The same bytes, from a value that lies ready.
fn plain(page: Value) -> Client {
    let page = Arc::new(page);
    let handler = move || {
        let page = Arc::clone(&page);
        async move { Json(page.as_ref()).into_response() }
    };
    Client::connect(serve(axum::Router::new().route("/", get(handler))), "")
}

fn beside_plain(what: &str, client: &mut Client, path: &str) {
    let body = client.get(path);
    let ours = measured(client, path);
    let theirs = measured(&mut plain(serde_json::from_slice(&body).expect("JSON")), "/");
    let (a, b) = (per_core_second(&ours), per_core_second(&theirs));
    println!("{what:<26} {:>6} B  {a:7.0} requests/s on one core; plain axum {b:7.0}; ratio {:.2}", body.len(), b / a);
}

fn main() {
    for tasks in TABLES {
        let mut installation = Installation::with(tasks);
        for (what, query) in queries(tasks) {
            let path = format!("{TASKS}?{query}");
            let bytes = installation.client.get(&path).len();
            let costs = measured(&mut installation.client, &path);
            print(what, tasks, bytes, &costs);
        }
        if tasks == TABLES[TABLES.len() - 1] {
            let client = &mut installation.client;
            beside_plain("a list of 50", client, &format!("{TASKS}?limit=50"));
            beside_plain("a list of 1", client, &format!("{TASKS}?limit=1"));
            let newest: Value = serde_json::from_slice(&client.get(&format!("{TASKS}?limit=1"))).expect("JSON");
            let id = newest["tasks"][0]["id"].as_str().expect("a task").to_owned();
            beside_plain("one task", client, &format!("{TASKS}/{id}"));
        }
    }
}
