//! Errors that the gateway injects for what it refuses, in their place in the stream; and whether the server has accepted the
//! client.
//!
//! Clients rely on the order of the server's `+OK`, `PONG` and messages. So a refused publish is replaced by a `PING`, and the
//! server's `PONG` to that by the error: `Permissions Violation for Publish`, on which no client closes. The `PONG` to a `PING`
//! sent behind a CONNECT says that the server has accepted it.

use std::collections::VecDeque;
use std::rc::Rc;

use tokio::sync::Notify;

use crate::wire::{Buffer, write};

use super::memory::MemoryReservation;

/// Errors that may wait for their `PONG`; beyond that the client is sent none.
const MOST: usize = 1024;

/// Bytes of waiting errors, `PLACE` included; beyond that the client is sent none.
pub(super) const MOST_BYTES: usize = 128 * 1024;

/// The most bytes that an error takes beside its text.
const PLACE: usize = 64;

/// The errors that wait for their `PONG`, and the count of `PING` and `PONG` by which it is found.
pub(super) struct InjectedErrors {
    reservation: Rc<MemoryReservation>,
    bytes: usize,
    pings: u64,
    pongs: u64,
    /// The number of a `PING`, and what replaces its `PONG`.
    waiting: VecDeque<(u64, PongReplacement)>,
    /// Whether a `PONG` has been delivered to the client.
    delivered_pong: bool,
    acceptance: Acceptance,
    /// Notified when the server has accepted the client.
    on_acceptance: Rc<Notify>,
}

/// Whether the server has accepted the client's last CONNECT.
#[derive(Clone, Copy, Default)]
enum Acceptance {
    /// It has, or it requires no authentication.
    #[default]
    Given,
    /// It has not, and no `PING` has been sent since.
    Due,
    /// It has with the `PONG` to the `PING` of this number.
    Asked(u64),
}

/// What replaces a `PONG` that is not the client's.
enum PongReplacement {
    /// This error.
    Error(Box<[u8]>),
    /// Nothing: the gateway asked for acceptance.
    Nothing,
    /// Nothing: it answers [`InjectedErrors::ping_last`].
    Last,
}

/// What a `PONG` of the server was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pong {
    /// Written to the client, replaced or dropped.
    Handled,
    /// The answer to [`InjectedErrors::ping_last`].
    Last,
}

impl InjectedErrors {
    pub(super) fn new(reservation: Rc<MemoryReservation>) -> Self {
        Self {
            reservation,
            bytes: 0,
            pings: 0,
            pongs: 0,
            waiting: VecDeque::new(),
            delivered_pong: false,
            acceptance: Acceptance::default(),
            on_acceptance: Rc::default(),
        }
    }

    #[cfg(test)]
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// A `PING` of the client is forwarded.
    pub(super) const fn ping(&mut self) {
        self.pings = self.pings.wrapping_add(1);
        if matches!(self.acceptance, Acceptance::Due) {
            self.acceptance = Acceptance::Asked(self.pings);
        }
    }

    /// The server may reject the client for what is sent next.
    pub(super) const fn await_acceptance(&mut self) {
        self.acceptance = Acceptance::Due;
    }

    pub(super) const fn has_accepted(&self) -> bool {
        matches!(self.acceptance, Acceptance::Given)
    }

    /// Sends a `PING` whose `PONG` shows acceptance, unless one is in flight.
    pub(super) fn ping_for_acceptance(&mut self, out: &mut Buffer) {
        if matches!(self.acceptance, Acceptance::Due) {
            self.ping();
            self.waiting
                .push_back((self.pings, PongReplacement::Nothing));
            write::ping(out);
        }
    }

    /// Notified when the server has accepted the client.
    pub(super) fn on_acceptance(&self) -> Rc<Notify> {
        Rc::clone(&self.on_acceptance)
    }

    /// Refuses a publish to `subject`: writes the `PING` in its place to `out`, for the server.
    pub(super) fn refuse(&mut self, subject: &[u8], out: &mut Buffer) {
        if !self.has_room(subject.len()) {
            return;
        }
        let subject = quoted(subject);
        self.put(
            format!("'Permissions Violation for Publish to {subject}'"),
            out,
        );
    }

    /// Refuses a publish because of its reply subject.
    pub(super) fn refuse_reply(&mut self, reply: &[u8], out: &mut Buffer) {
        let reply = quoted(reply);
        self.put(
            format!("'Permissions Violation for Publish with Reply of {reply}'"),
            out,
        );
    }

    /// Refuses a subscription.
    pub(super) fn refuse_subscription(
        &mut self,
        subject: &[u8],
        queue: Option<&[u8]>,
        out: &mut Buffer,
    ) {
        if !self.has_room(subject.len().saturating_add(queue.map_or(0, <[u8]>::len))) {
            return;
        }
        let subject = quoted(subject);
        let queue = queue.map(|queue| format!(" using queue {}", quoted(queue)));
        let queue = queue.unwrap_or_default();
        self.put(
            format!("'Permissions Violation for Subscription to {subject}{queue}'"),
            out,
        );
    }

    /// Whether one more error with a text of this length may wait.
    fn has_room(&self, text: usize) -> bool {
        let bytes = self.bytes.saturating_add(PLACE).saturating_add(text);
        self.waiting.len() < MOST && bytes <= MOST_BYTES
    }

    fn put(&mut self, text: String, out: &mut Buffer) {
        let bytes = PLACE.saturating_add(text.len());
        if self.has_room(text.len()) && self.reservation.grow(bytes) {
            self.bytes = self.bytes.saturating_add(bytes);
            self.ping();
            let error = PongReplacement::Error(text.into_bytes().into_boxed_slice());
            self.waiting.push_back((self.pings, error));
            write::ping(out);
        }
    }

    /// Sends the last `PING`: its `PONG` shows that the server has processed everything before it.
    pub(super) fn ping_last(&mut self, out: &mut Buffer) {
        self.ping();
        self.waiting.push_back((self.pings, PongReplacement::Last));
        write::ping(out);
    }

    /// Whether a `PONG` has been delivered to the client.
    pub(super) const fn has_delivered_pong(&self) -> bool {
        self.delivered_pong
    }

    /// The server sent a `PONG`: writes it, or what replaces it, to `out`, for the client.
    pub(super) fn pong(&mut self, out: &mut Buffer) -> Pong {
        self.pongs = self.pongs.wrapping_add(1);
        if matches!(self.acceptance, Acceptance::Asked(number) if number == self.pongs) {
            self.acceptance = Acceptance::Given;
            self.on_acceptance.notify_one();
        }
        match self
            .waiting
            .pop_front_if(|(number, _)| *number == self.pongs)
        {
            Some((_, PongReplacement::Last)) => return Pong::Last,
            Some((_, PongReplacement::Nothing)) => {}
            Some((_, PongReplacement::Error(text))) => {
                let bytes = PLACE.saturating_add(text.len());
                self.bytes = self.bytes.saturating_sub(bytes);
                self.reservation.shrink(bytes);
                write::err(out, &text);
            }
            None => {
                self.delivered_pong = true;
                write::pong(out);
            }
        }
        Pong::Handled
    }
}

/// `text` quoted as by nats-server: Go's `%q`.
fn quoted(text: &[u8]) -> String {
    let mut out = String::from("\"");
    for chunk in text.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '"' | '\\' => out.extend(['\\', c]),
                '\u{7}' => out.push_str("\\a"),
                '\u{8}' => out.push_str("\\b"),
                '\u{B}' => out.push_str("\\v"),
                '\u{C}' => out.push_str("\\f"),
                c if c.is_ascii_control() => out.push_str(&format!("\\x{:02x}", u32::from(c))),
                c if c.is_control() => out.push_str(&format!("\\u{:04x}", u32::from(c))),
                c => out.push(c),
            }
        }
        for byte in chunk.invalid() {
            out.push_str(&format!("\\x{byte:02x}"));
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataplane::memory::MemoryPool;

    fn none() -> (InjectedErrors, Buffer, Buffer) {
        let injected_errors = InjectedErrors::new(MemoryPool::new(0).open());
        (injected_errors, Buffer::new(), Buffer::new())
    }

    #[test]
    fn refusals_that_the_server_does_not_answer_are_bounded_in_bytes_and_paid_for() {
        let reservation = MemoryPool::new(usize::MAX).open();
        let mut injected_errors = InjectedErrors::new(Rc::clone(&reservation));
        let (mut server, mut client) = (Buffer::new(), Buffer::new());
        for length in [65_536, 20_000, 100, 10] {
            let subject = vec![0xFF; length];
            for _ in 0..1000 {
                injected_errors.refuse(&subject, &mut server);
                injected_errors.refuse_subscription(&subject, Some(&subject), &mut server);
            }
        }
        let held = reservation.held();
        assert!(held > MOST_BYTES / 2 && held <= MOST_BYTES, "{held}");
        assert_eq!(held, injected_errors.bytes());
        let pings = server.len() / b"PING\r\n".len();
        for _ in 0..pings {
            assert_eq!(injected_errors.pong(&mut client), Pong::Handled);
        }
        assert_eq!((reservation.held(), injected_errors.bytes()), (0, 0));
        assert!(
            !injected_errors.has_delivered_pong(),
            "each pong was an error's"
        );
    }

    #[test]
    fn error_takes_the_place_of_its_pong_and_of_no_other() {
        let (mut injected_errors, mut server, mut client) = none();
        let (server, client) = (&mut server, &mut client);
        injected_errors.ping();
        injected_errors.refuse(b"a.b", server);
        injected_errors.ping();
        assert_eq!(server.filled(), b"PING\r\n");
        for _ in 0..3 {
            assert_eq!(injected_errors.pong(client), Pong::Handled);
        }
        let error = "-ERR 'Permissions Violation for Publish to \"a.b\"'";
        let expected = format!("PONG\r\n{error}\r\nPONG\r\n");
        assert_eq!(client.filled(), expected.as_bytes());
    }

    #[test]
    fn refused_subscription_is_told_as_the_server_tells_it() {
        let (mut injected_errors, mut server, mut client) = none();
        injected_errors.refuse_subscription(b"a.>", None, &mut server);
        injected_errors.refuse_subscription(b"a\"\\\x01\xff\xc3\xa4", Some(b"q"), &mut server);
        assert_eq!(server.filled(), b"PING\r\nPING\r\n");
        injected_errors.pong(&mut client);
        injected_errors.pong(&mut client);
        let expected = "-ERR 'Permissions Violation for Subscription to \"a.>\"'\r\n\
            -ERR 'Permissions Violation for Subscription to \"a\\\"\\\\\\x01\\xffä\" using queue \"q\"'\r\n";
        assert_eq!(client.filled(), expected.as_bytes());
    }

    #[test]
    fn last_pong_is_swallowed_and_those_before_it_are_the_client_s() {
        let (mut injected_errors, mut server, mut client) = none();
        let (server, client) = (&mut server, &mut client);
        injected_errors.ping();
        injected_errors.ping_last(server);
        assert!(!injected_errors.has_delivered_pong());
        assert_eq!(injected_errors.pong(client), Pong::Handled);
        assert!(injected_errors.has_delivered_pong());
        assert_eq!(injected_errors.pong(client), Pong::Last);
        assert_eq!(client.filled(), b"PONG\r\n");
    }

    #[test]
    fn server_accepts_by_the_pong_to_the_first_ping_behind_a_connect() {
        let (mut injected_errors, mut server, mut client) = none();
        let (server, client) = (&mut server, &mut client);
        assert!(injected_errors.has_accepted());
        injected_errors.ping();
        injected_errors.await_acceptance();
        injected_errors.ping_for_acceptance(server);
        injected_errors.ping_for_acceptance(server);
        assert_eq!(server.filled(), b"PING\r\n");
        injected_errors.ping();
        injected_errors.pong(client);
        assert!(!injected_errors.has_accepted());
        injected_errors.pong(client);
        assert!(injected_errors.has_accepted());
        assert_eq!(client.filled(), b"PONG\r\n");
        injected_errors.pong(client);
        assert_eq!(client.filled(), b"PONG\r\nPONG\r\n");
    }

    #[test]
    fn ping_of_the_client_s_own_asks_too() {
        let (mut injected_errors, mut server, mut client) = none();
        injected_errors.await_acceptance();
        injected_errors.ping();
        injected_errors.ping_for_acceptance(&mut server);
        assert!(server.is_empty() && !injected_errors.has_accepted());
        injected_errors.pong(&mut client);
        assert!(injected_errors.has_accepted());
    }
}
