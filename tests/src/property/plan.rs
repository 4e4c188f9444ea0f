//! The steps that agents carry out, and how they are drawn.

use super::draw::Draw;
use std::fmt;

/// How many agents there are. The even ones publish through one gateway, the odd ones through the other.
pub const AGENTS: usize = 4;

/// One action of one agent. Subjects and filters lack the prefix that names the case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The number of the agent.
    pub agent: usize,
    /// Its action.
    pub act: Act,
}

/// Actions of an agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
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
pub fn steps(draw: &mut Draw, count: usize) -> Vec<Step> {
    (0..count)
        .map(|_| Step {
            agent: draw.below(AGENTS),
            act: act(draw),
        })
        .collect()
}

fn act(draw: &mut Draw) -> Act {
    match draw.below(21) {
        0..=3 => Act::Subscribe(draw.one(&FILTERS), draw.below(6)),
        4 => {
            let max = draw.below(4);
            Act::Unsubscribe(draw.below(6), (max > 0).then_some(max))
        }
        5..=8 => Act::Publish(draw.one(&SUBJECTS), body(draw)),
        9..=10 => Act::Request(draw.one(&SUBJECTS), inbox(draw), body(draw)),
        11..=12 => Act::Answer(body(draw)),
        13 => Act::Store(draw.one(&STORED), inbox(draw), body(draw)),
        14 => Act::StoreOnce(draw.below(3), body(draw)),
        15 => Act::Fetch,
        16 => Act::Acknowledge,
        17 => Act::Put(draw.one(&KEYS), body(draw)),
        18 => Act::Get(draw.one(&KEYS)),
        19 => Act::Message(draw.one(&KEYS)),
        _ => Act::Delete(draw.one(&KEYS)),
    }
}

fn inbox(draw: &mut Draw) -> Inbox {
    draw.one(&[Inbox::Usual, Inbox::Usual, Inbox::Custom])
}

fn body(draw: &mut Draw) -> Body {
    Body {
        headers: draw.one(&HEADERS),
        payload: payload(draw),
    }
}

fn payload(draw: &mut Draw) -> Vec<u8> {
    match draw.below(8) {
        0 => Vec::new(),
        1 => vec![draw.one(b"\0+{\xFA")],
        2 => b"{\"stream\":\"orders\",\"seq\":7}".to_vec(),
        3 => [&[0xFA, 0x4B, 0x11, 1], &draw.bytes(60)[..]].concat(),
        4 => b"MSG a.x 1 5\r\nhello\r\n".to_vec(),
        5 => {
            let count = draw.below(6000);
            draw.bytes(count)
        }
        _ => {
            let count = 1 + draw.below(40);
            draw.bytes(count)
        }
    }
}
