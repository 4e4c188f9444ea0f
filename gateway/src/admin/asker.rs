//! Who sends a request, and how they were authenticated.

use axum::extract::{Extension, Request};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use std::sync::Arc;

use crate::audit::{Text, Through, Trigger, Who};
use crate::rotation::Because;

use super::places::Tenure;
use super::problem::Refusal;
use super::socket::Peer;
use super::tokens::Tokens;

/// Who asks for a key operation; goes into the audit log.
#[derive(Clone, Debug)]
pub struct Asker {
    /// Their identity.
    pub who: Who,
    /// The channel of the request.
    pub through: Through,
}

impl Asker {
    /// The reason of an operation that they ask for.
    #[must_use]
    pub fn because(&self, trigger: Trigger, why: impl Into<Text>) -> Because {
        Because {
            trigger,
            who: self.who.clone(),
            through: self.through,
            why: why.into(),
            ground: None,
        }
    }
}

/// Authenticates by the peer credentials of the unix socket.
pub(super) async fn by_socket(
    Extension(Peer { uid }): Extension<Peer>,
    Extension(tenure): Extension<Tenure>,
    request: Request,
    next: Next,
) -> Response {
    let asker = Asker {
        who: Who::Uid(uid),
        through: Through::AdminSocket,
    };
    admit((asker, tenure), request, next).await
}

/// Authenticates by bearer token; 401 without a known one.
pub(super) async fn by_token(
    tokens: Arc<Tokens>,
    Extension(tenure): Extension<Tenure>,
    request: Request,
    next: Next,
) -> Response {
    // Two headers are refused: a proxy in front may have checked the other one.
    let mut all = request.headers().get_all(header::AUTHORIZATION).iter();
    let only = all.next().filter(|_| all.next().is_none());
    let Some(name) = only.and_then(|value| tokens.bearer(value.as_bytes())) else {
        return unknown();
    };
    let asker = Asker {
        who: Who::Token(name.into()),
        through: Through::AdminTcp,
    };
    admit((asker, tenure), request, next).await
}

/// Passes an authenticated request on; its connection is no longer evicted for newer ones. 503 where too many are protected
/// already.
async fn admit((asker, tenure): (Asker, Tenure), mut request: Request, next: Next) -> Response {
    if !tenure.keep() {
        return Refusal::busy().into_response();
    }
    request.extensions_mut().insert(asker);
    next.run(request).await
}

/// 401 with the challenge of RFC 6750, section 3; does not repeat what was sent.
fn unknown() -> Response {
    let refusal = Refusal::misasked(
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
