//! The part `meta`: which space, and which images for whom.

use serde_json::{Map, Value};

use super::answer::PersonsError;

pub const MAX_IMAGES: usize = 100;
const NAME_CHARS: usize = 256;

pub struct Meta {
    pub space: u8,
    pub create_new: bool,
    pub images: Vec<Image>,
}

pub struct Image {
    /// Of the part that holds the picture; what comes back.
    pub name: String,
    pub person_id: Option<i64>,
}

impl Image {
    pub fn person(&self) -> Result<i64, PersonsError> {
        self.person_id.ok_or_else(|| PersonsError::bad("no person_id has been provided"))
    }
}

impl Meta {
    /// With `images`, at least one of them is needed.
    pub fn parse(text: &[u8], images: bool) -> Result<Self, PersonsError> {
        let value: Value = serde_json::from_slice(text).map_err(|error| {
            PersonsError::bad(format!("meta is not JSON: line {} column {}: {error}", error.line(), error.column()))
        })?;
        let Value::Object(fields) = value else { return Err(PersonsError::bad("meta: expected a JSON object")) };
        let space = space(&fields)?;
        let create_new = match fields.get("create_new") {
            None | Some(Value::Null) => false,
            Some(Value::Bool(create_new)) => *create_new,
            Some(_) => return Err(PersonsError::bad("create_new: expected true or false")),
        };
        let images = if images { named(&fields)? } else { Vec::new() };
        Ok(Self { space, create_new, images })
    }
}

/// Clients of the field read these texts.
fn space(fields: &Map<String, Value>) -> Result<u8, PersonsError> {
    let text = match fields.get("space") {
        None | Some(Value::Null) => "",
        Some(Value::String(text)) => text,
        Some(_) => return Err(PersonsError::bad("wrong space param : expected a string \"0\" to \"9\"")),
    };
    let number: i64 = text.parse().map_err(|_| {
        PersonsError::bad(format!("wrong space param : strconv.Atoi: parsing {}: invalid syntax", Value::from(text)))
    })?;
    let inside = u8::try_from(number).ok().filter(|space| *space <= 9);
    inside.ok_or_else(|| PersonsError::bad(format!("wrong space param : {number} is outside of 0 to 9")))
}

fn named(fields: &Map<String, Value>) -> Result<Vec<Image>, PersonsError> {
    let images = match fields.get("images") {
        Some(Value::Array(images)) if !images.is_empty() => images,
        Some(Value::Array(_) | Value::Null) | None => return Err(PersonsError::bad("no images have been provided")),
        Some(_) => return Err(PersonsError::bad("images: expected an array")),
    };
    if images.len() > MAX_IMAGES {
        return Err(PersonsError::bad(format!("images: there are {}, at most {MAX_IMAGES} are taken", images.len())));
    }
    images.iter().enumerate().map(|(index, image)| one(index, image)).collect()
}

fn one(index: usize, image: &Value) -> Result<Image, PersonsError> {
    let name = image.get("name").and_then(Value::as_str).filter(|name| !name.is_empty());
    let name = name.ok_or_else(|| PersonsError::bad(format!("images[{index}].name: expected a string")))?;
    if name.chars().count() > NAME_CHARS {
        return Err(PersonsError::bad(format!("images[{index}].name: is longer than {NAME_CHARS} characters")));
    }
    let person_id = match image.get("person_id") {
        None | Some(Value::Null) => None,
        Some(value) => {
            let whole = value.as_i64();
            Some(
                whole
                    .ok_or_else(|| PersonsError::bad(format!("images[{index}].person_id: expected a whole number")))?,
            )
        }
    };
    Ok(Image { name: name.to_owned(), person_id })
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::to_bytes;
    use axum::response::IntoResponse;

    async fn refusal(meta: &str) -> String {
        let error = Meta::parse(meta.as_bytes(), true).err().unwrap_or_else(|| panic!("{meta} was taken"));
        let body = to_bytes(error.into_response().into_body(), usize::MAX).await.unwrap();
        serde_json::from_slice::<Value>(&body).unwrap()["body"].as_str().unwrap().to_owned()
    }

    #[tokio::test]
    async fn every_refusal_says_what_was_wrong() {
        let many = format!(r#"{{"space":"0","images":[{}{{"name":"n"}}]}}"#, r#"{"name":"n"},"#.repeat(100));
        for (meta, expected) in [
            (r#"{}"#, r#"wrong space param : strconv.Atoi: parsing "": invalid syntax"#),
            (r#"{"space":"x"}"#, r#"wrong space param : strconv.Atoi: parsing "x": invalid syntax"#),
            (r#"{"space":"10"}"#, "wrong space param : 10 is outside of 0 to 9"),
            (r#"{"space":"-1"}"#, "wrong space param : -1 is outside of 0 to 9"),
            (r#"{"space":"0"}"#, "no images have been provided"),
            (r#"{"space":"0","images":[{"name":""}]}"#, "images[0].name: expected a string"),
            (
                r#"{"space":"0","images":[{"name":"a","person_id":"1"}]}"#,
                "images[0].person_id: expected a whole number",
            ),
            (&many, "images: there are 101, at most 100 are taken"),
            (
                "{\"space\":\"0\"\n \"images\":[]}",
                "meta is not JSON: line 2 column 2: expected `,` or `}` at line 2 column 2",
            ),
        ] {
            assert_eq!(refusal(meta).await, expected);
        }
    }

    #[test]
    fn a_good_one_is_read() {
        let meta = br#"{"space":"3","create_new":true,"images":[{"name":"a","person_id":7},{"name":"b"}],"more":1}"#;
        let meta = Meta::parse(meta, true).ok().unwrap();
        assert_eq!((meta.space, meta.create_new, meta.images.len()), (3, true, 2));
        assert_eq!((meta.images[0].person_id, meta.images[1].person_id), (Some(7), None));
    }
}
