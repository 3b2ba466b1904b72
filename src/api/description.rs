//! Completes the generated OpenAPI document by what the code's annotations cannot say: the shape of task bodies, which
//! error comes with which status, how to sign in, and an example for everything that is sent.

use serde_json::{Map, Value, json};
use utoipa::openapi::OpenApi;

use super::face_tasks::{SERVICE_NAME, schema};

/// Everything that needs a key may answer these: status, meaning, code, message.
const ERRORS: [(&str, &str, &str, &str); 7] = [
    ("400", "project id, parameter or body is wrong", "IVA.0004", "limit: is \"0\", expected a number from 1 to 1000"),
    ("401", "key or signature missing or wrong", "IVA.0001", "the key is missing or wrong"),
    ("403", "not allowed", "IVA.0009", "not allowed: a key of the role viewer may not delete tasks"),
    ("404", "there is no such thing", "IVA.0005", "there is no such task in this project"),
    ("429", "this key asks too often", "IVA.0010", "this key asks too often; it may again in 1 s"),
    ("500", "our fault", "IVA.0006", "something went wrong here, and it is not your fault"),
    ("503", "not available now", "IVA.0010", "not available now: the disk under the data folder is full"),
];
const TOO_LARGE: (&str, &str, &str, &str) = ("413", "the body is too large", "IVA.0011", "the body is too large");

const KEY_HEADERS: [(&str, &str); 4] = [
    ("XAuthToken", "X-Auth-Token"),
    ("bitkey", "bitkey"),
    ("subscriptionKey", "Ocp-Apim-Subscription-Key"),
    ("oauthToken", "oauth_token"),
];

/// The paths that are completed; others say everything themselves.
const COMPLETED: &str = "/v2/{project_id}";

/// What makes a thing, where its id stands in the answer, the place of the path that it fills, and the calls that then
/// lead to it.
const MAKERS: [(&str, &str, &str, &[&str]); 2] = [
    ("create_task", "/0/id", "task_id", &["show_task", "update_task", "start_task", "stop_task", "delete_task"]),
    ("create_camera", "/id", "camera_id", &["show_camera", "update_camera", "delete_camera"]),
];
/// These say everything but what a parameter may be, and that a key is needed.
const DIRECTORY: &str = "/face/{apiVersion}";

/// The document as it is served.
pub fn complete(generated: &OpenApi) -> Value {
    let mut document = serde_json::to_value(generated).expect("a description is plain JSON");
    let components = document["components"].as_object_mut().expect("the interface has schemas");
    components["schemas"].as_object_mut().expect("the interface has schemas").append(&mut schema::components());
    components.insert("securitySchemes".to_owned(), security_schemes());
    let paths = document["paths"].as_object_mut().expect("the interface has paths");
    for (_, operations) in paths.iter_mut().filter(|(path, _)| path.starts_with(COMPLETED)) {
        operations.as_object_mut().into_iter().flatten().for_each(|(_, operation)| complete_operation(operation));
    }
    let paths = document["paths"].as_object_mut().expect("the interface has paths");
    for (_, operations) in paths.iter_mut().filter(|(path, _)| path.starts_with(DIRECTORY)) {
        operations.as_object_mut().into_iter().flatten().for_each(|(_, operation)| complete_parameters(operation));
    }
    document
}

fn complete_parameters(operation: &mut Value) {
    operation["security"] = requirements();
    for parameter in operation["parameters"].as_array_mut().into_iter().flatten() {
        let name = parameter["name"].as_str().unwrap_or_default();
        if let Some(schema) = directory_schema(name) {
            parameter["schema"] = schema;
        }
    }
}

fn directory_schema(name: &str) -> Option<Value> {
    Some(match name {
        "apiVersion" => json!({"type": "string", "enum": ["v1.1-preview.1", "v1.2-preview.1"]}),
        "dynamicPersonGroupId" => json!({"type": "string", "pattern": "^[a-z0-9_-]{1,64}$"}),
        "personId" | "persistedFaceId" | "operationId" => json!({"type": "string", "format": "uuid"}),
        "recognitionModel" => json!({"type": "string", "pattern": "^recognition_0[1-4]$"}),
        "detectionModel" => json!({"type": "string", "pattern": "^detection_0[1-3]$"}),
        "targetFace" => json!({"type": "string", "pattern": "^[0-9]{1,4},[0-9]{1,4},[1-9][0-9]{0,3},[1-9][0-9]{0,3}$"}),
        _ => return None,
    })
}

fn complete_operation(operation: &mut Value) {
    operation["security"] = requirements();
    let maker = MAKERS.iter().find(|(id, ..)| operation["operationId"] == *id);
    if let (Some((_, id, place, calls)), Some(responses)) = (maker, operation["responses"].as_object_mut()) {
        let made = responses.iter_mut().find(|(status, _)| status.starts_with('2'));
        made.into_iter().for_each(|(_, response)| response["links"] = links(id, place, calls));
    }
    for parameter in operation["parameters"].as_array_mut().into_iter().flatten() {
        let name = parameter["name"].as_str().unwrap_or_default();
        if let Some(schema) = parameter_schema(name) {
            parameter["schema"] = schema;
        }
    }
    let has_body = operation.get("requestBody").is_some();
    if let Some(responses) = operation["responses"].as_object_mut() {
        responses.shift_remove("4XX");
        responses.shift_remove("5XX");
        for (status, meaning, code, message) in ERRORS.into_iter().chain(has_body.then_some(TOO_LARGE)) {
            responses.insert(status.to_owned(), error_response(meaning, code, message));
        }
    }
}

fn links(id: &str, place: &str, calls: &[&str]) -> Value {
    let link = |call: &&str| {
        let path = |name: &str| format!("$request.path.{name}");
        let parameters = json!({
            "project_id": path("project_id"), "service_name": path("service_name"),
            place: format!("$response.body#{id}"),
        });
        ((*call).to_owned(), json!({"operationId": call, "parameters": parameters}))
    };
    Value::Object(calls.iter().map(link).collect())
}

fn error_response(meaning: &str, code: &str, message: &str) -> Value {
    json!({"description": meaning, "content": {"application/json": {
        "schema": {"$ref": "#/components/schemas/ErrorBody"},
        "example": {"error_code": code, "error_msg": message},
    }}})
}

/// What is more than a type and a range.
fn parameter_schema(name: &str) -> Option<Value> {
    Some(match name {
        "project_id" => json!({"type": "string", "pattern": "^[A-Za-z0-9_-]{1,64}$", "example": "my-project"}),
        "service_name" => json!({"type": "string", "enum": [SERVICE_NAME]}),
        "camera_id" => json!({"type": "string", "pattern": "^[A-Za-z0-9_.-]{1,63}$"}),
        "task_id" => json!({"type": "string", "pattern": "^[0-9a-f]{32}$"}),
        "service_version" => json!({"type": "string", "pattern": schema::VERSION}),
        "state" => json!({"type": "string", "enum": schema::states()}),
        "name_like" | "id_like" => json!({"type": "string", "maxLength": 256, "pattern": "^[^\\u0000]*$"}),
        "order" => json!({"type": "string", "pattern": "^(name|created_at|updated_at)(:(ASC|DESC))?$"}),
        _ => return None,
    })
}

fn security_schemes() -> Value {
    let mut schemes: Map<String, Value> = KEY_HEADERS
        .into_iter()
        .map(|(scheme, header)| (scheme.to_owned(), json!({"type": "apiKey", "in": "header", "name": header})))
        .collect();
    schemes.insert("bearer".to_owned(), json!({"type": "http", "scheme": "bearer"}));
    let signed = "SDK-HMAC-SHA256 Access=…, SignedHeaders=…, Signature=…, with X-Sdk-Date; docs/api.md";
    let signed = json!({"type": "apiKey", "in": "header", "name": "Authorization", "description": signed});
    schemes.insert("signed".to_owned(), signed);
    Value::Object(schemes)
}

/// Any one of them will do.
fn requirements() -> Value {
    let names = KEY_HEADERS.into_iter().map(|(scheme, _)| scheme).chain(["bearer", "signed"]);
    names.map(|name| json!({name: []})).collect()
}
