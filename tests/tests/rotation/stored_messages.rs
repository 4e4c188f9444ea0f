//! Promise: before a key version is destroyed, JetStream is asked for messages still stored under it; any doubt keeps it.
#![expect(
    clippy::large_futures,
    clippy::unwrap_used,
    clippy::arithmetic_side_effects,
    clippy::panic,
    reason = "async-nats connects in a large future, which a test's stack holds; a test's own functions may stop it too"
)]

use async_nats::jetstream::{kv, stream};
use keyway::fault::Faulty as _;
use keyway::retention::{Config, JetStream, Login, RetentionAnswer, RetentionQuestion};
use keyway_tests::stored_messages::{JetStreamBus, config, source_of, stream_named};
use keyway_tests::{NatsServer, scratch};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

const HOUR: Duration = Duration::from_hours(1);

/// Moves the version's times into the past, before anything that is stored now.
fn with_times_in_the_past(mut question: RetentionQuestion) -> RetentionQuestion {
    question.activated = question.activated.map(|time| time - HOUR - HOUR);
    question.deactivated = question.activated.map(|time| time + HOUR);
    question
}

fn assert_unknown(answer: RetentionAnswer, words: &[&str]) {
    let RetentionAnswer::Unknown(why) = answer else {
        panic!("{answer:?}");
    };
    for word in words {
        assert!(why.with_help().contains(word), "no `{word}` in: {why}");
    }
    assert!(!why.what.is_empty() && !why.fault.help().is_empty());
}

/// A file that only its owner may read.
fn secret(folder: &Path, text: &str) -> std::path::PathBuf {
    let path = folder.join("secret");
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    path
}

/// A question about a version that does not exist.
fn question_about_unknown_version() -> RetentionQuestion {
    RetentionQuestion {
        keyring: "default".parse().unwrap(),
        subjects: vec![">".parse().unwrap()],
        api_prefixes: Vec::new(),
        kid: keyway::envelope::Kid([7; 8]),
        activated: None,
        deactivated: None,
    }
}

#[tokio::test]
async fn every_kind_of_stream_is_named_until_its_messages_are_gone() {
    let bus = JetStreamBus::start().await;
    let mut expected = bus.one_in_each().await;
    bus.rotate();
    bus.publish("agents.aged", "under the second version").await;
    let holders = bus.holders().await;
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
        bus.consume(name).await;
    }
    for name in ["AGED", "MEMORY", "MIRROR", "SOURCED"] {
        bus.purge(name).await;
    }
    let store = bus.agent.get_key_value("b").await.unwrap();
    store.put("k", "second".into()).await.unwrap();
    let store = bus.agent.get_object_store("o").await.unwrap();
    store.delete("file").await.unwrap();
    let answer = bus.ask(bus.question(1)).await;
    assert_eq!(answer, RetentionAnswer::NothingStored { streams: 9 });
    assert!(matches!(
        bus.ask(bus.question(2)).await,
        RetentionAnswer::Stored(_)
    ));
}

#[tokio::test]
async fn one_large_message_amid_many_others_is_found() {
    let bus = JetStreamBus::start().await;
    bus.create_stream(stream::Config {
        subjects: vec!["agents.>".into()],
        ..stream_named("MANY")
    })
    .await;
    bus.gateway.rotate("agents");
    for number in 1..=40 {
        if number == 23 {
            bus.publish("agents.b", vec![b'x'; 1_000_000]).await;
            bus.rotate();
        } else {
            let sent = bus.bare.publish("agents.a", "not sealed".into()).await;
            sent.unwrap().await.unwrap();
        }
    }
    assert_eq!(
        bus.ask(bus.question(1)).await,
        RetentionAnswer::NothingStored { streams: 1 }
    );
    let RetentionAnswer::Stored(holders) = bus.ask(bus.question(2)).await else {
        panic!("not found");
    };
    assert_eq!((holders.len(), holders[0].sequence), (1, 23));
    assert_eq!(holders[0].messages_at_most, 40);
    bus.bare
        .get_stream("MANY")
        .await
        .unwrap()
        .delete_message(23)
        .await
        .unwrap();
    let answer = bus.ask(bus.question(2)).await;
    assert_eq!(answer, RetentionAnswer::NothingStored { streams: 1 });
}

#[tokio::test]
async fn stored_times_are_believed_only_where_they_are_those_of_the_publish() {
    let bus = JetStreamBus::start().await;
    let plain = stream::Config {
        subjects: vec!["agents.plain".into()],
        ..stream_named("PLAIN")
    };
    bus.create_stream(plain).await;
    for (name, from) in [("MIRROR", "PLAIN"), ("SECOND", "SOURCED")] {
        let mirror = Some(source_of(from));
        let source = Some(vec![source_of("PLAIN")]);
        if name == "SECOND" {
            bus.create_stream(stream::Config {
                sources: source,
                ..stream_named("SOURCED")
            })
            .await;
        }
        bus.create_stream(stream::Config {
            mirror,
            ..stream_named(name)
        })
        .await;
    }
    bus.create_stream(stream::Config {
        subjects: vec!["agents.plan".into()],
        allow_message_schedules: true,
        ..stream_named("PLANNED")
    })
    .await;
    bus.publish("agents.plain", "now").await;
    bus.publish("agents.plan", "now").await;
    bus.await_copies(&["MIRROR", "SOURCED", "SECOND"]).await;
    bus.rotate();
    let RetentionAnswer::Stored(holders) = bus.ask(with_times_in_the_past(bus.question(1))).await
    else {
        panic!("nothing held");
    };
    let mut names: Vec<_> = holders.iter().map(|held| held.stream.as_str()).collect();
    names.sort_unstable();
    // What is stored now cannot have been sealed long ago, unless it was await_copies or scheduled.
    assert_eq!(names, ["PLANNED", "SECOND", "SOURCED"]);
    let mut later = bus.question(1);
    later.activated = later.activated.map(|time| time + HOUR);
    later.deactivated = None;
    let answer = bus.ask(later).await;
    assert_eq!(answer, RetentionAnswer::NothingStored { streams: 5 });
}

#[tokio::test]
async fn every_page_of_a_long_list_is_looked_at() {
    let bus = JetStreamBus::start().await;
    for number in 0..300 {
        bus.create_stream(stream::Config {
            subjects: vec![format!("agents.{number}")],
            storage: stream::StorageType::Memory,
            ..stream_named(&format!("S{number:03}"))
        })
        .await;
    }
    bus.publish("agents.299", "in the last one").await;
    let holders = bus.holders().await;
    assert_eq!((holders.len(), holders[0].stream.as_str()), (1, "S299"));
    bus.purge("S299").await;
    let answer = bus.ask(bus.question(1)).await;
    assert_eq!(answer, RetentionAnswer::NothingStored { streams: 300 });
}

#[tokio::test]
async fn a_store_that_keeps_no_value_of_the_version_is_clear() {
    let bus = JetStreamBus::start().await;
    let config = kv::Config {
        bucket: "b".into(),
        history: 2,
        ..kv::Config::default()
    };
    let store = bus.agent.create_key_value(config).await.unwrap();
    store.put("k", "first".into()).await.unwrap();
    bus.rotate();
    store.put("k", "second".into()).await.unwrap();
    assert_eq!(bus.holders().await[0].sequence, 1);
    store.put("k", "third".into()).await.unwrap();
    let answer = bus.ask(bus.question(1)).await;
    assert_eq!(answer, RetentionAnswer::NothingStored { streams: 1 });
}

#[tokio::test]
async fn an_envelope_of_a_later_format_is_a_doubt() {
    let server = NatsServer::jetstream();
    let bus = JetStreamBus::in_front_of(server).await;
    bus.create_stream(stream::Config {
        subjects: vec!["agents.>".into()],
        ..stream_named("S")
    })
    .await;
    let mut envelope = vec![0; 60];
    envelope[..3].copy_from_slice(&[0xFA, 0x4B, 0x21]);
    let sent = bus.bare.publish("agents.a", envelope.into()).await;
    sent.unwrap().await.unwrap();
    let answer = bus.ask(bus.question(1)).await;
    assert_unknown(answer, &["message 1 of stream S", "upgrade keyway"]);
}

#[tokio::test]
async fn more_messages_than_are_read_are_a_doubt_unless_one_that_is_read_is_held() {
    const MANY: u64 = 20_001;
    let bus = JetStreamBus::start().await;
    bus.create_stream(stream::Config {
        subjects: vec!["agents.>".into()],
        storage: stream::StorageType::Memory,
        ..stream_named("MANY")
    })
    .await;
    for number in 1..=MANY {
        let sent = bus.bare.publish("agents.a", "not sealed".into()).await;
        // Waits for acknowledgements now and then: a stream drops what it has no room to queue.
        if number % 1000 == 0 || number == MANY {
            assert_eq!(sent.unwrap().await.unwrap().sequence, number);
        }
    }
    assert_unknown(
        bus.ask(bus.question(1)).await,
        &["stream MANY", "more than 20000 messages on agents.>"],
    );
    bus.publish("agents.a", "sealed").await;
    let early = bus.bare.get_stream("MANY").await.unwrap();
    early.purge().sequence(MANY - 5).await.unwrap();
    assert_eq!(bus.holders().await[0].sequence, MANY + 1);
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
    assert_eq!(
        login("able", &file).await,
        RetentionAnswer::NothingStored { streams: 0 }
    );
    let violation = "Permissions Violation for";
    assert_unknown(
        login("mute", &file).await,
        &[violation, "$JS.API.STREAM.LIST"],
    );
    assert_unknown(login("deaf", &file).await, &[violation, "_INBOX."]);
    assert_unknown(ask(&server, None).await, &["refuses the credentials"]);
    std::fs::write(&file, "wrong").unwrap();
    assert_unknown(login("able", &file).await, &["refuses the credentials"]);
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    assert_unknown(login("able", &file).await, &["0644"]);
    let absent = folder.path().join("absent");
    assert_unknown(login("able", &absent).await, &["absent", "create it"]);
}

#[tokio::test]
async fn tokens_nkeys_and_credentials_are_accepted() {
    let folder = scratch::folder("control");
    let file = secret(folder.path(), "t0ken\n");
    let text = "jetstream { store_dir: \"STORE\" }\nauthorization { token: t0ken }";
    let answer = ask(&NatsServer::configured(text), Some(Login::Token(file))).await;
    assert_eq!(answer, RetentionAnswer::NothingStored { streams: 0 });
    let pair = nkeys::KeyPair::new_user();
    let file = secret(folder.path(), &pair.seed().unwrap());
    let key = pair.public_key();
    let text = format!(
        "jetstream {{ store_dir: \"STORE\" }}\nauthorization {{ users: [{{ nkey: {key} }}] }}"
    );
    let answer = ask(&NatsServer::configured(&text), Some(Login::NkeySeed(file))).await;
    assert_eq!(answer, RetentionAnswer::NothingStored { streams: 0 });
    let identity = keyway_tests::identity::Identity::new(-1);
    let server = NatsServer::configured(&identity.server());
    let file = secret(folder.path(), &identity.credentials());
    // Its server has no JetStream, and says so to authenticated clients.
    let answer = ask(&server, Some(Login::Credentials(file))).await;
    assert_unknown(answer, &["$JS.API.STREAM.LIST"]);
    let file = secret(folder.path(), "nothing of the kind");
    let answer = ask(&server, Some(Login::Credentials(file))).await;
    assert_unknown(answer, &["holds no JWT and seed"]);
}

#[tokio::test]
async fn a_bus_without_jetstream_is_a_doubt() {
    let server = NatsServer::start();
    assert_unknown(
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
    let answer = JetStream::new(with("hub"))
        .streams_storing(question_about_unknown_version())
        .await;
    assert_eq!(answer, RetentionAnswer::NothingStored { streams: 0 });
    let answer = JetStream::new(with("edge"))
        .streams_storing(question_about_unknown_version())
        .await;
    assert_unknown(answer, &["$JS.edge.API.STREAM.LIST"]);
}

#[tokio::test]
async fn a_gateway_in_between_is_a_doubt_and_never_a_clear() {
    let mut bus = JetStreamBus::start().await;
    let config = config(&bus.gateway.addr().to_string());
    assert_unknown(
        JetStream::new(config)
            .streams_storing(bus.question(1))
            .await,
        &[],
    );
    let said = |line: &str| {
        line.contains("control connection of a gateway")
            .then_some(())
    };
    bus.gateway.process().line("the mistake", said);
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
        JetStream::new(config)
            .streams_storing(question_about_unknown_version())
            .await
    };
    assert_unknown(ask(Duration::from_secs(1)).await, &[]);
    drop(silent);
    assert_unknown(ask(HOUR).await, &["no connection to 127.0.0.1:"]);
}

#[tokio::test]
async fn a_server_that_falls_silent_is_a_doubt() {
    let mut bus = JetStreamBus::start().await;
    bus.create_stream(stream::Config {
        subjects: vec!["agents.>".into()],
        ..stream_named("S")
    })
    .await;
    bus.publish("agents.a", "stored").await;
    bus.server.process().pause();
    let config = Config {
        deadline: Duration::from_secs(1),
        ..config(&bus.server.addr().to_string())
    };
    let answer = JetStream::new(config)
        .streams_storing(bus.question(1))
        .await;
    assert_unknown(answer, &[]);
    bus.server.process().resume();
    assert_eq!(bus.holders().await.len(), 1);
}

async fn ask(server: &NatsServer, login: Option<Login>) -> RetentionAnswer {
    let config = Config {
        login,
        ..config(&server.addr().to_string())
    };
    JetStream::new(config)
        .streams_storing(question_about_unknown_version())
        .await
}
