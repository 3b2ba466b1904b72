//! Signed requests through the real router: by the pair of the environment, and by pairs that were made. The signature
//! itself is tested against the published SDK's where it is computed.

use axum::body::Body;
use axum::http::{Request, StatusCode};
use chrono::{DateTime, Utc};
use face_edge::api::keys::{AccessPair, Role, create_pair};
use face_edge::seal::Seal;
use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};

use crate::api::{Answer, App, Supervisor, TASKS, refused, sample};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Posts `sent`, signed as if it were `signed`.
async fn post(app: &App, (access_key, secret): (&str, &str), at: DateTime<Utc>, signed: &str, sent: &str) -> Answer {
    let date = at.format("%Y%m%dT%H%M%SZ").to_string();
    let hash = |text: &str| hex(&Sha256::digest(text));
    let canonical = format!("POST\n{TASKS}/\n\nx-sdk-date:{date}\n\nx-sdk-date\n{}", hash(signed));
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(format!("SDK-HMAC-SHA256\n{date}\n{}", hash(&canonical)).as_bytes());
    let signature = hex(&mac.finalize().into_bytes());
    let header = format!("SDK-HMAC-SHA256 Access={access_key}, SignedHeaders=x-sdk-date, Signature={signature}");
    let request = Request::post(TASKS).header("Authorization", header).header("X-Sdk-Date", date);
    app.send(request.body(Body::from(sent.to_owned())).unwrap()).await
}

#[tokio::test]
async fn a_signed_request_needs_no_key() {
    let app = App::with(Supervisor::default(), Some("AK:SK"));
    let (now, body) = (Utc::now(), sample().to_string());
    let minutes = chrono::Duration::minutes;
    for at in [now, now - minutes(14)] {
        assert_eq!(post(&app, ("AK", "SK"), at, &body, &body).await.status, StatusCode::OK);
    }
    for (at, pair, sent) in [
        (now - minutes(16), ("AK", "SK"), body.clone()),
        (now + minutes(16), ("AK", "SK"), body.clone()),
        (now, ("AK", "other"), body.clone()),
        (now, ("NOBODY", "SK"), body.clone()),
        (now, ("AK", "SK"), body.replace("3.0", "3.1")),
    ] {
        refused(&post(&app, pair, at, &body, &sent).await, 401, "IVA.0001", "signature");
    }
}

async fn made(app: &App, role: Role) -> AccessPair {
    let (store, folder) = (app.store.clone(), app.folder.path().to_owned());
    let make = move || create_pair(&store, &Seal::of_folder(&folder).unwrap(), "portal", role).unwrap();
    tokio::task::spawn_blocking(make).await.unwrap()
}

#[tokio::test]
async fn a_pair_that_was_made_signs_until_it_is_revoked() {
    let app = App::new();
    let pair = made(&app, Role::Operator).await;
    let (keys, now, body) = ((pair.access_key.as_str(), pair.secret_key.as_str()), Utc::now(), sample().to_string());
    let answer = post(&app, keys, now, &body, &body).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    let id = answer.json()[0]["id"].as_str().unwrap().to_owned();
    assert_eq!(app.store.task(&id).await.unwrap().unwrap().creator, "portal");
    refused(&post(&app, (keys.0, "other"), now, &body, &body).await, 401, "IVA.0001", "signature");

    let viewer = made(&app, Role::Viewer).await;
    let refusal = post(&app, (&viewer.access_key, &viewer.secret_key), now, &body, &body).await;
    refused(&refusal, 403, "IVA.0009", "viewer may not");

    let row = app.store.key(keys.0).await.unwrap().unwrap();
    let as_a_key = format!("fe_{}_{}", keys.0, keys.1);
    let request = Request::get(TASKS).header("X-Auth-Token", as_a_key).body(Body::empty()).unwrap();
    refused(&app.send(request).await, 401, "IVA.0001", "not known");
    let stored = [row.hash, row.sealed.unwrap()].concat();
    assert!(!stored.windows(8).any(|part| keys.1.as_bytes().starts_with(part)), "the secret does not lie open");

    app.store.revoke_key(keys.0, face_edge::domain::UnixMs(1)).await.unwrap();
    refused(&post(&app, keys, now, &body, &body).await, 401, "IVA.0001", "signature");
}
