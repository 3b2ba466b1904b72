//! The ticket-gate face buffer through the real router: TotalScan's shapes in four formats, the calls around it, who may
//! what, and that what was erased is gone from the disk.

use axum::http::StatusCode;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bson::{Document, doc};
use face_edge::api::keys::{Role, create};
use serde_json::{Value, json};

use crate::support::faces::{Answer, FacesApp, FakeEyes, TOKEN, enrol, enrol_120, lbsbh, picture};

const BUFFER: &str = "/api/Servo/Face/Buffer";
const TOTAL_SCAN: &str = "/api/Servo/Face/Buffer/TotalScan";
const REGISTER: &str = "/api/Servo/Gate/Register";
const XML_PARM: &str = "http://schemas.datacontract.org/2004/07/DigitalScience.DataTransfer.Tour.V5.Parm";

async fn app_with_gates() -> FacesApp {
    let app = FacesApp::new();
    for gatenum in ["0001", "0002"] {
        let answer = app.json("POST", REGISTER, &json!({"gatenum": gatenum, "name": "north"})).await;
        assert_eq!(answer.json(), json!({"errcode": 0, "errmsg": "", "tag": null}));
    }
    app
}

fn add_body(lbsbh: &str, validto: &str) -> Value {
    json!({"lbsbh": lbsbh, "image": STANDARD.encode(picture(1, [200, 0, 0])), "validto": validto})
}

impl FacesApp {
    async fn gate_call(&self, call: &str, body: &Value) -> Value {
        let answer = self.json("POST", &format!("{BUFFER}/{call}"), body).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
        answer.json()
    }

    async fn scan(&self, media_type: &str, body: impl Into<axum::body::Body>) -> Answer {
        self.call("POST", TOTAL_SCAN, &[("content-type", media_type)], body).await
    }

    /// index, kind and lbsbh of each event.
    async fn events(&self, gatenum: &str, after: i64) -> Vec<(i64, String, String)> {
        let (mut all, mut index) = (Vec::new(), after);
        loop {
            let answer = self.gate_call("Sync", &json!({"gatenum": gatenum, "lastsuccessindex": index})).await;
            let tag = &answer["tag"];
            for event in tag["events"].as_array().unwrap() {
                let text = |name: &str| event[name].as_str().unwrap().to_owned();
                all.push((event["index"].as_i64().unwrap(), text("kind"), text("lbsbh")));
            }
            index = tag["lastindex"].as_i64().unwrap();
            if tag["hasmorepage"] != "1" {
                return all;
            }
        }
    }
}

#[tokio::test]
async fn total_scan_is_answered_byte_for_byte_in_every_format() {
    let app = app_with_gates().await;
    let store = app.store.clone();
    tokio::task::spawn_blocking(move || (0..51).for_each(|n| enrol(&store, &lbsbh(n), -1000))).await.unwrap();

    let sent = json!({"gatenum": "0001", "firstlbsbh": ""}).to_string();
    for media_type in ["application/json", "text/json"] {
        let answer = app.scan(media_type, sent.clone()).await;
        let expected = r#"{"errcode":0,"errmsg":"","tag":{"hasmorepage":"1","lastlbsbh":"T00049"}}"#;
        assert_eq!(answer.text(), expected);
        assert_eq!(answer.header("content-type"), format!("{media_type}; charset=utf-8"));
    }

    let sent = format!(
        r#"<BiometricTotalScanParm xmlns:i="http://www.w3.org/2001/XMLSchema-instance" xmlns="{XML_PARM}"><firstlbsbh i:nil="true" /><gatenum>0001</gatenum></BiometricTotalScanParm>"#
    );
    let answer = app.scan("application/xml", sent.clone()).await;
    let expected = concat!(
        r#"<CommonOperationResultWithTagOfGateFaceInfoTotalScanResultldpHZqFJ "#,
        r#"xmlns:i="http://www.w3.org/2001/XMLSchema-instance" "#,
        r#"xmlns="http://schemas.datacontract.org/2004/07/DigitalScience.DataTransfer">"#,
        r#"<errcode>0</errcode><errmsg></errmsg><tag "#,
        r#"xmlns:d2p1="http://schemas.datacontract.org/2004/07/DigitalScience.DataTransfer.Tour.V5.Result">"#,
        r#"<d2p1:hasmorepage>1</d2p1:hasmorepage><d2p1:lastlbsbh>T00049</d2p1:lastlbsbh></tag>"#,
        r#"</CommonOperationResultWithTagOfGateFaceInfoTotalScanResultldpHZqFJ>"#,
    );
    assert_eq!(answer.text(), expected);
    assert_eq!(answer.header("content-type"), "application/xml; charset=utf-8");

    let answer = app.scan("application/x-www-form-urlencoded", "gatenum=0001").await;
    assert_eq!(answer.text(), "errcode=0&errmsg=&tag.hasmorepage=1&tag.lastlbsbh=T00049");

    let answer = app.scan("application/bson", doc! {"gatenum": "0001", "firstlbsbh": "T00049"}.to_vec().unwrap()).await;
    let expected = doc! {"errcode": 0, "errmsg": "", "tag": {"hasmorepage": "0", "lastlbsbh": "T00050"}};
    assert_eq!(Document::from_reader(answer.body.as_slice()).unwrap(), expected);
    assert_eq!(answer.header("content-type"), "application/bson");

    // The second gate's scan ends what the first left: the samples are gone now, and the page is empty.
    for first in ["", "T00049"] {
        app.scan("application/json", json!({"gatenum": "0002", "firstlbsbh": first}).to_string()).await;
    }
    let answer = app.scan("text/xml", sent).await;
    assert!(answer.text().contains("<d2p1:hasmorepage>0</d2p1:hasmorepage><d2p1:lastlbsbh></d2p1:lastlbsbh>"));
}

#[tokio::test]
async fn accept_chooses_the_format_of_every_call() {
    let app = app_with_gates().await;
    let accepted = |media_type: &'static str| [("content-type", "application/json"), ("accept", media_type)];
    let calls = [
        ("Add", add_body("T1", "2099-01-01")),
        ("Sync", json!({"gatenum": "0001"})),
        ("List", json!({"gatenum": "0001"})),
        ("TotalScan", json!({"gatenum": "0001"})),
        ("Remove", json!({"lbsbh": "T1"})),
    ];
    for (call, body) in calls {
        let path = format!("{BUFFER}/{call}");
        let again = async |media_type| app.call("POST", &path, &accepted(media_type), body.to_string()).await;
        let json = again("application/json").await.json();
        if call == "Remove" {
            app.gate_call("Add", &add_body("T1", "2099-01-01")).await;
        }
        let xml = again("text/xml").await;
        assert!(xml.text().starts_with("<CommonOperationResultWithTagOf"), "{call}: {}", xml.text());
        assert!(xml.text().contains("<errcode>0</errcode>"), "{call}: {}", xml.text());
        if call == "Remove" {
            app.gate_call("Add", &add_body("T1", "2099-01-01")).await;
        }
        let form = again("application/x-www-form-urlencoded").await;
        assert!(form.text().starts_with("errcode=0&errmsg="), "{call}: {}", form.text());
        if call == "Remove" {
            app.gate_call("Add", &add_body("T1", "2099-01-01")).await;
        }
        let bson = Document::from_reader(again("application/bson").await.body.as_slice()).unwrap();
        let (mut bson, mut json) = (serde_json::to_value(bson).unwrap(), json);
        if call == "Sync" {
            // The event's index has grown between the two.
            bson["tag"]["lastindex"].take();
            json["tag"]["lastindex"].take();
        }
        assert_eq!(bson, json, "{call}");
    }
}

#[tokio::test]
async fn a_ticket_holder_comes_to_the_gates_and_goes() {
    let app = app_with_gates().await;
    let all = app.gate_call("Add", &add_body("T1", "2099-01-01 10:00:00")).await;
    assert_eq!(all, json!({"errcode": 0, "errmsg": "", "tag": {"lbsbh": "T1"}}));
    let mut one = add_body("T2", "2099-01-01");
    one["gates"] = json!(["0002"]);
    app.gate_call("Add", &one).await;

    let sync = app.gate_call("Sync", &json!({"gatenum": "0001", "lastsuccessindex": 0})).await;
    let event = &sync["tag"]["events"][0];
    assert_eq!(event["image"], STANDARD.encode(picture(1, [200, 0, 0])), "the picture as it was sent");
    assert_eq!((&event["kind"], &event["index"]), (&json!("add"), &json!(1)));
    assert_eq!(event["validto"], "2099-01-01 10:00:00");
    assert_eq!((&sync["tag"]["hasmorepage"], &sync["tag"]["lastindex"]), (&json!("0"), &json!(1)));
    assert_eq!(app.events("0002", 0).await.len(), 2);
    assert_eq!(app.events("0001", 1).await, [], "acknowledged");

    let list = app.gate_call("List", &json!({"gatenum": "0002"})).await;
    let names: Vec<_> = list["tag"]["samples"].as_array().unwrap().iter().map(|s| &s["lbsbh"]).collect();
    assert_eq!((names, &list["tag"]["lastlbsbh"]), (vec![&json!("T1"), &json!("T2")], &json!("T2")));

    app.gate_call("Remove", &json!({"lbsbh": "T1"})).await;
    assert_eq!(app.events("0001", 1).await, [(2, "delete".to_owned(), "T1".to_owned())]);
    let again = app.gate_call("Remove", &json!({"lbsbh": "T1"})).await;
    assert_eq!((&again["errcode"], &again["tag"]), (&json!(1), &Value::Null));
    assert_eq!(app.events("0001", 0).await.len(), 1, "no second delete event");

    // Renewed after its delete event: added again.
    app.gate_call("Add", &add_body("T1", "2099-01-01")).await;
    assert_eq!(app.events("0001", 2).await, [(3, "add".to_owned(), "T1".to_owned())]);
    // For another gate only: taken from the first.
    let mut other = add_body("T1", "2099-01-01");
    other["gates"] = json!(["0002"]);
    app.gate_call("Add", &other).await;
    assert_eq!(app.events("0001", 3).await, [(4, "delete".to_owned(), "T1".to_owned())]);
}

#[tokio::test]
async fn a_new_gate_is_given_the_samples_of_all_gates() {
    let app = app_with_gates().await;
    app.gate_call("Add", &add_body("T1", "2099-01-01")).await;
    let mut one = add_body("T2", "2099-01-01");
    one["gates"] = json!(["0002"]);
    app.gate_call("Add", &one).await;
    app.json("POST", REGISTER, &json!({"gatenum": "0003", "name": "new"})).await;
    assert_eq!(app.events("0003", 0).await, [(1, "add".to_owned(), "T1".to_owned())]);
    app.json("POST", REGISTER, &json!({"gatenum": "0003", "name": "renamed"})).await;
    assert_eq!(app.events("0003", 1).await, []);
}

#[tokio::test]
async fn expired_samples_become_one_delete_event_a_gate() {
    let app = FacesApp::new();
    let store = app.store.clone();
    tokio::task::spawn_blocking(move || enrol_120(&store)).await.unwrap();
    for round in 0..2 {
        let mut deletes = 0;
        for gatenum in ["0001", "0002"] {
            let (mut first, mut pages) = (String::new(), 0);
            loop {
                let answer = app.gate_call("TotalScan", &json!({"gatenum": gatenum, "firstlbsbh": first})).await;
                pages += 1;
                first = answer["tag"]["lastlbsbh"].as_str().unwrap().to_owned();
                if answer["tag"]["hasmorepage"] != "1" {
                    break;
                }
            }
            // The second gate's first scan takes the samples away behind itself; what is left fits one page.
            assert_eq!(pages, if round == 0 { 3 } else { 1 }, "round {round}, gate {gatenum}");
            let events = app.events(gatenum, 0).await;
            deletes += events.iter().filter(|(_, kind, _)| kind == "delete").count();
            assert_eq!(events.iter().filter(|(_, kind, _)| kind == "add").count(), 50);
            assert_eq!(events.last().unwrap().0, 190, "120 adds and 70 deletes, each once");
        }
        assert_eq!(deletes, 140, "round {round}");
    }
    let log = app.store.erasure_log().await.unwrap();
    assert_eq!((log.rows, log.broken_at), (70, None));
}

#[tokio::test]
async fn wrong_fields_are_named_in_the_format_that_was_asked_for() {
    let app = app_with_gates().await;
    let json_of = |answer: Answer| (answer.status, answer.json());
    let (status, body) = json_of(app.scan("application/json", r#"{"gatenum":"1"}"#).await);
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert_eq!(body["Message"], "The request is invalid.");
    assert_eq!(body["ModelState"]["parm.gatenum"].as_array().unwrap().len(), 1);
    let long = json!({"gatenum": "", "firstlbsbh": "x".repeat(33)});
    let (_, body) = json_of(app.scan("application/json", long.to_string()).await);
    assert_eq!(body["ModelState"]["parm.gatenum"], json!(["The gatenum field is required."]));
    assert!(body["ModelState"]["parm.firstlbsbh"][0].as_str().unwrap().contains("32"));
    let xml = app.scan("text/xml", format!("<BiometricTotalScanParm xmlns=\"{XML_PARM}\"/>")).await;
    assert_eq!(xml.status, StatusCode::BAD_REQUEST);
    assert_eq!(
        xml.text(),
        "<Error><Message>The request is invalid.</Message><ModelState><parm.gatenum>The gatenum field is required.</parm.gatenum></ModelState></Error>"
    );
    let (status, body) = json_of(app.scan("application/json", "{").await);
    assert!(status == StatusCode::BAD_REQUEST && body["ModelState"]["parm"].is_array(), "{body}");
    assert_eq!(app.scan("text/plain", "gatenum=0001").await.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    let unknown = app.gate_call("TotalScan", &json!({"gatenum": "9999"})).await;
    assert_eq!((&unknown["errcode"], &unknown["tag"]), (&json!(1), &Value::Null));
    assert!(unknown["errmsg"].as_str().unwrap().contains("9999"));

    for (field, value) in [
        ("lbsbh", json!("")),
        ("lbsbh", json!("x".repeat(33))),
        ("image", json!("not base64!")),
        ("image", json!("A".repeat(2_097_153))),
        ("validto", json!("soon")),
        ("validto", Value::Null),
        ("validfrom", json!("2100-01-01")),
        ("gates", json!(["1"])),
    ] {
        let mut body = add_body("T1", "2099-01-01");
        body[field] = value.clone();
        let answer = app.json("POST", &format!("{BUFFER}/Add"), &body).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{field} {value}");
    }
    for (faces, what) in [(0, "0 were found"), (2, "2 were found")] {
        let mut body = add_body("T1", "2099-01-01");
        body["image"] = json!(STANDARD.encode(picture(faces, [0, 0, 9])));
        let answer = app.gate_call("Add", &body).await;
        assert!(answer["errcode"] == 1 && answer["errmsg"].as_str().unwrap().contains(what), "{answer}");
    }
    let mut body = add_body("T1", "2099-01-01");
    body["image"] = json!(STANDARD.encode(b"GIF89a, but not a picture"));
    assert_eq!(app.gate_call("Add", &body).await["errcode"], 1);
    body = add_body("T1", "2099-01-01");
    body["gates"] = json!(["0001", "9999"]);
    assert_eq!(app.gate_call("Add", &body).await["errcode"], 1);
    assert_eq!(app.events("0001", 0).await, [], "nothing of all that was enrolled");
}

#[tokio::test]
async fn a_gates_key_is_good_for_its_own_gate() {
    let app = app_with_gates().await;
    let store = app.store.clone();
    let make = move |name: &'static str, role| create(&store, name, role).unwrap().key;
    let (gate, viewer) =
        tokio::task::spawn_blocking(move || (make("0001", Role::Gate), make("v", Role::Viewer))).await.unwrap();
    for (key, call, body, status) in [
        (&gate, "TotalScan", json!({"gatenum": "0001"}), 200),
        (&gate, "Sync", json!({"gatenum": "0001"}), 200),
        (&gate, "List", json!({"gatenum": "0001"}), 200),
        (&gate, "Sync", json!({"gatenum": "0002"}), 403),
        (&gate, "Add", add_body("T1", "2099-01-01"), 403),
        (&gate, "Remove", json!({"lbsbh": "T1"}), 403),
        (&viewer, "List", json!({"gatenum": "0001"}), 200),
        (&viewer, "Sync", json!({"gatenum": "0001"}), 403),
        (&"wrong".to_owned(), "List", json!({"gatenum": "0001"}), 401),
    ] {
        let request = axum::http::Request::post(format!("{BUFFER}/{call}"))
            .header("bitkey", key)
            .header("content-type", "application/json")
            .body(body.to_string().into());
        let answer = app.send(request.unwrap()).await;
        assert_eq!(answer.status.as_u16(), status, "{call} {}", answer.text());
        assert!(status == 200 || answer.json()["Message"].is_string());
    }
    assert_ne!(TOKEN, gate);
}

#[tokio::test]
async fn without_a_detector_nobody_is_enrolled() {
    let app = FacesApp::with(FakeEyes(None));
    let mut body = add_body("T1", "2099-01-01");
    body["gates"] = json!([]);
    assert_eq!(app.gate_call("Add", &body).await["errcode"], 0, "eyes without recognition are enough for gates");
}
