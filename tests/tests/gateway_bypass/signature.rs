//! The signature of a trusted proxy.

use super::*;
use keyway_tests::identity::{Identity, sign};
use nkeys::KeyPair;

#[test]
fn agent_is_refused_directly_and_served_through_the_gateway() {
    let key = ProxyKey::new();
    let user = KeyPair::new_user();
    let (seed, public) = (user.seed().unwrap(), user.public_key());
    let nkey_user =
        format!("authorization {{ users: [ {{ nkey: {public}, proxy_required: true }} ] }}");
    let token = "authorization { token: secret, proxy_required: true }".to_owned();
    let jwt = Identity::requiring_proxy();
    type Members<'a> = Box<dyn Fn(&str) -> String + 'a>;
    let cases: [(String, Members<'_>); 4] = [
        (USERS.to_owned(), Box::new(|_| PASSWORD.to_owned())),
        (
            nkey_user,
            Box::new(|nonce| format!("\"nkey\":\"{public}\",\"sig\":\"{}\"", sign(&seed, nonce))),
        ),
        (token, Box::new(|_| "\"auth_token\":\"secret\"".to_owned())),
        (jwt.server(), Box::new(|nonce| jwt.connect(nonce))),
    ];
    for (users, members) in cases {
        let server = NatsServer::configured(&(key.trusted() + &users));
        let gateway = key.gateway(&server);
        assert!(!lets_in(server.addr(), &members), "{users}");
        assert!(lets_in(gateway.addr(), &members), "{users}");
    }
}

#[test]
fn second_connect_is_signed_too() {
    let key = ProxyKey::new();
    let server = NatsServer::configured(&(key.trusted() + USERS));
    let gateway = key.gateway(&server);
    let mut raw = RawClient::handshake(gateway.addr(), PASSWORD);
    raw.forget();
    raw.send(format!("CONNECT {{\"verbose\":false,{PASSWORD}}}\r\nPING\r\n").as_bytes());
    raw.until("PONG", |bytes| bytes.ends_with(b"PONG\r\n"));
}

#[test]
fn clients_own_signature_is_removed_in_any_letter_case() {
    let key = ProxyKey::new();
    let seed = std::fs::read_to_string(key.file()).unwrap();
    let server = NatsServer::configured(&(key.trusted() + USERS));
    // An agent has a key that the server trusts; the gateway has none, and passes no proxy signature on.
    let without = Gateway::sealing(&server.url());
    let gateway = key.gateway(&server);
    for name in ["proxy_sig", "PROXY_SIG", "Proxy_Sig", "pro\\u0078y_sig"] {
        let signed = |nonce: &str| {
            let signature = sign(seed.trim(), nonce);
            format!("{PASSWORD},\"{name}\":\"{signature}\"")
        };
        let wrong = |_: &str| format!("{PASSWORD},\"{name}\":\"AAAA\"");
        assert!(!lets_in(without.addr(), signed), "{name}");
        assert!(lets_in(gateway.addr(), wrong), "{name}");
    }
    assert!(lets_in(server.addr(), |nonce| {
        format!("{PASSWORD},\"proxy_sig\":\"{}\"", sign(seed.trim(), nonce))
    }));
}

#[test]
fn server_refuses_a_key_that_it_does_not_trust() {
    let (trusted, other) = (ProxyKey::new(), ProxyKey::new());
    let server = NatsServer::configured(&(trusted.trusted() + USERS));
    let gateway = other.gateway(&server);
    assert!(!lets_in(gateway.addr(), |_| PASSWORD.into()));
}

#[test]
fn server_that_asks_for_no_signature_is_said_once_a_second() {
    let key = ProxyKey::new();
    let server = NatsServer::start();
    let mut gateway = key.gateway(&server);
    for _ in 0..5 {
        drop(RawClient::handshake(gateway.addr(), ""));
    }
    let said = "the server takes no proxy's signature";
    gateway.process().line(said, |line| {
        (line.contains(said) && line.contains(&key.public)).then_some(())
    });
}

#[test]
fn gateway_does_not_start_with_a_key_that_it_cannot_use() {
    let key = ProxyKey::new();
    std::fs::write(key.file(), "not a seed\n").unwrap();
    let folder = scratch::folder("refused");
    let config = folder.path().join("keyway.toml");
    let state = folder.path().join("state");
    let text = format!(
        "listen = \"127.0.0.1:0\"\nstate = {state:?}\nadmin.listen = \"off\"\nproxy.nkey-seed-file = {:?}\n",
        key.file()
    );
    std::fs::write(&config, text).unwrap();
    let (status, said) = keyway_tests::operator::refused(&config);
    assert_eq!(status.code(), Some(4), "{said}");
    assert!(said.contains("keyway proxy-key"), "{said}");
    assert!(!said.contains("not a seed"), "{said}");
}
