//! The shape of task bodies and task objects, for the interface's description. `task_json` decides what is valid; this
//! says it in JSON Schema, as far as JSON Schema can. A field that is not known is allowed everywhere, and `null`
//! counts as left out.

use serde_json::{Map, Value, json};

use crate::status::State;
use crate::task_json::MAX_INPUTS;

pub const VERSION: &str = "^[0-9]{1,3}\\.[0-9]{1,3}$";
const NAME: &str =
    "^[A-Za-z0-9_\u{3007}\u{3400}-\u{4dbf}\u{4e00}-\u{9fff}\u{f900}-\u{faff}\u{20000}-\u{323af}-]{1,100}$";
const STREAM: &str = "^(rtsp|rtsps|http|https|file|v4l2)://";
const WEB: &str = "^https?://";
const BROKER: &str = "^mqtts?://";

pub fn states() -> Vec<&'static str> {
    State::ALL.iter().map(|state| state.as_str()).collect()
}

/// By the name under which annotations refer to them.
pub fn components() -> Map<String, Value> {
    let schemas = [
        ("TaskBody", task_body()),
        ("Task", task()),
        ("TaskInput", input()),
        ("TaskOutput", output()),
        ("TaskRules", rules()),
    ];
    schemas.into_iter().map(|(name, schema)| (name.to_owned(), schema)).collect()
}

fn body_properties() -> Map<String, Value> {
    let config = json!({
        "type": ["object", "null"],
        "properties": {"common": {"oneOf": [{"$ref": "#/components/schemas/TaskRules"}, {"type": "null"}]}},
    });
    let properties = [
        ("name", json!({"type": "string", "pattern": NAME})),
        ("description", json!({"type": ["string", "null"], "maxLength": 500})),
        ("service_version", json!({"type": "string", "pattern": VERSION})),
        ("edge_pool_id", json!({"type": "string", "minLength": 1, "maxLength": 128})),
        ("resource_order_id", json!({"type": ["string", "null"], "maxLength": 128})),
        ("input", json!({"$ref": "#/components/schemas/TaskInput"})),
        ("output", json!({"$ref": "#/components/schemas/TaskOutput"})),
        ("service_config", config),
    ];
    properties.into_iter().map(|(name, schema)| (name.to_owned(), schema)).collect()
}

fn task_body() -> Value {
    json!({
        "type": "object",
        "required": ["name", "service_version", "edge_pool_id", "input", "output"],
        "properties": body_properties(),
        "example": example(),
    })
}

fn task() -> Value {
    let time = json!({"type": "string", "format": "date-time", "pattern": "Z$"});
    let mut properties = body_properties();
    for (name, schema) in [
        ("id", json!({"type": "string", "pattern": "^[0-9a-f]{32}$"})),
        ("creator", json!({"type": "string", "description": "name of the key that made it, or tasks-dir"})),
        ("project_id", json!({"type": "string"})),
        ("service_name", json!({"type": "string", "description": "in a single task only"})),
        ("created_at", time.clone()),
        ("updated_at", time),
        ("state", json!({"type": "string", "enum": states()})),
        ("status", json!({"type": "string", "description": "why it is in that state, in words"})),
        (
            "error",
            json!({"type": "object", "required": ["code", "message"],
                   "properties": {"code": {"type": "string"}, "message": {"type": "string"}}}),
        ),
    ] {
        properties.insert(name.to_owned(), schema);
    }
    json!({
        "type": "object",
        "required": ["id", "name", "creator", "project_id", "description", "service_version", "edge_pool_id",
                     "created_at", "updated_at", "state", "input", "output"],
        "properties": properties,
    })
}

fn input() -> Value {
    let index = json!({"type": ["integer", "null"], "minimum": 0, "maximum": u32::MAX});
    let camera = json!({"type": "string", "minLength": 1, "maxLength": 63});
    let address = |pattern: &str| json!({"type": "string", "pattern": pattern, "maxLength": 1000});
    let kinds = [
        ("edgecamera", json!({"id": camera}), vec!["id"]),
        ("url", json!({"url": address(STREAM)}), vec!["url"]),
        (
            "edgerestful",
            json!({
                "url": address(WEB),
                "headers": headers(),
                "certificate_check": {"type": ["boolean", "null"], "default": true},
                "rtsp_path_in_response": {"type": "string", "minLength": 1, "maxLength": 1000},
            }),
            vec!["url", "rtsp_path_in_response"],
        ),
        (
            "vcn",
            json!({"device_id": camera, "stream_type": {"type": ["integer", "null"], "minimum": 1, "maximum": 3}}),
            vec!["device_id"],
        ),
    ];
    let variants = kinds.map(|(kind, mut properties, required)| {
        properties["index"] = index.clone();
        let mut variant = json!({
            "type": "object",
            "required": ["type", "data"],
            "properties": {
                "type": {"const": kind},
                "data": {"type": "array", "minItems": 1, "maxItems": MAX_INPUTS,
                         "items": {"type": "object", "required": required, "properties": properties}},
            },
        });
        if kind == "vcn" {
            variant["required"] = json!(["type", "data", "vcn"]);
            variant["properties"]["vcn"] = platform();
        }
        variant
    });
    json!({"oneOf": variants})
}

fn platform() -> Value {
    json!({
        "type": "object",
        "required": ["ip", "port", "username", "password"],
        "properties": {
            "ip": {"type": "string", "minLength": 1, "maxLength": 1000},
            "port": {"type": "integer", "minimum": 1, "maximum": 65535},
            "username": {"type": "string"},
            "password": {"type": "string"},
        },
    })
}

fn output() -> Value {
    let categories = json!({
        "type": ["array", "null"], "minItems": 1, "items": {"type": "string", "enum": ["FaceImage", "OriginImage"]},
    });
    let switch = json!({"type": ["integer", "null"], "enum": [0, 1, null]});
    let file = json!({"type": ["string", "null"], "pattern": "^(/|$)", "maxLength": 1000});
    let max_kbit_s = json!({"type": ["integer", "null"], "minimum": 0, "maximum": 10_000_000});
    let secret = json!({"type": "string", "pattern": "^(whsec|whsk)_"});
    json!({
        "type": "object",
        "anyOf": [
            {"required": ["webhook"]}, {"required": ["localpath"]}, {"required": ["mqtt"]}, {"required": ["gate_buffer"]},
        ],
        "properties": {
            "webhook": {
                "type": ["object", "null"],
                "required": ["url"],
                "properties": {
                    "url": {"type": "string", "pattern": WEB, "maxLength": 1000},
                    "headers": headers(),
                    "data_category": categories,
                    "secrets": {"type": ["array", "null"], "maxItems": 4, "items": secret},
                    "payload": {"type": ["string", "null"], "enum": ["inline", "multipart", "thin", null]},
                    "picture_base_url": {"type": ["string", "null"], "pattern": "^(https?://|$)", "maxLength": 1000},
                    "max_kbit_s": max_kbit_s,
                    "ca_file": file,
                    "client_certificate_file": file,
                    "evidence": switch,
                },
            },
            "localpath": {
                "type": ["object", "null"],
                "required": ["mount_source_path"],
                "properties": {
                    "mount_source_path": {"type": "string", "pattern": "^/", "maxLength": 1000},
                    "data_category": categories,
                    "evidence": switch,
                },
            },
            "mqtt": {
                "type": ["object", "null"],
                "required": ["url"],
                "properties": {
                    "url": {"type": "string", "pattern": BROKER, "maxLength": 1000},
                    "topic": {"type": ["string", "null"], "maxLength": 200, "pattern": "^[^+#]*$"},
                    "qos": {"type": ["integer", "null"], "enum": [1, null]},
                    "discovery": switch,
                    "data_category": categories,
                    "max_kbit_s": max_kbit_s,
                    "ca_file": file,
                    "client_certificate_file": file,
                    "evidence": switch,
                },
            },
            "gate_buffer": {
                "type": ["object", "null"],
                "required": ["valid_hours"],
                "properties": {
                    "gates": {"type": ["array", "null"], "items": {"type": "string", "minLength": 4, "maxLength": 4}},
                    "valid_hours": {"type": "integer", "minimum": 1, "maximum": 87600},
                },
            },
            "dis": {"type": "null"},
            "obs": {"type": "null"},
        },
    })
}

fn headers() -> Value {
    json!({
        "type": ["object", "null"],
        "maxProperties": 64,
        "propertyNames": {"pattern": "^[A-Za-z0-9!#$%&'*+.^_`|~-]+$"},
        "additionalProperties": {"type": "string", "pattern": "^[^\\u0000-\\u0008\\u000a-\\u001f\\u007f-\\u009f]*$"},
    })
}

fn rules() -> Value {
    let switch = json!({"type": ["integer", "null"], "enum": [0, 1, null]});
    let number =
        |minimum: f64, maximum: f64| json!({"type": ["number", "null"], "minimum": minimum, "maximum": maximum});
    let whole =
        |minimum: u32, maximum: u32| json!({"type": ["integer", "null"], "minimum": minimum, "maximum": maximum});
    json!({
        "type": "object",
        "properties": {
            "detection_min_size": number(0.0, 65535.0),
            "detection_max_size": number(0.0, 65535.0),
            "target_roi": {
                "type": ["string", "object", "null"],
                "description": "JSON in a string, or that JSON itself; given back as a string",
            },
            "origin_image_send_sw": switch,
            "origin_image_blur_sw": switch,
            "retention_hours": whole(1, 87_600),
            "image_compression_ratio": whole(20, 100),
            "face_first_send_threshold": number(0.0, 360.0),
            "face_must_send_sw": switch,
            "face_repeat_send_sw": switch,
            "face_repeat_send_mode": {"type": ["string", "null"], "enum": ["PERIOD", "QUALITY_STEP", null]},
            "face_repeat_send_interval": number(1.0, 1e9),
            "face_repeat_send_step": number(1.0, 10.0),
            "frame_skip_number": whole(0, 1_000_000_000),
            "face_recognition_sw": switch,
            "face_same_person_interval": number(0.0, 86400.0),
        },
    })
}

fn example() -> Value {
    json!({
        "name": "door-1",
        "description": "faces at the door",
        "service_version": "3.0",
        "edge_pool_id": "default",
        "input": {"type": "url", "data": [{"url": "rtsp://127.0.0.1:9/cam0", "index": 0}]},
        "output": {"webhook": {"url": "http://127.0.0.1:9/faces", "headers": {"x-key": "k"},
                               "data_category": ["FaceImage", "OriginImage"]}},
        "service_config": {"common": {
            "detection_min_size": 120,
            "face_repeat_send_sw": 1,
            "target_roi": "{\"polygons\":[{\"data\":[[100,100],[1800,100],[1800,1000],[100,1000]]}]}",
        }},
    })
}
