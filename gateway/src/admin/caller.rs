//! Who sends a request, and how they were authenticated.

use axum::extract::{Extension, Request};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use std::sync::Arc;

use crate::audit::{Actor, Channel};
use crate::operations::Caller;

use super::api_error::ApiError;
use super::slots::EvictionGuard;
use super::socket::Peer;
use super::tokens::Tokens;

/// Authenticates by the peer credentials of the unix socket.
pub(super) async fn authenticate_socket(
    Extension(Peer { uid }): Extension<Peer>,
    Extension(eviction_guard): Extension<EvictionGuard>,
    request: Request,
    next: Next,
) -> Response {
    let caller = Caller {
        who: Actor::Uid(uid),
        through: Channel::AdminSocket,
    };
    admit((caller, eviction_guard), request, next).await
}

/// Authenticates by bearer token; 401 without a known one.
pub(super) async fn authenticate_token(
    tokens: Arc<Tokens>,
    Extension(eviction_guard): Extension<EvictionGuard>,
    request: Request,
    next: Next,
) -> Response {
    // Two headers are refused: a proxy in front may have checked the other one.
    let mut all = request.headers().get_all(header::AUTHORIZATION).iter();
    let only = all.next().filter(|_| all.next().is_none());
    let Some(name) = only.and_then(|value| tokens.bearer(value.as_bytes())) else {
        return unauthorized();
    };
    let caller = Caller {
        who: Actor::Token(name.into()),
        through: Channel::AdminTcp,
    };
    admit((caller, eviction_guard), request, next).await
}

/// Passes an authenticated request on; its connection is no longer evicted for newer ones. 503 where too many are protected
/// already.
async fn admit(
    (caller, eviction_guard): (Caller, EvictionGuard),
    mut request: Request,
    next: Next,
) -> Response {
    if !eviction_guard.protect() {
        return ApiError::busy().into_response();
    }
    request.extensions_mut().insert(caller);
    next.run(request).await
}

/// 401 with the challenge of RFC 6750, section 3; does not repeat what was sent.
fn unauthorized() -> Response {
    let refusal = ApiError::request_error(
        StatusCode::UNAUTHORIZED,
        "this takes a token",
        "send `Authorization: Bearer TOKEN` with one of `[admin] tokens`, or ask through the unix socket",
    );
    let mut response = refusal.into_response();
    let challenge = HeaderValue::from_static("Bearer realm=\"keyway\"");
    response
        .headers_mut()
        .insert(header::WWW_AUTHENTICATE, challenge);
    response
}
