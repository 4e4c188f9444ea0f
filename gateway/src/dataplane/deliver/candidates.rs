//! The subjects, besides the one delivered on, for which a bound envelope may have been sealed.
//!
//! JetStream and account mappings deliver on another subject than was published on. Anybody who can publish can write a header, and a
//! stream keeps it for as long as it keeps the message: so a header counts only where the server must have written it, behind whatever
//! was stored, in its answer to a direct get. (`Nats-Stream-Source` does not: before 2.15 the server took it from publishers, and what it
//! took then is still stored.) A subject that is named so must be one that the envelope's own keyring serves. Then the keyring's aliases.

use crate::policy::{Alias, Bind, KeyringId, Policy, Route};

/// The first `Some` that `attempt` gives for one of the subjects, besides the one delivered on. Only an envelope that did not open
/// at once gets here. `stored` is the subject that it is stored under, if the server has said so.
pub(super) fn others<T>(
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
