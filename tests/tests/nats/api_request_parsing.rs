//! Promise: the gateway parses requests to JetStream's API as the server does, on the newest server and on the oldest; and where
//! the two could differ, it treats them as ambiguous.
//!
//! Requests are random: duplicate keys, other letter cases, escapes, nulls, numbers of all kinds, one object behind another. The
//! server is asked for the resulting configuration, which is the reference.

#![expect(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::unwrap_used,
    reason = "a test stops at the first thing that is not as expected"
)]

use keyway::wire::Buffer;
use keyway::wire::header;
use keyway::wire::jetstream::{self, Request, SubjectUse};
use keyway_tests::property::Rng;
use keyway_tests::{NatsServer, RawClient, frame::Frame};
use serde_json::Value;

const JETSTREAM: &str = "jetstream { store_dir: \"STORE\" }";
const ROUNDS: usize = 600;

/// A client of the server's API.
struct ApiClient {
    raw: RawClient,
    asked: usize,
}

impl ApiClient {
    fn new(server: &NatsServer) -> Self {
        let mut raw =
            RawClient::handshake(server.addr(), "\"headers\":true,\"no_responders\":true");
        raw.send(b"SUB answer.* 1\r\n");
        Self { raw, asked: 0 }
    }

    /// Sends a request on a new reply subject and returns the first answer; more may follow.
    fn ask(&mut self, subject: &str, body: &[u8]) -> Frame {
        self.asked += 1;
        let reply = format!("answer.{}", self.asked);
        self.raw.forget();
        let line = format!("PUB {subject} {reply} {}\r\n", body.len());
        self.raw.send(&[line.as_bytes(), body, b"\r\n"].concat());
        let is_answer = |frame: &Frame| frame.has_body() && frame.subject() == reply;
        self.raw.until("an answer", |bytes| {
            keyway_tests::frame::split_frames(bytes)
                .0
                .iter()
                .any(is_answer)
        });
        self.raw.frames().into_iter().find(is_answer).unwrap()
    }

    /// The configuration in the answer, unless it is an error.
    fn config(&mut self, request: &str, body: &[u8]) -> Option<Value> {
        let answer = self.ask(&format!("$JS.API.{request}"), body);
        let answer: Value = serde_json::from_slice(answer.payload()).unwrap();
        answer.get("config").cloned()
    }
}

/// A spelling of a key, most often the normal one.
fn key(rng: &mut Rng, name: &str) -> String {
    match rng.below(60) {
        0 => name.to_uppercase(),
        1 => format!("\\u{:04x}{}", u32::from(name.as_bytes()[0]), &name[1..]),
        2 => name.replacen('s', "\u{17f}", 1),
        _ => name.to_owned(),
    }
}

/// An object with some of the keys, rarely one of them twice.
fn object(rng: &mut Rng, keys: &[&str], value: fn(&mut Rng, &str) -> String) -> String {
    let mut members = Vec::new();
    for name in keys {
        for _ in 0..rng.pick(&[0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 2]) {
            members.push(format!("\"{}\":{}", key(rng, name), value(rng, name)));
        }
    }
    let blank = rng.pick(&["", "", " ", "\n"]);
    format!(
        "{{{blank}{}{blank}}}",
        members.join(&format!("{blank},{blank}"))
    )
}

fn list(rng: &mut Rng, value: impl Fn(&mut Rng) -> String) -> String {
    let values: Vec<_> = (0..rng.below(3)).map(|_| value(rng)).collect();
    format!("[{}]", values.join(","))
}

fn text(rng: &mut Rng) -> String {
    let good = [
        "\"a\"",
        "\"b.x\"",
        "\"c.>\"",
        "\"d.\\u0065\"",
        "\"f.\\ud83d\"",
    ];
    match rng.below(20) {
        0 => rng.pick(&["null", "\"\"", "1"]).to_owned(),
        _ => rng.pick(&good).to_owned(),
    }
}

fn number(rng: &mut Rng) -> String {
    rng.pick(&[
        "100",
        "0",
        "-0",
        "-1",
        "1e2",
        "100.0",
        "0100",
        "2147483647",
        "2147483648",
        "null",
        "\"9\"",
        "+5",
    ])
    .to_owned()
}

fn stream_value(rng: &mut Rng, name: &str) -> String {
    match name {
        "name" => "\"S\"".to_owned(),
        "subjects" if rng.below(6) > 0 => list(rng, text),
        "max_msg_size" => number(rng),
        "allow_msg_counter" => rng.pick(&["true", "false", "null"]).to_owned(),
        "republish" | "subject_transform" => object(rng, &["src", "dest"], |rng, _| {
            rng.pick(&["\"c.*\"", "\"r.{{wildcard(1)}}\"", "\"r.x\""])
                .to_owned()
        }),
        "sources" => list(rng, |rng| {
            object(rng, &["name", "filter_subject"], |rng, name| match name {
                "name" => "\"T\"".to_owned(),
                _ => text(rng),
            })
        }),
        _ => text(rng),
    }
}

/// The body of a request that creates the stream `S`; the server keeps what it can in memory.
fn stream(rng: &mut Rng) -> String {
    let keys = [
        "subjects",
        "max_msg_size",
        "allow_msg_counter",
        "republish",
        "subject_transform",
        "sources",
        "description",
    ];
    let name = match rng.below(20) {
        0 => "",
        1 => r#""name":"T","name":"S","#,
        _ => r#""name":"S","#,
    };
    let start = format!("{{{name}\"storage\":\"memory\",");
    let body = object(rng, &keys, stream_value).replacen('{', &start, 1);
    let body = body
        .replace(",}", "}")
        .replace(", }", "}")
        .replace(",\n\n}", "}");
    match rng.below(30) {
        0 => format!("{body}{}", object(rng, &["subjects"], stream_value)),
        1 => format!("null {body}"),
        2 => format!("{body} x"),
        _ => body,
    }
}

/// The destinations that the gateway finds in the body, as text.
fn destinations(body: &[u8]) -> Vec<String> {
    let mut found = Vec::new();
    jetstream::subject_uses(Request::StreamConfig, body, |place| {
        if let SubjectUse::PublishTo(subject) = place {
            found.push(String::from_utf8(subject.to_vec()).unwrap());
        }
    });
    found
}

/// Fails unless the gateway parses the body as the server did.
fn assert_understood(asker: &mut ApiClient, body: &str, config: &Value) {
    let mut subjects = Vec::new();
    jetstream::subjects(body.as_bytes(), |subject| {
        subjects.push(String::from_utf8(subject.to_vec()).unwrap());
    });
    let made: Vec<_> = config["subjects"]
        .as_array()
        .into_iter()
        .flatten()
        .collect();
    assert_eq!(made, subjects.iter().collect::<Vec<_>>(), "{body}");
    let counts = config["allow_msg_counter"].as_bool().unwrap_or_default();
    assert_eq!(
        jetstream::is_counter_stream(body.as_bytes()),
        counts,
        "{body}"
    );
    let named = destinations(body.as_bytes());
    for part in ["republish", "subject_transform"] {
        let dest = config[part]["dest"].as_str().unwrap_or_default();
        let pattern = dest.replace("{{wildcard(1)}}", "*");
        assert!(dest.is_empty() || named.contains(&pattern), "{body}");
    }
    // A larger size, and nothing else, comes back.
    let mut wider = Buffer::new();
    if !jetstream::widen_max_msg_size(body.as_bytes(), 48, |_| true, &mut wider) {
        let size = config["max_msg_size"].as_i64().unwrap();
        assert!(
            size == -1 || size == i64::from(i32::MAX) || made.is_empty(),
            "{body}"
        );
        return;
    }
    asker.ask("$JS.API.STREAM.DELETE.S", b"");
    let mut expected = config.clone();
    let size = expected["max_msg_size"].as_i64().unwrap() + 48;
    expected["max_msg_size"] = size.min(i64::from(i32::MAX)).into();
    assert_eq!(
        asker.config("STREAM.CREATE.S", wider.filled()),
        Some(expected),
        "{body}"
    );
}

/// How many of the random requests were unambiguous and accepted, and how many the gateway found ambiguous.
fn create(server: &NatsServer) -> (usize, usize) {
    let mut asker = ApiClient::new(server);
    let source = br#"{"name":"T","subjects":["t.>"],"storage":"memory"}"#;
    asker.config("STREAM.CREATE.T", source).unwrap();
    let mut rng = Rng::new(12);
    let (mut understood, mut unclear) = (0, 0);
    for _ in 0..ROUNDS {
        let body = stream(&mut rng);
        if !jetstream::is_unambiguous(Request::StreamConfig, body.as_bytes()) {
            unclear += 1;
        } else if let Some(config) = asker.config("STREAM.CREATE.S", body.as_bytes()) {
            assert_understood(&mut asker, &body, &config);
            asker.ask("$JS.API.STREAM.DELETE.S", b"");
            understood += 1;
        }
    }
    (understood, unclear)
}

#[test]
fn stream_that_the_server_makes_is_the_one_that_was_read() {
    for server in [
        NatsServer::configured(JETSTREAM),
        NatsServer::oldest(JETSTREAM),
    ] {
        let (understood, unclear) = create(&server);
        assert!(
            understood > ROUNDS / 20,
            "only {understood} were understood"
        );
        assert!(
            unclear > ROUNDS / 4 && unclear < ROUNDS * 4 / 5,
            "{unclear} were unclear"
        );
    }
}

fn get(rng: &mut Rng) -> String {
    let keys = [
        "seq",
        "no_hdr",
        "last_by_subj",
        "next_by_subj",
        "multi_last",
        "batch",
        "max_bytes",
    ];
    object(rng, &keys, |rng, name| match name {
        "seq" => rng.pick(&["1", "2", "null", "1.0", "9"]).to_owned(),
        "no_hdr" => rng.pick(&["true", "true", "false", "null", "1"]).to_owned(),
        "multi_last" => list(rng, text),
        "batch" | "max_bytes" => number(rng),
        _ => text(rng),
    })
}

/// The answer to a direct get says whether `no_hdr` was asked for; the edited one never is without headers.
fn fetch(server: &NatsServer) -> [usize; 2] {
    let mut asker = ApiClient::new(server);
    let config =
        br#"{"name":"S","subjects":["a","b.x","c.y"],"storage":"memory","allow_direct":true,"no_ack":true}"#;
    asker.config("STREAM.CREATE.S", config).unwrap();
    for subject in ["a", "b.x", "c.y"] {
        asker
            .raw
            .send(format!("PUB {subject} 2\r\nhi\r\n").as_bytes());
    }
    let mut rng = Rng::new(12);
    let mut answers = [0, 0];
    // Most of them ask for two things at once, which the server refuses.
    for _ in 0..6 * ROUNDS {
        let body = get(&mut rng);
        let request = Request::DirectGet { subject: None };
        if !jetstream::is_unambiguous(request, body.as_bytes()) {
            continue;
        }
        let answer = asker.ask("$JS.API.DIRECT.GET.S", body.as_bytes());
        let mut changed = Buffer::new();
        let edited = jetstream::direct_get(body.as_bytes(), 48, &mut changed);
        if answer.payload().is_empty() {
            continue;
        }
        assert_eq!(
            answer.headers().is_empty(),
            edited.without_headers,
            "{body}"
        );
        let asked = if edited.changed {
            changed.filled()
        } else {
            body.as_bytes()
        };
        let shown = asker.ask("$JS.API.DIRECT.GET.S", asked);
        assert_eq!(shown.payload(), answer.payload(), "{body}");
        assert!(
            header::direct_get_headers(shown.headers()).is_some(),
            "{body}"
        );
        answers[usize::from(edited.without_headers)] += 1;
    }
    answers
}

#[test]
fn direct_get_that_the_server_answers_is_the_one_that_was_read() {
    for server in [
        NatsServer::configured(JETSTREAM),
        NatsServer::oldest(JETSTREAM),
    ] {
        let answers = fetch(&server);
        assert!(answers.iter().all(|&count| count > 10), "{answers:?}");
    }
}
