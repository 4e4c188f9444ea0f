//! Promise: no message and no client makes a keyring rotate endlessly.
#![expect(
    clippy::unwrap_used,
    reason = "a test stops at the first thing that is not as expected"
)]

use keyway_tests::agent::publish;
use keyway_tests::gateway::{Settings, binary};
use keyway_tests::{Gateway, NatsServer, RawClient, wait};
use std::process::Command;

/// A gateway before this server, with these tables.
fn gateway(server: &NatsServer, tables: &str) -> Gateway {
    let settings = Settings {
        tables: tables.to_owned(),
        ..Settings::default()
    };
    Gateway::start(&server.url(), settings)
}

/// Limits of this many bytes, for a message and for a key version of the keyring `a`.
fn bytes(most: usize) -> String {
    format!(
        "[limits]\nmax-message = {most}\n[[keyring]]\nname = \"a\"\nsubjects = \"a.>\"\n\
         rotate = {{ bytes = 1000 }}\nlimit = {{ bytes = {most} }}\n"
    )
}

fn keyway(gateway: &Gateway, arguments: &[&str]) -> (bool, String) {
    let mut command = Command::new(binary());
    command.args(arguments).arg(gateway.config());
    let output = command.output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (
        output.status.success(),
        String::from_utf8_lossy(&said).into_owned(),
    )
}

/// The limit is lowered under traffic; what a connection may hold changes with a restart only.
#[test]
fn message_that_no_version_can_seal_is_refused_and_makes_none() {
    let server = NatsServer::start();
    let gateway = gateway(&server, &bytes(100_000));
    let written = std::fs::read_to_string(gateway.config()).unwrap();
    let lower = written.replace("100000", "5000");
    std::fs::write(gateway.config(), lower).unwrap();
    let (done, said) = keyway(&gateway, &["reload", "--config"]);
    assert!(done, "{said}");
    let before: usize = gateway.states().values().sum();
    let mut subscriber = RawClient::agent(gateway.addr());
    subscriber.subscribe("a.*");
    let mut agent = RawClient::agent(gateway.addr());
    let refused = "-ERR 'Permissions Violation for Publish to \"a.large\"'\r\n";
    agent.publish("a.large", &[b'x'; 5001]);
    agent.publish("a.small", b"said before");
    // Also behind others like it.
    let streak = [9, 9, 6000, 9].map(|len| publish("a.large", None, &vec![b'x'; len]));
    agent.send(&streak.concat());
    agent.flush();
    let told = String::from_utf8_lossy(agent.received()).into_owned();
    assert_eq!(told.matches(refused).count(), 2, "{told}");
    let mut heard = subscriber.arrived().into_iter();
    assert_eq!(heard.next().unwrap().payload(), b"said before");
    assert_eq!(heard.count(), 3);
    let counted = gateway.metrics().sum(
        "keyway_refused_messages_total",
        &[("keyring", "a"), ("cause", "too-large")],
    );
    assert!(counted > 1.5, "{counted}");
    let after: usize = gateway.states().values().sum();
    assert_eq!(after, before);
}

#[test]
fn limit_that_one_message_may_exceed_is_refused_before_the_start() {
    let server = NatsServer::start();
    let gateway = gateway(&server, &bytes(100_000));
    let written = std::fs::read_to_string(gateway.config()).unwrap();
    let wrong = written.replace("limit = { bytes = 100000", "limit = { bytes = 99999");
    std::fs::write(gateway.config(), wrong).unwrap();
    for arguments in [&["check"][..], &["reload", "--config"]] {
        let (done, said) = keyway(&gateway, arguments);
        assert!(!done, "{said}");
        for word in ["limit.bytes", "limits.max-message", "100000", "99999"] {
            assert!(said.contains(word), "{word}: {said}");
        }
    }
}

/// Ten messages exhaust a version, so that this client would wait for hours.
#[test]
fn client_that_has_gone_is_not_waited_for() {
    let server = NatsServer::start();
    let tables = "[[keyring]]\nname = \"a\"\nsubjects = \"a.>\"\n\
        rotate = { messages = 9 }\nlimit = { messages = 10 }\n";
    let gateway = gateway(&server, tables);
    let mut agent = RawClient::agent(gateway.addr());
    agent.send(&publish("a.x", None, b"said").repeat(1000));
    let waiting = || {
        let name = "keyway_publish_waiting";
        gateway.metrics().sum(name, &[("keyring", "a")])
    };
    wait::until("a client that waits", || (waiting() > 0.5).then_some(()));
    agent.reset();
    wait::until("nobody who waits", || (waiting() < 0.5).then_some(()));
    let made: usize = gateway.states().values().sum();
    assert!(made < 10, "{made} versions");
}

#[test]
fn rotations_that_people_ask_for_at_once_are_all_answered_and_a_second_apart() {
    let server = NatsServer::start();
    let gateway = gateway(&server, "");
    let mut asked = [(); 4].map(|()| gateway.begin_rotation("default"));
    for rotation in &mut asked {
        assert!(rotation.wait().success(), "{}", rotation.whole_log());
    }
    let record = std::fs::read_to_string(gateway.state().join("catalogue/default.json")).unwrap();
    let times = record.lines().filter_map(|line| {
        let (_name, time) = line.split_once("\"activated\": \"")?;
        let time = time.split('T').nth(1)?.split('Z').next()?;
        let parts = time.split(':').map(str::parse::<f64>);
        parts.reduce(|sum, part| Ok(sum? * 60.0 + part?))?.ok()
    });
    let times: Vec<_> = times.collect();
    assert!(times.len() >= 2, "{times:?}");
    for pair in times.windows(2) {
        let apart = pair.last().zip(pair.first()).map(|(to, from)| to - from);
        // Over midnight it is a day less.
        assert!(
            apart.is_some_and(|apart| !(0.0..0.999).contains(&apart)),
            "{times:?}"
        );
    }
}
