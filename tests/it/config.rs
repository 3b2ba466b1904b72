//! The boot configuration: the sample file, defaults, the environment, and what errors say.

use std::collections::HashMap;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use face_edge::config::{CamerasConfig, Config, FacesConfig, IdleDecode, LogFormat, read_secret_file};

use face_edge::zone::Zone;

fn read(text: &str, env: &[(&str, &str)]) -> Result<Config, String> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("f.toml");
    std::fs::write(&file, text).unwrap();
    let env: HashMap<_, _> = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let error =
        |error: face_edge::config::ConfigError| error.to_string().replace(&file.display().to_string(), "f.toml");
    Config::read(Some(&file), &|name| env.get(name).cloned()).map_err(error)
}

const SAMPLE: &str = include_str!("../../face-edge.toml");

#[test]
fn the_sample_is_the_default() {
    assert_eq!(read(SAMPLE, &[]), read("", &[]));
    let config = read("", &[]).unwrap();
    assert_eq!(
        (config.listen.to_string().as_str(), config.data_dir.as_path()),
        ("127.0.0.1:8800", Path::new("./data"))
    );
    assert!(config.workers > 0 && !config.node_id.is_empty());
}

#[test]
fn the_sample_documents_every_key_and_no_other() {
    let everything: String = SAMPLE
        .lines()
        .map(|line| format!("{}\n", line.strip_prefix('#').filter(|rest| !rest.starts_with(' ')).unwrap_or(line)))
        .collect();
    read(&everything, &[]).unwrap();
    let keys: toml::Table = everything.parse().unwrap();
    let listed = read("nonsense = 1", &[]).unwrap_err();
    let named = listed.matches('`').count() / 2 - 1;
    assert_eq!(keys.len(), named, "{listed}");
    assert!(keys.len() <= 17);
    for key in keys.keys() {
        assert!(listed.contains(&format!("`{key}`")), "{key} is not in {listed}");
        assert!(include_str!("../../docs/config.md").contains(&format!("| `{key}` |")), "docs/config.md lacks {key}");
    }
}

#[test]
fn the_environment_wins_over_the_file() {
    let env = [
        ("FACE_EDGE_LISTEN", "127.0.0.1:1"),
        ("FACE_EDGE_DATA_DIR", "/d"),
        ("FACE_EDGE_TASKS", "/t"),
        ("FACE_EDGE_MODELS", "/m"),
        ("FACE_EDGE_MODEL", "a"),
        ("FACE_EDGE_ONNXRUNTIME", "/o"),
        ("FACE_EDGE_NODE_ID", "n"),
        ("FACE_EDGE_EDGE_POOL_ID", "p"),
        ("FACE_EDGE_WORKERS", "3"),
        ("FACE_EDGE_WEBHOOK_SECRET_FILE", "/s"),
        ("FACE_EDGE_OUTBOX_MAX_BYTES", "9"),
        ("FACE_EDGE_CAMERAS", "{ idle_decode = \"keyframes\" }"),
        ("FACE_EDGE_TLS_CERT", "/c"),
        ("FACE_EDGE_TLS_KEY", "/k"),
        ("FACE_EDGE_RECEIVERS_ALLOW", "127.0.0.0/8, ::1"),
        ("FACE_EDGE_LOG", "json"),
        (
            "FACE_EDGE_FACES",
            "{ scan_at = \"02:30\", time_zone = \"Asia/Shanghai\", remote_gate_server = \"https://g/x\" }",
        ),
    ];
    let config = read("listen = \"127.0.0.1:2\"\nworkers = 7\nlog = \"text\"", &env).unwrap();
    let expected = Config {
        listen: "127.0.0.1:1".parse().unwrap(),
        data_dir: "/d".into(),
        tasks: Some("/t".into()),
        models: Some("/m".into()),
        model: Some("a".into()),
        onnxruntime: Some("/o".into()),
        node_id: "n".into(),
        edge_pool_id: "p".into(),
        workers: 3,
        webhook_secret_file: Some("/s".into()),
        outbox_max_bytes: 9,
        cameras: CamerasConfig { idle_decode: IdleDecode::Keyframes, min_analyses_per_second: 1 },
        tls_cert: Some("/c".into()),
        tls_key: Some("/k".into()),
        receivers_allow: vec!["127.0.0.0/8".parse().unwrap(), "::1".parse().unwrap()],
        log: LogFormat::Json,
        faces: FacesConfig {
            scan_at: chrono::NaiveTime::from_hms_opt(2, 30, 0).unwrap(),
            zone: Zone::parse("Asia/Shanghai").unwrap(),
            remote_gate_server: Some("https://g/x".parse().unwrap()),
            fetch_private_addresses: false,
        },
    };
    assert_eq!(config, expected);
    assert_eq!(read("workers = 7", &[("FACE_EDGE_WORKERS", "")]).unwrap().workers, 7);
}

#[test]
fn what_is_wrong_with_stored_faces_is_named() {
    for (value, expected) in [
        ("{ scan_at = \"25:00\" }", "expected a time such as \"03:00\""),
        ("{ time_zone = \"Mars\" }", "expected the name of a time zone"),
        ("{ remote_gate_server = \"https://u:p@g\" }", "FACE_EDGE_GATE_TOKEN"),
        ("{ remote_gate_server = \"ftp://g\" }", "expected an address of http or https"),
        ("{ scan = 1 }", "unknown field `scan`"),
        ("3", "invalid type"),
    ] {
        let in_file = read(&format!("faces = {value}"), &[]).unwrap_err();
        assert!(in_file.starts_with("f.toml:1:") && in_file.contains(expected), "{in_file}");
        let in_environment = read("", &[("FACE_EDGE_FACES", value)]).unwrap_err();
        assert!(in_environment.starts_with("FACE_EDGE_FACES") && in_environment.contains(expected), "{in_environment}");
    }
}

#[test]
fn errors_name_the_place() {
    let error = |text: &str| read(text, &[]).unwrap_err();
    assert!(
        error("listen = \"127.0.0.1:1\"\n\n  lisen = 1\n")
            .starts_with("f.toml:3:3: unknown field `lisen`, expected one of `listen`")
    );
    assert!(error("listen = \"nowhere\"").starts_with("f.toml:1:10: "), "{}", error("listen = \"nowhere\""));
    assert!(error("workers = -1").starts_with("f.toml:1:11: "));
    assert!(error("log = \"xml\"").contains("expected `text` or `json`"));
    assert!(error("workers = ").starts_with("f.toml:1:"));
    let env = read("", &[("FACE_EDGE_WORKERS", "many")]).unwrap_err();
    assert_eq!(env, "FACE_EDGE_WORKERS in the environment: is \"many\", expected a whole number of at least 0");
    assert!(
        read("", &[("FACE_EDGE_LISTEN", "8800")]).unwrap_err().starts_with("FACE_EDGE_LISTEN in the environment: ")
    );
    let missing = Config::read(Some(Path::new("/nowhere/f.toml")), &|_| None).unwrap_err().to_string();
    assert!(missing.starts_with("/nowhere/f.toml: cannot be read"), "{missing}");
}

#[test]
fn a_secret_that_others_may_read_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("secret");
    std::fs::write(&file, "s3cret\n").unwrap();
    let mode = |mode| std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
    mode(0o640);
    let error = read_secret_file(&file).unwrap_err().to_string();
    assert!(error.contains("has mode 0640") && !error.contains("s3cret"), "{error}");
    mode(0o600);
    assert_eq!(read_secret_file(&file).unwrap(), "s3cret");
}
