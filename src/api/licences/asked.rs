//! What a client sends: a search, or a change together with the mark by which it may send it again.

use axum::extract::{FromRequest, FromRequestParts, Path, Request};
use axum::http::request::Parts;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

use super::answer::LicenceError;
use crate::api::body;
use crate::api::keys::{Identity, Role};
use crate::store::{Actor, RequestMark};

const REQUEST_ID: &str = "x-bit-req-id";
const REQUEST_ID_CHARS: usize = 128;

/// A name in the path: a product's or an sn.
pub struct Named(pub String);

impl<S: Send + Sync> FromRequestParts<S> for Named {
    type Rejection = LicenceError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, LicenceError> {
        match Path::<String>::from_request_parts(parts, state).await {
            Ok(Path(name)) => Ok(Self(name)),
            Err(_) => Err(LicenceError::bad("the path is no readable text")),
        }
    }
}

/// A body for those who may look.
pub struct Sent<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Sent<T> {
    type Rejection = LicenceError;

    async fn from_request(request: Request, _: &S) -> Result<Self, LicenceError> {
        let (parts, body) = request.into_parts();
        Ok(Self(parse(&body::read(&parts.headers, body).await?)?))
    }
}

/// A change, extracted for an admin only.
pub struct Change<T> {
    pub body: T,
    pub asked: Asked,
}

/// By whom, and the mark by which it may be sent again.
pub struct Asked {
    pub by: Actor,
    pub mark: Option<RequestMark>,
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Change<T> {
    type Rejection = LicenceError;

    async fn from_request(request: Request, _: &S) -> Result<Self, LicenceError> {
        let (parts, body) = request.into_parts();
        let identity = parts.extensions.get::<Identity>().filter(|identity| identity.role == Role::Admin);
        let Some(identity) = identity else {
            return Err(LicenceError::not_allowed("only a key of the role admin may change licences"));
        };
        let bytes = body::read(&parts.headers, body).await?;
        let asked = Asked { by: identity.actor(), mark: mark(&parts, identity, &bytes)? };
        Ok(Self { body: parse(&bytes)?, asked })
    }
}

fn mark(parts: &Parts, identity: &Identity, body: &[u8]) -> Result<Option<RequestMark>, LicenceError> {
    let Some(id) = parts.headers.get(REQUEST_ID) else { return Ok(None) };
    let id = id.to_str().ok().filter(|id| (1..=REQUEST_ID_CHARS).contains(&id.len()));
    let id = id.ok_or_else(|| {
        LicenceError::bad(format!("{REQUEST_ID}: expected 1 to {REQUEST_ID_CHARS} visible ASCII characters"))
    })?;
    let asked = format!("{} {}\n", parts.method, parts.uri);
    let fingerprint = Sha256::new().chain_update(asked).chain_update(body).finalize().to_vec();
    Ok(Some(RequestMark { id: format!("{}\n{id}", identity.key), fingerprint }))
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, LicenceError> {
    serde_json::from_slice(bytes).map_err(|error| LicenceError::bad(format!("the body is not as expected: {error}")))
}
