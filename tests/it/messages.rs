//! Messages with real pictures, and waiting for things to happen.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use face_edge::clock;
use face_edge::domain::{
    FaceImage, Landmarks, Message, OriginFace, OriginImage, Point, Reason, Rect, StreamTime, TaskId, TimeSource,
};
use uuid::Uuid;

/// A face of 40×50 pixels; its picture has the margin of a fifth around it.
pub fn face(track: Uuid, seq: u32) -> Message {
    Message::Face(FaceImage {
        message_id: Uuid::new_v4(),
        task_id: TaskId::from_uuid(Uuid::from_u128(7)),
        stream_id: "gate-1".into(),
        node_id: "box-1".into(),
        face_id: track,
        detection_id: Uuid::new_v4(),
        origin_image_id: Uuid::new_v4(),
        taken_at: clock::unix_ms(),
        time_source: TimeSource::UNTOLD,
        picture_stream: None,
        stream_time: StreamTime::from_millis(40 * u64::from(seq)),
        bbox: Rect::new(100.0, 80.0, 40.0, 50.0),
        confidence: 0.93,
        quality: 0.61,
        landmarks: Some(Landmarks([Point::new(110.0, 95.0); 5])),
        reason: if seq == 1 { Reason::First } else { Reason::Period },
        seq,
        person: None,
        jpeg: jpeg(56, 70),
    })
}

pub fn origin() -> Message {
    Message::Origin(OriginImage {
        message_id: Uuid::new_v4(),
        task_id: TaskId::from_uuid(Uuid::from_u128(7)),
        stream_id: "gate-1".into(),
        node_id: "box-1".into(),
        origin_image_id: Uuid::new_v4(),
        taken_at: clock::unix_ms(),
        time_source: TimeSource::UNTOLD,
        picture_stream: None,
        stream_time: StreamTime::ZERO,
        faces: vec![OriginFace {
            face_id: Uuid::new_v4(),
            detection_id: Uuid::new_v4(),
            bbox: Rect::new(10.0, 20.0, 40.0, 50.0),
        }],
        jpeg: jpeg(56, 70),
    })
}

fn jpeg(width: u16, height: u16) -> Arc<[u8]> {
    static PICTURE: OnceLock<Arc<[u8]>> = OnceLock::new();
    let draw = || {
        let pixels: Vec<u8> = (0..usize::from(width) * usize::from(height) * 3).map(|i| (i * 7 % 251) as u8).collect();
        let mut bytes = Vec::new();
        let encoder = jpeg_encoder::Encoder::new(&mut bytes, 80);
        encoder.encode(&pixels, width, height, jpeg_encoder::ColorType::Rgb).unwrap();
        Arc::from(bytes)
    };
    Arc::clone(PICTURE.get_or_init(draw))
}

/// Looks again and again; panics when it has not happened in half a minute.
pub async fn until(what: &str, mut happened: impl FnMut() -> bool) {
    let deadline: Instant = clock::monotonic() + Duration::from_secs(30);
    while !happened() {
        assert!(clock::monotonic() < deadline, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
