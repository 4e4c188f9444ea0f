//! Promise: before a key version is destroyed, JetStream is asked for messages still stored under it; any doubt keeps it.
#![expect(
    clippy::large_futures,
    clippy::unwrap_used,
    clippy::arithmetic_side_effects,
    clippy::panic,
    reason = "async-nats connects in a large future, which a test's stack holds; a test's own functions may stop it too"
)]

use async_nats::jetstream::{kv, stream};
use keyway::control::{Answer, Config, Control, Login, Question};
use keyway_tests::gate::{Gate, config, named, origin};
use keyway_tests::{NatsServer, scratch};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

const HOUR: Duration = Duration::from_hours(1);

/// Moves the version's times into the past, before anything that is stored now.
fn long_ago(mut question: Question) -> Question {
    question.activated = question.activated.map(|time| time - HOUR - HOUR);
    question.deactivated = question.activated.map(|time| time + HOUR);
    question
}

fn unknown(answer: Answer, words: &[&str]) {
    let Answer::Unknown(why) = answer else {
        panic!("{answer:?}");
    };
    for word in words {
        assert!(why.contains(word), "no `{word}` in: {why}");
    }
    let (what, help) = why.split_once("; ").unwrap();
    assert!(!what.is_empty() && !help.is_empty(), "{why}");
}

/// A file that only its owner may read.
fn secret(folder: &Path, text: &str) -> std::path::PathBuf {
    let path = folder.join("secret");
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    path
}

/// A question about a version that does not exist.
fn stranger() -> Question {
    Question {
        keyring: "default".parse().unwrap(),
        subjects: vec![">".parse().unwrap()],
        kid: keyway::envelope::Kid([7; 8]),
        activated: None,
        deactivated: None,
    }
}

#[tokio::test]
async fn every_kind_of_stream_is_named_until_its_messages_are_gone() {
    let gate = Gate::start().await;
    let mut expected = gate.one_in_each().await;
    gate.rotate();
    gate.publish("agents.aged", "under the second version")
        .await;
    let holders = gate.holders().await;
    let mut names: Vec<_> = holders.iter().map(|held| held.stream.as_str()).collect();
    names.sort_unstable();
    expected.sort_unstable();
    assert_eq!(names, expected);
    let of = |name: &str| holders.iter().find(|held| held.stream == name).unwrap();
    let aged = of("AGED");
    assert_eq!((aged.subject.as_str(), aged.sequence), ("agents.aged", 1));
    assert_eq!(aged.expires, aged.stored.checked_add(HOUR).ok());
    assert_eq!((of("WORK").expires, of("WORK").consumers.len()), (None, 1));
    let worker = &of("WORK").consumers[0];
    assert_eq!((worker.name.as_str(), worker.pending), ("worker", 1));
    assert_eq!(of("KV_b").subject, "$KV.b.k");

    for name in ["WORK", "INTEREST"] {
        gate.consume(name).await;
    }
    for name in ["AGED", "MEMORY", "MIRROR", "SOURCED"] {
        gate.purge(name).await;
    }
    let store = gate.agent.get_key_value("b").await.unwrap();
    store.put("k", "second".into()).await.unwrap();
    let store = gate.agent.get_object_store("o").await.unwrap();
    store.delete("file").await.unwrap();
    let answer = gate.ask(gate.question(1)).await;
    assert_eq!(answer, Answer::Clear { streams: 9 });
    assert!(matches!(gate.ask(gate.question(2)).await, Answer::Held(_)));
}

#[tokio::test]
async fn one_large_message_amid_many_others_is_found() {
    let gate = Gate::start().await;
    gate.stream(stream::Config {
        subjects: vec!["agents.>".into()],
        ..named("MANY")
    })
    .await;
    gate.gateway.rotate("agents");
    for number in 1..=40 {
        if number == 23 {
            gate.publish("agents.b", vec![b'x'; 1_000_000]).await;
            gate.rotate();
        } else {
            let sent = gate.bare.publish("agents.a", "not sealed".into()).await;
            sent.unwrap().await.unwrap();
        }
    }
    assert_eq!(
        gate.ask(gate.question(1)).await,
        Answer::Clear { streams: 1 }
    );
    let Answer::Held(holders) = gate.ask(gate.question(2)).await else {
        panic!("not found");
    };
    assert_eq!((holders.len(), holders[0].sequence), (1, 23));
    assert_eq!(holders[0].messages_at_most, 40);
    gate.bare
        .get_stream("MANY")
        .await
        .unwrap()
        .delete_message(23)
        .await
        .unwrap();
    let answer = gate.ask(gate.question(2)).await;
    assert_eq!(answer, Answer::Clear { streams: 1 });
}

#[tokio::test]
async fn stored_times_are_believed_only_where_they_are_those_of_the_publish() {
    let gate = Gate::start().await;
    let plain = stream::Config {
        subjects: vec!["agents.plain".into()],
        ..named("PLAIN")
    };
    gate.stream(plain).await;
    for (name, from) in [("MIRROR", "PLAIN"), ("SECOND", "SOURCED")] {
        let mirror = Some(origin(from));
        let source = Some(vec![origin("PLAIN")]);
        if name == "SECOND" {
            gate.stream(stream::Config {
                sources: source,
                ..named("SOURCED")
            })
            .await;
        }
        gate.stream(stream::Config {
            mirror,
            ..named(name)
        })
        .await;
    }
    gate.stream(stream::Config {
        subjects: vec!["agents.plan".into()],
        allow_message_schedules: true,
        ..named("PLANNED")
    })
    .await;
    gate.publish("agents.plain", "now").await;
    gate.publish("agents.plan", "now").await;
    gate.copied(&["MIRROR", "SOURCED", "SECOND"]).await;
    gate.rotate();
    let Answer::Held(holders) = gate.ask(long_ago(gate.question(1))).await else {
        panic!("nothing held");
    };
    let mut names: Vec<_> = holders.iter().map(|held| held.stream.as_str()).collect();
    names.sort_unstable();
    // What is stored now cannot have been sealed long ago, unless it was copied or scheduled.
    assert_eq!(names, ["PLANNED", "SECOND", "SOURCED"]);
    let mut later = gate.question(1);
    later.activated = later.activated.map(|time| time + HOUR);
    later.deactivated = None;
    let answer = gate.ask(later).await;
    assert_eq!(answer, Answer::Clear { streams: 5 });
}

#[tokio::test]
async fn every_page_of_a_long_list_is_looked_at() {
    let gate = Gate::start().await;
    for number in 0..300 {
        gate.stream(stream::Config {
            subjects: vec![format!("agents.{number}")],
            storage: stream::StorageType::Memory,
            ..named(&format!("S{number:03}"))
        })
        .await;
    }
    gate.publish("agents.299", "in the last one").await;
    let holders = gate.holders().await;
    assert_eq!((holders.len(), holders[0].stream.as_str()), (1, "S299"));
    gate.purge("S299").await;
    let answer = gate.ask(gate.question(1)).await;
    assert_eq!(answer, Answer::Clear { streams: 300 });
}

#[tokio::test]
async fn a_store_that_keeps_no_value_of_the_version_is_clear() {
    let gate = Gate::start().await;
    let config = kv::Config {
        bucket: "b".into(),
        history: 2,
        ..kv::Config::default()
    };
    let store = gate.agent.create_key_value(config).await.unwrap();
    store.put("k", "first".into()).await.unwrap();
    gate.rotate();
    store.put("k", "second".into()).await.unwrap();
    assert_eq!(gate.holders().await[0].sequence, 1);
    store.put("k", "third".into()).await.unwrap();
    let answer = gate.ask(gate.question(1)).await;
    assert_eq!(answer, Answer::Clear { streams: 1 });
}

#[tokio::test]
async fn an_envelope_of_a_later_format_is_a_doubt() {
    let server = NatsServer::jetstream();
    let gate = Gate::before(server).await;
    gate.stream(stream::Config {
        subjects: vec!["agents.>".into()],
        ..named("S")
    })
    .await;
    let mut envelope = vec![0; 60];
    envelope[..3].copy_from_slice(&[0xFA, 0x4B, 0x21]);
    let sent = gate.bare.publish("agents.a", envelope.into()).await;
    sent.unwrap().await.unwrap();
    let answer = gate.ask(gate.question(1)).await;
    unknown(answer, &["message 1 of stream S", "upgrade keyway"]);
}

#[tokio::test]
async fn more_messages_than_are_read_are_a_doubt_unless_one_that_is_read_is_held() {
    const MANY: u64 = 20_001;
    let gate = Gate::start().await;
    gate.stream(stream::Config {
        subjects: vec!["agents.>".into()],
        storage: stream::StorageType::Memory,
        ..named("MANY")
    })
    .await;
    for number in 1..=MANY {
        let sent = gate.bare.publish("agents.a", "not sealed".into()).await;
        // Waits for acknowledgements now and then: a stream drops what it has no room to queue.
        if number % 1000 == 0 || number == MANY {
            assert_eq!(sent.unwrap().await.unwrap().sequence, number);
        }
    }
    unknown(
        gate.ask(gate.question(1)).await,
        &["stream MANY", "more than 20000 messages on agents.>"],
    );
    gate.publish("agents.a", "sealed").await;
    let early = gate.bare.get_stream("MANY").await.unwrap();
    early.purge().sequence(MANY - 5).await.unwrap();
    assert_eq!(gate.holders().await[0].sequence, MANY + 1);
}

#[tokio::test]
async fn a_user_who_may_not_ask_learns_nothing_and_says_why() {
    let text = r#"
        jetstream { store_dir: "STORE" }
        authorization { users: [
            { user: mute, password: p, permissions: { publish: { deny: ["$JS.API.>"] } } }
            { user: deaf, password: p, permissions: { subscribe: { deny: ["_INBOX.>"] } } }
            { user: able, password: p, permissions: {
                publish: ["$JS.API.STREAM.LIST", "$JS.API.STREAM.MSG.GET.*", "$JS.API.CONSUMER.LIST.*"]
                subscribe: "_INBOX.>"
            } }
        ] }"#;
    let server = NatsServer::configured(text);
    let folder = scratch::folder("control");
    let file = secret(folder.path(), "p\n");
    let login = |user: &str, file: &Path| {
        let (user, file) = (user.to_owned(), file.to_owned());
        ask(&server, Some(Login::Password { user, file }))
    };
    assert_eq!(login("able", &file).await, Answer::Clear { streams: 0 });
    let violation = "Permissions Violation for";
    unknown(
        login("mute", &file).await,
        &[violation, "$JS.API.STREAM.LIST"],
    );
    unknown(login("deaf", &file).await, &[violation, "_INBOX."]);
    unknown(ask(&server, None).await, &["refuses the credentials"]);
    std::fs::write(&file, "wrong").unwrap();
    unknown(login("able", &file).await, &["refuses the credentials"]);
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    unknown(login("able", &file).await, &["0644"]);
    let absent = folder.path().join("absent");
    unknown(login("able", &absent).await, &["absent", "create it"]);
}

#[tokio::test]
async fn tokens_nkeys_and_credentials_open_the_door() {
    let folder = scratch::folder("control");
    let file = secret(folder.path(), "t0ken\n");
    let text = "jetstream { store_dir: \"STORE\" }\nauthorization { token: t0ken }";
    let answer = ask(&NatsServer::configured(text), Some(Login::Token(file))).await;
    assert_eq!(answer, Answer::Clear { streams: 0 });
    let pair = nkeys::KeyPair::new_user();
    let file = secret(folder.path(), &pair.seed().unwrap());
    let key = pair.public_key();
    let text = format!(
        "jetstream {{ store_dir: \"STORE\" }}\nauthorization {{ users: [{{ nkey: {key} }}] }}"
    );
    let answer = ask(&NatsServer::configured(&text), Some(Login::NkeySeed(file))).await;
    assert_eq!(answer, Answer::Clear { streams: 0 });
    let identity = keyway_tests::identity::Identity::new(-1);
    let server = NatsServer::configured(&identity.server());
    let file = secret(folder.path(), &identity.credentials());
    // Its server has no JetStream, and says so to authenticated clients.
    let answer = ask(&server, Some(Login::Credentials(file))).await;
    unknown(answer, &["$JS.API.STREAM.LIST"]);
    let file = secret(folder.path(), "nothing of the kind");
    let answer = ask(&server, Some(Login::Credentials(file))).await;
    unknown(answer, &["holds no JWT and seed"]);
}

#[tokio::test]
async fn a_bus_without_jetstream_is_a_doubt() {
    let server = NatsServer::start();
    unknown(
        ask(&server, None).await,
        &["nobody answers $JS.API.STREAM.LIST"],
    );
}

#[tokio::test]
async fn domains_are_asked_beside_the_servers_own() {
    let text = "jetstream { store_dir: \"STORE\", domain: hub }";
    let server = NatsServer::configured(text);
    let with = |domain: &str| Config {
        domains: vec![domain.to_owned()],
        ..config(&server.addr().to_string())
    };
    let answer = Control::new(with("hub")).holders(stranger()).await;
    assert_eq!(answer, Answer::Clear { streams: 0 });
    let answer = Control::new(with("edge")).holders(stranger()).await;
    unknown(answer, &["$JS.edge.API.STREAM.LIST"]);
}

#[tokio::test]
async fn a_gateway_in_between_is_a_doubt_and_never_a_clear() {
    let mut gate = Gate::start().await;
    let config = config(&gate.gateway.addr().to_string());
    unknown(Control::new(config).holders(gate.question(1)).await, &[]);
    let said = |line: &str| {
        line.contains("control connection of a gateway")
            .then_some(())
    };
    gate.gateway.process().line("the mistake", said);
}

#[tokio::test]
async fn an_absent_and_a_silent_server_are_doubts() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = silent.local_addr().unwrap().to_string();
    let ask = async |deadline| {
        let config = Config {
            deadline,
            ..config(&addr)
        };
        Control::new(config).holders(stranger()).await
    };
    unknown(ask(Duration::from_secs(1)).await, &[]);
    drop(silent);
    unknown(ask(HOUR).await, &["no connection to 127.0.0.1:"]);
}

#[tokio::test]
async fn a_server_that_falls_silent_is_a_doubt() {
    let mut gate = Gate::start().await;
    gate.stream(stream::Config {
        subjects: vec!["agents.>".into()],
        ..named("S")
    })
    .await;
    gate.publish("agents.a", "stored").await;
    gate.server.process().pause();
    let config = Config {
        deadline: Duration::from_secs(1),
        ..config(&gate.server.addr().to_string())
    };
    let answer = Control::new(config).holders(gate.question(1)).await;
    unknown(answer, &[]);
    gate.server.process().resume();
    assert_eq!(gate.holders().await.len(), 1);
}

async fn ask(server: &NatsServer, login: Option<Login>) -> Answer {
    let config = Config {
        login,
        ..config(&server.addr().to_string())
    };
    Control::new(config).holders(stranger()).await
}
