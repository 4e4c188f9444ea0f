//! The responses of JetStream's API.

use super::super::json::{Members, key_is};

/// Whether `payload` is a response of JetStream's API: one JSON object whose only `type` is
/// `io.nats.jetstream.api.v1.…_response`.
///
/// All responses of nats-server 2.12 to 2.15 are, also errors, except those of `CONSUMER.MSG.NEXT` and `DIRECT.GET` (stored
/// messages and statuses) and the chunks of a snapshot. This does not prove that the server wrote it.
#[must_use]
pub fn is_api_response(payload: &[u8]) -> bool {
    let mut kind = None;
    for member in Members::new(payload) {
        let Ok(member) = member else { return false };
        if key_is(member.key, b"type") {
            let is_first = member.key == b"type" && kind.is_none();
            if !is_first || !is_response(member.value) {
                return false;
            }
            kind = Some(());
        }
    }
    kind.is_some()
}

fn is_response(kind: &[u8]) -> bool {
    let name = kind
        .strip_prefix(b"\"io.nats.jetstream.api.v1.")
        .and_then(|name| name.strip_suffix(b"_response\""));
    name.is_some_and(|name| {
        !name.is_empty() && name.iter().all(|b| b.is_ascii_lowercase() || *b == b'_')
    })
}
