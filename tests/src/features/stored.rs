//! Collects everything that a server has stored.

use super::search::SearchedData;
use crate::NatsServer;
use async_nats::jetstream::{self, Context};
use futures_util::TryStreamExt as _;
use std::path::Path;

/// Adds every message of every stream, read on a direct connection, and every file of the store.
pub fn stored(server: &NatsServer, places: &mut SearchedData) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(Box::pin(async {
        let client = async_nats::connect(server.url()).await.unwrap();
        let context = jetstream::new(client);
        let streams: Vec<String> = context.stream_names().try_collect().await.unwrap();
        for name in streams {
            messages(&context, &name, places).await;
        }
    }));
    files(&server.store(), places);
}

async fn messages(context: &Context, name: &str, places: &mut SearchedData) {
    let stream = context.get_stream(name).await.unwrap();
    let state = &stream.cached_info().state;
    for sequence in state.first_sequence..=state.last_sequence {
        let Ok(message) = stream.get_raw_message(sequence).await else {
            continue; // purged, deleted or expired
        };
        let headers = format!("{:?}", message.headers);
        let place = format!("stored in {name} at {sequence}: {}", message.subject);
        places.add(place, [headers.as_bytes(), &message.payload].concat());
    }
}

fn files(folder: &Path, places: &mut SearchedData) {
    for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if entry.file_type().unwrap().is_dir() {
            files(&path, places);
        } else if let Ok(bytes) = std::fs::read(&path) {
            places.add(format!("in the file {}", path.display()), bytes);
        }
    }
}
