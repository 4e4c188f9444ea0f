//! Consumers of an attacker that deliver to a subscription of the victim.

use super::{SAID, api, arrived, stream, withheld};
use keyway_tests::{GatewayPair, NatsServer, RawClient, wait};

const TABLES: &str = "[[keyring]]\nname = \"plans\"\nsubjects = [\"plans.>\", \"svc.>\"]\n";

/// A stream `Z` that holds a plaintext on the unprotected subject `free.z`.
fn fixture() -> (GatewayPair, RawClient) {
    let pair = GatewayPair::with(NatsServer::jetstream(), "", TABLES);
    let mut keyless = pair.bare();
    keyless.subscribe("_INBOX.test.*");
    stream(&mut keyless, "Z", r#""free.z""#);
    keyless.publish("free.z", SAID);
    keyless.flush();
    (pair, keyless)
}

/// Creates a push consumer of the stream that delivers to `to`.
fn push(keyless: &mut RawClient, name: &str, to: &str) {
    let config = format!(
        r#"{{"stream_name":"Z","config":{{"name":"{name}","deliver_subject":"{to}","deliver_policy":"all","ack_policy":"none"}}}}"#
    );
    let made = api(keyless, &format!("CONSUMER.CREATE.Z.{name}"), &config);
    assert!(made.get("error").is_none(), "{made}");
}

#[test]
fn plaintext_of_a_stream_does_not_come_on_a_subscription_to_a_protected_subject() {
    let (pair, mut keyless) = fixture();
    // Where a subscription is for the exact subject, the server delivers to all that match.
    let mut victims = ["plans.a", "plans.*", "plans.>"].map(|filter| pair.subscriber(filter));
    let mut everything = pair.subscriber(">");
    push(&mut keyless, "A", "plans.a");
    assert_eq!(everything.message("free.z").payload(), SAID);
    let metric = || withheld(&pair.deliver, "plaintext");
    wait::until("it is withheld", || (metric() >= 3.0).then_some(()));
    for victim in &mut victims {
        assert_eq!(arrived(victim), []);
    }
}

#[test]
fn message_of_a_stream_is_no_answer_to_a_request() {
    let (pair, mut keyless) = fixture();
    let mut service = pair.subscriber("svc.a");
    let mut victim = pair.publisher();
    victim.subscribe("_INBOX.own.1");
    victim.request("svc.a", "_INBOX.own.1", b"what?");
    service.message("svc.a");
    push(&mut keyless, "C", "_INBOX.own.1");
    let metric = || withheld(&pair.publish, "answer");
    wait::until("it is withheld", || (metric() >= 1.0).then_some(()));
    service.publish("_INBOX.own.1", b"this");
    assert_eq!(victim.message("_INBOX.own.1").payload(), b"this");
    assert!(arrived(&mut victim).iter().all(|(_, said)| said != SAID));
}

#[test]
fn consumers_of_the_clients_own_deliver_what_nobody_protects() {
    let (pair, _keyless) = fixture();
    let mut agent = pair.publisher();
    agent.subscribe("_INBOX.test.*");
    agent.subscribe("deliver.here");
    agent.subscribe("_INBOX.pushed");
    for (name, to) in [("A", "deliver.here"), ("B", "_INBOX.pushed")] {
        push(&mut agent, name, to);
        assert_eq!(agent.message("free.z").payload(), SAID, "{to}");
        agent.take();
    }
    let config = r#"{"stream_name":"Z","config":{"name":"P","durable_name":"P","deliver_policy":"all","ack_policy":"explicit"}}"#;
    let made = api(&mut agent, "CONSUMER.CREATE.Z.P", config);
    assert!(made.get("error").is_none(), "{made}");
    // Pulls are delivered on their reply subject, under the subject that they are stored under.
    agent.request("$JS.API.CONSUMER.MSG.NEXT.Z.P", "_INBOX.pushed", b"1");
    assert_eq!(agent.message("free.z").payload(), SAID);
}

#[test]
fn what_is_published_where_the_server_reads_acknowledgements_and_is_none_is_refused() {
    let (pair, mut keyless) = fixture();
    let mut victim = pair.subscriber("free.z2");
    push(&mut keyless, "C", "free.z2");
    let ack = victim.message("free.z").words()[2].to_owned();
    let mut tap = pair.tap();
    victim.publish(&ack, SAID);
    victim.publish(&ack, b"+ACK");
    assert_eq!(tap.message(&ack).payload(), b"+ACK");
    assert_eq!(super::refused(&pair.deliver, "reply"), 1.0);
}

/// A pull by a client on the bus itself, answered to `to`.
fn pull(keyless: &mut RawClient, to: &str) {
    let config = r#"{"stream_name":"Z","config":{"name":"P","durable_name":"P","deliver_policy":"all","ack_policy":"none"}}"#;
    let made = api(keyless, "CONSUMER.CREATE.Z.P", config);
    assert!(made.get("error").is_none(), "{made}");
    keyless.request("$JS.API.CONSUMER.MSG.NEXT.Z.P", to, b"1");
    keyless.flush();
}

/// A client with a wildcard subscription for the answers to all its requests, as in most libraries.
#[test]
fn message_of_a_stream_that_was_not_asked_does_not_come_to_an_inbox_with_wildcards() {
    type Has = fn(&mut RawClient, &str);
    let ways: [(&str, Has); 2] = [
        ("push", |keyless, to| push(keyless, "A", to)),
        ("pull", pull),
    ];
    for (what, delivers) in ways {
        for filter in ["_INBOX.own.*", "_INBOX.own.>", "_INBOX.>", "own.*.x.*"] {
            let (pair, mut keyless) = fixture();
            let mut service = pair.subscriber("svc.a");
            let mut victim = pair.publisher();
            victim.subscribe(filter);
            let inbox = filter
                .replace("own.*", "own.s")
                .replace("_INBOX.>", "_INBOX.own.>");
            let inbox = inbox.replace('>', "*").replace('*', "1");
            victim.request("svc.a", &inbox, b"what?");
            service.message("svc.a");
            // The server delivers to wildcards where a subscription for the exact subject exists.
            keyless.subscribe(&inbox);
            keyless.flush();
            delivers(&mut keyless, &inbox);
            let metric = || withheld(&pair.publish, "answer");
            wait::until(&format!("{what} to {filter} is withheld"), || {
                (metric() >= 1.0).then_some(())
            });
            service.publish(&inbox, b"this");
            assert_eq!(victim.message(&inbox).payload(), b"this", "{what} {filter}");
        }
    }
}

/// The attacker sees the reply subject of a pull, and the subject to which a consumer is to push, on the bus.
#[test]
fn message_of_another_stream_does_not_come_where_a_consumer_of_the_clients_delivers() {
    let (pair, mut keyless) = fixture();
    let mut agent = pair.publisher();
    for filter in [
        "_INBOX.test.*",
        "_INBOX.pulled",
        "_INBOX.wild.*",
        "_INBOX.pushed",
        "here.pushed",
    ] {
        agent.subscribe(filter);
    }
    stream(&mut agent, "OWN", r#""plans.>""#);
    let durable = r#"{"stream_name":"OWN","config":{"durable_name":"D","ack_policy":"none"}}"#;
    api(&mut agent, "CONSUMER.DURABLE.CREATE.OWN.D", durable);
    for to in ["_INBOX.pushed", "here.pushed"] {
        let name = to.split('.').next().unwrap();
        let config = format!(
            r#"{{"stream_name":"OWN","config":{{"name":"{name}","deliver_subject":"{to}","ack_policy":"none"}}}}"#
        );
        let made = api(&mut agent, &format!("CONSUMER.CREATE.OWN.{name}"), &config);
        assert!(made.get("error").is_none(), "{made}");
    }
    for to in ["_INBOX.pulled", "_INBOX.wild.7"] {
        agent.request("$JS.API.CONSUMER.MSG.NEXT.OWN.D", to, br#"{"batch":1}"#);
    }
    agent.flush();
    let places = [
        "_INBOX.pulled",
        "_INBOX.wild.7",
        "_INBOX.pushed",
        "here.pushed",
    ];
    for (to, number) in places.into_iter().zip(1..) {
        keyless.subscribe(to);
        push(&mut keyless, &format!("X{number}"), to);
        let metric = || withheld(&pair.publish, "answer");
        wait::until(&format!("it is withheld from {to}"), || {
            (metric() >= f64::from(number)).then_some(())
        });
    }
    agent.take();
    agent.publish("plans.1", b"one");
    agent.publish("plans.2", b"two");
    let mut heard = Vec::new();
    wait::until("its own stream delivers to each place", || {
        heard.extend(arrived(&mut agent));
        let own = heard
            .iter()
            .filter(|(subject, _)| subject.starts_with("plans."));
        (own.count() >= 6).then_some(())
    });
    assert!(heard.iter().all(|(_, said)| said != SAID), "{heard:?}");
}

/// After a connection was lost client libraries subscribe again to where their consumers push, and make none anew.
#[test]
fn consumer_that_was_made_before_the_connection_delivers() {
    let (pair, mut keyless) = fixture();
    for (name, to) in [("A", "_INBOX.before.x"), ("B", "deliver.here")] {
        let mut agent = pair.subscriber(to);
        push(&mut keyless, name, to);
        assert_eq!(agent.message("free.z").payload(), SAID, "{to}");
    }
}

#[test]
fn subscription_with_the_sid_of_another_changes_nothing() {
    let (pair, mut keyless) = fixture();
    let mut victim = pair.publisher();
    victim.send(b"SUB plans.a 9\r\nSUB deliver.here 9\r\n");
    victim.flush();
    push(&mut keyless, "A", "plans.a");
    let metric = || withheld(&pair.publish, "plaintext");
    wait::until("it is withheld", || (metric() >= 1.0).then_some(()));
    assert_eq!(arrived(&mut victim), []);
}

/// With `empty = "seal"` an empty message that was not sealed is withheld.
#[test]
fn empty_message_of_a_stream_is_withheld_as_if_it_were_published() {
    let tables = "[[keyring]]\nname = \"calls\"\nsubjects = \"calls.>\"\nempty = \"seal\"\n";
    let pair = GatewayPair::with(NatsServer::jetstream(), "", tables);
    let mut keyless = pair.bare();
    keyless.subscribe("_INBOX.test.*");
    stream(&mut keyless, "Z", r#""free.z""#);
    keyless.publish("free.z", b"");
    keyless.flush();
    let mut service = pair.subscriber("calls.reboot");
    push(&mut keyless, "A", "calls.reboot");
    let metric = || withheld(&pair.deliver, "empty");
    wait::until("it is withheld", || (metric() >= 1.0).then_some(()));
    assert_eq!(arrived(&mut service), []);
}

/// The server still answers a pull of an earlier connection, once its reply subject is subscribed to again.
#[test]
fn pull_of_an_earlier_connection_is_answered_while_nothing_is_awaited() {
    let (pair, mut keyless) = fixture();
    let mut agent = pair.subscriber("_INBOX.again.*");
    keyless.subscribe("_INBOX.again.1");
    pull(&mut keyless, "_INBOX.again.1");
    assert_eq!(agent.message("free.z").payload(), SAID);
}

/// A stream may store inbox subjects, which no keyring covers here.
#[test]
fn message_that_is_stored_under_an_inbox_does_not_come_on_a_protected_subscription() {
    let tables = "[[keyring]]\nname = \"a\"\nsubjects = [\"agents.>\", \"_INBOX.cov.>\"]\nreply = \"sealed\"\nempty = \"seal\"\n";
    let top = "inbox-prefixes = [\"acme\"]\n";
    let pair = GatewayPair::with(NatsServer::jetstream(), top, tables);
    let mut keyless = pair.bare();
    keyless.subscribe("_INBOX.test.*");
    stream(&mut keyless, "Z", r#""_INBOX.evil","acme.evil","_R_.evil""#);
    for subject in ["_INBOX.evil", "acme.evil", "_R_.evil"] {
        keyless.publish(subject, SAID);
        keyless.publish(subject, b"");
    }
    keyless.flush();
    let mut victim = pair.subscriber("agents.cmd");
    for filter in ["_INBOX.cov.d", "_INBOX.cov.*"] {
        victim.subscribe(filter);
    }
    victim.flush();
    push(&mut keyless, "A", "agents.cmd");
    push(&mut keyless, "B", "_INBOX.cov.d");
    keyless.subscribe("_INBOX.cov.w");
    let config = r#"{"stream_name":"Z","config":{"name":"P","durable_name":"P","deliver_policy":"all","ack_policy":"none"}}"#;
    api(&mut keyless, "CONSUMER.CREATE.Z.P", config);
    keyless.request("$JS.API.CONSUMER.MSG.NEXT.Z.P", "_INBOX.cov.w", b"6");
    let causes = ["plaintext", "empty", "answer"];
    let metric = || {
        causes
            .map(|cause| withheld(&pair.deliver, cause))
            .iter()
            .sum::<f64>()
    };
    // Of six messages: to two subjects, and to the wildcards that match the second and a third.
    wait::until("all are withheld", || (metric() >= 18.0).then_some(()));
    assert_eq!(arrived(&mut victim), []);
}

/// As with pulls: only statuses, and what the stream delivers.
#[test]
fn plaintext_does_not_come_where_a_consumer_of_the_clients_pushes() {
    let (pair, mut keyless) = fixture();
    let mut agent = pair.publisher();
    for filter in ["_INBOX.test.*", "_INBOX.pushed"] {
        agent.subscribe(filter);
    }
    stream(&mut agent, "OWN", r#""plans.>""#);
    let config = r#"{"stream_name":"OWN","config":{"name":"A","deliver_subject":"_INBOX.pushed","ack_policy":"none"}}"#;
    let made = api(&mut agent, "CONSUMER.CREATE.OWN.A", config);
    assert!(made.get("error").is_none(), "{made}");
    let moved = r#"{"name":"E","subjects":["e.a"],"storage":"memory","subject_transform":{"src":"e.a","dest":"_INBOX.pushed"}}"#;
    let made = api(&mut keyless, "STREAM.CREATE.E", moved);
    assert!(made.get("error").is_none(), "{made}");
    keyless.publish("e.a", SAID);
    keyless.publish("_INBOX.pushed", SAID);
    let made = api(
        &mut keyless,
        "CONSUMER.CREATE.E.E",
        &config.replace("OWN", "E").replace("\"A\"", "\"E\""),
    );
    assert!(made.get("error").is_none(), "{made}");
    let metric = || withheld(&pair.publish, "answer");
    wait::until("both are withheld", || (metric() >= 2.0).then_some(()));
    agent.publish("plans.1", b"one");
    assert_eq!(agent.message("plans.1").payload(), b"one");
    assert!(arrived(&mut agent).iter().all(|(_, said)| said != SAID));
}
