//! Promise: a keyring is as strict as configured; what is refused or withheld is counted, and blocks no other message.

#![expect(
    clippy::large_futures,
    reason = "async-nats connects in a large future, which a test's stack holds"
)]

use futures_util::StreamExt as _;
use keyway_tests::{Gateway, GatewayPair, NatsServer, RawClient};

const SAID: &[u8] = b"the launch code is 0000";
const FORGED: &[u8] = b"forged in the clear";
const ACK: &[u8] = br#"{"stream":"s","seq":1}"#;

fn pair(server: NatsServer, more: &str) -> GatewayPair {
    let tables = format!("[[keyring]]\nname = \"k\"\nsubjects = [\">\"]\n{more}");
    GatewayPair::with(server, "", &tables)
}

/// Sends a request through the delivering gateway, and answers it with `answer` from the server itself.
fn answered(pair: &GatewayPair, subject: &str, answer: &[u8]) -> Option<Vec<u8>> {
    let mut bare = pair.bare();
    bare.subscribe(subject);
    let mut agent = RawClient::agent(pair.deliver.addr());
    agent.subscribe("_INBOX.a.*");
    agent.request(subject, "_INBOX.a.1", SAID);
    bare.message(subject).assert_sealed(SAID);
    bare.publish("_INBOX.a.1", answer);
    agent.arrived().pop().map(|frame| frame.payload().to_vec())
}

#[test]
fn plaintext_answers_a_protected_request_only_as_an_acknowledgement() {
    let pair = pair(NatsServer::start(), "");
    assert_eq!(answered(&pair, "a.1", FORGED), None);
    assert_eq!(pair.withheld("plaintext"), 1.0);
    assert_eq!(answered(&pair, "a.1", ACK).as_deref(), Some(ACK));
    let more = br#"{"stream":"s","seq":1,"note":"the launch code is 1111"}"#;
    assert_eq!(answered(&pair, "a.1", more), None);
}

#[test]
fn sealed_replies_admit_no_acknowledgement() {
    let pair = pair(NatsServer::start(), "reply = \"sealed\"\n");
    assert_eq!(answered(&pair, "a.1", ACK), None);
    assert_eq!(answered(&pair, "a.1", b"").as_deref(), Some(&b""[..]));
}

#[test]
fn puback_replies_admit_no_envelope() {
    let pair = pair(NatsServer::start(), "reply = \"puback\"\n");
    assert_eq!(answered(&pair, "a.1", ACK).as_deref(), Some(ACK));
    let mut responder = pair.publisher();
    responder.subscribe("a.2");
    let mut agent = RawClient::agent(pair.deliver.addr());
    agent.subscribe("_INBOX.b.*");
    agent.request("a.2", "_INBOX.b.1", SAID);
    responder.message("a.2");
    responder.publish("_INBOX.b.1", SAID);
    responder.flush();
    assert!(agent.arrived().is_empty());
    assert_eq!(pair.withheld("answer"), 1.0);
}

#[test]
fn plaintext_on_an_inbox_that_nobody_asked_for_is_withheld() {
    let pair = pair(NatsServer::start(), "");
    let mut agent = pair.subscriber("_INBOX.c.*");
    pair.bare().publish("_INBOX.c.1", FORGED);
    assert!(agent.arrived().is_empty());
    assert_eq!(pair.withheld("plaintext"), 1.0);
}

#[test]
fn empties_are_sealed_where_asked_for_and_forged_ones_withheld() {
    let pair = pair(NatsServer::start(), "empty = \"seal\"\n");
    let (mut tap, mut subscriber) = (pair.tap(), pair.subscriber("a.*"));
    let mut agent = pair.publisher();
    agent.publish("a.1", b"");
    assert_eq!(tap.message("a.1").payload().len(), 48);
    assert_eq!(subscriber.message("a.1").payload(), b"");
    pair.bare().publish("a.2", b"");
    assert_eq!(subscriber.arrived().len(), 1);
    assert_eq!(pair.withheld("empty"), 1.0);
    // Empty messages with a meaning in NATS pass.
    agent.publish_with("a.3", "NATS/1.0\r\nKV-Operation: DEL\r\n\r\n", b"");
    assert_eq!(tap.message("a.3").payload(), b"");
    assert_eq!(subscriber.message("a.3").payload(), b"");
}

#[test]
fn refused_increment_is_told_in_its_place_and_its_request_fails_at_once() {
    let pair = pair(NatsServer::jetstream(), "");
    let mut agent = pair.publisher();
    agent.subscribe("_INBOX.d.*");
    agent.flush();
    agent.forget();
    let increment = b"NATS/1.0\r\nNats-Incr: 1\r\n\r\n";
    let size = increment.len();
    agent.send(b"PING\r\n");
    agent.send(format!("HPUB count.a _INBOX.d.1 {size} {size}\r\n").as_bytes());
    agent.send(increment);
    agent.send(b"\r\nPING\r\n");
    let pongs = |bytes: &[u8]| String::from_utf8_lossy(bytes).matches("PONG\r\n").count();
    let seen = agent.until("two pongs", |bytes| pongs(bytes) >= 2);
    let seen = String::from_utf8_lossy(seen).into_owned();
    let error = "-ERR 'Permissions Violation for Publish to \"count.a\"'\r\n";
    let (before, after) = seen.split_once(error).unwrap();
    assert!(before.starts_with("PONG\r\n"), "{seen}");
    assert!(before.contains("counters cannot be sealed"), "{seen}");
    assert!(after.starts_with("PONG\r\n"), "{seen}");
    let metrics = pair.publish.metrics();
    assert_eq!(
        metrics.sum("keyway_refused_messages_total", &[("cause", "counter")]),
        1.0
    );
}

#[test]
fn counter_stream_on_sealed_subjects_is_refused_with_the_reason() {
    let pair = pair(NatsServer::jetstream(), "");
    let mut agent = pair.publisher();
    agent.subscribe("_INBOX.e.*");
    let config =
        br#"{"name":"COUNT","subjects":["count.>"],"allow_msg_counter":true,"storage":"memory"}"#;
    agent.request("$JS.API.STREAM.CREATE.COUNT", "_INBOX.e.1", config);
    let answer = agent.message("_INBOX.e.1");
    let text = String::from_utf8_lossy(answer.payload()).into_owned();
    assert!(text.contains("counters cannot be sealed"), "{text}");
}

/// An agent that has a consumer on a stream of this pair's; `ack` is its policy.
fn consumer(pair: &GatewayPair, ack: &str) -> (RawClient, RawClient) {
    let mut bare = pair.bare();
    bare.subscribe("_INBOX.f.*");
    let config = br#"{"name":"S","subjects":["s.>"],"storage":"memory"}"#;
    bare.request("$JS.API.STREAM.CREATE.S", "_INBOX.f.1", config);
    bare.message("_INBOX.f.1");
    let agent = pair.subscriber("push.s");
    let consumer = format!(
        r#"{{"stream_name":"S","config":{{"deliver_subject":"push.s","ack_policy":"{ack}","ack_wait":60000000000}}}}"#
    );
    bare.request(
        "$JS.API.CONSUMER.CREATE.S",
        "_INBOX.f.2",
        consumer.as_bytes(),
    );
    let made = bare.message("_INBOX.f.2");
    let made = String::from_utf8_lossy(made.payload()).into_owned();
    assert!(!made.contains("\"error\""), "{made}");
    (agent, bare)
}

#[test]
fn version_that_appears_in_a_stream_is_waited_for_loaded_and_opened() {
    let pair = GatewayPair::with(
        NatsServer::jetstream(),
        "",
        "[limits]\nmiss-wait = \"30s\"\n",
    );
    let (mut agent, _bare) = consumer(&pair, "explicit");
    pair.publish.rotate("default");
    pair.copy_record("default");
    let mut publisher = pair.publisher();
    publisher.publish("s.1", SAID);
    publisher.publish("s.2", SAID);
    for subject in ["s.1", "s.2"] {
        assert_eq!(agent.message(subject).payload(), SAID);
    }
    let loaded = [("outcome", "loaded")];
    let metrics = pair.deliver.metrics();
    assert_eq!(metrics.sum("keyway_key_misses_total", &loaded), 1.0);
    assert_eq!(pair.withheld("unknown-key"), 0.0);
}

#[test]
fn version_that_is_gone_holds_its_consumer_up_for_no_longer_than_the_wait() {
    let pair = GatewayPair::with(
        NatsServer::jetstream(),
        "",
        "[limits]\nmiss-wait = \"100ms\"\n",
    );
    let (mut agent, bare) = consumer(&pair, "explicit");
    // Keys that no other gateway has, like those of a destroyed version.
    let stranger = Gateway::sealing(&pair.server.url());
    let mut lost = RawClient::agent(stranger.addr());
    for subject in ["s.1", "s.2", "s.3"] {
        lost.publish(subject, SAID);
    }
    pair.publisher().publish("s.4", SAID);
    assert_eq!(agent.message("s.4").payload(), SAID);
    assert_eq!(agent.arrived().len(), 1);
    assert_eq!(pair.withheld("unknown-key"), 3.0);
    drop(bare);
}

#[tokio::test]
async fn ordered_consumer_goes_past_what_does_not_open_at_the_limit() {
    let more = "[keyring.undecryptable]\nlimit = \"1s\"\nat-limit = \"envelope\"\n";
    let pair = pair(NatsServer::jetstream(), more);
    let connect = |url: String| async move { async_nats::connect(url).await.unwrap() };
    let context = async_nats::jetstream::new(connect(pair.deliver.url()).await);
    let config = async_nats::jetstream::stream::Config {
        name: "S".to_owned(),
        subjects: vec!["s.>".to_owned()],
        ..Default::default()
    };
    let stream = context.create_stream(config).await.unwrap();
    pair.bare().publish("s.1", FORGED);
    pair.publisher().publish("s.2", SAID);
    let ordered = async_nats::jetstream::consumer::pull::OrderedConfig::default();
    let consumer = stream.create_consumer(ordered).await.unwrap();
    let mut messages = consumer.messages().await.unwrap();
    let first = messages.next().await.unwrap().unwrap();
    let cause = first
        .headers
        .as_ref()
        .and_then(|headers| headers.get("Keyway-Undecryptable"));
    assert_eq!(cause.map(|cause| cause.as_str()), Some("plaintext"));
    assert_eq!(
        (first.subject.as_str(), &first.payload[..]),
        ("s.1", &b""[..])
    );
    let second = messages.next().await.unwrap().unwrap();
    assert_eq!(
        (second.subject.as_str(), &second.payload[..]),
        ("s.2", SAID)
    );
}

/// A stream with one message that does not open, and an agent with a push consumer on it.
fn stuck(pair: &GatewayPair) -> RawClient {
    let (mut agent, mut bare) = consumer(pair, "explicit");
    bare.publish("s.1", FORGED);
    pair.publisher().publish("s.2", SAID);
    agent.message("s.2");
    agent
}

#[test]
fn withheld_delivery_blocks_no_other_and_is_not_acknowledged() {
    let pair = pair(NatsServer::jetstream(), "");
    let mut tap = pair.tap();
    let mut agent = stuck(&pair);
    assert!(agent.arrived().iter().all(|frame| frame.subject() != "s.1"));
    let acks = |frame: &keyway_tests::frame::Frame| frame.subject().starts_with("$JS.ACK.");
    assert!(!tap.flush().iter().any(acks));
    assert_eq!(pair.withheld("plaintext"), 1.0);
}

#[test]
fn withheld_delivery_is_refused_with_the_configured_delay() {
    let more = "[keyring.undecryptable]\nnak-delay = \"30s\"\n";
    let pair = pair(NatsServer::jetstream(), more);
    let mut tap = pair.tap();
    let _agent = stuck(&pair);
    let nak = b"-NAK {\"delay\":30000000000}";
    tap.until("the refusal", |frames| {
        frames.iter().any(|frame| frame.payload() == nak)
    });
}

#[test]
fn withheld_delivery_is_terminated_at_the_limit() {
    let more = "[keyring.undecryptable]\nnak-delay = \"100ms\"\nlimit = \"1s\"\nat-limit = \"terminate\"\n";
    let pair = pair(NatsServer::jetstream(), more);
    let mut tap = pair.tap();
    let _agent = stuck(&pair);
    let term = b"+TERM keyway: plaintext";
    tap.until("the end", |frames| {
        frames.iter().any(|frame| frame.payload() == term)
    });
}

#[test]
fn envelope_is_delivered_as_it_is_where_asked_for_with_the_cause() {
    let more = "[keyring.undecryptable]\ndeliver = \"envelope\"\n";
    let pair = pair(NatsServer::start(), more);
    let (mut tap, mut subscriber) = (pair.tap(), pair.subscriber("a.*"));
    pair.publisher().publish("a.1", SAID);
    let mut envelope = tap.message("a.1").payload().to_vec();
    envelope[40] ^= 1;
    let mut bare = pair.bare();
    bare.publish("a.2", &envelope);
    let substitute = subscriber.message("a.2");
    assert_eq!(substitute.payload(), envelope);
    assert_eq!(
        substitute.headers(),
        b"NATS/1.0\r\nKeyway-Undecryptable: unauthentic\r\n\r\n"
    );
    // Rejected plaintext is not delivered this way either.
    bare.publish("a.3", FORGED);
    assert_eq!(subscriber.message("a.3").payload(), b"");
    assert_eq!(pair.withheld("plaintext"), 1.0);
}

#[test]
fn empty_request_that_pretends_to_be_a_headers_only_delivery_draws_no_plaintext() {
    let tables = "[[keyring]]\nname = \"k\"\nsubjects = [\"orders.>\"]\n";
    let pair = GatewayPair::with(NatsServer::start(), "", tables);
    let (mut tap, mut responder) = (pair.tap(), pair.subscriber("orders.get"));
    let headers = "NATS/1.0\r\nNats-Msg-Size: 999\r\n\r\n";
    let size = headers.len();
    let mut bare = pair.bare();
    bare.send(format!("HPUB orders.get _INBOX.evil.1 {size} {size}\r\n{headers}\r\n").as_bytes());
    responder.message("orders.get");
    responder.publish("_INBOX.evil.1", SAID);
    tap.message("_INBOX.evil.1").assert_sealed(SAID);
}

#[test]
fn plaintext_for_a_stored_message_is_judged_by_the_subject_that_was_asked_for() {
    let pair = pair(NatsServer::start(), "");
    let mut agent = RawClient::agent(pair.deliver.addr());
    agent.subscribe("_INBOX.me.*");
    let mut bare = pair.bare();
    for subject in ["$JS.API.DIRECT.GET.S.s.1", "$JS.API.STREAM.MSG.GET.S"] {
        bare.subscribe(subject);
    }
    agent.request("$JS.API.DIRECT.GET.S.s.1", "_INBOX.me.1", b"");
    agent.request(
        "$JS.API.STREAM.MSG.GET.S",
        "_INBOX.me.2",
        br#"{"last_by_subj":"s.1"}"#,
    );
    bare.message("$JS.API.STREAM.MSG.GET.S");
    for subject in ["_INBOX.zz", "$SYS.q"] {
        let headers = format!("NATS/1.0\r\nNats-Subject: {subject}\r\n\r\n");
        bare.publish_with("_INBOX.me.1", &headers, FORGED);
    }
    bare.publish(
        "_INBOX.me.2",
        br#"{"message":{"subject":"$SYS.q","seq":1,"data":"Zm9yZ2VkIGluIHRoZSBjbGVhcg=="}}"#,
    );
    let told = agent.message("_INBOX.me.2");
    assert!(told.payload().starts_with(b"{\"type\":"), "{told:?}");
    assert_eq!(agent.arrived().len(), 1);
    assert_eq!(pair.withheld("plaintext"), 2.0);
    assert_eq!(pair.withheld("answer"), 1.0);
}
