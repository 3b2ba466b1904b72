//! Where a message goes, and how, as its task said it last.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::domain::{Category, Outputs, Payload, Transport};

/// Kept in the database with each task's messages, so that they drain after the task was changed or deleted.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum OutputTarget {
    Webhook {
        url: String,
        headers: Vec<(String, String)>,
        #[serde(flatten)]
        options: Box<WebhookOptions>,
    },
    LocalPath {
        mount: String,
        #[serde(default, skip_serializing_if = "is_default")]
        evidence: bool,
    },
    Mqtt {
        url: String,
        topic: String,
        discovery: bool,
        #[serde(flatten)]
        connection: Box<Connection>,
        #[serde(default, skip_serializing_if = "is_default")]
        evidence: bool,
    },
}

#[derive(Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct WebhookOptions {
    #[serde(skip_serializing_if = "is_default")]
    pub secrets: Vec<String>,
    #[serde(skip_serializing_if = "is_default")]
    pub form: Form,
    #[serde(flatten)]
    pub connection: Connection,
    #[serde(skip_serializing_if = "is_default")]
    pub evidence: bool,
}

/// How the picture travels.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Form {
    #[default]
    Inline,
    Multipart,
    Thin {
        base: String,
    },
}

#[derive(Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Connection {
    #[serde(skip_serializing_if = "is_default")]
    pub max_kbit_s: Option<u32>,
    #[serde(skip_serializing_if = "is_default")]
    pub ca_file: Option<String>,
    #[serde(skip_serializing_if = "is_default")]
    pub client_certificate_file: Option<String>,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl OutputTarget {
    /// A webhook without any options.
    pub fn webhook(url: impl Into<String>, headers: Vec<(String, String)>) -> Self {
        Self::Webhook { url: url.into(), headers, options: Box::default() }
    }

    /// The outputs that ask for this kind of message.
    pub fn of(outputs: &Outputs, category: Category) -> Vec<Self> {
        let webhook = outputs.webhook.as_ref().filter(|w| w.categories.contains(&category));
        let localpath = outputs.localpath.as_ref().filter(|l| l.categories.contains(&category));
        let mqtt = outputs.mqtt.as_ref().filter(|m| m.categories.contains(&category));
        let webhook = webhook.map(|w| Self::Webhook {
            url: w.url.clone(),
            headers: w.headers.clone(),
            options: Box::new(WebhookOptions {
                secrets: w.secrets.clone(),
                form: (&w.payload).into(),
                connection: (&w.transport).into(),
                evidence: w.evidence,
            }),
        });
        let localpath = localpath.map(|l| Self::LocalPath { mount: l.mount_source_path.clone(), evidence: l.evidence });
        let mqtt = mqtt.map(|m| Self::Mqtt {
            url: m.url.clone(),
            topic: m.topic.clone(),
            discovery: m.discovery,
            connection: Box::new((&m.transport).into()),
            evidence: m.evidence,
        });
        webhook.into_iter().chain(localpath).chain(mqtt).collect()
    }

    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Webhook { .. } => "webhook",
            Self::LocalPath { .. } => "localpath",
            Self::Mqtt { .. } => "mqtt",
        }
    }

    /// What makes it the same output although the rest was changed.
    pub fn address(&self) -> String {
        match self {
            Self::Webhook { url, .. } => url.clone(),
            Self::LocalPath { mount, .. } => mount.clone(),
            Self::Mqtt { url, topic, .. } => format!("{url} {topic}"),
        }
    }

    pub fn wants_evidence(&self) -> bool {
        match self {
            Self::Webhook { options, .. } => options.evidence,
            Self::LocalPath { evidence, .. } | Self::Mqtt { evidence, .. } => *evidence,
        }
    }

    /// The picture stays here and is fetched.
    pub fn is_thin(&self) -> bool {
        matches!(self, Self::Webhook { options, .. } if matches!(options.form, Form::Thin { .. }))
    }

    pub fn max_kbit_s(&self) -> Option<u32> {
        match self {
            Self::Webhook { options, .. } => options.connection.max_kbit_s,
            Self::Mqtt { connection, .. } => connection.max_kbit_s,
            Self::LocalPath { .. } => None,
        }
    }

    /// For people: the server without the path, query or password that may be secret.
    pub fn shown(&self) -> String {
        match self {
            Self::Webhook { url, .. } => server(url),
            Self::Mqtt { url, topic, .. } => format!("{}/{topic}", server(url)),
            Self::LocalPath { mount, .. } => mount.clone(),
        }
    }
}

fn server(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    format!("{scheme}://{}", authority.rsplit('@').next().unwrap_or_default())
}

impl From<&Payload> for Form {
    fn from(payload: &Payload) -> Self {
        match payload {
            Payload::Inline => Self::Inline,
            Payload::Multipart => Self::Multipart,
            Payload::Thin { base } => Self::Thin { base: base.clone() },
        }
    }
}

impl From<&Transport> for Connection {
    fn from(transport: &Transport) -> Self {
        let Transport { max_kbit_s, ca_file, client_certificate_file } = transport.clone();
        Self { max_kbit_s, ca_file, client_certificate_file }
    }
}

impl fmt::Debug for OutputTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_secret_is_shown() {
        for (url, shown) in [
            ("https://user:pw@host:8443/hook/SECRET?token=x", "https://host:8443"),
            ("http://127.0.0.1:9000/faces", "http://127.0.0.1:9000"),
            ("http://u:p%40@h?x@y", "http://h"),
        ] {
            let target = OutputTarget::webhook(url, vec![("authorization".into(), "s".into())]);
            assert_eq!(format!("{target:?}"), shown);
        }
    }

    #[test]
    fn options_come_back_and_what_is_left_out_takes_no_room() {
        let plain = OutputTarget::webhook("http://h/", vec![]);
        let json = serde_json::to_string(&plain).unwrap();
        assert_eq!(json, r#"{"kind":"webhook","url":"http://h/","headers":[]}"#, "as older versions wrote it");
        let full = OutputTarget::Webhook {
            url: "http://h/".into(),
            headers: vec![],
            options: Box::new(WebhookOptions {
                secrets: vec!["whsec_x".into()],
                form: Form::Thin { base: "http://box".into() },
                connection: Connection { max_kbit_s: Some(64), ..Connection::default() },
                evidence: true,
            }),
        };
        for target in [plain, full] {
            let json = serde_json::to_string(&target).unwrap();
            assert_eq!(serde_json::from_str::<OutputTarget>(&json).unwrap(), target, "{json}");
        }
    }
}
