//! The `OpenAPI` document, generated from types and handlers.
//!
//! After a change: `cargo test -p keyway --lib write_the_openapi_document -- --ignored`.

use axum::http::header;
use axum::response::IntoResponse;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi};

use super::handlers as on;

/// The document.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Keyway administration",
        description = "On the unix socket for the owner of the state directory; over TCP for whoever bears one of `[admin] tokens`. A version is named by its number or its label."
    ),
    paths(
        on::metrics, on::health, on::ready, openapi, on::status, on::reload, on::drill, on::audit, on::keyrings, on::keyring,
        on::rotate, on::revoke, on::abort, on::versions, on::version, on::why, on::exposure, on::suspend, on::restore, on::archive,
        on::destroy
    ),
    tags(
        (name = "open", description = "What anybody may see who can reach the port"),
        (name = "gateway", description = "The gateway as a whole"),
        (name = "keyrings", description = "Keyrings, and the version that seals"),
        (name = "versions", description = "One key version")
    ),
    modifiers(&Bearer)
)]
struct Document;

/// The security scheme of TCP. The unix socket uses peer credentials instead.
struct Bearer;

impl Modify for Bearer {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build();
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("token", SecurityScheme::Http(bearer));
    }
}

/// This document.
#[utoipa::path(get, path = "/v1/openapi.json", tag = "gateway", responses((status = 200, body = Object)))]
pub(super) async fn openapi() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], text())
}

/// The document as indented JSON.
fn text() -> String {
    Document::openapi().to_pretty_json().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::PathBuf;

    use super::*;

    fn page() -> PathBuf {
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/openapi.json")
    }

    #[test]
    fn document_names_every_route_with_its_method() {
        let document: serde_json::Value = serde_json::from_str(&text()).unwrap();
        let described: BTreeSet<(String, String)> = document["paths"]
            .as_object()
            .unwrap()
            .iter()
            .flat_map(|(path, item)| {
                let methods = item.as_object().unwrap().keys();
                methods.map(|method| (path.clone(), method.clone()))
            })
            .collect();
        let source: String = include_str!("routes.rs")
            .chars()
            .filter(|letter| !letter.is_whitespace())
            .collect();
        let of_version = ".route(\"/v1/keyrings/{keyring}/versions/{version}";
        let source = source
            .replace(".route(&of(\"", of_version)
            .replace("\"),", "\",");
        let served: BTreeSet<_> = source
            .split(".route(\"")
            .skip(1)
            .map(|route| {
                let (path, rest) = route.split_once("\",").unwrap();
                let method = rest.split('(').next().unwrap();
                (path.to_owned(), method.to_owned())
            })
            .collect();
        assert!(served.len() > 20, "{served:?}");
        assert_eq!(described, served);
        assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
    }

    #[test]
    fn page_is_the_document() {
        let written = std::fs::read_to_string(page()).unwrap();
        assert!(
            written == text() + "\n",
            "docs/openapi.json is out of date: see the top of this file"
        );
    }

    #[test]
    #[ignore = "writes docs/openapi.json"]
    fn write_the_openapi_document() {
        std::fs::write(page(), text() + "\n").unwrap();
    }
}
