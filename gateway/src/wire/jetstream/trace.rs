//! Message-trace events (ADR-41), which a server publishes to the `Nats-Trace-Dest` of a message.

use super::shape::{Key, Shape, key, optional};

/// Whether `payload` is an uncompressed trace event as a server writes it.
///
/// Strict: one JSON object with only keys that the server writes, each once and in its letter case, with values of the server's
/// types, and none missing that the server always writes. This does not prove that the server wrote it.
#[must_use]
pub fn is_trace_event(payload: &[u8]) -> bool {
    payload.first() == Some(&b'{') && EVENT.fits(payload)
}

const EVENT: Shape = Shape::Object(&[
    key("server", SERVER),
    key(
        "request",
        Shape::Object(&[
            optional("header", Shape::Map(&Shape::List(&Shape::Text))),
            optional("msgsize", Shape::COUNT),
        ]),
    ),
    optional("hops", Shape::COUNT),
    key("events", Shape::List(&STEP)),
]);

const SERVER: Shape = Shape::Object(&[
    key("name", Shape::Text),
    key("host", Shape::Text),
    key("id", Shape::Text),
    optional("cluster", Shape::Text),
    optional("domain", Shape::Text),
    key("ver", Shape::Text),
    optional("tags", Shape::List(&Shape::Text)),
    optional("metadata", Shape::Map(&Shape::Text)),
    optional("feature_flags", Shape::Map(&Shape::Flag)),
    key("jetstream", Shape::Flag),
    optional("flags", Shape::U64),
    key("seq", Shape::U64),
    key("time", Shape::Text),
]);

/// What happened to the message: egress, ingress, JetStream, subject mapping, stream export, service import.
const STEP: Shape = Shape::AnyOf(&[
    Shape::Object(&[
        key("type", Shape::Word(b"\"eg\"")),
        TIME,
        key("kind", Shape::COUNT),
        key("cid", Shape::U64),
        NAME,
        optional("hop", Shape::Text),
        optional("acc", Shape::Text),
        optional("sub", Shape::Text),
        optional("queue", Shape::Text),
        FAILED,
    ]),
    Shape::Object(&[
        key("type", Shape::Word(b"\"in\"")),
        TIME,
        key("kind", Shape::COUNT),
        key("cid", Shape::U64),
        NAME,
        key("acc", Shape::Text),
        key("subj", Shape::Text),
        FAILED,
    ]),
    Shape::Object(&[
        key("type", Shape::Word(b"\"js\"")),
        TIME,
        key("stream", Shape::Text),
        optional("subject", Shape::Text),
        optional("nointerest", Shape::Flag),
        FAILED,
    ]),
    Shape::Object(&[
        key("type", Shape::Word(b"\"sm\"")),
        TIME,
        key("to", Shape::Text),
    ]),
    Shape::Object(&[
        key("type", Shape::Word(b"\"se\"")),
        TIME,
        key("acc", Shape::Text),
        key("to", Shape::Text),
    ]),
    Shape::Object(&[
        key("type", Shape::Word(b"\"si\"")),
        TIME,
        key("acc", Shape::Text),
        key("from", Shape::Text),
        key("to", Shape::Text),
    ]),
]);

const TIME: Key = key("ts", Shape::Text);
const NAME: Key = optional("name", Shape::Text);
const FAILED: Key = optional("error", Shape::Text);
