//! A JetStream bus with a gateway and a stream of each kind, to test the search for stored messages before a destruction.

#![expect(
    clippy::large_futures,
    clippy::large_stack_frames,
    reason = "async-nats connects in a large future; a test's stack holds it"
)]

use crate::gateway::{Gateway, Settings};
use crate::server::NatsServer;
use async_nats::jetstream::{self, Context, consumer, kv, object_store, stream};
use futures_util::StreamExt as _;
use keyway::retention::{Config, JetStream, RetentionAnswer, RetentionQuestion, StoringStream};
use serde_json::Value;
use std::time::Duration;

/// The subjects of the keyring `agents`.
pub const SUBJECTS: [&str; 3] = ["agents.>", "$KV.>", "$O.>"];

/// A server, a gateway with the keyrings `agents` and `other`, and a JetStream context on each.
pub struct JetStreamBus {
    /// The bus.
    pub server: NatsServer,
    /// The gateway.
    pub gateway: Gateway,
    /// JetStream through the gateway.
    pub agent: Context,
    /// JetStream on the server itself.
    pub bare: Context,
}

impl JetStreamBus {
    /// With a gateway in front of this server.
    pub async fn in_front_of(server: NatsServer) -> Self {
        let settings = Settings {
            tables: format!(
                "[[keyring]]\nname = \"agents\"\nsubjects = {SUBJECTS:?}\n\
                 [[keyring]]\nname = \"other\"\nsubjects = [\"other.>\"]\n"
            ),
            ..Settings::default()
        };
        let gateway = Gateway::start(&server.url(), settings);
        let agent = context(&gateway.url()).await;
        let bare = context(&server.url()).await;
        Self {
            server,
            gateway,
            agent,
            bare,
        }
    }

    /// With a server that has JetStream.
    pub async fn start() -> Self {
        Self::in_front_of(NatsServer::jetstream()).await
    }

    /// Creates a stream.
    pub async fn create_stream(&self, config: stream::Config) {
        self.bare.create_stream(config).await.unwrap();
    }

    /// Publishes through the gateway and waits for the acknowledgement.
    pub async fn publish(&self, subject: &str, payload: impl Into<bytes::Bytes>) {
        let sent = self.agent.publish(subject.to_owned(), payload.into()).await;
        sent.unwrap().await.unwrap();
    }

    /// Rotates the keyring `agents`.
    pub fn rotate(&self) {
        self.gateway.rotate("agents");
    }

    /// A question about a version of the keyring `agents`, with the times of its record.
    pub fn question(&self, number: u64) -> RetentionQuestion {
        let text = std::fs::read(self.gateway.state().join("catalogue/agents.json")).unwrap();
        let mut documents = serde_json::Deserializer::from_slice(&text).into_iter::<Value>();
        let record = documents.next().unwrap().unwrap();
        let versions = record["versions"].as_array().unwrap();
        let version = versions.iter().find(|v| v["number"] == number).unwrap();
        let time = |name: &str| version[name].as_str().map(|text| text.parse().unwrap());
        let kid = data_encoding::HEXLOWER.decode(version["kid"].as_str().unwrap().as_bytes());
        RetentionQuestion {
            keyring: "agents".parse().unwrap(),
            subjects: SUBJECTS.map(|text| text.parse().unwrap()).to_vec(),
            api_prefixes: Vec::new(),
            kid: keyway::envelope::Kid(kid.unwrap().try_into().unwrap()),
            activated: time("activated"),
            deactivated: time("deactivated"),
        }
    }

    /// The answer to it on a connection without credentials.
    pub async fn ask(&self, question: RetentionQuestion) -> RetentionAnswer {
        let config = config(&self.server.addr().to_string());
        JetStream::new(config).streams_storing(question).await
    }

    /// The streams that hold messages of version 1; panics where there are none.
    pub async fn holders(&self) -> Vec<StoringStream> {
        match self.ask(self.question(1)).await {
            RetentionAnswer::Stored(holders) => holders,
            other @ (RetentionAnswer::NothingStored { .. } | RetentionAnswer::Unknown(_)) => {
                panic!("{other:?}")
            }
        }
    }

    /// Creates a stream of each kind with one message each, and returns their names.
    pub async fn one_in_each(&self) -> Vec<&'static str> {
        let on = |name: &str, subject: &str| stream::Config {
            name: name.to_owned(),
            subjects: vec![subject.to_owned()],
            ..stream::Config::default()
        };
        self.create_stream(stream::Config {
            max_age: Duration::from_hours(1),
            ..on("AGED", "agents.aged")
        })
        .await;
        self.create_stream(stream::Config {
            retention: stream::RetentionPolicy::WorkQueue,
            ..on("WORK", "agents.work")
        })
        .await;
        self.create_stream(stream::Config {
            retention: stream::RetentionPolicy::Interest,
            ..on("INTEREST", "agents.interest")
        })
        .await;
        self.create_stream(stream::Config {
            storage: stream::StorageType::Memory,
            ..on("MEMORY", "agents.memory")
        })
        .await;
        self.create_stream(stream::Config {
            mirror: Some(source_of("AGED")),
            ..stream_named("MIRROR")
        })
        .await;
        self.create_stream(stream::Config {
            sources: Some(vec![source_of("MEMORY")]),
            ..stream_named("SOURCED")
        })
        .await;
        self.create_stream(on("OTHER", "other.>")).await;
        for name in ["WORK", "INTEREST"] {
            self.consumer(name).await;
        }
        for subject in ["aged", "work", "interest", "memory"] {
            self.publish(&format!("agents.{subject}"), "under the first version")
                .await;
        }
        self.publish("other.thing", "under another keyring").await;
        self.stores().await;
        self.await_copies(&["MIRROR", "SOURCED"]).await;
        let plain = ["AGED", "WORK", "INTEREST", "MEMORY"];
        [&plain[..], &["MIRROR", "SOURCED", "KV_b", "OBJ_o"]].concat()
    }

    /// Creates a key-value bucket and an object store, with a value each.
    async fn stores(&self) {
        let config = kv::Config {
            bucket: "b".into(),
            ..kv::Config::default()
        };
        let store = self.agent.create_key_value(config).await.unwrap();
        store.put("k", "first".into()).await.unwrap();
        let config = object_store::Config {
            bucket: "o".into(),
            ..object_store::Config::default()
        };
        let store = self.agent.create_object_store(config).await;
        let mut object = &b"an object"[..];
        store.unwrap().put("file", &mut object).await.unwrap();
    }

    /// Creates the pull consumer `worker`.
    pub async fn consumer(&self, stream: &str) -> consumer::PullConsumer {
        let stream = self.agent.get_stream(stream).await.unwrap();
        let config = consumer::pull::Config {
            durable_name: Some("worker".into()),
            ..consumer::pull::Config::default()
        };
        stream
            .get_or_create_consumer("worker", config)
            .await
            .unwrap()
    }

    /// Fetches one message with the consumer `worker` and acknowledges it.
    pub async fn consume(&self, stream: &str) {
        let worker = self.consumer(stream).await;
        let mut messages = worker.fetch().max_messages(1).messages().await.unwrap();
        let message = messages.next().await.unwrap().unwrap();
        message.double_ack().await.unwrap();
    }

    /// Removes all messages.
    pub async fn purge(&self, stream: &str) {
        let stream = self.bare.get_stream(stream).await.unwrap();
        stream.purge().into_future().await.unwrap();
    }

    /// Waits until each of the streams has a message.
    pub async fn await_copies(&self, streams: &[&str]) {
        for name in streams {
            let mut stream = self.bare.get_stream(*name).await.unwrap();
            while stream.info().await.unwrap().state.messages == 0 {
                tokio::task::yield_now().await;
            }
        }
    }
}

/// The configuration of a connection to this server without credentials, with a long deadline.
pub fn config(server: &str) -> Config {
    Config {
        tls: None,
        servers: vec![server.to_owned()],
        login: None,
        domains: Vec::new(),
        deadline: crate::wait::DEADLINE,
    }
}

/// A stream source, for mirrors and sourced streams.
pub fn source_of(name: &str) -> stream::Source {
    stream::Source {
        name: name.to_owned(),
        ..stream::Source::default()
    }
}

/// The configuration of a stream of this name, without subjects.
pub fn stream_named(name: &str) -> stream::Config {
    stream::Config {
        name: name.to_owned(),
        ..stream::Config::default()
    }
}

async fn context(url: &str) -> Context {
    jetstream::new(async_nats::connect(url).await.unwrap())
}
