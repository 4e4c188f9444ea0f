//! Requests that are delivered to the client: which of them are admitted, and what is remembered so that their answers are sealed
//! right.
//!
//! A reply subject decides where the client will publish. One that a keyring names explicitly is admitted only from a request
//! that is sealed under that keyring, or bound to exactly this reply subject. Any other is an inbox, whose answers are bound to
//! the latest request that can be told from others (`replies::owed`).

use crate::dataplane::meaning;
use crate::dataplane::replies::{self, Request, Taken};
use crate::envelope::{Flags, Header};
use crate::keyring::Snapshot;
use crate::metrics::Cause;
use crate::policy::KeyringId;
use crate::wire::{Buffer, Message};

use super::batch::DeliverPath;

/// How a message was delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Comes {
    /// In an envelope of this keyring that has opened.
    Sealed(KeyringId, Header),
    /// Empty, on a subject of this keyring, which accepts no plaintext. Nothing tells whether it comes from behind a gateway: a
    /// client on the bare bus must not get a plaintext answer by sending an empty request.
    Empty(KeyringId),
    /// In plaintext, on a subject of this keyring, if of any.
    Plain(Option<KeyringId>),
}

impl DeliverPath<'_> {
    /// Whether the client may have a plaintext or empty message; if not, it is withheld here.
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

    /// Whether the client may have a message with this reply subject. If so, the request is remembered: its answer is sealed
    /// under the request's keyring and bound to it, or published in plaintext as the request was.
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
