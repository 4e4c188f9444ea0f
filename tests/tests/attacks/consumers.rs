//! Push consumers that somebody else makes, with a subscription of the victim's as the place where they deliver.

use super::{SAID, api, arrived, stream, withheld};
use keyway_tests::{NatsServer, Pair, Raw, wait};

const TABLES: &str = "[[keyring]]\nname = \"plans\"\nsubjects = [\"plans.>\", \"svc.>\"]\n";

/// A stream `Z` that holds a plaintext on `free.z`, which nobody protects.
fn scene() -> (Pair, Raw) {
    let pair = Pair::with(NatsServer::jetstream(), "", TABLES);
    let mut keyless = pair.bare();
    keyless.subscribe("_INBOX.test.*");
    stream(&mut keyless, "Z", r#""free.z""#);
    keyless.publish("free.z", SAID);
    keyless.flush();
    (pair, keyless)
}

/// Has the stream delivered to `to`.
fn push(keyless: &mut Raw, name: &str, to: &str) {
    let config = format!(
        r#"{{"stream_name":"Z","config":{{"name":"{name}","deliver_subject":"{to}","deliver_policy":"all","ack_policy":"none"}}}}"#
    );
    let made = api(keyless, &format!("CONSUMER.CREATE.Z.{name}"), &config);
    assert!(made.get("error").is_none(), "{made}");
}

#[test]
fn plaintext_of_a_stream_does_not_come_on_a_subscription_to_a_protected_subject() {
    let (pair, mut keyless) = scene();
    // With one that is the subject itself the server delivers to all that match.
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
    let (pair, mut keyless) = scene();
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
    let (pair, _keyless) = scene();
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
    let (pair, mut keyless) = scene();
    let mut victim = pair.subscriber("free.z2");
    push(&mut keyless, "C", "free.z2");
    let ack = victim.message("free.z").words()[2].to_owned();
    let mut tap = pair.tap();
    victim.publish(&ack, SAID);
    victim.publish(&ack, b"+ACK");
    assert_eq!(tap.message(&ack).payload(), b"+ACK");
    assert_eq!(super::refused(&pair.deliver, "reply"), 1.0);
}
