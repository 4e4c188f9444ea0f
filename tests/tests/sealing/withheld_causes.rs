//! Promise: messages that do not open are counted and logged by cause: a version that was revoked, suspended or destroyed is not
//! reported as unknown.

use keyway_tests::command::{code, keyway, path, stderr_of};
use keyway_tests::gateway::Settings;
use keyway_tests::{BusTap, Gateway, NatsServer, RawClient};

const CLOSED: &str =
    "[[keyring]]\nname = \"default\"\nsubjects = [\">\"]\nopen-suspended = false\n";

fn run_command(gateway: &Gateway, words: &[&str]) {
    let config = gateway.config();
    let done = keyway(&[words, &["--why", "a test", "--config", path(&config)]].concat());
    assert_eq!(code(&done), 0, "{}", stderr_of(&done));
}

fn withheld(gateway: &Gateway, cause: &str) -> f64 {
    let labels = [("cause", cause)];
    let metrics = gateway.metrics();
    metrics.sum("keyway_withheld_messages_total", &labels)
}

#[test]
fn message_under_a_version_that_was_taken_out_of_use_is_withheld_for_what_it_is() {
    let server = NatsServer::start();
    let settings = Settings {
        tables: CLOSED.to_owned(),
        ..Settings::default()
    };
    let mut gateway = Gateway::start(&server.url(), settings);
    let mut tap = BusTap::open(server.addr());
    RawClient::agent(gateway.addr()).publish("a.b", b"sealed");
    let sealed = tap.message("a.b").payload().to_vec();
    let mut subscriber = RawClient::agent(gateway.addr());
    subscriber.subscribe("a.*");
    let mut bare = RawClient::agent(server.addr());
    for (words, cause) in [
        (&["suspend", "1"][..], "suspended-key"),
        (&["revoke", "default", "1"], "compromised-key"),
        (&["destroy", "1", "--force"], "destroyed-key"),
    ] {
        run_command(&gateway, words);
        bare.publish("a.b", &sealed);
        assert_eq!(subscriber.arrived(), [], "{cause}");
        assert_eq!(withheld(&gateway, cause), 1.0, "{cause}");
        let field = format!("cause=\"{cause}\"");
        gateway
            .process()
            .line(cause, |line| line.contains(&field).then_some(()));
    }
    assert_eq!(withheld(&gateway, "unknown-key"), 0.0);
    // No session has waited for them, or for unknown versions.
    assert_eq!(gateway.metrics().sum("keyway_key_misses_total", &[]), 0.0);
    let mut strange = sealed;
    strange[4] ^= 1;
    bare.publish("a.b", &strange);
    assert_eq!(subscriber.arrived(), []);
    assert_eq!(withheld(&gateway, "unknown-key"), 1.0);
}

#[test]
fn message_under_a_keyring_that_the_configuration_has_no_more_is_withheld_for_what_it_is() {
    let server = NatsServer::start();
    let other = "[[keyring]]\nname = \"other\"\nsubjects = [\"b.>\"]\n";
    let settings = Settings {
        tables: [CLOSED, other].concat(),
        ..Settings::default()
    };
    let mut gateway = Gateway::start(&server.url(), settings);
    let mut tap = BusTap::open(server.addr());
    RawClient::agent(gateway.addr()).publish("b.c", b"sealed");
    let sealed = tap.message("b.c").payload().to_vec();
    let text = std::fs::read_to_string(gateway.config()).unwrap();
    std::fs::write(gateway.config(), text.replace(other, "")).unwrap();
    gateway.restart();
    let mut subscriber = RawClient::agent(gateway.addr());
    subscriber.subscribe("b.c");
    RawClient::agent(server.addr()).publish("b.c", &sealed);
    assert_eq!(subscriber.arrived(), []);
    assert_eq!(withheld(&gateway, "wrong-keyring"), 1.0);
    assert_eq!(withheld(&gateway, "unknown-key"), 0.0);
}
