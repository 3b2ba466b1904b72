//! Photo-to-person links: `/api/v1/persons/{set,delete,recognize,truncate}`, multipart. See docs/persons.md.

mod answer;
mod calls;
mod meta;
mod parts;

use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use url::form_urlencoded;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{ApiError, AppState, auth};
use answer::PersonsError;

/// Calls that may take longer than others: their pictures have to come first.
pub const PATH: &str = "/api/v1/persons/";
const TOKEN_HEADER: HeaderName = HeaderName::from_static("oauth_token");
const PROVIDERS: [&str; 2] = ["mcs", "mr"];

/// With its own authentication around it: the key stands in the query.
pub fn routes(state: &AppState) -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(calls::set))
        .routes(routes!(calls::delete))
        .routes(routes!(calls::recognize))
        .routes(routes!(calls::truncate))
        .route_layer(middleware::from_fn_with_state(state.clone(), authenticate))
}

/// The query's `oauth_token` is a key like those of the headers, and wins over them.
async fn authenticate(state: State<AppState>, mut request: Request, next: Next) -> Response {
    let (mut provider, mut token) = (String::new(), None);
    for (name, value) in form_urlencoded::parse(request.uri().query().unwrap_or_default().as_bytes()) {
        match &*name {
            "oauth_provider" => provider = value.into_owned(),
            "oauth_token" => token = Some(value.into_owned()).filter(|token| !token.is_empty()),
            _ => {}
        }
    }
    if !PROVIDERS.contains(&provider.as_str()) {
        return PersonsError::bad("oauth_provider: expected mcs or mr in the query").into_response();
    }
    if let Some(token) = token {
        let Ok(header) = HeaderValue::from_str(&token) else { return PersonsError::token(&provider).into_response() };
        request.headers_mut().insert(TOKEN_HEADER, header);
    }
    match auth::authenticate(state, request, next).await {
        Ok(response) => response,
        Err(ApiError::Unauthorized(_)) => PersonsError::token(&provider).into_response(),
        Err(error) => PersonsError::from(error).into_response(),
    }
}
