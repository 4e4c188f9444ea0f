//! The handler of each path.

use std::sync::Arc;

use axum::extract::rejection::ExtensionRejection;
use axum::extract::{Extension, FromRequestParts, Path, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;

use super::api_error::ApiError;
use super::extract::{JsonBody, NoBody, QueryParameters};
use super::json::Json;
use super::shared::Shared;
use crate::operations::{
    Caller, Change, Destroy, Operations, Order, Problem, Readiness, Reason, Reloaded, Report,
    Revoke, Revoked, Rotate, Status, Tail, VersionPath,
};
use crate::printable::Printable;
use crate::rotation::{
    Exposure, KeyringStatus, Overview, Rehearsal, RetentionReasons, Rotated, VersionStatus,
};

/// Prometheus' text format.
const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";

type JsonResult<T> = Result<Json<T>, ApiError>;
type AdminState = State<Arc<Shared>>;

/// What the owner or the bearer of a token may do.
pub(super) struct OnBehalf {
    shared: Arc<Shared>,
    caller: Caller,
}

/// The query string of `GET /v1/audit`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TailQuery {
    /// How many lines, at most 1000; 20 when absent.
    count: Option<usize>,
}

impl FromRequestParts<Arc<Shared>> for OnBehalf {
    type Rejection = ExtensionRejection;

    async fn from_request_parts(
        parts: &mut Parts,
        shared: &Arc<Shared>,
    ) -> Result<Self, ExtensionRejection> {
        let Extension(caller) = Extension::<Caller>::from_request_parts(parts, shared).await?;
        let shared = Arc::clone(shared);
        Ok(Self { shared, caller })
    }
}

impl OnBehalf {
    fn operations(self) -> Result<Operations, ApiError> {
        let rotation = self.shared.rotation.load_full();
        let rotation = rotation.ok_or_else(ApiError::no_keys)?;
        Ok(Operations {
            rotation: (*rotation).clone(),
            caller: self.caller,
        })
    }

    async fn carry_out(self, order: Order) -> JsonResult<Report> {
        Ok(Json(self.operations()?.carry_out(order).await?))
    }
}

/// Numbers for a scraper.
#[utoipa::path(get, path = "/metrics", tag = "open", responses((status = 200, body = String, content_type = "text/plain")))]
pub(super) async fn metrics(State(shared): AdminState) -> impl IntoResponse {
    shared.metrics.run_upkeep();
    let page = shared.metrics.render();
    ([(header::CONTENT_TYPE, PROMETHEUS)], page)
}

/// Whether the process lives.
#[utoipa::path(get, path = "/healthz", tag = "open", responses((status = 200, body = String, content_type = "text/plain")))]
pub(super) async fn health() -> &'static str {
    "ok\n"
}

/// Whether a client that connects now would be served; JSON with `Accept: application/json`, else text.
#[utoipa::path(get, path = "/readyz", tag = "open", responses(
    (status = 200, description = "It would be", body = Readiness),
    (status = 503, description = "It would not be", body = Readiness)))]
pub(super) async fn ready(State(shared): AdminState, headers: HeaderMap) -> Response {
    let readiness = readiness(&shared).await;
    let status = if readiness.ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    if wants_json(&headers) {
        return (status, Json(readiness)).into_response();
    }
    let mut lines = readiness.reasons;
    if readiness.ready {
        lines.push("ready".to_owned());
    }
    let degraded = readiness.degraded.into_iter();
    lines.extend(degraded.map(|what| format!("degraded: {what}")));
    let lines = lines.iter().map(|line| format!("{}\n", Printable(line)));
    (status, lines.collect::<String>()).into_response()
}

/// What the gateway is and how it is.
#[utoipa::path(get, path = "/v1/status", tag = "gateway", responses((status = 200, body = Status)))]
pub(super) async fn status(State(shared): AdminState) -> Json<Status> {
    let relay_only = shared.rotation.load().is_none();
    Json(Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        relay_only,
        readiness: readiness(&shared).await,
    })
}

/// Reads the configuration again; a file with mistakes changes nothing.
#[utoipa::path(post, path = "/v1/reload", tag = "gateway", responses(
    (status = 200, body = Reloaded), (status = "default", description = "Refused", body = Problem)))]
pub(super) async fn reload(
    State(shared): AdminState,
    Extension(caller): Extension<Caller>,
    _no_body: NoBody,
) -> JsonResult<Reloaded> {
    let reload = shared.reload.load_full();
    let reload = reload.ok_or_else(ApiError::stopping)?;
    let reloaded = reload.reload(caller).await;
    reloaded.map(Json).map_err(ApiError::unprocessable)
}

/// Every keyring.
#[utoipa::path(get, path = "/v1/keyrings", tag = "keyrings", responses((status = 200, body = [KeyringStatus])))]
pub(super) async fn keyrings(by: OnBehalf) -> Json<Vec<KeyringStatus>> {
    match by.operations() {
        Ok(operations) => Json(operations.rotation.status().await),
        Err(_keyless) => Json(Vec::new()),
    }
}

/// Rehearses a revocation: everything that one needs, and no revocation.
#[utoipa::path(post, path = "/v1/drill", tag = "gateway", request_body = Reason, responses(
    (status = 200, body = [Rehearsal]), (status = "default", description = "Refused", body = Problem)))]
pub(super) async fn drill(by: OnBehalf, JsonBody(asked): JsonBody<Reason>) -> JsonResult<Report> {
    by.carry_out(Order::Drill(asked)).await
}

/// The last lines of the audit log.
#[utoipa::path(get, path = "/v1/audit", tag = "gateway", params(
    ("count" = Option<usize>, Query, description = "How many lines, at most 1000; 20 when absent")), responses(
    (status = 200, body = Tail), (status = "default", description = "Refused", body = Problem)))]
pub(super) async fn audit(
    by: OnBehalf,
    QueryParameters(query): QueryParameters<TailQuery>,
) -> JsonResult<Tail> {
    let count = query.count.unwrap_or(20);
    Ok(Json(by.operations()?.tail(count).await?))
}

/// One keyring.
#[utoipa::path(get, path = "/v1/keyrings/{keyring}", tag = "keyrings", params(
    ("keyring" = String, Path, description = "Its name")), responses(
    (status = 200, body = KeyringStatus), (status = "default", description = "Refused", body = Problem)))]
pub(super) async fn keyring(
    by: OnBehalf,
    Path(keyring): Path<String>,
) -> JsonResult<KeyringStatus> {
    Ok(Json(by.operations()?.keyring(&keyring).await?))
}

/// Switches to a new key version now.
#[utoipa::path(post, path = "/v1/keyrings/{keyring}/rotate", tag = "keyrings", params(
    ("keyring" = String, Path, description = "Its name")), request_body = Rotate, responses(
    (status = 200, body = Rotated), (status = "default", description = "Refused", body = Problem)))]
pub(super) async fn rotate(
    by: OnBehalf,
    Path(keyring): Path<String>,
    JsonBody(asked): JsonBody<Rotate>,
) -> JsonResult<Report> {
    by.carry_out(Order::Rotate(keyring, asked)).await
}

/// A key version never seals again, and a successor follows; says what its secret may have told.
#[utoipa::path(post, path = "/v1/keyrings/{keyring}/revoke", tag = "keyrings", params(
    ("keyring" = String, Path, description = "Its name")), request_body = Revoke, responses(
    (status = 200, body = Revoked), (status = "default", description = "Refused", body = Problem)))]
pub(super) async fn revoke(
    by: OnBehalf,
    Path(keyring): Path<String>,
    JsonBody(asked): JsonBody<Revoke>,
) -> JsonResult<Report> {
    by.carry_out(Order::Revoke(keyring, asked)).await
}

/// The rotation under way ends without a successor.
#[utoipa::path(post, path = "/v1/keyrings/{keyring}/abort", tag = "keyrings", params(
    ("keyring" = String, Path, description = "Its name")), request_body = Reason, responses(
    (status = 200, body = KeyringStatus), (status = "default", description = "Refused", body = Problem)))]
pub(super) async fn abort(
    by: OnBehalf,
    Path(keyring): Path<String>,
    JsonBody(asked): JsonBody<Reason>,
) -> JsonResult<Report> {
    by.carry_out(Order::Abort(keyring, asked)).await
}

/// The key versions of a keyring, oldest first.
#[utoipa::path(get, path = "/v1/keyrings/{keyring}/versions", tag = "versions", params(
    ("keyring" = String, Path, description = "Its name")), responses(
    (status = 200, body = [VersionStatus]), (status = "default", description = "Refused", body = Problem)))]
pub(super) async fn versions(
    by: OnBehalf,
    Path(keyring): Path<String>,
) -> JsonResult<Vec<VersionStatus>> {
    let keyring = by.operations()?.keyring(&keyring).await?;
    Ok(Json(keyring.versions))
}

/// One key version.
#[utoipa::path(get, path = "/v1/keyrings/{keyring}/versions/{version}", tag = "versions", params(
    ("keyring" = String, Path, description = "Its name"),
    ("version" = String, Path, description = "Its number or label")), responses(
    (status = 200, body = VersionStatus), (status = "default", description = "Refused", body = Problem)))]
pub(super) async fn version(
    by: OnBehalf,
    Path(which): Path<VersionPath>,
) -> JsonResult<VersionStatus> {
    Ok(Json(by.operations()?.version(&which).await?))
}

/// What keeps a key version from being destroyed.
#[utoipa::path(get, path = "/v1/keyrings/{keyring}/versions/{version}/why", tag = "versions", params(
    ("keyring" = String, Path, description = "Its name"),
    ("version" = String, Path, description = "Its number or label")), responses(
    (status = 200, body = RetentionReasons), (status = "default", description = "Refused", body = Problem)))]
pub(super) async fn why(
    by: OnBehalf,
    Path(which): Path<VersionPath>,
) -> JsonResult<RetentionReasons> {
    Ok(Json(by.operations()?.why(&which).await?))
}

/// What whoever has the secret of a key version may know.
#[utoipa::path(get, path = "/v1/keyrings/{keyring}/versions/{version}/exposure", tag = "versions", params(
    ("keyring" = String, Path, description = "Its name"),
    ("version" = String, Path, description = "Its number or label")), responses(
    (status = 200, body = Exposure), (status = "default", description = "Refused", body = Problem)))]
pub(super) async fn exposure(by: OnBehalf, Path(which): Path<VersionPath>) -> JsonResult<Exposure> {
    Ok(Json(by.operations()?.exposure(&which).await?))
}

/// A key version does not seal while somebody investigates.
#[utoipa::path(post, path = "/v1/keyrings/{keyring}/versions/{version}/suspend", tag = "versions", params(
    ("keyring" = String, Path, description = "Its name"),
    ("version" = String, Path, description = "Its number or label")), request_body = Reason, responses(
    (status = 200, body = KeyringStatus), (status = "default", description = "Refused", body = Problem)))]
pub(super) async fn suspend(
    by: OnBehalf,
    Path(which): Path<VersionPath>,
    JsonBody(asked): JsonBody<Reason>,
) -> JsonResult<Report> {
    by.carry_out(Order::Change(Change::Suspend, which, asked))
        .await
}

/// A suspended key version goes back to where it was.
#[utoipa::path(post, path = "/v1/keyrings/{keyring}/versions/{version}/restore", tag = "versions", params(
    ("keyring" = String, Path, description = "Its name"),
    ("version" = String, Path, description = "Its number or label")), request_body = Reason, responses(
    (status = 200, body = KeyringStatus), (status = "default", description = "Refused", body = Problem)))]
pub(super) async fn restore(
    by: OnBehalf,
    Path(which): Path<VersionPath>,
    JsonBody(asked): JsonBody<Reason>,
) -> JsonResult<Report> {
    by.carry_out(Order::Change(Change::Restore, which, asked))
        .await
}

/// The overlap of a key version ends now.
#[utoipa::path(post, path = "/v1/keyrings/{keyring}/versions/{version}/archive", tag = "versions", params(
    ("keyring" = String, Path, description = "Its name"),
    ("version" = String, Path, description = "Its number or label")), request_body = Reason, responses(
    (status = 200, body = KeyringStatus), (status = "default", description = "Refused", body = Problem)))]
pub(super) async fn archive(
    by: OnBehalf,
    Path(which): Path<VersionPath>,
    JsonBody(asked): JsonBody<Reason>,
) -> JsonResult<Report> {
    by.carry_out(Order::Change(Change::Archive, which, asked))
        .await
}

/// The secret of a key version goes, if nothing stored needs it, or by force.
#[utoipa::path(post, path = "/v1/keyrings/{keyring}/versions/{version}/destroy", tag = "versions", params(
    ("keyring" = String, Path, description = "Its name"),
    ("version" = String, Path, description = "Its number or label")), request_body = Destroy, responses(
    (status = 200, body = KeyringStatus), (status = "default", description = "Refused", body = Problem)))]
pub(super) async fn destroy(
    by: OnBehalf,
    Path(which): Path<VersionPath>,
    JsonBody(asked): JsonBody<Destroy>,
) -> JsonResult<Report> {
    by.carry_out(Order::Destroy(which, asked)).await
}

async fn readiness(shared: &Shared) -> Readiness {
    let overview = match shared.rotation.load_full() {
        Some(rotation) => rotation.overview().await,
        None => Overview::default(),
    };
    shared.health.readiness(&overview)
}

fn wants_json(headers: &HeaderMap) -> bool {
    let accepted = headers.get(header::ACCEPT);
    let accepted = accepted.and_then(|value| value.to_str().ok());
    accepted.is_some_and(|accepted| accepted.contains("application/json"))
}
