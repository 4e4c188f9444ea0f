//! Who asks, and which way they came.

use axum::extract::connect_info::Connected;
use axum::extract::{ConnectInfo, Request};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::serve::IncomingStream;
use std::sync::Arc;

use crate::audit::{Text, Through, Trigger, Who};
use crate::rotation::Because;

use super::problem::Refusal;
use super::socket::{Guarded, Peer};
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
        }
    }
}

impl Connected<IncomingStream<'_, Guarded>> for Peer {
    fn connect_info(stream: IncomingStream<'_, Guarded>) -> Self {
        *stream.remote_addr()
    }
}

/// Whoever comes through the unix socket is who the kernel says.
pub(super) async fn by_socket(
    ConnectInfo(Peer { uid }): ConnectInfo<Peer>,
    mut request: Request,
    next: Next,
) -> Response {
    request.extensions_mut().insert(Asker {
        who: Who::Uid(uid),
        through: Through::AdminSocket,
    });
    next.run(request).await
}

/// Whoever comes over TCP is whose token they bear; nobody without one.
pub(super) async fn by_token(tokens: Arc<Tokens>, mut request: Request, next: Next) -> Response {
    let shown = request.headers().get(header::AUTHORIZATION);
    let Some(name) = shown.and_then(|value| tokens.bearer(value.as_bytes())) else {
        return unknown();
    };
    request.extensions_mut().insert(Asker {
        who: Who::Token(name.into()),
        through: Through::AdminTcp,
    });
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
