//! Requests: what their answers will be, and the sizes in those to JetStream's API.
//!
//! Sizes that agents name are of plaintext, sizes that the server compares them to are of envelopes. Both directions of a size are
//! changed together, here and in `deliver::answer`, so that an agent reads back what it wrote.

use std::borrow::Cow;
use std::rc::Rc;

use crate::dataplane::replies::Asked;
use crate::envelope::OVERHEAD;
use crate::policy::{KeyringId, Look, Policy, Role, Route};
use crate::wire::jetstream::{self, Request};
use crate::wire::{Buffer, Publish};

/// The answer to whoever asks for a counter on a subject that is sealed. The error is `JSMessageIncrDisabledErr` of the server.
pub(super) const COUNTER_REFUSED: &[u8] = br#"{"error":{"code":400,"err_code":10168,"description":"keyway: counters cannot be sealed: take their subjects out of the keyring"},"stream":"","seq":0}"#;

/// The longest subject that is remembered, in bytes: no stream has one that is longer than a server's control line.
const LONGEST: usize = 4096;

/// What a publish that names a reply subject asks. `keyring` is what it is sealed under.
pub(super) fn asked(look: Look, keyring: Option<KeyringId>, publish: &Publish<'_>) -> Asked {
    if let Some(request) = look.request(publish.subject) {
        return of_jetstream(request, publish.payload);
    }
    match (look.route, look.role, keyring) {
        (_, Role::System, _) => Asked::Server,
        // Also with an empty payload, which is not sealed.
        (Route::Keyring(keyring), _, _) | (_, _, Some(keyring)) => Asked::Protected(keyring),
        (Route::Pass | Route::Reply(_), Role::User | Role::Reply | Role::Api, None) => Asked::Open,
    }
}

fn of_jetstream(request: &[u8], body: &[u8]) -> Asked {
    match Request::of(request) {
        // The messages come on their own subjects, statuses on the reply subject.
        Request::Next
        | Request::Snapshot
        | Request::Restore
        | Request::ConsumerConfig
        | Request::Other => Asked::Server,
        Request::DirectGet {
            subject: Some(subject),
        } => Asked::Stored(named(subject)),
        Request::DirectGet { subject: None } => Asked::Stored(named_in(body)),
        Request::MessageGet => Asked::Message(named_in(body)),
        Request::StreamConfig | Request::StreamInfo | Request::StreamList => Asked::Config,
    }
}

fn named_in(body: &[u8]) -> Option<Rc<Box<[u8]>>> {
    jetstream::named_subject(body).and_then(|subject| named(&subject))
}

fn named(subject: &[u8]) -> Option<Rc<Box<[u8]>>> {
    (subject.len() <= LONGEST).then(|| Rc::new(Box::from(subject)))
}

/// Where a backup is to be written.
pub(super) fn deliver_subject<'a>(request: &[u8], body: &'a [u8]) -> Option<Cow<'a, [u8]>> {
    matches!(Request::of(request), Request::Snapshot)
        .then(|| jetstream::deliver_subject(body))
        .flatten()
}

/// The subject for which a stream of counters is asked, if it is one that `strict` holds of.
pub(super) fn counter_subject(
    request: &[u8],
    body: &[u8],
    strict: impl Fn(&[u8]) -> bool,
) -> Option<Vec<u8>> {
    if !matches!(Request::of(request), Request::StreamConfig) || !jetstream::counts(body) {
        return None;
    }
    let mut found = None;
    jetstream::subjects(body, |subject| {
        if found.is_none() && strict(subject) {
            found = Some(subject.to_vec());
        }
    });
    found
}

/// Makes room for envelopes in the sizes that a request names. `false`: nothing to change, `out` is untouched.
pub(super) fn widen(policy: &Policy, request: &[u8], body: &[u8], out: &mut Buffer) -> bool {
    if !policy.protects_anything() {
        return false;
    }
    match Request::of(request) {
        Request::Next | Request::DirectGet { .. } => {
            jetstream::widen_max_bytes(body, OVERHEAD, out)
        }
        Request::StreamConfig => jetstream::widen_max_msg_size(
            body,
            OVERHEAD,
            |subject| policy.seals_every(subject),
            out,
        ),
        Request::MessageGet
        | Request::StreamInfo
        | Request::StreamList
        | Request::Snapshot
        | Request::Restore
        | Request::ConsumerConfig
        | Request::Other => false,
    }
}
