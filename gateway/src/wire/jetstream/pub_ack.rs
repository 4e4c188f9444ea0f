//! JetStream's acknowledgements of a publish.

use super::shape::{Key, Shape, key, optional};

/// Whether `payload` is an acknowledgement that JetStream writes: a `PubAck`, its error form, the acknowledgement of an atomic
/// batch, or one of fast ingest's (acknowledgement, gap, error).
///
/// Strict: one JSON object of at most 2048 bytes with only keys that the server writes, each once and in its letter case, with
/// values of the server's types, and none missing that the server always writes. This does not prove that the server wrote it.
#[must_use]
pub fn is_pub_ack(payload: &[u8]) -> bool {
    let is_object = payload.first() == Some(&b'{') && payload.last() == Some(&b'}');
    payload.len() <= MAX_LEN && is_object && FORMS.fits(payload)
}

const MAX_LEN: usize = 2048;

const FORMS: Shape = Shape::AnyOf(&[
    Shape::Object(&[
        key("stream", Shape::Name),
        key("seq", Shape::U64),
        DOMAIN,
        DUPLICATE,
        VAL,
        BATCH,
        COUNT,
    ]),
    Shape::Object(&[
        key("error", ERROR),
        optional("stream", Shape::AnyOf(&[Shape::Name, Shape::Word(b"\"\"")])),
        optional("seq", Shape::U64),
        DOMAIN,
        DUPLICATE,
        VAL,
        BATCH,
        COUNT,
    ]),
    Shape::Object(&[
        key("type", Shape::Word(b"\"ack\"")),
        key("seq", Shape::U64),
        key("msgs", Shape::U16),
    ]),
    Shape::Object(&[
        key("type", Shape::Word(b"\"gap\"")),
        key("last_seq", Shape::U64),
        key("seq", Shape::U64),
    ]),
    Shape::Object(&[
        key("type", Shape::Word(b"\"err\"")),
        key("seq", Shape::U64),
        key("error", ERROR),
    ]),
]);

const DOMAIN: Key = optional("domain", Shape::Name);
const DUPLICATE: Key = optional("duplicate", Shape::Flag);
const VAL: Key = optional("val", Shape::Name);
/// The server admits 64 characters.
const BATCH: Key = optional("batch", Shape::Short(256));
const COUNT: Key = optional("count", Shape::COUNT);

const ERROR: Shape = Shape::Object(&[
    key("code", Shape::COUNT),
    optional("err_code", Shape::U16),
    optional("description", Shape::Short(512)),
]);
