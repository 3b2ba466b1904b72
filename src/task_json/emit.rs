//! The task object as answers give it: the documented keys in their documented order, then what we do not know. The
//! parts of the body go through as they lie in the store, unread: a list holds up to a thousand of them.

use std::borrow::Cow;

use chrono::{DateTime, SecondsFormat};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::domain::UnixMs;

/// What is known of a task beside its body.
#[derive(Debug, Clone)]
pub struct TaskFacts<'a> {
    pub id: &'a str,
    pub creator: &'a str,
    pub project_id: &'a str,
    /// Left out of the object where `None`: the documented list has no such key.
    pub service_name: Option<&'a str>,
    pub created_at: UnixMs,
    pub updated_at: UnixMs,
    pub state: &'a str,
    /// Why it is in that state, in words.
    pub status: Option<String>,
    /// Code and message.
    pub error: Option<(&'a str, &'a str)>,
}

/// Keys that are ours to say, whatever a body says.
const OURS: [&str; 9] =
    ["id", "creator", "project_id", "service_name", "created_at", "updated_at", "state", "status", "error"];

/// In the order in which it is written.
#[derive(Debug)]
pub struct TaskObject<'a>(Vec<(Cow<'a, str>, Part<'a>)>);

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Part<'a> {
    Given(&'a RawValue),
    Text(Cow<'a, str>),
    Error { code: &'a str, message: &'a str },
    Null,
}

impl<'a> TaskObject<'a> {
    /// `body` is what `TaskSpec::body_of_input` gave, as text.
    pub fn new(facts: TaskFacts<'a>, body: &'a str) -> Result<Self, serde_json::Error> {
        let Body(mut given) = serde_json::from_str(body)?;
        let mut object = Vec::with_capacity(given.len() + OURS.len());
        let mut put = |key: &'static str, part: Option<Part<'a>>| {
            object.extend(part.map(|part| (Cow::Borrowed(key), part)));
        };
        let mut take = |key: &str| {
            let at = given.iter().position(|(name, _)| name == key)?;
            Some(Part::Given(given.remove(at).1))
        };
        let text = |text: &'a str| Some(Part::Text(text.into()));
        put("id", text(facts.id));
        put("name", take("name").or(Some(Part::Null)));
        put("creator", text(facts.creator));
        put("project_id", text(facts.project_id));
        put("description", take("description").or(Some(Part::Null)));
        put("service_name", facts.service_name.and_then(text));
        for key in ["service_version", "edge_pool_id", "resource_order_id"] {
            put(key, take(key));
        }
        put("created_at", Some(Part::Text(rfc3339(facts.created_at).into())));
        put("updated_at", Some(Part::Text(rfc3339(facts.updated_at).into())));
        put("state", text(facts.state));
        put("status", facts.status.map(|why| Part::Text(why.into())));
        put("error", facts.error.map(|(code, message)| Part::Error { code, message }));
        for key in ["input", "output", "service_config"] {
            put(key, take(key));
        }
        let unknown = given.into_iter().filter(|(key, _)| !OURS.contains(&key.as_ref()));
        object.extend(unknown.map(|(key, value)| (key, Part::Given(value))));
        Ok(Self(object))
    }

    /// Read, for whoever is not shown all of it.
    pub fn to_value(&self) -> Value {
        serde_json::to_value(self).expect("every part is JSON")
    }
}

impl Serialize for TaskObject<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(key, part)| (key, part)))
    }
}

/// A body's fields in their order.
struct Body<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de> Deserialize<'de> for Body<'de> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;
        impl<'de> serde::de::Visitor<'de> for Fields {
            type Value = Body<'de>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a task's body")
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Body<'de>, A::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    let (Key(key), value) = field;
                    fields.push((key, value));
                }
                Ok(Body(fields))
            }
        }
        deserializer.deserialize_map(Fields)
    }
}

/// Borrowed, unless it holds an escape.
#[derive(Deserialize)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

/// UTC, whole seconds, `Z`.
fn rfc3339(at: UnixMs) -> String {
    DateTime::from_timestamp(at.secs(), 0).unwrap_or_default().to_rfc3339_opts(SecondsFormat::Secs, true)
}

const MASK: &str = "***";

/// For readers who may look but not change: passwords and header values go, everything else stays.
pub fn mask_secrets(task: &mut Value) {
    for entry in task.pointer_mut("/input/data").and_then(Value::as_array_mut).into_iter().flatten() {
        mask_address(entry);
        mask_headers(entry);
    }
    if let Some(password) = task.pointer_mut("/input/vcn/password") {
        *password = MASK.into();
    }
    if let Some(webhook) = task.pointer_mut("/output/webhook") {
        mask_address(webhook);
        mask_headers(webhook);
        if let Some(Value::Array(secrets)) = webhook.get_mut("secrets") {
            secrets.iter_mut().for_each(|secret| *secret = MASK.into());
        }
    }
    if let Some(mqtt) = task.pointer_mut("/output/mqtt") {
        mask_address(mqtt);
    }
}

fn mask_address(holder: &mut Value) {
    if let Some(Value::String(address)) = holder.get_mut("url") {
        *address = without_password(address);
    }
}

/// The address for readers who may look but not change.
pub fn without_password(address: &str) -> String {
    if let Ok(mut url) = url::Url::parse(address)
        && url.password().is_some()
        && url.set_password(Some(MASK)).is_ok()
    {
        return url.into();
    }
    address.to_owned()
}

fn mask_headers(holder: &mut Value) {
    let Some(Value::Object(headers)) = holder.get_mut("headers") else { return };
    for (name, value) in headers {
        if !matches!(name.to_ascii_lowercase().as_str(), "content-type" | "accept" | "user-agent") {
            *value = MASK.into();
        }
    }
}
