//! Rows that need a server or a configuration of their own, and features that are refused.

use async_nats::jetstream::{self, kv, stream};
use keyway_tests::features::{MARKER, SearchedData, search, stored};
use keyway_tests::gateway::Settings;
use keyway_tests::raw_client::WaitOutcome;
use keyway_tests::{BusTap, Gateway, GatewayPair, NatsServer, RawClient, wait};

/// Fails if what the tap heard holds the marker.
fn hidden(tap: &mut BusTap) {
    let mut places = SearchedData::default();
    places.frames(&tap.flush());
    let leaks = search(&places, &[]);
    assert!(leaks.is_empty(), "{leaks:#?}");
}

fn said(what: &str) -> Vec<u8> {
    format!("{MARKER} {what}").into_bytes()
}

fn keyring(rest: &str) -> String {
    format!("[[keyring]]\nname = \"renamed\"\n{rest}\n")
}

/// An agent of this account, in which user and password are the account's name.
fn agent(gateway: &Gateway, account: &str) -> RawClient {
    RawClient::handshake(gateway.addr(), &login(account))
}

fn login(account: &str) -> String {
    format!(r#""headers":true,"no_responders":true,"user":"{account}","pass":"{account}""#)
}

#[test]
fn account_mapping() {
    let mapping = r#"mappings { "map.*.in": "map.{{wildcard(1)}}.out" }"#;
    for (rest, opens) in [
        (
            r#"aliases = [{ from = "map.*.in", to = "map.*.out" }]"#,
            true,
        ),
        (r#"bind = "keyring""#, true),
        ("", false),
    ] {
        let rest = format!("subjects = \"map.>\"\n{rest}");
        let pair = GatewayPair::with(NatsServer::configured(mapping), "", &keyring(&rest));
        let mut tap = pair.tap();
        let mut reader = pair.subscriber("map.*.out");
        pair.publisher().publish("map.a.in", &said("mapped"));
        if opens {
            assert_eq!(reader.message("map.a.out").payload(), said("mapped"));
        } else {
            // The binding rejects an envelope on another subject.
            tap.message("map.a.out");
            assert!(reader.arrived().is_empty());
        }
        hidden(&mut tap);
    }
}

const ACCOUNTS: &str = r#"
accounts {
  ONE {
    users [{ user: ONE, password: ONE }]
    exports [{ stream: "news.>" }, { service: "ask" }]
  }
  TWO {
    users [{ user: TWO, password: TWO }]
    imports [
      { stream: { account: ONE, subject: "news.>" }, prefix: "from.one" }
      { service: { account: ONE, subject: "ask" }, to: "one.ask" }
    ]
  }
}
"#;

fn tap(server: &NatsServer, account: &str) -> BusTap {
    BusTap::logged_in(server.addr(), &login(account))
}

#[test]
fn stream_import() {
    let rest = r#"
subjects = ["news.>", "from.one.>"]
aliases = [{ from = "news.>", to = "from.one.news.>" }]
"#;
    let pair = GatewayPair::with(NatsServer::configured(ACCOUNTS), "", &keyring(rest));
    let mut taps = ["ONE", "TWO"].map(|account| tap(&pair.server, account));
    let mut reader = agent(&pair.deliver, "TWO");
    reader.subscribe("from.one.>");
    agent(&pair.publish, "ONE").publish("news.a", &said("imported"));
    let message = reader.message("from.one.news.a");
    assert_eq!(message.payload(), said("imported"));
    for tap in &mut taps {
        hidden(tap);
    }
}

#[test]
fn service_import() {
    let rest = "subjects = [\"ask\", \"one.ask\"]\nbind = \"keyring\"";
    let pair = GatewayPair::with(NatsServer::configured(ACCOUNTS), "", &keyring(rest));
    let mut taps = ["ONE", "TWO"].map(|account| tap(&pair.server, account));
    let mut responder = agent(&pair.deliver, "ONE");
    responder.subscribe("ask");
    let mut requester = agent(&pair.publish, "TWO");
    requester.subscribe("_INBOX.two");
    requester.request("one.ask", "_INBOX.two", &said("question"));
    let request = responder.message("ask");
    assert_eq!(request.payload(), said("question"));
    let reply = request.words()[2].to_owned();
    responder.publish(&reply, &said("answer"));
    let answer = requester.message("_INBOX.two");
    assert_eq!(answer.payload(), said("answer"));
    for tap in &mut taps {
        hidden(tap);
    }
}

#[test]
fn message_trace() {
    let pair = GatewayPair::start();
    let mut tap = pair.tap();
    let mut reader = pair.subscriber("talk");
    let mut agent = pair.publisher();
    for to in ["_INBOX.trace", "trace.to"] {
        agent.subscribe(to);
        let headers = format!("NATS/1.0\r\nNats-Trace-Dest: {to}\r\n\r\n");
        agent.publish_with("talk", &headers, &said(to));
        assert_eq!(reader.message("talk").payload(), said(to));
        reader.forget();
        let event = agent.message(to);
        let event: serde_json::Value = serde_json::from_slice(event.payload()).unwrap();
        assert_eq!(event["events"][0]["type"], "in", "{event}");
    }
    hidden(&mut tap);
}

/// A hub and a leaf of it, each with a `JetStream` domain of its own.
fn hub_and_leaf() -> (NatsServer, NatsServer) {
    let mut hub = NatsServer::configured(
        r#"
server_name: hub
jetstream { store_dir: "STORE", domain: hub }
leafnodes { host: "127.0.0.1", port: -1 }
"#,
    );
    let listening = "Listening for leafnode connections on ";
    let port: u16 = hub.process().line(listening, |line| {
        line.rsplit_once(':')
            .filter(|_| line.contains(listening))
            .and_then(|(_, port)| port.parse().ok())
    });
    let mut leaf = NatsServer::configured(&format!(
        r#"
server_name: leaf
jetstream {{ store_dir: "STORE", domain: leaf }}
leafnodes {{ remotes: [{{ url: "nats://127.0.0.1:{port}" }}] }}
"#
    ));
    leaf.process().line("a leafnode connection", |line| {
        line.contains("Leafnode connection created").then_some(())
    });
    (hub, leaf)
}

#[tokio::test]
async fn leafnode_domain() {
    let (hub, leaf) = hub_and_leaf();
    let at_leaf = Gateway::sealing(&leaf.url());
    let state = Some(at_leaf.state());
    let settings = Settings {
        state,
        ..Settings::default()
    };
    let at_hub = Gateway::start(&hub.url(), settings);
    let mut taps = [BusTap::open(leaf.addr()), BusTap::open(hub.addr())];
    let client = Box::pin(async_nats::connect(at_leaf.url())).await.unwrap();
    let edge = jetstream::with_domain(client, "hub");
    // The leaf learns of the hub's subscriptions a moment after it has connected.
    let reached = async { while edge.query_account().await.is_err() {} };
    tokio::time::timeout(wait::DEADLINE, reached).await.unwrap();
    let config = stream::Config {
        name: "s".into(),
        subjects: vec!["s.>".into()],
        ..stream::Config::default()
    };
    edge.create_stream(config).await.unwrap();
    let sent = edge.publish("s.x", said("from the edge").into()).await;
    sent.unwrap().await.unwrap();
    let config = kv::Config {
        bucket: "b".into(),
        ..kv::Config::default()
    };
    let store = edge.create_key_value(config).await.unwrap();
    store.put("k", said("a value").into()).await.unwrap();
    let client = Box::pin(async_nats::connect(at_hub.url())).await.unwrap();
    let context = jetstream::new(client);
    let stream = context.get_stream("s").await.unwrap();
    let message = stream.get_raw_message(1).await.unwrap();
    assert_eq!(message.payload, said("from the edge"));
    let store = context.get_key_value("b").await.unwrap();
    let value = store.get("k").await.unwrap().unwrap();
    assert_eq!(value, said("a value"));
    for tap in &mut taps {
        hidden(tap);
    }
    let places = tokio::task::spawn_blocking(move || {
        let mut places = SearchedData::default();
        stored(&hub, &mut places);
        places
    });
    assert_eq!(search(&places.await.unwrap(), &[]), []);
}

/// Fails unless the client port answers another protocol's first bytes with an error, and closes.
fn refused(begin: &[u8]) {
    let server = NatsServer::start();
    let gateway = Gateway::sealing(&server.url());
    for front in [server.addr(), gateway.addr()] {
        let mut raw = RawClient::connect(front);
        raw.until("INFO", |bytes| bytes.ends_with(b"\r\n"));
        raw.send(begin);
        assert_eq!(raw.outcome(|_| false), WaitOutcome::Closed);
        let words = raw.received().escape_ascii().to_string();
        assert!(words.contains("Unknown Protocol Operation"), "{words}");
    }
}

#[test]
fn websocket() {
    refused(b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n");
}

#[test]
fn leafnode() {
    refused(b"CONNECT {\"verbose\":false}\r\nLS+ x\r\n");
    // A real leaf is refused too.
    let server = NatsServer::start();
    let gateway = Gateway::sealing(&server.url());
    let mut leaf = NatsServer::configured(&format!(
        "leafnodes {{ remotes: [{{ url: {:?} }}] }}",
        gateway.url()
    ));
    wait::until("the leaf's complaint", || {
        let log = leaf.process().log();
        log.contains("attempted to connect to wrong port")
            .then_some(())
    });
}

#[test]
fn mqtt() {
    refused(b"\x10\x10\x00\x04MQTT\x04\x02\x00\x3c\x00\x04keyw");
}
