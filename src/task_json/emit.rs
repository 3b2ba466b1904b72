//! The task object as answers give it: the documented keys in their documented order, then what we do not know.

use chrono::{DateTime, SecondsFormat};
use serde_json::{Map, Value};

use crate::domain::UnixMs;

/// What is known of a task beside its body.
#[derive(Debug, Clone, Copy)]
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
    pub status: Option<&'a str>,
    /// Code and message.
    pub error: Option<(&'a str, &'a str)>,
}

/// Keys that are ours to say, whatever a body says.
const OURS: [&str; 8] = ["id", "creator", "project_id", "service_name", "created_at", "updated_at", "state", "status"];

/// `body` is what `TaskSpec::body_of_input` gave.
pub fn task_object(facts: &TaskFacts, mut body: Value) -> Value {
    let mut empty = Map::new();
    let body = body.as_object_mut().unwrap_or(&mut empty);
    let mut object = Map::new();
    let mut put = |key: &str, value: Value| object.insert(key.to_owned(), value);
    put("id", facts.id.into());
    put("name", body.shift_remove("name").unwrap_or_default());
    put("creator", facts.creator.into());
    put("project_id", facts.project_id.into());
    put("description", body.shift_remove("description").unwrap_or_default());
    if let Some(name) = facts.service_name {
        put("service_name", name.into());
    }
    for key in ["service_version", "edge_pool_id", "resource_order_id"] {
        if let Some(value) = body.shift_remove(key) {
            put(key, value);
        }
    }
    put("created_at", rfc3339(facts.created_at).into());
    put("updated_at", rfc3339(facts.updated_at).into());
    put("state", facts.state.into());
    if let Some(status) = facts.status {
        put("status", status.into());
    }
    if let Some((code, message)) = facts.error {
        put("error", serde_json::json!({"code": code, "message": message}));
    }
    for key in ["input", "output", "service_config"] {
        if let Some(value) = body.shift_remove(key) {
            put(key, value);
        }
    }
    let unknown = std::mem::take(body).into_iter();
    object.extend(unknown.filter(|(key, _)| !OURS.contains(&key.as_str()) && key != "error"));
    Value::Object(object)
}

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
