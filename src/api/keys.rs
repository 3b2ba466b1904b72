//! API keys and their roles, made and checked.
//!
//! A key is `fe_<id>_<secret>`: the id finds its row, the secret is 256 random bits. Stored is the secret's SHA-256
//! and never the secret: a slow password hash would add nothing, for nobody guesses 256 random bits. Compared in
//! constant time. A signing pair's secret key has to be read again to check a signature: it is stored sealed, and its
//! access key is the row's id. The environment may hold one more admin key and one admin signing pair, which are not
//! stored.

use std::sync::Arc;

use rand::{Rng, RngCore};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::rates::Rates;
use super::throttle::Throttle;
use crate::clock;
use crate::domain::UnixMs;
use crate::seal::Seal;
use crate::store::{Actor, KeyRow, Store, StoreError};

const PREFIX: &str = "fe";
const NAME_CHARS: usize = 100;
/// Of access keys: without those that people take for one another.
const LETTERS: &[u8; 32] = b"ABCDEFGHJKLMNPQRSTUVWXYZ23456789";
const ACCESS_KEY_CHARS: usize = 20;
const SECRET_KEY_BYTES: usize = 20;
/// The note of a key's last use is this coarse, since each costs a write to the disk.
const TOUCH_EVERY_MS: i64 = 3_600_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Everything.
    Admin,
    /// Tasks.
    Operator,
    /// Its own gate's buffer.
    Gate,
    /// Looks, changes nothing, sees no passwords.
    Viewer,
}

impl Role {
    pub const ALL: [Self; 4] = [Self::Admin, Self::Operator, Self::Gate, Self::Viewer];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Operator => "operator",
            Self::Gate => "gate",
            Self::Viewer => "viewer",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == text)
    }

    pub const fn may_see_tasks(self) -> bool {
        !matches!(self, Self::Gate)
    }

    pub const fn may_change_tasks(self) -> bool {
        matches!(self, Self::Admin | Self::Operator)
    }
}

/// Who asks, and in which request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    pub name: String,
    pub role: Role,
    /// The key's id.
    pub key: String,
    pub request_id: Option<String>,
}

impl Identity {
    fn new(name: &str, role: Role, key: &str) -> Self {
        Self { name: name.to_owned(), role, key: key.to_owned(), request_id: None }
    }

    /// For the log of changes.
    pub fn actor(&self) -> Actor {
        let (name, key_id) = (self.name.clone(), Some(self.key.clone()));
        Actor { name, key_id, request_id: self.request_id.clone() }
    }
}

/// Who is said to have signed a request, and what the signature is checked with.
pub(super) struct Signer {
    pub identity: Identity,
    pub secret_key: String,
}

#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("FACE_EDGE_ACCESS_KEY is not of the form access-key:secret-key")]
    Pair,
    #[error("the key's name has {0} characters, expected 1 to {NAME_CHARS}")]
    Name(usize),
}

/// Keys that the environment gives.
#[derive(Default)]
pub struct KeyEnv {
    /// `FACE_EDGE_TOKEN`
    pub token: Option<String>,
    /// `FACE_EDGE_ACCESS_KEY`
    pub access_key: Option<String>,
}

impl KeyEnv {
    pub fn of_process() -> Self {
        let read = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        Self { token: read("FACE_EDGE_TOKEN"), access_key: read("FACE_EDGE_ACCESS_KEY") }
    }
}

/// A signing pair. One that was just made is seen this once.
#[derive(Clone)]
pub struct AccessPair {
    pub access_key: String,
    pub secret_key: String,
}

pub struct Keys {
    store: Store,
    token: Option<[u8; 32]>,
    pair: Option<AccessPair>,
    seal: Option<Arc<Seal>>,
    pub(super) throttle: Throttle,
    pub(super) rates: Rates,
}

/// The keys as the service starts with them.
pub struct Bootstrap {
    pub keys: Keys,
    /// To be shown to a person, once: there was no key at all, so this admin key was made.
    pub first_key: Option<String>,
}

impl Bootstrap {
    /// Nobody has chosen a key yet: serve a loopback address only.
    pub fn loopback_only(&self) -> bool {
        self.first_key.is_some()
    }
}

impl Keys {
    pub fn new(store: Store, env: KeyEnv) -> Result<Self, KeyError> {
        let pair = env.access_key.as_deref().map(split_pair).transpose()?;
        let token = env.token.map(|token| hash(&token));
        Ok(Self { store, token, pair, seal: None, throttle: Throttle::default(), rates: Rates::default() })
    }

    /// Without it the signing pairs of the store are not good.
    pub fn sealed_by(self, seal: Arc<Seal>) -> Self {
        Self { seal: Some(seal), ..self }
    }

    pub fn with_rates(self, rates: Rates) -> Self {
        Self { rates, ..self }
    }

    /// Makes a first admin key where there is none that works. Blocks: for the start, before anything is served.
    pub fn bootstrap(store: Store, env: KeyEnv) -> Result<Bootstrap, KeyError> {
        let keys = Self::new(store, env)?;
        let stored = keys.store.keys().wait()?;
        let any = keys.token.is_some() || keys.pair.is_some() || stored.iter().any(|row| row.revoked_at.is_none());
        let store = keys.store.by(Actor::local("first start"));
        let first_key = if any { None } else { Some(create(&store, "first", Role::Admin)?.key) };
        Ok(Bootstrap { keys, first_key })
    }

    /// Whose key this is; `None` where it is nobody's, or no longer.
    pub async fn identify(&self, presented: &str, now: UnixMs) -> Result<Option<Identity>, StoreError> {
        if self.token.is_some_and(|token| same(&token, &hash(presented))) {
            return Ok(Some(Identity::new("FACE_EDGE_TOKEN", Role::Admin, "FACE_EDGE_TOKEN")));
        }
        let Some((id, secret)) = split_key(presented) else { return Ok(None) };
        let Some(row) = self.store.key(id).await? else { return Ok(None) };
        let right = same(&row.hash, &hash(secret)) && row.sealed.is_none();
        let role = Role::parse(&row.role).filter(|_| right && row.revoked_at.is_none());
        let Some(role) = role else { return Ok(None) };
        self.note_use(&row, now);
        Ok(Some(Identity::new(&row.name, role, &row.id)))
    }

    /// Of whoever claims to have signed; that it holds is still to be seen.
    pub(super) async fn signer(&self, access_key: &str, now: UnixMs) -> Result<Option<Signer>, StoreError> {
        if let Some(pair) = self.pair.as_ref().filter(|pair| same(pair.access_key.as_bytes(), access_key.as_bytes())) {
            let identity = Identity::new(access_key, Role::Admin, access_key);
            return Ok(Some(Signer { identity, secret_key: pair.secret_key.clone() }));
        }
        let row = self.store.key(access_key).await?.filter(|row| row.revoked_at.is_none());
        let Some((row, seal)) = row.zip(self.seal.as_ref()) else { return Ok(None) };
        let Some((sealed, role)) = row.sealed.as_deref().zip(Role::parse(&row.role)) else { return Ok(None) };
        let secret = seal.open(sealed, &place(&row.id)).map(String::from_utf8);
        let Ok(Ok(secret_key)) = secret else {
            tracing::error!(key = row.id, "the secret of a signing pair does not open: is the seal's key another one?");
            return Ok(None);
        };
        self.note_use(&row, now);
        Ok(Some(Signer { identity: Identity::new(&row.name, role, &row.id), secret_key }))
    }

    /// In the background: the request does not wait for it, and it may fail.
    fn note_use(&self, row: &KeyRow, now: UnixMs) {
        if row.last_used_at.is_none_or(|last| now.0 - last.0 >= TOUCH_EVERY_MS) {
            let call = self.store.touch_key(&row.id, now);
            tokio::spawn(async move {
                if let Err(error) = call.await {
                    tracing::warn!(%error, "the use of a key could not be noted");
                }
            });
        }
    }
}

/// A key that was just made; the only time that its secret can be seen.
pub struct NewKey {
    pub id: String,
    pub key: String,
}

/// Blocks.
pub fn create(store: &Store, name: &str, role: Role) -> Result<NewKey, KeyError> {
    let (id, secret) = (random_hex(6), random_hex(32));
    store.insert_key(row(&id, name, role, &secret)?).wait()?;
    Ok(NewKey { key: format!("{PREFIX}_{id}_{secret}"), id })
}

/// A signing pair. Blocks.
pub fn create_pair(store: &Store, seal: &Seal, name: &str, role: Role) -> Result<AccessPair, KeyError> {
    let mut random = rand::rng();
    let access_key: String =
        (0..ACCESS_KEY_CHARS).map(|_| char::from(LETTERS[random.random_range(0..LETTERS.len())])).collect();
    let secret_key = random_hex(SECRET_KEY_BYTES);
    let sealed = seal.seal(secret_key.as_bytes(), &place(&access_key));
    let row = KeyRow { sealed: Some(sealed), ..row(&access_key, name, role, &secret_key)? };
    store.insert_key(row).wait()?;
    Ok(AccessPair { access_key, secret_key })
}

/// What a secret key is sealed for.
fn place(access_key: &str) -> Vec<u8> {
    format!("api_keys/{access_key}").into_bytes()
}

fn row(id: &str, name: &str, role: Role, secret: &str) -> Result<KeyRow, KeyError> {
    let count = name.chars().count();
    if !(1..=NAME_CHARS).contains(&count) {
        return Err(KeyError::Name(count));
    }
    Ok(KeyRow {
        id: id.to_owned(),
        name: name.to_owned(),
        role: role.as_str().to_owned(),
        hash: hash(secret).to_vec(),
        sealed: None,
        created_at: clock::unix_ms(),
        revoked_at: None,
        last_used_at: None,
    })
}

fn split_key(key: &str) -> Option<(&str, &str)> {
    key.strip_prefix(PREFIX)?.strip_prefix('_')?.split_once('_')
}

fn split_pair(text: &str) -> Result<AccessPair, KeyError> {
    match text.split_once(':') {
        Some((access_key, secret_key)) if !access_key.is_empty() && !secret_key.is_empty() => {
            Ok(AccessPair { access_key: access_key.to_owned(), secret_key: secret_key.to_owned() })
        }
        _ => Err(KeyError::Pair),
    }
}

fn hash(secret: &str) -> [u8; 32] {
    Sha256::digest(secret).into()
}

fn same(a: &[u8], b: &[u8]) -> bool {
    a.ct_eq(b).into()
}

fn random_hex(bytes: usize) -> String {
    let mut random = [0; 32];
    let random = &mut random[..bytes];
    rand::rng().fill_bytes(random);
    hex(random)
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
