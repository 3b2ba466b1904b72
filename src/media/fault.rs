//! Why a camera gives no pictures, in words that say what to do about it.

use std::fmt;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::Duration;

use super::SourceKind;
use super::source::Source;

const PROBE_PATIENCE: Duration = Duration::from_millis(400);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FaultKind {
    Refused,
    Unreachable,
    NotFound,
    Unauthorized,
    /// Connected, or trying to, but no picture for too long.
    Timeout,
    UnsupportedCodec,
    /// Packets come, and no picture can be made of them.
    NoKeyFrame,
    /// Pictures come, and each is the same as the last.
    Still,
    NoVideo,
    /// Not a video, or damaged.
    Broken,
    /// A live source ended.
    Disconnected,
    /// A device or a file that is there but cannot be opened or read.
    Access,
    /// None of the above: the detail is all there is.
    Other,
}

/// Holds no credentials: neither the place nor the detail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    pub kind: FaultKind,
    /// The URL as it may be shown.
    pub place: String,
    /// What GStreamer said; may be empty.
    pub detail: String,
}

impl FaultKind {
    /// For metrics and for programs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Unreachable => "unreachable",
            Self::NotFound => "not_found",
            Self::Unauthorized => "unauthorized",
            Self::Timeout => "timeout",
            Self::UnsupportedCodec => "unsupported_codec",
            Self::NoKeyFrame => "no_key_frame",
            Self::Still => "still",
            Self::NoVideo => "no_video",
            Self::Broken => "broken",
            Self::Disconnected => "disconnected",
            Self::Access => "access",
            Self::Other => "other",
        }
    }

    const fn what(self) -> &'static str {
        match self {
            Self::Refused => "the connection was refused",
            Self::Unreachable => "cannot connect",
            Self::NotFound => "not found",
            Self::Unauthorized => "user or password not accepted",
            Self::Timeout => "no picture arrives",
            Self::UnsupportedCodec => "no decoder for this video",
            Self::NoKeyFrame => "packets arrive, but no whole picture",
            Self::Still => "the picture stands still: it is the same to the last sample",
            Self::NoVideo => "holds no video",
            Self::Broken => "not a video, or damaged",
            Self::Disconnected => "the stream was closed",
            Self::Access => "cannot be opened or read",
            Self::Other => "the video does not play",
        }
    }

    /// What a person can do about it.
    pub const fn hint(self) -> &'static str {
        match self {
            Self::Refused => "nothing listens there: check the port, and whether the camera's stream is switched on",
            Self::Unreachable => "check the address, the network, and whether the camera has power",
            Self::NotFound => "check the path",
            Self::Unauthorized => "check user and password in the URL; special characters in them are written as %XX",
            Self::Timeout => {
                "the camera is connected but silent, or the network loses its packets: look at it with another player"
            }
            Self::UnsupportedCodec => "set the camera to H.264 or H.265, or install gstreamer1.0-libav",
            Self::NoKeyFrame => {
                "the camera sends no key frames, or the network loses them: set its key frame (GOP) interval to 1 or 2 s"
            }
            Self::Still => "the camera's encoder hangs, or its lens is covered: look at it, restart the camera",
            Self::NoVideo => "it may hold sound only: choose another file or stream",
            Self::Broken => "play it with another program; copy or record it anew",
            Self::Disconnected => "the camera restarted, or somebody else took its last connection",
            Self::Access => "check the permissions, and whether another program holds the device",
            Self::Other => "run with GST_DEBUG=3 to see more",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.kind.what())?;
        if !self.detail.is_empty() {
            write!(f, " ({})", self.detail)?;
        }
        write!(f, "; {}", self.kind.hint())
    }
}

impl std::error::Error for Fault {}

impl Fault {
    pub(super) fn new(kind: FaultKind, source: &Source) -> Self {
        Self { kind, place: source.shown.clone(), detail: String::new() }
    }

    pub(super) fn with_detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = detail.into();
        self
    }

    /// From an error on the bus. `missing` is the video type for which a decoder was looked for in vain.
    pub(super) fn from_gst(error: &gst::message::Error, missing: Option<&str>, source: &Source) -> Self {
        let (error, debug) = (error.error(), error.debug().unwrap_or_default());
        let kind = kind_of(&error, &debug, missing.is_some(), source.kind);
        if kind == FaultKind::Unreachable {
            return Self::new(probe(&source.location).unwrap_or(kind), source);
        }
        let detail = match (kind, missing) {
            (FaultKind::UnsupportedCodec, Some(media_type)) => media_type.to_owned(),
            (FaultKind::Other | FaultKind::Broken, _) => error.message().replace(&source.location, &source.shown),
            _ => String::new(),
        };
        Self::new(kind, source).with_detail(detail)
    }
}

fn kind_of(error: &gst::glib::Error, debug: &str, decoder_missing: bool, source: SourceKind) -> FaultKind {
    use gst::{CoreError, ResourceError, StreamError};
    let network = matches!(source, SourceKind::Rtsp | SourceKind::Http);
    if let Some(resource) = error.kind::<ResourceError>() {
        return match resource {
            ResourceError::NotAuthorized => FaultKind::Unauthorized,
            ResourceError::NotFound => FaultKind::NotFound,
            _ if debug.contains("404") => FaultKind::NotFound,
            _ if debug.contains("401") => FaultKind::Unauthorized,
            _ if debug.contains("No such file or directory") => FaultKind::NotFound,
            _ if debug.contains("imeout") || debug.contains("Could not receive any UDP") => FaultKind::Timeout,
            ResourceError::OpenRead | ResourceError::OpenWrite | ResourceError::OpenReadWrite if network => {
                FaultKind::Unreachable
            }
            ResourceError::Read | ResourceError::Close if network => FaultKind::Disconnected,
            _ => FaultKind::Access,
        };
    }
    match error.kind::<StreamError>() {
        Some(StreamError::CodecNotFound) => codec_fault(decoder_missing),
        Some(StreamError::TypeNotFound | StreamError::WrongType | StreamError::Demux | StreamError::Decode) => {
            FaultKind::Broken
        }
        // How souphttpsrc says that it cannot connect.
        Some(StreamError::Failed) if network && debug.contains("reason error (-5)") => FaultKind::Unreachable,
        Some(StreamError::Failed) if debug.contains("typefind") => FaultKind::Broken,
        _ if error.kind::<CoreError>() == Some(CoreError::MissingPlugin) => codec_fault(decoder_missing),
        _ => FaultKind::Other,
    }
}

/// decodebin reports a stream without video as a missing plug-in too, but names none.
fn codec_fault(decoder_missing: bool) -> FaultKind {
    if decoder_missing { FaultKind::UnsupportedCodec } else { FaultKind::NoVideo }
}

/// Why a connection fails, which GStreamer does not tell. Only for numeric addresses: a name server may keep us
/// waiting for longer than a stop may take.
fn probe(location: &str) -> Option<FaultKind> {
    let (scheme, rest) = location.split_once("://")?;
    let authority = &rest[..rest.find(['/', '?', '#']).unwrap_or(rest.len())];
    let address: SocketAddr = authority.parse().ok().or_else(|| {
        let port = match scheme {
            "http" => 80,
            "https" => 443,
            "rtsps" | "rtspst" | "rtspsu" => 322,
            _ => 554,
        };
        Some(SocketAddr::new(authority.parse::<IpAddr>().ok()?, port))
    })?;
    let error = TcpStream::connect_timeout(&address, PROBE_PATIENCE).err()?;
    (error.kind() == std::io::ErrorKind::ConnectionRefused).then_some(FaultKind::Refused)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_says_what_where_and_what_to_do_without_the_password() {
        let source = Source::parse("rtsp://admin:secret@10.0.0.7/cam?password=secret").unwrap();
        let text = Fault::new(FaultKind::Unauthorized, &source).to_string();
        assert!(text.starts_with("rtsp://10.0.0.7/cam?…: user or password not accepted; check"), "{text}");
        assert!(!text.contains("secret"));
    }

    #[test]
    fn a_closed_port_is_told_from_a_host_that_is_silent() {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        assert_eq!(probe(&format!("rtsp://{free}/cam")), Some(FaultKind::Refused));
        assert_eq!(probe("rtsp://camera.invalid/cam"), None);
    }
}
