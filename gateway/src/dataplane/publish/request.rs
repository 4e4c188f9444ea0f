//! Requests to JetStream's API and to the server: which answers they get, and the sizes that they name.
//!
//! Clients name sizes of plaintext, the server counts envelopes. Requests are widened here, answers are narrowed in `deliver`, so
//! that a client reads back what it wrote.

use std::borrow::Cow;

use crate::dataplane::headers::holds_sealed;
use crate::dataplane::replies::{Class, ConsumerKind, FROM_STREAM, PublishedRequest};
use crate::envelope::OVERHEAD;
use crate::policy::{MAX_PUBLISHED_SUBJECTS, Policy, SubjectTransform};
use crate::wire::jetstream::{self, DirectGetBatch, Request, SubjectUse};
use crate::wire::subject::is_literal;
use crate::wire::{Buffer, Publish};

/// The answer to a request for a stream of counters (ADR-49) on a sealed subject, with the code of nats-server's
/// `JSMessageIncrDisabledErr`.
pub(super) const COUNTERS_REFUSED: &[u8] = br#"{"type":"io.nats.jetstream.api.v1.stream_create_response","error":{"code":400,"err_code":10168,"description":"keyway: counters cannot be sealed: take their subjects out of the keyring"}}"#;

/// The answer to an increment of a counter on such a subject.
pub(super) const COUNTER_REFUSED: &[u8] = br#"{"error":{"code":400,"err_code":10168,"description":"keyway: counters cannot be sealed: take their subjects out of the keyring"},"stream":"","seq":0}"#;

/// The answer to a request for a stream that republishes or transforms subjects so that its messages open for nobody, with the
/// code of nats-server's `JSStreamInvalidConfigF`. One remedy for every case: where only one of the subjects has a keyring, or
/// each another, an alias alone changes nothing.
pub(super) const RENAMING_REFUSED: &[u8] = br#"{"type":"io.nats.jetstream.api.v1.stream_create_response","error":{"code":400,"err_code":10052,"description":"keyway: messages that are republished or renamed so would open for nobody: let one keyring cover both subjects, with an alias from the one that they are published on to the new one, or with bind = 'keyring', and reload"}}"#;

/// The same for a schedule (ADR-51): `JSMessageSchedulesTargetInvalidErr`.
pub(super) const SCHEDULE_REFUSED: &[u8] = br#"{"error":{"code":400,"err_code":10190,"description":"keyway: what the schedule publishes would open for nobody: let one keyring cover its target and the schedule's subject, or its source's, with an alias from that one to the target, or with bind = 'keyring', and reload"},"stream":"","seq":0}"#;

/// Classifies a request to JetStream's API by what may answer it. `name` hashes the subject of a stored message.
pub(super) fn classify_jetstream(
    request: &[u8],
    body: &[u8],
    name: impl Fn(&[u8]) -> u32,
) -> PublishedRequest {
    let stored =
        |class, subject: Option<&[u8]>| PublishedRequest::stored(class, subject.map(&name));
    let named = jetstream::requested_subject(body);
    match Request::of(request) {
        Request::DirectGet { subject } => {
            let bare = jetstream::direct_get(body, 0, &mut Buffer::new()).without_headers;
            let class = if bare {
                Class::DirectGetNoHeaders
            } else {
                Class::DirectGet
            };
            let literal = subject.filter(|subject| is_literal(subject));
            stored(class, subject.map_or(named.as_deref(), |_| literal))
        }
        Request::MessageGet => stored(Class::MsgGet, named.as_deref()),
        Request::Next => PublishedRequest::of(Class::Pull),
        Request::StreamConfig | Request::StreamInfo | Request::StreamList | Request::Snapshot => {
            PublishedRequest::of(Class::StreamConfig)
        }
        Request::ConsumerConfig | Request::ConsumerInfo => PublishedRequest::of(Class::Consumer),
        Request::Restore | Request::Other => PublishedRequest::of(Class::Api),
    }
}

/// Classifies a publish on any other system subject.
pub(super) fn classify_system(subject: &[u8]) -> PublishedRequest {
    PublishedRequest::of(if subject.starts_with(FROM_STREAM) {
        // `+NXT` is a pull.
        Class::Pull
    } else if subject.starts_with(b"$JS.SNAPSHOT.RESTORE.") {
        // A chunk of a snapshot that is restored; the last is answered with the stream's configuration.
        Class::StreamConfig
    } else if subject.starts_with(b"$SRV.") {
        Class::Services
    } else {
        Class::Server
    })
}

/// Calls `each` with the stream, the subject and the kind of consumer of every delivery for which a request asks.
pub(super) fn deliveries(
    request: &[u8],
    (body, reply): (&[u8], Option<&[u8]>),
    mut each: impl FnMut((&[u8], &[u8]), ConsumerKind),
) {
    let kind = Request::of(request);
    let Some(stream) = jetstream::stream_of_consumer(request) else {
        return;
    };
    match (kind, reply) {
        (Request::Next, Some(reply)) => each((stream, reply), ConsumerKind::Pull),
        (Request::ConsumerConfig, _) => jetstream::subject_uses(kind, body, |place| {
            if let SubjectUse::PublishTo(subject) = place {
                each((stream, subject), ConsumerKind::Push);
            }
        }),
        _ => {}
    }
}

/// The body of a pull request, if a publish is one: `CONSUMER.MSG.NEXT`, or an acknowledgement with `+NXT`.
pub(super) fn pull<'a>(request: Option<&[u8]>, publish: &Publish<'a>) -> Option<&'a [u8]> {
    match request.map(Request::of) {
        Some(Request::Next) => Some(publish.payload),
        Some(_) => None,
        None => {
            let asks = publish.subject.starts_with(FROM_STREAM) && publish.reply.is_some();
            let pull = jetstream::next_pull(publish.payload).filter(|_| asks);
            pull.filter(|pull| jetstream::is_unambiguous(Request::Next, pull))
        }
    }
}

/// The bounds of a direct get that asks for several messages.
pub(super) fn direct_get_batch(request: &[u8], body: &[u8]) -> Option<DirectGetBatch> {
    matches!(Request::of(request), Request::DirectGet { .. })
        .then(|| jetstream::batch(body))
        .flatten()
}

/// Widens the sizes in an acknowledgement that pulls (`+NXT`). `false`: nothing to change, `out` is untouched.
pub(super) fn widen_pull_in_ack(policy: &Policy, publish: &Publish<'_>, out: &mut Buffer) -> bool {
    let pull = pull(None, publish).filter(|_| policy.protects_anything());
    let Some(pull) = pull else {
        return false;
    };
    let before = publish.payload.len().saturating_sub(pull.len());
    let start = out.len();
    out.put(publish.payload.get(..before).unwrap_or_default());
    let widened = jetstream::widen_max_bytes(pull, OVERHEAD, out);
    if !widened {
        out.truncate(start);
    }
    widened
}

/// The subject on which a stream snapshot is to be delivered.
pub(super) fn deliver_subject<'a>(request: &[u8], body: &'a [u8]) -> Option<Cow<'a, [u8]>> {
    matches!(Request::of(request), Request::Snapshot)
        .then(|| jetstream::deliver_subject(body))
        .flatten()
}

/// A subject of a stream of counters that is to be created, updated or restored, if `strict` is true of it.
pub(super) fn counter_subject(
    request: &[u8],
    body: &[u8],
    strict: impl Fn(&[u8]) -> bool,
) -> Option<Vec<u8>> {
    let config = jetstream::stream_config(Request::of(request), body)?;
    if !jetstream::is_counter_stream(config) {
        return None;
    }
    let mut found = None;
    jetstream::subjects(config, |subject| {
        if found.is_none() && strict(subject) {
            found = Some(subject.to_vec());
        }
    });
    found
}

/// How many subject transforms of a stream are looked at: there is one, unless the body repeats a member.
const MOST_MOVES: u32 = 4;

/// Whether the request is for a stream that republishes or transforms subjects so that `lost` says that messages open for nobody.
pub(super) fn is_misdirected(
    request: &[u8],
    body: &[u8],
    lost: impl Fn(SubjectTransform<'_>) -> bool,
) -> bool {
    let Some(config) = jetstream::stream_config(Request::of(request), body) else {
        return false;
    };
    let mut published = Vec::new();
    jetstream::subjects(config, |subject| {
        if published.len() <= MAX_PUBLISHED_SUBJECTS {
            published.push(subject.to_vec());
        }
    });
    let published = &published;
    let (mut left, mut found) = (MOST_MOVES, false);
    jetstream::subject_transforms(config, |from, to| {
        let moved = SubjectTransform {
            published,
            from,
            to,
        };
        found = found || left > 0 && lost(moved);
        left = left.saturating_sub(1);
    });
    found
}

/// Widens the sizes that a request names, and removes `no_hdr` from a direct get: the headers of the answer say which message it
/// is. `false`: nothing to change, `out` is untouched.
pub(super) fn widen(policy: &Policy, request: &[u8], body: &[u8], out: &mut Buffer) -> bool {
    if !policy.protects_anything() {
        return false;
    }
    match Request::of(request) {
        Request::Next => jetstream::widen_max_bytes(body, OVERHEAD, out),
        Request::DirectGet { .. } => jetstream::direct_get(body, OVERHEAD, out).changed,
        Request::StreamConfig => {
            jetstream::widen_max_msg_size(body, OVERHEAD, |what| holds_sealed(policy, what), out)
        }
        Request::ConsumerConfig => jetstream::widen_limit(body, OVERHEAD, out),
        Request::Restore => {
            jetstream::widen_restored(body, OVERHEAD, |what| holds_sealed(policy, what), out)
        }
        Request::MessageGet
        | Request::StreamInfo
        | Request::StreamList
        | Request::Snapshot
        | Request::ConsumerInfo
        | Request::Other => false,
    }
}
