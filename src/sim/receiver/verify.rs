//! Is a message what the documentation says? Pure, and written from the documentation alone: it shares no code with
//! the side that sends.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use serde_json::{Map, Value};
use sha2::Sha256;

/// How far a signature's time may lie from ours.
const CLOCK_TOLERANCE_S: i64 = 300;
/// A crop shows the face with this much of its size around it on each side, less where the frame ends.
const CROP_MARGIN: f64 = 0.2;
/// Rounding of a box's and a crop's edges.
const CROP_TOLERANCE_PX: f64 = 3.0;

const ENVELOPE: &[&str] = &["event_type", "task_id", "stream_id", "timestamp", "message_id", "image_base64", "data"];
const FACE_DATA: &[&str] = &[
    "node_id",
    "face_id",
    "detection_id",
    "origin_image_id",
    "origin_image_path",
    "origin_json_path",
    "bounding_box",
    "confidence",
    "quality",
    "landmarks",
    "timestamp_ms",
    "stream_time_ms",
    "timestamp_source",
    "clock_skew_ms",
    "reason",
    "seq",
];
const ORIGIN_DATA: &[&str] = &["node_id", "origin_image_id", "faces", "timestamp_source", "clock_skew_ms"];
/// In `data`, where there is something to say.
const OPTIONAL_DATA: &[&str] = &["person", "picture_stream"];
const FACE_IN_ORIGIN: &[&str] = &["face_id", "detection_id", "bounding_box"];
const BOUNDING_BOX: &[&str] = &["x", "y", "w", "h"];
const TIME_SOURCES: &[&str] = &["camera", "receipt", "file"];
const REASONS: &[&str] = &["first", "must", "period", "quality_step"];

/// The headers that the Standard Webhooks specification asks for.
#[derive(Debug, Clone, Default)]
pub struct Signature {
    pub id: Option<String>,
    pub timestamp: Option<String>,
    pub signatures: Option<String>,
}

/// What of a message could be read, and everything that is wrong with it.
#[derive(Debug, Clone, Default)]
pub struct Checked {
    pub message_id: String,
    pub is_face: bool,
    pub task_id: String,
    pub stream_id: String,
    /// FaceImage only.
    pub track: Option<String>,
    pub seq: Option<u64>,
    pub reason: Option<String>,
    pub quality: Option<f64>,
    pub timestamp_ms: Option<i64>,
    /// Width and height of the face's box.
    pub face_size: Option<(i64, i64)>,
    pub picture: Vec<u8>,
    pub picture_size: Option<(u32, u32)>,
    pub problems: Vec<String>,
}

/// Shape, values and picture of one message.
pub fn check_message(body: &[u8]) -> Checked {
    let mut checked = Checked::default();
    match serde_json::from_slice::<Value>(body) {
        Ok(Value::Object(message)) => checked.envelope(&message),
        Ok(_) => checked.problem("the body is not a JSON object"),
        Err(error) => checked.problem(format!("the body is not JSON: {error}")),
    }
    checked
}

/// `key`: the shared secret's bytes. Every problem is one sentence.
pub fn check_signature(key: &[u8], given: &Signature, body: &[u8], now_secs: i64) -> Result<(), String> {
    let (Some(id), Some(timestamp), Some(signatures)) = (&given.id, &given.timestamp, &given.signatures) else {
        return Err("webhook-id, webhook-timestamp or webhook-signature is missing".into());
    };
    let sent: i64 = timestamp.parse().map_err(|_| format!("webhook-timestamp {timestamp:?} is no number"))?;
    if (now_secs - sent).abs() > CLOCK_TOLERANCE_S {
        return Err(format!("webhook-timestamp is {} s off", now_secs - sent));
    }
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(format!("{id}.{timestamp}.").as_bytes());
    mac.update(body);
    let matches = |signature: &str| {
        let bytes = signature.strip_prefix("v1,").and_then(|text| STANDARD.decode(text).ok());
        bytes.is_some_and(|bytes| mac.clone().verify_slice(&bytes).is_ok())
    };
    if signatures.split(' ').any(matches) { Ok(()) } else { Err("no signature fits".into()) }
}

impl Checked {
    fn problem(&mut self, text: impl Into<String>) {
        self.problems.push(text.into());
    }

    fn envelope(&mut self, message: &Map<String, Value>) {
        self.keys("message", message, ENVELOPE);
        self.task_id = self.text("task_id", message);
        if self.task_id.len() != 32 || !self.task_id.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            self.problem("task_id is not 32 lower-case hex digits");
        }
        self.stream_id = self.text("stream_id", message);
        self.message_id = self.text("message_id", message);
        if !is_uuid(&self.message_id, char::is_lowercase) {
            self.problem("message_id is not an upper-case UUID");
        }
        let timestamp = self.integer("timestamp", message, 1);
        let base64 = self.text("image_base64", message);
        self.picture(&base64);
        let Some(data) = message.get("data").and_then(Value::as_object) else {
            return self.problem("data is not an object");
        };
        self.non_empty("node_id", data);
        self.clock(data);
        self.uuid("origin_image_id", data);
        match message.get("event_type").and_then(Value::as_u64) {
            Some(65536) => self.face(data, timestamp),
            Some(65537) => self.origin(data),
            _ => self.problem("event_type is neither 65536 nor 65537"),
        }
    }

    fn face(&mut self, data: &Map<String, Value>, timestamp: Option<i64>) {
        self.is_face = true;
        self.keys("data", data, FACE_DATA);
        self.track = Some(self.uuid("face_id", data));
        self.uuid("detection_id", data);
        self.text("origin_image_path", data);
        self.text("origin_json_path", data);
        self.face_size = self.bounding_box(data);
        self.unit("confidence", data);
        self.quality = self.unit("quality", data);
        self.landmarks(data);
        self.timestamp_ms = self.integer("timestamp_ms", data, 1);
        if self.timestamp_ms.map(|ms| ms.div_euclid(1000)) != timestamp {
            self.problem("timestamp is not timestamp_ms in whole seconds");
        }
        self.integer("stream_time_ms", data, 0);
        self.seq = self.integer("seq", data, 1).map(i64::unsigned_abs);
        let reason = self.text("reason", data);
        if !REASONS.contains(&reason.as_str()) {
            self.problem(format!("reason {reason:?} is none of {REASONS:?}"));
        }
        self.reason = Some(reason);
        self.crop();
    }

    fn clock(&mut self, data: &Map<String, Value>) {
        let source = self.text("timestamp_source", data);
        if !TIME_SOURCES.contains(&source.as_str()) {
            self.problem(format!("timestamp_source {source:?} is none of {TIME_SOURCES:?}"));
        }
        let skew = data.get("clock_skew_ms");
        if !skew.is_some_and(|skew| skew.is_i64() || (skew.is_null() && source != "camera")) {
            self.problem("clock_skew_ms is no integer, as a camera's clock needs, nor null, as others may have it");
        }
    }

    fn origin(&mut self, data: &Map<String, Value>) {
        self.keys("data", data, ORIGIN_DATA);
        let Some(faces) = data.get("faces").and_then(Value::as_array).filter(|faces| !faces.is_empty()) else {
            return self.problem("faces is not a list of at least one");
        };
        for face in faces {
            let Some(face) = face.as_object() else {
                self.problem("an entry of faces is not an object");
                continue;
            };
            self.keys("faces[]", face, FACE_IN_ORIGIN);
            self.uuid("face_id", face);
            self.uuid("detection_id", face);
            self.bounding_box(face);
        }
    }

    fn picture(&mut self, base64: &str) {
        match STANDARD.decode(base64) {
            Ok(bytes) => self.picture = bytes,
            Err(_) => return self.problem("image_base64 is not standard base64"),
        }
        match image::load_from_memory_with_format(&self.picture, image::ImageFormat::Jpeg) {
            Ok(image) => self.picture_size = Some((image.width(), image.height())),
            Err(error) => self.problem(format!("the picture is not a JPEG: {error}")),
        }
    }

    /// The crop has to hold the face and at most the margin around it.
    fn crop(&mut self) {
        let (Some((box_w, box_h)), Some((width, height))) = (self.face_size, self.picture_size) else { return };
        for (name, side, crop) in [("width", box_w, width), ("height", box_h, height)] {
            let (side, crop) = (side as f64, f64::from(crop));
            let most = side * (1.0 + 2.0 * CROP_MARGIN) + CROP_TOLERANCE_PX;
            if crop < side - CROP_TOLERANCE_PX || crop > most {
                self.problem(format!("the picture's {name} {crop} does not go with the box's {side}"));
            }
        }
    }

    fn bounding_box(&mut self, parent: &Map<String, Value>) -> Option<(i64, i64)> {
        let Some(object) = parent.get("bounding_box").and_then(Value::as_object) else {
            self.problem("bounding_box is not an object");
            return None;
        };
        self.keys("bounding_box", object, BOUNDING_BOX);
        self.integer("x", object, 0);
        self.integer("y", object, 0);
        Some((self.integer("w", object, 1)?, self.integer("h", object, 1)?))
    }

    fn landmarks(&mut self, data: &Map<String, Value>) {
        let is_point =
            |point: &Value| point.as_array().is_some_and(|pair| pair.len() == 2 && pair.iter().all(Value::is_number));
        let ok = match data.get("landmarks") {
            Some(Value::Null) => true,
            Some(Value::Array(points)) => points.len() == 5 && points.iter().all(is_point),
            _ => false,
        };
        if !ok {
            self.problem("landmarks is neither null nor five points");
        }
    }

    fn keys(&mut self, place: &str, object: &Map<String, Value>, documented: &[&str]) {
        let optional = |key: &&str| place == "data" && OPTIONAL_DATA.contains(key);
        let found = object.keys().map(String::as_str).filter(|key| !optional(key));
        if !found.eq(documented.iter().copied()) {
            let found: Vec<_> = object.keys().collect();
            self.problem(format!("{place} has the keys {found:?}, documented are {documented:?}"));
        }
    }

    fn text(&mut self, key: &str, object: &Map<String, Value>) -> String {
        match object.get(key).and_then(Value::as_str) {
            Some(text) => text.to_owned(),
            None => {
                self.problem(format!("{key} is not a string"));
                String::new()
            }
        }
    }

    fn non_empty(&mut self, key: &str, object: &Map<String, Value>) {
        if self.text(key, object).is_empty() {
            self.problem(format!("{key} is empty"));
        }
    }

    fn uuid(&mut self, key: &str, object: &Map<String, Value>) -> String {
        let text = self.text(key, object);
        if !is_uuid(&text, char::is_uppercase) {
            self.problem(format!("{key} is not a lower-case UUID"));
        }
        text
    }

    fn integer(&mut self, key: &str, object: &Map<String, Value>, least: i64) -> Option<i64> {
        let value = object.get(key).and_then(Value::as_i64).filter(|value| *value >= least);
        if value.is_none() {
            self.problem(format!("{key} is not an integer of at least {least}"));
        }
        value
    }

    fn unit(&mut self, key: &str, object: &Map<String, Value>) -> Option<f64> {
        let value = object.get(key).and_then(Value::as_f64).filter(|value| (0.0..=1.0).contains(value));
        if value.is_none() {
            self.problem(format!("{key} is not a number between 0 and 1"));
        }
        value
    }
}

fn is_uuid(text: &str, wrong_case: fn(char) -> bool) -> bool {
    text.len() == 36 && uuid::Uuid::parse_str(text).is_ok() && !text.chars().any(wrong_case)
}
