//! Licences: what one does to channels, in virtual time, and the back-office interface through the real router.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::Request;
use face_edge::api::keys::{KeyEnv, Keys, Role, create};
use face_edge::api::{AppState, Control, Faces, router};
use face_edge::domain::{TaskId, UnixMs, Verdict};
use face_edge::status::Status;
use face_edge::store::{
    ChannelRequest, LicenceChange, LicenceOutcome, NewProduct, NewSns, RequestMark, SnTerms, Store,
};
use serde_json::{Value, json};
use tower::ServiceExt;

const BASE: &str = "/bitanswer/api";
const TOKEN: &str = "test-token";
const DAY_MS: i64 = 86_400_000;

fn opened() -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    (dir, store)
}

fn limited(store: &Store, channels: u32, days: Option<u32>) {
    let terms = SnTerms { concurrent_number: Some(Some(channels)), expiration_days: Some(days), ..SnTerms::default() };
    let new = NewSns {
        sns: vec!["S1".to_owned()],
        product: "demo".to_owned(),
        template: "Default".to_owned(),
        kind: "LOCAL".to_owned(),
        terms,
        ..NewSns::default()
    };
    let done = store.change_licences(LicenceChange::GenerateSns(new), None, UnixMs(0)).wait().unwrap();
    assert_eq!((done.records.len(), done.refused.len()), (1, 0));
}

fn set(store: &Store, terms: SnTerms) {
    let change = LicenceChange::ChangeSn { sn: "S1".to_owned(), terms, data: Vec::new() };
    assert_eq!(store.change_licences(change, None, UnixMs(0)).wait().unwrap().refused, []);
}

fn take(store: &Store, task: &str, sn: Option<&str>, now_ms: i64) -> Verdict {
    let request = ChannelRequest { task_id: task.to_owned(), sn: sn.map(str::to_owned), node: "box-1".to_owned() };
    store.take_channel(request, UnixMs(now_ms)).wait().unwrap()
}

#[test]
fn channels_are_taken_and_given_back() {
    let (dir, store) = opened();
    limited(&store, 2, None);
    let none_free = Verdict::NoneFree { channels: 2 };
    let take = |task, expected: &Verdict| assert_eq!(take(&store, task, Some("s1"), 0), *expected, "{task}");
    take("a", &Verdict::Granted);
    take("a", &Verdict::Granted);
    take("b", &Verdict::Granted);
    take("c", &none_free);
    assert!(store.release_channel("a").wait().unwrap());
    assert!(!store.release_channel("a").wait().unwrap());
    take("c", &Verdict::Granted);
    take("a", &none_free);
    take("b", &Verdict::Granted);

    // A box that was killed gives back what it held; another box keeps its own.
    let other = ChannelRequest { task_id: "d".to_owned(), sn: None, node: "box-2".to_owned() };
    assert_eq!(store.take_channel(other, UnixMs(0)).wait().unwrap(), Verdict::Granted);
    drop(store);
    let store = Store::open(dir.path()).unwrap();
    assert_eq!(store.release_all_channels("box-1").wait().unwrap(), 2);
    assert!(store.release_channel("d").wait().unwrap());
}

#[test]
fn fewer_channels_take_them_from_those_that_came_last() {
    let (_dir, store) = opened();
    limited(&store, 3, None);
    for task in ["a", "b", "c"] {
        assert_eq!(take(&store, task, Some("S1"), 0), Verdict::Granted);
    }
    set(&store, SnTerms { concurrent_number: Some(Some(1)), ..SnTerms::default() });
    for task in ["c", "b"] {
        assert_eq!(take(&store, task, Some("S1"), 0), Verdict::NoneFree { channels: 1 }, "{task}");
    }
    assert_eq!(take(&store, "a", Some("S1"), 0), Verdict::Granted);
    set(&store, SnTerms { concurrent_number: Some(None), ..SnTerms::default() });
    assert_eq!(take(&store, "c", Some("S1"), 0), Verdict::Granted);
}

#[test]
fn a_task_moves_to_another_licence_and_lets_go_of_the_first() {
    let (_dir, store) = opened();
    limited(&store, 1, None);
    assert_eq!(take(&store, "a", Some("S1"), 0), Verdict::Granted);
    assert_eq!(take(&store, "a", None, 0), Verdict::Granted);
    assert_eq!(take(&store, "b", Some("S1"), 0), Verdict::Granted);
    assert_eq!(take(&store, "a", Some("gone"), 0), Verdict::Unknown);
    assert!(!store.release_channel("a").wait().unwrap(), "under an unknown licence nothing is held");
}

#[test]
fn an_unknown_licence_is_the_default_one_until_one_is_issued_here() {
    let (_dir, store) = opened();
    assert_eq!(take(&store, "a", Some("of-another-installation"), 0), Verdict::Granted);
    let terms = SnTerms { concurrent_number: Some(Some(1)), ..SnTerms::default() };
    let change = LicenceChange::ChangeSn { sn: "DEFAULT".to_owned(), terms, data: Vec::new() };
    store.change_licences(change, None, UnixMs(0)).wait().unwrap();
    let none_free = Verdict::NoneFree { channels: 1 };
    assert_eq!(take(&store, "b", None, 0), none_free, "its channel is one of the default licence's");
    limited(&store, 1, None);
    assert_eq!(take(&store, "a", Some("of-another-installation"), 0), Verdict::Unknown);
    assert_eq!(take(&store, "b", None, 0), Verdict::Granted, "which was given back");
}

#[test]
fn a_licence_ends_by_date_freezes_and_thaws() {
    let (_dir, store) = opened();
    limited(&store, 1, Some(30));
    let begun = 5 * DAY_MS;
    assert_eq!(take(&store, "a", Some("S1"), begun), Verdict::Granted, "its first channel activates it");
    assert_eq!(take(&store, "a", Some("S1"), begun + 30 * DAY_MS - 1), Verdict::Granted);
    let ended = begun + 30 * DAY_MS;
    assert!(matches!(take(&store, "a", Some("S1"), ended), Verdict::Frozen { why } if why.contains("30 days")));
    assert!(!store.release_channel("a").wait().unwrap(), "its channel went with the licence");
    set(&store, SnTerms { expiration_days: Some(Some(31)), ..SnTerms::default() });
    assert_eq!(take(&store, "a", Some("S1"), ended), Verdict::Granted);

    set(&store, SnTerms { status: Some(1), ..SnTerms::default() });
    assert!(matches!(take(&store, "a", Some("S1"), ended), Verdict::Frozen { why } if why.contains("disabled")));
    set(&store, SnTerms { status: Some(0), ..SnTerms::default() });
    assert_eq!(take(&store, "a", Some("S1"), ended), Verdict::Granted);
}

#[test]
fn two_that_want_the_last_channel_never_both_have_it() {
    let (_dir, store) = opened();
    limited(&store, 3, None);
    let granted = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for task in 0..12 {
            let (store, granted) = (store.clone(), &granted);
            scope.spawn(move || {
                if take(&store, &format!("t{task}"), Some("S1"), 0) == Verdict::Granted {
                    granted.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    assert_eq!(granted.into_inner(), 3);
}

#[test]
fn a_marked_change_is_carried_out_once_a_day_also_over_a_restart() {
    let (dir, store) = opened();
    let add = |store: &Store, name: &str, fingerprint: u8, now_ms: i64| -> LicenceOutcome {
        let product = NewProduct { name: name.to_owned(), guid: name.to_owned(), ..NewProduct::default() };
        let mark = RequestMark { id: "admin\nr1".to_owned(), fingerprint: vec![fingerprint] };
        store.change_licences(LicenceChange::AddProduct(product), Some(mark), UnixMs(now_ms)).wait().unwrap()
    };
    let first = add(&store, "p", 1, 0);
    drop(store);
    let store = Store::open(dir.path()).unwrap();
    assert_eq!(add(&store, "p", 1, DAY_MS - 1), first, "the answer, not a second product");
    assert!(add(&store, "q", 2, DAY_MS - 1).records.is_empty(), "another request under the same id");
    assert_eq!(add(&store, "p", 1, DAY_MS).records, [], "after a day it is a new request, and p is taken");
}

/// Counts how often it was told to look.
#[derive(Default)]
struct Looks(AtomicUsize);

impl Control for Looks {
    fn wake(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn released(&self, _: &TaskId) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(std::future::ready(()))
    }
}

struct App {
    router: Router,
    store: Store,
    looks: Arc<Looks>,
    _dir: tempfile::TempDir,
}

impl App {
    fn new() -> Self {
        let (dir, store) = opened();
        let looks = Arc::new(Looks::default());
        let env = KeyEnv { token: Some(TOKEN.to_owned()), access_key: None };
        let state = AppState {
            store: store.clone(),
            status: Arc::new(Status::default()),
            control: Arc::clone(&looks) as Arc<dyn Control>,
            keys: Arc::new(Keys::new(store.clone(), env).unwrap()),
            metrics: face_edge::figures::Figures::new(),
            edge_pool_id: "default".into(),
            faces: Faces::blind(),
        };
        Self { router: router(state), store, looks, _dir: dir }
    }

    /// HTTP status and body.
    async fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> (u16, Value) {
        let mut request = Request::builder().method(method).uri(format!("{BASE}{path}"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = self.router.clone().oneshot(request.body(Body::from(body.to_owned())).unwrap()).await.unwrap();
        let status = response.status().as_u16();
        let bytes = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        (status, serde_json::from_slice(&bytes).unwrap())
    }

    async fn get(&self, path: &str) -> Value {
        self.done("GET", path, &Value::Null).await
    }

    /// What must succeed: its data.
    async fn done(&self, method: &str, path: &str, body: &Value) -> Value {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let (http, answer) = self.send(method, path, &[("bitkey", TOKEN)], &body).await;
        assert_eq!((http, &answer["status"]), (200, &json!(0)), "{method} {path}: {answer}");
        assert!(answer.get("msg").is_none(), "{answer}");
        answer["data"].clone()
    }

    /// What must be refused: HTTP stays 200, no data, a message.
    async fn refused(&self, method: &str, path: &str, body: &str, number: u32) {
        let (http, answer) = self.send(method, path, &[("bitkey", TOKEN)], body).await;
        assert_eq!((http, &answer["status"]), (200, &json!(number)), "{method} {path} {body}: {answer}");
        assert!(answer["msg"].as_str().is_some_and(|msg| msg.len() > 10), "{answer}");
        assert!(answer.get("data").is_none(), "{answer}");
    }

    async fn generate(&self, body: Value) -> String {
        let data = self.done("POST", "/sns/generate_sn?count=1", &body).await;
        data["items"][0]["sn"].as_str().unwrap().to_owned()
    }
}

fn names(data: &Value) -> Vec<&str> {
    data["items"].as_array().unwrap().iter().map(|item| item["name"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_fresh_installation_has_the_default_licence() {
    let app = App::new();
    let data = app.get("/sns?scope=all").await;
    assert_eq!(data["total"], 1);
    let sn = &data["items"][0];
    assert_eq!(sn["sn"], "DEFAULT");
    assert_eq!(sn["product"]["productName"], "demo");
    assert_eq!(sn["template"]["name"], "Default");
    assert_eq!(sn["features"][0]["name"], "face-extraction");
    for absent in ["concurrentNumber", "expirationDays", "activeDate", "business", "machines", "data"] {
        assert!(sn.get(absent).is_none(), "{absent} is empty, so it is left out: {sn}");
    }
    let date = sn["regDate"].as_str().unwrap();
    assert!(chrono::NaiveDateTime::parse_from_str(date, "%Y-%m-%d %H:%M:%S").is_ok(), "{date}");
    assert_eq!(app.get("/products").await["items"][0]["productName"], "demo");
}

#[tokio::test]
async fn a_key_is_needed_and_only_an_admin_changes() {
    let app = App::new();
    for headers in [&[][..], &[("bitkey", "wrong")][..]] {
        let (http, answer) = app.send("GET", "/sns", headers, "").await;
        assert_eq!((http, &answer["status"]), (401, &json!(513)));
        assert!(answer["msg"].is_string());
    }
    for (role, look, change) in [(Role::Viewer, 200, 403), (Role::Operator, 200, 403), (Role::Gate, 403, 403)] {
        let store = app.store.clone();
        let key = tokio::task::spawn_blocking(move || create(&store, role.as_str(), role).unwrap().key);
        let key = key.await.unwrap();
        assert_eq!(app.send("GET", "/sns", &[("bitkey", &key)], "").await.0, look, "{role:?}");
        let body = r#"{"productName":"p"}"#;
        assert_eq!(app.send("POST", "/products", &[("bitkey", &key)], body).await.0, change, "{role:?}");
    }
}

#[tokio::test]
async fn products_have_features_and_templates() {
    let app = App::new();
    let feature = |name: &str, id: u32, version: &str| json!({"name": name, "featureId": id, "version": version});
    let body = json!({"productName": "Gate", "refId": "r-1", "description": "d",
        "features": [feature("f", 7, "1"), feature("f", 8, "2"), feature("g", 9, "1")]});
    let made = app.done("POST", "/products", &body).await;
    assert_eq!(made["items"][0]["productName"], "Gate");
    assert_eq!(names(&app.get("/products/gate/templates").await), ["Default"]);
    assert_eq!(names(&app.get("/products/Gate/features?limit=2").await), ["f", "f"]);
    let search = json!({"querys": [{"name": "name", "op": "=", "values": ["f"]}],
        "sorts": [{"name": "featureId", "order": "DESC"}]});
    let found = app.done("POST", "/products/Gate/features/data", &search).await;
    assert_eq!((&found["total"], &found["items"][0]["featureId"]), (&json!(2), &json!(8)));

    app.refused("POST", "/products", r#"{"productName":"GATE"}"#, 1992).await;
    app.refused("POST", "/products", r#"{"productName":"new","refId":"r-1"}"#, 1992).await;
    app.refused("POST", "/products", "{}", 514).await;
    app.refused("POST", "/products", &json!({"productName": "x".repeat(65)}).to_string(), 515).await;
    app.refused("GET", "/products/none/features", "", 2305).await;
    app.refused("POST", "/sns/generate_sn?count=1", r#"{"productName":"none"}"#, 2305).await;

    let sn = app.generate(json!({"product": {"productName": "Gate"}})).await;
    app.refused("POST", &format!("/sns/{sn}/features"), r#"[{"name":"none"}]"#, 1283).await;
    app.refused("POST", &format!("/sns/{sn}/features"), r#"[{"name":"f"}]"#, 1283).await;
    let set =
        app.done("POST", &format!("/sns/{sn}/features"), &json!([{"name": "f", "version": "2", "value": 4}])).await;
    assert_eq!((&set["items"][0]["featureId"], &set["items"][0]["value"]), (&json!(8), &json!(4)));
}

#[tokio::test]
async fn authorization_codes_are_generated_shown_and_changed() {
    let app = App::new();
    let body = json!({"product": {"productName": "demo"}, "business": {"name": "b", "type": "EDGE"}, "type": "CLOUD",
        "concurrentNumber": 2, "expirationDays": 30, "usersNumber": 1, "licenseBorrow": true,
        "data": [{"name": "k", "value": "v"}], "features": [{"name": "face-extraction", "value": 3}]});
    let data = app.done("POST", "/sns/generate_sn?count=3", &body).await;
    assert_eq!(data["total"], 3);
    let sn = data["items"][0]["sn"].as_str().unwrap();
    assert_eq!(sn.len(), 16);
    app.store
        .take_channel(ChannelRequest { task_id: "t".into(), sn: Some(sn.into()), node: "box-1".into() }, UnixMs(0))
        .await
        .unwrap();

    let basic = app.get(&format!("/sns/{sn}")).await["items"][0].clone();
    for (field, value) in [
        ("type", json!("CLOUD")),
        ("concurrentNumber", json!(2)),
        ("licenseBorrow", json!(true)),
        ("peak", json!(1)),
        ("status", json!(0)),
        ("transferVolume", json!(0)),
        ("activeDate", json!("1970-01-01 00:00:00")),
    ] {
        assert_eq!(basic[field], value, "{field}");
    }
    assert!(basic.get("product").is_none() && basic.get("productName").is_none(), "basic fields only: {basic}");
    let wide = app.get(&format!("/sns/{sn}?scope=Business+DATA%20machine+data+feature")).await["items"][0].clone();
    assert_eq!(wide["business"], json!({"name": "b", "type": "EDGE"}));
    assert_eq!((&wide["data"][0]["value"], &wide["machines"][0]["mid"]), (&json!("v"), &json!("box-1")));
    assert_eq!(wide["features"][0]["value"], 3);
    assert!(wide.get("product").is_none());
    assert_eq!(app.get(&format!("/sns/{sn}/machines")).await["items"][0]["mid"], "box-1");

    let looks = app.looks.0.load(Ordering::Relaxed);
    let changed = app.done("PATCH", &format!("/sns/{sn}"), &json!({"status": 1, "expirationDays": null})).await;
    let changed = &changed["items"][0];
    assert_eq!((&changed["status"], &changed["concurrentNumber"]), (&json!(1), &json!(2)));
    assert!(changed.get("expirationDays").is_none());
    assert_eq!(app.looks.0.load(Ordering::Relaxed), looks + 1, "the supervisor is told");

    app.refused("POST", &format!("/sns/{sn}/users"), r#"[{"name":"u"}]"#, 1797).await;
    app.refused("PATCH", &format!("/sns/{sn}"), r#"{"data":[{"name":"none","value":"v"}]}"#, 1537).await;
    for path in ["/sns/none", "/sns/none/features", "/sns/none/users", "/sns/none/customers", "/sns/none/machines"] {
        app.refused("GET", path, "", 1798).await;
    }
    for (query, body, number) in [
        ("", "{}", 514),
        ("?count=0", "{}", 515),
        ("?count=101", "{}", 515),
        ("?count=1", r#"{"productName":"demo","endDate":"2030-01-01"}"#, 515),
        ("?count=1", r#"{"productName":"demo","templateName":"none"}"#, 515),
        ("?count=1", r#"{"productName":"demo","concurrentNumber":-1}"#, 515),
        ("?count=1", "{}", 514),
        ("?count=1", "[", 515),
    ] {
        app.refused("POST", &format!("/sns/generate_sn{query}"), body, number).await;
    }
}

#[tokio::test]
async fn users_are_given_out_and_taken_back() {
    let app = App::new();
    let sn = app.generate(json!({"productName": "demo", "usersNumber": 2})).await;
    let path = format!("/sns/{sn}/users");
    let data = app.done("POST", &path, &json!([{"name": "ann"}, {"name": "bob"}, {"name": "Ann"}])).await;
    assert_eq!((names(&data), &data["items"][0]["sn"]), (vec!["ann", "bob", "Ann"], &json!(sn)));
    assert_eq!(names(&app.get(&path).await), ["ann", "bob"]);
    app.refused("POST", &path, r#"[{"name":"cy"}]"#, 5633).await;
    app.refused("PATCH", &format!("/sns/{sn}"), r#"{"usersNumber":1}"#, 5633).await;
    app.refused("POST", &format!("/sns/{sn}/features"), r#"[{"name":"face-extraction","users":1}]"#, 5633).await;
    app.refused("POST", &format!("/sns/{sn}/features"), r#"[{"name":"face-extraction","users":3}]"#, 5633).await;
    app.refused("DELETE", &path, r#"[{"name":"none"}]"#, 1832).await;

    // Some of a batch: what was done is answered, what was not is told.
    let body = r#"[{"name":"bob"},{"name":"none"}]"#;
    let (_, answer) = app.send("DELETE", &path, &[("bitkey", TOKEN)], body).await;
    assert_eq!((&answer["status"], names(&answer["data"])), (&json!(1995), vec!["bob"]));
    assert!(answer["msg"].as_str().unwrap().contains("none"));
    assert_eq!(names(&app.get(&path).await), ["ann"]);
    app.refused("POST", &path, "[]", 515).await;
    app.refused("POST", &path, "[{}]", 514).await;
}

#[tokio::test]
async fn an_authorization_code_has_one_customer() {
    let app = App::new();
    let sn = app.generate(json!({"productName": "demo"})).await;
    let path = format!("/sns/{sn}/customers");
    assert_eq!(app.get(&path).await, json!({"total": 0}), "what is empty is left out");
    let body = json!([{"name": "one", "referenceId": "1"}, {"name": "two", "referenceId": "2", "city": "Ulm"}]);
    assert_eq!(names(&app.done("POST", &path, &body).await), ["one", "two"]);
    let shown = app.get(&path).await;
    assert_eq!((names(&shown), &shown["items"][0]["city"]), (vec!["two"], &json!("Ulm")));
    app.refused("POST", &path, r#"[{"name":"three","referenceId":"1"}]"#, 1918).await;
    app.refused("POST", &path, r#"[{"name":"two","referenceId":"1"}]"#, 1918).await;
    app.refused("POST", &path, r#"[{"referenceId":"9"}]"#, 1832).await;
    app.refused("POST", &path, r#"[{"city":"Ulm"}]"#, 514).await;
    assert_eq!(names(&app.done("POST", &path, &json!([{"referenceId": "1"}])).await), ["one"]);
    assert_eq!(names(&app.get(&path).await), ["one"]);
}

#[tokio::test]
async fn what_a_search_does_not_support_is_refused_by_number() {
    let app = App::new();
    let query = |name: &str, op: &str, values: Value| {
        json!({"querys": [{"name": name, "op": op, "values": values}]}).to_string()
    };
    let cases = [
        (query("peak", "=", json!([1])), 4123),
        (query("sn; DROP TABLE sns", "=", json!(["a"])), 4123),
        (json!({"sorts": [{"name": "peak"}]}).to_string(), 4123),
        (query("sn", "!=", json!(["a"])), 515),
        (query("sn", "=", json!([])), 515),
        (query("sn", "=", json!([null])), 515),
        (query("sn", "=", json!("a")), 515),
        (query("sn", "like", json!(["%".repeat(257)])), 515),
        (query("status", ">", json!(["many"])), 515),
        (query("regDate", ">", json!(["yesterday"])), 515),
        (query("regDate", ">", json!([5])), 515),
        (json!({"sorts": [{"name": "sn", "order": "UP"}]}).to_string(), 515),
        (json!({"querys": [{"op": "=", "values": ["a"]}]}).to_string(), 514),
        (json!({"querys": {}}).to_string(), 515),
        (String::new(), 515),
    ];
    for (body, number) in &cases {
        app.refused("POST", "/sns/data", body, *number).await;
    }
    app.refused("POST", "/products/data", &json!({"sorts": [{"name": "refId"}]}).to_string(), 4123).await;
    for window in ["offset=-1", "offset=x", "limit=0", "limit=1001", "limit=", "scope=everything", "scope=all+x"] {
        app.refused("GET", &format!("/sns?{window}"), "", 515).await;
    }
    let body = query("regDate", ">=", json!(["2024-01-01", "2024-01-01 10:00:00"]));
    let found = app.done("POST", "/sns/data?limit=1000&scope=all", &serde_json::from_str(&body).unwrap()).await;
    assert_eq!(found["total"], 1);
}

#[tokio::test]
async fn the_account_variant_has_a_scope_of_its_own() {
    let app = App::new();
    assert_eq!(app.get("/accounts/sns?scope=count").await, json!({"total": 1}));
    assert!(app.get("/accounts/sns").await["items"][0].get("product").is_none());
    assert!(app.get("/accounts/sns?scope=everything").await["items"][0].get("product").is_none());
    assert_eq!(app.get("/accounts/sns?scope=all").await["items"][0]["product"]["productName"], "demo");
    app.refused("GET", "/accounts/sns?scope=count+Count", "", 515).await;
}

#[tokio::test]
async fn a_request_that_is_sent_again_is_answered_and_not_carried_out() {
    let app = App::new();
    let headers = [("bitkey", TOKEN), ("x-bit-req-id", "r1")];
    let path = "/sns/generate_sn?count=2";
    let first = app.send("POST", path, &headers, r#"{"productName":"demo"}"#).await;
    assert_eq!(first.1["data"]["total"], 2);
    assert_eq!(app.send("POST", path, &headers, r#"{"productName":"demo"}"#).await, first);
    assert_eq!(app.get("/sns").await["total"], 3, "made once");
    let (_, other) = app.send("POST", path, &headers, r#"{"productName":"demo","type":"x"}"#).await;
    assert_eq!(other["status"], 515, "the same id for something else");
}

#[tokio::test]
async fn every_call_is_described() {
    let app = App::new();
    let request = Request::get("/openapi.json").body(Body::empty()).unwrap();
    let response = app.router.clone().oneshot(request).await.unwrap();
    let bytes = to_bytes(response.into_body(), usize::MAX).await.unwrap();
    let described: Value = serde_json::from_slice(&bytes).unwrap();
    let paths = described["paths"].as_object().unwrap().iter().filter(|(path, _)| path.starts_with(BASE));
    let calls: usize = paths.map(|(_, calls)| calls.as_object().unwrap().len()).sum();
    assert_eq!(calls, 22);
}
