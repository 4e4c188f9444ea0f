//! What happens when a message is withheld: the client may get a substitute, and a stream an answer.
//!
//! A stream's consumer waits for an acknowledgement that nobody will send. The keyring's `undecryptable` says how long that may go on
//! and what ends it.

use std::collections::HashMap;
use std::hash::BuildHasher as _;
use std::time::Instant;

use crate::dataplane::link::{Link, Reads, Told};
use crate::metrics::Cause;
use crate::policy::{AtLimit, Substitute, Undecryptable};
use crate::wire::jetstream::Delivery;
use crate::wire::{Buffer, Message, write};

use super::fate::is_envelope;

/// Names the cause in a substitute.
const HEADER: &str = "Keyway-Undecryptable";

/// How many stored messages are timed at once, by one worker.
const MOST: usize = 16_384;

/// Since when stored messages have been withheld, by a hash of where they are stored. When there are too many, all begin anew.
#[derive(Default)]
pub(in crate::dataplane) struct Withheld {
    hasher: foldhash::quality::RandomState,
    since: HashMap<u64, Instant, foldhash::fast::RandomState>,
}

impl Withheld {
    /// When this message was first withheld.
    fn first(&mut self, stored: &Delivery<'_>, now: Instant) -> Instant {
        if self.since.len() >= MOST {
            self.since.clear();
        }
        let place = (stored.origin, stored.stream, stored.sequence);
        let hash = self.hasher.hash_one(place);
        *self.since.entry(hash).or_insert(now)
    }
}

/// What is done about a withheld message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Done {
    /// The client gets nothing.
    Nothing,
    /// The client gets a substitute.
    Substitute,
    /// The stream delivers it no more.
    Terminated,
}

/// Decides what is done, and tells the stream, unless its `+OK` would reach the client.
pub(super) fn settle(
    rule: Undecryptable,
    message: &Message<'_>,
    (cause, now): (Cause, Instant),
    withheld: &mut Withheld,
    link: &mut Link,
) -> Done {
    // Somebody else may have it: whoever may not gets no envelope, and nothing is given up for their sake.
    let barred = cause == Cause::Identity;
    let done = match rule.deliver {
        Substitute::Envelope if !barred => Done::Substitute,
        Substitute::Envelope | Substitute::Nothing => Done::Nothing,
    };
    let stored = message.reply.and_then(Delivery::of);
    let (Some(reply), Some(stored)) = (message.reply, stored) else {
        return done;
    };
    let late = rule.limit.filter(|limit| {
        let since = withheld.first(&stored, now);
        !barred && now.saturating_duration_since(since) >= limit.after
    });
    match late.map(|limit| limit.then) {
        Some(AtLimit::Envelope) => Done::Substitute,
        _ if link.told == Told::Each => done,
        Some(AtLimit::Terminate) => {
            let reason = format!("+TERM keyway: {}", cause.word());
            write::own_publish(&mut link.to_server, reply, reason.as_bytes());
            Done::Terminated
        }
        None => {
            if let Some(delay) = rule.nak_delay.filter(|_delay| done == Done::Nothing) {
                let nak = format!("-NAK {{\"delay\":{}}}", delay.as_nanos());
                write::own_publish(&mut link.to_server, reply, nak.as_bytes());
            }
            done
        }
    }
}

/// Writes the message with its envelope as it is, or with nothing in place of a plaintext, and a header that names the cause. To a
/// client that reads no headers it is the message alone.
pub(super) fn substitute(message: &Message<'_>, cause: Cause, client: Reads, out: &mut Buffer) {
    let payload = if is_envelope(message.payload) {
        message.payload
    } else {
        b""
    };
    let mut block = Buffer::new();
    let headers = client == Reads::Headers;
    if headers {
        let end = |block: &'_ [u8]| block.len().saturating_sub(b"\r\n".len());
        let own = message.headers.unwrap_or(b"NATS/1.0\r\n\r\n");
        block.put(own.get(..end(own)).unwrap_or_default());
        block.put(format!("{HEADER}: {}\r\n\r\n", cause.word()).as_bytes());
    }
    write::message_anew(out, message, headers.then(|| block.len()), payload.len());
    out.put(block.filled());
    out.put(payload);
    out.put(b"\r\n");
}
