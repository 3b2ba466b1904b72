//! The two messages that leave the box.

use std::sync::Arc;

use uuid::Uuid;

use super::detection::Landmarks;
use super::geometry::Rect;
use super::task::{Category, TaskId};
use super::time::{StreamTime, TimeSource, UnixMs};

/// The rule that sent a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    First,
    Must,
    Period,
    QualityStep,
}

impl Reason {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::Must => "must",
            Self::Period => "period",
            Self::QualityStep => "quality_step",
        }
    }
}

/// Of a camera with two: the stream that a picture was cut from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PictureStream {
    /// The large one.
    Main,
    /// The small one that is analysed, because the large one had no picture of that moment.
    Detect,
}

impl PictureStream {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Main => "main",
            Self::Detect => "detect",
        }
    }
}

/// A person of the directory.
#[derive(Debug, Clone, PartialEq)]
pub struct KnownPerson {
    pub id: Uuid,
    /// Cosine, −1..1.
    pub similarity: f32,
}

/// One picture of one tracked face.
#[derive(Debug, Clone, PartialEq)]
pub struct FaceImage {
    pub message_id: Uuid,
    pub task_id: TaskId,
    pub stream_id: String,
    pub node_id: String,
    /// The track.
    pub face_id: Uuid,
    /// This picture.
    pub detection_id: Uuid,
    /// The frame that the picture was cut from; the same in every face of that frame and in its OriginImage.
    pub origin_image_id: Uuid,
    pub taken_at: UnixMs,
    pub time_source: TimeSource,
    pub stream_time: StreamTime,
    /// Pixels of the origin frame.
    pub bbox: Rect,
    pub confidence: f32,
    /// 0..1, docs/rules.md.
    pub quality: f32,
    pub landmarks: Option<Landmarks>,
    pub reason: Reason,
    /// Counts this track's pictures, from 1.
    pub seq: u32,
    /// Where the task asks for it and the face is known.
    pub person: Option<KnownPerson>,
    /// `None` where the camera has one stream.
    pub picture_stream: Option<PictureStream>,
    pub jpeg: Arc<[u8]>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct OriginFace {
    pub face_id: Uuid,
    pub detection_id: Uuid,
    pub bbox: Rect,
}

/// A whole frame that at least one sent face was cut from.
#[derive(Debug, Clone, PartialEq)]
pub struct OriginImage {
    pub message_id: Uuid,
    pub task_id: TaskId,
    pub stream_id: String,
    pub node_id: String,
    pub origin_image_id: Uuid,
    pub taken_at: UnixMs,
    pub time_source: TimeSource,
    pub stream_time: StreamTime,
    pub faces: Vec<OriginFace>,
    /// `None` where the camera has one stream.
    pub picture_stream: Option<PictureStream>,
    pub jpeg: Arc<[u8]>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Message {
    Face(FaceImage),
    Origin(OriginImage),
}

impl Message {
    pub fn id(&self) -> Uuid {
        match self {
            Self::Face(m) => m.message_id,
            Self::Origin(m) => m.message_id,
        }
    }

    pub fn category(&self) -> Category {
        match self {
            Self::Face(_) => Category::FaceImage,
            Self::Origin(_) => Category::OriginImage,
        }
    }

    pub fn task_id(&self) -> &TaskId {
        match self {
            Self::Face(m) => &m.task_id,
            Self::Origin(m) => &m.task_id,
        }
    }

    pub fn stream_id(&self) -> &str {
        match self {
            Self::Face(m) => &m.stream_id,
            Self::Origin(m) => &m.stream_id,
        }
    }

    pub fn taken_at(&self) -> UnixMs {
        match self {
            Self::Face(m) => m.taken_at,
            Self::Origin(m) => m.taken_at,
        }
    }

    pub fn jpeg(&self) -> &Arc<[u8]> {
        match self {
            Self::Face(m) => &m.jpeg,
            Self::Origin(m) => &m.jpeg,
        }
    }
}
