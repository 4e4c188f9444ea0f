//! Promise: secrets reach neither a log nor a core dump.

use keyway_tests::{Gateway, NatsServer, Raw};

#[test]
fn running_gateway_leaves_no_core_dump() {
    let server = NatsServer::start();
    let mut gateway = Gateway::sealing(&server.url());
    let limits =
        std::fs::read_to_string(format!("/proc/{}/limits", gateway.process().id())).unwrap();
    let core = limits
        .lines()
        .find(|line| line.starts_with("Max core file size"))
        .unwrap();
    assert_eq!(core.split_whitespace().nth(4), Some("0"), "{core}");
}

#[test]
fn log_holds_neither_the_kek_nor_a_payload() {
    let server = NatsServer::start();
    let mut gateway = Gateway::sealing(&server.url());
    Raw::agent(gateway.addr()).publish("a.b", b"an unmistakable payload");
    let kek = std::fs::read_to_string(gateway.state().join("kek")).unwrap();
    let secret = kek.trim().split(':').nth(1).unwrap();
    gateway.process().terminate();
    let log = gateway.process().whole_log();
    assert!(log.contains("ready"), "{log}");
    assert!(
        !log.contains(secret.get(..20).unwrap()),
        "the KEK is in the log"
    );
    assert!(!log.contains("unmistakable"), "a payload is in the log");
}
