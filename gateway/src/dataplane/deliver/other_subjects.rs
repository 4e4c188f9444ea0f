//! The subjects, besides that of the delivery, for which a bound envelope may have been sealed.
//!
//! JetStream and account mappings deliver on another subject than was published on. Anybody who can publish can forge a header,
//! and a stream stores it: so a header counts only where the server must have written it, behind the stored headers, in its
//! answer to a direct get. (`Nats-Stream-Source` does not: before 2.15 the server accepted it from publishers, and such messages
//! are still stored.) The subject in it must be served by the envelope's own keyring. Behind it come the keyring's aliases.

use crate::policy::{Alias, Bind, KeyringId, Policy, Route};

/// Calls `attempt` with one subject after the other, until it returns `Some`. For envelopes that did not open under their own
/// subject. `shown` is the subject of the delivery, `stored` the one that the message is stored under, if the server has written
/// it.
pub(super) fn try_each<T>(
    policy: &Policy,
    keyring: KeyringId,
    (shown, stored): (&[u8], Option<&[u8]>),
    mut attempt: impl FnMut(&[u8]) -> Option<T>,
) -> Option<T> {
    let serves = |subject: &&[u8]| policy.route(subject) == Route::Keyring(keyring);
    if let Some(subject) = stored.filter(serves)
        && let Some(opened) = attempt(policy.normalise(subject))
    {
        return Some(opened);
    }
    let mut published = Vec::new();
    aliases(policy, keyring).iter().find_map(|alias| {
        [Some(shown), stored]
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

fn aliases(policy: &Policy, keyring: KeyringId) -> &[Alias] {
    match policy.keyring(keyring).map(|rule| &rule.bind) {
        Some(Bind::Subject { aliases }) => aliases,
        Some(Bind::Keyring) | None => &[],
    }
}
