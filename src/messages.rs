//! From what the rules send to messages: which picture is shown of it, in whose pixels, and its JPEG.
//!
//! Of a camera with two streams the large picture of the same moment is decoded here, once a frame; where there is
//! none, the small one that was analysed stands in, in its own pixels.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use uuid::Uuid;

use crate::clock;
use crate::domain::{
    Category, Detection, FaceImage, Message, OriginFace, OriginImage, PictureStream, Rect, Scale, Task, TimeSource,
    UnixMs,
};
use crate::frame::{Frame, PixelBuffer};
use crate::main_stream::{Absent, Claim, MainStream};
use crate::rules::Sending;
use crate::snapshot::{self, Crop, SnapshotError};
use crate::veil::veil;

/// What the rules keep of a frame for one face.
pub struct Picture {
    /// Of the frame that was analysed.
    crop: Crop,
    detection_id: Uuid,
    origin: Arc<Origin>,
}

/// The frame behind pictures, joined by its id; its pixels are kept only where an OriginImage is wanted.
pub struct Origin {
    id: Uuid,
    taken_at: UnixMs,
    time_source: TimeSource,
    /// Width and height of the frame that was analysed, and of the one in whose pixels the rules saw its faces.
    size: (f32, f32),
    rules_size: (f32, f32),
    frame: Option<Frame>,
    /// The same moment in the camera's main stream.
    main: Option<Arc<dyn Claim>>,
    /// All faces of that frame, where the frame is kept.
    faces: Vec<Rect>,
    sent: AtomicBool,
}

impl Origin {
    /// `detections` are in the rules' pixels; with `whole`, the frame is to be sent, too.
    pub fn of(
        frame: &Frame,
        rules_size: (f32, f32),
        detections: &[Detection],
        whole: bool,
        main: Option<&Arc<dyn MainStream>>,
    ) -> Self {
        let (width, height) = frame.size();
        Self {
            id: Uuid::new_v4(),
            taken_at: frame.taken_at,
            time_source: frame.time_source,
            size: (width as f32, height as f32),
            rules_size,
            frame: whole.then(|| frame.clone()),
            main: main.map(|main| main.claim(frame)),
            faces: if whole { detections.iter().map(|face| face.bbox).collect() } else { Vec::new() },
            sent: AtomicBool::new(false),
        }
    }
}

impl Picture {
    /// `face` in the frame's own pixels.
    pub fn cut(frame: &Frame, face: &Rect, origin: &Arc<Origin>) -> Self {
        let crop = Crop::of_face(&frame.planes(), frame.color, face);
        Self { crop, detection_id: Uuid::new_v4(), origin: Arc::clone(origin) }
    }
}

/// The messages of one frame's sendings.
pub struct Writer<'a> {
    pub task: &'a Task,
    pub node_id: &'a str,
    /// Track ids are made of it.
    pub session: Uuid,
}

/// What a track of a run is called outside.
pub fn face_id(session: Uuid, track: u64) -> Uuid {
    Uuid::new_v5(&session, &track.to_be_bytes())
}

pub struct Written {
    pub messages: Vec<Message>,
    /// Spent on pictures of a main stream, waiting for them included.
    pub main_decode: Duration,
}

/// What is shown of a frame.
struct Shown<'a> {
    origin: &'a Origin,
    /// Of the main stream.
    large: Option<Frame>,
    /// From the rules' pixels to those of what is shown.
    scale: Scale,
}

impl Writer<'_> {
    /// The faces, and then the frames they were cut from, each frame once.
    pub fn write(&self, sendings: &[Sending<Arc<Picture>>]) -> Result<Written, SnapshotError> {
        let started = clock::monotonic();
        let mut shown: Vec<Shown> = Vec::new();
        for sending in sendings {
            let origin = &*sending.shot.picture.origin;
            if shown.iter().all(|other| other.origin.id != origin.id) {
                shown.push(Shown::of(origin));
            }
        }
        let has_main = shown.iter().any(|shown| shown.origin.main.is_some());
        let main_decode = if has_main { started.elapsed() } else { Duration::ZERO };
        let of = |sending: &Sending<Arc<Picture>>| {
            shown.iter().find(|shown| shown.origin.id == sending.shot.picture.origin.id).expect("made above")
        };
        let mut out = Vec::with_capacity(sendings.len() + 1);
        if self.task.outputs.want(Category::FaceImage) {
            for sending in sendings {
                out.push(Message::Face(self.face_image(sending, of(sending))?));
            }
        }
        for shown in &shown {
            let Some(frame) = &shown.origin.frame else { continue };
            if !shown.origin.sent.swap(true, Ordering::Relaxed) {
                let same_frame = sendings.iter().filter(|other| other.shot.picture.origin.id == shown.origin.id);
                let faces = same_frame.map(|other| self.origin_face(other, shown)).collect();
                let frame = shown.large.as_ref().unwrap_or(frame);
                out.push(Message::Origin(self.origin_image(shown, frame, faces)?));
            }
        }
        Ok(Written { messages: out, main_decode })
    }

    fn face_image(&self, sending: &Sending<Arc<Picture>>, shown: &Shown) -> Result<FaceImage, SnapshotError> {
        let Self { task, node_id, .. } = *self;
        let Sending { track, seq, reason, shot } = sending;
        let bbox = shown.scale.rect(&shot.detection.bbox);
        let (taken_at, time_source) = shown.taken();
        let quality = task.rules.jpeg_quality;
        Ok(FaceImage {
            message_id: Uuid::new_v4(),
            task_id: task.id.clone(),
            stream_id: task.stream_id(),
            node_id: node_id.to_owned(),
            face_id: face_id(self.session, *track),
            detection_id: shot.picture.detection_id,
            origin_image_id: shown.origin.id,
            taken_at,
            time_source,
            stream_time: shot.at,
            bbox,
            confidence: shot.detection.score,
            quality: shot.quality.score,
            landmarks: shot.detection.landmarks.as_ref().map(|landmarks| shown.scale.landmarks(landmarks)),
            reason: *reason,
            seq: *seq,
            person: None,
            picture_stream: shown.stream(),
            jpeg: match &shown.large {
                Some(frame) => Crop::of_face(&frame.planes(), frame.color, &bbox).jpeg(quality)?.into(),
                None => shot.picture.crop.jpeg(quality)?.into(),
            },
        })
    }

    fn origin_face(&self, sending: &Sending<Arc<Picture>>, shown: &Shown) -> OriginFace {
        OriginFace {
            face_id: face_id(self.session, sending.track),
            detection_id: sending.shot.picture.detection_id,
            bbox: shown.scale.rect(&sending.shot.detection.bbox),
        }
    }

    fn origin_image(&self, shown: &Shown, frame: &Frame, faces: Vec<OriginFace>) -> Result<OriginImage, SnapshotError> {
        let Self { task, node_id, .. } = *self;
        let (taken_at, time_source) = shown.taken();
        Ok(OriginImage {
            message_id: Uuid::new_v4(),
            task_id: task.id.clone(),
            stream_id: task.stream_id(),
            node_id: node_id.to_owned(),
            origin_image_id: shown.origin.id,
            taken_at,
            time_source,
            stream_time: frame.stream_time,
            picture_stream: shown.stream(),
            jpeg: shown.jpeg(task, frame, &faces)?.into(),
            faces,
        })
    }
}

impl<'a> Shown<'a> {
    fn of(origin: &'a Origin) -> Self {
        let large = origin.main.as_ref().and_then(|main| match main.decode() {
            Ok(frame) => Some(frame),
            Err(absent) => {
                match &absent {
                    Absent::Undecodable(_) => tracing::warn!(%absent, "a picture is cut from the small stream"),
                    _ => tracing::debug!(%absent, "a picture is cut from the small stream"),
                }
                None
            }
        });
        let size = large.as_ref().map_or(origin.size, |frame| {
            let (width, height) = frame.size();
            (width as f32, height as f32)
        });
        Self { origin, large, scale: Scale::between(origin.rules_size, size) }
    }

    fn stream(&self) -> Option<PictureStream> {
        let kind = if self.large.is_some() { PictureStream::Main } else { PictureStream::Detect };
        self.origin.main.as_ref().map(|_| kind)
    }

    fn taken(&self) -> (UnixMs, TimeSource) {
        let small = (self.origin.taken_at, self.origin.time_source);
        self.large.as_ref().map_or(small, |frame| (frame.taken_at, frame.time_source))
    }

    /// As it is, or with all that is not reported made unrecognisable.
    fn jpeg(&self, task: &Task, frame: &Frame, reported: &[OriginFace]) -> Result<Vec<u8>, SnapshotError> {
        let quality = task.rules.jpeg_quality;
        if !task.rules.veil_origin_image {
            return snapshot::jpeg(&frame.planes(), frame.color, quality);
        }
        let keep: Vec<_> = reported.iter().map(|face| face.bbox).collect();
        let all = self.origin.faces.iter().map(|face| self.scale.rect(face));
        let hide: Vec<_> = all.filter(|face| !keep.contains(face)).collect();
        let veiled = veil(&frame.planes(), &hide, &keep, &self.scale.roi(&task.rules.roi));
        snapshot::jpeg(&veiled.planes(), frame.color, quality)
    }
}
