//! Promise: sizes in JetStream's API are those of the bare server, in both directions; exceptions are listed here and in
//! docs/nats.md.
//!
//! The same requests go to a bare server and through a gateway that seals everything, and the answers are compared.

#![expect(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test stops at the first thing that is not as expected"
)]

use keyway_tests::frame::{Frame, split_frames};
use keyway_tests::gateway::Settings;
use keyway_tests::{Gateway, NatsServer, RawClient, wait};
use serde_json::{Value, json};
use std::net::SocketAddr;

/// What an envelope adds.
const OVERHEAD: i64 = 48;

/// A bare server, and a gateway in front of another.
struct SideBySide {
    _servers: [NatsServer; 2],
    _gateway: Gateway,
    bare: ApiClient,
    agent: ApiClient,
    /// A client on the gateway's server, without the gateway.
    stranger: ApiClient,
}

/// A client of the server's API.
struct ApiClient {
    raw: RawClient,
    asked: usize,
}

impl SideBySide {
    fn start() -> Self {
        Self::with("")
    }

    fn with(tables: &str) -> Self {
        let servers = [NatsServer::jetstream(), NatsServer::jetstream()];
        let settings = Settings {
            tables: tables.to_owned(),
            ..Settings::default()
        };
        let gateway = Gateway::start(&servers[1].url(), settings);
        Self {
            bare: ApiClient::new(servers[0].addr()),
            agent: ApiClient::new(gateway.addr()),
            stranger: ApiClient::new(servers[1].addr()),
            _servers: servers,
            _gateway: gateway,
        }
    }

    /// Makes the same request of the bare server and through the gateway.
    fn each<T>(&mut self, mut ask: impl FnMut(&mut ApiClient) -> T) -> [T; 2] {
        [ask(&mut self.bare), ask(&mut self.agent)]
    }

    /// The answer, which must be the same for both.
    fn same<T: PartialEq + std::fmt::Debug>(&mut self, ask: impl FnMut(&mut ApiClient) -> T) -> T {
        let [bare, agent] = self.each(ask);
        assert_eq!(bare, agent);
        agent
    }
}

impl ApiClient {
    fn new(addr: SocketAddr) -> Self {
        let mut raw = RawClient::agent(addr);
        raw.send(format!("SUB _INBOX.{}.* inbox\r\n", raw.local().port()).as_bytes());
        Self { raw, asked: 0 }
    }

    fn reply(&mut self) -> String {
        self.asked += 1;
        format!("_INBOX.{}.{}", self.raw.local().port(), self.asked)
    }

    /// The answer to a request to the API.
    fn ask(&mut self, request: &str, body: &Value) -> Value {
        let reply = self.reply();
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        let subject = format!("$JS.API.{request}");
        self.raw.request(&subject, &reply, body.as_bytes());
        serde_json::from_slice(self.raw.message(&reply).payload()).unwrap()
    }

    /// The answer, which must not be an error.
    fn made(&mut self, request: &str, body: &Value) -> Value {
        let answer = self.ask(request, body);
        assert!(answer.get("error").is_none(), "{request}: {answer}");
        answer
    }

    /// Publishes to a stream; on return it is stored.
    fn store(&mut self, subject: &str, headers: &str, payload: &[u8]) {
        let reply = self.reply();
        let line = if headers.is_empty() {
            format!("PUB {subject} {reply} {}\r\n", payload.len())
        } else {
            let (head, total) = (headers.len(), headers.len() + payload.len());
            format!("HPUB {subject} {reply} {head} {total}\r\n{headers}")
        };
        self.raw.send(&[line.as_bytes(), payload, b"\r\n"].concat());
        let stored = self.raw.message(&reply);
        let stored: Value = serde_json::from_slice(stored.payload()).unwrap();
        assert!(stored.get("error").is_none(), "{stored}");
    }

    /// All answers to a request, up to the one that `is_end` recognises.
    fn all(&mut self, subject: &str, body: &[u8], is_end: fn(&Frame) -> bool) -> Vec<Frame> {
        let reply = self.reply();
        let sid = format!("a{}", self.asked);
        self.raw.forget();
        self.raw.send(format!("SUB {reply} {sid}\r\n").as_bytes());
        let line = format!("PUB {subject} {reply} {}\r\n", body.len());
        self.raw.send(&[line.as_bytes(), body, b"\r\n"].concat());
        let of = |bytes: &[u8]| {
            let mut frames = split_frames(bytes).0;
            frames.retain(|frame| frame.has_body() && frame.words()[1] == sid);
            frames
        };
        let is_over = |bytes: &[u8]| of(bytes).iter().any(is_end);
        let frames = of(self.raw.until("the end", is_over));
        self.raw.send(format!("UNSUB {sid}\r\n").as_bytes());
        frames
    }
}

/// The first line of a block of headers.
fn status(frame: &Frame) -> String {
    let text = String::from_utf8_lossy(frame.headers()).into_owned();
    text.lines().next().unwrap_or_default().to_owned()
}

fn header(frame: &Frame, name: &str) -> Vec<String> {
    let text = String::from_utf8_lossy(frame.headers()).into_owned();
    let values = text
        .lines()
        .filter_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    values.map(str::to_owned).collect()
}

fn is_status(frame: &Frame) -> bool {
    status(frame) != "NATS/1.0" && frame.payload().is_empty() && !frame.headers().is_empty()
}

/// What a size counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Counts {
    /// Plaintext: the same as on the bare server; on the bus with the overhead.
    Plaintext,
    /// What a pull may ask for: the same as on the bare server, and on the bus what a pull of so many bytes is given.
    Pull,
    /// What the server holds or allows: through the gateway as the server says it.
    Server,
}

/// Every member of an answer of JetStream's API that counts bytes, by the last keys of its path.
const SIZES: &[(&str, Counts)] = &[
    ("config/max_msg_size", Counts::Plaintext),
    ("config/max_bytes", Counts::Server),
    ("config/max_bytes of a consumer", Counts::Pull),
    ("state/bytes", Counts::Server),
    ("memory", Counts::Server),
    ("storage", Counts::Server),
    ("reserved_memory", Counts::Server),
    ("reserved_storage", Counts::Server),
    ("limits/max_memory", Counts::Server),
    ("limits/max_storage", Counts::Server),
    ("limits/memory_max_stream_bytes", Counts::Server),
    ("limits/storage_max_stream_bytes", Counts::Server),
    ("config/rate_limit_bps", Counts::Server),
];

/// What a pull of so many bytes is given: the overhead of as many messages of 40 bytes.
const fn raised(max_bytes: i64) -> i64 {
    max_bytes + OVERHEAD * (max_bytes / 40 + 1)
}

/// The numbers of an answer whose keys sound like bytes, by their paths.
fn sizes(path: &str, value: &Value, found: &mut Vec<(String, i64)>) {
    let sounds = ["bytes", "size", "memory", "storage", "bps"];
    match value {
        Value::Object(members) => {
            for (key, member) in members {
                sizes(&format!("{path}/{key}"), member, found);
            }
        }
        Value::Array(members) => {
            for (index, member) in members.iter().enumerate() {
                sizes(&format!("{path}/{index}"), member, found);
            }
        }
        Value::Number(number)
            if sounds
                .iter()
                .any(|word| path.rsplit('/').next().unwrap().contains(word)) =>
        {
            found.extend(number.as_i64().map(|number| (path.to_owned(), number)));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn sizes_of(answer: &Value) -> Vec<(String, i64)> {
    let mut found = Vec::new();
    sizes("", answer, &mut found);
    found
}

/// Compares the sizes in the answers of the bare server, of the gateway, and of the server behind it.
fn compare_sizes(request: &str, [bare, agent, bus]: [&Value; 3], seen: &mut Vec<&'static str>) {
    let (bare, agent, bus) = (sizes_of(bare), sizes_of(agent), sizes_of(bus));
    assert_eq!(bare.len(), agent.len(), "{request}: {bare:?} {agent:?}");
    for ((path, bare), (_, agent)) in bare.into_iter().zip(agent) {
        let bus = bus.iter().find(|(other, _)| *other == path);
        let Some((_, bus)) = bus else {
            panic!("{request}: no {path} on the bus")
        };
        let whose = if request.starts_with("CONSUMER.") && path.ends_with("/max_bytes") {
            " of a consumer"
        } else {
            ""
        };
        let known = SIZES
            .iter()
            .find(|(last, _)| format!("{path}{whose}").ends_with(&format!("/{last}")));
        let Some((last, counts)) = known else {
            panic!("{request}: {path} is in no table")
        };
        seen.push(last);
        match counts {
            Counts::Plaintext => {
                assert_eq!(agent, bare, "{request} {path}");
                assert_eq!(*bus, bare + OVERHEAD, "{request} {path}");
            }
            Counts::Pull => {
                assert_eq!(agent, bare, "{request} {path}");
                assert_eq!(*bus, raised(bare), "{request} {path}");
            }
            Counts::Server => assert_eq!(agent, *bus, "{request} {path}"),
        }
    }
}

#[test]
fn every_size_in_an_answer_is_the_bare_servers_or_is_listed() {
    let mut two = SideBySide::start();
    let stream = json!({"name":"S","subjects":["s.>"],"max_msg_size":1000,"max_bytes":1_000_000,"storage":"file","allow_direct":true});
    let mirror = json!({"name":"M","mirror":{"name":"S"},"max_msg_size":1000,"storage":"memory"});
    let all = json!({"name":"A","sources":[{"name":"S","filter_subject":"s.a"}],"max_msg_size":1000,"storage":"memory"});
    let consumer = json!({"stream_name":"S","config":{"name":"C","durable_name":"C","ack_policy":"explicit","deliver_subject":"d","max_bytes":5000,"rate_limit_bps":8_000_000}});
    let puller = json!({"stream_name":"S","config":{"name":"P","durable_name":"P","ack_policy":"explicit","max_bytes":5000}});
    let mut seen = Vec::new();
    for (request, body, stored) in [
        ("STREAM.CREATE.S", &stream, "STREAM.INFO.S"),
        ("STREAM.CREATE.M", &mirror, "STREAM.INFO.M"),
        ("STREAM.CREATE.A", &all, "STREAM.INFO.A"),
        ("STREAM.UPDATE.S", &stream, "STREAM.INFO.S"),
        ("CONSUMER.CREATE.S.P", &puller, "CONSUMER.INFO.S.P"),
        (
            "CONSUMER.DURABLE.CREATE.S.C",
            &consumer,
            "CONSUMER.INFO.S.C",
        ),
    ] {
        let [bare, agent] = two.each(|asker| asker.made(request, body));
        let bus = two.stranger.made(stored, &Value::Null);
        compare_sizes(request, [&bare, &agent, &bus], &mut seen);
    }
    two.each(|asker| asker.store("s.a", "", &[b'x'; 1000]));
    for request in [
        "INFO",
        "STREAM.INFO.S",
        "STREAM.INFO.M",
        "STREAM.INFO.A",
        "STREAM.LIST",
        "CONSUMER.LIST.S",
    ] {
        let [bare, agent] = two.each(|asker| asker.made(request, &Value::Null));
        let bus = two.stranger.made(request, &Value::Null);
        compare_sizes(request, [&bare, &agent, &bus], &mut seen);
    }
    let [bare, agent] = two.each(|asker| {
        let snapshot = json!({"deliver_subject":"_INBOX.chunks","no_consumers":true});
        asker.made("STREAM.SNAPSHOT.S", &snapshot)
    });
    let bus = two.stranger.made("STREAM.INFO.S", &Value::Null);
    compare_sizes("STREAM.SNAPSHOT.S", [&bare, &agent, &bus], &mut seen);
    for (last, _) in SIZES {
        assert!(seen.contains(last), "{last} was in no answer");
    }
    two.same(|asker| asker.ask("STREAM.PURGE.S", &Value::Null)["purged"].clone());
}

/// A stream `S` with a pull consumer `C`, and messages of these sizes.
fn pulled(two: &mut SideBySide, config: &Value, sizes: &[usize]) {
    let stream = json!({"name":"S","subjects":["s.>"],"allow_direct":true});
    let mut consumer = json!({"name":"C","durable_name":"C","ack_policy":"explicit"});
    let more = config.as_object().unwrap().clone();
    consumer.as_object_mut().unwrap().extend(more);
    two.each(|asker| {
        asker.made("STREAM.CREATE.S", &stream);
        let consumer = json!({"stream_name":"S","config":consumer});
        asker.made("CONSUMER.DURABLE.CREATE.S.C", &consumer);
        for size in sizes {
            asker.store("s.a", "", &vec![b'x'; *size]);
        }
    });
}

/// How many messages a pull delivers, and the status that ends it.
fn fetch(asker: &mut ApiClient, pull: &Value) -> (usize, String, Vec<String>) {
    let body = pull.to_string();
    let frames = asker.all("$JS.API.CONSUMER.MSG.NEXT.S.C", body.as_bytes(), is_status);
    let end = frames.iter().find(|frame| is_status(frame)).unwrap();
    let left = header(end, "Nats-Pending-Bytes");
    (frames.len() - 1, status(end), left)
}

/// A tenth of a second.
const SOON: u64 = 100_000_000;

#[test]
fn pull_that_ends_says_what_the_bare_server_would_say_is_left_of_it() {
    let mut two = SideBySide::start();
    pulled(&mut two, &json!({}), &[1000; 10]);
    for (pull, brings) in [
        (json!({"batch":3,"max_bytes":65536,"expires":SOON}), 3),
        // The size of six messages, and a few bytes for the numbers in their reply subjects.
        (json!({"batch":6,"max_bytes":65536,"expires":SOON}), 6),
        (json!({"batch":100,"max_bytes":65536,"expires":SOON}), 1),
        (json!({"batch":100,"max_bytes":65536,"expires":SOON}), 0),
        (
            json!({"batch":1_000_000,"max_bytes":65536,"expires":SOON}),
            0,
        ),
        (json!({"max_bytes":65536,"expires":SOON}), 0),
    ] {
        let (count, _, _) = two.same(|asker| fetch(asker, &pull));
        assert_eq!(count, brings, "{pull}");
    }
}

/// The status with which a pull ends of which nothing comes.
fn refusal(asker: &mut ApiClient, pull: &Value) -> String {
    let (came, status, left) = fetch(asker, pull);
    assert_eq!((came, left), (0, Vec::new()));
    status
}

#[test]
fn pull_of_as_much_as_its_consumer_allows_is_taken_and_of_more_is_refused_in_the_clients_numbers() {
    let mut two = SideBySide::start();
    pulled(&mut two, &json!({"max_bytes":1000}), &[100; 3]);
    let pull = |batch, max_bytes| json!({"batch":batch,"max_bytes":max_bytes,"expires":SOON,"no_wait":true});
    for (batch, max_bytes) in [(1, 1000), (26, 1000), (1_000_000, 1000), (3, 953)] {
        two.same(|asker| fetch(asker, &pull(batch, max_bytes)).1);
    }
    for (batch, max_bytes) in [(1_000_000, 1001), (50, 1100), (1, 3000)] {
        let status = two.same(|asker| refusal(asker, &pull(batch, max_bytes)));
        assert!(
            status.ends_with("Exceeded MaxRequestMaxBytes of 1000"),
            "{status}"
        );
    }
    let config = json!({"name":"C","durable_name":"C","ack_policy":"explicit","max_bytes":500});
    let changed = json!({"stream_name":"S","config":config,"action":"update"});
    let told = two.same(|asker| {
        let answer = asker.made("CONSUMER.CREATE.S.C", &changed);
        answer["config"]["max_bytes"].clone()
    });
    assert_eq!(told, 500);
    let status = two.same(|asker| refusal(asker, &pull(1_000_000, 501)));
    assert!(status.ends_with(" of 500"), "{status}");
}

#[test]
fn pulls_of_what_was_not_sealed_say_what_the_bare_server_would_say() {
    let mut two = SideBySide::with("[[keyring]]\nname = \"k\"\nsubjects = [\"k.>\"]\n");
    // On a subject that no keyring covers.
    pulled(&mut two, &json!({}), &[1000; 10]);
    let pull = json!({"batch":3,"max_bytes":65536,"expires":SOON});
    assert_eq!(two.same(|asker| fetch(asker, &pull)).0, 3);
    let pull = json!({"batch":100,"max_bytes":65536,"expires":SOON});
    assert_eq!(two.same(|asker| fetch(asker, &pull)).0, 7);
}

#[test]
fn pulls_for_headers_alone_say_what_the_bare_server_would_say() {
    let mut two = SideBySide::start();
    pulled(&mut two, &json!({"headers_only":true}), &[1000, 900]);
    let pull = json!({"batch":2,"max_bytes":65536,"expires":SOON});
    assert_eq!(two.same(|asker| fetch(asker, &pull)).0, 2);
}

#[test]
fn pull_in_an_acknowledgement_brings_what_the_bare_server_would_bring() {
    let mut two = SideBySide::start();
    pulled(&mut two, &json!({}), &[500; 4]);
    let (one, brought) = two.same(|asker| {
        let reply = asker.reply();
        asker
            .raw
            .request("$JS.API.CONSUMER.MSG.NEXT.S.C", &reply, b"{\"batch\":1}");
        let is_message = |frame: &Frame| frame.has_body() && frame.subject() == "s.a";
        let of = |bytes: &[u8]| split_frames(bytes).0.into_iter().find(is_message);
        let first = of(asker.raw.until("a message", |bytes| of(bytes).is_some())).unwrap();
        // The size of one message, and a few bytes for the numbers in its reply subject.
        let enough = first.subject().len() + first.words()[2].len() + 500 + 8;
        let next = format!("+NXT {{\"batch\":2,\"max_bytes\":{enough},\"expires\":{SOON}}}");
        let frames = asker.all(first.words()[2], next.as_bytes(), is_status);
        let end = frames.iter().find(|frame| is_status(frame)).unwrap();
        let sizes: Vec<_> = frames.iter().map(|frame| frame.payload().len()).collect();
        (sizes, status(end))
    });
    assert_eq!(one, [500, 0]);
    assert_eq!(brought, "NATS/1.0 409 Message Size Exceeds MaxBytes");
}

/// The sizes in the headers of a message, stored with these headers and payload, as a consumer with this configuration gets it.
fn delivered(
    asker: &mut ApiClient,
    (headers, payload): (&str, &[u8]),
    config: &Value,
) -> Vec<String> {
    let stream = json!({"name":"S","subjects":["s.>"],"allow_direct":true});
    asker.made("STREAM.CREATE.S", &stream);
    let consumer = json!({"stream_name":"S","config":config});
    asker.made("CONSUMER.DURABLE.CREATE.S.C", &consumer);
    asker.store("s.a", headers, payload);
    let body = b"{\"batch\":1,\"expires\":100000000}";
    let is_message = |frame: &Frame| frame.subject() == "s.a";
    let frames = asker.all("$JS.API.CONSUMER.MSG.NEXT.S.C", body, is_message);
    let message = frames.into_iter().find(is_message).unwrap();
    header(&message, "Nats-Msg-Size")
}

fn headers_only() -> Value {
    json!({"name":"C","durable_name":"C","ack_policy":"explicit","headers_only":true})
}

/// Headers with a client's own `Nats-Msg-Size`.
const OWN: &str = "NATS/1.0\r\nNats-Msg-Size: 1000\r\nA: b\r\n\r\n";

#[test]
fn size_that_the_server_writes_is_that_of_the_plaintext() {
    for (headers, sizes) in [
        ("", vec!["500"]),
        ("NATS/1.0\r\nA: b\r\n\r\n", vec!["500"]),
        (OWN, vec!["1000", "500"]),
    ] {
        let message = (headers, &[b'x'; 500][..]);
        let found = SideBySide::start().same(|asker| delivered(asker, message, &headers_only()));
        assert_eq!(found, sizes);
    }
    let empty = SideBySide::start().same(|asker| delivered(asker, (OWN, b""), &headers_only()));
    assert_eq!(empty, ["1000", "0"]);
}

#[test]
fn size_that_a_client_wrote_itself_is_left_alone() {
    let whole = json!({"name":"C","durable_name":"C","ack_policy":"explicit"});
    let stored = SideBySide::start().same(|asker| delivered(asker, (OWN, b""), &whole));
    assert_eq!(stored, ["1000"]);
    let mut two = SideBySide::start();
    for headers in [OWN, "NATS/1.0\r\nNats-Msg-Size: 1000\r\n\r\n"] {
        let heard = two.same(|asker| {
            asker.raw.subscribe("plain.a");
            asker.raw.publish_with("plain.a", headers, b"");
            let message = asker.raw.message("plain.a");
            asker.raw.forget();
            header(&message, "Nats-Msg-Size")
        });
        assert_eq!(heard[0], "1000");
    }
}

#[test]
fn size_in_what_a_stream_republishes_is_that_of_the_plaintext() {
    let republish = json!({"src":"s.>","dest":"r.>","headers_only":true});
    let stream = json!({"name":"S","subjects":["s.>"],"republish":republish});
    for headers in ["", "NATS/1.0\r\nA: b\r\n\r\n", OWN] {
        let sizes = SideBySide::start().same(|asker| {
            asker.made("STREAM.CREATE.S", &stream);
            asker.raw.subscribe("r.>");
            asker.store("s.a", headers, &[b'x'; 500]);
            header(&asker.raw.message("r.a"), "Nats-Msg-Size")
        });
        assert_eq!(sizes.last().unwrap(), "500");
    }
}

#[test]
fn size_is_told_to_the_client_that_a_consumer_is_pinned_to() {
    let mut two = SideBySide::start();
    let group = json!({"headers_only":true,"priority_groups":["g"],"priority_policy":"pinned_client","priority_timeout":120_000_000_000_u64});
    pulled(&mut two, &group, &[500]);
    let size = two.same(|asker| {
        let body = b"{\"batch\":1,\"group\":\"g\",\"expires\":100000000}";
        let is_message = |frame: &Frame| frame.subject() == "s.a";
        let frames = asker.all("$JS.API.CONSUMER.MSG.NEXT.S.C", body, is_message);
        let message = frames.into_iter().find(is_message).unwrap();
        assert!(!header(&message, "Nats-Pin-Id").is_empty());
        header(&message, "Nats-Msg-Size")
    });
    assert_eq!(size, ["500"]);
}

#[test]
fn stored_message_that_is_withheld_is_a_failure_of_the_stream_and_no_other() {
    let mut two = SideBySide::start();
    two.agent
        .made("STREAM.CREATE.S", &json!({"name":"S","subjects":["s.>"]}));
    two.stranger.store("s.a", "", b"in the clear");
    let answer = two.agent.ask("STREAM.MSG.GET.S", &json!({"seq":1}));
    assert_eq!(answer["error"]["code"], 500);
    // `JSStreamGeneralErrorF` of the server's errors.json.
    assert_eq!(answer["error"]["err_code"], 10051);
    assert!(answer.get("message").is_none());
}

#[test]
fn mirror_and_aggregate_are_declared_with_the_size_of_their_origin() {
    for tables in ["", "[[keyring]]\nname = \"k\"\nsubjects = [\"s.>\"]\n"] {
        let mut two = SideBySide::with(tables);
        let size = |config: Value| {
            let mut config = config;
            config["max_msg_size"] = json!(1000);
            config
        };
        for (name, config) in [
            ("S", json!({"name":"S","subjects":["s.>"]})),
            ("M", json!({"name":"M","mirror":{"name":"S"}})),
            (
                "F",
                json!({"name":"F","mirror":{"name":"S","filter_subject":"s.a"}}),
            ),
            ("A", json!({"name":"A","sources":[{"name":"S"}]})),
            (
                "B",
                json!({"name":"B","subjects":["b"],"sources":[{"name":"S"}]}),
            ),
            (
                "T",
                json!({"name":"T","mirror":{"name":"S","subject_transforms":[{"src":"s.>","dest":"t.>"}]}}),
            ),
            (
                "E",
                json!({"name":"E","sources":[{"name":"S","external":{"api":"$JS.other.API"}}]}),
            ),
            ("Second", json!({"name":"Second","sources":[{"name":"A"}]})),
        ] {
            let config = size(config);
            let told = two.same(|asker| {
                let made = asker.made(&format!("STREAM.CREATE.{name}"), &config);
                let updated = asker.made(&format!("STREAM.UPDATE.{name}"), &made["config"]);
                updated["config"]["max_msg_size"].clone()
            });
            assert_eq!(told, 1000, "{name}");
        }
        // A message of the maximum size arrives.
        two.same(|asker| {
            asker.store("s.a", "", &[b'x'; 1000]);
            wait::until("the mirror's copy", || {
                asker.raw.forget();
                let info = asker.made("STREAM.INFO.M", &Value::Null);
                (info["state"]["messages"] == 1).then_some(())
            });
        });
    }
}

/// Stores messages of these sizes on a few subjects, every other with headers; returns the times at which they were stored.
fn gotten(two: &mut SideBySide, sizes: &[usize]) -> [Vec<String>; 2] {
    let stream = json!({"name":"S","subjects":["s.>"],"allow_direct":true});
    two.each(|asker| {
        asker.made("STREAM.CREATE.S", &stream);
        for (number, size) in sizes.iter().enumerate() {
            let headers = ["", "NATS/1.0\r\nA: some header\r\n\r\n"][number % 2];
            let payload = vec![b"abcdefghij"[number % 10]; *size];
            asker.store(&format!("s.{}", number % 3), headers, &payload);
        }
        let all = json!({"seq":1,"batch":1000});
        let frames = many(asker, &all);
        let times = frames
            .iter()
            .flat_map(|frame| header(frame, "Nats-Time-Stamp"));
        times.collect()
    })
}

fn many(asker: &mut ApiClient, asked: &Value) -> Vec<Frame> {
    asker.all(
        "$JS.API.DIRECT.GET.S",
        asked.to_string().as_bytes(),
        is_status,
    )
}

/// A message or status without the time at which it was stored.
fn said(frame: &Frame) -> (String, Vec<u8>) {
    let headers = String::from_utf8_lossy(frame.headers()).into_owned();
    let lines = headers.split_inclusive("\r\n");
    let but_time = lines.filter(|line| !line.starts_with("Nats-Time-Stamp: "));
    (but_time.collect(), frame.payload().to_vec())
}

/// Compares the same direct get on both, with one of the times for `start_time` or `up_to_time`.
fn compare(two: &mut SideBySide, times: &[Vec<String>; 2], asked: &Value) -> usize {
    let mut times = times.iter();
    let count = two.same(|asker| {
        let times = times.next().unwrap();
        let mut own = asked.clone();
        for key in ["start_time", "up_to_time"] {
            if let Some(number) = asked[key].as_u64() {
                own[key] = json!(times[usize::try_from(number).unwrap()]);
            }
        }
        let answer: Vec<_> = many(asker, &own).iter().map(said).collect();
        (asked.to_string(), answer)
    });
    count.1.len() - 1
}

const BOUNDS: [Option<i64>; 12] = [
    None,
    Some(-1),
    Some(1),
    Some(5),
    Some(50),
    Some(100),
    Some(333),
    Some(500),
    Some(1000),
    Some(3000),
    Some(10_000),
    Some(1_000_000),
];

const MIXED: [usize; 30] = [
    1, 2, 40, 100, 0, 999, 10, 47, 48, 49, 500, 1, 1, 1, 3000, 7, 64, 200, 0, 0, 100, 100, 100,
    100, 5, 5, 5, 5, 1000, 1,
];

/// Compares direct gets of several messages with every start and every bound.
fn walk_batches(two: &mut SideBySide, times: &[Vec<String>; 2]) {
    let starts = [
        json!({"seq":1}),
        json!({"seq":9}),
        json!({"start_time":4}),
        json!({"start_time":0,"next_by_subj":"s.1"}),
        json!({"seq":3,"next_by_subj":"s.>"}),
    ];
    for start in &starts {
        for (batch, no_hdr) in [
            (1, false),
            (4, false),
            (1000, false),
            (1_000_000, false),
            (4, true),
            (1000, true),
        ] {
            let mut asked = start.clone();
            asked["batch"] = json!(batch);
            asked["no_hdr"] = json!(no_hdr);
            for bound in BOUNDS {
                let asked = bounded(&asked, bound);
                assert!(compare(two, times, &asked) > 0, "{asked}");
            }
        }
    }
}

fn bounded(asked: &Value, bound: Option<i64>) -> Value {
    let mut asked = asked.clone();
    if let Some(bound) = bound {
        asked["max_bytes"] = json!(bound);
    }
    asked
}

fn walk_multi_last(two: &mut SideBySide, times: &[Vec<String>; 2]) {
    let ways = [
        json!({"multi_last":["s.>"]}),
        json!({"multi_last":["s.0","s.2"],"batch":2}),
        json!({"multi_last":["s.>"],"seq":2,"batch":9}),
        json!({"multi_last":["s.>"],"up_to_seq":12,"no_hdr":true}),
        json!({"multi_last":["s.>"],"up_to_time":9}),
    ];
    for way in &ways {
        for bound in BOUNDS {
            let asked = bounded(way, bound);
            assert!(compare(two, times, &asked) > 0, "{asked}");
        }
    }
}

#[test]
fn direct_get_of_many_brings_what_the_bare_server_brings_message_for_message() {
    let part = "[[keyring]]\nname = \"k\"\nsubjects = [\"s.0\", \"s.1\"]\n";
    // All subjects sealed, or only some.
    for tables in ["", part] {
        let mut two = SideBySide::with(tables);
        let times = gotten(&mut two, &MIXED);
        walk_batches(&mut two, &times);
        walk_multi_last(&mut two, &times);
    }
}

#[test]
fn direct_get_of_the_smallest_messages_brings_as_many_as_the_bare_server() {
    let mut two = SideBySide::start();
    let times = gotten(&mut two, &[1; 300]);
    for (asked, brings) in [
        (json!({"seq":1,"batch":1000,"max_bytes":1000}), 56),
        (
            json!({"next_by_subj":"s.1","batch":1000,"max_bytes":1000}),
            55,
        ),
        (json!({"seq":1,"batch":50,"max_bytes":1000}), 50),
    ] {
        assert_eq!(compare(&mut two, &times, &asked), brings, "{asked}");
    }
}

#[test]
fn pages_of_direct_gets_read_a_stream_once_from_end_to_end() {
    let mut two = SideBySide::start();
    gotten(&mut two, &MIXED);
    let pages = two.same(|asker| {
        let (mut next, mut pages) = (1, Vec::new());
        loop {
            let frames = many(asker, &json!({"seq":next,"batch":100,"max_bytes":400}));
            let end = frames.last().unwrap();
            let last = &header(end, "Nats-Last-Sequence")[0];
            next = last.parse::<u64>().unwrap() + 1;
            pages.push(frames.iter().map(said).collect::<Vec<_>>());
            if header(end, "Nats-Num-Pending") == ["0"] {
                return pages;
            }
        }
    });
    let messages: usize = pages.iter().map(|page| page.len() - 1).sum();
    assert_eq!(messages, MIXED.len());
    assert!(pages.len() > 5);
}

#[test]
fn direct_get_of_one_message_without_headers_is_what_the_bare_server_answers() {
    let mut two = SideBySide::start();
    gotten(&mut two, &[100, 200, 300]);
    for asked in [
        json!({"seq":2,"no_hdr":true}),
        json!({"next_by_subj":"s.*","no_hdr":true}),
        json!({"last_by_subj":"s.2","no_hdr":true,"max_bytes":1}),
        json!({"seq":3,"max_bytes":1}),
    ] {
        let (headers, payload) = two.same(|asker| {
            let reply = asker.reply();
            let body = asked.to_string();
            asker
                .raw
                .request("$JS.API.DIRECT.GET.S", &reply, body.as_bytes());
            said(&asker.raw.message(&reply))
        });
        assert_eq!(headers.is_empty(), asked["no_hdr"] == true, "{asked}");
        assert!(payload.len() >= 100, "{asked}");
    }
}

/// What the server appends to a message of a batch.
fn appended(sequence: u64, pending: u64) -> String {
    let last = sequence - 1;
    format!(
        "NATS/1.0\r\nNats-Stream: S\r\nNats-Subject: s.a\r\nNats-Sequence: {sequence}\r\n\
         Nats-Time-Stamp: 2026-01-01T00:00:00Z\r\nNats-Num-Pending: {pending}\r\nNats-Last-Sequence: {last}\r\n\r\n"
    )
}

#[test]
fn what_is_withheld_takes_nothing_of_what_a_direct_get_may_bring_and_what_is_kept_back_is_counted()
{
    // The test publishes both the injected messages and the server's, so that the order is certain.
    let server = NatsServer::start();
    let gateway = Gateway::sealing(&server.url());
    let mut bus = RawClient::agent(server.addr());
    bus.subscribe("$JS.API.DIRECT.GET.S");
    bus.subscribe("s.a");
    let mut agent = RawClient::agent(gateway.addr());
    agent.publish("s.a", &[b'x'; 100]);
    let sealed = bus.message("s.a").payload().to_vec();
    agent.subscribe("_INBOX.b");
    let asked = json!({"seq":1,"batch":9,"max_bytes":150}).to_string();
    agent.request("$JS.API.DIRECT.GET.S", "_INBOX.b", asked.as_bytes());
    bus.message("$JS.API.DIRECT.GET.S");
    bus.publish_with("_INBOX.b", &appended(1, 8), &[b'f'; 1000]);
    for sequence in 1..=3 {
        bus.publish_with("_INBOX.b", &appended(sequence, 9 - sequence), &sealed);
    }
    let end = "NATS/1.0 204 EOB\r\nNats-Num-Pending: 6\r\nNats-Last-Sequence: 3\r\n\r\n";
    bus.publish_with("_INBOX.b", end, b"");
    let is_end = |bytes: &[u8]| split_frames(bytes).0.iter().any(is_status);
    let mut frames = split_frames(agent.until("the end", is_end)).0;
    frames.retain(Frame::has_body);
    let told = frames.pop().unwrap();
    let payloads: Vec<_> = frames.iter().map(Frame::payload).collect();
    assert_eq!(payloads, [[b'x'; 100]; 2]);
    assert_eq!(header(&told, "Nats-Last-Sequence"), ["2"]);
    assert_eq!(header(&told, "Nats-Num-Pending"), ["7"]);
    let counted = |name: &str| gateway.metrics().sum(name, &[]);
    for name in [
        "keyway_withheld_messages_total",
        "keyway_kept_back_messages_total",
    ] {
        assert!((counted(name) - 1.0).abs() < 0.1, "{name}");
    }
}

/// The answers to these requests, sent at once with one reply subject, up to the end of each.
fn on_one_reply(asker: &mut ApiClient, asked: &[Value]) -> Vec<Frame> {
    let reply = format!("_INBOX.{}.again", asker.raw.local().port());
    asker.raw.forget();
    let lines = asked.iter().map(|asked| {
        let body = asked.to_string();
        format!(
            "PUB $JS.API.DIRECT.GET.S {reply} {}\r\n{body}\r\n",
            body.len()
        )
    });
    let lines: String = lines.collect();
    asker.raw.send(lines.as_bytes());
    let of = |bytes: &[u8]| {
        let mut frames = split_frames(bytes).0;
        frames.retain(|frame| frame.has_body() && frame.subject() == reply);
        frames
    };
    let is_over = |bytes: &[u8]| {
        let ends = of(bytes).iter().filter(|frame| is_status(frame)).count();
        ends == asked.len()
    };
    of(asker.raw.until("the ends", is_over))
}

#[test]
fn direct_gets_one_after_another_on_one_reply_subject_bring_what_the_bare_server_brings() {
    let mut two = SideBySide::start();
    gotten(&mut two, &MIXED);
    let pages = two.same(|asker| {
        let (mut next, mut pages) = (1, 0);
        let mut come = Vec::new();
        loop {
            let asked = json!({"seq":next,"batch":100,"max_bytes":400});
            let frames = on_one_reply(asker, &[asked]);
            come.extend(frames.iter().map(said));
            pages += 1;
            let end = frames.last().unwrap();
            next = header(end, "Nats-Last-Sequence")[0].parse::<u64>().unwrap() + 1;
            if header(end, "Nats-Num-Pending") == ["0"] {
                return (pages, come);
            }
        }
    });
    assert!(pages.0 > 5);
}

#[test]
fn direct_gets_at_the_same_time_on_one_reply_subject_bring_all_that_the_bare_server_brings() {
    let mut two = SideBySide::start();
    gotten(&mut two, &MIXED);
    let asked = json!({"seq":1,"batch":100,"max_bytes":400});
    for at_once in [2, 3, 1, 2] {
        let all = vec![asked.clone(); at_once];
        let [bare, agent] = two.each(|asker| {
            let frames = on_one_reply(asker, &all);
            let sequences = frames
                .iter()
                .flat_map(|frame| header(frame, "Nats-Sequence"));
            let mut sequences: Vec<u64> = sequences.map(|text| text.parse().unwrap()).collect();
            sequences.sort_unstable();
            sequences
        });
        let times = |all: &[u64], one: u64| all.iter().filter(|other| **other == one).count();
        for sequence in &bare {
            assert_eq!(
                times(&agent, *sequence),
                times(&bare, *sequence),
                "{at_once}"
            );
        }
    }
}
