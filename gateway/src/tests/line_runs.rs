//! Runs of identical control lines take the fast path in both directions: messages that arrive in one batch must come out as if
//! each had arrived alone.

use std::cell::RefCell;
use std::sync::Arc;

use proptest::prelude::*;

use crate::clock::Clock;
use crate::dataplane::{
    Config, DeliverBatch, DeliverPath, Endpoints, PublishBatch, PublishPath, SessionState, Shared,
    Worker,
};
use crate::envelope::{Suite, VersionKey};
use crate::keyring::{Budget, Keys, LaneMap, Snapshot, Usage, Version, WorkerId};
use crate::policy::{Bind, Empty, Policy, Rule};
use crate::secret::Secret;
use crate::wire::{Buffer, ClientOp, ClientParser, Limits, Parsed, Publish};

const INFO: &[u8] = b"INFO {\"headers\":true,\"max_payload\":100}\r\n";
const CONNECT: &[u8] = b"CONNECT {\"verbose\":false,\"headers\":true}\r\n";

/// What a client publishes.
#[derive(Clone, Debug)]
struct Message {
    subject: &'static str,
    reply: Option<u8>,
    headers: bool,
    size: usize,
    spelling: Spelling,
    transit: Transit,
}

#[derive(Clone, Copy, Debug)]
enum Spelling {
    Usual,
    LeadingZero,
    LowerCase,
    TwoBlanks,
}

/// What happens to a message between the two gateways.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Transit {
    Unchanged,
    Tampered,
    Truncated,
    Plaintext,
    /// It arrives on another subject of its keyring.
    Moved,
}

/// A worker with one version of each keyring, and those versions.
fn worker(config: Config, policy: Policy) -> (Worker, Vec<Arc<Version>>) {
    let names = policy.keyrings().iter().map(|rule| rule.name.as_str());
    let versions = names.map(|name| {
        Arc::new(Version {
            keyring: policy.by_name(name).unwrap(),
            number: 1,
            label: format!("{name}.1"),
            suite: Suite::Aes256Gcm,
            key: VersionKey::derive(name, 1, &Secret::random().unwrap()),
            lanes: LaneMap::default(),
            usage: Usage::new(1),
            budget: Arc::new(Budget::unlimited(1)),
        })
    });
    let versions: Vec<_> = versions.collect();
    let snapshot = Snapshot::new(Arc::new(policy), versions.clone(), versions.clone(), 1);
    let (keys, _misses) = Keys::new(snapshot);
    let shared = Shared::new(config, Arc::new(keys), Clock::system());
    (Worker::new(WorkerId(0), Arc::new(shared)), versions)
}

/// Two keyrings: one with `bind = "keyring"` that seals empty payloads, and one for all other subjects.
fn two_keyrings() -> Policy {
    let loose = Rule {
        name: "loose".parse().unwrap(),
        subjects: vec!["a.bc".parse().unwrap(), "x.>".parse().unwrap()],
        bind: Bind::Keyring,
        empty: Empty::Seal,
        ..Rule::everything()
    };
    Policy::new(vec![Rule::everything(), loose], &[]).unwrap()
}

fn link(worker: &Worker) -> RefCell<SessionState> {
    RefCell::new(worker.session_state(Endpoints {
        client: None,
        gateway: None,
    }))
}

/// The output of the publish path of a new session, with one batch for each of `parts`.
fn published(worker: &Worker, parts: &[Vec<u8>]) -> Vec<u8> {
    let link = link(worker);
    DeliverPath::new(worker, &link).batch(&mut filled(INFO), &mut Buffer::new());
    let mut path = PublishPath::new(worker, &link);
    path.batch(&mut filled(CONNECT), &mut Buffer::new());
    let mut input = Buffer::new();
    let mut output = Buffer::new();
    for part in parts {
        input.put(part);
        let ended = path.batch(&mut input, &mut output);
        assert!(matches!(ended, PublishBatch::More(_)) && input.is_empty());
    }
    output.filled().to_vec()
}

/// The output of the deliver path of a new session, with one batch for each of `parts`.
fn delivered(worker: &Worker, parts: &[Vec<u8>]) -> Vec<u8> {
    let link = link(worker);
    let mut path = DeliverPath::new(worker, &link);
    path.batch(&mut filled(INFO), &mut Buffer::new());
    let mut input = Buffer::new();
    let mut output = Buffer::new();
    for part in parts {
        input.put(part);
        let ended = path.batch(&mut input, &mut output);
        assert!(matches!(ended, DeliverBatch::More(_)) && input.is_empty());
    }
    output.filled().to_vec()
}

fn filled(bytes: &[u8]) -> Buffer {
    let mut buffer = Buffer::new();
    buffer.put(bytes);
    buffer
}

impl Message {
    fn payload(&self) -> Vec<u8> {
        (b'a'..=b'z').cycle().take(self.size).collect()
    }

    fn headers(&self) -> &'static str {
        if self.headers {
            "NATS/1.0\r\nA: b\r\n\r\n"
        } else {
            ""
        }
    }

    /// As the client writes it.
    fn publish(&self) -> Vec<u8> {
        let (verb, gap, zero) = match self.spelling {
            Spelling::Usual => ("PUB", " ", ""),
            Spelling::LeadingZero => ("PUB", " ", "0"),
            Spelling::LowerCase => ("pub", " ", ""),
            Spelling::TwoBlanks => ("PUB", "  ", ""),
        };
        let h = if self.headers { "H" } else { "" };
        let sizes = self.sizes(self.size, zero);
        let line = format!("{h}{verb}{gap}{}{} {sizes}\r\n", self.subject, self.reply());
        [
            line.as_bytes(),
            self.headers().as_bytes(),
            &self.payload(),
            b"\r\n",
        ]
        .concat()
    }

    /// As a server delivers it with this payload.
    fn deliver(&self, payload: &[u8], zero: &str) -> Vec<u8> {
        let subject = match (self.transit, self.subject) {
            (Transit::Moved, "a.b") => "a.c",
            (Transit::Moved, "a.bc") => "x.y",
            (_, subject) => subject,
        };
        let h = if self.headers { "H" } else { "" };
        let sizes = self.sizes(payload.len(), zero);
        let line = format!("{h}MSG {subject} 7{} {sizes}\r\n", self.reply());
        [line.as_bytes(), self.headers().as_bytes(), payload, b"\r\n"].concat()
    }

    fn sizes(&self, payload: usize, zero: &str) -> String {
        let headers = self.headers().len();
        if self.headers {
            let total = headers.saturating_add(payload);
            format!("{headers} {zero}{total}")
        } else {
            format!("{zero}{payload}")
        }
    }

    fn reply(&self) -> String {
        self.reply
            .map_or(String::new(), |reply| format!(" reply.{reply}"))
    }

    fn zero(&self) -> &'static str {
        if matches!(self.spelling, Spelling::LeadingZero) {
            "0"
        } else {
            ""
        }
    }

    /// The server's delivery of what the gateway has published.
    fn carried(&self, publish: &Publish<'_>) -> Vec<u8> {
        assert_eq!(publish.subject, self.subject.as_bytes());
        let mut payload = publish.payload.to_vec();
        match self.transit {
            Transit::Unchanged | Transit::Moved => {}
            Transit::Tampered => payload.iter_mut().rev().take(1).for_each(|byte| *byte ^= 1),
            Transit::Truncated => payload.truncate(payload.len() / 2),
            Transit::Plaintext => payload = self.payload(),
        }
        self.deliver(&payload, self.zero())
    }

    /// Whether the client behind the second gateway gets it.
    fn arrives(&self) -> bool {
        self.transit == Transit::Unchanged || self.size == 0
    }
}

fn message() -> impl Strategy<Value = Message> {
    let spelling = prop_oneof![
        20 => Just(Spelling::Usual), 1 => Just(Spelling::LeadingZero),
        1 => Just(Spelling::LowerCase), 1 => Just(Spelling::TwoBlanks),
    ];
    let transit = prop_oneof![
        20 => Just(Transit::Unchanged), 1 => Just(Transit::Tampered), 1 => Just(Transit::Truncated), 1 => Just(Transit::Plaintext),
        2 => Just(Transit::Moved),
    ];
    let reply = prop_oneof![8 => Just(None), 1 => (0_u8..3).prop_map(Some)];
    let subject = prop_oneof![
        6 => Just("a.b"), 3 => Just("a.bc"), 1 => Just("x.y"), 1 => Just("$JS.hub.API.$KV.b.k"),
    ];
    // Up to the `max_payload` of 100 bytes in `INFO`, of which headers take 18 and an envelope 53.
    let size = prop_oneof![8 => 0_usize..30, 1 => 45_usize..48];
    (
        subject,
        reply,
        prop::bool::weighted(0.1),
        size,
        spelling,
        transit,
    )
        .prop_map(
            |(subject, reply, headers, size, spelling, transit)| Message {
                subject,
                reply,
                headers: headers && size < 30,
                size,
                spelling,
                transit,
            },
        )
}

/// Each publish in `bytes` as it is delivered.
fn through_the_bus(bytes: &[u8], messages: &[Message]) -> Vec<Vec<u8>> {
    let mut parser = ClientParser::new(Limits::default());
    parser.set_headers(true);
    let mut rest = bytes;
    let mut deliveries = Vec::new();
    for message in messages {
        let Ok(Parsed::Op {
            op: ClientOp::Publish(publish),
            len,
        }) = parser.next(rest)
        else {
            panic!("{:?} is no publish", rest.escape_ascii().to_string());
        };
        deliveries.push(message.carried(&publish));
        rest = &rest[len..];
    }
    assert!(rest.is_empty());
    deliveries
}

fn check_both_paths(messages: &[Message], config: &Config, policy: Policy) {
    let (worker, versions) = worker(config.clone(), policy);
    let counted = || {
        let usages = versions.iter().map(|version| &version.usage);
        let counts = usages.map(|usage| (usage.total(), usage.opened(), usage.failed_opens()));
        counts.collect::<Vec<_>>()
    };
    let mut counts = Vec::new();
    let mut arrived = Vec::new();
    let each: Vec<_> = messages.iter().map(Message::publish).collect();
    let expected: Vec<u8> = messages
        .iter()
        .filter(|message| config.relay_only || message.arrives())
        .flat_map(|message| message.deliver(&message.payload(), message.zero()))
        .collect();
    let whole = [each.concat()];
    for parts in [&whole[..], &each] {
        let published = published(&worker, parts);
        counts.push(counted());
        let deliveries = through_the_bus(&published, messages);
        let before = counted();
        let together = delivered(&worker, &[deliveries.concat()]);
        let between = counted();
        let alone = delivered(&worker, &deliveries);
        let after = counted();
        assert_eq!(shown(&together), shown(&alone));
        arrived.push(shown(&together));
        for ((before, between), after) in before.iter().zip(&between).zip(&after) {
            assert_eq!(
                between.1.wrapping_sub(before.1),
                after.1.wrapping_sub(between.1)
            );
            assert_eq!(
                between.2.wrapping_sub(before.2),
                after.2.wrapping_sub(between.2)
            );
        }
        let replies: Vec<_> = messages
            .iter()
            .filter_map(|message| message.reply)
            .collect();
        let distinct: std::collections::HashSet<_> = replies.iter().collect();
        // Only one request may be pending on a reply subject.
        let whole = messages
            .iter()
            .all(|message| message.transit == Transit::Unchanged);
        if whole && distinct.len() == replies.len() {
            assert_eq!(shown(&alone), shown(&expected));
        }
    }
    assert_eq!(arrived.first(), arrived.last());
    let [together, both] = &counts[..] else {
        panic!()
    };
    for (together, both) in together.iter().zip(both) {
        assert_eq!(both.0, together.0.plus(together.0));
    }
}

fn shown(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn messages_come_out_together_as_they_do_alone(messages in prop::collection::vec(message(), 0..40)) {
        check_both_paths(&messages, &Config::default(), Policy::everything());
        check_both_paths(&messages, &Config::default(), two_keyrings());
    }

    #[test]
    fn whole_messages_arrive_as_they_were_published(messages in prop::collection::vec(message(), 0..40)) {
        let whole = (0..).zip(messages).map(|(number, message)| Message {
            transit: Transit::Unchanged,
            reply: message.reply.map(|_| number),
            ..message
        });
        let whole: Vec<_> = whole.collect();
        check_both_paths(&whole, &Config::default(), Policy::everything());
        check_both_paths(&whole, &Config::default(), two_keyrings());
    }

    #[test]
    fn relay_carries_them_as_they_are(messages in prop::collection::vec(message(), 0..40)) {
        let whole: Vec<_> = messages.into_iter().map(|message| Message { transit: Transit::Unchanged, ..message }).collect();
        check_both_paths(&whole, &Config { relay_only: true, ..Config::default() }, Policy::everything());
    }
}
