//! Where a message goes, as it was when the message was made.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::domain::{Category, Outputs};

/// Kept in the database with each task's messages, so that they drain after the task was changed or deleted.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum OutputTarget {
    Webhook { url: String, headers: Vec<(String, String)> },
    LocalPath { mount: String },
}

impl OutputTarget {
    /// The outputs that ask for this kind of message.
    pub fn of(outputs: &Outputs, category: Category) -> Vec<Self> {
        let webhook = outputs.webhook.as_ref().filter(|w| w.categories.contains(&category));
        let localpath = outputs.localpath.as_ref().filter(|l| l.categories.contains(&category));
        let webhook = webhook.map(|w| Self::Webhook { url: w.url.clone(), headers: w.headers.clone() });
        let localpath = localpath.map(|l| Self::LocalPath { mount: l.mount_source_path.clone() });
        webhook.into_iter().chain(localpath).collect()
    }

    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Webhook { .. } => "webhook",
            Self::LocalPath { .. } => "localpath",
        }
    }

    /// For people: the server of a webhook without the path, query or password that may be secret.
    pub fn shown(&self) -> String {
        match self {
            Self::Webhook { url, .. } => {
                let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
                let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
                format!("{scheme}://{}", authority.rsplit('@').next().unwrap_or_default())
            }
            Self::LocalPath { mount } => mount.clone(),
        }
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
            let target = OutputTarget::Webhook { url: url.into(), headers: vec![("authorization".into(), "s".into())] };
            assert_eq!(format!("{target:?}"), shown);
        }
    }
}
