//! What `make install` puts in place, below a folder of the test's: a program that finds its parts from anywhere, and a
//! unit that systemd takes.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

use crate::support::program::Program;

fn install(root: &Path, program: &Path) -> Output {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/install.sh");
    // As somebody whose own files are for himself alone.
    let umask = ["-c", "umask 077 && exec sh \"$0\""];
    Command::new("sh").args(umask).arg(script).env("DESTDIR", root).env("PROGRAM", program).output().unwrap()
}

fn installed() -> (tempfile::TempDir, PathBuf) {
    let root = tempfile::tempdir().unwrap();
    let output = install(root.path(), Path::new(env!("CARGO_BIN_EXE_face-edge")));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let program = root.path().join("opt/face-edge/face-edge");
    (root, program)
}

#[test]
fn what_is_installed_serves_from_any_folder() {
    let (root, program) = installed();
    let settings = root.path().join("etc/face-edge/face-edge.toml");
    let service = Program::serve_by(&program, &root.path().join("data"), |command| {
        command.arg("--config").arg(&settings).current_dir("/");
        command.env_remove("ORT_DYLIB_PATH").env_remove("FACE_EDGE_MODELS").env_remove("FACE_EDGE_ONNXRUNTIME");
    });
    let (status, health) = service.ask("GET", "/readyz", &Value::Null).unwrap();
    assert_eq!(status, 200, "{health}");
    // As `ps` and `pidof` list it.
    assert_eq!(fs::read_to_string(format!("/proc/{}/comm", service.id())).unwrap(), "face-edge\n");
}

#[test]
fn an_update_keeps_the_settings() {
    let (root, program) = installed();
    let settings = root.path().join("etc/face-edge/face-edge.toml");
    assert!(fs::read_to_string(&settings).unwrap().contains("data_dir = \"/var/lib/face-edge\"\n"));
    assert_eq!(fs::metadata(&settings).unwrap().permissions().mode() & 0o777, 0o644, "the service has to read it");
    fs::write(&settings, "node_id = \"gate-7\"\n").unwrap();
    fs::write(&program, "an old build").unwrap();
    assert!(install(root.path(), Path::new(env!("CARGO_BIN_EXE_face-edge"))).status.success());
    assert_eq!(fs::read_to_string(&settings).unwrap(), "node_id = \"gate-7\"\n");
    assert_ne!(fs::read(&program).unwrap(), b"an old build");
}

#[test]
fn without_a_build_it_says_what_to_do() {
    let root = tempfile::tempdir().unwrap();
    let output = install(root.path(), &root.path().join("absent"));
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("absent is not there; run make build first"));
}

#[test]
fn systemd_takes_the_unit() {
    let (root, program) = installed();
    let unit = fs::read_to_string(root.path().join("etc/systemd/system/face-edge.service")).unwrap();
    assert!(unit.contains("\nExecStart=/opt/face-edge/face-edge serve"));
    let here = root.path().join("face-edge.service");
    fs::write(&here, unit.replace("/opt/face-edge/face-edge", program.to_str().unwrap())).unwrap();
    let verify = Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(here).output();
    let Ok(output) = verify else { return eprintln!("skipped: no systemd-analyze on this machine") };
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && !said.contains("face-edge.service"), "{said}");
}
