//! Requests: what their answers will be, and the sizes in those to JetStream's API.
//!
//! Sizes that agents name are of plaintext, sizes that the server compares them to are of envelopes. Both directions of a size are
//! changed together, here and in `deliver::answer`, so that an agent reads back what it wrote.

use std::borrow::Cow;

use crate::dataplane::meaning::holds_sealed;
use crate::dataplane::replies::{Asked, Class, Delivers, FROM_STREAM};
use crate::envelope::OVERHEAD;
use crate::policy::{MOST_PUBLISHED, Move, Policy};
use crate::wire::jetstream::{self, Batch, Place, Request};
use crate::wire::subject::is_literal;
use crate::wire::{Buffer, Publish};

/// The answer to whoever asks for a stream of counters on a subject that is sealed. The error is `JSMessageIncrDisabledErr` of the server.
pub(super) const COUNTERS_REFUSED: &[u8] = br#"{"type":"io.nats.jetstream.api.v1.stream_create_response","error":{"code":400,"err_code":10168,"description":"keyway: counters cannot be sealed: take their subjects out of the keyring"}}"#;

/// The same for whoever adds to one.
pub(super) const COUNTER_REFUSED: &[u8] = br#"{"error":{"code":400,"err_code":10168,"description":"keyway: counters cannot be sealed: take their subjects out of the keyring"},"stream":"","seq":0}"#;

/// The answer to whoever asks for a stream whose messages would open for nobody under the subject that it gives them. The error is
/// `JSStreamInvalidConfigF` of the server. The remedy is one for every case: where only one of the subjects has a keyring, or each another,
/// an alias alone changes nothing.
pub(super) const RENAMING_REFUSED: &[u8] = br#"{"type":"io.nats.jetstream.api.v1.stream_create_response","error":{"code":400,"err_code":10052,"description":"keyway: messages that are republished or renamed so would open for nobody: let one keyring cover both subjects, with an alias from the one that they are published on to the new one, or with bind = 'keyring', and reload"}}"#;

/// The same for a schedule: `JSMessageSchedulesTargetInvalidErr`.
pub(super) const SCHEDULE_REFUSED: &[u8] = br#"{"error":{"code":400,"err_code":10190,"description":"keyway: what the schedule publishes would open for nobody: let one keyring cover its target and the schedule's subject, or its source's, with an alias from that one to the target, or with bind = 'keyring', and reload"},"stream":"","seq":0}"#;

/// What a request to JetStream's API asks. `name` stands for the subject of a stored message.
pub(super) fn of_jetstream(request: &[u8], body: &[u8], name: impl Fn(&[u8]) -> u32) -> Asked {
    let stored = |class, subject: Option<&[u8]>| Asked::stored(class, subject.map(&name));
    let named = jetstream::named_subject(body);
    match Request::of(request) {
        Request::DirectGet { subject } => {
            let bare = jetstream::direct_get(body, 0, &mut Buffer::new()).without_headers;
            let class = if bare {
                Class::DirectBare
            } else {
                Class::Direct
            };
            let literal = subject.filter(|subject| is_literal(subject));
            stored(class, subject.map_or(named.as_deref(), |_| literal))
        }
        Request::MessageGet => stored(Class::Message, named.as_deref()),
        Request::Next => Asked::of(Class::Pull),
        Request::StreamConfig | Request::StreamInfo | Request::StreamList | Request::Snapshot => {
            Asked::of(Class::Config)
        }
        Request::ConsumerConfig | Request::ConsumerInfo => Asked::of(Class::Consumer),
        Request::Restore | Request::Other => Asked::of(Class::Api),
    }
}

/// What a request to the server itself asks, or one to every client of the account.
pub(super) fn of_system(subject: &[u8]) -> Asked {
    Asked::of(if subject.starts_with(FROM_STREAM) {
        // `+NXT` is a pull.
        Class::Pull
    } else if subject.starts_with(b"$JS.SNAPSHOT.RESTORE.") {
        // A piece of a backup; the answer to the last has the stream that is restored.
        Class::Config
    } else if subject.starts_with(b"$SRV.") {
        Class::Services
    } else {
        Class::Server
    })
}

/// Calls `each` with every stream that a request has deliver, where, and for how long.
pub(super) fn deliveries(
    request: &[u8],
    (body, reply): (&[u8], Option<&[u8]>),
    mut each: impl FnMut((&[u8], &[u8]), Delivers),
) {
    let kind = Request::of(request);
    let Some(stream) = jetstream::stream_of_consumer(request) else {
        return;
    };
    match (kind, reply) {
        (Request::Next, Some(reply)) => each((stream, reply), Delivers::Once),
        (Request::ConsumerConfig, _) => jetstream::destinations(kind, body, |place| {
            if let Place::To(subject) = place {
                each((stream, subject), Delivers::FromNowOn);
            }
        }),
        _ => {}
    }
}

/// The body of a pull, if a publish to JetStream is one: of a request to the API, or of an acknowledgement.
pub(super) fn pull<'a>(request: Option<&[u8]>, publish: &Publish<'a>) -> Option<&'a [u8]> {
    match request.map(Request::of) {
        Some(Request::Next) => Some(publish.payload),
        Some(_) => None,
        None => {
            let asks = publish.subject.starts_with(FROM_STREAM) && publish.reply.is_some();
            let pull = jetstream::next(publish.payload).filter(|_| asks);
            pull.filter(|pull| jetstream::is_clear(Request::Next, pull))
        }
    }
}

/// The messages for which a direct get asks, if there may be several.
pub(super) fn batch(request: &[u8], body: &[u8]) -> Option<Batch> {
    matches!(Request::of(request), Request::DirectGet { .. })
        .then(|| jetstream::batch(body))
        .flatten()
}

/// Makes room for envelopes in an acknowledgement that pulls. `false`: nothing to change, `out` is untouched.
pub(super) fn edit_next(policy: &Policy, publish: &Publish<'_>, out: &mut Buffer) -> bool {
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

/// Where a backup is to be written.
pub(super) fn deliver_subject<'a>(request: &[u8], body: &'a [u8]) -> Option<Cow<'a, [u8]>> {
    matches!(Request::of(request), Request::Snapshot)
        .then(|| jetstream::deliver_subject(body))
        .flatten()
}

/// The subject for which a stream of counters is asked, made or restored, if it is one that `strict` holds of.
pub(super) fn counter_subject(
    request: &[u8],
    body: &[u8],
    strict: impl Fn(&[u8]) -> bool,
) -> Option<Vec<u8>> {
    let config = jetstream::stream_config(Request::of(request), body)?;
    if !jetstream::counts(config) {
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

/// How many moves of a stream are looked at: it has one, unless its body says the same thing several times.
const MOST_MOVES: u32 = 4;

/// Whether a stream is asked for that republishes or renames what `lost` says opens for nobody then.
pub(super) fn is_misdirected(request: &[u8], body: &[u8], lost: impl Fn(Move<'_>) -> bool) -> bool {
    let Some(config) = jetstream::stream_config(Request::of(request), body) else {
        return false;
    };
    let mut published = Vec::new();
    jetstream::subjects(config, |subject| {
        if published.len() <= MOST_PUBLISHED {
            published.push(subject.to_vec());
        }
    });
    let published = &published;
    let (mut left, mut found) = (MOST_MOVES, false);
    jetstream::renamed(config, |from, to| {
        let moved = Move {
            published,
            from,
            to,
        };
        found = found || left > 0 && lost(moved);
        left = left.saturating_sub(1);
    });
    found
}

/// Makes room for envelopes in the sizes that a request names, and has a direct get answered with headers: without them nothing says
/// which message it is. `false`: nothing to change, `out` is untouched.
pub(super) fn edit(policy: &Policy, request: &[u8], body: &[u8], out: &mut Buffer) -> bool {
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
