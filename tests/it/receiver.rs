//! The simulated receiver finds what is wrong with a message.

use face_edge::deliver::{Webhook, WebhookSettings, payload};
use face_edge::sim::receiver::{Options, Receiver};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::deliver::loopback;
use crate::messages::{face, origin};

async fn start() -> (Receiver, reqwest::Client) {
    // Puts the TLS provider in place that every client needs.
    Webhook::new(vec![], loopback(), [0; 32], WebhookSettings::default()).unwrap();
    let receiver = Receiver::start("127.0.0.1:0".parse().unwrap(), Options::default()).await.unwrap();
    (receiver, reqwest::Client::builder().no_proxy().build().unwrap())
}

async fn post(client: &reqwest::Client, receiver: &Receiver, body: String) {
    let response = client.post(receiver.url()).body(body).send().await.unwrap();
    assert_eq!(response.status(), 204);
}

fn changed(change: impl FnOnce(&mut Value)) -> String {
    let mut message: Value = serde_json::from_str(&payload::inline(&face(Uuid::from_u128(1), 1), None)).unwrap();
    change(&mut message);
    message.to_string()
}

#[tokio::test]
async fn each_defect_is_named() {
    let (receiver, client) = start().await;
    let set = |pointer: &'static str, value: Value| changed(move |m| *m.pointer_mut(pointer).unwrap() = value);
    let cases = [
        ("not JSON", "{".to_owned()),
        ("not a JSON object", "[]".to_owned()),
        ("event_type", set("/event_type", json!(1))),
        ("task_id", set("/task_id", json!("ABC"))),
        ("timestamp is not an integer", set("/timestamp", json!(1.5))),
        ("timestamp is not timestamp_ms", set("/timestamp", json!(17))),
        ("message_id is not an upper-case UUID", set("/message_id", json!(Uuid::from_u128(0xab).to_string()))),
        ("not standard base64", set("/image_base64", json!("data:,"))),
        ("not a JPEG", set("/image_base64", json!("aGVsbG8="))),
        ("the picture's width", set("/data/bounding_box/w", json!(20))),
        ("the picture's height", set("/data/bounding_box/h", json!(90))),
        ("x is not an integer", set("/data/bounding_box/x", json!(-1))),
        ("face_id is not a lower-case UUID", set("/data/face_id", json!("7"))),
        ("quality is not a number", set("/data/quality", json!(1.5))),
        ("landmarks", set("/data/landmarks", json!([[1, 2]]))),
        ("reason", set("/data/reason", json!("because"))),
        ("timestamp_source \"moon\"", set("/data/timestamp_source", json!("moon"))),
        ("clock_skew_ms is no integer", set("/data/timestamp_source", json!("camera"))),
        ("seq", set("/data/seq", json!(0))),
        ("node_id is empty", set("/data/node_id", json!(""))),
        ("has the keys", changed(|m| m["data"]["extra"] = json!(1))),
        ("has the keys", changed(|m| drop(m.as_object_mut().unwrap().shift_remove("stream_id")))),
    ];
    for (problem, body) in cases {
        post(&client, &receiver, body).await;
        let problems = receiver.received().pop().unwrap().problems;
        assert!(problems.iter().any(|p| p.contains(problem)), "expected {problem:?}, found {problems:?}");
    }
    assert!(!receiver.summary().is_good());
}

#[tokio::test]
async fn a_good_message_has_no_defect() {
    let (receiver, client) = start().await;
    for message in [face(Uuid::from_u128(1), 1), origin()] {
        post(&client, &receiver, payload::inline(&message, None)).await;
        assert_eq!(receiver.received().pop().unwrap().problems, [""; 0]);
    }
    assert!(receiver.summary().is_good());
}

#[tokio::test]
async fn duplicates_and_broken_order_are_told_apart() {
    let (receiver, client) = start().await;
    let track = Uuid::from_u128(1);
    let [one, two, three] = [1, 2, 3].map(|seq| payload::inline(&face(track, seq), None));
    for body in [&one, &three, &three, &two] {
        post(&client, &receiver, body.clone()).await;
    }
    let seen: Vec<_> = receiver.received().iter().map(|r| (r.seq.unwrap(), r.duplicate, r.out_of_order)).collect();
    assert_eq!(seen, [(1, false, false), (3, false, false), (3, true, false), (2, false, true)]);
    let summary = receiver.summary();
    assert_eq!((summary.faces, summary.tracks, summary.duplicates, summary.out_of_order), (3, 1, 1, 1));
    assert!(!summary.is_good());
}

#[tokio::test]
async fn the_page_shows_what_came_and_nothing_of_it_is_markup() {
    let (receiver, client) = start().await;
    post(&client, &receiver, changed(|m| m["data"]["reason"] = json!("<script>"))).await;
    let page = client.get(format!("http://{}/", receiver.address())).send().await.unwrap().text().await.unwrap();
    assert!(page.contains("1 faces of 1 tracks") && page.contains("&lt;script&gt;"), "{page}");
    assert!(!page.contains("<script>"));
    let id = &receiver.received()[0].message_id;
    let picture = client.get(format!("http://{}/pictures/{id}", receiver.address())).send().await.unwrap();
    assert_eq!(picture.headers()["content-type"], "image/jpeg");
    assert!(picture.bytes().await.unwrap().starts_with(&[0xff, 0xd8]));
}
