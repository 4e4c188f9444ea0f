//! Whether every reader reads the body of a request alike.
//!
//! The server decodes with Go's `encoding/json`, all values of the body one after another into the same variable. So duplicate
//! keys are merged in surprising ways (a `null` in a second array keeps the first array's element), letter case is ignored, and
//! `{…}{…}` is one request. No client writes such bodies, so the gateway refuses them instead of imitating the decoder.

use super::super::json::{Elements, Members, is_text, key_is};
use super::Request;

/// Whether every reader agrees on the keys of the `body` of `request` that this crate reads: none is given twice, in another
/// letter case or with escapes, none of their arrays has a `null`, none of their strings is invalid UTF-8, and nothing follows
/// the object.
///
/// Also `true` for what the server certainly refuses: a value of another type, or no JSON. The other functions of this module are
/// right about a body only where this is `true`.
#[must_use]
pub fn is_unambiguous(request: Request<'_>, body: &[u8]) -> bool {
    let part = match request {
        Request::Next => Part::Object(&[("batch", Part::Scalar), ("max_bytes", Part::Scalar)]),
        Request::DirectGet { .. } | Request::MessageGet => GET,
        Request::StreamConfig => STREAM,
        Request::Restore => Part::Object(&[("config", STREAM)]),
        Request::ConsumerConfig => Part::Object(&[("config", CONSUMER)]),
        Request::Snapshot => DELIVERED,
        Request::StreamInfo | Request::StreamList | Request::ConsumerInfo | Request::Other => {
            return true;
        }
    };
    let Some((first, behind)) = Members::split_first(body) else {
        return true;
    };
    let is_read_on = first.starts_with(b"{") || first == b"null";
    (behind.is_empty() || !is_read_on) && part.is_unambiguous(first)
}

/// The parts of a value that this crate reads.
enum Part {
    /// A number or a flag.
    Scalar,
    Text,
    List(&'static Self),
    /// These keys; others are ignored.
    Object(&'static [(&'static str, Self)]),
}

const GET: Part = Part::Object(&[
    ("batch", Part::Scalar),
    ("last_by_subj", Part::Text),
    ("max_bytes", Part::Scalar),
    ("multi_last", Part::List(&Part::Text)),
    ("next_by_subj", Part::Text),
    ("no_hdr", Part::Scalar),
    ("seq", Part::Scalar),
]);

const STREAM: Part = Part::Object(&[
    ("allow_msg_counter", Part::Scalar),
    ("max_msg_size", Part::Scalar),
    ("mirror", SOURCE),
    ("name", Part::Text),
    ("republish", TRANSFORM),
    ("sources", Part::List(&SOURCE)),
    ("subject_transform", TRANSFORM),
    ("subjects", Part::List(&Part::Text)),
]);

const SOURCE: Part = Part::Object(&[
    ("consumer", DELIVERED),
    (
        "external",
        Part::Object(&[("api", Part::Text), ("deliver", Part::Text)]),
    ),
    ("filter_subject", Part::Text),
    ("name", Part::Text),
    ("subject_transforms", Part::List(&TRANSFORM)),
]);

const TRANSFORM: Part = Part::Object(&[("dest", Part::Text), ("src", Part::Text)]);

const CONSUMER: Part =
    Part::Object(&[("deliver_subject", Part::Text), ("max_bytes", Part::Scalar)]);

const DELIVERED: Part = Part::Object(&[("deliver_subject", Part::Text)]);

impl Part {
    /// `value` has no blanks around it. One of another type is fine: the server refuses it.
    fn is_unambiguous(&self, value: &[u8]) -> bool {
        match (self, value.first()) {
            (Self::Text, Some(b'"')) => is_text(value),
            (Self::List(part), Some(b'[')) => Elements::new(value)
                .flatten()
                .all(|(_, element)| element != b"null" && part.is_unambiguous(element)),
            (Self::Object(keys), Some(b'{')) => has_once(value, keys),
            _ => true,
        }
    }
}

/// Whether each of the keys is given at most once, in this spelling, with an unambiguous value.
fn has_once(object: &[u8], keys: &[(&str, Part)]) -> bool {
    let mut seen = 0_u32;
    for member in Members::new(object).flatten() {
        let mut named = (0_u32..).zip(keys);
        let Some((index, (name, part))) =
            named.find(|(_, (name, _))| key_is(member.key, name.as_bytes()))
        else {
            continue;
        };
        let bit = 1_u32.wrapping_shl(index);
        if seen & bit != 0 || member.key != name.as_bytes() || !part.is_unambiguous(member.value) {
            return false;
        }
        seen |= bit;
    }
    true
}
