//! The log of changes: an entry for each change of tasks, cameras, keys and licences, with who, what, before and
//! after; no secrets; for admins only; paged and searched like every collection.

use axum::body::Body;
use axum::http::{Request, StatusCode};
use face_edge::api::keys::Role;
use face_edge::store::audit::AUDIT as AUDIT_LOG;
use face_edge::store::{Actor, Cell, Search, Store, TaskRow};
use serde_json::{Value, json};

use crate::api::{App, TASKS, row, sample};

const AUDIT: &str = "/bitanswer/api/audit";
const CAMERAS: &str = "/v2/p1/services/c-face-edge/cameras";

async fn entries(app: &App, search: Value) -> Vec<Value> {
    let answer = app.call("POST", &format!("{AUDIT}/data?limit=1000"), search.to_string()).await;
    let json = answer.json();
    assert_eq!(json["status"], 0, "{json}");
    json["data"]["items"].as_array().cloned().unwrap_or_default()
}

async fn of(app: &App, object: &str) -> Vec<Value> {
    entries(app, json!({"querys": [{"name": "object", "op": "=", "values": [object]}]})).await
}

fn actions(entries: &[Value]) -> Vec<&str> {
    entries.iter().map(|entry| entry["action"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn every_change_of_a_task_is_noted_and_no_secret() {
    let app = App::new();
    let mut body = sample();
    body["input"]["data"][0]["url"] = json!("rtsp://admin:hunter2@h/1");
    body["output"]["webhook"]["headers"]["X-Own"] = json!("hunter2");
    let request = Request::post(TASKS).header("X-Auth-Token", app.key(Role::Operator).await);
    let made = app.send(request.header("x-request-id", "order-17").body(Body::from(body.to_string())).unwrap()).await;
    let id = made.json()[0]["id"].as_str().unwrap().to_owned();
    let one = format!("{TASKS}/{id}");
    body["description"] = json!("changed");
    body["input"]["data"][0]["url"] = json!("rtsp://admin:hunter2b@h/1");
    assert_eq!(app.call("PUT", &one, body.to_string()).await.status, StatusCode::OK);
    for verb in ["stop", "stop", "start"] {
        app.call("POST", &format!("{one}/{verb}"), Body::empty()).await;
    }
    assert_eq!(app.call("DELETE", &one, Body::empty()).await.status, StatusCode::NO_CONTENT);

    let log = of(&app, &id).await;
    assert_eq!(actions(&log), ["create", "update", "stop", "start", "delete"], "a stop of what is stopped is none");
    assert!(!json!(log).to_string().contains("hunter2"), "{log:#?}");
    let [create, update, stop, _, delete] = log.as_slice() else { panic!() };
    assert_eq!((&create["who"], &create["requestId"]), (&json!("operator"), &json!("order-17")));
    assert_eq!((create["keyId"].as_str().unwrap().len(), &create["kind"]), (12, &json!("task")));
    assert_eq!((&create["after"]["name"], create.get("before")), (&body["name"], None));
    assert_eq!((&update["who"], &update["keyId"]), (&json!("FACE_EDGE_TOKEN"), &json!("FACE_EDGE_TOKEN")));
    let fields = |side: &Value| side.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(fields(&update["after"]), ["description", "input"], "what differs, a secret that differs too");
    assert_eq!(update["after"]["description"], "changed");
    assert_eq!((&stop["before"], &stop["after"]), (&json!({"desired": "start"}), &json!({"desired": "stop"})));
    assert_eq!((&delete["before"]["description"], delete.get("after")), (&json!("changed"), None));
    let time = chrono::NaiveDateTime::parse_from_str(create["time"].as_str().unwrap(), "%Y-%m-%d %H:%M:%S").unwrap();
    assert!((chrono::Utc::now().naive_utc() - time).num_seconds() < 60);
}

#[tokio::test]
async fn so_is_every_change_of_cameras_keys_and_licences() {
    let app = App::new();
    let camera = |password: &str| json!({"id": "door", "name": "d", "url": "rtsp://h/1", "password": password});
    app.call("POST", CAMERAS, camera("hunter2").to_string()).await;
    app.call("PUT", &format!("{CAMERAS}/door"), camera("hunter3").to_string()).await;
    app.call("DELETE", &format!("{CAMERAS}/door"), Body::empty()).await;
    let log = of(&app, "door").await;
    assert_eq!(actions(&log), ["create", "update", "delete"]);
    assert_eq!(log[1]["after"], json!({"password": "***"}), "that it differs, not what it is");
    assert!(!json!(log).to_string().contains("hunter"), "{log:#?}");

    let api = "/bitanswer/api";
    app.call("POST", &format!("{api}/products"), r#"{"productName":"gate"}"#).await;
    let generate = format!("{api}/sns/generate_sn?count=2");
    let made = app.call("POST", &generate, r#"{"productName":"gate","concurrentNumber":4}"#).await.json();
    let sn = made["data"]["items"][1]["sn"].as_str().unwrap();
    app.call("PATCH", &format!("{api}/sns/{sn}"), r#"{"concurrentNumber":2}"#).await;
    app.call("PATCH", &format!("{api}/sns/{sn}"), r#"{"concurrentNumber":2}"#).await;
    app.call("POST", &format!("{api}/sns/{sn}/users"), r#"[{"name":"u"}]"#).await;
    app.call("DELETE", &format!("{api}/sns/{sn}/users"), r#"[{"name":"u"},{"name":"none"}]"#).await;
    app.call("POST", &format!("{api}/sns/{sn}/customers"), r#"[{"name":"c"}]"#).await;
    let log = of(&app, sn).await;
    assert_eq!(actions(&log), ["create", "update", "link_users", "unlink_users", "set_customers"]);
    assert_eq!(
        (&log[1]["before"], &log[1]["after"]),
        (&json!({"concurrentNumber": 4}), &json!({"concurrentNumber": 2}))
    );
    assert_eq!(log[2]["after"]["users"][0]["name"], "u");
    assert_eq!(actions(&of(&app, "gate").await), ["create"]);

    let (store, key) = (app.store.clone(), app.key(Role::Gate).await);
    let id = key.split('_').nth(1).unwrap().to_owned();
    let by = face_edge::store::Actor::local("face-edge keys");
    store.by(by).revoke_key(&id, face_edge::domain::UnixMs(1)).await.unwrap();
    let log = of(&app, &id).await;
    assert_eq!((actions(&log), &log[0]["who"]), (vec!["revoke"], &json!("face-edge keys")));
    assert_eq!(log[0]["after"], json!({"revoked": true}));
}

#[tokio::test]
async fn what_is_sent_again_is_noted_once_and_what_fails_never() {
    let app = App::new();
    let add = async |name: &str| {
        let request = Request::post("/bitanswer/api/products").header("bitkey", "test-token");
        let body = json!({"productName": name}).to_string();
        app.send(request.header("x-bit-req-id", "r1").body(Body::from(body)).unwrap()).await.json()
    };
    assert_eq!((add("p").await["status"].clone(), add("p").await["status"].clone()), (json!(0), json!(0)));
    assert_eq!(add("q").await["status"], 515);
    app.call("POST", TASKS, "{}").await;
    app.call("DELETE", &format!("{TASKS}/{}", "0".repeat(32)), Body::empty()).await;
    assert_eq!(entries(&app, json!({})).await.len(), 1);
}

#[tokio::test]
async fn it_is_for_admins_and_paged() {
    let app = App::new();
    for n in 0..120 {
        let camera = json!({"id": format!("c{n:03}"), "name": "c", "url": "rtsp://h/1"});
        assert_eq!(app.call("POST", CAMERAS, camera.to_string()).await.status, StatusCode::CREATED);
    }
    let mut seen = Vec::new();
    for offset in [0, 50, 100] {
        let page = app.get(&format!("{AUDIT}?offset={offset}")).await.json();
        assert_eq!(page["data"]["total"], 120);
        seen.extend(page["data"]["items"].as_array().unwrap().iter().map(|entry| entry["object"].to_string()));
    }
    assert!(seen.len() == 120 && seen.is_sorted(), "{seen:?}");
    let newest = json!({"sorts": [{"name": "id", "order": "DESC"}], "querys": [{"name": "who", "op": "like", "values": ["face_edge%"]}]});
    assert_eq!(entries(&app, newest).await[0]["object"], "c119");
    let by_side = r#"{"querys":[{"name":"after","op":"=","values":[""]}]}"#;
    let refused = app.call("POST", &format!("{AUDIT}/data"), by_side).await;
    assert_eq!(refused.json()["status"], 4123);
    for role in [Role::Operator, Role::Viewer, Role::Gate] {
        let key = app.key(role).await;
        for request in [Request::get(AUDIT), Request::post(format!("{AUDIT}/data"))] {
            let answer = app.send(request.header("bitkey", &key).body(Body::from("{}")).unwrap()).await;
            assert_eq!(
                (answer.status, answer.json()["status"].as_u64()),
                (StatusCode::FORBIDDEN, Some(513)),
                "{role:?}"
            );
        }
    }
}

#[test]
fn so_are_the_tasks_of_files() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let by_files = store.by(Actor::local("tasks-dir"));
    let file = |url: &str| TaskRow {
        file: Some("/tasks/door.json".into()),
        body: json!({"input": {"data": [{"url": url}]}}).to_string(),
        ..row(7, "door", 0)
    };
    for rows in [vec![file("rtsp://h/1")], vec![file("rtsp://u:hunter2@h/2")], vec![]] {
        by_files.follow_task_files(rows.clone()).wait().unwrap();
        by_files.follow_task_files(rows).wait().unwrap();
    }
    let page = store.audit(Search::traverse(&AUDIT_LOG, 0, 50).unwrap()).wait().unwrap();
    let text = |record: &face_edge::store::Record, name: &str| match record.get(name) {
        Some(Cell::Text(text)) => text.clone(),
        _ => String::new(),
    };
    let noted: Vec<_> = page.records.iter().map(|entry| (text(entry, "who"), text(entry, "action"))).collect();
    let expected = ["create", "update", "delete"].map(|action| ("tasks-dir".to_owned(), action.to_owned()));
    assert_eq!(noted, expected);
    assert!(page.records.iter().all(|entry| !text(entry, "after").contains("hunter2")));
}
