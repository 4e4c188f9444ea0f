//! The routes of each listener.

use std::sync::Arc;

use axum::Router;
use axum::http::{StatusCode, Uri};
use axum::middleware::from_fn;
use axum::routing::{get, post};

use super::api_error::ApiError;
use super::caller::{authenticate_socket, authenticate_token};
use super::handlers as on;
use super::openapi::openapi;
use super::shared::Shared;
use super::tokens::Tokens;

/// TCP: public routes, and those of the owner behind a token, if there are tokens.
pub(super) fn tcp(shared: &Arc<Shared>, tokens: &Arc<Tokens>) -> Router {
    if tokens.is_empty() {
        return with_fallbacks(public(), shared);
    }
    let known = Arc::clone(tokens);
    let guard = from_fn(move |eviction_guard, request, next| {
        authenticate_token(Arc::clone(&known), eviction_guard, request, next)
    });
    // `route_layer`, so that an unknown path is a 404 rather than a 401.
    with_fallbacks(public().merge(owner().route_layer(guard)), shared)
}

/// The unix socket: all routes, for the owner of the state directory.
pub(super) fn unix(shared: &Arc<Shared>) -> Router {
    let guard = from_fn(authenticate_socket);
    with_fallbacks(public().merge(owner().route_layer(guard)), shared)
}

fn public() -> Router<Arc<Shared>> {
    Router::new()
        .route("/metrics", get(on::metrics))
        .route("/healthz", get(on::health))
        .route("/readyz", get(on::ready))
}

fn owner() -> Router<Arc<Shared>> {
    Router::new()
        .route("/v1/openapi.json", get(openapi))
        .route("/v1/status", get(on::status))
        .route("/v1/reload", post(on::reload))
        .route("/v1/drill", post(on::drill))
        .route("/v1/audit", get(on::audit))
        .route("/v1/keyrings", get(on::keyrings))
        .route("/v1/keyrings/{keyring}", get(on::keyring))
        .route("/v1/keyrings/{keyring}/rotate", post(on::rotate))
        .route("/v1/keyrings/{keyring}/revoke", post(on::revoke))
        .route("/v1/keyrings/{keyring}/abort", post(on::abort))
        .route("/v1/keyrings/{keyring}/versions", get(on::versions))
        .merge(versions())
}

/// Routes of one key version.
fn versions() -> Router<Arc<Shared>> {
    let of = |path: &str| format!("/v1/keyrings/{{keyring}}/versions/{{version}}{path}");
    Router::new()
        .route(&of(""), get(on::version))
        .route(&of("/why"), get(on::why))
        .route(&of("/exposure"), get(on::exposure))
        .route(&of("/suspend"), post(on::suspend))
        .route(&of("/restore"), post(on::restore))
        .route(&of("/archive"), post(on::archive))
        .route(&of("/destroy"), post(on::destroy))
}

/// Adds the answers 404 and 405. Call it last: the fallback for wrong methods covers only routes added before.
fn with_fallbacks(router: Router<Arc<Shared>>, shared: &Arc<Shared>) -> Router {
    router
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .with_state(Arc::clone(shared))
}

async fn not_found(uri: Uri) -> ApiError {
    let error = format!("there is nothing at {}", uri.path());
    let help = "TCP: /metrics, /healthz, /readyz, and with `[admin] tokens` what the unix socket has; GET /v1/openapi.json lists that";
    ApiError::request_error(StatusCode::NOT_FOUND, &error, help)
}

async fn method_not_allowed() -> ApiError {
    let help = "what changes something takes POST, everything else takes GET; GET /v1/openapi.json lists both";
    let error = "this path does not take this method";
    ApiError::request_error(StatusCode::METHOD_NOT_ALLOWED, error, help)
}
