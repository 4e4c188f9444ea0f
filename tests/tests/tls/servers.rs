//! Which servers are trusted, and connections without TLS.

use super::*;
use std::path::Path;

#[test]
fn server_of_another_ca_is_not_believed_and_the_log_says_which_file() {
    let (fixture, stranger) = (TlsFixture::new(), Authority::new("Another"));
    let server = fixture.server(&AFTER_INFO, "");
    let tables = fixture.tables("", "").replace(
        &format!("[server-tls]\nca = {:?}", fixture.ca.ca()),
        &format!("[server-tls]\nca = {:?}", stranger.ca()),
    );
    let settings = Settings {
        tables,
        ..Settings::default()
    };
    let url = format!("tls://{}", server.addr());
    let mut gateway = Gateway::start(&url, settings);
    let (_, outcome) = greet(gateway.addr(), &TlsMode::AfterInfo(fixture.client()));
    assert_eq!(outcome, WaitOutcome::Closed);
    let wanted = format!("no CA in {} has signed", stranger.ca().display());
    let log = gateway.process();
    let _seen: () = log.line("the CA", |line| line.contains(&wanted).then_some(()));
}

#[test]
fn next_server_is_tried_after_one_with_which_there_is_no_tls() {
    let fixture = TlsFixture::new();
    let (plain, server) = (NatsServer::start(), fixture.server(&AFTER_INFO, ""));
    let urls = [&plain, &server].map(|server| format!("tls://{}", server.addr()));
    let mut gateway = Gateway::in_front_of(&[&urls[0], &urls[1]], fixture.settings(&AFTER_INFO));
    let via = TlsMode::AfterInfo(fixture.client());
    wait::until("a session with the second", || {
        (greet(gateway.addr(), &via).1 == WaitOutcome::Enough).then_some(())
    });
    let _seen: () = gateway.process().line("why", |line| {
        line.contains("does not offer TLS").then_some(())
    });
}

#[test]
fn server_that_requires_tls_is_refused_in_the_clear_with_the_remedy() {
    let fixture = TlsFixture::new();
    let server = fixture.server(&AFTER_INFO, "");
    let mut gateway = Gateway::sealing(&server.url());
    assert_eq!(
        greet(gateway.addr(), &TlsMode::Plain).1,
        WaitOutcome::Closed
    );
    let log = gateway.process();
    let _seen: () = log.line("the remedy", |line| {
        (line.contains("it requires TLS") && line.contains("[server-tls]")).then_some(())
    });
}

#[test]
fn sidecar_at_a_unix_socket_needs_no_tls() {
    use std::io::{Read as _, Write as _};
    let fixture = TlsFixture::new();
    let server = fixture.server(&AFTER_INFO, "");
    let folder = keyway_tests::scratch::folder("sidecar");
    let socket = folder.path().join("nats.sock");
    let config = folder.path().join("keyway.toml");
    write_config(&config, &socket, &server, &fixture);
    let mut command = std::process::Command::new(keyway_tests::gateway::binary());
    command.arg("run").arg("--config").arg(&config);
    let mut gateway = keyway_tests::process::Process::start("keyway", &mut command);
    let mut agent = wait::until("the socket", || {
        assert!(gateway.ended().is_none(), "{}", gateway.log());
        std::os::unix::net::UnixStream::connect(&socket).ok()
    });
    agent.set_read_timeout(Some(PATIENCE)).unwrap();
    agent
        .write_all(b"CONNECT {\"verbose\":false}\r\nSUB a 1\r\nPUB a 2\r\nhi\r\nPING\r\n")
        .unwrap();
    let mut received = Vec::new();
    while !received.ends_with(b"PONG\r\n") {
        let mut chunk = [0; 4096];
        let count = agent.read(&mut chunk).unwrap();
        assert_ne!(count, 0, "{}", received.escape_ascii());
        received.extend_from_slice(&chunk[..count]);
    }
    let text = String::from_utf8(received).unwrap();
    assert!(!text.contains("tls_required"), "{text}");
    assert!(text.contains("MSG a 1 2\r\nhi\r\n"), "{text}");
}

fn write_config(config: &Path, socket: &Path, server: &NatsServer, fixture: &TlsFixture) {
    let state = config.with_file_name("state");
    let text = format!(
        "listen = \"unix:{}\"\nservers = \"tls://{}\"\nstate = {state:?}\n[admin]\nlisten = \"off\"\n{}",
        socket.display(),
        server.addr(),
        fixture.tables("", "")
    );
    std::fs::write(config, text).unwrap();
}
