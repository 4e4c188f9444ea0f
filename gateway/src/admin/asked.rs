//! Axum extractors for request bodies and query strings, strict in the same way for every path.

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Query, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::problem::Refusal;
use crate::objects;

/// The body: one JSON object, without unknown or duplicate fields. A query string is refused.
pub(super) struct Asked<T>(pub(super) T);

/// No body, or an empty object.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Nothing {}

/// The query string, without unknown or duplicate names.
pub(super) struct Parameters<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned + 'static> FromRequest<S> for Asked<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, state: &S) -> Result<Self, Refusal> {
        unaddressed(request.uri())?;
        let is_json = is_json(request.headers());
        let body = Bytes::from_request(request, state).await;
        let body = body.map_err(|rejection| wrong(&rejection.body_text()))?;
        if !is_json {
            return Err(wrong("the body is not `application/json`"));
        }
        objects::from_slice(&body)
            .map(Self)
            .map_err(|error| wrong(&format!("the body is not what this path takes: {error}")))
    }
}

impl<S: Send + Sync> FromRequest<S> for Nothing {
    type Rejection = Refusal;

    async fn from_request(request: Request, state: &S) -> Result<Self, Refusal> {
        unaddressed(request.uri())?;
        let body = Bytes::from_request(request, state).await;
        let body = body.map_err(|rejection| wrong(&rejection.body_text()))?;
        if body.is_empty() {
            return Ok(Self::default());
        }
        objects::from_slice(&body).map_err(|error| {
            let error = format!("this path takes no body: {error}");
            Refusal::misasked(StatusCode::BAD_REQUEST, &error, "send none, or {}")
        })
    }
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Parameters<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Refusal> {
        let read = Query::<T>::try_from_uri(&parts.uri);
        read.map(|Query(parameters)| Self(parameters))
            .map_err(|rejection| {
                let help = "name each parameter once, as GET /v1/openapi.json has it";
                Refusal::misasked(StatusCode::BAD_REQUEST, &rejection.body_text(), help)
            })
    }
}

/// Refuses a query string where none is read: an option in it would be ignored silently.
fn unaddressed(uri: &Uri) -> Result<(), Refusal> {
    if uri.query().is_none() {
        return Ok(());
    }
    let help = "send everything in the body; GET /v1/openapi.json has every field";
    let error = "this path takes no parameters in its address";
    Err(Refusal::misasked(StatusCode::BAD_REQUEST, error, help))
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

fn wrong(error: &str) -> Refusal {
    let help = "send one object, such as {\"why\": \"…\"}, each field once, as application/json; GET /v1/openapi.json has every field";
    Refusal::misasked(StatusCode::BAD_REQUEST, error, help)
}
