//! What the server says of stored messages and their sizes, as the agent that stored them would say it.

use crate::dataplane::meaning;
use crate::dataplane::replies::Asked;
use crate::envelope::{Kid, OVERHEAD};
use crate::keyring::Snapshot;
use crate::metrics::{Cause, Direction};
use crate::policy::KeyringId;
use crate::wire::header::Number;
use crate::wire::jetstream::Holds;
use crate::wire::write::Decimal;
use crate::wire::{Buffer, Message, jetstream, write};

use super::batch::DeliverPath;
use super::revealed::Shut;
use super::stored::{self, Found, Terms};

/// What a client gets in place of an answer of JetStream's API under a prefix that the configuration does not name. The number is the
/// server's for any failure.
const UNNAMED: &[u8] = br#"{"type":"io.nats.jetstream.api.v1.error_response","error":{"code":500,"err_code":10051,"description":"keyway: this prefix of JetStream's API is not known here, so that the request was sealed: name it in jetstream.api-prefixes, and reload"}}"#;

impl DeliverPath<'_> {
    /// An answer of JetStream's API that cannot be read as one.
    pub(super) fn unnamed(
        &self,
        snapshot: &Snapshot,
        keyring: KeyringId,
        message: &Message<'_>,
        out: &mut Buffer,
    ) {
        self.tell_withheld(snapshot, (Some(keyring), Cause::ApiPrefix), message);
        write::message_anew(out, message, None, UNNAMED.len());
        out.put(UNNAMED);
        out.put(b"\r\n");
    }

    /// A stored message in JSON. What may not be had is answered with an error, so that the request fails at once.
    pub(super) fn open_stored(
        &self,
        snapshot: &Snapshot,
        message: &Message<'_>,
        out: &mut Buffer,
    ) -> Result<(), Kid> {
        let shared = &self.worker.shared;
        let terms = Terms {
            strict: |keyring| !shared.accepts_plaintext(snapshot.policy(), keyring),
            shut: Shut {
                policy: snapshot.policy(),
                deaf: &self.deaf,
            },
        };
        let mut answer = Buffer::new();
        let json = message.payload;
        let link = self.link.borrow();
        let named = link
            .replies
            .asked(message.subject, self.now)
            .and_then(Asked::named);
        let is_other =
            |subject: &[u8]| named.is_some_and(|named| named != link.replies.name(subject));
        let found = stored::open(
            snapshot,
            &mut self.lanes.borrow_mut(),
            (json, is_other),
            &terms,
            &mut answer,
        );
        drop(link);
        let found = match found {
            Ok(found) => found,
            Err(kid) if self.is_absent(kid) => {
                stored::unopened(self.misses.cause(kid, self.now), &mut answer)
            }
            Err(kid) => return Err(kid),
        };
        match found {
            Found::Plain => {
                self.pass(snapshot, message, out);
                return Ok(());
            }
            Found::Opened(keyring, len) => {
                let meters = self.worker.meters.keyring(Some(keyring.index()));
                meters.opened.add(len);
            }
            Found::Withheld(keyring, cause) => {
                self.tell_withheld(snapshot, (keyring, cause), message);
            }
        }
        replace(message, answer.filled(), out);
        Ok(())
    }

    /// The configuration of streams: what agents wrote, and what the server stored is larger by the overhead.
    pub(super) fn narrow_config(
        &self,
        snapshot: &Snapshot,
        message: &Message<'_>,
        out: &mut Buffer,
    ) {
        let policy = snapshot.policy();
        let mut answer = Buffer::new();
        let sealed = |what: Holds<'_>| meaning::holds_sealed(policy, what);
        if jetstream::narrow_max_msg_size(message.payload, OVERHEAD, sealed, &mut answer) {
            replace(message, answer.filled(), out);
        } else {
            self.pass(snapshot, message, out);
        }
    }

    /// A delivery of headers alone: `Nats-Msg-Size` is the envelope's.
    pub(super) fn narrow_size(&self, snapshot: &Snapshot, message: &Message<'_>, out: &mut Buffer) {
        let narrow = meaning::stored_size(message).and_then(|size| {
            let narrow = jetstream::narrow_msg_size(size.digits, OVERHEAD)?;
            Some((size, narrow))
        });
        match narrow {
            Some(narrow) => self.renumber(snapshot, narrow, message, out),
            None => self.pass(snapshot, message, out),
        }
    }

    /// The status of a pull: what is left of it has room for envelopes.
    pub(super) fn narrow_pending(
        &self,
        snapshot: &Snapshot,
        message: &Message<'_>,
        out: &mut Buffer,
    ) {
        let narrow = meaning::pending(message).and_then(|(pending, bytes)| {
            let replies = &mut self.link.borrow_mut().replies;
            let left = replies.left(message.subject, pending)?;
            Some((bytes, Decimal::new(usize::try_from(left).ok()?)))
        });
        match narrow {
            Some(narrow) => self.renumber(snapshot, narrow, message, out),
            None => self.pass(snapshot, message, out),
        }
    }

    /// Writes an empty message with another number in its headers.
    fn renumber(
        &self,
        snapshot: &Snapshot,
        (number, other): (Number<'_>, Decimal),
        message: &Message<'_>,
        out: &mut Buffer,
    ) {
        // Anybody can write the header: whoever asks with it must not be answered in the clear.
        if !self.admits(snapshot, message, out) {
            return;
        }
        let len = number.len_with(other.digits());
        write::message_anew(out, message, Some(len), 0);
        number.replace(other.digits(), out);
        out.put(b"\r\n");
        self.worker.meters.passed(Direction::Deliver).add(0);
    }
}

/// Writes the message with another payload.
fn replace(message: &Message<'_>, payload: &[u8], out: &mut Buffer) {
    let headers = message.headers.unwrap_or_default();
    let total = headers.len().saturating_add(payload.len());
    write::message(out, message.line, total);
    out.put(headers);
    out.put(payload);
    out.put(b"\r\n");
}
