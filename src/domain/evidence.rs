//! What the box states about a message so that a series can be proved complete and unchanged: each link names the one
//! before it. The statement is made of fields that the message itself shows, so whoever has the messages can make it.

use sha2::{Digest, Sha256};

use super::event::Message;

pub type Hash = [u8; 32];

/// A message's place in its output's chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Link {
    /// From 1, without gaps.
    pub number: u64,
    /// Hash of the statement before; zeros for the first.
    pub previous: Hash,
}

/// The fields that are stated, as they stand in the message's JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stated<'a> {
    pub event_type: u64,
    pub message_id: &'a str,
    pub task_id: &'a str,
    pub stream_id: &'a str,
    pub node_id: &'a str,
    pub timestamp_s: i64,
    /// Empty for a whole frame.
    pub face_id: &'a str,
    pub picture_sha256: Hash,
}

/// The bytes that are hashed and signed.
pub fn statement(link: &Link, stated: &Stated<'_>) -> String {
    format!(
        "face-edge evidence 1\n{}\n{}\n{}\n{}\n{}\n{}\n{}\n{}\n{}\n{}\n",
        link.number,
        hex(&link.previous),
        stated.event_type,
        stated.message_id,
        stated.task_id,
        stated.stream_id,
        stated.node_id,
        stated.timestamp_s,
        stated.face_id,
        hex(&stated.picture_sha256),
    )
}

/// Of a message that is at hand.
pub fn statement_of(link: &Link, message: &Message) -> String {
    let (event_type, node_id, face_id) = match message {
        Message::Face(face) => (65536, &face.node_id, face.face_id.to_string()),
        Message::Origin(origin) => (65537, &origin.node_id, String::new()),
    };
    let stated = Stated {
        event_type,
        message_id: &message.id().to_string().to_uppercase(),
        task_id: message.task_id().as_str(),
        stream_id: message.stream_id(),
        node_id,
        timestamp_s: message.taken_at().secs(),
        face_id: &face_id,
        picture_sha256: sha256(message.jpeg()),
    };
    statement(link, &stated)
}

pub fn sha256(bytes: &[u8]) -> Hash {
    Sha256::digest(bytes).into()
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// `None` where it is not 64 hex digits.
pub fn hash_from_hex(text: &str) -> Option<Hash> {
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    let mut hash = [0; 32];
    for (byte, digits) in hash.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    }
    Some(hash)
}
