//! Headers of a publisher that imitate the server's own.

use super::{SAID, answers, api, arrived, inbox, stream, withheld};
use data_encoding::BASE64;
use keyway_tests::{GatewayPair, NatsServer, RawClient};

/// An agent behind the delivering gateway, and a stream that holds a sealed `k.admin` (1), its envelope on `k.guest` with a forged
/// header (2), and a forged plaintext on `k.plain` with another (3).
fn fixture(server: NatsServer) -> (GatewayPair, RawClient) {
    let tables = "[[keyring]]\nname = \"k\"\nsubjects = \"k.>\"\n";
    let pair = GatewayPair::with(server, "", tables);
    let mut victim = pair.subscriber("_INBOX.test.*");
    stream(&mut victim, "S", r#""k.>""#);
    let mut tap = pair.tap();
    pair.publisher().publish("k.admin", SAID);
    let envelope = tap.message("k.admin").payload().to_vec();
    let mut keyless = pair.bare();
    let forged = "NATS/1.0\r\nNats-Subject: k.admin\r\n\r\n";
    keyless.publish_with("k.guest", forged, &envelope);
    let forged = "NATS/1.0\r\nNats-Subject: $SRV.x\r\n\r\n";
    keyless.publish_with("k.plain", forged, b"pay 100 to bob");
    (pair, victim)
}

#[test]
fn moved_envelope_stays_closed_in_every_direct_get_whatever_its_publisher_has_written() {
    let (pair, mut victim) = fixture(NatsServer::jetstream());
    let get = "$JS.API.DIRECT.GET.S";
    let requests = [
        ("$JS.API.DIRECT.GET.S.k.guest", ""),
        (get, r#"{"last_by_subj":"k.guest"}"#),
        (get, r#"{"seq":2}"#),
        (get, r#"{"seq":2,"no_hdr":true}"#),
        (get, r#"{"multi_last":["k.guest"]}"#),
        (get, r#"{"seq":2,"batch":1}"#),
        (get, r#"{"seq":1,"next_by_subj":"k.guest","no_hdr":true}"#),
    ];
    for (subject, body) in requests {
        let none: Vec<Vec<u8>> = Vec::new();
        assert_eq!(
            answers(&mut victim, &pair.deliver, subject, body),
            none,
            "{subject} {body}"
        );
    }
    assert_eq!(withheld(&pair.deliver, "unauthentic"), 7.0);
    for (subject, body) in [
        ("$JS.API.DIRECT.GET.S.k.admin", ""),
        (get, r#"{"seq":1,"no_hdr":true}"#),
        (get, r#"{"multi_last":["k.admin"]}"#),
    ] {
        assert_eq!(
            answers(&mut victim, &pair.deliver, subject, body),
            [SAID],
            "{subject} {body}"
        );
    }
}

#[test]
fn plaintext_on_a_sealed_subject_is_withheld_in_every_direct_get_whatever_its_publisher_has_written()
 {
    let (pair, mut victim) = fixture(NatsServer::jetstream());
    let get = "$JS.API.DIRECT.GET.S";
    for (subject, body) in [
        ("$JS.API.DIRECT.GET.S.k.plain", ""),
        (get, r#"{"seq":3}"#),
        (get, r#"{"seq":3,"no_hdr":true}"#),
        (get, r#"{"multi_last":["k.plain"]}"#),
        (get, r#"{"batch":1,"seq":3}"#),
    ] {
        let none: Vec<Vec<u8>> = Vec::new();
        assert_eq!(
            answers(&mut victim, &pair.deliver, subject, body),
            none,
            "{subject} {body}"
        );
    }
    assert_eq!(withheld(&pair.deliver, "plaintext"), 5.0);
}

#[test]
fn copy_of_a_message_with_the_headers_of_its_direct_get_is_readable() {
    let (pair, mut victim) = fixture(NatsServer::jetstream());
    let reply = inbox();
    victim.request("$JS.API.DIRECT.GET.S.k.admin", &reply, b"");
    let got = victim.message(&reply);
    let headers = String::from_utf8(got.headers().to_vec()).unwrap();
    victim.publish_with("k.copy", &headers, got.payload());
    let got = answers(
        &mut victim,
        &pair.deliver,
        "$JS.API.DIRECT.GET.S.k.copy",
        "",
    );
    assert_eq!(got, [SAID]);
}

#[test]
fn answer_without_headers_is_what_the_client_asked_for() {
    let (_pair, mut victim) = fixture(NatsServer::jetstream());
    let reply = inbox();
    let body = br#"{"last_by_subj":"k.admin","no_hdr":true}"#;
    victim.request("$JS.API.DIRECT.GET.S", &reply, body);
    let got = victim.message(&reply);
    assert_eq!((got.verb(), got.payload()), ("MSG", SAID));
}

/// What a consumer, a direct get and a get deliver of a moved envelope that says where it comes from.
fn moved_by_its_source(server: NatsServer) {
    let (pair, mut victim) = fixture(server);
    let mut tap = pair.tap();
    pair.publisher().publish("k.admin", SAID);
    let envelope = tap.message("k.admin").payload().to_vec();
    let forged = "NATS/1.0\r\nNats-Stream-Source: O 1 > > k.admin\r\n\r\n";
    pair.bare().publish_with("k.moved", forged, &envelope);
    let none: Vec<Vec<u8>> = Vec::new();
    assert_eq!(
        answers(
            &mut victim,
            &pair.deliver,
            "$JS.API.DIRECT.GET.S.k.moved",
            ""
        ),
        none
    );
    let body = r#"{"last_by_subj":"k.moved"}"#;
    let got = api(&mut victim, "STREAM.MSG.GET.S", body);
    let data = got["message"]["data"].as_str().map(str::as_bytes);
    let data = data.map(|data| BASE64.decode(data).unwrap());
    assert_ne!(data.as_deref(), Some(SAID));
    let consumer = r#"{"stream_name":"S","config":{"deliver_subject":"_INBOX.test.push","filter_subject":"k.moved","ack_policy":"none"}}"#;
    api(&mut victim, "CONSUMER.CREATE.S", consumer);
    assert!(
        victim
            .take_arrived()
            .iter()
            .all(|frame| frame.payload() != SAID)
    );
}

#[test]
fn source_that_a_publisher_has_written_opens_nothing() {
    moved_by_its_source(NatsServer::jetstream());
}

#[test]
fn heartbeat_that_would_have_the_client_publish_to_a_protected_subject_is_withheld() {
    let (pair, mut victim) = fixture(NatsServer::jetstream());
    victim.subscribe("push");
    victim.subscribe("k.push");
    victim.take();
    let mut keyless = pair.bare();
    let stalled = |value: &str| {
        format!("NATS/1.0 100 Idle Heartbeat\r\nNats-Consumer-Stalled: {value}\r\n\r\n")
    };
    let forged = [
        stalled("k.x"),
        stalled("k.x").replace("Stalled", "stalled"),
        stalled("$JS.FC.S.C.1\r\nNats-Consumer-Stalled: k.x"),
        "NATS/1.0\r\nStatus: 100\r\nDescription: Idle Heartbeat\r\nNats-Consumer-Stalled: k.x\r\n\r\n".to_owned(),
    ];
    for headers in &forged {
        for subject in ["push", "k.push"] {
            keyless.publish_with(subject, headers, b"");
        }
    }
    // Flow control itself, whose reply subject they publish to.
    let control = "NATS/1.0 100 FlowControl Request\r\n\r\n";
    for reply in ["k.x", "open.x", "$JS.API.STREAM.DELETE.S", "_INBOX.other"] {
        let size = control.len();
        keyless.send(format!("HPUB push {reply} {size} {size}\r\n{control}\r\n").as_bytes());
    }
    keyless.flush();
    assert_eq!(arrived(&mut victim), []);
    assert_eq!(withheld(&pair.deliver, "reply"), 12.0);
    keyless.publish_with("push", &stalled("$JS.FC.S.C.1"), b"");
    let got = victim.message("push");
    assert_eq!(got.headers(), stalled("$JS.FC.S.C.1").as_bytes());
}
