//! What the code's own annotations cannot say of the interface: the shape of task bodies, which error comes with which
//! status, how to sign in, and an example for everything that is sent. Completes the generated OpenAPI document.

use serde_json::{Map, Value, json};
use utoipa::openapi::OpenApi;

use super::face_tasks::{SERVICE_NAME, schema};

/// A client can be told all of these of any operation that needs a key.
const ERRORS: [(&str, &str, &str, &str); 6] = [
    ("400", "the project id, a parameter or the body is wrong", "IVA.0004", "limit: is \"0\", expected a whole number"),
    ("401", "key or signature missing or wrong", "IVA.0001", "the key is missing or wrong"),
    ("403", "not allowed", "IVA.0009", "not allowed: a key of the role viewer may not delete tasks"),
    ("404", "no such thing here", "IVA.0005", "there is no such task in this project"),
    ("500", "our fault", "IVA.0006", "something went wrong here, and it is not your fault"),
    ("503", "not available now", "IVA.0010", "not available now: the disk under the data folder is full"),
];
const TOO_LARGE: (&str, &str, &str, &str) =
    ("413", "the body is too large", "IVA.0011", "the body is larger than 1048576 bytes");
const KEY_SCHEMES: [(&str, &str); 4] = [
    ("XAuthToken", "X-Auth-Token"),
    ("bitkey", "bitkey"),
    ("subscriptionKey", "Ocp-Apim-Subscription-Key"),
    ("oauthToken", "oauth_token"),
];

/// The document as it is served.
pub fn complete(generated: &OpenApi) -> Value {
    let mut document = serde_json::to_value(generated).expect("a description is plain JSON");
    let components = child(&mut document, "components");
    child(components, "schemas").extend(schema::components());
    components.insert("securitySchemes".to_owned(), security_schemes());
    for (path, operations) in child(&mut document, "paths") {
        let open = !path.starts_with("/v2/{project_id}");
        let operations = operations.as_object_mut().into_iter().flatten();
        for (_, operation) in operations.filter(|_| !open) {
            complete_operation(operation);
        }
    }
    document
}

/// The object below `key`, made where it is missing.
fn child<'a>(holder: &'a mut (impl std::ops::IndexMut<&'static str, Output = Value> + ?Sized), key: &'static str) -> &'a mut Map<String, Value> {
    let value = &mut holder[key];
    if !value.is_object() {
        *value = json!({});
    }
    value.as_object_mut().expect("made an object just now")
}
