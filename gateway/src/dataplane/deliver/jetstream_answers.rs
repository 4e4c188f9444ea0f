//! Answers of JetStream with sizes and stored messages, rewritten to those of plaintext.

use crate::dataplane::headers;
use crate::dataplane::replies::PublishedRequest;
use crate::envelope::{Kid, OVERHEAD};
use crate::metrics::{Cause, Direction};
use crate::policy::KeyringId;
use crate::wire::header::{self, DirectGetHeaders, HeaderNumber};
use crate::wire::jetstream::{Delivery, StoredFrom};
use crate::wire::write::Decimal;
use crate::wire::{Buffer, Message, jetstream, write};

use super::decision::Decision;
use super::leak_check::LeakCheck;
use super::msg_get::{self, MsgGetOutcome, MsgGetRules};
use super::path::{DeliverPath, Incoming};

/// What a client gets in place of an answer of JetStream's API under a prefix that the configuration does not name. The code is
/// that of nats-server's `JSStreamGeneralErrorF`.
const UNKNOWN_API_PREFIX: &[u8] = br#"{"type":"io.nats.jetstream.api.v1.error_response","error":{"code":500,"err_code":10051,"description":"keyway: this prefix of JetStream's API is not known here, so that the request was sealed: name it in jetstream.api-prefixes, and reload"}}"#;

/// A number in a message's headers, and what it becomes.
type Renumbered<'m> = (HeaderNumber<'m>, u64);

impl DeliverPath<'_> {
    /// Replaces an API response to a request under an unknown prefix by an error.
    pub(super) fn unknown_api_prefix(
        &self,
        keyring: KeyringId,
        incoming: Incoming<'_>,
        out: &mut Buffer,
    ) {
        self.tell_withheld((Some(keyring), Cause::ApiPrefix), incoming);
        write::message_with_lengths(out, incoming.message, None, UNKNOWN_API_PREFIX.len());
        out.put(UNKNOWN_API_PREFIX);
        out.put(b"\r\n");
    }

    /// Opens the stored message in an answer to `STREAM.MSG.GET`. One that is withheld becomes an error, so that the request
    /// fails at once.
    pub(super) fn open_stored(&self, incoming: Incoming<'_>, out: &mut Buffer) -> Result<(), Kid> {
        let Incoming { snapshot, message } = incoming;
        let shared = &self.worker.shared;
        let state = self.state.borrow();
        let rules = MsgGetRules {
            strict: |keyring| !shared.accepts_plaintext(snapshot.policy(), keyring),
            leak_check: LeakCheck {
                policy: snapshot.policy(),
                deliver_denied: &state.identity.deliver_denied,
            },
        };
        let mut answer = Buffer::new();
        let json = message.payload;
        let named = state
            .replies
            .request_on(message.subject, self.now)
            .and_then(PublishedRequest::named);
        let is_other =
            |subject: &[u8]| named.is_some_and(|named| named != state.replies.short_hash(subject));
        let found = msg_get::open(
            snapshot,
            &mut self.lanes.borrow_mut(),
            (json, is_other),
            &rules,
            &mut answer,
        );
        drop(state);
        let found = match found {
            Ok(found) => found,
            Err(kid) if self.is_absent(kid) => {
                msg_get::unopened(self.misses.cause(kid, self.now), &mut answer)
            }
            Err(kid) => return Err(kid),
        };
        match found {
            MsgGetOutcome::Plain => {
                self.pass(incoming, out);
                return Ok(());
            }
            MsgGetOutcome::Opened(keyring, len) => {
                let meters = self.worker.meters.keyring(Some(keyring.index()));
                meters.opened.add(len);
            }
            MsgGetOutcome::Withheld(keyring, cause) => {
                self.tell_withheld((keyring, cause), incoming);
            }
        }
        replace(message, answer.filled(), out);
        Ok(())
    }

    /// Reduces `max_msg_size` in the configuration of streams to what clients wrote: the server has it with the overhead.
    pub(super) fn narrow_config(&self, incoming: Incoming<'_>, out: &mut Buffer) {
        let policy = incoming.snapshot.policy();
        let sealed = |what: StoredFrom<'_>| headers::holds_sealed(policy, what);
        let narrow = |answer: &mut Buffer| {
            jetstream::narrow_max_msg_size(incoming.message.payload, OVERHEAD, sealed, answer)
        };
        self.rewrite(narrow, incoming, out);
    }

    /// The configuration of consumers: what agents wrote.
    pub(super) fn narrow_limits(&self, incoming: Incoming<'_>, out: &mut Buffer) {
        let json = incoming.message.payload;
        let narrow = |answer: &mut Buffer| jetstream::narrow_limits(json, OVERHEAD, answer);
        self.rewrite(narrow, incoming, out);
    }

    /// Reduces `Nats-Pending-Bytes` in the status of a pull, which was widened for envelopes.
    pub(super) fn narrower_pending<'m>(&self, message: &Message<'m>) -> Option<Renumbered<'m>> {
        let (pending, bytes) = headers::pending(message)?;
        let replies = &mut self.state.borrow_mut().replies;
        let left = replies.pull_bytes_left(message.subject, pending)?;
        Some((bytes, left))
    }

    /// Whether a direct get of plaintext would have ended before this message.
    pub(super) fn is_surplus(&self, message: &Message<'_>) -> bool {
        let Some(stored) = self.of_batch(message) else {
            return false;
        };
        let Some(pending) = stored.pending else {
            return false;
        };
        let replies = &mut self.state.borrow_mut().replies;
        replies.is_surplus(message.subject, (stored.sequence, pending))
    }

    /// Counts a message of a direct get that was forwarded. One that is withheld does not count, as anybody can send those.
    pub(super) fn count_batched(&self, decision: Decision, message: &Message<'_>) {
        let Some(stored) = self.of_batch(message) else {
            return;
        };
        let overhead = if matches!(decision, Decision::Open(_)) {
            OVERHEAD
        } else {
            0
        };
        let beside = stored.subject.len().saturating_add(stored.stored_len);
        let bytes = beside
            .saturating_add(message.payload.len())
            .saturating_sub(overhead);
        let replies = &mut self.state.borrow_mut().replies;
        replies.batch_forwarded(message.subject, &stored, bytes);
    }

    /// The server's headers of a stored message, while a direct get of several messages is under way.
    fn of_batch<'m>(&self, message: &Message<'m>) -> Option<DirectGetHeaders<'m>> {
        let headers = message.headers?;
        let awaits = self.state.borrow().replies.awaits_batches();
        awaits
            .then(|| header::direct_get_headers(headers))
            .flatten()
    }

    /// Writes the status that ends a direct get, with the numbers of the last message that the client got.
    pub(super) fn end_batch(&self, incoming: Incoming<'_>, out: &mut Buffer) {
        let message = incoming.message;
        let headers = message.headers.unwrap_or_default();
        let last = header::number(headers, b"Nats-Last-Sequence");
        let last = last.and_then(|number| number.value());
        let mut state = self.state.borrow_mut();
        let ended = state.replies.batch_ended(message.subject, last);
        drop(state);
        let Some(end) = ended.filter(|_| header::status(headers) == Some(b"204")) else {
            return self.pass(incoming, out);
        };
        if !self.admit_or_withhold(incoming, out) {
            return;
        }
        let mut told = Buffer::new();
        told.put(headers);
        for (name, number) in [
            (&b"Nats-Num-Pending"[..], end.pending),
            (b"Nats-Last-Sequence", end.sequence),
        ] {
            let number = Decimal::new(usize::try_from(number).unwrap_or_default());
            let mut edited = Buffer::new();
            header::replace(told.filled(), name, number.digits(), &mut edited);
            told = edited;
        }
        write::message_with_lengths(out, message, Some(told.len()), 0);
        out.put(told.filled());
        out.put(b"\r\n");
        self.worker.meters.passed(Direction::Deliver).add(0);
    }

    /// Writes what `rewrite` makes of the payload; if it returns `false`, the message as it is.
    fn rewrite(
        &self,
        rewrite: impl FnOnce(&mut Buffer) -> bool,
        incoming: Incoming<'_>,
        out: &mut Buffer,
    ) {
        let mut answer = Buffer::new();
        if rewrite(&mut answer) {
            replace(incoming.message, answer.filled(), out);
        } else {
            self.pass(incoming, out);
        }
    }

    /// Writes an empty message with a number in its headers replaced; without one, as it is.
    pub(super) fn renumber(
        &self,
        narrow: Option<Renumbered<'_>>,
        incoming: Incoming<'_>,
        out: &mut Buffer,
    ) {
        let Some((number, other)) = narrow else {
            return self.pass(incoming, out);
        };
        // Anybody can write the header: a request that has it must not be answered in plaintext.
        if !self.admit_or_withhold(incoming, out) {
            return;
        }
        let other = Decimal::new(usize::try_from(other).unwrap_or_default());
        let len = number.len_with(other.digits());
        write::message_with_lengths(out, incoming.message, Some(len), 0);
        number.replace(other.digits(), out);
        out.put(b"\r\n");
        self.worker.meters.passed(Direction::Deliver).add(0);
    }
}

/// The status of a pull that asks for more than its consumer allows.
pub(super) fn narrower_limit<'m>(message: &Message<'m>) -> Option<Renumbered<'m>> {
    jetstream::exceeded(message.headers.unwrap_or_default(), OVERHEAD)
}

/// A delivery of headers alone: `Nats-Msg-Size` is the envelope's, unless it was stored before there were keys.
pub(super) fn narrower_size<'m>(incoming: Incoming<'m>) -> Option<Renumbered<'m>> {
    let Incoming { snapshot, message } = incoming;
    let delivery = message.reply.and_then(Delivery::of);
    let is_old = delivery.is_some_and(|delivery| snapshot.is_older_than_keys(delivery.time));
    let size = headers::stored_size(message).filter(|_| !is_old)?;
    Some((size, jetstream::narrow_msg_size(size.digits, OVERHEAD)?))
}

fn replace(message: &Message<'_>, payload: &[u8], out: &mut Buffer) {
    let headers = message.headers.unwrap_or_default();
    let total = headers.len().saturating_add(payload.len());
    write::message(out, message.line, total);
    out.put(headers);
    out.put(payload);
    out.put(b"\r\n");
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::sync::Arc;

    use super::*;
    use crate::clock::Clock;
    use crate::dataplane::{Config, Endpoints, Shared, Worker};
    use crate::keyring::{Keys, Snapshot, WorkerId};
    use crate::policy::{Policy, Rule};

    /// When the first key was generated.
    const MADE: u64 = 1_790_000_000_000_000_000;

    const TEN_MINUTES: u64 = 600_000_000_000;

    /// What the client gets of a delivery of headers alone whose message, of 500 bytes, was stored at `stored`.
    fn told(stored: u64) -> String {
        let policy = Arc::new(Policy::new(vec![Rule::everything()], &[]).unwrap());
        let snapshot = Snapshot::new(policy, Vec::new(), Vec::new(), 1).with_first_key(Some(MADE));
        let (keys, _misses) = Keys::new(snapshot);
        let shared = Shared::new(Config::default(), Arc::new(keys), Clock::system());
        let worker = Worker::new(WorkerId(0), Arc::new(shared));
        let state = RefCell::new(worker.session_state(Endpoints {
            client: None,
            gateway: None,
        }));
        let headers = "NATS/1.0\r\nNats-Msg-Size: 500\r\n\r\n";
        let len = headers.len();
        let line = format!("HMSG s.a 1 $JS.ACK.S.C.1.1.1.{stored}.0 {len} {len}\r\n{headers}\r\n");
        let (mut input, mut out) = (Buffer::new(), Buffer::new());
        input.put(line.as_bytes());
        DeliverPath::new(&worker, &state).batch(&mut input, &mut out);
        String::from_utf8(out.filled().to_vec()).unwrap()
    }

    #[test]
    fn size_of_what_was_stored_before_there_was_a_key_is_that_of_plaintext() {
        for (stored, size) in [
            (MADE - TEN_MINUTES - 1, "Nats-Msg-Size: 500\r\n"),
            (MADE - TEN_MINUTES, "Nats-Msg-Size: 452\r\n"),
            (MADE, "Nats-Msg-Size: 452\r\n"),
            (u64::MAX, "Nats-Msg-Size: 452\r\n"),
        ] {
            let told = told(stored);
            assert!(told.contains(size), "{stored}: {told}");
        }
    }
}
