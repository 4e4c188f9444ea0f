//! What the server says of stored messages and their sizes, as the agent that stored them would say it.

use crate::dataplane::meaning;
use crate::dataplane::replies::Asked;
use crate::envelope::{Kid, OVERHEAD};
use crate::keyring::Snapshot;
use crate::metrics::Direction;
use crate::wire::{Buffer, Message, header, jetstream, write};

use super::batch::DeliverPath;
use super::revealed::Shut;
use super::stored::{self, Found, Terms};

impl DeliverPath<'_> {
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
        let sealed = |subject: &[u8]| policy.seals_every(subject);
        if jetstream::narrow_max_msg_size(message.payload, OVERHEAD, sealed, &mut answer) {
            replace(message, answer.filled(), out);
        } else {
            self.pass(snapshot, message, out);
        }
    }

    /// A delivery of headers alone: `Nats-Msg-Size` is the envelope's.
    pub(super) fn narrow_size(&self, snapshot: &Snapshot, message: &Message<'_>, out: &mut Buffer) {
        let headers = message.headers.unwrap_or_default();
        let size = meaning::stored_size(headers);
        let Some(narrow) = size.and_then(|size| jetstream::narrow_msg_size(size, OVERHEAD)) else {
            return self.pass(snapshot, message, out);
        };
        let edit = header::Edit::Replace(narrow.digits());
        let len = header::edited_len(headers, meaning::SIZE, edit);
        // Anybody can write the header: whoever asks with it must not be answered in the clear.
        if !self.admits(snapshot, message, out) {
            return;
        }
        write::message_anew(out, message, Some(len), 0);
        header::edit(headers, meaning::SIZE, edit, out);
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
