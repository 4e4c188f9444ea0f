//! The subjects, besides the one delivered on, for which a bound envelope may have been sealed.
//!
//! JetStream and account mappings deliver on another subject than was published on. Anybody who can publish can write a header,
//! so that a header counts only where the server must have written it: `Nats-Subject` in the answer to a direct get that this
//! client asked for, and the fifth field of `Nats-Stream-Source` in a delivery from a stream, whose reply subject no client may
//! use. A subject that a header names must be one that the envelope's own keyring serves. Then the keyring's aliases.

use std::borrow::Cow;

use crate::dataplane::replies::{Asked, FROM_STREAM};
use crate::policy::{Alias, Bind, KeyringId, Policy, Route};
use crate::wire::{Message, header};

/// What is known of where a message comes from.
pub(super) struct Source<'a> {
    /// The subject that it is delivered on.
    pub(super) shown: &'a [u8],
    /// The subject that it is stored under, where it comes in an answer to a direct get.
    pub(super) stored: Option<Cow<'a, [u8]>>,
    /// The subject that it had in the stream that its own stream takes it from.
    pub(super) origin: Option<&'a [u8]>,
}

impl<'a> Source<'a> {
    /// Of a delivery that answers what was asked, if anything was.
    pub(super) fn of(message: &Message<'a>, asked: Option<&Asked>) -> Self {
        let headers = message.headers.unwrap_or_default();
        let stored = match asked {
            Some(Asked::Stored(named)) => header::get(headers, b"Nats-Subject")
                .map(Cow::Borrowed)
                .or_else(|| named.as_ref().map(|named| Cow::Owned(named.to_vec()))),
            _ => None,
        };
        let from_stream = stored.is_some()
            || message
                .reply
                .is_some_and(|reply| reply.starts_with(FROM_STREAM));
        Self {
            shown: message.subject,
            stored,
            origin: origin(headers).filter(|_subject| from_stream),
        }
    }
}

/// The first `Some` that `attempt` gives for one of the subjects, besides the one delivered on. Only an envelope that did not open
/// at once gets here.
pub(super) fn others<T>(
    policy: &Policy,
    keyring: KeyringId,
    source: &Source<'_>,
    mut attempt: impl FnMut(&[u8]) -> Option<T>,
) -> Option<T> {
    let stored = source.stored.as_deref();
    let named = [stored, source.origin].into_iter().flatten();
    for subject in named.filter(|subject| policy.route(subject) == Route::Keyring(keyring)) {
        if let Some(opened) = attempt(policy.normalise(subject)) {
            return Some(opened);
        }
    }
    let mut published = Vec::new();
    aliases(policy, keyring).iter().find_map(|alias| {
        [Some(source.shown), stored, source.origin]
            .into_iter()
            .flatten()
            .find_map(|subject| {
                alias
                    .published(subject, &mut published)
                    .then(|| attempt(&published))
                    .flatten()
            })
    })
}

/// The subject that a sourced message had in the stream it comes from: the fifth field.
pub(super) fn origin(headers: &[u8]) -> Option<&[u8]> {
    let source = header::get(headers, b"Nats-Stream-Source")?;
    source.split(|byte| *byte == b' ').nth(4)
}

fn aliases(policy: &Policy, keyring: KeyringId) -> &[Alias] {
    match policy.keyring(keyring).map(|rule| &rule.bind) {
        Some(Bind::Subject { aliases }) => aliases,
        Some(Bind::Keyring) | None => &[],
    }
}
