//! Promise: a stream or schedule whose messages would be delivered on subjects where they open for nobody is refused with the
//! remedy, and no other; `status` reports what was withheld.
#![expect(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test stops at the first thing that is not as expected"
)]

use async_nats::HeaderMap;
use async_nats::jetstream::{self, stream};
use keyway_tests::command::{code, keyway, path, stderr_of, text};
use keyway_tests::driver::{Client, Outcome, assert_passed};
use keyway_tests::gateway::Settings;
use keyway_tests::{BusTap, Gateway, NatsServer, RawClient, wait};
use serde_json::{Value, json as made};

const EVERYTHING: &str = "[[keyring]]\nname = \"default\"\nsubjects = [\">\"]\n";
const MOVES: &str = "bind = \"keyring\"\n";
const ALIAS: &str = "aliases = [{ from = \"in.*\", to = \"out.*\" }]\n";
const PART: &str = "[[keyring]]\nname = \"default\"\nsubjects = [\"in.>\"]\n";
const TWO: &str = "[[keyring]]\nname = \"default\"\nsubjects = [\"in.>\"]\n\n[[keyring]]\nname = \"other\"\nsubjects = [\"out.>\"]\n";

fn gateway(server: &NatsServer, tables: &str) -> Gateway {
    let settings = Settings {
        tables: tables.to_owned(),
        ..Settings::default()
    };
    Gateway::start(&server.url(), settings)
}

/// The answer to a request with this header block, which may be empty.
fn ask(agent: &mut RawClient, subject: &str, headers: &str, body: &[u8]) -> Value {
    let inbox = format!("_INBOX.ask.{}", agent.frames().len());
    agent.subscribe(&inbox);
    if headers.is_empty() {
        agent.request(subject, &inbox, body);
    } else {
        let head = format!("NATS/1.0\r\n{headers}\r\n");
        let (len, total) = (head.len(), head.len() + body.len());
        let line = format!("HPUB {subject} {inbox} {len} {total}\r\n{head}");
        agent.send(&[line.as_bytes(), body, b"\r\n"].concat());
    }
    serde_json::from_slice(agent.message(&inbox).payload()).unwrap()
}

/// The answer to a request for the stream `s` with these subjects and members.
fn create(agent: &mut RawClient, subjects: &[&str], more: &Value) -> Value {
    let mut config = made!({ "name": "s", "subjects": subjects, "storage": "memory" });
    let members = config.as_object_mut().unwrap();
    members.extend(more.as_object().unwrap().clone());
    let body = config.to_string();
    ask(agent, "$JS.API.STREAM.CREATE.s", "", body.as_bytes())
}

/// Whether an answer is the gateway's refusal, which names the remedy; any other must not be an error.
fn is_refused(answer: &Value) -> bool {
    let said = answer["error"]["description"].as_str().unwrap_or_default();
    assert_eq!(answer["error"].is_null(), said.is_empty(), "{answer}");
    let names = |words: &&str| said.contains(words);
    let remedy = ["keyway: ", "one keyring", "alias from", "bind = 'keyring'"];
    assert!(said.is_empty() || remedy.iter().all(names), "{answer}");
    !said.is_empty()
}

/// The remedies in a refusal, where messages are published on one subject and come out on another: one keyring that covers both,
/// with an alias or with `bind = "keyring"`.
fn remedies(published: &str, comes_out: &str) -> [String; 2] {
    let one =
        format!("[[keyring]]\nname = \"default\"\nsubjects = [\"{published}\", \"{comes_out}\"]\n");
    let alias = format!("aliases = [{{ from = \"{published}\", to = \"{comes_out}\" }}]\n");
    [format!("{one}{alias}"), format!("{one}{MOVES}")]
}

/// Subject of the stream, `from` and `to` of the mapping, and the subject where a message comes out.
type Case = (&'static str, &'static str, &'static str, &'static str);

/// Configurations, and for each the cases that are tried with it.
const CASES: [(&str, &str, &[Case]); 5] = [
    (
        EVERYTHING,
        "",
        &[
            ("in.a", "in.*", "out.{{wildcard(1)}}", "out.a"),
            ("in.a", ">", "copy.>", "copy.in.a"),
            ("in.a", "", "copy.>", "copy.in.a"),
            ("in.a", "in.a", "out.a", "out.a"),
            ("in.>", "in.>", "in2.>", "in2.a"),
        ],
    ),
    (
        EVERYTHING,
        MOVES,
        &[("in.a", "in.*", "out.{{wildcard(1)}}", "out.a")],
    ),
    (
        EVERYTHING,
        ALIAS,
        &[
            ("in.a", "in.*", "out.$1", "out.a"),
            ("in.>", "in.>", "out.>", "out.a"),
            ("in.a", "in.a", "out.b", "out.b"),
            ("in.a", "in.*", "copy.$1", "copy.a"),
        ],
    ),
    (
        PART,
        "",
        &[
            ("in.a", "in.*", "out.$1", "out.a"),
            ("plain.a", "plain.*", "out.$1", "out.a"),
            ("plain.a", "plain.*", "in.$1", "in.a"),
            ("in.a", "in.*", "in.b.$1", "in.b.a"),
        ],
    ),
    (
        TWO,
        "",
        &[
            ("in.a", "in.*", "out.$1", "out.a"),
            ("in.a", "in.*", "plain.$1", "plain.a"),
            ("plain.a", "plain.*", "out.$1", "out.a"),
        ],
    ),
];

/// Calls `each` with every case, whether the gateway refuses the stream, and two agents of it, beside the server. The stream exists.
fn walk(name: &str, mut each: impl FnMut(&Case, bool, &mut RawClient, &NatsServer)) {
    for (tables, more, cases) in CASES {
        let server = NatsServer::jetstream();
        let gateway = gateway(&server, &format!("{tables}{more}"));
        for case in cases {
            let (subject, from, to, _) = *case;
            let more = made!({ name: { "src": from, "dest": to } });
            let mut agent = RawClient::agent(gateway.addr());
            let refused = is_refused(&create(&mut agent, &[subject], &more));
            let mut bare = RawClient::agent(server.addr());
            if refused {
                assert!(!is_refused(&create(&mut bare, &[subject], &more)));
            }
            each(case, refused, &mut agent, &server);
            ask(&mut bare, "$JS.API.STREAM.DELETE.s", "", b"");
        }
    }
}

/// Publishes on a stream's subject; on return it is stored and acknowledged.
fn publish(agent: &mut RawClient, subject: &str) {
    let at = subject.replace('>', "a");
    let answer = ask(agent, &at, "", b"said");
    assert!(answer["error"].is_null(), "{answer}");
}

#[test]
fn republish_is_refused_exactly_where_nobody_would_get_anything() {
    walk("republish", |case, refused, agent, server| {
        let (subject, _, _, end) = case;
        let mut bare = RawClient::agent(server.addr());
        bare.subscribe(end);
        agent.subscribe(end);
        publish(agent, subject);
        bare.message(end);
        let heard = agent.arrived();
        let came = heard.iter().any(|frame| frame.words()[0] == *end);
        assert_eq!(refused, !came, "{case:?}");
    });
}

#[test]
fn transform_is_refused_exactly_where_nobody_would_get_anything() {
    walk("subject_transform", |case, refused, agent, _| {
        let (subject, _, _, end) = case;
        publish(agent, subject);
        let got = ask(agent, "$JS.API.STREAM.MSG.GET.s", "", br#"{"seq":1}"#);
        let came = got["message"]["subject"] == *end;
        assert_eq!(refused, !came, "{case:?} {got}");
    });
}

/// Every case that the gateway refuses.
fn refused_cases() -> Vec<&'static Case> {
    let mut refused_cases = Vec::new();
    let server = NatsServer::jetstream();
    for (tables, more, cases) in CASES {
        let gateway = gateway(&server, &format!("{tables}{more}"));
        let mut agent = RawClient::agent(gateway.addr());
        refused_cases.extend(cases.iter().filter(|(subject, from, to, _)| {
            let more = made!({ "republish": { "src": from, "dest": to } });
            let refused = is_refused(&create(&mut agent, &[*subject], &more));
            ask(&mut agent, "$JS.API.STREAM.DELETE.s", "", b"");
            refused
        }));
    }
    refused_cases
}

#[test]
fn remedies_that_a_refusal_names_have_the_stream_accepted_and_its_messages_opened() {
    let cases = refused_cases();
    assert_eq!(cases.len(), 11);
    let server = NatsServer::jetstream();
    for case in cases {
        let (subject, from, to, end) = *case;
        let published = subject.replace('>', "a");
        for tables in remedies(&published, end) {
            let gateway = gateway(&server, &tables);
            let mut agent = RawClient::agent(gateway.addr());
            let transform = made!({ "src": from, "dest": to });
            let republish = made!({ "republish": transform });
            assert!(!is_refused(&create(&mut agent, &[subject], &republish)));
            agent.subscribe(end);
            publish(&mut agent, subject);
            assert_eq!(agent.message(end).payload(), b"said", "{case:?} {tables}");
            ask(&mut agent, "$JS.API.STREAM.DELETE.s", "", b"");
            let renames = made!({ "subject_transform": transform });
            assert!(!is_refused(&create(&mut agent, &[subject], &renames)));
            publish(&mut agent, subject);
            let got = ask(&mut agent, "$JS.API.STREAM.MSG.GET.s", "", br#"{"seq":1}"#);
            assert_eq!(got["message"]["subject"], end, "{case:?} {tables} {got}");
            ask(&mut agent, "$JS.API.STREAM.DELETE.s", "", b"");
        }
    }
}

/// The answer to a request to restore a stream of this name with these subjects and members.
fn restore(agent: &mut RawClient, (name, subjects): (&str, &[&str]), more: &Value) -> Value {
    let mut config = made!({ "name": name, "subjects": subjects, "storage": "memory" });
    let members = config.as_object_mut().unwrap();
    members.extend(more.as_object().unwrap().clone());
    let state =
        made!({ "messages": 0, "bytes": 0, "first_seq": 1, "last_seq": 0, "consumer_count": 0 });
    let body = made!({ "config": config, "state": state }).to_string();
    let subject = format!("$JS.API.STREAM.RESTORE.{name}");
    ask(agent, &subject, "", body.as_bytes())
}

#[test]
fn stream_that_is_restored_is_judged_as_one_that_is_made() {
    for (tables, more, cases) in CASES {
        let server = NatsServer::jetstream();
        let gateway = gateway(&server, &format!("{tables}{more}"));
        let mut agent = RawClient::agent(gateway.addr());
        for (number, case) in cases.iter().enumerate() {
            let (subject, from, to, _) = *case;
            for kind in ["republish", "subject_transform"] {
                let more = made!({ kind: { "src": from, "dest": to } });
                let made = is_refused(&create(&mut agent, &[subject], &more));
                ask(&mut agent, "$JS.API.STREAM.DELETE.s", "", b"");
                let name = format!("{kind}{number}");
                let answer = restore(&mut agent, (&name, &[subject]), &more);
                assert_eq!(is_refused(&answer), made, "{case:?} {answer}");
                assert_eq!(answer["deliver_subject"].is_null(), made, "{answer}");
            }
        }
    }
}

#[test]
fn counters_on_a_sealed_subject_are_refused_where_they_are_restored_too() {
    let server = NatsServer::jetstream();
    let gateway = gateway(&server, PART);
    let mut agent = RawClient::agent(gateway.addr());
    let counts = made!({ "allow_msg_counter": true });
    for (subject, code) in [("in.>", made!(10168)), ("plain.>", Value::Null)] {
        let answer = restore(&mut agent, ("c", &[subject]), &counts);
        assert_eq!(answer["error"]["err_code"], code, "{answer}");
    }
}

#[test]
fn headers_alone_copies_and_streams_that_rename_nothing_are_never_refused() {
    let server = NatsServer::jetstream();
    let gateway = Gateway::sealing(&server.url());
    let mut agent = RawClient::agent(gateway.addr());
    for more in [
        made!({ "republish": { "src": "in.>", "dest": "copy.>", "headers_only": true } }),
        made!({ "subject_transform": { "src": "in.*", "dest": "in.{{wildcard(1)}}" } }),
        made!({ "republish": null, "subject_transform": null }),
        made!({ "sources": [{ "name": "o" }], "republish": { "src": "in.>", "dest": "copy.>" } }),
    ] {
        let answer = create(&mut agent, &["in.>"], &more);
        assert!(!is_refused(&answer), "{more}");
        ask(&mut agent, "$JS.API.STREAM.DELETE.s", "", b"");
    }
}

#[test]
fn what_was_refused_is_asked_again_after_a_reload_and_counted() {
    let server = NatsServer::jetstream();
    let gateway = gateway(&server, EVERYTHING);
    let mut agent = RawClient::agent(gateway.addr());
    let plain = made!({});
    let moved = made!({ "republish": { "src": "in.*", "dest": "out.{{wildcard(1)}}" } });
    assert!(is_refused(&create(&mut agent, &["in.*"], &moved)));
    assert!(!is_refused(&create(&mut agent, &["in.*"], &plain)));
    let config = made!({ "name": "s", "subjects": ["in.*"], "storage": "memory",
        "republish": moved["republish"] });
    let update = |agent: &mut RawClient| {
        let body = config.to_string();
        is_refused(&ask(agent, "$JS.API.STREAM.UPDATE.s", "", body.as_bytes()))
    };
    assert!(update(&mut agent));
    let metrics = gateway.metrics();
    let refused = metrics.sum("keyway_refused_messages_total", &[("cause", "destination")]);
    assert!((refused - 2.0).abs() < 0.1, "{refused}");
    let config = gateway.config();
    let status = keyway(&["status", "--config", path(&config)]);
    for words in ["2 messages refused", "cause destination", "alias"] {
        assert!(
            text(&status.stdout).contains(words),
            "{}",
            text(&status.stdout)
        );
    }
    let written = std::fs::read_to_string(&config).unwrap();
    let changed = written.replace(EVERYTHING, &format!("{EVERYTHING}{ALIAS}"));
    std::fs::write(&config, changed).unwrap();
    let reloaded = keyway(&["reload", "--config", path(&config)]);
    assert_eq!(code(&reloaded), 0, "{}", stderr_of(&reloaded));
    assert!(!update(&mut agent));
    agent.subscribe("out.a");
    publish(&mut agent, "in.a");
    assert_eq!(agent.message("out.a").payload(), b"said");
}

const FAR: &str = "2099-01-01T00:00:00Z";

/// The headers of a schedule.
fn schedule(at: &str, target: &str, more: &str) -> String {
    format!("Nats-Schedule: @at {at}\r\nNats-Schedule-Target: {target}\r\n{more}")
}

/// Whether a stored envelope opens for an agent when a schedule republishes it.
fn opens_when_scheduled(
    (server, gateway): (&NatsServer, &Gateway),
    at: &str,
    target: &str,
) -> bool {
    let mut tap = BusTap::open(server.addr());
    let mut agent = RawClient::agent(gateway.addr());
    agent.publish(at, b"soon");
    let sealed = tap.message(at).payload().to_vec();
    let mut bare = RawClient::agent(server.addr());
    let past = schedule("2020-01-01T00:00:00Z", target, "");
    let answer = ask(&mut bare, at, &past, &sealed);
    assert!(answer["error"].is_null(), "{answer}");
    let last = made!({ "last_by_subj": target }).to_string();
    let get = |agent: &mut RawClient| ask(agent, "$JS.API.STREAM.MSG.GET.s", "", last.as_bytes());
    wait::until("the schedule", || {
        get(&mut bare)["message"].is_object().then_some(())
    });
    get(&mut agent)["message"].is_object()
}

/// Configurations, and where what is published on `in.a` is to come out.
const SCHEDULES: [(&str, &str, &str); 7] = [
    (EVERYTHING, "", "out.a"),
    (EVERYTHING, MOVES, "out.a"),
    (EVERYTHING, ALIAS, "out.a"),
    (EVERYTHING, ALIAS, "out.b"),
    (PART, "", "out.a"),
    (PART, "", "in.b"),
    (TWO, "", "out.a"),
];

#[test]
fn remedies_that_a_refusal_names_have_the_schedule_accepted_and_its_message_opened() {
    let schedules = made!({ "allow_msg_schedules": true, "allow_msg_ttl": true });
    // Also for a schedule in plaintext, and for one that publishes another subject's last message.
    let clear = (PART, "plain.a", "in.b", "");
    let sourced = (TWO, "plain.a", "out.b", "in.a");
    let own = SCHEDULES.map(|(tables, _, target)| (tables, "in.a", target, ""));
    for (tables, at, target, source) in own.into_iter().chain([clear, sourced]) {
        let line = format!("Nats-Schedule-Source: {source}\r\n");
        let headers = schedule(FAR, target, if source.is_empty() { "" } else { &line });
        let subjects = ["in.>", "out.>", "plain.>"];
        let server = NatsServer::jetstream();
        let before = gateway(&server, tables);
        let mut agent = RawClient::agent(before.addr());
        assert!(!is_refused(&create(&mut agent, &subjects, &schedules)));
        if !is_refused(&ask(&mut agent, at, &headers, b"soon")) {
            continue;
        }
        let published = if source.is_empty() { at } else { source };
        for tables in remedies(published, target) {
            let server = NatsServer::jetstream();
            let gateway = gateway(&server, &tables);
            let mut agent = RawClient::agent(gateway.addr());
            assert!(!is_refused(&create(&mut agent, &subjects, &schedules)));
            assert!(!is_refused(&ask(&mut agent, at, &headers, b"soon")));
            let opens = opens_when_scheduled((&server, &gateway), published, target);
            assert!(opens, "{tables}");
        }
    }
}

#[test]
fn schedule_is_refused_exactly_where_its_target_opens_for_nobody() {
    let schedules = made!({ "allow_msg_schedules": true, "allow_msg_ttl": true });
    for (tables, more, target) in SCHEDULES {
        let server = NatsServer::jetstream();
        let gateway = gateway(&server, &format!("{tables}{more}"));
        let mut agent = RawClient::agent(gateway.addr());
        assert!(!is_refused(&create(
            &mut agent,
            &["in.>", "out.>"],
            &schedules
        )));
        let headers = schedule(FAR, target, "");
        let refused = is_refused(&ask(&mut agent, "in.a", &headers, b"soon"));
        let opens = opens_when_scheduled((&server, &gateway), "in.a", target);
        assert_eq!(refused, !opens, "{tables}{more}{target}");
        // An empty message is not sealed, and opens everywhere.
        assert!(!is_refused(&ask(&mut agent, "in.a", &headers, b"")));
    }
}

#[test]
fn schedule_with_a_source_is_judged_by_where_the_source_lies() {
    let server = NatsServer::jetstream();
    let gateway = gateway(&server, &format!("{EVERYTHING}{ALIAS}"));
    let mut agent = RawClient::agent(gateway.addr());
    // No stream is needed for a refusal; a request that is not refused finds none.
    let mut refused = |target: &str, source: &str, body: &[u8]| {
        let more = format!("Nats-Schedule-Source: {source}\r\n");
        agent.subscribe("_INBOX.s");
        agent.forget();
        let head = format!("NATS/1.0\r\n{}\r\n", schedule(FAR, target, &more));
        let (len, total) = (head.len(), head.len() + body.len());
        let line = format!("HPUB at.x _INBOX.s {len} {total}\r\n{head}");
        agent.send(&[line.as_bytes(), body, b"\r\n"].concat());
        let heard = agent.arrived();
        let mut texts = heard.iter().map(|frame| text(frame.payload()).to_owned());
        texts.any(|said| said.contains("keyway: what the schedule publishes"))
    };
    assert!(!refused("out.a", "in.a", b""));
    assert!(refused("out.a", "in.b", b""));
    assert!(refused("out.a", "in.b", b"instead"));
    assert!(!refused("at.x", "in.b", b"instead"));
}

/// Fails unless the client's scenario saw the refusals of the stream and of the schedule.
fn is_told(client: &str, outcomes: &[Outcome]) {
    assert_passed(client, outcomes);
    let [outcome] = outcomes else {
        panic!("{client}: {outcomes:?}");
    };
    for (at, (number, words)) in [
        ("10052", "would open for nobody"),
        ("10190", "what the schedule publishes"),
    ]
    .iter()
    .enumerate()
    {
        let seen = outcome.seen.get(at).map_or("", String::as_str);
        assert!(
            seen.contains(number) && seen.contains(words),
            "{client}: {:?}",
            outcome.seen
        );
    }
}

/// A gateway whose stream `s` takes schedules.
fn scheduling(server: &NatsServer) -> Gateway {
    let gateway = Gateway::sealing(&server.url());
    let mut agent = RawClient::agent(gateway.addr());
    let schedules = made!({ "allow_msg_schedules": true, "allow_msg_ttl": true });
    assert!(!is_refused(&create(
        &mut agent,
        &["in.>", "out.>"],
        &schedules
    )));
    gateway
}

fn shows(client: Client) {
    let server = NatsServer::jetstream();
    let gateway = scheduling(&server);
    let outcomes = match client {
        Client::C => client.run(&gateway.url(), &["--only", "misdirected"], |_| {}),
        Client::Python | Client::JavaScript => client.edge(&gateway.url(), "misdirected", |_| {}),
    };
    is_told(&format!("{client:?}"), &outcomes);
}

#[test]
fn nats_py_shows_the_refusal_as_an_error_of_jetstream() {
    shows(Client::Python);
}

#[test]
fn nats_js_shows_the_refusal_as_an_error_of_jetstream() {
    shows(Client::JavaScript);
}

#[test]
fn nats_c_shows_the_refusal_as_an_error_of_jetstream() {
    shows(Client::C);
}

#[tokio::test]
async fn async_nats_shows_the_refusal_as_an_error_of_jetstream() {
    let server = NatsServer::jetstream();
    let gateway = scheduling(&server);
    let client = Box::pin(async_nats::connect(gateway.url())).await.unwrap();
    let context = jetstream::new(client);
    let config = stream::Config {
        name: "t".to_owned(),
        subjects: vec!["at.>".to_owned()],
        republish: Some(stream::Republish {
            source: "at.>".to_owned(),
            destination: "copy.>".to_owned(),
            headers_only: false,
        }),
        ..stream::Config::default()
    };
    let refused = Box::pin(context.create_stream(config)).await.unwrap_err();
    let mut headers = HeaderMap::new();
    headers.insert("Nats-Schedule", format!("@at {FAR}"));
    headers.insert("Nats-Schedule-Target", "out.a");
    let sent = context.publish_with_headers("in.a", headers, "soon".into());
    let unscheduled = sent.await.unwrap().await.unwrap_err();
    let seen = vec![format!("{refused:?}"), format!("{unscheduled:?}")];
    let outcome = Outcome {
        name: "misdirected".to_owned(),
        pass: true,
        detail: String::new(),
        seen,
    };
    is_told("async-nats", &[outcome]);
}

const IMPORT: &str = r#"
jetstream { store_dir: "STORE" }
accounts {
  ONE {
    jetstream: enabled
    users [{ user: one, password: one }]
    exports [{ service: "$JS.API.>" }]
  }
  TWO {
    users [{ user: two, password: two }]
    imports [{ service: { account: ONE, subject: "$JS.API.>" }, to: "JS.acme.API.>" }]
  }
}
no_auth_user: two
"#;

#[test]
fn answer_of_an_api_under_a_prefix_that_is_not_named_says_what_to_name() {
    let server = NatsServer::configured(IMPORT);
    let gateway = gateway(&server, EVERYTHING);
    let mut agent = RawClient::agent(gateway.addr());
    let stream = br#"{"name":"s","subjects":["in.>"],"storage":"memory"}"#;
    let asked: [(&str, &[u8]); 4] = [
        ("JS.acme.API.INFO", b""),
        ("JS.acme.API.STREAM.CREATE.s", stream),
        ("JS.acme.API.STREAM.INFO.none", b""),
        ("JS.acme.API.CONSUMER.INFO.none.c", b""),
    ];
    for (subject, body) in asked {
        let answer = ask(&mut agent, subject, "", body);
        let said = answer["error"]["description"].as_str().unwrap_or_default();
        assert!(
            said.contains("name it in jetstream.api-prefixes"),
            "{subject} {answer}"
        );
    }
    let config = gateway.config();
    let status = keyway(&["status", "--config", path(&config)]);
    for words in [
        "4 messages withheld",
        "cause api-prefix",
        "`jetstream.api-prefixes`",
    ] {
        assert!(
            text(&status.stdout).contains(words),
            "{}",
            text(&status.stdout)
        );
    }
    let written = std::fs::read_to_string(&config).unwrap();
    let named = "[jetstream]\napi-prefixes = [\"JS.acme.API\"]\n";
    let changed = written.replace(EVERYTHING, &format!("{named}{EVERYTHING}"));
    std::fs::write(&config, changed).unwrap();
    let reloaded = keyway(&["reload", "--config", path(&config)]);
    assert_eq!(code(&reloaded), 0, "{}", stderr_of(&reloaded));
    let made = ask(&mut agent, "JS.acme.API.STREAM.CREATE.s", "", stream);
    assert_eq!(made["config"]["name"], "s", "{made}");
}

#[test]
fn plaintext_that_only_looks_like_an_answer_of_the_api_gives_nothing_away() {
    let server = NatsServer::start();
    let gateway = Gateway::sealing(&server.url());
    let mut service = RawClient::agent(server.addr());
    service.subscribe("acme.STREAM.ask");
    service.subscribe("acme.ask");
    let mut agent = RawClient::agent(gateway.addr());
    agent.subscribe("_INBOX.>");
    let api =
        br#"{"type":"io.nats.jetstream.api.v1.stream_info_response","config":{"name":"forged"}}"#;
    let forged: [&[u8]; 2] = [api, br#"{"forged":true}"#];
    for (number, payload) in forged.iter().enumerate() {
        for subject in ["acme.STREAM.ask", "acme.ask"] {
            let inbox = format!("_INBOX.{subject}.{number}");
            agent.request(subject, &inbox, b"?");
            let request = service.message(subject);
            assert_eq!(request.words()[2], inbox);
            service.publish(&inbox, payload);
            service.forget();
        }
    }
    let heard = agent.arrived();
    let texts: Vec<_> = heard.iter().map(|frame| text(frame.payload())).collect();
    let [told] = texts[..] else {
        panic!("{texts:?}");
    };
    assert!(
        told.contains("api-prefixes") && !told.contains("forged"),
        "{told}"
    );
}

#[tokio::test]
async fn client_with_a_prefix_that_is_not_named_shows_what_to_name() {
    let server = NatsServer::configured(IMPORT);
    let gateway = Gateway::sealing(&server.url());
    let client = Box::pin(async_nats::connect(gateway.url())).await.unwrap();
    let context = jetstream::with_prefix(client, "JS.acme.API");
    let refused = format!("{:?}", Box::pin(context.get_stream("s")).await.unwrap_err());
    assert!(refused.contains("jetstream.api-prefixes"), "{refused}");
    for driven in [Client::Python, Client::JavaScript] {
        let outcomes = driven.edge(&gateway.url(), "foreign", |_| {});
        assert_passed(&format!("{driven:?}"), &outcomes);
        let seen = &outcomes[0].seen;
        assert!(
            seen[0].contains("jetstream.api-prefixes"),
            "{driven:?} {seen:?}"
        );
    }
}
