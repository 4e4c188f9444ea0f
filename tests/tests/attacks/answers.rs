//! Forged answers: what may answer each class of request, where an attacker publishes on its reply subject.

use super::{SAID, api, arrived, inbox, stream, withheld};
use keyway_tests::{GatewayPair, NatsServer, RawClient};

/// An agent behind the delivering gateway, with an inbox.
fn victim(pair: &GatewayPair) -> RawClient {
    pair.subscriber("_INBOX.test.*")
}

#[test]
fn plaintext_on_the_reply_subject_of_a_pull_is_withheld_and_counted() {
    let pair = GatewayPair::with(NatsServer::jetstream(), "", "");
    let mut victim = victim(&pair);
    stream(&mut victim, "S", r#""orders.>""#);
    let consumer = r#"{"stream_name":"S","config":{"durable_name":"C","ack_policy":"explicit"}}"#;
    api(&mut victim, "CONSUMER.CREATE.S.C", consumer);
    let pull = inbox();
    let body = br#"{"batch":2,"expires":60000000000}"#;
    victim.request("$JS.API.CONSUMER.MSG.NEXT.S.C", &pull, body);
    victim.take();
    let before = withheld(&pair.deliver, "plaintext");
    let mut keyless = pair.bare();
    keyless.publish(&pull, b"pay 100 to bob");
    keyless.publish(&pull, br#"{"stream":"S","seq":1}"#);
    assert_eq!(arrived(&mut victim), []);
    assert_eq!(withheld(&pair.deliver, "plaintext"), before + 2.0);
    // Messages of the stream are delivered, and so are statuses.
    pair.publisher().publish("orders.1", SAID);
    assert_eq!(victim.message("orders.1").payload(), SAID);
    keyless.publish_with(&pull, "NATS/1.0 408 Request Timeout\r\n\r\n", b"");
    assert_eq!(victim.message(&pull).payload(), b"");
}

#[test]
fn envelope_that_no_stream_delivers_does_not_answer_a_pull() {
    let pair = GatewayPair::with(NatsServer::jetstream(), "", "");
    let mut victim = victim(&pair);
    let pull = inbox();
    victim.request("$JS.API.CONSUMER.MSG.NEXT.S.C", &pull, b"");
    victim.take();
    pair.publisher().publish(&pull, SAID);
    assert_eq!(arrived(&mut victim), []);
    assert_eq!(withheld(&pair.deliver, "answer"), 1.0);
}

/// Forged plaintext answers.
const KINDS: [(&str, &str); 5] = [
    ("text", "forged"),
    ("object", r#"{"forged":1}"#),
    ("acknowledgement", r#"{"stream":"forged","seq":1}"#),
    (
        "API response",
        r#"{"type":"io.nats.jetstream.api.v1.stream_names_response","forged":1}"#,
    ),
    (
        "trace event",
        r#"{"server":{"name":"forged","host":"0.0.0.0","id":"N","ver":"2.15.1","jetstream":false,"flags":0,"seq":1,"time":"2026-11-29T10:00:00Z"},"request":{"msgsize":5},"events":[{"type":"in","ts":"2026-11-29T10:00:00Z","kind":0,"cid":5,"acc":"$G","subj":"a.b"}]}"#,
    ),
];

/// The requests, by class, and which of [`KINDS`] may answer each in plaintext; in the order of the table in `deliver/allowed_answers.rs`.
const CLASSES: [(&str, &str, &[&str]); 11] = [
    ("$JS.API.STREAM.NAMES", "", &["API response"]),
    ("$JS.API.STREAM.INFO.S", "", &["API response"]),
    ("$JS.API.STREAM.LIST", "", &["API response"]),
    (
        "$JS.API.STREAM.MSG.GET.S",
        r#"{"last_by_subj":"a.b"}"#,
        &["API response"],
    ),
    ("$JS.API.DIRECT.GET.S", r#"{"last_by_subj":"a.b"}"#, &[]),
    ("$JS.API.DIRECT.GET.S.a.b", "", &[]),
    (
        "$JS.API.DIRECT.GET.S",
        r#"{"last_by_subj":"a.b","no_hdr":true}"#,
        &[],
    ),
    ("$JS.API.CONSUMER.MSG.NEXT.S.C", "1", &[]),
    (
        "$SRV.PING",
        "",
        &["object", "acknowledgement", "API response", "trace event"],
    ),
    ("a.ask", "what?", &["acknowledgement"]),
    ("a.ask", "", &["acknowledgement"]),
];

#[test]
fn only_what_a_request_asks_for_answers_it_in_plaintext() {
    let pair = GatewayPair::with(NatsServer::jetstream(), "", "");
    let mut victim = victim(&pair);
    let mut keyless = pair.bare();
    for (subject, body, expected) in CLASSES {
        let reply = inbox();
        victim.request(subject, &reply, body.as_bytes());
        victim.take();
        for (_, text) in KINDS {
            keyless.publish(&reply, text.as_bytes());
        }
        let came = arrived(&mut victim);
        let came: Vec<_> = KINDS
            .iter()
            .filter(|(_, text)| came.iter().any(|(_, came)| came == text.as_bytes()))
            .map(|(kind, _)| *kind)
            .collect();
        assert_eq!(came, expected, "{subject} {body}");
    }
}

#[test]
fn chunks_of_a_backup_come_where_they_were_asked_for() {
    let pair = GatewayPair::with(NatsServer::jetstream(), "", "");
    let mut victim = victim(&pair);
    // The oldest server makes no backup of a stream in memory.
    let config = r#"{"name":"S","subjects":["orders.>"],"storage":"file"}"#;
    let made = api(&mut victim, "STREAM.CREATE.S", config);
    assert!(made.get("error").is_none(), "{made}");
    pair.publisher().publish("orders.1", SAID);
    let chunks = inbox();
    let body = format!(r#"{{"deliver_subject":"{chunks}","no_consumers":true}}"#);
    let made = api(&mut victim, "STREAM.SNAPSHOT.S", &body);
    assert!(made.get("error").is_none(), "{made}");
    let chunk = victim.message(&chunks);
    assert!(!chunk.payload().is_empty());
}

#[test]
fn trace_events_come_where_they_were_asked_for_and_not_because_a_header_came_in() {
    let pair = GatewayPair::with(NatsServer::jetstream(), "", "");
    let mut victim = pair.subscriber(">");
    let mut keyless = pair.bare();
    let trace = KINDS[4].1.as_bytes();
    // A service that copies the headers of a request into its answer.
    keyless.publish_with(
        "agents.ask",
        "NATS/1.0\r\nNats-Trace-Dest: agents.orders\r\n\r\n",
        b"",
    );
    victim.message("agents.ask");
    victim.publish_with(
        "agents.answer",
        "NATS/1.0\r\nNats-Trace-Dest: agents.orders\r\n\r\n",
        SAID,
    );
    victim.take();
    keyless.publish("agents.orders", b"pay 100 to bob");
    keyless.publish("agents.orders", trace);
    assert_eq!(arrived(&mut victim), []);
    // Where the client itself asks for a trace.
    victim.publish_with(
        "agents.answer",
        "NATS/1.0\r\nNats-Trace-Dest: agents.traces\r\n\r\n",
        SAID,
    );
    victim.message("agents.traces");
    victim.take();
    keyless.publish("agents.traces", b"pay 100 to bob");
    assert_eq!(arrived(&mut victim), []);
}

/// Client libraries answer flow control on its reply subject, whatever it is.
#[test]
fn answer_to_what_looks_like_flow_control_is_not_published_in_the_clear() {
    for tables in [
        "",
        "[[keyring]]\nname = \"c\"\nsubjects = [\"calls.>\", \"_INBOX.>\"]\nreply = \"sealed\"\nempty = \"seal\"\n",
    ] {
        let pair = GatewayPair::with(NatsServer::start(), "", tables);
        let mut service = pair.subscriber("calls.vault");
        let mut keyless = pair.bare();
        keyless.subscribe("$JS.FC.>");
        for status in ["200", "100 FlowControl Request", "503"] {
            let headers = format!("NATS/1.0 {status}\r\n\r\n");
            keyless.send(
                format!(
                    "HPUB calls.vault $JS.FC.b {0} {0}\r\n{headers}\r\n",
                    headers.len()
                )
                .as_bytes(),
            );
            service.message("calls.vault");
            service.take();
            service.publish("$JS.FC.b", SAID);
            service.publish("$JS.FC.b", b"");
            service.flush();
        }
        let heard = arrived(&mut keyless);
        let said = heard.iter().filter(|(_, said)| said == SAID);
        assert_eq!(said.count(), 0, "{heard:?}");
        // A library's answer to flow control.
        assert!(heard.len() >= 3, "{heard:?}");
        assert_eq!(super::refused(&pair.deliver, "reply"), 3.0);
    }
}

/// A client with an inbox prefix of its own, within what keyrings cover by name.
#[test]
fn custom_inbox_prefix_that_is_named_is_an_inbox() {
    let tables = "[[keyring]]\nname = \"agents\"\nsubjects = [\"agents.>\"]\n[[keyring]]\nname = \"inboxes\"\nsubjects = [\"cust.>\"]\n";
    let top = "inbox-prefixes = [\"cust\", \"agents.alice.inbox\"]\n";
    let pair = GatewayPair::with(NatsServer::jetstream(), top, tables);
    let mut service = pair.subscriber("agents.e");
    for filter in ["open.e", "$SRV.PING"] {
        service.subscribe(filter);
    }
    for prefix in ["cust.alice", "agents.alice.inbox"] {
        let mut agent = pair.publisher();
        agent.subscribe(&format!("{prefix}.*"));
        for (subject, request) in [
            ("agents.e", &b"what?"[..]),
            ("agents.e", b""),
            ("open.e", b"what?"),
            ("open.e", b""),
            ("$SRV.PING", b""),
        ] {
            let reply = format!("{prefix}.{}", inbox().replace('.', "-"));
            agent.request(subject, &reply, request);
            let heard = service.message(subject);
            assert_eq!(heard.payload(), request, "{subject} {reply}");
            service.take();
            service.publish(&reply, br#"{"this":1}"#);
            assert_eq!(
                agent.message(&reply).payload(),
                br#"{"this":1}"#,
                "{subject}"
            );
        }
        streams_answer_at(&mut agent, prefix);
    }
}

/// Fails unless streams answer on inboxes below this prefix: stored messages open without their reply subject, and plaintext of
/// an unprotected stream is delivered.
fn streams_answer_at(agent: &mut RawClient, prefix: &str) {
    let ask = |agent: &mut RawClient, subject: &str, body: &str| {
        let reply = format!("{prefix}.{}", inbox().replace('.', "-"));
        agent.request(subject, &reply, body.as_bytes());
        if subject.contains(".NEXT.") {
            return Vec::new();
        }
        agent.message(&reply).payload().to_vec()
    };
    for (name, subjects) in [("ST", "agents.st.>"), ("FREE", "free.>")] {
        let body = format!(r#"{{"name":"{name}","subjects":["{subjects}"],"storage":"memory"}}"#);
        ask(agent, &format!("$JS.API.STREAM.CREATE.{name}"), &body);
    }
    ask(agent, "agents.st.1", "stored");
    let got = ask(
        agent,
        "$JS.API.STREAM.MSG.GET.ST",
        r#"{"last_by_subj":"agents.st.1"}"#,
    );
    let got: serde_json::Value = serde_json::from_slice(&got).unwrap();
    assert!(got.get("error").is_none(), "{got}");
    ask(agent, "free.1", "free");
    let durable =
        r#"{"stream_name":"FREE","config":{"name":"D","durable_name":"D","ack_policy":"none"}}"#;
    ask(agent, "$JS.API.CONSUMER.CREATE.FREE.D", durable);
    ask(agent, "$JS.API.CONSUMER.MSG.NEXT.FREE.D", "1");
    assert_eq!(agent.message("free.1").payload(), b"free");
    ask(agent, "$JS.API.STREAM.DELETE.FREE", "");
}

/// An attacker sends the agent a request whose reply subject is the agent's own inbox, and the agent passes it on.
#[test]
fn what_an_agent_passes_on_lets_nothing_more_come_where_it_waits_itself() {
    let tables = "[[keyring]]\nname = \"a\"\nsubjects = [\"agents.>\"]\nreply = \"sealed\"\nempty = \"seal\"\n";
    let pair = GatewayPair::with(NatsServer::jetstream(), "", tables);
    let mut service = pair.subscriber("agents.svc");
    let mut keyless = pair.bare();
    for (number, onwards) in [
        "open.back",
        "$SRV.PING",
        "$SYS.REQ.USER.INFO",
        "$JS.API.INFO",
    ]
    .into_iter()
    .enumerate()
    {
        for reflected_first in [false, true] {
            let mut agent = pair.publisher();
            agent.subscribe("_INBOX.own.*");
            agent.subscribe("open.fw");
            agent.flush();
            let inbox = format!("_INBOX.own.{number}{}", u8::from(reflected_first));
            let asks = |agent: &mut RawClient| agent.request("agents.svc", &inbox, b"what?");
            if !reflected_first {
                asks(&mut agent);
            }
            keyless.request("open.fw", &inbox, b"x");
            agent.message("open.fw");
            agent.take();
            agent.request(onwards, &inbox, b"x");
            if reflected_first {
                asks(&mut agent);
            }
            service.message("agents.svc");
            service.take();
            agent.flush();
            agent.take();
            for (_, forged) in KINDS {
                keyless.publish(&inbox, forged.as_bytes());
            }
            keyless.flush();
            service.publish(&inbox, SAID);
            assert_eq!(agent.message(&inbox).payload(), SAID, "{onwards}");
            let heard = arrived(&mut agent);
            let forged = heard
                .iter()
                .filter(|(_, said)| KINDS.iter().any(|(_, kind)| kind.as_bytes() == said));
            assert_eq!(forged.count(), 0, "{onwards} {reflected_first} {heard:?}");
        }
    }
}
