//! Axum extractors for request bodies and query strings, strict in the same way for every path.

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Query, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::api_error::ApiError;
use crate::strict_json;

/// The body: one JSON object, without unknown or duplicate fields. A query string is refused.
pub(super) struct JsonBody<T>(pub(super) T);

/// No body, or an empty object.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NoBody {}

/// The query string, without unknown or duplicate names.
pub(super) struct QueryParameters<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned + 'static> FromRequest<S> for JsonBody<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let is_json = is_json(request.headers());
        let body = body(request, state).await?;
        if !is_json {
            return Err(bad_body("the body is not `application/json`"));
        }
        strict_json::from_slice(&body)
            .map(Self)
            .map_err(|error| bad_body(&format!("the body is not what this path takes: {error}")))
    }
}

impl<S: Send + Sync> FromRequest<S> for NoBody {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let body = body(request, state).await?;
        if body.is_empty() {
            return Ok(Self::default());
        }
        strict_json::from_slice(&body).map_err(|error| {
            let error = format!("this path takes no body: {error}");
            bad(&error, "send none, or {}")
        })
    }
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for QueryParameters<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, ApiError> {
        let read = Query::<T>::try_from_uri(&parts.uri);
        let Query(parameters) = read.map_err(|rejection| {
            let help = "name each parameter once, as GET /v1/openapi.json has it";
            bad(&rejection.body_text(), help)
        })?;
        Ok(Self(parameters))
    }
}

/// The bytes of the body. Refuses a query string: an option in it would be ignored silently.
async fn body<S: Send + Sync>(request: Request, state: &S) -> Result<Bytes, ApiError> {
    if request.uri().query().is_some() {
        let help = "send everything in the body; GET /v1/openapi.json has every field";
        return Err(bad("this path takes no parameters in its address", help));
    }
    let body = Bytes::from_request(request, state).await;
    body.map_err(|rejection| bad_body(&rejection.body_text()))
}

/// Browsers send this type across origins only after a CORS preflight. JSON is UTF-8 (RFC 8259, section 8.1).
fn is_json(headers: &HeaderMap) -> bool {
    let mut types = headers.get_all(header::CONTENT_TYPE).iter();
    let (Some(only), None) = (types.next(), types.next()) else {
        return false;
    };
    let mut parts = only.to_str().unwrap_or_default().split(';').map(str::trim);
    let essence = parts.next().unwrap_or_default();
    essence.eq_ignore_ascii_case("application/json") && parts.all(is_utf8_if_charset)
}

fn is_utf8_if_charset(parameter: &str) -> bool {
    let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
    let value = value.trim().trim_matches('"');
    !name.trim().eq_ignore_ascii_case("charset") || value.eq_ignore_ascii_case("utf-8")
}

fn bad_body(error: &str) -> ApiError {
    let help = "send one object, such as {\"why\": \"…\"}, each field once, as application/json; GET /v1/openapi.json has every field";
    bad(error, help)
}

fn bad(error: &str, help: &str) -> ApiError {
    ApiError::request_error(StatusCode::BAD_REQUEST, error, help)
}
