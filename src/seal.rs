//! Encryption of what has to be readable again and must not lie open on the disk: secrets that a signature is checked
//! with, pictures of persons. XChaCha20-Poly1305 with a random nonce each time, under one key of this installation.
//!
//! The key comes from `FACE_EDGE_SEAL_KEY`, else from a file beside the database that only its owner may read and that
//! is made where it is missing. Whoever has the database alone reads nothing of what was sealed; whoever loses the key
//! has lost it too. What is sealed is bound to its place (`aad`), so that it opens nowhere else.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{Key, XChaCha20Poly1305, XNonce};
use rand::RngCore;

use crate::config::{ConfigError, read_secret_file};

/// Where the key lies in the data folder.
pub const KEY_FILE: &str = "seal.key";
const KEY_VARIABLE: &str = "FACE_EDGE_SEAL_KEY";
const KEY_BYTES: usize = 32;
const NONCE_BYTES: usize = 24;
/// The form of what is sealed: this byte, the nonce, the ciphertext with its tag.
const VERSION: u8 = 1;

/// Seals and opens. Cheap to share in an `Arc`; never printed.
pub struct Seal {
    cipher: XChaCha20Poly1305,
}

#[derive(Debug, thiserror::Error)]
pub enum SealError {
    #[error(transparent)]
    File(#[from] ConfigError),
    #[error("{place}: is no key, expected {} hex digits", 2 * KEY_BYTES)]
    Key { place: String },
    #[error("{file}: the key could not be made ({source})")]
    Make { file: String, source: std::io::Error },
    /// Changed, cut, sealed for another place, or under another key.
    #[error("does not open: it was changed, or sealed with another key than this installation's ({KEY_FILE})")]
    Broken,
}

impl Seal {
    /// By the key of the environment, else by the folder's file.
    pub fn of_folder(data_dir: &Path) -> Result<Self, SealError> {
        match std::env::var(KEY_VARIABLE).ok().filter(|text| !text.is_empty()) {
            Some(text) => Self::from_hex(&text, KEY_VARIABLE),
            None => Self::open_or_create(&data_dir.join(KEY_FILE)),
        }
    }

    /// The file's key; a new one, mode 0600 and synced to the disk, where there is no file. Of several processes that
    /// come at once one makes it, and all have that one's.
    pub fn open_or_create(path: &Path) -> Result<Self, SealError> {
        if !path.exists() {
            make(path).map_err(|source| SealError::Make { file: path.display().to_string(), source })?;
        }
        Self::from_hex(&read_secret_file(path)?, &path.display().to_string())
    }

    fn from_hex(text: &str, place: &str) -> Result<Self, SealError> {
        let key = key_of(text).ok_or_else(|| SealError::Key { place: place.to_owned() })?;
        Ok(Self { cipher: XChaCha20Poly1305::new(&Key::from(key)) })
    }

    /// `aad` names the place that it is for (a table and an id, say); the same is needed to open it.
    pub fn seal(&self, plain: &[u8], aad: &[u8]) -> Vec<u8> {
        let mut nonce = [0; NONCE_BYTES];
        rand::rng().fill_bytes(&mut nonce);
        let payload = Payload { msg: plain, aad };
        let ciphertext = self.cipher.encrypt(&XNonce::from(nonce), payload).expect("far below 256 GiB");
        [&[VERSION], nonce.as_slice(), &ciphertext].concat()
    }

    pub fn open(&self, sealed: &[u8], aad: &[u8]) -> Result<Vec<u8>, SealError> {
        let (nonce, ciphertext) = match sealed.split_first() {
            Some((&VERSION, rest)) => rest.split_first_chunk::<NONCE_BYTES>().ok_or(SealError::Broken)?,
            _ => return Err(SealError::Broken),
        };
        let payload = Payload { msg: ciphertext, aad };
        self.cipher.decrypt(&XNonce::from(*nonce), payload).map_err(|_| SealError::Broken)
    }
}

/// Written under another name first, so that nobody ever reads half a key; a link never replaces one that is there.
fn make(path: &Path) -> std::io::Result<()> {
    let mut random = [0; KEY_BYTES];
    rand::rng().fill_bytes(&mut random);
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let draft = Draft::new(path);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft.0)?;
    let text: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    writeln!(file, "{text}")?;
    file.sync_all()?;
    match std::fs::hard_link(&draft.0, path) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    File::open(folder)?.sync_all()
}

/// Removed when dropped.
struct Draft(PathBuf);

impl Draft {
    fn new(path: &Path) -> Self {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".{:016x}", rand::rng().next_u64()));
        Self(name.into())
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // What stays behind is a key that nobody uses.
        let _ = std::fs::remove_file(&self.0);
    }
}

fn key_of(text: &str) -> Option<[u8; KEY_BYTES]> {
    let text = text.trim();
    let mut key = [0; KEY_BYTES];
    if text.len() != 2 * KEY_BYTES || !text.is_ascii() {
        return None;
    }
    for (index, byte) in key.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * index..2 * index + 2], 16).ok()?;
    }
    Some(key)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn what_was_sealed_opens_at_its_place_and_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(KEY_FILE);
        let sealed = Seal::open_or_create(&path).unwrap().seal(b"secret", b"keys/1");
        assert!(!sealed.windows(6).any(|part| part == b"secret"));
        let seal = Seal::open_or_create(&path).unwrap();
        assert_eq!(seal.open(&sealed, b"keys/1").unwrap(), b"secret");
        assert_ne!(seal.seal(b"secret", b"keys/1"), sealed, "each time another nonce");
        assert!(seal.open(&sealed, b"keys/2").is_err(), "of another place");
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert!(seal.open(&changed, b"keys/1").is_err(), "byte {at} changed");
            assert!(seal.open(&sealed[..at], b"keys/1").is_err(), "cut at {at}");
        }
        assert_eq!(seal.open(&seal.seal(b"", b""), b"").unwrap(), b"");
        let other = Seal::open_or_create(&folder.path().join("other")).unwrap();
        assert!(other.open(&sealed, b"keys/1").is_err(), "of another installation");
    }

    #[test]
    fn the_key_is_its_owners_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(KEY_FILE);
        Seal::open_or_create(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing else is left");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        let error = Seal::open_or_create(&path).err().unwrap().to_string();
        assert!(error.contains("make it 0600"), "{error}");
    }

    #[test]
    fn a_key_that_is_none_is_refused_and_not_shown() {
        for text in ["", "0123", &"g".repeat(64), &"é".repeat(32), &"0".repeat(65)] {
            let error = Seal::from_hex(text, "there").err().unwrap().to_string();
            assert!(error.contains("there") && error.contains("64 hex digits") && !error.contains("gg"), "{error}");
        }
        assert!(Seal::from_hex(&"0f".repeat(32), "there").is_ok());
    }

    #[test]
    fn all_who_come_at_once_have_the_same_key() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(KEY_FILE);
        let sealed = std::thread::scope(|scope| {
            let seal = || Seal::open_or_create(&path).unwrap().seal(b"x", b"");
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(seal)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
        });
        let seal = Seal::open_or_create(&path).unwrap();
        assert!(sealed.iter().all(|sealed| seal.open(sealed, b"").is_ok()));
    }
}
