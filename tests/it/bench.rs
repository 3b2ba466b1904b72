//! The command `bench`, on real GStreamer and ONNX Runtime.

use std::process::Command;

use serde_json::Value;

use crate::media::clip;
use crate::support::vision;

#[test]
fn a_box_tells_how_many_cameras_it_holds() {
    if vision::runtime().is_none() || vision::model("default").is_none() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let video = clip(folder.path(), 50);
    let output = Command::new(env!("CARGO_BIN_EXE_face-edge")).args(["bench", "--json"]).arg(&video).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((report["width"].as_u64(), report["height"].as_u64()), (Some(320), Some(180)));
    assert!((report["frames_per_second"].as_f64().unwrap() - 25.0).abs() < 0.1, "{report}");
    for window in report["windows"].as_array().unwrap() {
        let a_second = 25.0 * report["decode_ms_per_frame"].as_f64().unwrap()
            + 5.0 * window["detect_ms_per_frame"].as_f64().unwrap()
            + report["encode_ms_per_picture"].as_f64().unwrap();
        assert!((a_second - window["cpu_ms_per_camera_second"].as_f64().unwrap()).abs() < 0.5, "{report}");
        let cores = report["cores"].as_f64().unwrap();
        assert_eq!(window["cameras"].as_f64().unwrap(), (cores * 850.0 / a_second).floor());
    }
    let bad = Command::new(env!("CARGO_BIN_EXE_face-edge")).args(["bench", "Cargo.toml"]).output().unwrap();
    assert_eq!(bad.status.code(), Some(2), "{}", String::from_utf8_lossy(&bad.stderr));
}
