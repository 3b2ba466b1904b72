//! Makes and checks the evidence of a message: its picture's hash, its place in its output's chain, and the box's
//! signature over both.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::domain::Message;
use crate::domain::evidence::{self, Hash, Link, Stated, hash_from_hex, hex, sha256};

/// As it stands in a message's JSON, under `evidence`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// From 1, without gaps, for each task and output.
    pub number: u64,
    /// SHA-256 of the statement before, in hex; zeros for the first.
    pub previous: String,
    pub picture_sha256: String,
    /// ed25519 over the statement, base64.
    pub signature: String,
    /// Of this box, base64.
    pub public_key: String,
}

/// Signs for this box.
pub struct Notary(Ed25519KeyPair);

impl Notary {
    pub fn new(seed: &[u8; 32]) -> Self {
        Self(Ed25519KeyPair::from_seed_unchecked(seed).expect("any 32 bytes are a seed"))
    }

    pub fn public_key(&self) -> String {
        STANDARD.encode(self.0.public_key())
    }

    pub fn attest(&self, link: &Link, message: &Message) -> Evidence {
        let statement = evidence::statement_of(link, message);
        Evidence {
            number: link.number,
            previous: hex(&link.previous),
            picture_sha256: hex(&sha256(message.jpeg())),
            signature: STANDARD.encode(self.0.sign(statement.as_bytes())),
            public_key: self.public_key(),
        }
    }
}

/// A saved message whose evidence holds by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proved {
    pub message_id: String,
    pub task_id: String,
    pub public_key: String,
    pub link: Link,
    /// What the next link has to name.
    pub hash: Hash,
}

/// Checks one saved message and its picture; what is wrong is said in a sentence.
pub fn verify(message: &Value, picture: &[u8]) -> Result<Proved, String> {
    let given = message.get("evidence").ok_or("it carries no evidence")?;
    let given = Evidence::deserialize(given).map_err(|error| format!("its evidence cannot be read ({error})"))?;
    if hex(&sha256(picture)) != given.picture_sha256.to_ascii_lowercase() {
        return Err("its picture is not the one that was signed".to_owned());
    }
    let text = |pointer: &str| message.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let link = Link { number: given.number, previous: hash_from_hex(&given.previous).ok_or("previous is no hash")? };
    let stated = Stated {
        event_type: message.get("event_type").and_then(Value::as_u64).unwrap_or(0),
        message_id: text("/message_id"),
        task_id: text("/task_id"),
        stream_id: text("/stream_id"),
        node_id: text("/data/node_id"),
        timestamp_s: message.get("timestamp").and_then(Value::as_i64).unwrap_or(0),
        face_id: text("/data/face_id"),
        picture_sha256: sha256(picture),
    };
    let statement = evidence::statement(&link, &stated);
    let key = STANDARD.decode(&given.public_key).map_err(|_| "public_key is not base64")?;
    let signature = STANDARD.decode(&given.signature).map_err(|_| "signature is not base64")?;
    UnparsedPublicKey::new(&ED25519, &key)
        .verify(statement.as_bytes(), &signature)
        .map_err(|_| "its signature does not fit: a field, the picture or the chain was changed")?;
    Ok(Proved {
        message_id: stated.message_id.to_owned(),
        task_id: stated.task_id.to_owned(),
        public_key: given.public_key,
        hash: sha256(statement.as_bytes()),
        link,
    })
}
