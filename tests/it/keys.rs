//! Keys: how they are made, shown once, found again, revoked; the first one; and the command.

use std::os::unix::fs::MetadataExt;

use clap::Parser;
use face_edge::api::keys::{KeyEnv, Keys, Role, create};
use face_edge::cli::keys::{Args, run};
use face_edge::clock;
use face_edge::store::Store;
use serde_json::Value;

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    args: Args,
}

fn command(folder: &std::path::Path, words: &[&str]) -> anyhow::Result<String> {
    let folder = folder.display().to_string();
    let cli = Cli::try_parse_from(["keys", "--data-dir", &folder].iter().chain(words))?;
    let mut out = Vec::new();
    run(&cli.args, &mut out)?;
    Ok(String::from_utf8(out)?)
}

async fn role(keys: &Keys, presented: &str) -> Option<Role> {
    keys.identify(presented, clock::unix_ms()).await.unwrap().map(|identity| identity.role)
}

#[tokio::test]
async fn a_key_is_known_until_it_is_revoked() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let made = tokio::task::spawn_blocking({
        let store = store.clone();
        move || create(&store, "portal", Role::Operator).unwrap()
    })
    .await
    .unwrap();
    let keys = Keys::new(store.clone(), KeyEnv::default()).unwrap();
    let identity = keys.identify(&made.key, clock::unix_ms()).await.unwrap().unwrap();
    assert_eq!((identity.name.as_str(), identity.role), ("portal", Role::Operator));
    assert_eq!(made.key.len(), "fe__".len() + 12 + 64);
    let mut last = made.key.clone();
    let end = if last.pop() == Some('0') { '1' } else { '0' };
    for wrong in [format!("{last}{end}"), last, made.id.clone(), format!("fe_{}_", made.id), String::new()] {
        assert_eq!(role(&keys, &wrong).await, None, "{wrong}");
    }
    let secret = made.key.rsplit('_').next().unwrap().as_bytes();
    for file in std::fs::read_dir(folder.path()).unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        assert!(!bytes.windows(secret.len()).any(|part| part == secret), "the secret is stored");
    }
    store.revoke_key(&made.id, clock::unix_ms()).await.unwrap();
    assert_eq!(role(&keys, &made.key).await, None);
}

#[tokio::test]
async fn the_environments_token_is_an_admin() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let env = KeyEnv { token: Some("t0ken".into()), access_key: None };
    let keys = Keys::new(store, env).unwrap();
    assert_eq!(role(&keys, "t0ken").await, Some(Role::Admin));
    assert_eq!(role(&keys, "t0ke").await, None);
}

#[test]
fn the_first_key_is_made_once() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let start = |env| Keys::bootstrap(store.clone(), env).unwrap();
    let first = start(KeyEnv::default());
    assert!(first.loopback_only() && first.first_key.unwrap().starts_with("fe_"));
    let second = start(KeyEnv::default());
    assert!(!second.loopback_only() && second.first_key.is_none());
    let id = store.keys().wait().unwrap()[0].id.clone();
    store.revoke_key(&id, clock::unix_ms()).wait().unwrap();
    let token = || KeyEnv { token: Some("t".into()), access_key: None };
    assert!(start(token()).first_key.is_none(), "the environment has one");
    assert!(start(KeyEnv::default()).first_key.is_some(), "none is left that works");
    let pair = KeyEnv { token: None, access_key: Some("no-colon".into()) };
    let error = Keys::bootstrap(store.clone(), pair).err().unwrap().to_string();
    assert!(error.contains("FACE_EDGE_ACCESS_KEY") && !error.contains("no-colon"), "{error}");
}

#[test]
fn the_command_makes_lists_and_revokes() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("new");
    let error = command(&data, &["list"]).unwrap_err().to_string();
    assert!(error.contains("--data-dir"), "{error}");
    let made: Value =
        serde_json::from_str(&command(&data, &["create", "--role", "viewer", "--name", "wall", "--json"]).unwrap())
            .unwrap();
    assert_eq!((made["role"].as_str(), made["name"].as_str()), (Some("viewer"), Some("wall")));
    assert_eq!(std::fs::metadata(data.join("face-edge.db")).unwrap().mode() & 0o777, 0o600);
    let plain = command(&data, &["create"]).unwrap();
    assert!(plain.starts_with("fe_") && plain.lines().count() == 1, "{plain}");
    let list = command(&data, &["list"]).unwrap();
    assert!(list.contains("wall") && !list.contains(made["key"].as_str().unwrap()), "{list}");
    let id = made["id"].as_str().unwrap();
    command(&data, &["revoke", id]).unwrap();
    let rows: Value = serde_json::from_str(&command(&data, &["list", "--json"]).unwrap()).unwrap();
    assert!(rows[0]["revoked_at"].is_string() && rows[1]["revoked_at"].is_null(), "{rows}");
    let again = command(&data, &["revoke", id]).unwrap_err().to_string();
    assert!(again.contains("keys list"), "{again}");
    let pair: Value = serde_json::from_str(&command(&data, &["create", "--signing", "--json"]).unwrap()).unwrap();
    assert_eq!((pair["id"].as_str(), pair["role"].as_str()), (pair["access_key"].as_str(), Some("operator")));
    let secret = pair["secret_key"].as_str().unwrap();
    let plain = command(&data, &["create", "--signing", "--name", "sdk"]).unwrap();
    let (access_key, secret_key) = plain.trim().split_once(':').unwrap();
    assert_eq!((access_key.len(), secret_key.len()), (20, 40));
    assert_eq!(std::fs::metadata(data.join("seal.key")).unwrap().mode() & 0o777, 0o600);
    for file in std::fs::read_dir(&data).unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        assert!(!bytes.windows(secret.len()).any(|part| part == secret.as_bytes()), "the secret is stored openly");
    }
    assert!(command(&data, &["create", "--role", "king"]).is_err());
    assert!(command(&data, &["create", "--name", ""]).is_err());
}
