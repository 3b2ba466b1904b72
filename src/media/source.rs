//! What a URL names, taken apart: the kind of source, and credentials away from the place that may be shown.

use gst::glib;

use super::{MediaError, Pace};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SourceKind {
    File,
    /// A file or a live stream: shows once it plays.
    Http,
    Rtsp,
    V4l2,
    Test,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    pub kind: SourceKind,
    /// What the element is given, without credentials.
    pub location: String,
    pub user: Option<String>,
    pub password: Option<String>,
    /// May be shown and logged.
    pub shown: String,
}

/// The kind of source that `url` names; an error names what is wrong and what would be right.
pub fn check_url(url: &str) -> Result<SourceKind, MediaError> {
    Source::parse(url).map(|source| source.kind)
}

/// `url` as it may be shown: without user, password and query, any of which may hold secrets.
pub fn redact_url(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let (path, query) = rest.split_at(rest.find(['?', '#']).unwrap_or(rest.len()));
    let (_, place) = split_userinfo(path);
    format!("{scheme}://{place}{}", if query.is_empty() { "" } else { "?…" })
}

impl Source {
    pub fn parse(url: &str) -> Result<Self, MediaError> {
        let fail = |problem: &str| MediaError::Url { url: redact_url(url), problem: problem.to_owned() };
        let Some((scheme, rest)) = url.split_once("://") else {
            return if url.is_empty() { Err(fail("the URL of a camera is empty")) } else { Ok(Self::file(url)) };
        };
        match scheme.to_ascii_lowercase().as_str() {
            "rtsp" | "rtsps" | "rtspt" | "rtspu" | "rtspst" | "rtspsu" => Self::network(SourceKind::Rtsp, scheme, rest)
                .ok_or_else(|| fail("no host; expected rtsp://host:port/path")),
            "http" | "https" => Self::network(SourceKind::Http, scheme, rest)
                .ok_or_else(|| fail("no host; expected http://host:port/path")),
            "file" => match glib::filename_from_uri(url) {
                Ok((path, _)) => Ok(Self::file(&path.to_string_lossy())),
                Err(_) => Err(fail("not a file URL; expected file:///folder/video.mp4")),
            },
            "v4l2" if rest.starts_with("/dev/") => Ok(Self::plain(SourceKind::V4l2, rest, url)),
            "v4l2" => Err(fail("no device; expected v4l2:///dev/video0")),
            "test" => Ok(Self::plain(SourceKind::Test, "", url)),
            _ => Err(fail("unknown kind of source; expected rtsp://, rtsps://, http://, https://, file:// or v4l2://")),
        }
    }

    /// Whether every frame counts and the end is an end; unknown for http until it plays.
    pub fn is_file(&self, pace: Pace) -> Option<bool> {
        match self.kind {
            SourceKind::File => Some(true),
            SourceKind::Http if pace == Pace::Max => Some(true),
            SourceKind::Http => None,
            SourceKind::Rtsp | SourceKind::V4l2 | SourceKind::Test => Some(false),
        }
    }

    /// `rtspsrc` takes these words for its `protocols`.
    pub fn transport(&self) -> &'static str {
        let scheme = self.location.split("://").next().unwrap_or_default();
        if matches!(scheme, "rtspu" | "rtspsu") { "udp" } else { "tcp" }
    }

    fn file(path: &str) -> Self {
        Self::plain(SourceKind::File, path, path)
    }

    fn plain(kind: SourceKind, location: &str, shown: &str) -> Self {
        Self { kind, location: location.to_owned(), user: None, password: None, shown: shown.to_owned() }
    }

    fn network(kind: SourceKind, scheme: &str, rest: &str) -> Option<Self> {
        let (userinfo, place) = split_userinfo(rest);
        if place.is_empty() || place.starts_with(['/', ':', '?']) {
            return None;
        }
        let location = format!("{}://{place}", scheme.to_ascii_lowercase());
        let (user, password) = match userinfo.map(|u| u.split_once(':').unwrap_or((u, ""))) {
            Some((user, password)) => (Some(unescape(user)), Some(unescape(password))),
            None => (None, None),
        };
        Some(Self { kind, shown: redact_url(&location), location, user, password })
    }
}

/// The last `@` of the authority ends the user info: passwords with an unescaped `@` are common on cameras.
fn split_userinfo(rest: &str) -> (Option<&str>, &str) {
    let authority = &rest[..rest.find(['/', '?', '#']).unwrap_or(rest.len())];
    match authority.rfind('@') {
        Some(at) => (Some(&rest[..at]), &rest[at + 1..]),
        None => (None, rest),
    }
}

/// Takes `%XX` apart; text that is not so written stays as it is.
fn unescape(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let hex = (first == b'%').then(|| tail.get(..2).and_then(|hex| std::str::from_utf8(hex).ok())).flatten();
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            None => {
                bytes.push(first);
                rest = tail;
            }
        }
    }
    String::from_utf8(bytes).unwrap_or_else(|_| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_leave_the_location() {
        let source = Source::parse("rtsp://admin:p%40ss@w@10.0.0.7:554/h264?key=1").unwrap();
        assert_eq!(source.location, "rtsp://10.0.0.7:554/h264?key=1");
        assert_eq!(source.user.as_deref(), Some("admin"));
        assert_eq!(source.password.as_deref(), Some("p@ss@w"));
        assert_eq!(source.shown, "rtsp://10.0.0.7:554/h264?…");
    }

    #[test]
    fn kinds_follow_the_scheme() {
        let kind = |url| check_url(url).unwrap();
        assert_eq!(kind("/videos/a b.mp4"), SourceKind::File);
        assert_eq!(Source::parse("file:///videos/a%20b.mp4").unwrap().location, "/videos/a b.mp4");
        assert_eq!(kind("https://host/video.mp4"), SourceKind::Http);
        assert_eq!(Source::parse("v4l2:///dev/video0").unwrap().location, "/dev/video0");
        assert_eq!(Source::parse("RTSPU://host/cam").unwrap().transport(), "udp");
        assert_eq!(Source::parse("rtsp://host/cam").unwrap().transport(), "tcp");
        assert_eq!(kind("test://"), SourceKind::Test);
    }

    #[test]
    fn a_bad_url_is_named_without_its_password() {
        for url in ["rtsp://user:secret@/cam", "ftp://user:secret@host/x", "v4l2://video0", ""] {
            let error = check_url(url).unwrap_err().to_string();
            assert!(!error.contains("secret"), "{error}");
            assert!(error.contains("expected") || url.is_empty(), "{error}");
        }
    }
}
