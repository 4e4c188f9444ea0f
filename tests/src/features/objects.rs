//! Object stores.

use super::world::{World, next};
use async_nats::jetstream::object_store::{Config, ObjectMetadata, ObjectStore, UpdateMetadata};
use std::collections::HashMap;
use tokio::io::AsyncReadExt as _;

super::scenarios!(
    object_put_get,
    object_chunks,
    object_links,
    object_metadata,
    object_watch,
    object_delete,
);

/// The same store, for a writer and for a reader.
async fn store(world: &World) -> (ObjectStore, ObjectStore) {
    let (writer, reader) = world.contexts().await;
    let config = Config {
        bucket: world.named(),
        ..Config::default()
    };
    let writer = writer.create_object_store(config).await.unwrap();
    let reader = reader.get_object_store(world.named()).await.unwrap();
    (writer, reader)
}

async fn put(store: &ObjectStore, meta: impl Into<ObjectMetadata>, bytes: &[u8]) {
    let meta: ObjectMetadata = meta.into();
    store.put(meta, &mut &*bytes).await.unwrap();
}

async fn get(store: &ObjectStore, name: &str) -> Vec<u8> {
    let mut object = store.get(name).await.unwrap();
    let mut bytes = Vec::new();
    object.read_to_end(&mut bytes).await.unwrap();
    bytes
}

async fn object_put_get(world: World) {
    let (writer, reader) = store(&world).await;
    let said = world.said("an object");
    put(&writer, "o", &said).await;
    assert_eq!(get(&reader, "o").await, said);
    let info = reader.info("o").await.unwrap();
    assert_eq!(info.size, said.len());
}

async fn object_chunks(world: World) {
    let (writer, reader) = store(&world).await;
    let said = world.said("").repeat(10_000);
    for (name, chunk_size) in [("default", None), ("small", Some(10_000))] {
        let meta = ObjectMetadata {
            name: name.into(),
            chunk_size,
            ..ObjectMetadata::default()
        };
        put(&writer, meta, &said).await;
        assert_eq!(get(&reader, name).await, said);
        let info = reader.info(name).await.unwrap();
        let size = chunk_size.unwrap_or(128 * 1024);
        assert_eq!(info.chunks, said.len().div_ceil(size));
    }
}

async fn object_links(world: World) {
    let (writer, reader) = store(&world).await;
    let said = world.said("linked");
    put(&writer, "o", &said).await;
    let object = writer.info("o").await.unwrap();
    writer.add_link("link", &object).await.unwrap();
    assert_eq!(get(&reader, "link").await, said);
}

async fn object_metadata(world: World) {
    let (writer, reader) = store(&world).await;
    let text = |what: &str| String::from_utf8(world.said(what).to_vec()).unwrap();
    let meta = ObjectMetadata {
        name: "o".into(),
        description: Some(text("description")),
        metadata: HashMap::from([("about".into(), text("metadata"))]),
        ..ObjectMetadata::default()
    };
    put(&writer, meta, &world.said("data")).await;
    let info = reader.info("o").await.unwrap();
    assert_eq!(info.description, Some(text("description")));
    assert_eq!(info.metadata["about"], text("metadata"));
    let changed = UpdateMetadata {
        name: "renamed".into(),
        description: Some(text("another")),
        ..UpdateMetadata::default()
    };
    writer.update_metadata("o", changed).await.unwrap();
    let info = reader.info("renamed").await.unwrap();
    assert_eq!(info.description, Some(text("another")));
    assert_eq!(get(&reader, "renamed").await, world.said("data"));
}

async fn object_watch(world: World) {
    let (writer, reader) = store(&world).await;
    put(&writer, "before", &world.said("before")).await;
    let mut watch = reader.watch_with_history().await.unwrap();
    assert_eq!(next(&mut watch).await.unwrap().name, "before");
    put(&writer, "after", &world.said("after")).await;
    let after = next(&mut watch).await.unwrap();
    assert_eq!(
        (after.name.as_str(), after.size),
        ("after", world.said("after").len())
    );
    writer.delete("after").await.unwrap();
    assert!(next(&mut watch).await.unwrap().deleted);
}

async fn object_delete(world: World) {
    let (writer, reader) = store(&world).await;
    put(&writer, "o", &world.said("gone")).await;
    writer.delete("o").await.unwrap();
    assert!(reader.get("o").await.is_err());
    put(&writer, "o", &world.said("back")).await;
    assert_eq!(get(&reader, "o").await, world.said("back"));
}
