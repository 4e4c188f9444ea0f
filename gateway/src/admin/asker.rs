//! Who asks, and which way they came.

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

/// Whoever wants something done to keys.
#[derive(Clone, Debug)]
pub struct Asker {
    /// Who they are.
    pub who: Who,
    /// Which way they came.
    pub through: Through,
}

impl Asker {
    /// Why something is done that they ask for.
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

/// Whoever comes through the unix socket is who the kernel says.
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

/// Whoever comes over TCP is whose token they bear; nobody without one.
pub(super) async fn by_token(
    tokens: Arc<Tokens>,
    Extension(tenure): Extension<Tenure>,
    request: Request,
    next: Next,
) -> Response {
    // Of two, a proxy in front may have checked the other.
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

/// Lets through whoever is known, who keeps the connection's place until the answer is taken.
async fn admit((asker, tenure): (Asker, Tenure), mut request: Request, next: Next) -> Response {
    if !tenure.keep() {
        return Refusal::busy().into_response();
    }
    request.extensions_mut().insert(asker);
    next.run(request).await
}

/// RFC 6750, section 3. Says nothing of what was shown.
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
