//! The steps that agents carry out, and how they are drawn.

use super::rng::Rng;
use std::fmt;

/// How many agents there are. The even ones publish through one gateway, the odd ones through the other.
pub const AGENTS: usize = 4;

/// One action of one agent. Subjects and filters lack the prefix that names the case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The number of the agent.
    pub agent: usize,
    /// Its action.
    pub act: Action,
}

/// Actions of an agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// `SUB`, with this sid.
    Subscribe(&'static str, usize),
    /// `UNSUB`, after so many messages if it says so.
    Unsubscribe(usize, Option<usize>),
    /// `PUB` or `HPUB` without a reply subject.
    Publish(&'static str, Body),
    /// The same with a reply subject of this kind.
    Request(&'static str, Inbox, Body),
    /// Answers all requests that this agent has received.
    Answer(Body),
    /// Publishes to the stream and waits for the acknowledgement.
    Store(&'static str, Inbox, Body),
    /// Publishes to the stream with a message id, which may be a duplicate.
    StoreOnce(usize, Body),
    /// Fetches everything that the consumer has not delivered, or the status that there is nothing.
    Fetch,
    /// Acknowledges everything that was fetched.
    Acknowledge,
    /// Writes a value of the store.
    Put(&'static str, Body),
    /// Reads a value by a direct get.
    Get(&'static str),
    /// Reads a value by `STREAM.MSG.GET`.
    Message(&'static str),
    /// Deletes a value.
    Delete(&'static str),
}

/// Headers and payload.
#[derive(Clone, PartialEq, Eq)]
pub struct Body {
    /// The header block; no headers where it is empty.
    pub headers: &'static str,
    /// The payload.
    pub payload: Vec<u8>,
}

/// A reply subject of an agent's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inbox {
    /// `_INBOX.…`
    Usual,
    /// Below a custom inbox prefix.
    Custom,
}

impl fmt::Debug for Body {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:?} {}", self.headers, self.payload.escape_ascii())
    }
}

const FILTERS: [&str; 8] = ["a.x", "a.*", "*.x", "a.>", ">", "b.y", "*.*", "js.>"];
const SUBJECTS: [&str; 6] = ["a.x", "a.y", "b.x", "b.y", "a.x.z", "c"];
const STORED: [&str; 2] = ["js.x", "js.y"];
const KEYS: [&str; 2] = ["k", "l.m"];
const HEADERS: [&str; 5] = [
    "",
    "",
    "NATS/1.0\r\nA: b\r\n\r\n",
    "NATS/1.0\r\nA: b\r\nA: c\r\nTrace: 00-1\r\n\r\n",
    "NATS/1.0\r\n\r\n",
];

/// Draws this many steps.
pub fn steps(rng: &mut Rng, count: usize) -> Vec<Step> {
    (0..count)
        .map(|_| Step {
            agent: rng.below(AGENTS),
            act: act(rng),
        })
        .collect()
}

fn act(rng: &mut Rng) -> Action {
    match rng.below(21) {
        0..=3 => Action::Subscribe(rng.pick(&FILTERS), rng.below(6)),
        4 => {
            let max = rng.below(4);
            Action::Unsubscribe(rng.below(6), (max > 0).then_some(max))
        }
        5..=8 => Action::Publish(rng.pick(&SUBJECTS), body(rng)),
        9..=10 => Action::Request(rng.pick(&SUBJECTS), inbox(rng), body(rng)),
        11..=12 => Action::Answer(body(rng)),
        13 => Action::Store(rng.pick(&STORED), inbox(rng), body(rng)),
        14 => Action::StoreOnce(rng.below(3), body(rng)),
        15 => Action::Fetch,
        16 => Action::Acknowledge,
        17 => Action::Put(rng.pick(&KEYS), body(rng)),
        18 => Action::Get(rng.pick(&KEYS)),
        19 => Action::Message(rng.pick(&KEYS)),
        _ => Action::Delete(rng.pick(&KEYS)),
    }
}

fn inbox(rng: &mut Rng) -> Inbox {
    rng.pick(&[Inbox::Usual, Inbox::Usual, Inbox::Custom])
}

fn body(rng: &mut Rng) -> Body {
    Body {
        headers: rng.pick(&HEADERS),
        payload: payload(rng),
    }
}

fn payload(rng: &mut Rng) -> Vec<u8> {
    match rng.below(8) {
        0 => Vec::new(),
        1 => vec![rng.pick(b"\0+{\xFA")],
        2 => b"{\"stream\":\"orders\",\"seq\":7}".to_vec(),
        3 => [&[0xFA, 0x4B, 0x11, 1], &rng.bytes(60)[..]].concat(),
        4 => b"MSG a.x 1 5\r\nhello\r\n".to_vec(),
        5 => {
            let count = rng.below(6000);
            rng.bytes(count)
        }
        _ => {
            let count = 1 + rng.below(40);
            rng.bytes(count)
        }
    }
}
