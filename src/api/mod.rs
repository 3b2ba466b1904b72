//! The HTTP interface. It changes what is desired, in the store, and wakes the supervisor; it never starts or stops
//! anything itself.
//!
//! Every answer that is not a success has the documented error body, also where a layer and not a handler made it.
//! Nothing that a client sends is logged but method, route, status and request id.

mod auth;
mod body;
mod cameras;
mod deliveries;
mod description;
mod error;
pub mod face_tasks;
mod faces;
mod gate_buffer;
pub mod keys;
mod layers;
mod licences;
mod person_directory;
mod persons;
mod pictures;
pub mod rates;
mod signing;
mod system;
mod throttle;
pub mod tls;

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;

use axum::Router;
use axum::middleware;
use axum::serve::ListenerExt;
use tokio::net::TcpListener;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;

use crate::domain::TaskId;
use crate::figures::Figures;
use crate::status::Status;
use crate::store::Store;
use keys::Keys;
use tls::Tls;

pub use error::ApiError;
pub use faces::{Eyes, Faces, Fetch, Look, LookFault, Recognition};

/// What the interface asks of the supervisor.
pub trait Control: Send + Sync {
    /// The store's desired state has changed: look at it.
    fn wake(&self);
    /// Done once nothing of this task runs any more and its camera is let go. The store already says that it shall
    /// not run. A task that never ran is released at once.
    fn released(&self, id: &TaskId) -> Pin<Box<dyn Future<Output = ()> + Send>>;
}

/// Everything that handlers use; cheap to clone.
#[derive(Clone)]
pub struct AppState {
    pub store: Store,
    pub status: Arc<Status>,
    pub control: Arc<dyn Control>,
    pub keys: Arc<Keys>,
    pub metrics: Figures,
    /// The pool that this box belongs to.
    pub edge_pool_id: Arc<str>,
    pub faces: Faces,
}

#[derive(OpenApi)]
#[openapi(info(title = "face-edge", description = "Faces from cameras, sent on once, at the right moment."))]
struct Description;

/// Serves until `stop` is done and the open requests have ended. With `tls` it is HTTPS.
pub async fn serve(
    listener: TcpListener,
    tls: Option<Tls>,
    state: AppState,
    stop: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    let service = router(state).into_make_service_with_connect_info::<SocketAddr>();
    match tls {
        None => axum::serve(listener, service).with_graceful_shutdown(stop).await,
        Some(tls) => axum::serve(tls.listen(listener)?.tap_io(|_| {}), service).with_graceful_shutdown(stop).await,
    }
}

/// The whole interface. Serve it with `into_make_service_with_connect_info::<SocketAddr>()`, so that wrong keys are
/// counted by the address that they come from.
pub fn router(state: AppState) -> Router {
    let protected = face_tasks::routes()
        .merge(cameras::routes())
        .merge(deliveries::routes())
        .route_layer(middleware::from_fn_with_state(state.clone(), auth::authenticate));
    let (router, generated) = OpenApiRouter::with_openapi(Description::openapi())
        .merge(protected)
        .merge(licences::routes(&state))
        .merge(pictures::routes())
        .merge(gate_buffer::routes(&state))
        .merge(persons::routes(&state))
        .merge(person_directory::routes(&state))
        .merge(system::routes())
        .split_for_parts();
    let router = router.merge(system::description(&description::complete(&generated))).with_state(state);
    layers::around(router)
}
