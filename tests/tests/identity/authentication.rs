//! Promise: every way to authenticate passes through, and what the server says to wrong credentials reaches the client.
#![expect(
    clippy::large_futures,
    clippy::large_stack_frames,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "async-nats connects in a large future, which a test's stack holds; a test's own functions may stop it too"
)]

use async_nats::ConnectOptions;
use futures_util::StreamExt as _;
use keyway_tests::agent::publish;
use keyway_tests::identity::{Identity, sign};
use keyway_tests::wait::DEADLINE;
use keyway_tests::{Gateway, NatsServer, RawClient};
use nkeys::KeyPair;

/// Fails unless an official client connects with these options through a sealing gateway, and receives its own message.
async fn connects(server: &NatsServer, options: ConnectOptions) {
    let gateway = Gateway::sealing(&server.url());
    let client = options.connect(gateway.url()).await.unwrap();
    let mut messages = client.subscribe("a.b").await.unwrap();
    client.publish("a.b", "hello".into()).await.unwrap();
    let message = tokio::time::timeout(DEADLINE, messages.next())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(message.payload, "hello");
}

/// The server's answer to this CONNECT; fails unless it is the same through the gateway.
fn refused(server: &NatsServer, members: impl Fn(&str) -> String) -> String {
    let gateway = Gateway::sealing(&server.url());
    let said = [server.addr(), gateway.addr()].map(|addr| {
        let mut agent = RawClient::connect(addr);
        agent.until("INFO", |bytes| bytes.ends_with(b"\r\n"));
        let nonce = agent.info()["nonce"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        agent.forget();
        let members = members(&nonce);
        agent.send(
            format!("CONNECT {{\"verbose\":false,\"pedantic\":false{members}}}\r\nPING\r\n")
                .as_bytes(),
        );
        agent.send(&publish("a.b", None, b"hello"));
        String::from_utf8(agent.until_end().to_vec()).unwrap()
    });
    assert_eq!(said[0], said[1]);
    said.into_iter().next().unwrap()
}

const VIOLATION: &str = "-ERR 'Authorization Violation'\r\n";

#[tokio::test]
async fn user_and_password() {
    let server = NatsServer::configured("authorization { user: ann, password: \"s3cr\\\\et\" }");
    let options = ConnectOptions::with_user_and_password("ann".into(), "s3cr\\et".into());
    connects(&server, options).await;
    assert_eq!(
        refused(&server, |_| ",\"user\":\"ann\",\"pass\":\"wrong\"".into()),
        VIOLATION
    );
    assert_eq!(refused(&server, |_| String::new()), VIOLATION);
}

#[tokio::test]
async fn token() {
    let server = NatsServer::configured("authorization { token: \"t0p\" }");
    connects(&server, ConnectOptions::with_token("t0p".into())).await;
    assert_eq!(
        refused(&server, |_| ",\"auth_token\":\"wrong\"".into()),
        VIOLATION
    );
}

#[tokio::test]
async fn nkey() {
    let user = KeyPair::new_user();
    let key = user.public_key();
    let server =
        NatsServer::configured(&format!("authorization {{ users: [ {{ nkey: {key} }} ] }}"));
    connects(&server, ConnectOptions::with_nkey(user.seed().unwrap())).await;
    let other = KeyPair::new_user().seed().unwrap();
    let forged = |nonce: &str| format!(",\"nkey\":\"{key}\",\"sig\":\"{}\"", sign(&other, nonce));
    assert_eq!(refused(&server, forged), VIOLATION);
    let stale = |_: &str| {
        format!(
            ",\"nkey\":\"{key}\",\"sig\":\"{}\"",
            sign(&user.seed().unwrap(), "old nonce")
        )
    };
    assert_eq!(refused(&server, stale), VIOLATION);
}

#[tokio::test]
async fn jwt_credentials() {
    let (identity, stranger) = (Identity::new(-1), Identity::new(-1));
    let server = NatsServer::configured(&identity.server());
    let options = ConnectOptions::with_credentials(&identity.credentials()).unwrap();
    connects(&server, options).await;
    let foreign = |nonce: &str| format!(",{}", stranger.connect(nonce));
    assert_eq!(refused(&server, foreign), VIOLATION);
}

#[test]
fn authentication_time_out_is_reported() {
    let server = NatsServer::configured("authorization { user: ann, password: pw, timeout: 0.2 }");
    let gateway = Gateway::sealing(&server.url());
    let mut silent = RawClient::connect(gateway.addr());
    let said = silent.until_end();
    assert!(
        said.ends_with(b"-ERR 'Authentication Timeout'\r\n"),
        "{}",
        said.escape_ascii()
    );
}

#[test]
fn a_permission_violation_is_reported_and_the_connection_lives_on() {
    let server = NatsServer::configured(
        "authorization { users: [ { user: ann, password: pw, permissions: { publish: \"a.>\", subscribe: \"a.>\" } } ] }",
    );
    let gateway = Gateway::sealing(&server.url());
    let said = [server.addr(), gateway.addr()].map(|addr| {
        let mut agent = RawClient::handshake(addr, "\"user\":\"ann\",\"pass\":\"pw\"");
        agent.forget();
        agent.publish("b.c", b"hello");
        agent.subscribe("b.c");
        agent.subscribe("a.c");
        agent.publish("a.c", b"hello");
        assert_eq!(agent.message("a.c").payload(), b"hello");
        let frames = agent.frames();
        let errors = frames.iter().filter(|frame| frame.verb() == "-ERR");
        errors.map(|frame| frame.line.clone()).collect::<Vec<_>>()
    });
    assert_eq!(said[0], said[1]);
    assert_eq!(said[0].len(), 2, "{said:?}");
}

#[test]
fn the_max_payload_of_a_users_jwt_is_told_less_the_overhead_and_enforced() {
    let identity = Identity::new(1000);
    let server = NatsServer::configured(&identity.server());
    let gateway = Gateway::sealing(&server.url());
    let connect = || {
        let mut agent = RawClient::connect(gateway.addr());
        agent.until("INFO", |bytes| bytes.ends_with(b"\r\n"));
        let nonce = agent.info()["nonce"].as_str().unwrap().to_owned();
        let members = identity.connect(&nonce);
        agent.forget();
        agent.send(
            format!("CONNECT {{\"verbose\":false,\"protocol\":1,{members}}}\r\nPING\r\n")
                .as_bytes(),
        );
        agent.until("the user's INFO", |bytes| {
            bytes
                .windows(18)
                .any(|word| word == b"\"max_payload\":952,")
                && bytes.ends_with(b"\r\n")
        });
        agent
    };
    let mut agent = connect();
    agent.subscribe("a.b");
    agent.publish("a.b", &[b'x'; 952]);
    assert_eq!(agent.message("a.b").payload().len(), 952);
    let mut agent = connect();
    agent.send(&publish("a.b", None, &[b'x'; 953]));
    let said = agent.until_end();
    assert!(
        said.ends_with(b"-ERR 'Maximum Payload Violation'\r\n"),
        "{}",
        said.escape_ascii()
    );
}
