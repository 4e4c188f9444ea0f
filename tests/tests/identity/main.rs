//! Promise: a keyring that names its clients is for those alone, by direction; an unverified identity opens no plaintext, and a
//! refused client stays connected.
#![expect(
    clippy::large_futures,
    clippy::indexing_slicing,
    reason = "async-nats connects in a large future, which a test's stack holds; a test's own functions may stop it too"
)]

mod authentication;
mod clients;
mod unauthenticated_clients;

use async_nats::ConnectOptions;
use async_nats::client::RequestErrorKind;
use futures_util::StreamExt as _;
use keyway_tests::command::{code, keyway, path, stderr_of};
use keyway_tests::identity::{Identity, sign};
use keyway_tests::wait::DEADLINE;
use keyway_tests::{Gateway, NatsServer, RawClient, gateway, wait};
use nkeys::KeyPair;

const SAID: &[u8] = b"the launch code is 0000";

/// Users of one account: a publisher, a subscriber, and one without rights.
const USERS: &str = "users: [ {user: planner, password: p}, {user: worker, password: w}, {user: guest, password: g} ]";

const PLANNER: &str = r#""user":"planner","pass":"p","headers":true,"no_responders":true"#;
const WORKER: &str = r#""user":"worker","pass":"w","headers":true,"no_responders":true"#;
const GUEST: &str = r#""user":"guest","pass":"g","headers":true,"no_responders":true"#;

/// A gateway with a keyring on `a.>` with these lines, and one for everybody on `b.>`; its server checks users.
fn gateway(server: &NatsServer, lines: &str) -> Gateway {
    verifying(server, "user", lines)
}

/// The same with `verified`: the credentials that the server is stated to check.
fn verifying(server: &NatsServer, verified: &str, lines: &str) -> Gateway {
    let tables = format!(
        "[[keyring]]\nname = \"open\"\nsubjects = [\"b.>\"]\n[[keyring]]\nname = \"k\"\nsubjects = [\"a.>\", \"$KV.K.>\"]\n{lines}"
    );
    let settings = gateway::Settings {
        top: format!("servers-verify = [{}]", quoted(verified)),
        tables,
        ..Default::default()
    };
    Gateway::start(&server.url(), settings)
}

fn quoted(words: &str) -> String {
    let words: Vec<_> = words.split(' ').map(|word| format!("\"{word}\"")).collect();
    words.join(", ")
}

/// A client whose CONNECT has these members, made for the server's nonce.
fn connected(gateway: &Gateway, members: &dyn Fn(&str) -> String) -> RawClient {
    let mut agent = RawClient::connect(gateway.addr());
    agent.until("INFO", |bytes| bytes.ends_with(b"\r\n"));
    let nonce = agent.info()["nonce"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    let members = members(&nonce);
    let line =
        format!("CONNECT {{\"verbose\":false,\"protocol\":1,\"headers\":true,{members}}}\r\n");
    agent.send(line.as_bytes());
    agent.flush();
    agent
}

/// A server with these users, and a gateway whose keyring is for the planner to publish and the worker to receive.
fn by_direction(server: &str) -> (NatsServer, Gateway) {
    let server = NatsServer::configured(server);
    let lines = "publish-by = [\"user:planner\"]\ndeliver-to = [\"user:worker\"]\n";
    let gateway = gateway(&server, lines);
    (server, gateway)
}

fn users() -> (NatsServer, Gateway) {
    by_direction(&format!("authorization {{ {USERS} }}"))
}

/// The errors that a client has received so far.
fn errors(agent: &mut RawClient) -> Vec<String> {
    let frames = agent.flush();
    let errors = frames.into_iter().filter(|frame| frame.verb() == "-ERR");
    errors.map(|frame| frame.line).collect()
}

/// Whether a client receives in plaintext what the planner publishes.
fn hears(agent: &mut RawClient, planner: &mut RawClient) -> bool {
    agent.send(b"SUB > 77\r\nSUB a.> 78\r\n");
    agent.flush();
    planner.publish("a.x", SAID);
    planner.publish("b.x", SAID);
    let messages = agent.arrived();
    assert!(messages.iter().any(|frame| frame.subject() == "b.x"));
    let heard: Vec<_> = messages
        .iter()
        .filter(|frame| frame.subject() == "a.x")
        .collect();
    assert!(heard.iter().all(|frame| frame.payload() == SAID));
    !heard.is_empty()
}

fn withheld(gateway: &Gateway) -> f64 {
    let labels = [("cause", "identity"), ("keyring", "k")];
    gateway
        .metrics()
        .sum("keyway_withheld_messages_total", &labels)
}

fn refused(gateway: &Gateway) -> f64 {
    let labels = [("cause", "identity"), ("keyring", "k")];
    gateway
        .metrics()
        .sum("keyway_refused_messages_total", &labels)
}

#[test]
fn who_publishes_and_who_gets_it_are_two_lists() {
    let (_server, mut gateway) = users();
    let [mut planner, mut worker, mut guest] =
        [PLANNER, WORKER, GUEST].map(|user| RawClient::handshake(gateway.addr(), user));
    worker.subscribe("a.>");
    planner.publish("a.1", SAID);
    assert_eq!(worker.message("a.1").payload(), SAID);
    assert!(errors(&mut worker).is_empty());
    assert!(!hears(&mut guest, &mut planner));
    assert_eq!(
        errors(&mut guest),
        ["-ERR 'Permissions Violation for Subscription to \"a.>\"'"]
    );
    planner.send(b"SUB a.1 workers 9\r\n");
    assert_eq!(
        errors(&mut planner),
        ["-ERR 'Permissions Violation for Subscription to \"a.1\" using queue \"workers\"'"]
    );
    worker.flush();
    worker.forget();
    for agent in [&mut worker, &mut guest] {
        agent.publish("a.2", SAID);
        agent.publish("a.3", b"");
        let said = errors(agent);
        let told =
            |subject: &str| format!("-ERR 'Permissions Violation for Publish to \"{subject}\"'");
        assert!(said.ends_with(&[told("a.2"), told("a.3")]), "{said:?}");
        agent.publish("b.1", SAID);
    }
    assert!(worker.arrived().is_empty());
    assert_eq!((withheld(&gateway), refused(&gateway)), (1.0, 4.0));
    gateway.process().line("who it was", |line| {
        line.contains("cause=\"identity\" identity=user")
            .then_some(())
    });
}

#[test]
fn refusals_stand_where_the_servers_would() {
    let (_server, gateway) = users();
    let mut guest = RawClient::handshake(gateway.addr(), GUEST);
    guest.forget();
    guest.send(b"PING\r\nSUB a.b 1\r\nPING\r\nPUB a.c 1\r\nx\r\nPING\r\n");
    let pongs = |bytes: &[u8]| String::from_utf8_lossy(bytes).matches("PONG").count() == 3;
    let seen = String::from_utf8_lossy(guest.until("pongs", pongs)).into_owned();
    let expected = "PONG\r\n-ERR 'Permissions Violation for Subscription to \"a.b\"'\r\nPONG\r\n\
        -ERR 'Permissions Violation for Publish to \"a.c\"'\r\nPONG\r\n";
    assert_eq!(seen, expected);
}

#[test]
fn verbose_client_gets_one_line_for_each_operation() {
    let (_server, gateway) = users();
    let mut guest = RawClient::handshake(gateway.addr(), &format!("{GUEST},\"verbose\":true"));
    guest.forget();
    guest.send(b"SUB a.b 1\r\nPUB a.c _INBOX.1 1\r\nx\r\nPUB b.c 1\r\nx\r\nPING\r\n");
    let pong = |bytes: &[u8]| bytes.ends_with(b"PONG\r\n");
    let seen = String::from_utf8_lossy(guest.until("a pong", pong)).into_owned();
    let expected = "-ERR 'Permissions Violation for Subscription to \"a.b\"'\r\n\
        -ERR 'Permissions Violation for Publish to \"a.c\"'\r\n+OK\r\nPONG\r\n";
    assert_eq!(seen, expected);
}

#[test]
fn answers_are_the_keyrings_own() {
    let (_server, gateway) = users();
    let [mut planner, mut worker] =
        [PLANNER, WORKER].map(|user| RawClient::handshake(gateway.addr(), user));
    worker.subscribe("a.>");
    planner.subscribe("_INBOX.p.*");
    planner.request("a.ask", "_INBOX.p.1", SAID);
    worker.message("a.ask");
    worker.publish("_INBOX.p.1", b"an answer");
    assert_eq!(
        errors(&mut worker),
        ["-ERR 'Permissions Violation for Publish to \"_INBOX.p.1\"'"]
    );
    assert!(planner.arrived().is_empty());
    // A request that is refused fails at once.
    worker.subscribe("_INBOX.w.*");
    worker.request("a.ask", "_INBOX.w.1", SAID);
    let answer = worker.message("_INBOX.w.1");
    assert!(answer.payload().is_empty());
    assert_eq!(answer.headers(), b"NATS/1.0 503\r\n\r\n");
}

#[test]
fn answer_under_a_keyring_is_for_those_whom_it_names() {
    let server = NatsServer::configured(&format!("authorization {{ {USERS} }}"));
    let lines = "publish-by = [\"user:*\"]\ndeliver-to = [\"user:worker\"]\n";
    let gateway = gateway(&server, lines);
    let [mut planner, mut worker] =
        [PLANNER, WORKER].map(|user| RawClient::handshake(gateway.addr(), user));
    worker.subscribe("a.>");
    planner.subscribe("_INBOX.p.*");
    planner.request("a.ask", "_INBOX.p.1", SAID);
    worker.message("a.ask");
    worker.publish("_INBOX.p.1", SAID);
    assert!(planner.arrived().is_empty());
    assert_eq!(withheld(&gateway), 1.0);
}

#[test]
fn user_that_the_server_need_not_check_is_nobody() {
    let claims = [
        ("", r#""user":"planner","pass":"p""#.to_owned()),
        (
            "authorization { token: t }",
            r#""user":"planner","pass":"p","auth_token":"t""#.to_owned(),
        ),
        (
            "accounts { A: { users: [ {user: any, password: x} ] } }\nno_auth_user: any",
            r#""user":"","pass":"","name":"planner""#.to_owned(),
        ),
    ];
    for (server, claim) in claims {
        let server = NatsServer::configured(server);
        let lines = "publish-by = [\"user:planner\"]\ndeliver-to = [\"user:planner\"]\n";
        let gateway = gateway(&server, lines);
        let mut liar = RawClient::handshake(gateway.addr(), &format!("{claim},\"headers\":true"));
        liar.subscribe("a.x");
        liar.publish("a.x", SAID);
        let said = errors(&mut liar);
        assert_eq!(said.len(), 2, "{claim}: {said:?}");
    }
}

#[test]
fn nkey_counts_by_its_signature_and_by_nothing_else() {
    let (planner, guest) = (KeyPair::new_user(), KeyPair::new_user());
    let [key, other] = [&planner, &guest].map(KeyPair::public_key);
    let lines = format!("publish-by = [\"nkey:{key}\"]\ndeliver-to = [\"nkey:{key}\"]\n");
    let users =
        format!("users: [ {{nkey: {key}}}, {{nkey: {other}}}, {{user: any, password: x}} ]");
    let server = NatsServer::configured(&format!("authorization {{ {users} }}"));
    let gateway = verifying(&server, "nkey", &lines);
    let connected = |members: &dyn Fn(&str) -> String| connected(&gateway, members);
    let signed = |by: &KeyPair, key: &str, nonce: &str| {
        let sig = sign(&by.seed().unwrap(), nonce);
        format!("\"nkey\":\"{key}\",\"sig\":\"{sig}\"")
    };
    let mut agent = connected(&|nonce| signed(&planner, &key, nonce));
    assert!(hears(
        &mut connected(&|nonce| signed(&planner, &key, nonce)),
        &mut agent
    ));
    let mut guest = connected(&|nonce| signed(&guest, &other, nonce));
    assert!(!hears(&mut guest, &mut agent));
    // Authenticated by the server as another user.
    let mut nobody = connected(&|_nonce| "\"user\":\"any\",\"pass\":\"x\"".to_owned());
    assert!(!hears(&mut nobody, &mut agent));
    // A server without nkeys ignores the claim.
    let careless = NatsServer::start();
    let gateway = Gateway::start(&careless.url(), gateway.settings().clone());
    for claim in [
        format!("\"nkey\":\"{key}\""),
        signed(&KeyPair::new_user(), &key, ""),
        signed(&planner, &key, ""),
    ] {
        let mut liar = RawClient::handshake(gateway.addr(), &claim);
        liar.subscribe("a.x");
        assert_eq!(errors(&mut liar).len(), 1);
    }
}

#[test]
fn account_of_a_jwt_counts_and_anothers_does_not() {
    let (ours, theirs) = (Identity::new(-1), Identity::new(-1));
    let server = NatsServer::configured(&Identity::server_of(&[&ours, &theirs]));
    let (account, user) = (ours.account_key(), ours.user_key());
    let lines = format!("publish-by = [\"nkey:{user}\"]\ndeliver-to = [\"account:{account}\"]\n");
    let gateway = verifying(&server, "jwt", &lines);
    let connected =
        |identity: &Identity| connected(&gateway, &|nonce: &str| identity.connect(nonce));
    let (mut agent, mut speaker) = (connected(&ours), connected(&ours));
    assert!(hears(&mut agent, &mut speaker));
    let mut other = connected(&theirs);
    other.subscribe("a.x");
    other.publish("a.x", SAID);
    assert_eq!(errors(&mut other).len(), 2);
    // A JWT alone, or with another key's signature, proves nothing.
    let careless = NatsServer::start();
    let gateway = Gateway::start(&careless.url(), gateway.settings().clone());
    let mut thief = RawClient::handshake(gateway.addr(), &ours.connect("nonce"));
    thief.subscribe("a.x");
    assert_eq!(errors(&mut thief).len(), 1);
}

#[test]
fn account_with_a_key_is_the_servers_word_and_needs_no_other() {
    let (ours, theirs) = (Identity::new(-1), Identity::new(-1));
    let server = NatsServer::configured(&Identity::server_of(&[&ours, &theirs]));
    let account = ours.account_key();
    let lines =
        format!("publish-by = [\"account:{account}\"]\ndeliver-to = [\"account:{account}\"]\n");
    let gateway = gateway(&server, &lines);
    let connected =
        |identity: &Identity| connected(&gateway, &|nonce: &str| identity.connect(nonce));
    let (mut agent, mut speaker) = (connected(&ours), connected(&ours));
    assert!(hears(&mut agent, &mut speaker));
    let mut other = connected(&theirs);
    other.subscribe("a.x");
    other.publish("a.x", SAID);
    assert_eq!(errors(&mut other).len(), 2);
}

/// Makes a server send a nonce, however it authenticates clients.
fn proxies() -> String {
    let key = KeyPair::new_user().public_key();
    format!("proxies {{ trusted: [ {{ key: {key} }} ] }}\n")
}

/// A keyring for any account or nkey.
const ANYBODY: &str =
    "publish-by = [\"account:*\", \"nkey:*\"]\ndeliver-to = [\"account:*\", \"nkey:*\"]\n";

/// Whether the gateway's keyring refuses this client, which the server has let in.
fn is_refused(gateway: &Gateway, members: &dyn Fn(&str) -> String) -> bool {
    let mut client = connected(gateway, members);
    client.send(b"SUB b.x 1\r\nSUB a.x 2\r\n");
    client.publish("b.x", SAID);
    assert!(
        client
            .arrived()
            .iter()
            .any(|frame| frame.subject() == "b.x")
    );
    client.publish("a.x", SAID);
    errors(&mut client).len() == 2
}

#[test]
fn self_made_keys_prove_nothing_to_a_server_that_has_not_judged_by_them() {
    let (fresh, ours, old) = (KeyPair::new_user(), Identity::new(-1), Identity::expired());
    let nkey = |nonce: &str| {
        let sig = sign(&fresh.seed().unwrap(), nonce);
        format!("\"nkey\":\"{}\",\"sig\":\"{sig}\"", fresh.public_key())
    };
    let jwt = |nonce: &str| ours.connect(nonce);
    let expired = |nonce: &str| old.connect(nonce);
    let claims: [&dyn Fn(&str) -> String; 3] = [&nkey, &jwt, &expired];
    let (users, all) = (format!("authorization {{ {USERS} }}"), "user nkey jwt");
    let guests = "authorization { users: [ {user: any, password: x} ] }\nno_auth_user: any";
    let system = "accounts { $SYS: { users: [ {user: s, password: s} ] } }";
    // The other members of CONNECT by which the server accepts the client; and how many of the claims `verified` leaves open.
    let servers = [
        (users.as_str(), all, GUEST, 3),
        ("authorization { token: t }", all, "\"auth_token\":\"t\"", 3),
        ("", all, "\"echo\":true", 3),
        (guests, all, "\"echo\":true", 3),
        // It asks for credentials, and accepts clients that bring none.
        (system, "user jwt", "\"echo\":true", 1),
    ];
    for (config, verified, more, count) in servers {
        let server = NatsServer::configured(&format!("{}{config}", proxies()));
        let gateway = verifying(&server, verified, ANYBODY);
        for claim in &claims[..count] {
            let members = |nonce: &str| format!("{more},{}", claim(nonce));
            assert!(is_refused(&gateway, &members), "{config}");
        }
    }
}

#[test]
fn jwt_that_has_run_out_is_nobodys_where_the_server_does_not_look_at_it() {
    let old = Identity::expired();
    let account = old.account_key();
    let server = NatsServer::configured(&format!("{}authorization {{ {USERS} }}", proxies()));
    let lines =
        format!("publish-by = [\"account:{account}\"]\ndeliver-to = [\"account:{account}\"]\n");
    let gateway = verifying(&server, "jwt", &lines);
    assert!(is_refused(&gateway, &|nonce| format!(
        "{GUEST},{}",
        old.connect(nonce)
    )));
}

#[test]
fn user_beside_another_credential_is_nobody() {
    let server = NatsServer::configured(&format!("{}authorization {{ {USERS} }}", proxies()));
    let lines = "publish-by = [\"user:*\"]\ndeliver-to = [\"user:*\"]\n";
    let gateway = gateway(&server, lines);
    assert!(!is_refused(&gateway, &|_| GUEST.to_owned()));
    for other in ["auth_token", "jwt", "nkey", "sig"] {
        assert!(
            is_refused(&gateway, &|_| format!("{GUEST},\"{other}\":\"x\"")),
            "{other}"
        );
    }
}

const ACCOUNTS: &str = "accounts { ACME: { users: [ {user: planner, password: p} ] }, B: { users: [ {user: guest, password: g} ] } }";

#[test]
fn account_by_name_is_what_the_server_says() {
    let server = NatsServer::configured(ACCOUNTS);
    let lines = "publish-by = [\"account:ACME\"]\ndeliver-to = [\"account:ACME\"]\n";
    let gateway = gateway(&server, lines);
    let told = |user: &str| {
        let mut agent = RawClient::handshake(gateway.addr(), &format!("{user},\"protocol\":1"));
        agent.until("the account", |bytes| {
            String::from_utf8_lossy(bytes).contains("remote_account")
        });
        agent
    };
    let mut planner = told(PLANNER);
    assert!(hears(&mut told(PLANNER), &mut planner));
    let mut guest = told(GUEST);
    guest.subscribe("a.x");
    guest.publish("a.x", SAID);
    assert_eq!(errors(&mut guest).len(), 2);
}

#[test]
fn client_that_spoke_before_its_connect_is_nobody() {
    let server = NatsServer::configured(&format!("{ACCOUNTS}\nno_auth_user: planner"));
    let lines = "publish-by = [\"account:ACME\"]\ndeliver-to = [\"account:ACME\"]\n";
    let gateway = gateway(&server, lines);
    let anonymous = "\"protocol\":1";
    let mut first = RawClient::handshake(gateway.addr(), anonymous);
    first.flush();
    let mut late = RawClient::connect(gateway.addr());
    late.until("INFO", |bytes| bytes.ends_with(b"\r\n"));
    late.send(format!("SUB c.x 1\r\nCONNECT {{\"verbose\":false,{anonymous}}}\r\n").as_bytes());
    late.flush();
    assert!(!hears(&mut late, &mut first));
    assert!(hears(
        &mut RawClient::handshake(gateway.addr(), anonymous),
        &mut first
    ));
}

#[test]
fn second_connect_as_somebody_else_ends_the_identity_for_good() {
    let (_server, gateway) = users();
    let mut planner = RawClient::handshake(gateway.addr(), PLANNER);
    let mut worker = RawClient::handshake(gateway.addr(), WORKER);
    let connect = |user: &str| format!("CONNECT {{\"verbose\":false,{user}}}\r\n");
    worker.send(connect(WORKER).as_bytes());
    assert!(hears(&mut worker, &mut planner));
    for user in [GUEST, WORKER] {
        worker.forget();
        worker.send(connect(user).as_bytes());
        assert!(!hears(&mut worker, &mut planner), "{user}");
    }
}

#[test]
fn plaintext_of_a_migration_is_for_those_whom_the_keyring_names() {
    let server = NatsServer::configured(&format!("authorization {{ {USERS} }}"));
    let lines = "deliver-to = [\"user:worker\"]\nplaintext = \"accept\"\nuntil = 2099-01-01\n";
    let gateway = gateway(&server, lines);
    let [mut worker, mut guest] =
        [WORKER, GUEST].map(|user| RawClient::handshake(gateway.addr(), user));
    worker.subscribe(">");
    guest.subscribe(">");
    // Also where it looks like an answer to a request of the guest.
    guest.request("c.ask", "a.inbox", b"?");
    let mut bare = RawClient::handshake(server.addr(), PLANNER);
    bare.publish("a.inbox", SAID);
    bare.publish("a.x", SAID);
    assert_eq!(worker.message("a.x").payload(), SAID);
    let got = guest.arrived();
    assert!(
        got.iter().all(|frame| frame.subject() == "c.ask"),
        "{got:?}"
    );
    assert_eq!(withheld(&gateway), 2.0);
}

/// JetStream's answer on this inbox, to which the agent has subscribed.
fn ask(agent: &mut RawClient, inbox: &str, subject: &str, body: &[u8]) -> String {
    agent.forget();
    let reply = format!("_INBOX.{inbox}.1");
    agent.request(subject, &reply, body);
    let answer = agent.message(&reply);
    String::from_utf8_lossy(answer.payload()).into_owned()
}

#[test]
fn stored_messages_are_for_those_whom_the_keyring_names() {
    let (server, gateway) = by_direction(&format!(
        "jetstream {{ store_dir: \"STORE\" }}\nauthorization {{ {USERS} }}"
    ));
    let mut bare = RawClient::handshake(server.addr(), PLANNER);
    bare.subscribe("_INBOX.bare.*");
    let stream =
        br#"{"name":"S","subjects":["a.>","$KV.K.>"],"storage":"memory","allow_direct":true}"#;
    ask(&mut bare, "bare", "$JS.API.STREAM.CREATE.S", stream);
    let [mut planner, mut worker, mut guest] =
        [PLANNER, WORKER, GUEST].map(|user| RawClient::handshake(gateway.addr(), user));
    planner.subscribe("_INBOX.planner.*");
    // The acknowledgement is the server's.
    assert!(ask(&mut planner, "planner", "a.x", SAID).contains("\"seq\":1"));
    let last = br#"{"last_by_subj":"a.x"}"#;
    for (agent, name) in [(&mut worker, "w"), (&mut guest, "g")] {
        agent.subscribe(&format!("_INBOX.{name}.*"));
        let answer = ask(agent, name, "$JS.API.STREAM.MSG.GET.S", last);
        assert_eq!(
            answer.contains("withheld: identity"),
            name == "g",
            "{answer}"
        );
        let consumer = format!(
            r#"{{"stream_name":"S","config":{{"durable_name":"{name}","ack_policy":"none"}}}}"#
        );
        let made = format!("$JS.API.CONSUMER.DURABLE.CREATE.S.{name}");
        let made = ask(agent, name, &made, consumer.as_bytes());
        assert!(!made.contains("\"error\""), "{made}");
        agent.forget();
        let reply = |number: u32| format!("_INBOX.{name}.{number}");
        agent.request("$JS.API.DIRECT.GET.S.a.x", &reply(2), b"");
        agent.request("$JS.API.DIRECT.GET.S", &reply(3), last);
        let next = format!("$JS.API.CONSUMER.MSG.NEXT.S.{name}");
        agent.request(&next, &reply(4), br#"{"batch":1}"#);
    }
    wait::until("every answer", || {
        let opened = worker.arrived();
        let opened = opened.iter().filter(|frame| frame.payload() == SAID);
        (opened.count() == 3 && withheld(&gateway) == 4.0).then_some(())
    });
    assert!(guest.arrived().is_empty());
    // A key-value put through a prefix is a put, and so is a deletion.
    guest.forget();
    guest.publish("$JS.d.API.$KV.K.key", SAID);
    guest.publish_with("$KV.K.key", "NATS/1.0\r\nKV-Operation: DEL\r\n\r\n", b"");
    assert_eq!(errors(&mut guest).len(), 2);
}

#[test]
fn reload_takes_a_right_away_and_gives_it_back() {
    let (_server, gateway) = users();
    let [mut planner, mut worker] =
        [PLANNER, WORKER].map(|user| RawClient::handshake(gateway.addr(), user));
    assert!(hears(&mut worker, &mut planner));
    let written = std::fs::read_to_string(gateway.config()).unwrap();
    let reload = |text: &str| {
        std::fs::write(gateway.config(), text).unwrap();
        let output = keyway(&["reload", "--config", path(&gateway.config())]);
        assert_eq!(code(&output), 0, "{}", stderr_of(&output));
    };
    reload(&written.replace("user:worker", "user:nobody"));
    worker.forget();
    planner.publish("a.y", SAID);
    assert!(worker.arrived().is_empty());
    reload(&written.replace("user:planner", "user:nobody"));
    planner.forget();
    planner.publish("a.z", SAID);
    assert_eq!(errors(&mut planner).len(), 1);
    reload(&written);
    planner.publish("a.z", SAID);
    assert_eq!(worker.message("a.z").payload(), SAID);
}

#[tokio::test]
async fn official_client_survives_what_it_may_not_do() {
    let (_server, gateway) = by_direction(&format!(
        "jetstream {{ store_dir: \"STORE\" }}\nauthorization {{ {USERS} }}"
    ));
    let options = ConnectOptions::with_user_and_password("guest".into(), "g".into());
    let guest = options.connect(gateway.url()).await.unwrap();
    let mut refused = guest.subscribe("a.>").await.unwrap();
    let mut all = guest.subscribe("*.*").await.unwrap();
    guest.publish("a.x", "code".into()).await.unwrap();
    let asked = guest.request("a.x", "code".into()).await.unwrap_err();
    assert_eq!(asked.kind(), RequestErrorKind::NoResponders);
    let stored = async_nats::jetstream::new(guest.clone());
    let stored = stored.publish("a.x", "code".into()).await.unwrap();
    assert!(
        tokio::time::timeout(DEADLINE, stored)
            .await
            .unwrap()
            .is_err()
    );
    guest.publish("b.x", "hello".into()).await.unwrap();
    let message = tokio::time::timeout(DEADLINE, all.next()).await;
    let message = message.unwrap().unwrap();
    assert_eq!(
        (message.subject.as_str(), &message.payload[..]),
        ("b.x", &b"hello"[..])
    );
    let worker = ConnectOptions::with_user_and_password("worker".into(), "w".into());
    let worker = worker.connect(gateway.url()).await.unwrap();
    let mut messages = worker.subscribe("a.>").await.unwrap();
    worker.flush().await.unwrap();
    let planner = ConnectOptions::with_user_and_password("planner".into(), "p".into());
    let planner = planner.connect(gateway.url()).await.unwrap();
    planner.publish("a.x", "code".into()).await.unwrap();
    planner.flush().await.unwrap();
    let message = tokio::time::timeout(DEADLINE, messages.next()).await;
    assert_eq!(&message.unwrap().unwrap().payload[..], b"code");
    guest.flush().await.unwrap();
    let nothing = std::future::poll_fn(|context| {
        std::task::Poll::Ready(refused.poll_next_unpin(context).is_ready())
    });
    assert!(!nothing.await);
}
