//! What each path answers.

use std::sync::Arc;

use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};

use crate::rotation::{KeyringStatus, Rotation};

use super::Shared;
use super::api::{Keyring, Readiness, Rotate, Status, Switch};
use super::problem::Refusal;

/// Prometheus' text format.
const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";

type Answer<T> = Result<Json<T>, Refusal>;
type Sources = State<Arc<Shared>>;

/// What anybody may see.
pub(super) fn open(shared: &Arc<Shared>) -> Router {
    finished(public(), shared)
}

/// What only the owner of the state directory may see and do.
pub(super) fn owner(shared: &Arc<Shared>) -> Router {
    let router = public()
        .route("/v1/status", get(status))
        .route("/v1/keyrings", get(keyrings))
        .route("/v1/keyrings/{name}/rotate", post(rotate));
    finished(router, shared)
}

fn public() -> Router<Arc<Shared>> {
    Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready))
}

/// With answers to everything else. Comes last: the answer to a wrong method is given to the routes there are.
fn finished(router: Router<Arc<Shared>>, shared: &Arc<Shared>) -> Router {
    router
        .fallback(nothing)
        .method_not_allowed_fallback(not_so)
        .with_state(Arc::clone(shared))
}

async fn metrics(State(shared): Sources) -> impl IntoResponse {
    shared.metrics.run_upkeep();
    (
        [(header::CONTENT_TYPE, PROMETHEUS)],
        shared.metrics.render(),
    )
}

async fn ready(State(shared): Sources, headers: HeaderMap) -> Response {
    let reasons = reasons(&shared).await;
    let status = if reasons.is_empty() {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    if wants_json(&headers) {
        let ready = reasons.is_empty();
        return (status, Json(Readiness { ready, reasons })).into_response();
    }
    let text = if reasons.is_empty() {
        "ready".to_owned()
    } else {
        reasons.join("\n")
    };
    (status, format!("{text}\n")).into_response()
}

async fn status(State(shared): Sources) -> Json<Status> {
    let reasons = reasons(&shared).await;
    Json(Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        relay_only: shared.rotation.load().is_none(),
        readiness: Readiness {
            ready: reasons.is_empty(),
            reasons,
        },
    })
}

async fn keyrings(State(shared): Sources) -> Json<Vec<Keyring>> {
    Json(known(&shared).await.into_iter().map(Into::into).collect())
}

async fn rotate(
    State(shared): Sources,
    Path(name): Path<String>,
    asked: Result<Json<Rotate>, JsonRejection>,
) -> Answer<Switch> {
    let Json(asked) = asked.map_err(|rejection| {
        let help = "send {\"why\": \"…\"} as application/json";
        Refusal::misasked(StatusCode::BAD_REQUEST, &rejection.body_text(), help)
    })?;
    if asked.why.trim().is_empty() {
        let help = "say in `why` what an auditor should read";
        return Err(Refusal::misasked(
            StatusCode::BAD_REQUEST,
            "no reason is given",
            help,
        ));
    }
    let rotation = rotation(&shared).ok_or_else(|| {
        let help = "start it without `relay-only`";
        Refusal::misasked(
            StatusCode::CONFLICT,
            "the gateway relays only, or is stopping: it has no keys",
            help,
        )
    })?;
    let because = crate::rotation::Because {
        trigger: crate::audit::Trigger::Manual,
        who: crate::audit::Who::Gateway,
        through: crate::audit::Through::AdminSocket,
        why: asked.why.into(),
    };
    let rotated = rotation.rotate(&name, because).await;
    rotated
        .map(|rotated| Json(rotated.into()))
        .map_err(|error| Refusal::of(&error))
}

async fn nothing(uri: Uri) -> Refusal {
    let error = format!("there is nothing at {}", uri.path());
    let help = "TCP: /metrics, /healthz, /readyz; unix socket: /v1/status, /v1/keyrings, /v1/keyrings/{name}/rotate";
    Refusal::misasked(StatusCode::NOT_FOUND, &error, help)
}

async fn not_so() -> Refusal {
    let help = "only /v1/keyrings/{name}/rotate takes POST, everything else takes GET";
    Refusal::misasked(
        StatusCode::METHOD_NOT_ALLOWED,
        "this path does not take this method",
        help,
    )
}

async fn reasons(shared: &Shared) -> Vec<String> {
    shared.health.reasons(&known(shared).await)
}

async fn known(shared: &Shared) -> Vec<KeyringStatus> {
    match rotation(shared) {
        Some(rotation) => rotation.status().await,
        None => Vec::new(),
    }
}

fn rotation(shared: &Shared) -> Option<Rotation> {
    shared
        .rotation
        .load_full()
        .map(|rotation| Rotation::clone(&rotation))
}

fn wants_json(headers: &HeaderMap) -> bool {
    let accepted = headers
        .get(header::ACCEPT)
        .and_then(|value| value.to_str().ok());
    accepted.is_some_and(|accepted| accepted.contains("application/json"))
}
