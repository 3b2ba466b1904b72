//! Photo-to-person links through the real router: multipart in, the field's texts out.

use axum::body::Body;
use axum::http::{Request, StatusCode};
use face_edge::gallery::Circle;
use serde_json::{Value, json};

use crate::support::faces::{Answer, FacesApp, FakeEyes, TOKEN, picture};

const ANN: [u8; 3] = [250, 10, 10];
const BOB: [u8; 3] = [10, 250, 10];
const CY: [u8; 3] = [10, 10, 250];

fn multipart(parts: &[(&str, &[u8])]) -> Vec<u8> {
    let mut body = Vec::new();
    for (name, bytes) in parts {
        body.extend_from_slice(
            format!("--XX\r\nContent-Disposition: form-data; name=\"{name}\"; filename=\"f\"\r\n\r\n").as_bytes(),
        );
        body.extend_from_slice(bytes);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(b"--XX--\r\n");
    body
}

impl FacesApp {
    async fn persons(&self, method: &str, parts: &[(&str, &[u8])]) -> Answer {
        self.persons_as(method, &format!("oauth_provider=mcs&oauth_token={TOKEN}"), parts).await
    }

    async fn persons_as(&self, method: &str, query: &str, parts: &[(&str, &[u8])]) -> Answer {
        let request = Request::post(format!("/api/v1/persons/{method}?{query}"))
            .header("content-type", "multipart/form-data; boundary=XX")
            .body(Body::from(multipart(parts)));
        self.send(request.unwrap()).await
    }

    /// Of a request that was carried out, its `body`.
    async fn done(&self, method: &str, meta: Value, pictures: &[(&str, &[u8])]) -> Value {
        let meta = meta.to_string();
        let mut parts = vec![("meta", meta.as_bytes())];
        parts.extend_from_slice(pictures);
        let answer = self.persons(method, &parts).await;
        let mut envelope = answer.json();
        assert_eq!((answer.status, &envelope["status"]), (StatusCode::OK, &json!(200)), "{}", answer.text());
        assert_eq!((&envelope["htmlencoded"], &envelope["last_modified"]), (&json!(false), &json!(0)));
        envelope["body"].take()
    }

    async fn refused(&self, method: &str, parts: &[(&str, &[u8])], status: u16, message: &str) {
        let answer = self.persons(method, parts).await;
        assert_eq!((answer.status.as_u16(), &answer.json()["status"]), (status, &json!(status)), "{}", answer.text());
        assert!(answer.json()["body"].as_str().unwrap().contains(message), "{}", answer.text());
    }
}

fn two() -> Value {
    json!({"space": "1", "images": [{"name": "file_0", "person_id": 7}, {"name": "file_1", "person_id": 8}]})
}

#[tokio::test]
async fn photos_are_linked_and_unlinked() {
    let app = FacesApp::new();
    let (ann, bob) = (picture(1, ANN), picture(1, BOB));
    let both = [("file_0", ann.as_slice()), ("file_1", bob.as_slice())];
    let done = json!({"objects": [{"status": 0, "name": "file_0"}, {"status": 0, "name": "file_1"}]});
    assert_eq!(app.done("set", two(), &both).await, done);
    assert_eq!(app.gallery.len(Circle::Space(1)), 2);
    // Of another space: other persons.
    assert_eq!(
        app.done("set", json!({"space": "2", "images": [{"name": "x", "person_id": 7}]}), &[("x", &ann)]).await["objects"]
            [0]["status"],
        0
    );

    // The documented delete: two files, which need not be sent.
    assert_eq!(app.done("delete", two(), &both).await, done);
    let gone = json!({"objects": [
        {"status": 1, "name": "file_0", "error": "no such person"},
        {"status": 1, "name": "file_1", "error": "no such person"}]});
    assert_eq!(app.done("delete", two(), &[]).await, gone, "twice is safe");
    assert_eq!((app.gallery.len(Circle::Space(1)), app.gallery.len(Circle::Space(2))), (0, 1));
    assert_eq!(app.store.erasure_log().await.unwrap().rows, 2);

    assert_eq!(app.done("truncate", json!({"space": "2"}), &[]).await, json!({}));
    assert_eq!(app.gallery.len(Circle::Space(2)), 0);
    assert_eq!(app.store.erasure_log().await.unwrap().rows, 3);
}

#[tokio::test]
async fn a_number_stays_until_its_last_photo_goes() {
    let app = FacesApp::new();
    let meta = |name: &str| json!({"space": "0", "images": [{"name": name, "person_id": 5}]});
    for name in ["a", "b", "c"] {
        app.done("set", meta(name), &[(name, &picture(1, ANN))]).await;
    }
    let status = async |name: &str| app.done("delete", meta(name), &[]).await["objects"][0]["status"].as_u64().unwrap();
    assert_eq!((status("a").await, status("a").await), (0, 1), "again: nothing happens");
    assert!(app.store.has_photos(0, 5).await.unwrap());
    assert_eq!(app.gallery.len(Circle::Space(0)), 2);
    // A name that no photo of the number ever had only comes back: the number is forgotten.
    assert_eq!(status("anything").await, 0);
    assert!(!app.store.has_photos(0, 5).await.unwrap());
    assert_eq!((status("b").await, app.gallery.len(Circle::Space(0))), (1, 0));
}

#[tokio::test]
async fn what_is_wrong_with_a_picture_is_told_of_that_picture() {
    let app = FacesApp::new();
    let names = ["none", "two", "text", "good"];
    let images: Vec<_> = names.iter().map(|name| json!({"name": name, "person_id": 1})).collect();
    let (none, two, good) = (picture(0, ANN), picture(2, ANN), picture(1, ANN));
    let pictures = [("good", good.as_slice()), ("none", &none), ("two", &two), ("text", b"hello")];
    let answer = app.done("set", json!({"space": "0", "images": images}), &pictures).await;
    let only = "face set required only one face per image";
    assert_eq!(
        answer["objects"],
        json!([
        {"status": 1, "name": "none", "error": only},
        {"status": 1, "name": "two", "error": only},
        {"status": 1, "name": "text", "error": "The memory contains data of an unknown image type"},
        {"status": 0, "name": "good"}])
    );
    assert_eq!(app.gallery.len(Circle::Space(0)), 1);
}

#[tokio::test]
async fn what_is_wrong_with_a_request_is_told_in_the_fields_words() {
    let app = FacesApp::new();
    let (meta, ann) = (two().to_string(), picture(1, ANN));
    let refused =
        async |method: &str, parts: &[(&str, &[u8])], message: &str| app.refused(method, parts, 400, message).await;
    refused(
        "set",
        &[("meta", meta.as_bytes()), ("file_0", &ann)],
        "could not get image by name file_1: http: no such file",
    )
    .await;
    refused("set", &[("meta", meta.as_bytes()), ("file_0", b"")], "empty image").await;
    let no_person = br#"{"space":"0","images":[{"name":"a"}]}"#.as_slice();
    refused("delete", &[("meta", no_person)], "no person_id has been provided").await;
    refused(
        "delete",
        &[("meta", b"{\"images\":[]}")],
        "wrong space param : strconv.Atoi: parsing \"\": invalid syntax",
    )
    .await;
    refused("delete", &[("meta", b"{\"space\":\"0\" \"images\":[]}")], "line 1 column 14").await;
    refused("truncate", &[("other", b"x")], "meta: this part is missing").await;
    refused("set", &[("meta", meta.as_bytes()), ("file_0", &vec![0; (4 << 20) + 1])], "larger than 4 MB").await;
    assert_eq!(app.store.erasure_log().await.unwrap().rows, 0);
    assert!(app.gallery.is_empty(Circle::Space(1)), "nothing of all that was stored");

    let answer = app.persons_as("set", "oauth_provider=mcs&oauth_token=wrong-one", &[]).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    let text =
        "authorization failed, provider: mcs, token: ***(...), reason: CONDITION/UNAUTHORIZED, Access Token invalid";
    assert_eq!(answer.json()["body"], text);
    assert_eq!(app.persons_as("set", "oauth_provider=mr", &[]).await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(
        app.persons_as("set", &format!("oauth_provider=x&oauth_token={TOKEN}"), &[]).await.status,
        StatusCode::BAD_REQUEST
    );
    let plain =
        app.call("POST", &format!("/api/v1/persons/set?oauth_provider=mr&oauth_token={TOKEN}"), &[], "{}").await;
    assert_eq!(plain.status, StatusCode::BAD_REQUEST, "no multipart");
}

#[tokio::test]
async fn parts_may_come_in_any_order_and_broken_bodies_are_refused() {
    let app = FacesApp::new();
    let (meta, ann) = (json!({"space": "0", "images": [{"name": "a", "person_id": 1}]}).to_string(), picture(1, ANN));
    let answer = app.persons("set", &[("a", &ann), ("meta", meta.as_bytes()), ("unasked", &ann)]).await;
    assert_eq!(answer.json()["body"]["objects"][0]["status"], 0);
    let whole = multipart(&[("meta", meta.as_bytes()), ("a", &ann)]);
    let path = format!("/api/v1/persons/set?oauth_provider=mcs&oauth_token={TOKEN}");
    for end in [0, 3, 40, 90, 150, whole.len() / 2, whole.len() - 5] {
        let headers = [("content-type", "multipart/form-data; boundary=XX")];
        let answer = app.call("POST", &path, &headers, whole[..end].to_vec()).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "cut at {end}: {}", answer.text());
    }
}

#[tokio::test]
async fn faces_are_recognized_and_strangers_get_numbers() {
    let app = FacesApp::new();
    app.done("set", two(), &[("file_0", &picture(1, ANN)), ("file_1", &picture(1, BOB))]).await;
    let look = async |space: &str, create: bool, picture: &[u8]| {
        let meta = json!({"space": space, "create_new": create, "images": [{"name": "p"}]});
        app.done("recognize", meta, &[("p", picture)]).await
    };
    let answer = look("1", false, &picture(1, BOB)).await;
    assert_eq!(answer["aliases_changed"], false);
    let person = &answer["objects"][0]["persons"][0];
    assert_eq!((&person["tag"], &person["coord"]), (&json!("person8"), &json!([5, 10, 13, 60])));
    assert!(person["similarity"].as_f64().unwrap() > 0.95 && person["confidence"] == 0.9);
    let stranger = look("1", false, &picture(1, CY)).await["objects"][0]["persons"][0].clone();
    assert_eq!((&stranger["tag"], stranger.get("similarity")), (&json!("undefined"), None));
    assert_eq!(look("3", false, &picture(1, BOB)).await["objects"][0]["persons"][0]["tag"], "undefined");
    assert_eq!(look("1", true, &picture(1, CY)).await["objects"][0]["persons"][0]["tag"], "person9");
    assert_eq!(look("1", true, &picture(1, CY)).await["objects"][0]["persons"][0]["tag"], "person9", "known now");
    assert_eq!(look("1", false, &picture(0, CY)).await["objects"][0]["persons"], json!([]));
}

#[tokio::test]
async fn without_an_embedding_model_photos_are_linked_but_not_recognized() {
    let app = FacesApp::with(FakeEyes(None));
    app.done("set", two(), &[("file_0", &picture(1, ANN)), ("file_1", &picture(1, BOB))]).await;
    let meta = two().to_string();
    app.refused("recognize", &[("meta", meta.as_bytes())], 503, "embedding model").await;
    assert_eq!(app.done("delete", two(), &[]).await["objects"][1]["status"], 0);
}

/// A hundred pictures, kept small here: what counts is that all of them are taken and one more is not.
#[tokio::test]
async fn a_hundred_pictures_are_taken_and_no_more() {
    let app = FacesApp::new();
    let ann = picture(1, ANN);
    let names: Vec<String> = (0..101).map(|n| format!("p{n}")).collect();
    let request = |count: usize| {
        let images: Vec<_> = names[..count].iter().map(|name| json!({"name": name, "person_id": 1})).collect();
        json!({"space": "0", "images": images}).to_string()
    };
    for (images, sent, status) in [(100, 100, 200), (101, 101, 400), (100, 101, 400)] {
        let meta = request(images);
        let mut parts = vec![("meta", meta.as_bytes())];
        parts.extend(names[..sent].iter().map(|name| (name.as_str(), ann.as_slice())));
        assert_eq!(app.persons("set", &parts).await.status.as_u16(), status, "{images} images, {sent} parts");
    }
}
