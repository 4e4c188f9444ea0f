//! Promise: `status` reports what was withheld, with cause and remedy.

use keyway_tests::command::{code, json, keyway, path, stderr_of, text};
use keyway_tests::{Gateway, NatsServer, RawClient, wait};

#[test]
fn status_counts_what_was_withheld_and_says_what_helps() {
    let server = NatsServer::start();
    let gateway = Gateway::sealing(&server.url());
    let mut agent = RawClient::agent(gateway.addr());
    agent.subscribe("a.b");
    agent.flush();
    RawClient::agent(server.addr()).publish("a.b", b"in the clear");
    wait::until("what is withheld is counted", || {
        let count = gateway.metrics().sum("keyway_withheld_messages_total", &[]);
        (count > 0.5).then_some(())
    });
    let config = gateway.config();
    let seen = keyway(&["status", "--config", path(&config)]);
    assert_eq!(code(&seen), 0, "{}", stderr_of(&seen));
    let said = text(&seen.stdout);
    for words in ["1 message withheld", "cause plaintext", "api-prefixes"] {
        assert!(said.contains(words), "{words}: {said}");
    }
    let seen = json(&keyway(&["status", "--json", "--config", path(&config)]));
    assert_eq!(seen["lost"][0]["messages"], 1, "{seen}");
    assert_eq!(seen["lost"][0]["cause"], "plaintext", "{seen}");
}
