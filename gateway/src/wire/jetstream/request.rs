//! Which request an API subject is.

use std::borrow::Cow;

use super::last_text;

/// A request to JetStream's API, by how its body or its response is rewritten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request<'a> {
    /// `CONSUMER.MSG.NEXT.<stream>.<consumer>`: the body may have `max_bytes`; the responses are stored messages and statuses.
    Next,
    /// `DIRECT.GET.<stream>[.<subject>]`: the body may have `max_bytes`; the responses are stored messages and statuses.
    DirectGet {
        /// The subject whose last message is asked for.
        subject: Option<&'a [u8]>,
    },
    /// `STREAM.MSG.GET.<stream>`: the response is a [`super::StoredMessage`].
    MessageGet,
    /// `STREAM.CREATE.<stream>`, `STREAM.UPDATE.<stream>`: the body is a stream configuration, the response has a `config`.
    StreamConfig,
    /// `STREAM.INFO.<stream>`: the response has a `config`.
    StreamInfo,
    /// `STREAM.LIST`: the response has `streams`, each with a `config`.
    StreamList,
    /// `STREAM.SNAPSHOT.<stream>`: the body has a [`deliver_subject`], the response a `config`.
    Snapshot,
    /// `STREAM.RESTORE.<stream>`: the body has a stream `config`.
    Restore,
    /// `CONSUMER.CREATE.<stream>[.<consumer>[.<filter>]]`, `CONSUMER.DURABLE.CREATE.<stream>.<consumer>`: the body has a `config`, of a
    /// consumer, and so has the answer.
    ConsumerConfig,
    /// `CONSUMER.INFO.<stream>.<consumer>`, `CONSUMER.LIST.<stream>`: the answer has a `config` of a consumer, or `consumers`, each with one.
    ConsumerInfo,
    /// Any other.
    Other,
}

impl<'a> Request<'a> {
    /// Parses what follows `$JS.API.` in a subject, or what stands for that with a domain or another prefix.
    #[must_use]
    pub fn of(request: &'a [u8]) -> Self {
        if let Some(rest) = request.strip_prefix(b"DIRECT.GET.") {
            return direct_get(rest);
        }
        const FIXED: [(&[u8], Request<'static>, usize); 9] = [
            (b"STREAM.MSG.GET.", Request::MessageGet, 1),
            (b"STREAM.CREATE.", Request::StreamConfig, 1),
            (b"STREAM.UPDATE.", Request::StreamConfig, 1),
            (b"STREAM.INFO.", Request::StreamInfo, 1),
            (b"STREAM.SNAPSHOT.", Request::Snapshot, 1),
            (b"STREAM.RESTORE.", Request::Restore, 1),
            (b"CONSUMER.MSG.NEXT.", Request::Next, 2),
            (b"CONSUMER.INFO.", Request::ConsumerInfo, 2),
            (b"CONSUMER.LIST.", Request::ConsumerInfo, 1),
        ];
        if request == b"STREAM.LIST" {
            return Self::StreamList;
        }
        let creates = [&b"CONSUMER.CREATE."[..], b"CONSUMER.DURABLE.CREATE."];
        if creates.iter().any(|start| request.starts_with(start)) {
            return Self::ConsumerConfig;
        }
        for (prefix, kind, tokens) in FIXED {
            let Some(rest) = request.strip_prefix(prefix) else {
                continue;
            };
            let named = rest.split(|&b| b == b'.');
            let fits = named.clone().count() == tokens && named.clone().all(|t| !t.is_empty());
            return if fits { kind } else { Self::Other };
        }
        Self::Other
    }
}

/// Whether a subject may be a request to JetStream's API with a JSON response, under an unknown prefix.
#[must_use]
pub fn may_be_api_request(subject: &[u8]) -> bool {
    const VERBS: [&[u8]; 2] = [b".STREAM.", b".CONSUMER."];
    let has = |verb: &&[u8]| memchr::memmem::find(subject, verb).is_some();
    subject.ends_with(b".INFO") || VERBS.iter().any(has)
}

/// The stream of a request about a consumer; `request` is what follows `$JS.API.`.
#[must_use]
pub fn stream_of_consumer(request: &[u8]) -> Option<&[u8]> {
    const STARTS: [&[u8]; 3] = [
        b"CONSUMER.MSG.NEXT.",
        b"CONSUMER.CREATE.",
        b"CONSUMER.DURABLE.CREATE.",
    ];
    let rest = STARTS
        .iter()
        .find_map(|start| request.strip_prefix(*start))?;
    rest.split(|&b| b == b'.').next()
}

/// `<stream>` or `<stream>.<subject>`.
fn direct_get(rest: &[u8]) -> Request<'_> {
    let dot = memchr::memchr(b'.', rest).unwrap_or(rest.len());
    let subject = rest.get(dot.saturating_add(1)..);
    match (dot, subject) {
        (0, _) | (_, Some([])) => Request::Other,
        (_, subject) => Request::DirectGet { subject },
    }
}

/// `deliver_subject` in the body of [`Request::Snapshot`], to which the server publishes the snapshot's chunks.
#[must_use]
pub fn deliver_subject(body: &[u8]) -> Option<Cow<'_, [u8]>> {
    last_text(body, b"deliver_subject").ok().flatten()
}
