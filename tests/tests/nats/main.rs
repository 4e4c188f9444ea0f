//! Promise: every row of `docs/nats.md` is true in every client that has the feature, and no plaintext is on the bus.

mod api_request_parsing;
mod dedicated_server;
mod jetstream;
mod sizes;
mod sizes_clients;

use keyway_tests::features::{
    Bus, Leak, MARKER, SearchedData, assert_supported, reports, search, stored,
};
use keyway_tests::scratch::repository;
use std::collections::BTreeSet;

/// A test for each row that scenarios cover.
macro_rules! rows {
    ($($row:ident)+) => {
        $(#[test]
        fn $row() {
            assert_supported(stringify!($row));
        })+
        const ROWS: &[&str] = &[$(stringify!($row)),+];
    };
}

rows!(
    publish_subscribe wildcards queue_groups headers empty_payload no_responders request_reply request_many
    custom_inbox_prefix drain
    stream_publish stream_publish_async stream_dedup stream_expected_headers stream_limits_file stream_limits_memory
    stream_interest stream_work_queue stream_rollup stream_message_ttl stream_purge_and_delete stream_max_msg_size
    stream_mirror stream_source stream_republish stream_subject_transform stream_message_get stream_direct_get
    stream_direct_get_batch stream_direct_get_multi_last stream_direct_get_no_headers stream_atomic_batch
    stream_fast_ingest stream_schedule stream_counter stream_backup_restore stream_compression
    consumer_pull_fetch consumer_pull_max_bytes consumer_push consumer_push_queue consumer_ordered consumer_flow_control
    consumer_headers_only consumer_acknowledgements consumer_priority_group consumer_pause consumer_filter consumer_replay
    kv_put_get_delete kv_history kv_watch kv_keys kv_ttl kv_mirror kv_domain kv_create_update kv_without_direct_get
    kv_max_value_size kv_purge
    object_put_get object_chunks object_links object_metadata object_watch object_delete
    service_request service_errors service_discovery
);

/// Rows with a server or a configuration of their own, in `alone`.
const DEDICATED: &[&str] = &[
    "account_mapping",
    "stream_import",
    "service_import",
    "message_trace",
    "leafnode_domain",
    "websocket",
    "leafnode",
    "mqtt",
];

#[test]
fn every_scenario_is_a_row() {
    for report in reports() {
        for outcome in &report.outcomes {
            let name = &*outcome.name;
            assert!(ROWS.contains(&name), "{}: {name}", report.client);
        }
    }
}

#[test]
fn the_page_and_the_tests_name_the_same_rows() {
    let source = include_str!("dedicated_server.rs");
    for row in DEDICATED {
        assert!(source.contains(&format!("fn {row}()")), "{row}");
    }
    let page = std::fs::read_to_string(repository().join("docs/nats.md")).unwrap();
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `"));
    let rows: Vec<_> = rows.filter_map(|row| row.split('`').next()).collect();
    let named: BTreeSet<_> = rows.iter().copied().collect();
    let tested: BTreeSet<_> = ROWS.iter().chain(DEDICATED).copied().collect();
    assert_eq!(named, tested);
    assert_eq!(rows.len(), named.len(), "a row stands twice");
}

#[test]
fn the_search_finds_what_is_published_and_stored_in_clear() {
    let bus = Bus::start();
    let mut agent = keyway_tests::RawClient::agent(bus.server().addr());
    agent.subscribe("made");
    let create = br#"{"name":"S_stream_dedup","subjects":["in.>"],"storage":"file"}"#;
    agent.request("$JS.API.STREAM.CREATE.S_stream_dedup", "made", create);
    agent.message("made");
    let said = format!("{MARKER} kv_put x");
    agent.publish("in.plain", said.as_bytes());
    for before in ["", "-", "--"] {
        let text = data_encoding::BASE64.encode(format!("{before}{said}").as_bytes());
        agent.publish("in.base", format!("\"{text}\"").as_bytes());
    }
    agent.publish("out.stream_dedup", MARKER.as_bytes());
    agent.publish("out", MARKER.as_bytes());
    let (seen, server) = bus.end();
    let mut places = SearchedData::default();
    places.frames(&seen);
    stored(&server, &mut places);
    let leaks = search(&places, &["stream", "stream_dedup", "kv_put"]);
    let of = |row: Option<&str>, place: &str| {
        let of = |leak: &&Leak| leak.row.as_deref() == row && leak.place.starts_with(place);
        leaks.iter().filter(of).count()
    };
    assert_eq!(of(Some("kv_put"), "on the bus: MSG in."), 4, "{leaks:#?}");
    assert_eq!(of(Some("kv_put"), "stored in S_stream_dedup"), 4);
    assert_eq!(of(Some("kv_put"), "in the file"), 1);
    assert_eq!(of(Some("stream_dedup"), "on the bus"), 1);
    assert_eq!(of(None, "on the bus"), 1);
    assert_eq!(leaks.len(), 11);
}
