//! JetStream's API, as far as it depends on the length of payloads: which request a subject is, which numbers in requests and
//! responses count bytes, and where stored payloads are returned inside JSON.
//!
//! Pure functions over text, which replace spans and copy everything else byte for byte. Keys match as in Go's `encoding/json`:
//! any letter case, the last one wins. Go merges duplicate keys in other ways, too: what is read from a request's body is certain
//! to be what the server reads only where [`is_unambiguous`] holds.
//!
//! | file | what it holds |
//! |---|---|
//! | `request` | which API request a subject is |
//! | `ambiguity` | whether a body has one meaning |
//! | `pull` | `max_bytes` and `no_hdr` of pulls and direct gets, and what is left of a pull |
//! | `config` | stream configurations: `max_msg_size` there and back, subjects, counters |
//! | `limit` | the `max_bytes` that a consumer allows a pull to ask for, there and back |
//! | `change` | a number in a configuration replaced, in requests and in answers |
//! | `subject_uses` | where a request or a header tells the server to publish or to store, and what to copy |
//! | `stored_message` | the answer of `STREAM.MSG.GET`, payload in base64 |
//! | `pub_ack` | the payloads that JetStream itself answers a publish with |
//! | `response` | whether a payload is an answer of the API |
//! | `trace` | whether a payload is a message-trace event |
//! | `shape` | the JSON schemas that `pub_ack` and `trace` match payloads against |
//! | `delivery` | `$JS.ACK…` replies, `Nats-Msg-Size`, the status of a pull |

mod ambiguity;
mod change;
mod config;
mod delivery;
mod limit;
mod pub_ack;
mod pull;
mod request;
mod requested_subject;
mod response;
mod shape;
mod stored_message;
mod subject_uses;
mod trace;

pub use ambiguity::is_unambiguous;
pub use config::{
    StoredFrom, is_counter_stream, narrow_max_msg_size, stream_config, subjects,
    widen_max_msg_size, widen_restored,
};
pub use delivery::{Delivery, is_consumer_ack, narrow_msg_size, next_pull, pending};
pub use limit::{exceeded, narrow_limits, widen_limit};
pub use pub_ack::is_pub_ack;
pub use pull::{
    BoundedPull, DirectGetBatch, DirectGetEdit, Pending, batch, bounded_pull, direct_get,
    widen_max_bytes,
};
pub use request::{Request, deliver_subject, may_be_api_request, stream_of_consumer};
pub use requested_subject::requested_subject;
pub use response::is_api_response;
pub use stored_message::{Ambiguous, StoredMessage};
pub use subject_uses::{SubjectUse, header_subject_uses, subject_transforms, subject_uses};
pub use trace::is_trace_event;

use std::borrow::Cow;

use super::json::{Members, NotAnObject, key_is, natural, number, text};

/// An integer as Go reads it: an optional minus, no leading zeros, no fraction, no exponent.
fn integer(value: &[u8]) -> Option<i64> {
    natural(value.strip_prefix(b"-").unwrap_or(value))?;
    number(value)
}

/// The last value of this key.
fn last<'a>(object: &'a [u8], key: &[u8]) -> Result<Option<&'a [u8]>, NotAnObject> {
    last_that(object, key, |_| true)
}

/// The last value of this key other than `null`, if it is a string that is not empty.
fn last_text<'a>(object: &'a [u8], key: &[u8]) -> Result<Option<Cow<'a, [u8]>>, NotAnObject> {
    let value = last_that(object, key, |value| value != b"null")?;
    Ok(value.and_then(text).filter(|text| !text.is_empty()))
}

fn last_that<'a>(
    object: &'a [u8],
    key: &[u8],
    counts: impl Fn(&[u8]) -> bool,
) -> Result<Option<&'a [u8]>, NotAnObject> {
    let mut value = None;
    for member in Members::new(object) {
        let member = member?;
        if key_is(member.key, key) && counts(member.value) {
            value = Some(member.value);
        }
    }
    Ok(value)
}
