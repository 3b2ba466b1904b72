//! A task as the rules and the supervisor know it: one stream, its rules and its outputs, all valid.
//! A create body with several inputs becomes several of these (one id per input).

use std::fmt;
use std::time::Duration;

use super::geometry::Roi;

/// 32 lower-case hex digits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskId(String);

impl TaskId {
    pub fn parse(text: &str) -> Option<Self> {
        let ok = text.len() == 32 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        ok.then(|| Self(text.to_owned()))
    }

    pub fn from_uuid(id: uuid::Uuid) -> Self {
        Self(id.simple().to_string())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct Task {
    pub id: TaskId,
    pub name: String,
    pub edge_pool_id: String,
    /// The licence that the channel is taken from; the installation's default when absent.
    pub resource_order_id: Option<String>,
    /// Position among the inputs of the body that made it.
    pub index: u32,
    pub source: Source,
    pub outputs: Outputs,
    pub rules: Rules,
}

impl Task {
    /// Names this task's stream in messages and folders: the camera where one is named, else task and index.
    pub fn stream_id(&self) -> String {
        match &self.source {
            Source::Camera { id } => id.clone(),
            Source::Vcn { device_id, .. } => device_id.clone(),
            Source::Url { .. } | Source::Restful { .. } => format!("{}-{}", self.id, self.index),
        }
    }
}

/// Where the pictures come from.
#[derive(Clone, PartialEq, Eq)]
pub enum Source {
    /// rtsp, rtsps, http, https, file or v4l2 address. May hold a password.
    Url { url: String },
    /// A camera of this installation's registry.
    Camera { id: String },
    /// A REST call that answers with a stream address.
    Restful { url: String, headers: Vec<(String, String)>, certificate_check: bool, rtsp_path_in_response: String },
    /// A camera behind a video management platform. Stream 1 is main, 2 and 3 are sub-streams.
    Vcn { ip: String, port: u16, username: String, password: String, device_id: String, stream_type: u8 },
}

impl fmt::Debug for Source {
    /// Without addresses or passwords: this may end in a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url { .. } => f.write_str("Url"),
            Self::Camera { id } => write!(f, "Camera({id})"),
            Self::Restful { .. } => f.write_str("Restful"),
            Self::Vcn { device_id, .. } => write!(f, "Vcn({device_id})"),
        }
    }
}

/// The two kinds of message an output can ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Category {
    FaceImage,
    OriginImage,
}

impl Category {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::FaceImage => "FaceImage",
            Self::OriginImage => "OriginImage",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Outputs {
    pub webhook: Option<Webhook>,
    pub localpath: Option<LocalPath>,
    pub mqtt: Option<Mqtt>,
    pub gate_buffer: Option<GateBuffer>,
}

impl Outputs {
    /// Whether any output asks for this kind of message.
    pub fn want(&self, category: Category) -> bool {
        let webhook = self.webhook.iter().map(|output| &output.categories);
        let localpath = self.localpath.iter().map(|output| &output.categories);
        let mqtt = self.mqtt.iter().map(|output| &output.categories);
        let enrolled = self.gate_buffer.is_some() && category == Category::FaceImage;
        enrolled || webhook.chain(localpath).chain(mqtt).any(|categories| categories.contains(&category))
    }
}

#[derive(Clone, PartialEq, Eq)]
pub struct Webhook {
    pub url: String,
    pub headers: Vec<(String, String)>,
    pub categories: Vec<Category>,
    /// Each signs every call, so that a receiver may change from one to the next. Empty: the box's own secret signs.
    pub secrets: Vec<String>,
    pub payload: Payload,
    pub transport: Transport,
    pub evidence: bool,
}

impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Webhook").field("categories", &self.categories).finish_non_exhaustive()
    }
}

/// How the picture travels.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Payload {
    /// Base64 in the JSON.
    #[default]
    Inline,
    /// Beside the JSON, as a part of its own.
    Multipart,
    /// It stays here: the JSON says where it can be fetched, below this address of the box.
    Thin { base: String },
}

/// What an output asks of its connection.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Transport {
    /// Most that leaves for this output.
    pub max_kbit_s: Option<u32>,
    /// Certificates (PEM) that are trusted beside the system's.
    pub ca_file: Option<String>,
    /// Certificate and key (PEM) by which the box shows who it is.
    pub client_certificate_file: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalPath {
    pub mount_source_path: String,
    pub categories: Vec<Category>,
    pub evidence: bool,
}

#[derive(Clone, PartialEq, Eq)]
pub struct Mqtt {
    /// mqtt or mqtts. May hold an account.
    pub url: String,
    /// What all topics begin with.
    pub topic: String,
    pub categories: Vec<Category>,
    /// Home Assistant is told what there is.
    pub discovery: bool,
    pub transport: Transport,
    pub evidence: bool,
}

impl fmt::Debug for Mqtt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mqtt").field("categories", &self.categories).finish_non_exhaustive()
    }
}

/// Enrols each track's best picture as a ticket holder's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GateBuffer {
    /// Empty: all.
    pub gates: Vec<String>,
    pub valid_hours: u32,
}

/// `service_config.common`, valid and in units.
#[derive(Debug, Clone, PartialEq)]
pub struct Rules {
    /// A face whose shorter side is below this is not reported.
    pub min_size_px: f32,
    /// A face whose longer side is above this is not reported.
    pub max_size_px: f32,
    pub roi: Roi,
    pub send_origin_image: bool,
    /// An OriginImage shows no face that is not reported with it, and nothing outside the region.
    pub veil_origin_image: bool,
    /// 20..=100.
    pub jpeg_quality: u8,
    /// From a face's first detection to its first sending.
    pub first_send_after: Duration,
    /// Send a face once that leaves before `first_send_after` is over.
    pub must_send: bool,
    pub repeat: Repeat,
    /// Frames left out between two analysed ones.
    pub frame_skip: u32,
    /// Say which person of the directory a face is.
    pub recognize_person: bool,
    /// After a sending, no other track of the same person is sent for this long, of no camera. Zero: all are.
    pub same_person_quiet: Duration,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            min_size_px: 90.0,
            max_size_px: 4096.0,
            roi: Roi::whole_frame(),
            send_origin_image: false,
            veil_origin_image: false,
            jpeg_quality: 90,
            first_send_after: Duration::ZERO,
            must_send: false,
            repeat: Repeat::Off,
            frame_skip: 0,
            recognize_person: false,
            same_person_quiet: Duration::ZERO,
        }
    }
}

/// How further pictures of a tracked face are chosen after its first sending.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Repeat {
    Off,
    /// At the end of each period, that period's best picture.
    Period {
        interval: Duration,
    },
    /// When the quality exceeds `step` × the quality last sent.
    QualityStep {
        step: f32,
    },
}
