//! Key-value stores.

use super::jetstream::until;
use super::world::{World, next};
use async_nats::jetstream::kv::{Config, Entry, Operation, Store};
use async_nats::jetstream::{self, Context, stream};
use bytes::Bytes;
use futures_util::TryStreamExt as _;
use std::time::Duration;

super::scenarios!(
    kv_put_get_delete,
    kv_history,
    kv_watch,
    kv_keys,
    kv_ttl,
    kv_mirror,
    kv_domain,
    kv_create_update,
    kv_without_direct_get,
    kv_max_value_size,
    kv_purge,
);

/// The same bucket, for a writer and for a reader.
struct SharedBucket {
    world: World,
    writer: Store,
    reader: Store,
}

async fn bucket(world: World, config: Config) -> SharedBucket {
    let contexts = world.contexts().await;
    bucket_in(world, contexts, config).await
}

async fn bucket_in(world: World, contexts: (Context, Context), config: Config) -> SharedBucket {
    let config = Config {
        bucket: world.named(),
        ..config
    };
    let writer = contexts.0.create_key_value(config).await.unwrap();
    let reader = contexts.1.get_key_value(world.named()).await.unwrap();
    SharedBucket {
        world,
        writer,
        reader,
    }
}

impl SharedBucket {
    async fn put(&self, key: &str, what: &str) -> u64 {
        let value = self.world.said(what);
        self.writer.put(key, value).await.unwrap()
    }

    async fn get(&self, key: &str) -> Option<Bytes> {
        self.reader.get(key).await.unwrap()
    }

    fn said(&self, what: &str) -> Option<Bytes> {
        Some(self.world.said(what))
    }
}

async fn kv_put_get_delete(world: World) {
    let pair = bucket(world, Config::default()).await;
    assert_eq!(pair.get("k").await, None);
    let first = pair.put("k", "one").await;
    pair.put("k", "two").await;
    assert_eq!(pair.get("k").await, pair.said("two"));
    let entry = pair.reader.entry("k").await.unwrap().unwrap();
    assert_eq!((entry.revision, entry.operation), (2, Operation::Put));
    assert_eq!(first, 1);
    pair.writer.delete("k").await.unwrap();
    assert_eq!(pair.get("k").await, None);
}

async fn kv_history(world: World) {
    let config = Config {
        history: 5,
        ..Config::default()
    };
    let pair = bucket(world, config).await;
    for what in ["one", "two"] {
        pair.put("k", what).await;
    }
    pair.writer.delete("k").await.unwrap();
    pair.put("k", "three").await;
    let history = pair.reader.history("k").await.unwrap();
    let history: Vec<Entry> = history.try_collect().await.unwrap();
    let values: Vec<_> = history
        .iter()
        .map(|entry| Some(entry.value.clone()))
        .collect();
    let said = |what| pair.said(what);
    assert_eq!(
        values,
        [said("one"), said("two"), Some(Bytes::new()), said("three")]
    );
    assert_eq!(history[2].operation, Operation::Delete);
    let first = pair.reader.entry_for_revision("k", 1).await.unwrap();
    assert_eq!(first.map(|entry| entry.value), pair.said("one"));
}

async fn kv_watch(world: World) {
    // With a history, so that a deletion does not remove what is not delivered yet.
    let config = Config {
        history: 5,
        ..Config::default()
    };
    let pair = bucket(world, config).await;
    pair.put("a", "before").await;
    let mut watch = pair.reader.watch_with_history("*").await.unwrap();
    let before = next(&mut watch).await.unwrap();
    assert_eq!(Some(before.value), pair.said("before"));
    pair.put("b", "after").await;
    pair.writer.delete("b").await.unwrap();
    let after = next(&mut watch).await.unwrap();
    assert_eq!(
        (after.key.as_str(), Some(after.value)),
        ("b", pair.said("after"))
    );
    let gone = next(&mut watch).await.unwrap();
    assert_eq!(gone.operation, Operation::Delete);
}

async fn kv_keys(world: World) {
    let pair = bucket(world, Config::default()).await;
    for key in ["a", "b.c", "gone"] {
        pair.put(key, key).await;
    }
    pair.writer.delete("gone").await.unwrap();
    let keys = pair.reader.keys().await.unwrap();
    let mut keys: Vec<String> = keys.try_collect().await.unwrap();
    keys.sort_unstable();
    assert_eq!(keys, ["a", "b.c"]);
}

async fn kv_ttl(world: World) {
    let config = Config {
        limit_markers: Some(Duration::from_secs(60)),
        ..Config::default()
    };
    let pair = bucket(world, config).await;
    pair.put("stays", "stays").await;
    let value = pair.world.said("goes");
    let a_while = Duration::from_secs(3);
    let created = pair.writer.create_with_ttl("goes", value, a_while).await;
    created.unwrap();
    assert_eq!(pair.get("goes").await, pair.said("goes"));
    until(async || pair.get("goes").await.is_none()).await;
    assert_eq!(pair.get("stays").await, pair.said("stays"));
}

async fn kv_mirror(world: World) {
    let pair = bucket(world.clone(), Config::default()).await;
    let (context, reader) = world.contexts().await;
    let config = Config {
        bucket: format!("{}_copy", world.named()),
        mirror: Some(stream::Source {
            name: world.named(),
            ..stream::Source::default()
        }),
        mirror_direct: true,
        ..Config::default()
    };
    let bucket = config.bucket.clone();
    context.create_key_value(config).await.unwrap();
    let copy = reader.get_key_value(bucket).await.unwrap().stream;
    // async-nats itself looks for the keys of another bucket only where that is in another domain or account.
    let key = format!("$KV.{}.k", world.named());
    for what in ["one", "two"] {
        pair.put("k", what).await;
        let copied = async || copy.direct_get_last_for_subject(&key).await.ok();
        until(async || copied().await.map(|message| message.payload) == pair.said(what)).await;
    }
}

async fn kv_domain(world: World) {
    let contexts = (
        jetstream::with_domain(world.publisher().await, "hub"),
        jetstream::with_domain(world.reader().await, "hub"),
    );
    let pair = bucket_in(world, contexts, Config::default()).await;
    assert!(pair.writer.use_jetstream_prefix);
    pair.put("k", "one").await;
    assert_eq!(pair.get("k").await, pair.said("one"));
    let context = jetstream::new(pair.world.reader().await);
    let plain = context.get_key_value(pair.world.named()).await.unwrap();
    assert_eq!(plain.get("k").await.unwrap(), pair.said("one"));
}

async fn kv_create_update(world: World) {
    let pair = bucket(world, Config::default()).await;
    let one = pair.world.said("one");
    let revision = pair.writer.create("k", one.clone()).await.unwrap();
    assert!(pair.writer.create("k", one.clone()).await.is_err());
    let two = pair.world.said("two");
    let updated = pair.writer.update("k", two.clone(), revision).await;
    updated.unwrap();
    assert!(pair.writer.update("k", one, revision).await.is_err());
    assert_eq!(pair.get("k").await, Some(two));
}

async fn kv_without_direct_get(world: World) {
    let pair = bucket(world, Config::default()).await;
    pair.put("k", "one").await;
    let (context, reader) = pair.world.contexts().await;
    let mut config = pair.writer.stream.get_info().await.unwrap().config;
    config.allow_direct = false;
    context.update_stream(config).await.unwrap();
    let store = reader.get_key_value(pair.world.named()).await.unwrap();
    assert!(!store.stream.cached_info().config.allow_direct);
    assert_eq!(store.get("k").await.unwrap(), pair.said("one"));
    let entry = store.entry_for_revision("k", 1).await.unwrap();
    assert_eq!(entry.map(|entry| entry.value), pair.said("one"));
}

async fn kv_max_value_size(world: World) {
    let config = Config {
        max_value_size: 100,
        ..Config::default()
    };
    let pair = bucket(world, config).await;
    let told = pair.reader.stream.cached_info().config.max_message_size;
    assert_eq!(told, 100);
    let text = pair.world.said("").to_vec();
    let of = |size: usize| Bytes::from([&text[..], &vec![b'.'; size - text.len()]].concat());
    pair.writer.put("k", of(100)).await.unwrap();
    assert!(pair.writer.put("k", of(101)).await.is_err());
    assert_eq!(pair.get("k").await, Some(of(100)));
}

async fn kv_purge(world: World) {
    let config = Config {
        history: 5,
        ..Config::default()
    };
    let pair = bucket(world, config).await;
    for what in ["one", "two"] {
        pair.put("k", what).await;
    }
    pair.writer.purge("k").await.unwrap();
    assert_eq!(pair.get("k").await, None);
    let history = pair.reader.history("k").await.unwrap();
    let history: Vec<Entry> = history.try_collect().await.unwrap();
    assert_eq!(history.len(), 1);
    assert_eq!(history[0].operation, Operation::Purge);
}
