//! Requests that come to the client: which of them it may have, and what is remembered so that its answers are sealed as they must be.
//!
//! A reply subject is a destination. What a keyring names as its own is work, which only a request that was sealed for exactly this
//! reply subject, or under the same keyring, may have the client publish. Any other is an inbox, whose
//! answers are bound to the latest request that can be told from others (`replies/owed.rs`).

use crate::dataplane::meaning;
use crate::dataplane::replies::{self, Request, Taken};
use crate::envelope::{Flags, Header};
use crate::keyring::Snapshot;
use crate::metrics::Cause;
use crate::policy::KeyringId;
use crate::wire::{Buffer, Message};

use super::batch::DeliverPath;

/// How a message comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Comes {
    /// In an envelope of this keyring's that has opened.
    Sealed(KeyringId, Header),
    /// Empty, on a subject of this keyring's, on which no plaintext is accepted. It looks the same from behind a gateway and from
    /// elsewhere: a client on the bare bus must not get a plaintext answer by asking for nothing.
    Empty(KeyringId),
    /// In plaintext. On a subject of this keyring, if of any.
    Plain(Option<KeyringId>),
}

impl DeliverPath<'_> {
    /// Whether the client may have what comes in plaintext or empty; otherwise it is withheld.
    pub(super) fn admits(
        &self,
        snapshot: &Snapshot,
        message: &Message<'_>,
        out: &mut Buffer,
    ) -> bool {
        if message.reply.is_none() && message.headers.is_none() {
            return true;
        }
        let keyring = snapshot.policy().route(message.subject).keyring();
        let accepts = |keyring: &KeyringId| {
            let shared = &self.worker.shared;
            shared.accepts_plaintext(snapshot.policy(), *keyring)
        };
        let comes = match keyring {
            Some(keyring) if message.payload.is_empty() && !accepts(&keyring) => {
                Comes::Empty(keyring)
            }
            other => Comes::Plain(other.filter(accepts)),
        };
        let admitted = self.admits_request(snapshot, comes, message);
        if !admitted {
            self.withhold(snapshot, (keyring, Cause::Reply), message, out);
        }
        admitted
    }

    /// Whether the client may have a message, for the sake of the reply subject that it names. Then an answer there is sealed under the
    /// request's keyring and bound to it, or published in plaintext as it came.
    pub(super) fn admits_request(
        &self,
        snapshot: &Snapshot,
        comes: Comes,
        message: &Message<'_>,
    ) -> bool {
        let policy = snapshot.policy();
        let mut link = self.link.borrow_mut();
        let replies = &mut link.replies;
        if let Some(to) = message.headers.and_then(meaning::trace_destination) {
            replies.trace_delivered(to);
        }
        let Some(reply) = message.reply else {
            return true;
        };
        if reply.starts_with(replies::FROM_STREAM) {
            if let Comes::Sealed(keyring, _) | Comes::Empty(keyring) = comes {
                replies.stored_delivered(keyring);
            }
            return true;
        }
        let look = policy.look(reply);
        if let Some(work) = look.work() {
            return match comes {
                Comes::Sealed(keyring, header) => keyring == work || header.flags.has(Flags::REPLY),
                Comes::Plain(keyring) => keyring == Some(work),
                Comes::Empty(_) => false,
            };
        }
        if !replies::are_answers(look) {
            return true;
        }
        let binds = |keyring| {
            policy
                .keyring(keyring)
                .is_some_and(|rule| rule.binds_answers)
        };
        let request = match comes {
            Comes::Sealed(keyring, header)
                if header.flags.has(Flags::PASSED_ON) || !binds(keyring) =>
            {
                Request::PassedOn(keyring, header.id())
            }
            Comes::Sealed(keyring, header) => Request::Sealed(keyring, header.id()),
            Comes::Empty(keyring) => Request::Empty(keyring),
            Comes::Plain(_) => Request::Plain,
        };
        match replies.request_delivered(reply, request, self.now) {
            Ok(()) => true,
            Err(Taken) => false,
        }
    }
}
