//! Takes the secrets out of JSON that is kept to be read by people: passwords, keys and tokens by the names of their
//! fields, header values, and what addresses carry.

use serde_json::Value;
use url::Url;

const MASK: &str = "***";
/// A field or a parameter of an address whose name holds one of these is secret.
const SECRET_NAMES: [&str; 9] =
    ["password", "passwd", "pwd", "secret", "token", "apikey", "api_key", "credential", "authorization"];
/// In addresses these too.
const SECRET_PARAMETERS: [&str; 3] = ["key", "sig", "auth"];
/// Header values that say nothing but how a body is written.
const OPEN_HEADERS: [&str; 3] = ["content-type", "accept", "user-agent"];

pub fn redact(value: &mut Value) {
    match value {
        Value::String(text) => {
            if let Some(open) = open_address(text) {
                *text = open;
            }
        }
        Value::Array(items) => items.iter_mut().for_each(redact),
        Value::Object(fields) => {
            for (name, field) in fields {
                let name = name.to_ascii_lowercase();
                match field {
                    Value::Object(headers) if name == "headers" => {
                        let secret = headers
                            .iter_mut()
                            .filter(|(name, _)| !OPEN_HEADERS.contains(&name.to_ascii_lowercase().as_str()));
                        secret.for_each(|(_, value)| *value = MASK.into());
                    }
                    Value::Null | Value::Bool(_) => {}
                    _ if holds(&name, &SECRET_NAMES) => *field = MASK.into(),
                    _ => redact(field),
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// The address without its password and the values of secret parameters; `None` where there is nothing to hide.
fn open_address(text: &str) -> Option<String> {
    if !text.contains("://") {
        return None;
    }
    let mut url = Url::parse(text).ok()?;
    let secret = |name: &str| {
        let name = name.to_ascii_lowercase();
        holds(&name, &SECRET_NAMES) || holds(&name, &SECRET_PARAMETERS)
    };
    let pairs: Vec<(String, String)> = url.query_pairs().into_owned().collect();
    let hides = pairs.iter().any(|(name, _)| secret(name));
    if url.password().is_none() && !hides {
        return None;
    }
    if url.password().is_some() && url.set_password(Some(MASK)).is_err() {
        return Some(MASK.to_owned());
    }
    if hides {
        let open = pairs.iter().map(|(name, value)| (name, if secret(name) { MASK } else { value.as_str() }));
        url.query_pairs_mut().clear().extend_pairs(open);
    }
    Some(url.into())
}

fn holds(name: &str, words: &[&str]) -> bool {
    words.iter().any(|word| name.contains(word))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn no_secret_is_left_and_the_rest_is() {
        let mut body = json!({
            "name": "door", "x_password": "hunter2", "deep": [{"apiToken": ["hunter2"]}],
            "input": {"data": [{"url": "rtsp://admin:hunter2@h/1?subtype=0"}, {"url": "rtsp://h/2?channel=1"}],
                      "vcn": {"username": "u", "password": "hunter2"}},
            "output": {"webhook": {"url": "https://h/faces?tenant=7&access_token=hunter2",
                                   "headers": {"X-Own": "hunter2", "Content-Type": "text/plain"}}},
            "password": null,
        });
        redact(&mut body);
        assert!(!body.to_string().contains("hunter2"), "{body}");
        assert_eq!(body["input"]["data"][0]["url"], "rtsp://admin:***@h/1?subtype=0");
        assert_eq!(body["input"]["data"][1]["url"], "rtsp://h/2?channel=1");
        assert_eq!(body["output"]["webhook"]["url"], "https://h/faces?tenant=7&access_token=***");
        assert_eq!(body["output"]["webhook"]["headers"]["Content-Type"], "text/plain");
        assert_eq!((&body["name"], &body["password"]), (&json!("door"), &Value::Null));
    }
}
