//! The person directory through the real router: groups, persons, faces, operations; order and windows as properties.

use axum::http::StatusCode;
use face_edge::domain::UnixMs;
use face_edge::gallery::Circle;
use face_edge::store::{DirectoryChange, Store, Window};
use image::ImageFormat;
use proptest::prelude::*;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::faces::{Answer, FacesApp, encoded, picture};

const BASE: &str = "/face/v1.1-preview.1";
const ANN: [u8; 3] = [250, 10, 10];

impl FacesApp {
    async fn face(&self, method: &str, path: &str, body: &Value) -> Answer {
        self.json(method, &format!("{BASE}/{path}"), body).await
    }

    async fn get(&self, path: &str) -> Value {
        let answer = self.face("GET", path, &Value::Null).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}: {}", answer.text());
        answer.json()
    }

    async fn fails(&self, method: &str, path: &str, body: &Value, status: u16, code: &str) {
        let answer = self.face(method, path, body).await;
        check_error(&answer, status, code);
    }

    async fn person_made(&self, name: &str) -> String {
        let answer = self.face("POST", "persons", &json!({"name": name})).await;
        assert_eq!(answer.status, StatusCode::ACCEPTED, "{}", answer.text());
        let id = answer.json()["personId"].as_str().unwrap().to_owned();
        assert_eq!(answer.header("location"), format!("http://box{BASE}/persons/{id}"));
        self.succeeded(&answer).await;
        id
    }

    /// The operation that an answer names has succeeded.
    async fn succeeded(&self, answer: &Answer) {
        let place = answer.header("operation-location").strip_prefix(&format!("http://box{BASE}/")).unwrap().to_owned();
        let operation = self.get(&place).await;
        assert_eq!((&operation["status"], operation["createdTime"].is_string()), (&json!("succeeded"), true));
        assert!(place.ends_with(operation["operationId"].as_str().unwrap()));
    }

    async fn add_face(&self, person: &str, query: &str, bytes: Vec<u8>) -> Answer {
        let path = format!("{BASE}/persons/{person}/recognitionModels/recognition_04/persistedfaces{query}");
        self.call("POST", &path, &[("content-type", "application/octet-stream"), ("host", "box")], bytes).await
    }
}

fn check_error(answer: &Answer, status: u16, code: &str) {
    assert_eq!(answer.status.as_u16(), status, "{}", answer.text());
    assert_eq!(answer.json()["error"]["code"], code, "{}", answer.text());
    assert_eq!(answer.header("x-ms-error-code"), code);
    assert!(!answer.json()["error"]["message"].as_str().unwrap().is_empty());
}

#[tokio::test]
async fn the_documented_listing() {
    let app = FacesApp::new();
    for number in [3, 1, 5, 2, 4] {
        let id = format!("item{number}");
        // Ids of the documentation are of persons and groups alike; groups take them.
        let answer = app.face("PUT", &format!("dynamicpersongroups/{}", id.to_lowercase()), &json!({"name": id})).await;
        assert_eq!((answer.status, answer.body.len()), (StatusCode::OK, 0));
    }
    let ids = async |query: &str| -> Vec<String> {
        let page = app.get(&format!("dynamicpersongroups?{query}")).await;
        page.as_array()
            .unwrap()
            .iter()
            .map(|group| group["dynamicPersonGroupId"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(ids("start=&top=").await, ["item1", "item2", "item3", "item4", "item5"]);
    assert_eq!(ids("start=&top=2").await, ["item1", "item2"]);
    assert_eq!(ids("start=item2&top=3").await, ["item3", "item4", "item5"]);
    for (query, status) in [("top=0", 400), ("top=1001", 400), ("top=x", 400)] {
        app.fails("GET", &format!("dynamicpersongroups?{query}"), &Value::Null, status, "BadArgument").await;
    }
    let long = format!("dynamicpersongroups?start={}", "x".repeat(65));
    app.fails("GET", &long, &Value::Null, 400, "BadArgument").await;
}

#[tokio::test]
async fn groups_refer_to_persons() {
    let app = FacesApp::new();
    let (ann, bob) = (app.person_made("ann").await, app.person_made("bob").await);
    let made = app
        .face("PUT", "dynamicpersongroups/staff", &json!({"name": "Staff", "userData": "u", "addPersonIds": [ann]}))
        .await;
    assert_eq!((made.status, made.body.len()), (StatusCode::ACCEPTED, 0));
    app.succeeded(&made).await;
    let shown = json!({"dynamicPersonGroupId": "staff", "name": "Staff", "userData": "u"});
    assert_eq!(app.get("dynamicpersongroups/staff").await, shown);
    app.fails("PUT", "dynamicpersongroups/staff", &json!({"name": "again"}), 409, "DynamicPersonGroupExists").await;

    let changed = app.face("PATCH", "dynamicpersongroups/staff", &json!({"name": "New"})).await;
    assert_eq!((changed.status, changed.body.len()), (StatusCode::OK, 0));
    assert_eq!(app.get("dynamicpersongroups/staff").await["userData"], "u", "what is left out stays");
    let moved = json!({"addPersonIds": [bob], "removePersonIds": [ann]});
    app.succeeded(&app.face("PATCH", "dynamicpersongroups/staff", &moved).await).await;
    assert_eq!(app.get("dynamicpersongroups/staff/persons").await, json!({"personIds": [bob]}));
    assert_eq!(
        app.get(&format!("persons/{bob}/dynamicPersonGroupReferences")).await,
        json!({"dynamicPersonGroupIds": ["staff"]})
    );

    let unknown = json!({"addPersonIds": [Uuid::nil()], "name": "not taken over"});
    app.fails("PATCH", "dynamicpersongroups/staff", &unknown, 404, "PersonNotFound").await;
    assert_eq!(app.get("dynamicpersongroups/staff").await["name"], "New", "all or nothing");
    app.succeeded(&app.face("DELETE", "dynamicpersongroups/staff", &Value::Null).await).await;
    app.fails("GET", "dynamicpersongroups/staff", &Value::Null, 404, "DynamicPersonGroupNotFound").await;
    assert_eq!(app.get(&format!("persons/{bob}")).await, json!({"personId": bob, "name": "bob"}), "the persons stay");
    app.fails("GET", "dynamicpersongroups/UPPER", &Value::Null, 400, "DynamicPersonGroupNotFound").await;
    app.fails(
        "PUT",
        &format!("dynamicpersongroups/{}", "x".repeat(65)),
        &json!({"name": "n"}),
        400,
        "DynamicPersonGroupNotFound",
    )
    .await;
}

#[tokio::test]
async fn arguments_are_checked() {
    let app = FacesApp::new();
    let ann = app.person_made("ann").await;
    let (person, group) = (format!("persons/{ann}"), "dynamicpersongroups/g".to_owned());
    for (method, path, body) in [
        ("POST", &"persons".to_owned(), json!({})),
        ("POST", &"persons".to_owned(), json!({"name": ""})),
        ("POST", &"persons".to_owned(), json!({"name": "x".repeat(129)})),
        ("POST", &"persons".to_owned(), json!({"name": 5})),
        ("POST", &"persons".to_owned(), json!({"name": "n", "userData": "x".repeat(16_385)})),
        ("POST", &"persons".to_owned(), json!([])),
        ("PATCH", &person, json!({})),
        ("PATCH", &person, json!({"name": null})),
        ("PUT", &group, json!({"name": "n", "addPersonIds": []})),
        ("PUT", &group, json!({"name": "n", "addPersonIds": ["x"]})),
        ("PATCH", &group, json!({})),
    ] {
        app.fails(method, path, &body, 400, "BadArgument").await;
    }
    app.fails("GET", &format!("persons/{}", Uuid::nil()), &Value::Null, 404, "PersonNotFound").await;
    app.fails("DELETE", "persons/nonsense", &Value::Null, 404, "PersonNotFound").await;
    app.fails("GET", &format!("{person}/recognitionModels/other/persistedfaces"), &Value::Null, 400, "BadArgument")
        .await;
    let other_version = app.json("GET", "/face/v1.0/persons", &Value::Null).await;
    assert_eq!(other_version.status, StatusCode::NOT_FOUND);
    let two = app.json("GET", "/face/v1.2-preview.1/persons", &Value::Null).await;
    assert_eq!(two.json(), json!([{"personId": ann, "name": "ann"}]));
    let nobody = axum::http::Request::get(format!("{BASE}/persons")).body(axum::body::Body::empty()).unwrap();
    check_error(&app.send(nobody).await, 401, "401");
}

#[tokio::test]
async fn faces_are_found_in_the_pictures_that_are_sent() {
    let app = FacesApp::new();
    let ann = app.person_made("ann").await;
    let answer = app.add_face(&ann, "?userData=first", picture(1, ANN)).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED, "{}", answer.text());
    app.succeeded(&answer).await;
    let id = answer.json()["persistedFaceId"].as_str().unwrap().to_owned();
    let faces = format!("persons/{ann}/recognitionModels/recognition_04/persistedfaces");
    assert_eq!(answer.header("location"), format!("http://box{BASE}/{faces}/{id}"));
    assert_eq!(app.get(&faces).await, json!({"personId": ann, "persistedFaceIds": [id]}));
    assert_eq!(app.get(&faces.replace("recognition_04", "recognition_03")).await["persistedFaceIds"], json!([]));
    let face = format!("{faces}/{id}");
    assert_eq!(app.get(&face).await, json!({"persistedFaceId": id, "userData": "first"}));
    assert_eq!(app.face("PATCH", &face, &json!({"userData": "second"})).await.status, StatusCode::OK);
    assert_eq!(app.get(&face).await["userData"], "second");
    assert_eq!(app.gallery.len(Circle::Persons), 1);

    for kind in [ImageFormat::Png, ImageFormat::Gif, ImageFormat::Bmp] {
        assert_eq!(app.add_face(&ann, "", encoded(kind, 110, ANN)).await.status, StatusCode::ACCEPTED, "{kind:?}");
    }
    let from_url = json!({"url": "http://somewhere/one.jpg"});
    assert_eq!(app.face("POST", &faces, &from_url).await.status, StatusCode::ACCEPTED);
    for (bytes, code) in [
        (picture(0, ANN), "InvalidImage"),
        (picture(2, ANN), "InvalidImage"),
        (vec![1; 5000], "InvalidImage"),
        (encoded(ImageFormat::WebP, 110, ANN), "InvalidImage"),
        (vec![1; 1000], "InvalidImageSize"),
        (encoded(ImageFormat::Png, 4100, ANN), "InvalidImageSize"),
    ] {
        check_error(&app.add_face(&ann, "", bytes).await, 400, code);
    }
    assert_eq!(app.add_face(&ann, "?targetFace=16,10,5,5", picture(2, ANN)).await.status, StatusCode::ACCEPTED);
    check_error(&app.add_face(&ann, "?targetFace=100,10,5,5", picture(2, ANN)).await, 400, "InvalidImage");
    check_error(&app.add_face(&ann, "?targetFace=1,2,3", picture(1, ANN)).await, 400, "BadArgument");
    check_error(&app.add_face(&ann, "?detectionModel=x", picture(1, ANN)).await, 400, "BadArgument");
    app.fails("POST", &faces, &json!({"url": "http://somewhere/else.jpg"}), 400, "InvalidURL").await;
    app.fails("POST", &faces, &json!({}), 400, "InvalidURL").await;

    let gone = app.face("DELETE", &face, &Value::Null).await;
    app.succeeded(&gone).await;
    app.fails("GET", &face, &Value::Null, 404, "PersistedFaceNotFound").await;
    let left = app.gallery.len(Circle::Persons);
    assert_eq!(left, 5);
    app.succeeded(&app.face("DELETE", &format!("persons/{ann}"), &Value::Null).await).await;
    assert_eq!(app.gallery.len(Circle::Persons), 0);
    assert_eq!(app.store.erasure_log().await.unwrap().rows, 6, "every face of the person is erased");
}

#[tokio::test]
async fn a_person_has_at_most_248_faces() {
    let app = FacesApp::new();
    let ann = app.person_made("ann").await;
    let bytes = picture(1, ANN);
    for number in 0..248 {
        assert_eq!(app.add_face(&ann, "", bytes.clone()).await.status, StatusCode::ACCEPTED, "face {number}");
    }
    check_error(&app.add_face(&ann, "", bytes).await, 403, "QuotaExceeded");
}

#[test]
fn an_operation_is_kept_for_two_days() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let (id, now) = (Uuid::new_v4(), UnixMs(1_000_000));
    let change = DirectoryChange::CreatePerson { id: Uuid::new_v4(), name: "n".into(), user_data: None };
    store.change_directory(change, Some(id), now).wait().unwrap().unwrap();
    let hours = |hours: i64| UnixMs(now.0 + hours * 3_600_000);
    assert_eq!(store.operation(id, hours(48)).wait().unwrap(), Some(now));
    assert_eq!(store.operation(id, UnixMs(hours(48).0 + 1)).wait().unwrap(), None);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Whatever the ids and the size of the pages: going through them by the last id shows each once, in ordinal order.
    #[test]
    fn pages_show_everything_once_in_order(
        ids in proptest::collection::btree_set("[a-z0-9_-]{1,8}", 0..40), top in 1u32..12, start in "[a-z0-9_-]{0,3}",
    ) {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let calls: Vec<_> = ids.iter().rev().map(|id| {
            let change = DirectoryChange::CreateGroup { id: id.clone(), name: "n".into(), user_data: None, add: vec![] };
            store.change_directory(change, None, UnixMs(0))
        }).collect();
        for call in calls {
            call.wait().unwrap().unwrap();
        }
        let (mut seen, mut from) = (Vec::new(), start.clone());
        loop {
            let page = store.person_groups(Window { start: from.clone(), top }).wait().unwrap();
            prop_assert!(page.len() <= top as usize);
            let Some(last) = page.last() else { break };
            from = last.id.clone();
            seen.extend(page.into_iter().map(|row| row.id));
        }
        let expected: Vec<String> = ids.iter().filter(|id| **id > start).cloned().collect();
        prop_assert_eq!(seen, expected);
    }
}
