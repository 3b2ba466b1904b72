//! One request of the gate interface and the formats that it came in and wants its answer in.

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::refusal;
use crate::api::ApiError;
use crate::api::body;
use crate::api::keys::{Identity, Role};
use crate::gate_wire::{self, Answer, CallNames, Faults, MEDIA_TYPES, MediaType, Sent};

/// The longest picture as a form writes it (each `+`, `/` and `=` three bytes), and what stands around it.
const BODY_LIMIT_BYTES: usize = 3 << 20;

/// The answer to a request that is not carried out.
pub struct Refused(Box<Response>);

impl From<Response> for Refused {
    fn from(response: Response) -> Self {
        Self(Box::new(response))
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        *self.0
    }
}

pub struct Exchange {
    pub identity: Identity,
    sent_as: MediaType,
    answer_as: MediaType,
    body: Bytes,
}

impl<S: Send + Sync> FromRequest<S> for Exchange {
    type Rejection = Response;

    async fn from_request(request: Request, _: &S) -> Result<Self, Response> {
        let (parts, body) = request.into_parts();
        let identity = parts.extensions.get::<Identity>().cloned().expect("authenticated before");
        let Some(sent_as) = sent_as(&parts.headers) else {
            let known = MEDIA_TYPES.map(|known| known.name).join(", ");
            let message = format!("The request's media type is not supported; expected one of {known}.");
            let body = axum::Json(serde_json::json!({"Message": message}));
            return Err((StatusCode::UNSUPPORTED_MEDIA_TYPE, body).into_response());
        };
        let accept = parts.headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
        let answer_as = MediaType::accepted(accept, sent_as);
        let body = body::read_up_to(&parts.headers, body, BODY_LIMIT_BYTES).await.map_err(|error| refusal(&error))?;
        Ok(Self { identity, sent_as, answer_as, body })
    }
}

/// Without a header: JSON.
fn sent_as(headers: &HeaderMap) -> Option<MediaType> {
    match headers.get(header::CONTENT_TYPE) {
        None => Some(MEDIA_TYPES[0]),
        Some(value) => MediaType::parse(value.to_str().ok()?),
    }
}

impl Exchange {
    pub fn fields(&self, names: CallNames) -> Result<Sent, Refused> {
        gate_wire::read(self.sent_as.format, names, &self.body)
            .map_err(|unreadable| self.faults(&vec![("parm", unreadable.to_string())]))
    }

    pub fn answer(&self, names: CallNames, answer: &Answer) -> Response {
        let body = gate_wire::write(self.answer_as.format, names, answer);
        ([(header::CONTENT_TYPE, self.answer_as.content_type())], body).into_response()
    }

    pub fn faults(&self, faults: &Faults) -> Refused {
        let body = gate_wire::write_faults(self.answer_as.format, faults);
        let content_type = [(header::CONTENT_TYPE, self.answer_as.content_type())];
        (StatusCode::BAD_REQUEST, content_type, body).into_response().into()
    }

    /// A gate's key is named after its gate, and is good for that one alone.
    pub fn require_gate(&self, gatenum: &str) -> Result<(), Refused> {
        let own = self.identity.role == Role::Gate && self.identity.name == gatenum;
        self.require(own || self.identity.role.may_change_tasks(), "ask for this gate")
    }

    pub fn require_operator(&self, deed: &str) -> Result<(), Refused> {
        self.require(self.identity.role.may_change_tasks(), deed)
    }

    pub fn require(&self, allowed: bool, deed: &str) -> Result<(), Refused> {
        if allowed {
            return Ok(());
        }
        let role = self.identity.role.as_str();
        let hint = if self.identity.role == Role::Gate { "; a gate's key is named after its gatenum" } else { "" };
        let message = format!("not allowed: a key of the role {role} may not {deed}{hint}");
        Err(refusal(&ApiError::Forbidden(message)).into())
    }
}
