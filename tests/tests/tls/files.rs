//! Certificate files: reloading, and errors.

use super::*;

/// Asks for a reload, and waits for its line in the log.
pub(super) fn reload(gateway: &mut Gateway, line: &str) {
    gateway.process().signal(rustix::process::Signal::HUP);
    let _seen: () = gateway
        .process()
        .line(line, |said| said.contains(line).then_some(()));
}

#[test]
fn new_certificate_is_shown_to_new_connections_and_old_ones_go_on() {
    let fixture = TlsFixture::new();
    let server = fixture.server(&AFTER_INFO, "");
    let mut gateway = fixture.gateway(&AFTER_INFO, &server);
    let via = TlsMode::AfterInfo(fixture.client());
    let mut old = RawClient::connect_until_info(gateway.addr(), &via, PATIENCE);
    old.send(b"CONNECT {\"verbose\":false}\r\nSUB a 1\r\n");
    old.flush();
    let before = old.certificate().unwrap();
    fixture.ca.sign("gateway", 4);
    reload(&mut gateway, "new certificates are in use");
    let (shown, outcome) = greet(gateway.addr(), &via);
    assert_eq!(outcome, WaitOutcome::Enough);
    assert_ne!(shown.unwrap(), before);
    old.send(b"PUB a 2\r\nhi\r\n");
    let frames = old.flush();
    assert!(
        frames.iter().any(|frame| frame.verb() == "MSG"),
        "{frames:?}"
    );
    // An invalid certificate changes nothing, and is logged with the file.
    std::fs::write(&fixture.gateway.certificate, "no certificate").unwrap();
    reload(&mut gateway, "those before stay in use");
    assert!(
        gateway
            .process()
            .log()
            .contains("gateway.pem holds no certificate")
    );
    assert_eq!(greet(gateway.addr(), &via).1, WaitOutcome::Enough);
    old.flush();
}

#[test]
fn files_are_looked_at_without_being_asked() {
    let fixture = TlsFixture::new();
    let server = fixture.server(&AFTER_INFO, "");
    let gateway = fixture.gateway(&AFTER_INFO, &server);
    let via = TlsMode::AfterInfo(fixture.client());
    let (before, _) = greet(gateway.addr(), &via);
    fixture.ca.sign("gateway", 4);
    wait::until("the new certificate", || {
        let (shown, outcome) = greet(gateway.addr(), &via);
        (outcome == WaitOutcome::Enough && shown != before).then_some(())
    });
}

#[test]
fn revoked_certificate_is_refused_from_the_next_handshake_on() {
    let fixture = TlsFixture::new();
    let server = NatsServer::start();
    let crl = fixture.ca.revoke(&[]);
    let clients = format!("clients = \"required\"\nclient-ca = CA\ncrl = {crl:?}");
    let settings = Settings {
        tables: fixture.tables(&clients, ""),
        ..Settings::default()
    };
    let mut gateway = Gateway::start(&server.url(), settings);
    let via = TlsMode::AfterInfo(fixture.client());
    let mut old = RawClient::connect_until_info(gateway.addr(), &via, PATIENCE);
    old.send(b"CONNECT {\"verbose\":false}\r\n");
    old.flush();
    fixture.ca.revoke(&[3]);
    reload(&mut gateway, "new certificates are in use");
    assert_eq!(greet(gateway.addr(), &via).1, WaitOutcome::Closed);
    old.flush();
}

#[test]
fn check_names_the_file_and_what_is_wrong_with_it() {
    use keyway_tests::command::{code, json, keyway, path, text};
    let fixture = TlsFixture::new();
    let folder = keyway_tests::scratch::folder("check");
    let config = folder.path().join("keyway.toml");
    std::fs::write(
        &config,
        format!("state = \"s\"\n{}", fixture.tables("", "")),
    )
    .unwrap();
    assert_eq!(code(&keyway(&["check", path(&config)])), 0);
    std::fs::copy(&fixture.own.key, &fixture.gateway.key).unwrap();
    std::fs::remove_file(fixture.ca.ca()).unwrap();
    let plain = keyway(&["check", path(&config)]);
    let said = text(&plain.stderr);
    assert_eq!(code(&plain), 3, "{said}");
    assert!(
        said.contains("does not belong to the first certificate"),
        "{said}"
    );
    assert!(
        said.contains("server-tls.ca") && said.contains("does not exist"),
        "{said}"
    );
    let report = json(&keyway(&["check", "--json", path(&config)]));
    assert_eq!(report["errors"][0]["key"], "tls.key");
    assert_eq!(report["errors"][1]["key"], "server-tls.ca");
}

#[test]
fn expiry_is_a_metric() {
    let fixture = TlsFixture::new();
    let server = fixture.server(&AFTER_INFO, "");
    let gateway = fixture.gateway(&AFTER_INFO, &server);
    let metrics = gateway.metrics();
    for role in ["tls.certificate", "server-tls.ca"] {
        let at = metrics.sum(
            "keyway_tls_certificate_expiry_timestamp_seconds",
            &[("role", role)],
        );
        // New Year's Day of 2099.
        assert!((at - 4_070_908_800.0).abs() < 1.0, "{role}: {at}");
    }
}
