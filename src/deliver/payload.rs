//! The JSON of the two messages, byte for byte as it leaves the box: keys in documented order, whole pixels of the
//! origin frame, times in UTC. Pure.
//!
//! `origin_image_path` and `origin_json_path` are always empty: a FaceImage leaves before the whole frame that it was
//! cut from has been written anywhere. The two are joined by `origin_image_id`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use uuid::Uuid;

use super::evidence::Evidence;
use crate::domain::{FaceImage, Landmarks, Message, OriginFace, OriginImage, PictureStream, Rect};

pub const FACE_IMAGE: u32 = 65536;
pub const ORIGIN_IMAGE: u32 = 65537;

/// With the picture in it: `image_base64`.
pub fn inline(message: &Message, evidence: Option<&Evidence>) -> String {
    render(message, Picture::Inline { image_base64: STANDARD.encode(message.jpeg()) }, evidence)
}

/// With the picture's file name in the place of its bytes: `image_path`.
pub fn with_path(message: &Message, image_path: &str, evidence: Option<&Evidence>) -> String {
    render(message, Picture::File { image_path }, evidence)
}

/// With the address at which this box serves the picture until then: `image_url`, `image_url_expires`.
pub fn thin(message: &Message, image_url: &str, expires_s: i64, evidence: Option<&Evidence>) -> String {
    render(message, Picture::Link { image_url, image_url_expires: expires_s }, evidence)
}

/// JSON and JPEG as the parts `message` and `picture` of a form, and the form's content type. The same message gives
/// the same bytes.
pub fn multipart(message: &Message, evidence: Option<&Evidence>) -> (String, Vec<u8>) {
    let boundary = format!("face-edge-{}", message.id().simple());
    let json = render(message, Picture::Attached {}, evidence);
    let head = format!(
        "--{boundary}\r\ncontent-disposition: form-data; name=\"message\"\r\ncontent-type: application/json\r\n\r\n\
         {json}\r\n--{boundary}\r\ncontent-disposition: form-data; name=\"picture\"; filename=\"{}.jpg\"\r\n\
         content-type: image/jpeg\r\n\r\n",
        message.id()
    );
    let body = [head.as_bytes(), message.jpeg(), format!("\r\n--{boundary}--\r\n").as_bytes()].concat();
    (format!("multipart/form-data; boundary={boundary}"), body)
}

/// As `message_id` is written: upper case.
pub fn message_id(message: &Message) -> String {
    upper(message.id())
}

#[derive(Serialize)]
struct Envelope<'a, D> {
    event_type: u32,
    task_id: &'a str,
    stream_id: &'a str,
    timestamp: i64,
    message_id: String,
    #[serde(flatten)]
    picture: Picture<'a>,
    data: D,
    #[serde(skip_serializing_if = "Option::is_none")]
    evidence: Option<&'a Evidence>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Picture<'a> {
    Inline { image_base64: String },
    File { image_path: &'a str },
    Link { image_url: &'a str, image_url_expires: i64 },
    Attached {},
}

#[derive(Serialize)]
struct FaceData<'a> {
    node_id: &'a str,
    face_id: Uuid,
    detection_id: Uuid,
    origin_image_id: Uuid,
    origin_image_path: &'static str,
    origin_json_path: &'static str,
    bounding_box: BoundingBox,
    confidence: f64,
    quality: f64,
    landmarks: Option<[[f64; 2]; 5]>,
    timestamp_ms: i64,
    stream_time_ms: u64,
    timestamp_source: &'static str,
    clock_skew_ms: Option<i64>,
    reason: &'static str,
    seq: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    person: Option<Person>,
    #[serde(skip_serializing_if = "Option::is_none")]
    picture_stream: Option<&'static str>,
}

#[derive(Serialize)]
struct Person {
    id: Uuid,
    similarity: f64,
}

#[derive(Serialize)]
struct OriginData<'a> {
    node_id: &'a str,
    origin_image_id: Uuid,
    faces: Vec<FaceInOrigin>,
    timestamp_source: &'static str,
    clock_skew_ms: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    picture_stream: Option<&'static str>,
}

#[derive(Serialize)]
struct FaceInOrigin {
    face_id: Uuid,
    detection_id: Uuid,
    bounding_box: BoundingBox,
}

#[derive(Serialize)]
struct BoundingBox {
    x: i64,
    y: i64,
    w: i64,
    h: i64,
}

fn render(message: &Message, picture: Picture<'_>, evidence: Option<&Evidence>) -> String {
    let event_type = match message {
        Message::Face(_) => FACE_IMAGE,
        Message::Origin(_) => ORIGIN_IMAGE,
    };
    match message {
        Message::Face(face) => json(message, event_type, picture, face_data(face), evidence),
        Message::Origin(origin) => json(message, event_type, picture, origin_data(origin), evidence),
    }
}

fn json<D: Serialize>(
    message: &Message,
    event_type: u32,
    picture: Picture<'_>,
    data: D,
    evidence: Option<&Evidence>,
) -> String {
    let envelope = Envelope {
        event_type,
        task_id: message.task_id().as_str(),
        stream_id: message.stream_id(),
        timestamp: message.taken_at().secs(),
        message_id: upper(message.id()),
        picture,
        data,
        evidence,
    };
    serde_json::to_string(&envelope).expect("no map keys and no foreign types: always JSON")
}

fn face_data(face: &FaceImage) -> FaceData<'_> {
    FaceData {
        node_id: &face.node_id,
        face_id: face.face_id,
        detection_id: face.detection_id,
        origin_image_id: face.origin_image_id,
        origin_image_path: "",
        origin_json_path: "",
        bounding_box: whole_pixels(&face.bbox),
        confidence: rounded(face.confidence, 4),
        quality: rounded(face.quality, 4),
        landmarks: face.landmarks.as_ref().map(points),
        timestamp_ms: face.taken_at.0,
        stream_time_ms: face.stream_time.as_millis(),
        timestamp_source: face.time_source.as_str(),
        clock_skew_ms: face.time_source.skew_ms(),
        reason: face.reason.as_str(),
        seq: face.seq,
        person: face.person.as_ref().map(|p| Person { id: p.id, similarity: rounded(p.similarity, 4) }),
        picture_stream: face.picture_stream.map(PictureStream::as_str),
    }
}

fn origin_data(origin: &OriginImage) -> OriginData<'_> {
    let face = |f: &OriginFace| FaceInOrigin {
        face_id: f.face_id,
        detection_id: f.detection_id,
        bounding_box: whole_pixels(&f.bbox),
    };
    OriginData {
        node_id: &origin.node_id,
        origin_image_id: origin.origin_image_id,
        faces: origin.faces.iter().map(face).collect(),
        timestamp_source: origin.time_source.as_str(),
        clock_skew_ms: origin.time_source.skew_ms(),
        picture_stream: origin.picture_stream.map(PictureStream::as_str),
    }
}

/// Each edge to its nearest pixel, so that boxes that meet still meet.
fn whole_pixels(r: &Rect) -> BoundingBox {
    let [left, top, right, bottom] = [r.x, r.y, r.right(), r.bottom()].map(|edge| edge.max(0.0).round() as i64);
    BoundingBox { x: left, y: top, w: right - left, h: bottom - top }
}

fn points(landmarks: &Landmarks) -> [[f64; 2]; 5] {
    landmarks.0.map(|p| [rounded(p.x, 1), rounded(p.y, 1)])
}

fn rounded(value: f32, digits: i32) -> f64 {
    let unit = 10f64.powi(digits);
    (f64::from(value) * unit).round() / unit
}

fn upper(id: Uuid) -> String {
    id.hyphenated().encode_upper(&mut Uuid::encode_buffer()).to_owned()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::domain::{KnownPerson, Point, Reason, StreamTime, TaskId, TimeSource, UnixMs};

    fn face() -> FaceImage {
        FaceImage {
            message_id: Uuid::from_u128(0xABCDEF),
            task_id: TaskId::parse("0123456789abcdef0123456789abcdef").unwrap(),
            stream_id: "gate-1".into(),
            node_id: "box-7".into(),
            face_id: Uuid::from_u128(0xa1),
            detection_id: Uuid::from_u128(0xa2),
            origin_image_id: Uuid::from_u128(0xa3),
            taken_at: UnixMs(1_700_000_000_999),
            time_source: TimeSource::Camera { skew_ms: -2_900 },
            stream_time: StreamTime::from_millis(4_200),
            bbox: Rect::new(100.4, -0.3, 120.2, 150.6),
            confidence: 0.912_345_6,
            quality: 0.7,
            landmarks: Some(Landmarks([1.04, 2.0, 3.0, 4.0, 5.0].map(|v| Point::new(v, v + 0.25)))),
            reason: Reason::QualityStep,
            seq: 3,
            person: None,
            picture_stream: None,
            jpeg: Arc::from([0xff, 0xd8, 0xff].as_slice()),
        }
    }

    #[test]
    fn a_face_image_is_written_as_documented() {
        let expected = concat!(
            r#"{"event_type":65536,"task_id":"0123456789abcdef0123456789abcdef","stream_id":"gate-1","#,
            r#""timestamp":1700000000,"message_id":"00000000-0000-0000-0000-000000ABCDEF","image_base64":"/9j/","#,
            r#""data":{"node_id":"box-7","face_id":"00000000-0000-0000-0000-0000000000a1","#,
            r#""detection_id":"00000000-0000-0000-0000-0000000000a2","#,
            r#""origin_image_id":"00000000-0000-0000-0000-0000000000a3","origin_image_path":"","origin_json_path":"","#,
            r#""bounding_box":{"x":100,"y":0,"w":121,"h":150},"confidence":0.9123,"quality":0.7,"#,
            r#""landmarks":[[1.0,1.3],[2.0,2.3],[3.0,3.3],[4.0,4.3],[5.0,5.3]],"#,
            r#""timestamp_ms":1700000000999,"stream_time_ms":4200,"timestamp_source":"camera","#,
            r#""clock_skew_ms":-2900,"reason":"quality_step","seq":3}}"#,
        );
        assert_eq!(inline(&Message::Face(face()), None), expected);
    }

    #[test]
    fn a_known_person_stands_last() {
        let person = Some(KnownPerson { id: Uuid::from_u128(5), similarity: 0.712_34 });
        let text = inline(&Message::Face(FaceImage { person, ..face() }), None);
        let expected = r#""seq":3,"person":{"id":"00000000-0000-0000-0000-000000000005","similarity":0.7123}}}"#;
        assert!(text.ends_with(expected), "{text}");
    }

    #[test]
    fn of_a_camera_with_two_streams_it_says_which_one_is_shown() {
        let picture_stream = Some(PictureStream::Main);
        let text = inline(&Message::Face(FaceImage { picture_stream, ..face() }), None);
        assert!(text.ends_with(r#""seq":3,"picture_stream":"main"}}"#), "{text}");
    }

    #[test]
    fn without_landmarks_the_key_stays() {
        let text = inline(&Message::Face(FaceImage { landmarks: None, ..face() }), None);
        assert!(text.contains(r#""landmarks":null,"#), "{text}");
    }

    #[test]
    fn an_origin_image_is_written_as_documented() {
        let origin = OriginImage {
            message_id: Uuid::from_u128(0xB),
            task_id: TaskId::parse("0123456789abcdef0123456789abcdef").unwrap(),
            stream_id: "gate-1".into(),
            node_id: "box-7".into(),
            origin_image_id: Uuid::from_u128(0xa3),
            taken_at: UnixMs(1_700_000_000_999),
            time_source: TimeSource::File,
            stream_time: StreamTime::ZERO,
            faces: vec![OriginFace {
                face_id: Uuid::from_u128(0xa1),
                detection_id: Uuid::from_u128(0xa2),
                bbox: Rect::new(1.0, 2.0, 3.0, 4.0),
            }],
            picture_stream: None,
            jpeg: Arc::from([].as_slice()),
        };
        let expected = concat!(
            r#"{"event_type":65537,"task_id":"0123456789abcdef0123456789abcdef","stream_id":"gate-1","#,
            r#""timestamp":1700000000,"message_id":"00000000-0000-0000-0000-00000000000B","image_base64":"","#,
            r#""data":{"node_id":"box-7","origin_image_id":"00000000-0000-0000-0000-0000000000a3","#,
            r#""faces":[{"face_id":"00000000-0000-0000-0000-0000000000a1","#,
            r#""detection_id":"00000000-0000-0000-0000-0000000000a2","bounding_box":{"x":1,"y":2,"w":3,"h":4}}],"#,
            r#""timestamp_source":"file","clock_skew_ms":null}}"#,
        );
        assert_eq!(inline(&Message::Origin(origin), None), expected);
    }

    #[test]
    fn a_path_stands_where_the_picture_would() {
        let text = with_path(&Message::Face(face()), "gate-1/faceimage/20231114/pic/00000001.jpg", None);
        assert!(text.contains(r#""image_path":"gate-1/faceimage/20231114/pic/00000001.jpg","data":{"#), "{text}");
        assert!(!text.contains("image_base64"));
    }

    #[test]
    fn an_address_or_a_part_stands_where_the_picture_would() {
        let text = thin(&Message::Face(face()), "http://box/pictures/x.jpg?expires=7&signature=s", 7, None);
        let wanted = r#""image_url":"http://box/pictures/x.jpg?expires=7&signature=s","image_url_expires":7,"data":{"#;
        assert!(text.contains(wanted) && !text.contains("image_base64"), "{text}");

        let (kind, body) = multipart(&Message::Face(face()), None);
        let boundary = kind.strip_prefix("multipart/form-data; boundary=").unwrap();
        let text = String::from_utf8_lossy(&body);
        let parts: Vec<_> = text.split(&format!("--{boundary}")).collect();
        assert_eq!((parts.len(), parts[3]), (4, "--\r\n"));
        assert!(parts[1].contains("name=\"message\"") && parts[1].contains("\"message_id\":\"00000000-"));
        assert!(!parts[1].contains("\"image_"), "{}", parts[1]);
        assert!(body.windows(5).any(|bytes| bytes == [0xff, 0xd8, 0xff, b'\r', b'\n']), "the picture as it is");
    }
}
