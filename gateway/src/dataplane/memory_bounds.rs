//! Tests: the state of a session, filled as a hostile client or an attacker on the bus would fill it, stays within its bounds.
//!
//! These are the rows of the table in docs/memory.md, without bytes in hand, which `limits.pending` bounds.

#![expect(
    clippy::arithmetic_side_effects,
    reason = "a test's counts are its own"
)]

use std::cell::RefCell;
use std::sync::Arc;

use super::memory::MOST;
use super::{
    Config, Credential, DeliverBatch, DeliverPath, Endpoints, PublishBatch, PublishPath,
    SessionState, Shared, Worker,
};
use crate::clock::Clock;
use crate::envelope::{OVERHEAD, Suite, VersionKey};
use crate::keyring::{Budget, Keys, LaneMap, Snapshot, Usage, Version, WorkerId};
use crate::policy::{AtLimit, Clients, Limit, MAX_NAME_LEN, Policy, Rule, Undecryptable};
use crate::secret::Secret;
use crate::wire::Buffer;

/// The memory of one table: its bytes now, and its bound.
pub(super) struct MemoryUse {
    pub(super) what: &'static str,
    pub(super) bytes: usize,
    pub(super) bound: usize,
}

const KIB: usize = 1024;

/// Everybody may publish on `open.>`, nobody on `shut.>`.
fn worker() -> Worker {
    let rule = |name: &str, publish_by| Rule {
        name: name.parse().unwrap(),
        subjects: vec![format!("{name}.>").parse().unwrap()],
        publish_by,
        undecryptable: Undecryptable {
            nak_delay: Some(std::time::Duration::from_secs(1)),
            limit: Some(Limit {
                after: std::time::Duration::from_secs(60),
                then: AtLimit::Terminate,
            }),
            ..Undecryptable::default()
        },
        ..Rule::everything()
    };
    let rules = vec![
        rule("open", Clients::Everybody),
        rule("shut", Clients::These(Vec::new())),
    ];
    let policy = Arc::new(Policy::new(rules, &[]).unwrap());
    let version = Arc::new(Version {
        keyring: policy.by_name("open").unwrap(),
        number: 1,
        label: String::new(),
        suite: Suite::Aes256Gcm,
        key: VersionKey::derive("open", 1, &Secret::random().unwrap()),
        lanes: LaneMap::default(),
        usage: Usage::new(1),
        budget: Arc::new(Budget::unlimited(1)),
    });
    let (keys, _misses) = Keys::new(Snapshot::new(policy, vec![version], Vec::new(), 1));
    let config = Config {
        verified: vec![Credential::User],
        ..Config::default()
    };
    let shared = Shared::new(config, Arc::new(keys), Clock::system());
    Worker::new(WorkerId(0), Arc::new(shared))
}

fn state(worker: &Worker) -> RefCell<SessionState> {
    RefCell::new(worker.session_state(Endpoints {
        client: None,
        gateway: None,
    }))
}

/// Publishes `input`; returns the last batch for the server.
fn publish(path: &mut PublishPath<'_>, input: &[u8]) -> Vec<u8> {
    let (mut buffer, mut output) = (Buffer::new(), Buffer::new());
    buffer.put(input);
    while matches!(path.batch(&mut buffer, &mut output), PublishBatch::Full) {
        output.clear();
    }
    assert!(buffer.is_empty());
    output.filled().to_vec()
}

/// Delivers `input`; returns how often a key version was waited for.
fn deliver(path: &mut DeliverPath<'_>, input: &[u8]) -> usize {
    let (mut buffer, mut waits) = (Buffer::new(), 0);
    buffer.put(input);
    loop {
        match path.batch(&mut buffer, &mut Buffer::new()) {
            DeliverBatch::Miss(kid) => {
                waits += 1;
                path.give_up(kid, None);
            }
            DeliverBatch::Full => {}
            DeliverBatch::More(_) | DeliverBatch::Malformed | DeliverBatch::Drained => break,
        }
    }
    assert!(buffer.is_empty());
    waits
}

/// A forged envelope with an unknown kid.
fn forged(number: u64) -> Vec<u8> {
    let mut envelope = vec![0xFA, 0x4B, 0x11, 1];
    envelope.extend_from_slice(&number.to_be_bytes());
    envelope.resize(OVERHEAD + 5, 0);
    envelope
}

fn message(subject: &str, reply: &str, payload: &[u8]) -> Vec<u8> {
    let line = format!("MSG {subject} 1 {reply} {}\r\n", payload.len());
    [line.as_bytes(), payload, b"\r\n"].concat()
}

fn fill(publishes: &mut PublishPath<'_>, delivers: &mut DeliverPath<'_>) {
    let info = format!(
        "INFO {{\"headers\":true,\"auth_required\":true,\"api_lvl\":2,\"max_payload\":1048576,\"nonce\":\"{}\"}}\r\n",
        "n".repeat(900 * KIB)
    );
    deliver(delivers, info.as_bytes());
    let name = "u".repeat(MAX_NAME_LEN);
    let connect =
        format!("CONNECT {{\"verbose\":false,\"user\":\"{name}\",\"pass\":\"{name}\"}}\r\n");
    drop(publish(publishes, connect.as_bytes()));
    drop(publish(publishes, b"PING\r\n"));
    deliver(delivers, b"PONG\r\n");
    for (length, refused) in [(60 * KIB, 3), (900, 200), (10, 2000)] {
        let subject = |first: &str| format!("{first}.{}", "\u{1}".repeat(length));
        let one = |first: &str| format!("PUB {} 1\r\n?\r\n", subject(first)).into_bytes();
        drop(publish(publishes, &one("shut").repeat(refused)));
        for _ in 0..3 {
            let sealed = publish(publishes, &one("open"));
            let sealed = sealed.strip_suffix(b"\r\n").unwrap();
            let envelope = &sealed[sealed.len() - OVERHEAD - 1..];
            deliver(delivers, &message(&subject("open"), "", envelope).repeat(3));
        }
    }
    let mut waits = 0;
    for number in 0..20_000 {
        let reply = format!("$JS.ACK.S.c.1.{number}.1.{number}.0");
        waits += deliver(delivers, &message("open.a", &reply, &forged(number)));
    }
    // A slow machine may take more than the second for which sixteen are remembered.
    assert!((16..2000).contains(&waits), "{waits}");
    for number in 0..20_000 {
        let request = format!("PUB open.ask _INBOX.own.{number} 0\r\n\r\n");
        drop(publish(publishes, request.as_bytes()));
        let body = if number % 2 == 0 {
            ""
        } else {
            r#"{"batch":99,"max_bytes":1}"#
        };
        let pull = format!(
            "PUB $JS.API.CONSUMER.MSG.NEXT.S.C _INBOX.{number}.1 {}\r\n{body}\r\n",
            body.len()
        );
        drop(publish(publishes, pull.as_bytes()));
        let body = r#"{"seq":1,"batch":9}"#;
        let get = format!(
            "PUB $JS.API.DIRECT.GET.S _INBOX.{number}.2 {}\r\n{body}\r\n",
            body.len()
        );
        drop(publish(publishes, get.as_bytes()));
        let subscription = format!("SUB open.own.{number} {number}\r\nUNSUB {number} 1\r\n");
        drop(publish(publishes, subscription.as_bytes()));
        let reply = format!("_INBOX.other.{number}");
        deliver(delivers, &message("open.ask", &reply, b""));
    }
}

#[test]
fn whatever_a_session_makes_the_gateway_remember_is_bounded_in_bytes_and_given_back() {
    let worker = worker();
    let before = worker.memory.left();
    let state = state(&worker);
    let mut publishes = PublishPath::new(&worker, &state);
    let mut delivers = DeliverPath::new(&worker, &state);
    fill(&mut publishes, &mut delivers);
    let mut all = state.borrow().memory_use();
    all.extend(publishes.memory_use());
    all.extend(delivers.memory_use());
    for MemoryUse { what, bytes, bound } in &all {
        assert!(bytes <= bound, "{what}: {bytes} bytes, and {bound} may be");
        assert!(*bytes > 0, "{what} was not filled");
    }
    let held = state.borrow().reservation.held();
    assert!(held <= MOST, "{held}");
    assert!(worker.memory.left() < before);
    drop((publishes, delivers));
    drop(state);
    assert_eq!(worker.memory.left(), before);
}

#[test]
fn sessions_that_fill_everything_leave_the_others_their_floor() {
    let worker = worker();
    let greedy: Vec<_> = std::iter::from_fn(|| {
        let state = state(&worker);
        while state.borrow().reservation.grow(64 * KIB) {}
        (worker.memory.left() >= 64 * KIB).then_some(state)
    })
    .collect();
    assert!(greedy.len() > 16);
    let modest = state(&worker);
    let mut path = PublishPath::new(&worker, &modest);
    let mut other = DeliverPath::new(&worker, &modest);
    deliver(
        &mut other,
        b"INFO {\"headers\":true,\"max_payload\":1048576}\r\n",
    );
    publish(
        &mut path,
        b"CONNECT {\"verbose\":false}\r\nPUB shut.a 1\r\n?\r\n",
    );
    assert!(modest.borrow().injected_errors.bytes() > 0);
}
