//! The subjects, besides the one delivered on, for which a bound envelope may have been sealed.
//!
//! JetStream and account mappings deliver on another subject than was published on. Anybody who can publish can write a header,
//! so that a header counts only where the server must have written it: `Nats-Subject` in the answer to a direct get that this
//! client asked for, and the fifth field of `Nats-Stream-Source` in a delivery from a stream, whose reply subject no client may
//! use. A subject that a header names must be one that the envelope's own keyring serves. Then the keyring's aliases.

use crate::dataplane::replies::Asked;
use crate::policy::{Alias, Bind, KeyringId, Policy, Route};
use crate::wire::{Message, header};

/// The reply subject of every delivery from a stream; the server refuses a publish that names such a one.
const FROM_STREAM: &[u8] = b"$JS.ACK.";

/// The first `Some` that `attempt` gives for one of them. Only an envelope that did not open at once gets here.
pub(super) fn others<T>(
    policy: &Policy,
    (keyring, asked): (KeyringId, Option<Asked>),
    message: &Message<'_>,
    mut attempt: impl FnMut(&[u8]) -> Option<T>,
) -> Option<T> {
    let stored = stored(message, asked);
    let named = [stored, origin(message)].into_iter().flatten();
    for subject in named.filter(|subject| policy.route(subject) == Route::Keyring(keyring)) {
        if let Some(opened) = attempt(policy.normalise(subject)) {
            return Some(opened);
        }
    }
    let mut published = Vec::new();
    aliases(policy, keyring).iter().find_map(|alias| {
        [Some(message.subject), stored]
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

/// The subject that a stored message has, in the answer to a direct get.
fn stored<'m>(message: &Message<'m>, asked: Option<Asked>) -> Option<&'m [u8]> {
    let block = message
        .headers
        .filter(|_block| asked == Some(Asked::Stored))?;
    header::get(block, b"Nats-Subject")
}

/// The subject that a sourced message had in the stream it comes from.
fn origin<'m>(message: &Message<'m>) -> Option<&'m [u8]> {
    let from_stream = message
        .reply
        .is_some_and(|reply| reply.starts_with(FROM_STREAM));
    let block = message.headers.filter(|_block| from_stream)?;
    let source = header::get(block, b"Nats-Stream-Source")?;
    source.split(|byte| *byte == b' ').nth(4)
}

fn aliases(policy: &Policy, keyring: KeyringId) -> &[Alias] {
    match policy.keyring(keyring).map(|rule| &rule.bind) {
        Some(Bind::Subject { aliases }) => aliases,
        Some(Bind::Keyring) | None => &[],
    }
}
