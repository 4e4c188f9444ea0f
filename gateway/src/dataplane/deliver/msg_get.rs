//! Answers to `STREAM.MSG.GET`: a stored message as base64 in JSON.

use crate::envelope::{Binding, Flags, Kid, OVERHEAD};
use crate::keyring::{self, LaneCache, OpenRefused, Snapshot};
use crate::metrics::Cause;
use crate::policy::KeyringId;
use crate::wire::Buffer;
use crate::wire::jetstream::{self, StoredMessage};

use super::decision;
use super::leak_check::LeakCheck;
use super::other_subjects;

/// The beginning of the error that replaces a message that is withheld. The code is that of nats-server's
/// `JSStreamGeneralErrorF`, which clients only report: "no message found" (10037) would be taken for a key that does not exist.
const WITHHELD: &str = r#"{"type":"io.nats.jetstream.api.v1.stream_msg_get_response","error":{"code":500,"err_code":10051,"description":"keyway: the stored message is withheld: "#;

/// The outcome for an answer.
pub(super) enum MsgGetOutcome {
    /// Nothing in it was sealed: it passes as it is.
    Plain,
    /// `out` has the answer with the plaintext, of so many bytes.
    Opened(KeyringId, usize),
    /// `out` has an error instead.
    Withheld(Option<KeyringId>, Cause),
}

/// Which stored messages are withheld.
pub(super) struct MsgGetRules<'a, S> {
    /// Whether a keyring accepts no plaintext.
    pub(super) strict: S,
    pub(super) leak_check: LeakCheck<'a>,
}

/// Opens the stored message in an answer. `is_other` is true of subjects other than the one that the request named.
///
/// # Errors
/// The kid of a version that is not loaded.
pub(super) fn open(
    snapshot: &Snapshot,
    lanes: &mut LaneCache,
    (json, is_other): (&[u8], impl Fn(&[u8]) -> bool),
    rules: &MsgGetRules<'_, impl Fn(KeyringId) -> bool>,
    out: &mut Buffer,
) -> Result<MsgGetOutcome, Kid> {
    let policy = snapshot.policy();
    let mut data = Vec::new();
    let stored = match StoredMessage::parse(json) {
        Ok(Some(stored)) => stored,
        Ok(_) if !jetstream::is_api_response(json) => {
            return Ok(withheld(None, Cause::Answer, out));
        }
        Ok(None) => return Ok(MsgGetOutcome::Plain),
        Err(_unclear) => return Ok(withheld(None, Cause::BadEnvelope, out)),
    };
    let of = |subject: &[u8]| policy.route(subject).covering_keyring();
    let keyring = of(&stored.subject);
    if is_other(&stored.subject) {
        return Ok(withheld(keyring, Cause::Answer, out));
    }
    if let Some(keyring) = rules.leak_check.find_in_stored(&stored) {
        return Ok(withheld(Some(keyring), Cause::Identity, out));
    }
    if !stored.decode(&mut data) || !stored.decode_headers(&mut Vec::new()) {
        return Ok(withheld(keyring, Cause::BadEnvelope, out));
    }
    if !decision::is_envelope(&data) {
        return Ok(match keyring.filter(|keyring| (rules.strict)(*keyring)) {
            Some(keyring) if !data.is_empty() => {
                withheld(Some(keyring), decision::cause_of(&data), out)
            }
            Some(_) | None => MsgGetOutcome::Plain,
        });
    }
    let named = keyring::keyring_of(snapshot, &data);
    if let Some(keyring) = named.filter(|keyring| rules.leak_check.deliver_denied.has(*keyring)) {
        return Ok(withheld(Some(keyring), Cause::Identity, out));
    }
    if keyring.is_none() && !keyring::flags(&data).has(Flags::BOUND) {
        // On an unprotected subject it may be any data.
        return Ok(MsgGetOutcome::Plain);
    }
    let mut plaintext = vec![0; data.len().saturating_sub(OVERHEAD)];
    let mut attempt = |subject: &[u8]| {
        let known = Binding::to(Some(subject));
        keyring::open(snapshot, lanes, keyring, known, (&data, &mut plaintext))
    };
    let mut opened = attempt(policy.normalise(&stored.subject));
    if let Err(OpenRefused::Unauthentic(keyring)) = opened {
        let subjects = (&*stored.subject, None);
        let other =
            other_subjects::try_each(policy, keyring, subjects, |subject| attempt(subject).ok());
        opened = other.ok_or_else(|| {
            lanes.count_failed(snapshot, &data);
            OpenRefused::Unauthentic(keyring)
        });
    }
    match opened {
        Ok(opened) => {
            stored.rewrite(&plaintext, out);
            Ok(MsgGetOutcome::Opened(opened.keyring, plaintext.len()))
        }
        Err(OpenRefused::Miss(kid)) => Err(kid),
        // On an unprotected subject it may be any data.
        Err(_) if keyring.is_none() => Ok(MsgGetOutcome::Plain),
        Err(refused) => Ok(withheld(refused.keyring().or(keyring), cause(refused), out)),
    }
}

/// Writes the error for a message whose key version is not loaded, for this cause.
pub(super) fn unopened(cause: Cause, out: &mut Buffer) -> MsgGetOutcome {
    withheld(None, cause, out)
}

fn withheld(keyring: Option<KeyringId>, cause: Cause, out: &mut Buffer) -> MsgGetOutcome {
    out.put(WITHHELD.as_bytes());
    out.put(<&str>::from(cause).as_bytes());
    out.put(b"\"}}");
    MsgGetOutcome::Withheld(keyring, cause)
}

/// The cause under which an envelope that does not open is counted.
pub(super) const fn cause(refused: OpenRefused) -> Cause {
    match refused {
        OpenRefused::Miss(_) => Cause::UnknownKey,
        OpenRefused::NotAnEnvelope(_) => Cause::BadEnvelope,
        OpenRefused::WrongKeyring => Cause::WrongKeyring,
        OpenRefused::Unauthentic(_) => Cause::Unauthentic,
    }
}
