//! The setting `undecryptable` of a keyring: what the client and the stream get when a message is withheld.
//!
//! A consumer waits for an acknowledgement that the client cannot send. The setting says after how long that ends, and how.

use std::time::{Duration, Instant};

use crate::dataplane::session_state::{ClientReads, SessionState, Verbosity};
use crate::dataplane::withheld_timers::{AccountTimers, NatsAccount, Timers};
use crate::metrics::Cause;
use crate::policy::{AtLimit, Substitute, Undecryptable};
use crate::wire::jetstream::Delivery;
use crate::wire::{Buffer, Message, write};

use super::decision::is_envelope;

/// How many bytes may wait for the server to read them. Beyond that a stream is told nothing, and redelivers after `ack_wait`.
pub(in crate::dataplane) const MOST_TO_SERVER: usize = 64 * 1024;

/// The header of a substitute that has the cause.
const HEADER: &str = "Keyway-Undecryptable";

/// How a withheld message is disposed of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Disposition {
    Nothing,
    Substitute,
    /// The stream was told `+TERM`: it does not redeliver the message.
    Terminated,
}

/// Decides by `rule`, and tells the stream, unless the client is verbose and would get an additional `+OK`.
pub(super) fn apply(
    rule: Undecryptable,
    message: &Message<'_>,
    (cause, now): (Cause, Instant),
    withheld: &mut AccountTimers,
    state: &mut SessionState,
) -> Disposition {
    // Another client may receive the message: a client that may not gets no envelope, and must not cause the message to be
    // terminated.
    let barred = cause == Cause::Identity;
    let disposition = match rule.deliver {
        Substitute::Envelope if !barred => Disposition::Substitute,
        Substitute::Envelope | Substitute::Nothing => Disposition::Nothing,
    };
    let stored = message.reply.and_then(Delivery::of);
    let (Some(reply), Some(stored)) = (message.reply, stored) else {
        return disposition;
    };
    let late = rule
        .limit
        .filter(|limit| !barred && is_late((&stored, limit.after), now, withheld, state));
    match late.map(|limit| limit.then) {
        Some(AtLimit::Envelope) => Disposition::Substitute,
        _ if state.verbosity == Verbosity::Verbose || state.to_server.len() >= MOST_TO_SERVER => {
            disposition
        }
        Some(AtLimit::Terminate) => {
            let reason = format!("+TERM keyway: {}", <&str>::from(cause));
            write::own_publish(&mut state.to_server, reply, reason.as_bytes());
            timers((withheld, state), now)
                .into_iter()
                .for_each(|timers| timers.remove(&stored));
            Disposition::Terminated
        }
        None => {
            if let Some(delay) = rule
                .nak_delay
                .filter(|_delay| disposition == Disposition::Nothing)
            {
                let nak = format!("-NAK {{\"delay\":{}}}", delay.as_nanos());
                write::own_publish(&mut state.to_server, reply, nak.as_bytes());
            }
            disposition
        }
    }
}

/// Whether the message has been withheld for as long as `after`, in the client's account.
fn is_late(
    (stored, after): (&Delivery<'_>, Duration),
    now: Instant,
    withheld: &mut AccountTimers,
    state: &mut SessionState,
) -> bool {
    let Some(timers) = timers((withheld, state), now) else {
        return false;
    };
    let since = timers.first_withheld(stored, now, after);
    now.saturating_duration_since(since) >= after
}

/// The timers of the client's account, or those of its connection where the account is not known.
fn timers<'t>(
    (withheld, state): (&'t mut AccountTimers, &'t mut SessionState),
    now: Instant,
) -> Option<&'t mut Timers> {
    match &state.nats_account {
        NatsAccount::Known(account) => withheld.of(account, now),
        NatsAccount::Unknown | NatsAccount::Ambiguous => Some(&mut state.timers),
    }
}

/// Writes the message with its envelope as it is, or without a payload if that is plaintext, and with a header that has the
/// cause, unless the client reads no headers.
pub(super) fn substitute(
    message: &Message<'_>,
    cause: Cause,
    client: ClientReads,
    out: &mut Buffer,
) {
    let payload = if is_envelope(message.payload) {
        message.payload
    } else {
        b""
    };
    let mut block = Buffer::new();
    let headers = client == ClientReads::Headers;
    if headers {
        let end = |block: &'_ [u8]| block.len().saturating_sub(b"\r\n".len());
        let own = message.headers.unwrap_or(b"NATS/1.0\r\n\r\n");
        block.put(own.get(..end(own)).unwrap_or_default());
        block.put(format!("{HEADER}: {}\r\n\r\n", <&str>::from(cause)).as_bytes());
    }
    write::message_with_lengths(out, message, headers.then(|| block.len()), payload.len());
    out.put(block.filled());
    out.put(payload);
    out.put(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::dataplane::address::Endpoints;
    use crate::dataplane::memory::MemoryPool;
    use crate::policy::Limit;

    const AFTER: Duration = Duration::from_secs(60);

    fn rule() -> Undecryptable {
        Undecryptable {
            limit: Some(Limit {
                after: AFTER,
                then: AtLimit::Terminate,
            }),
            ..Undecryptable::default()
        }
    }

    /// The state of a client whose account the server names so.
    fn client(account: Option<&str>) -> SessionState {
        let nowhere = Endpoints {
            client: None,
            gateway: None,
        };
        let mut state = SessionState::new(nowhere, MemoryPool::new(1 << 20).open());
        state.verbosity = Verbosity::Quiet;
        if let Some(account) = account {
            state.nats_account.set(account.as_bytes());
        }
        state
    }

    fn disposition(
        (state, reply): (&mut SessionState, &str),
        (cause, now): (Cause, Instant),
        withheld: &mut AccountTimers,
    ) -> Disposition {
        let message = Message {
            line: b"",
            subject: b"s",
            sid: b"1",
            reply: Some(reply.as_bytes()),
            headers: None,
            payload: b"?",
        };
        apply(rule(), &message, (cause, now), withheld, state)
    }

    /// The delivery of message 5 of `stream`, stored at `time`.
    fn reply(stream: &str, time: u64) -> String {
        format!("$JS.ACK.{stream}.c.1.5.9.{time}.0")
    }

    #[test]
    fn timer_is_that_of_the_message_in_its_account_and_no_other_starts_it() {
        let (mut withheld, start) = (AccountTimers::default(), Clock::system().instant());
        let (first, late) = (
            (Cause::Unauthentic, start),
            (Cause::Unauthentic, start + AFTER),
        );
        let nothing = Disposition::Nothing;
        let mut ours = client(Some("OURS"));
        // Another account's stream of the same name, one that was deleted, and connections whose account nobody knows.
        for (mut other, text) in [
            (client(Some("THEIRS")), reply("S", 7)),
            (client(Some("OURS")), reply("S", 6)),
            (client(Some("OURS")), reply("R", 7)),
            (client(None), reply("S", 7)),
        ] {
            assert_eq!(
                disposition((&mut other, &text), first, &mut withheld),
                nothing
            );
        }
        let text = reply("S", 7);
        assert_eq!(
            disposition((&mut ours, &text), late, &mut withheld),
            nothing
        );
        let later = (Cause::Unauthentic, start + AFTER + AFTER);
        let mut again = client(Some("OURS"));
        assert_eq!(
            disposition((&mut again, &text), later, &mut withheld),
            Disposition::Terminated
        );
        // A message that was terminated is timed anew, should it come again.
        assert_eq!(
            disposition((&mut again, &text), later, &mut withheld),
            nothing
        );
    }

    #[test]
    fn connection_whose_account_nobody_knows_counts_for_itself() {
        let (mut withheld, start) = (AccountTimers::default(), Clock::system().instant());
        let (mut first, mut second) = (client(None), client(None));
        let text = reply("S", 7);
        for state in [&mut first, &mut second] {
            let now = (Cause::UnknownKey, start);
            assert_eq!(
                disposition((state, &text), now, &mut withheld),
                Disposition::Nothing
            );
        }
        let late = (Cause::UnknownKey, start + AFTER + AFTER);
        assert_eq!(
            disposition((&mut first, &text), late, &mut withheld),
            Disposition::Terminated
        );
        assert_eq!(withheld.len(), 0);
    }

    #[test]
    fn withholding_for_identity_starts_no_timer() {
        let (mut withheld, start) = (AccountTimers::default(), Clock::system().instant());
        let text = reply("S", 7);
        let barred = (Cause::Identity, start);
        assert_eq!(
            disposition((&mut client(Some("OURS")), &text), barred, &mut withheld),
            Disposition::Nothing
        );
        assert_eq!(withheld.len(), 0);
        let late = (Cause::Unauthentic, start + AFTER);
        assert_eq!(
            disposition((&mut client(Some("OURS")), &text), late, &mut withheld),
            Disposition::Nothing
        );
    }
}
