//! The names under which things stand at a broker, and how Home Assistant is told of them. Pure.
//!
//! Below `<prefix>/<node>/<task>/<stream>`: `face` and `origin` are the messages, as webhooks have them; `face/picture`
//! and `origin/picture` the last pictures as JPEG and `faces` the number of tracks since the service started, retained.
//! `<prefix>/<node>/online` is `online` or `offline`, retained.

use serde_json::json;

use crate::domain::Message;

/// Where Home Assistant looks.
const DISCOVERY: &str = "homeassistant";

pub struct Topics {
    /// `<prefix>/<node>/<task>/<stream>`.
    pub base: String,
    kind: &'static str,
    online: String,
    stream: String,
}

/// One thing that Home Assistant is told of.
pub struct Announcement {
    pub topic: String,
    pub json: String,
}

pub fn online_topic(prefix: &str, node_id: &str) -> String {
    format!("{prefix}/{}/online", level(node_id))
}

impl Topics {
    pub fn of(prefix: &str, message: &Message) -> Self {
        let (kind, node_id) = match message {
            Message::Face(face) => ("face", &face.node_id),
            Message::Origin(origin) => ("origin", &origin.node_id),
        };
        let (task, stream) = (message.task_id(), level(message.stream_id()));
        let base = format!("{prefix}/{}/{task}/{stream}", level(node_id));
        Self { base, kind, online: online_topic(prefix, node_id), stream: message.stream_id().to_owned() }
    }

    pub fn message(&self) -> String {
        format!("{}/{}", self.base, self.kind)
    }

    pub fn picture(&self) -> String {
        format!("{}/{}/picture", self.base, self.kind)
    }

    pub fn count(&self) -> String {
        format!("{}/faces", self.base)
    }
}

impl Announcement {
    /// A camera that shows whole frames, and of faces their number, the last picture, and whether the box is there.
    pub fn of(topics: &Topics, message: &Message) -> Vec<Self> {
        let id: String = topics.base.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
        let device = json!({"identifiers": [id], "name": topics.stream, "manufacturer": "face-edge"});
        let entity = |component: &str, name: &str, key: &str, mut config: serde_json::Value| {
            config["name"] = json!(name);
            config["unique_id"] = json!(format!("{id}_{key}"));
            config["device"] = device.clone();
            Self { topic: format!("{DISCOVERY}/{component}/{id}/{key}/config"), json: config.to_string() }
        };
        let there = json!({"availability_topic": topics.online});
        let with = |mut config: serde_json::Value| {
            config["availability_topic"] = there["availability_topic"].clone();
            config
        };
        match message {
            Message::Origin(_) => {
                vec![entity("camera", "Frame", "frame", with(json!({"topic": topics.picture()})))]
            }
            Message::Face(_) => vec![
                entity(
                    "image",
                    "Last face",
                    "face",
                    with(json!({"image_topic": topics.picture(), "content_type": "image/jpeg"})),
                ),
                entity(
                    "sensor",
                    "Faces",
                    "faces",
                    with(json!({"state_topic": topics.count(), "state_class": "total_increasing"})),
                ),
                entity(
                    "binary_sensor",
                    "Online",
                    "online",
                    json!({"state_topic": topics.online, "payload_on": "online", "payload_off": "offline",
                           "device_class": "connectivity"}),
                ),
            ],
        }
    }
}

/// A name as one level of a topic: what would make more levels, or a pattern, is written as %XX.
fn level(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for c in name.chars() {
        match c {
            '/' | '+' | '#' | '%' | '\0' | '$' => out.push_str(&format!("%{:02X}", u32::from(c))),
            c => out.push(c),
        }
    }
    if out.is_empty() { "%00".to_owned() } else { out }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_level() {
        for (name, wanted) in [("gate-1", "gate-1"), ("a/b", "a%2Fb"), ("+#", "%2B%23"), ("", "%00"), ("门", "门")] {
            assert_eq!(level(name), wanted);
        }
        assert_eq!(online_topic("faces", "box/7"), "faces/box%2F7/online");
    }
}
