//! The handler of each path.

use std::sync::Arc;

use axum::extract::{Extension, Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;

use super::api_error::ApiError;
use super::extract::{JsonBody, NoBody, QueryParameters};
use super::json::Json;
use super::key_service::{KeyService, StateChange};
use super::shared::Shared;
use super::{Caller, api};
use crate::printable::Printable;
use crate::rotation::Overview;

/// Prometheus' text format.
const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";

type JsonResult<T> = Result<Json<T>, ApiError>;
type AdminState = State<Arc<Shared>>;
type CallerExtension = Extension<Caller>;
type VersionPath = Path<(String, String)>;

/// The query string of `GET /v1/audit`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TailQuery {
    /// How many lines, at most 1000; 20 when absent.
    count: Option<usize>,
}

/// Numbers for a scraper.
#[utoipa::path(get, path = "/metrics", tag = "open", responses((status = 200, body = String, content_type = "text/plain")))]
pub(super) async fn metrics(State(shared): AdminState) -> impl IntoResponse {
    shared.metrics.run_upkeep();
    (
        [(header::CONTENT_TYPE, PROMETHEUS)],
        shared.metrics.render(),
    )
}

/// Whether the process lives.
#[utoipa::path(get, path = "/healthz", tag = "open", responses((status = 200, body = String, content_type = "text/plain")))]
pub(super) async fn health() -> &'static str {
    "ok\n"
}

/// Whether a client that connects now would be served; JSON with `Accept: application/json`, else text.
#[utoipa::path(get, path = "/readyz", tag = "open", responses(
    (status = 200, description = "It would be", body = api::Readiness),
    (status = 503, description = "It would not be", body = api::Readiness)))]
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
#[utoipa::path(get, path = "/v1/status", tag = "gateway", responses((status = 200, body = api::Status)))]
pub(super) async fn status(State(shared): AdminState) -> Json<api::Status> {
    let relay_only = shared.rotation.load().is_none();
    Json(api::Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        relay_only,
        readiness: readiness(&shared).await,
    })
}

/// Reads the configuration again; a file with mistakes changes nothing.
#[utoipa::path(post, path = "/v1/reload", tag = "gateway", responses(
    (status = 200, body = api::Reloaded), (status = "default", description = "Refused", body = api::Problem)))]
pub(super) async fn reload(
    State(shared): AdminState,
    Extension(caller): CallerExtension,
    _no_body: NoBody,
) -> JsonResult<api::Reloaded> {
    let reload = shared.reload.load_full();
    let reload = reload.ok_or_else(ApiError::stopping)?;
    let reloaded = reload.0.reload(caller).await;
    reloaded.map(Json).map_err(ApiError::unprocessable)
}

/// Every keyring.
#[utoipa::path(get, path = "/v1/keyrings", tag = "keyrings", responses((status = 200, body = [api::Keyring])))]
pub(super) async fn keyrings(
    State(shared): AdminState,
    Extension(caller): CallerExtension,
) -> Json<Vec<api::Keyring>> {
    match key_service(&shared, caller) {
        Ok(key_service) => Json(key_service.keyrings().await),
        Err(_keyless) => Json(Vec::new()),
    }
}

/// Rehearses a revocation: everything that one needs, and no revocation.
#[utoipa::path(post, path = "/v1/drill", tag = "gateway", request_body = api::Reason, responses(
    (status = 200, body = [api::Rehearsal]), (status = "default", description = "Refused", body = api::Problem)))]
pub(super) async fn drill(
    State(shared): AdminState,
    Extension(caller): CallerExtension,
    JsonBody(asked): JsonBody<api::Reason>,
) -> JsonResult<Vec<api::Rehearsal>> {
    Ok(Json(key_service(&shared, caller)?.drill(asked).await?))
}

/// The last lines of the audit log.
#[utoipa::path(get, path = "/v1/audit", tag = "gateway", params(
    ("count" = Option<usize>, Query, description = "How many lines, at most 1000; 20 when absent")), responses(
    (status = 200, body = api::Tail), (status = "default", description = "Refused", body = api::Problem)))]
pub(super) async fn audit(
    State(shared): AdminState,
    Extension(caller): CallerExtension,
    QueryParameters(query): QueryParameters<TailQuery>,
) -> JsonResult<api::Tail> {
    let count = query.count.unwrap_or(20);
    Ok(Json(key_service(&shared, caller)?.tail(count).await?))
}

/// One keyring.
#[utoipa::path(get, path = "/v1/keyrings/{keyring}", tag = "keyrings", params(
    ("keyring" = String, Path, description = "Its name")), responses(
    (status = 200, body = api::Keyring), (status = "default", description = "Refused", body = api::Problem)))]
pub(super) async fn keyring(
    State(shared): AdminState,
    Extension(caller): CallerExtension,
    Path(keyring): Path<String>,
) -> JsonResult<api::Keyring> {
    Ok(Json(key_service(&shared, caller)?.keyring(&keyring).await?))
}

/// Switches to a new key version now.
#[utoipa::path(post, path = "/v1/keyrings/{keyring}/rotate", tag = "keyrings", params(
    ("keyring" = String, Path, description = "Its name")), request_body = api::Rotate, responses(
    (status = 200, body = api::Switch), (status = "default", description = "Refused", body = api::Problem)))]
pub(super) async fn rotate(
    State(shared): AdminState,
    Extension(caller): CallerExtension,
    Path(keyring): Path<String>,
    JsonBody(asked): JsonBody<api::Rotate>,
) -> JsonResult<api::Switch> {
    Ok(Json(
        key_service(&shared, caller)?
            .rotate(&keyring, asked)
            .await?,
    ))
}

/// A key version never seals again, and a successor follows; says what its secret may have told.
#[utoipa::path(post, path = "/v1/keyrings/{keyring}/revoke", tag = "keyrings", params(
    ("keyring" = String, Path, description = "Its name")), request_body = api::Revoke, responses(
    (status = 200, body = api::Revoked), (status = "default", description = "Refused", body = api::Problem)))]
pub(super) async fn revoke(
    State(shared): AdminState,
    Extension(caller): CallerExtension,
    Path(keyring): Path<String>,
    JsonBody(asked): JsonBody<api::Revoke>,
) -> JsonResult<api::Revoked> {
    Ok(Json(
        key_service(&shared, caller)?
            .revoke(&keyring, asked)
            .await?,
    ))
}

/// The rotation under way ends without a successor.
#[utoipa::path(post, path = "/v1/keyrings/{keyring}/abort", tag = "keyrings", params(
    ("keyring" = String, Path, description = "Its name")), request_body = api::Reason, responses(
    (status = 200, body = api::Keyring), (status = "default", description = "Refused", body = api::Problem)))]
pub(super) async fn abort(
    State(shared): AdminState,
    Extension(caller): CallerExtension,
    Path(keyring): Path<String>,
    JsonBody(asked): JsonBody<api::Reason>,
) -> JsonResult<api::Keyring> {
    Ok(Json(
        key_service(&shared, caller)?.abort(&keyring, asked).await?,
    ))
}

/// The key versions of a keyring, oldest first.
#[utoipa::path(get, path = "/v1/keyrings/{keyring}/versions", tag = "versions", params(
    ("keyring" = String, Path, description = "Its name")), responses(
    (status = 200, body = [api::KeyVersion]), (status = "default", description = "Refused", body = api::Problem)))]
pub(super) async fn versions(
    State(shared): AdminState,
    Extension(caller): CallerExtension,
    Path(keyring): Path<String>,
) -> JsonResult<Vec<api::KeyVersion>> {
    let keyring = key_service(&shared, caller)?.keyring(&keyring).await?;
    Ok(Json(keyring.versions))
}

/// One key version.
#[utoipa::path(get, path = "/v1/keyrings/{keyring}/versions/{version}", tag = "versions", params(
    ("keyring" = String, Path, description = "Its name"),
    ("version" = String, Path, description = "Its number or label")), responses(
    (status = 200, body = api::KeyVersion), (status = "default", description = "Refused", body = api::Problem)))]
pub(super) async fn version(
    State(shared): AdminState,
    Extension(caller): CallerExtension,
    Path((keyring, version)): VersionPath,
) -> JsonResult<api::KeyVersion> {
    let key_service = key_service(&shared, caller)?;
    Ok(Json(key_service.version(&keyring, &version).await?))
}

/// What keeps a key version from being destroyed.
#[utoipa::path(get, path = "/v1/keyrings/{keyring}/versions/{version}/why", tag = "versions", params(
    ("keyring" = String, Path, description = "Its name"),
    ("version" = String, Path, description = "Its number or label")), responses(
    (status = 200, body = api::Kept), (status = "default", description = "Refused", body = api::Problem)))]
pub(super) async fn why(
    State(shared): AdminState,
    Extension(caller): CallerExtension,
    Path((keyring, version)): VersionPath,
) -> JsonResult<api::Kept> {
    let key_service = key_service(&shared, caller)?;
    Ok(Json(key_service.why(&keyring, &version).await?))
}

/// What whoever has the secret of a key version may know.
#[utoipa::path(get, path = "/v1/keyrings/{keyring}/versions/{version}/exposure", tag = "versions", params(
    ("keyring" = String, Path, description = "Its name"),
    ("version" = String, Path, description = "Its number or label")), responses(
    (status = 200, body = api::Exposure), (status = "default", description = "Refused", body = api::Problem)))]
pub(super) async fn exposure(
    State(shared): AdminState,
    Extension(caller): CallerExtension,
    Path((keyring, version)): VersionPath,
) -> JsonResult<api::Exposure> {
    let key_service = key_service(&shared, caller)?;
    Ok(Json(key_service.exposure(&keyring, Some(&version)).await?))
}

/// A key version does not seal while somebody investigates.
#[utoipa::path(post, path = "/v1/keyrings/{keyring}/versions/{version}/suspend", tag = "versions", params(
    ("keyring" = String, Path, description = "Its name"),
    ("version" = String, Path, description = "Its number or label")), request_body = api::Reason, responses(
    (status = 200, body = api::Keyring), (status = "default", description = "Refused", body = api::Problem)))]
pub(super) async fn suspend(
    State(shared): AdminState,
    Extension(caller): CallerExtension,
    Path((keyring, version)): VersionPath,
    JsonBody(asked): JsonBody<api::Reason>,
) -> JsonResult<api::Keyring> {
    let key_service = key_service(&shared, caller)?;
    let which = (keyring.as_str(), version.as_str());
    Ok(Json(
        key_service
            .change(which, StateChange::Suspend, asked)
            .await?,
    ))
}

/// A suspended key version goes back to where it was.
#[utoipa::path(post, path = "/v1/keyrings/{keyring}/versions/{version}/restore", tag = "versions", params(
    ("keyring" = String, Path, description = "Its name"),
    ("version" = String, Path, description = "Its number or label")), request_body = api::Reason, responses(
    (status = 200, body = api::Keyring), (status = "default", description = "Refused", body = api::Problem)))]
pub(super) async fn restore(
    State(shared): AdminState,
    Extension(caller): CallerExtension,
    Path((keyring, version)): VersionPath,
    JsonBody(asked): JsonBody<api::Reason>,
) -> JsonResult<api::Keyring> {
    let key_service = key_service(&shared, caller)?;
    let which = (keyring.as_str(), version.as_str());
    Ok(Json(
        key_service
            .change(which, StateChange::Restore, asked)
            .await?,
    ))
}

/// The overlap of a key version ends now.
#[utoipa::path(post, path = "/v1/keyrings/{keyring}/versions/{version}/archive", tag = "versions", params(
    ("keyring" = String, Path, description = "Its name"),
    ("version" = String, Path, description = "Its number or label")), request_body = api::Reason, responses(
    (status = 200, body = api::Keyring), (status = "default", description = "Refused", body = api::Problem)))]
pub(super) async fn archive(
    State(shared): AdminState,
    Extension(caller): CallerExtension,
    Path((keyring, version)): VersionPath,
    JsonBody(asked): JsonBody<api::Reason>,
) -> JsonResult<api::Keyring> {
    let key_service = key_service(&shared, caller)?;
    let which = (keyring.as_str(), version.as_str());
    Ok(Json(
        key_service
            .change(which, StateChange::Archive, asked)
            .await?,
    ))
}

/// The secret of a key version goes, if nothing stored needs it, or by force.
#[utoipa::path(post, path = "/v1/keyrings/{keyring}/versions/{version}/destroy", tag = "versions", params(
    ("keyring" = String, Path, description = "Its name"),
    ("version" = String, Path, description = "Its number or label")), request_body = api::Destroy, responses(
    (status = 200, body = api::Keyring), (status = "default", description = "Refused", body = api::Problem)))]
pub(super) async fn destroy(
    State(shared): AdminState,
    Extension(caller): CallerExtension,
    Path((keyring, version)): VersionPath,
    JsonBody(asked): JsonBody<api::Destroy>,
) -> JsonResult<api::Keyring> {
    let key_service = key_service(&shared, caller)?;
    let which = (keyring.as_str(), version.as_str());
    Ok(Json(key_service.destroy(which, asked).await?))
}

/// The key service on behalf of this caller; an error where the gateway has no keys.
fn key_service(shared: &Shared, caller: Caller) -> Result<KeyService, ApiError> {
    let rotation = shared.rotation.load_full().ok_or_else(ApiError::no_keys)?;
    Ok(KeyService {
        rotation: (*rotation).clone(),
        caller,
        clock: shared.clock.clone(),
    })
}

async fn readiness(shared: &Shared) -> api::Readiness {
    let overview = match shared.rotation.load_full() {
        Some(rotation) => rotation.overview().await,
        None => Overview::default(),
    };
    shared.health.readiness(&overview)
}

fn wants_json(headers: &HeaderMap) -> bool {
    let accepted = headers
        .get(header::ACCEPT)
        .and_then(|value| value.to_str().ok());
    accepted.is_some_and(|accepted| accepted.contains("application/json"))
}
