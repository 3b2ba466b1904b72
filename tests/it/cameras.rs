//! The camera registry through the real router: a camera with two streams.

use axum::body::Body;
use axum::http::Request;
use face_edge::api::keys::Role;
use serde_json::{Value, json};

use crate::api::{App, refused};

const CAMERAS: &str = "/v2/p1/services/c-face-edge/cameras";

fn camera(change: impl FnOnce(&mut Value)) -> String {
    let mut body = json!({
        "id": "door", "name": "front door", "url": "rtsp://u:secret@10.0.0.7/1",
        "detect_url": "rtsp://u:hidden@10.0.0.7/2?channel=1",
    });
    change(&mut body);
    body.to_string()
}

#[tokio::test]
async fn a_second_address_is_kept_changed_and_taken_away() {
    let app = App::new();
    let made = app.call("POST", CAMERAS, camera(|_| ())).await;
    assert_eq!(made.status, 201, "{}", made.body);
    let place = format!("{CAMERAS}/door");
    assert_eq!(app.get(&place).await.json()["detect_url"], "rtsp://u:hidden@10.0.0.7/2?channel=1");
    let changed = app.call("PUT", &place, camera(|body| body["detect_url"] = json!("rtsps://10.0.0.7/3"))).await;
    assert_eq!(changed.json()["detect_url"], "rtsps://10.0.0.7/3", "{}", changed.body);
    for none in [json!(null), json!("")] {
        let without = app.call("PUT", &place, camera(|body| body["detect_url"] = none)).await;
        assert_eq!(without.status, 200, "{}", without.body);
        assert!(without.json().get("detect_url").is_none(), "{}", without.body);
    }
}

#[tokio::test]
async fn those_who_may_only_look_see_no_password_of_it() {
    let app = App::new();
    app.call("POST", CAMERAS, camera(|_| ())).await;
    let viewer = app.key(Role::Viewer).await;
    let request = Request::get(format!("{CAMERAS}/door")).header("X-Auth-Token", viewer).body(Body::empty()).unwrap();
    let seen = app.send(request).await;
    assert!(!seen.body.contains("hidden") && !seen.body.contains("secret"), "{}", seen.body);
    assert!(seen.json()["detect_url"].as_str().unwrap().contains("10.0.0.7/2"), "{}", seen.body);
    let audit = app.get("/bitanswer/api/audit").await;
    assert!(audit.body.contains("detect_url"), "{}", audit.body);
    assert!(!audit.body.contains("hidden"), "{}", audit.body);
}

#[tokio::test]
async fn only_live_addresses_make_a_pair_and_the_wrong_one_is_named() {
    let app = App::new();
    let cases = [
        ("detect_url", json!("file:///video.mp4"), "detect_url"),
        ("detect_url", json!("not an address"), "detect_url"),
        ("detect_url", json!("http://10.0.0.7/video"), "detect_url"),
        ("detect_url", json!(format!("rtsp://h/{}", "x".repeat(1000))), "detect_url"),
        ("url", json!("file:///video.mp4"), "url: a camera with detect_url"),
    ];
    for (field, value, words) in cases {
        let answer = app.call("POST", CAMERAS, camera(|body| body[field] = value)).await;
        refused(&answer, 400, "IVA.0004", words);
    }
}
