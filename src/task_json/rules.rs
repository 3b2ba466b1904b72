//! `service_config.common`: the rules, with their ranges and defaults.

use std::time::Duration;

use crate::domain::{Repeat, Rules};

use super::fields::{Fields, Findings, UNBOUNDED, excerpt};
use super::roi;

const MAX_SIDE_PX: f64 = 65_535.0;

pub(super) fn read(body: &Fields, findings: &mut Findings) -> Rules {
    let common = body.object("service_config", findings).and_then(|config| config.object("common", findings));
    common.map(|common| read_common(&common, findings)).unwrap_or_default()
}

fn read_common(common: &Fields, findings: &mut Findings) -> Rules {
    let default = Rules::default();
    // Read by the store, where messages grow old.
    common.whole("retention_hours", 1..=87_600, 1, findings);
    let (min_size_px, max_size_px) = size_window(common, &default, findings);
    let quality = u32::from(default.jpeg_quality);
    Rules {
        min_size_px,
        max_size_px,
        roi: roi::read(common, findings),
        send_origin_image: common.switch("origin_image_send_sw", findings),
        veil_origin_image: common.switch("origin_image_blur_sw", findings),
        jpeg_quality: common.whole("image_compression_ratio", 20..=100, quality, findings) as u8,
        first_send_after: seconds(common.number("face_first_send_threshold", 0.0..=360.0, 0.0, findings)),
        must_send: common.switch("face_must_send_sw", findings),
        repeat: repeat(common, findings),
        frame_skip: common.whole("frame_skip_number", 0..=1_000_000_000, 0, findings),
        recognize_person: common.switch("face_recognition_sw", findings),
        same_person_quiet: seconds(common.number("face_same_person_interval", 0.0..=86_400.0, 0.0, findings)),
    }
}

fn size_window(common: &Fields, default: &Rules, findings: &mut Findings) -> (f32, f32) {
    let side = 0.0..=MAX_SIDE_PX;
    let min = common.number("detection_min_size", side.clone(), f64::from(default.min_size_px), findings);
    let max = common.number("detection_max_size", side, f64::from(default.max_size_px), findings);
    if min > max {
        let defaulted = |key| if common.get(key).is_none() { ", the default" } else { "" };
        let (at_min, at_max) = (defaulted("detection_min_size"), defaulted("detection_max_size"));
        let message =
            format!("is {min}{at_min}, above detection_max_size, which is {max}{at_max}; expected at most that");
        findings.invalid(common.path("detection_min_size"), message);
    }
    (min as f32, max as f32)
}

/// All four fields are checked, also those that the mode leaves unused.
fn repeat(common: &Fields, findings: &mut Findings) -> Repeat {
    let on = common.switch("face_repeat_send_sw", findings);
    let interval = common.number("face_repeat_send_interval", 1.0..=UNBOUNDED, 1.0, findings);
    let step = common.number("face_repeat_send_step", 1.0..=10.0, 1.2, findings);
    let mode = common.text("face_repeat_send_mode", findings).unwrap_or("PERIOD");
    let repeat = match mode {
        "PERIOD" => Repeat::Period { interval: seconds(interval) },
        "QUALITY_STEP" => Repeat::QualityStep { step: step as f32 },
        other => {
            let message = format!("is {}, expected PERIOD or QUALITY_STEP", excerpt(other));
            findings.invalid(common.path("face_repeat_send_mode"), message);
            Repeat::Off
        }
    };
    if on { repeat } else { Repeat::Off }
}

/// Of a checked number: neither negative nor beyond `UNBOUNDED`.
fn seconds(number: f64) -> Duration {
    Duration::from_secs_f64(number)
}
