//! Real detections through the rules: nine people, one analysis a second, nine tracks.

use std::path::Path;
use std::sync::Arc;

use face_edge::domain::{Detection, Landmarks, Point, Rect, Rules, StreamTime};
use face_edge::rules::{Engine, Measure, View};

struct NoPixels;

impl View for NoPixels {
    type Picture = ();

    fn frame_size(&self) -> (f32, f32) {
        (640.0, 360.0)
    }

    fn measure(&mut self, _: &Detection) -> Measure {
        Measure { sharpness: 1.0, exposure: 1.0 }
    }

    fn cut(&mut self, _: &Detection) {}
}

/// The reference detections of every 30th frame of a video of 30 frames a second, by second.
fn reference(name: &str) -> Option<Vec<(u64, Vec<Detection>)>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/golden").join(name);
    let Ok(text) = std::fs::read_to_string(&path) else {
        eprintln!("skipped: {} is absent", path.display());
        return None;
    };
    let file: serde_json::Value = serde_json::from_str(&text).unwrap();
    let frames = file["area"].as_object().unwrap().iter();
    let mut seconds: Vec<_> = frames
        .map(|(number, faces)| {
            let number: u64 = number.parse().unwrap();
            (number / 30, faces.as_array().unwrap().iter().map(detection).collect())
        })
        .collect();
    seconds.sort_by_key(|(second, _)| *second);
    Some(seconds)
}

fn detection(face: &serde_json::Value) -> Detection {
    let numbers = |key: &str| -> Vec<f32> {
        face[key].as_array().unwrap().iter().map(|number| number.as_f64().unwrap() as f32).collect()
    };
    let (b, lm) = (numbers("box"), numbers("lm"));
    Detection {
        bbox: Rect::from_corners(b[0], b[1], b[2], b[3]),
        score: face["score"].as_f64().unwrap() as f32,
        landmarks: Some(Landmarks(std::array::from_fn(|i| Point::new(lm[2 * i], lm[2 * i + 1])))),
    }
}

fn faces_sent(name: &str) -> Option<usize> {
    let mut engine = Engine::new(Arc::new(Rules { min_size_px: 10.0, ..Rules::default() }), 0.6);
    let frames = reference(name)?;
    let sent = |(second, faces): &(u64, Vec<Detection>)| {
        engine.observe(StreamTime::from_millis(second * 1000), faces, &mut NoPixels).sendings.len()
    };
    Some(frames.iter().map(sent).sum())
}

#[test]
fn nine_people_are_sent_once_each_at_one_analysis_a_second() {
    if let Some(sent) = faces_sent("asl_dev_grid3x3.json") {
        assert_eq!(sent, 9);
    }
}

#[test]
fn a_turning_head_is_sent_once_at_one_analysis_a_second() {
    if let Some(sent) = faces_sent("headpose_1080p.json") {
        assert_eq!(sent, 1);
    }
}
