//! Subjects: tokens between dots.
//!
//! Validity follows nats-server's `sublist.go`; a server that is not in pedantic mode routes invalid subjects, too.

use std::borrow::Cow;

/// The tokens of a subject.
pub type Tokens<'a> = std::slice::Split<'a, u8, fn(&u8) -> bool>;

/// The tokens of `subject`, empty ones included.
pub fn tokens(subject: &[u8]) -> Tokens<'_> {
    subject.split(is_dot)
}

const fn is_dot(byte: &u8) -> bool {
    *byte == b'.'
}

/// Whether `subject` is a valid filter for a subscription (`IsValidSubject`): no empty token, no blank, `>` last.
#[must_use]
pub fn is_valid_filter(subject: &[u8]) -> bool {
    let mut ended = false;
    for token in tokens(subject) {
        if ended
            || token.is_empty()
            || token
                .iter()
                .any(|b| matches!(b, b' ' | b'\t' | b'\n' | b'\r' | 0x0C))
        {
            return false;
        }
        ended = token == b">";
    }
    true
}

/// Whether no token is a wildcard.
#[must_use]
pub fn is_literal(subject: &[u8]) -> bool {
    !tokens(subject).any(|token| token == b"*" || token == b">")
}

/// Whether `subject` is valid and literal (`IsValidPublishSubject`).
#[must_use]
pub fn is_valid_publish(subject: &[u8]) -> bool {
    is_valid_filter(subject) && is_literal(subject)
}

/// Whether a pedantic connection may publish to `subject` (`IsValidLiteralSubject`): no empty token, no wildcard; nothing else is
/// checked. The server refuses others with `Invalid Publish Subject`.
#[must_use]
pub fn is_pedantic_publish(subject: &[u8]) -> bool {
    !tokens(subject).any(|token| matches!(token, b"" | b"*" | b">"))
}

const API: &[u8] = b"$JS.API.";

/// The subject that policy decides on: `$JS.<domain>.API.` and each of `api_prefixes` (with or without a final dot) become
/// `$JS.API.`; then `$JS.API.$KV.` becomes `$KV.` and `$JS.API.$OBJ.` becomes `$OBJ.`, as the server maps them.
///
/// Allocates only for an API request through a domain or a prefix.
#[must_use]
pub fn normalise<'a>(subject: &'a [u8], api_prefixes: &[impl AsRef<[u8]>]) -> Cow<'a, [u8]> {
    let request = if subject.starts_with(b"$JS.") {
        js_request(subject)
    } else {
        None
    };
    let request = request.or_else(|| {
        api_prefixes
            .iter()
            .find_map(|prefix| behind(subject, prefix.as_ref()))
    });
    let Some(request) = request else {
        return Cow::Borrowed(subject);
    };
    if request.starts_with(b"$KV.") || request.starts_with(b"$OBJ.") {
        return Cow::Borrowed(request);
    }
    if subject.strip_prefix(API) == Some(request) {
        return Cow::Borrowed(subject);
    }
    Cow::Owned([API, request].concat())
}

/// What follows `$JS.API.` or `$JS.<domain>.API.`.
fn js_request(subject: &[u8]) -> Option<&[u8]> {
    if let Some(request) = subject.strip_prefix(API) {
        return Some(request);
    }
    let domain = subject.strip_prefix(b"$JS.")?;
    let dot = memchr::memchr(b'.', domain)?;
    domain.get(dot..)?.strip_prefix(b".API.")
}

/// What follows `prefix` and a dot.
fn behind<'a>(subject: &'a [u8], prefix: &[u8]) -> Option<&'a [u8]> {
    let prefix = prefix.strip_suffix(b".").unwrap_or(prefix);
    if prefix.is_empty() {
        return None;
    }
    subject.strip_prefix(prefix)?.strip_prefix(b".")
}
