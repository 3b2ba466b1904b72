//! A message as it lies in its row: JSON without the picture. Written and read by this file only; the payloads that
//! leave the box are another form, made when they are sent.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::domain::{
    FaceImage, KnownPerson, Landmarks, Message, OriginFace, OriginImage, PictureStream, Point, Reason, Rect,
    StreamTime, TaskId, TimeSource, UnixMs,
};

pub fn write(message: &Message) -> String {
    let body = match message {
        Message::Face(face) => Body::Face(face.into()),
        Message::Origin(origin) => Body::Origin(origin.into()),
    };
    serde_json::to_string(&body).expect("no map keys and no foreign types: always JSON")
}

/// `None` where the row was not written by us.
pub fn read(body: &str, jpeg: Arc<[u8]>) -> Option<Message> {
    match serde_json::from_str(body).ok()? {
        Body::Face(face) => Some(Message::Face(face.into_domain(jpeg)?)),
        Body::Origin(origin) => Some(Message::Origin(origin.into_domain(jpeg)?)),
    }
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "category")]
enum Body {
    #[serde(rename = "FaceImage")]
    Face(Face),
    #[serde(rename = "OriginImage")]
    Origin(Origin),
}

#[derive(Serialize, Deserialize)]
struct Head {
    message_id: Uuid,
    task_id: String,
    stream_id: String,
    node_id: String,
    origin_image_id: Uuid,
    taken_at_ms: i64,
    stream_time_ns: u64,
    /// Both absent in rows of older versions, which did not know.
    #[serde(default)]
    time_source: Option<String>,
    #[serde(default)]
    clock_skew_ms: Option<i64>,
    /// Absent where the camera has one stream.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    picture_stream: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct Face {
    #[serde(flatten)]
    head: Head,
    face_id: Uuid,
    detection_id: Uuid,
    bbox: [f32; 4],
    confidence: f32,
    quality: f32,
    landmarks: Option<[[f32; 2]; 5]>,
    reason: String,
    seq: u32,
    /// Id and similarity; absent in rows of older versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    person: Option<(Uuid, f32)>,
}

#[derive(Serialize, Deserialize)]
struct Origin {
    #[serde(flatten)]
    head: Head,
    faces: Vec<FaceInOrigin>,
}

#[derive(Serialize, Deserialize)]
struct FaceInOrigin {
    face_id: Uuid,
    detection_id: Uuid,
    bbox: [f32; 4],
}

impl From<&FaceImage> for Face {
    fn from(m: &FaceImage) -> Self {
        Self {
            head: Head {
                message_id: m.message_id,
                task_id: m.task_id.to_string(),
                stream_id: m.stream_id.clone(),
                node_id: m.node_id.clone(),
                origin_image_id: m.origin_image_id,
                taken_at_ms: m.taken_at.0,
                stream_time_ns: m.stream_time.as_nanos(),
                time_source: Some(m.time_source.as_str().to_owned()),
                clock_skew_ms: m.time_source.skew_ms(),
                picture_stream: m.picture_stream.map(|stream| stream.as_str().to_owned()),
            },
            face_id: m.face_id,
            detection_id: m.detection_id,
            bbox: corners(&m.bbox),
            confidence: m.confidence,
            quality: m.quality,
            landmarks: m.landmarks.map(|l| l.0.map(|p| [p.x, p.y])),
            reason: m.reason.as_str().to_owned(),
            seq: m.seq,
            person: m.person.as_ref().map(|p| (p.id, p.similarity)),
        }
    }
}

impl From<&OriginImage> for Origin {
    fn from(m: &OriginImage) -> Self {
        let face =
            |f: &OriginFace| FaceInOrigin { face_id: f.face_id, detection_id: f.detection_id, bbox: corners(&f.bbox) };
        Self {
            head: Head {
                message_id: m.message_id,
                task_id: m.task_id.to_string(),
                stream_id: m.stream_id.clone(),
                node_id: m.node_id.clone(),
                origin_image_id: m.origin_image_id,
                taken_at_ms: m.taken_at.0,
                stream_time_ns: m.stream_time.as_nanos(),
                time_source: Some(m.time_source.as_str().to_owned()),
                clock_skew_ms: m.time_source.skew_ms(),
                picture_stream: m.picture_stream.map(|stream| stream.as_str().to_owned()),
            },
            faces: m.faces.iter().map(face).collect(),
        }
    }
}

impl Head {
    /// `None` where the row was not written by us.
    fn picture_stream(&self) -> Option<Option<PictureStream>> {
        let Some(name) = &self.picture_stream else { return Some(None) };
        [PictureStream::Main, PictureStream::Detect].into_iter().find(|stream| stream.as_str() == name).map(Some)
    }

    fn time_source(&self) -> Option<TimeSource> {
        match self.time_source.as_deref() {
            None => Some(TimeSource::UNTOLD),
            Some("camera") => Some(TimeSource::Camera { skew_ms: self.clock_skew_ms? }),
            Some("receipt") => Some(TimeSource::Receipt { skew_ms: self.clock_skew_ms }),
            Some("file") => Some(TimeSource::File),
            Some(_) => None,
        }
    }
}

impl Face {
    fn into_domain(self, jpeg: Arc<[u8]>) -> Option<FaceImage> {
        let time_source = self.head.time_source()?;
        let picture_stream = self.head.picture_stream()?;
        Some(FaceImage {
            message_id: self.head.message_id,
            task_id: TaskId::parse(&self.head.task_id)?,
            stream_id: self.head.stream_id,
            node_id: self.head.node_id,
            face_id: self.face_id,
            detection_id: self.detection_id,
            origin_image_id: self.head.origin_image_id,
            taken_at: UnixMs(self.head.taken_at_ms),
            time_source,
            picture_stream,
            stream_time: StreamTime::from_nanos(self.head.stream_time_ns),
            bbox: rect(self.bbox),
            confidence: self.confidence,
            quality: self.quality,
            landmarks: self.landmarks.map(|l| Landmarks(l.map(|[x, y]| Point::new(x, y)))),
            reason: reason(&self.reason)?,
            seq: self.seq,
            person: self.person.map(|(id, similarity)| KnownPerson { id, similarity }),
            jpeg,
        })
    }
}

impl Origin {
    fn into_domain(self, jpeg: Arc<[u8]>) -> Option<OriginImage> {
        let time_source = self.head.time_source()?;
        let picture_stream = self.head.picture_stream()?;
        let face =
            |f: FaceInOrigin| OriginFace { face_id: f.face_id, detection_id: f.detection_id, bbox: rect(f.bbox) };
        Some(OriginImage {
            message_id: self.head.message_id,
            task_id: TaskId::parse(&self.head.task_id)?,
            stream_id: self.head.stream_id,
            node_id: self.head.node_id,
            origin_image_id: self.head.origin_image_id,
            taken_at: UnixMs(self.head.taken_at_ms),
            time_source,
            picture_stream,
            stream_time: StreamTime::from_nanos(self.head.stream_time_ns),
            faces: self.faces.into_iter().map(face).collect(),
            jpeg,
        })
    }
}

fn corners(r: &Rect) -> [f32; 4] {
    [r.x, r.y, r.w, r.h]
}

fn rect([x, y, w, h]: [f32; 4]) -> Rect {
    Rect::new(x, y, w, h)
}

fn reason(text: &str) -> Option<Reason> {
    [Reason::First, Reason::Must, Reason::Period, Reason::QualityStep].into_iter().find(|r| r.as_str() == text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_face_comes_back_as_it_went_in(
            numbers in proptest::array::uniform4(-1e5f32..1e5), confidence in 0f32..1.0, quality in 0f32..1.0,
            taken_at in any::<i64>(), nanos in any::<u64>(), seq in any::<u32>(), with_landmarks in any::<bool>(),
            stream_id in "\\PC{0,20}", skew_ms in any::<i64>(), clock in 0..4,
        ) {
            let time_source = match clock {
                0 => TimeSource::Camera { skew_ms },
                1 => TimeSource::Receipt { skew_ms: Some(skew_ms) },
                2 => TimeSource::UNTOLD,
                _ => TimeSource::File,
            };
            let reasons = [Reason::First, Reason::Must, Reason::Period, Reason::QualityStep];
            let face = Message::Face(FaceImage {
                message_id: Uuid::new_v4(),
                task_id: TaskId::from_uuid(Uuid::new_v4()),
                stream_id,
                node_id: "node \"1\"".into(),
                face_id: Uuid::new_v4(),
                detection_id: Uuid::new_v4(),
                origin_image_id: Uuid::new_v4(),
                taken_at: UnixMs(taken_at),
                time_source,
                stream_time: StreamTime::from_nanos(nanos),
                bbox: rect(numbers),
                confidence,
                quality,
                landmarks: with_landmarks.then(|| Landmarks(numbers.map(|n| Point::new(n, -n / 3.0)).into_iter()
                    .chain([Point::new(confidence, quality)]).collect::<Vec<_>>().try_into().unwrap())),
                reason: reasons[seq as usize % reasons.len()],
                seq,
                picture_stream: [None, Some(PictureStream::Main), Some(PictureStream::Detect)][seq as usize % 3],
                person: with_landmarks.then(|| KnownPerson { id: Uuid::new_v4(), similarity: confidence }),
                jpeg: Arc::from([1, 2, 3].as_slice()),
            });
            prop_assert_eq!(read(&write(&face), Arc::clone(face.jpeg())), Some(face));
        }
    }

    #[test]
    fn an_origin_image_comes_back_as_it_went_in() {
        let origin = Message::Origin(OriginImage {
            message_id: Uuid::new_v4(),
            task_id: TaskId::from_uuid(Uuid::new_v4()),
            stream_id: "cam".into(),
            node_id: "node".into(),
            origin_image_id: Uuid::new_v4(),
            taken_at: UnixMs(7),
            time_source: TimeSource::File,
            picture_stream: Some(PictureStream::Detect),
            stream_time: StreamTime::from_millis(9),
            faces: vec![OriginFace {
                face_id: Uuid::new_v4(),
                detection_id: Uuid::new_v4(),
                bbox: Rect::new(1.5, 2.0, 3.0, 4.0),
            }],
            jpeg: Arc::from([].as_slice()),
        });
        assert_eq!(read(&write(&origin), Arc::clone(origin.jpeg())), Some(origin));
    }

    #[test]
    fn a_row_from_before_time_sources_is_read() {
        let id = Uuid::from_u128(1);
        let row = format!(
            "{{\"category\":\"OriginImage\",\"message_id\":\"{id}\",\"task_id\":\"{}\",\"stream_id\":\"cam\",\
             \"node_id\":\"node\",\"origin_image_id\":\"{id}\",\"taken_at_ms\":7,\"stream_time_ns\":9,\"faces\":[]}}",
            id.simple()
        );
        let Some(Message::Origin(origin)) = read(&row, Arc::from([].as_slice())) else { panic!("{row}") };
        assert_eq!((origin.taken_at, origin.time_source), (UnixMs(7), TimeSource::UNTOLD));
        assert_eq!(read(&row.replace("\"faces\"", "\"time_source\":\"moon\",\"faces\""), origin.jpeg), None);
    }

    #[test]
    fn a_foreign_row_is_none() {
        assert_eq!(read("{\"category\":\"FaceImage\"}", Arc::from([].as_slice())), None);
    }
}
