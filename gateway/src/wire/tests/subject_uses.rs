//! Subjects that requests and headers name for the server to publish to or to copy from.

use super::super::jetstream::{Request, SubjectUse, header_subject_uses, subject_uses};

fn named(request: &str, body: &str) -> Vec<String> {
    let mut places = Vec::new();
    let request = Request::of(request.as_bytes());
    subject_uses(request, body.as_bytes(), |place| places.push(shown(place)));
    places
}

fn in_headers(block: &str) -> Vec<String> {
    let mut places = Vec::new();
    header_subject_uses(block.as_bytes(), |place| places.push(shown(place)));
    places
}

fn shown(place: SubjectUse<'_>) -> String {
    let (kind, text) = match place {
        SubjectUse::PublishTo(text) => ("to", text),
        SubjectUse::RequestTo(text) => ("asked", text),
        SubjectUse::CopyFrom(text) => ("from", text),
        SubjectUse::CopyStream(text) => ("stream", text),
    };
    format!("{kind} {}", String::from_utf8_lossy(text))
}

#[test]
fn consumer_and_snapshot_name_where_they_deliver() {
    let consumer = r#"{"stream_name":"S","config":{"deliver_subject":"d.x","filter_subject":"a"}}"#;
    for request in [
        "CONSUMER.CREATE.S",
        "CONSUMER.CREATE.S.C",
        "CONSUMER.CREATE.S.C.a.>",
        "CONSUMER.DURABLE.CREATE.S.C",
    ] {
        assert_eq!(named(request, consumer), ["to d.x"], "{request}");
    }
    let snapshot = r#"{"deliver_subject":"d.x","chunk_size":1024}"#;
    assert_eq!(named("STREAM.SNAPSHOT.S", snapshot), ["to d.x"]);
    assert_eq!(named("STREAM.INFO.S", snapshot), [""; 0]);
    assert_eq!(named("CONSUMER.CREATE.S", "{"), [""; 0]);
}

#[test]
fn stream_names_what_it_copies_and_where_to() {
    let config = r#"{"name":"S","subjects":["a.>"],
        "republish":{"src":"a.>","dest":"r.>"},
        "subject_transform":{"src":"a.*","dest":"t.{{wildcard(1)}}.$1.x"},
        "mirror":{"name":"M","filter_subject":"m.>","consumer":{"name":"c","deliver_subject":"md"}},
        "sources":[
            {"name":"T","external":{"api":"$JS.hub.API","deliver":"d"}},
            {"name":"U","subject_transforms":[{"src":"u.1","dest":"v.1"},{"src":"u.2","dest":""}]}]}"#;
    let places = [
        "from a.>",
        "to r.>",
        "from a.*",
        "to t.*.*.x",
        "stream M",
        "from m.>",
        "to md",
        "stream T",
        "asked $JS.hub.API.>",
        "to d.>",
        "stream U",
        "from u.1",
        "to v.1",
        "from u.2",
    ];
    assert_eq!(named("STREAM.CREATE.S", config), places);
    assert_eq!(named("STREAM.UPDATE.S", config), places);
    let restore = format!(r#"{{"config":{config},"state":{{}}}}"#);
    assert_eq!(named("STREAM.RESTORE.S", &restore), places);
}

#[test]
fn transform_without_a_source_takes_everything() {
    let holders = [
        r#"{"republish":T}"#,
        r#"{"subject_transform":T}"#,
        r#"{"mirror":{"subject_transforms":[T]}}"#,
        r#"{"sources":[{"subject_transforms":[T]}]}"#,
    ];
    let transforms = [
        r#"{"dest":"d.>"}"#,
        r#"{"src":"","dest":"d.>"}"#,
        r#"{"dest":"d.>","src":null}"#,
    ];
    for holder in holders {
        for transform in transforms {
            let config = holder.replace('T', transform);
            let places = ["from >", "to d.>"];
            assert_eq!(named("STREAM.CREATE.S", &config), places, "{config}");
            assert_eq!(named("STREAM.UPDATE.S", &config), places, "{config}");
            let restore = format!(r#"{{"config":{config}}}"#);
            assert_eq!(named("STREAM.RESTORE.S", &restore), places, "{config}");
        }
        for no_transform in ["null", "{}", r#"{"src":"","dest":""}"#] {
            let config = holder.replace('T', no_transform);
            assert_eq!(named("STREAM.CREATE.S", &config), [""; 0], "{config}");
        }
    }
}

#[test]
fn transform_of_everything_takes_what_the_stream_can_hold() {
    for name in ["republish", "subject_transform"] {
        for transform in [r#"{"dest":"d.>"}"#, r#"{"src":">","dest":"d.>"}"#] {
            let own = format!(r#"{{"subjects":["a.>","b"],"{name}":{transform}}}"#);
            assert_eq!(
                named("STREAM.CREATE.S", &own),
                ["from a.>", "from b", "to d.>"]
            );
            for copies in [r#""mirror":{}"#, r#""sources":[]"#] {
                let config = format!(r#"{{"subjects":["a.>"],{copies},"{name}":{transform}}}"#);
                assert_eq!(named("STREAM.CREATE.S", &config), ["from >", "to d.>"]);
            }
        }
    }
}

#[test]
fn every_place_that_some_reader_would_take_is_named() {
    let body = r#"{"Republish":{"SRC":"s","DEST":"a","dest":"b"},"republish":{"dest":null},"re\u0070ublish":{"s\u0072c":"t","de\u0073t":"c"}}"#;
    let places = ["from s", "to a", "to b", "from t", "to c"];
    assert_eq!(named("STREAM.CREATE.S", body), places);
    let body = r#"{"sources":[{"consumer":{"deliver_subject":"a"}}],"sources":[null]}"#;
    assert_eq!(named("STREAM.CREATE.S", body), ["to a"]);
}

#[test]
fn destination_covers_whatever_its_mappings_can_give() {
    let table = [
        ("plans.$1", "plans.*"),
        ("plans.{{wildcard(1)}}", "plans.*"),
        ("plans.{{ Partition(10,1,2) }}.x", "plans.*.x"),
        ("a.{{left(1,3)}}.{{right(1,3)}}.{{random(3)}}", "a.*.*.*"),
        ("a.{{split(1,-)}}.x", "a.>"),
        ("a.{{SplitFromLeft(1,3)}}", "a.>"),
        ("a.{{slicefromright(1,3)}}", "a.>"),
        ("a.b{{wildcard(1)}}", "a.>"),
        ("{{split(1,.)}}.x", ">"),
        ("$JS.API.x", "$JS.API.x"),
        ("$KV.b.{{wildcard(1)}}", "$KV.b.*"),
        ("a.*.>", "a.*.>"),
        ("a.$x.$", "a.$x.$"),
    ];
    for (dest, pattern) in table {
        let body = format!(r#"{{"subject_transform":{{"src":"s","dest":"{dest}"}}}}"#);
        let places = ["from s".to_owned(), format!("to {pattern}")];
        assert_eq!(named("STREAM.CREATE.S", &body), places);
    }
}

#[test]
fn every_occurrence_of_a_header_that_names_a_place_counts() {
    assert_eq!(
        in_headers(
            "NATS/1.0\r\nNats-Trace-Dest: a\r\nNats-Trace-Dest:\tb \t\r\nNats-Schedule: @every 1s\r\nNats-Schedule-Target:c\r\nNats-Schedule-Source: d\r\nNats-Consumer-Stalled: e\r\n\r\n"
        ),
        ["to a", "to b", "to c", "from d", "to e"]
    );
    // The server reads on behind an empty line.
    assert_eq!(
        in_headers("NATS/1.0\r\n\r\nA:b\r\nNats-Trace-Dest: a\r\n\r\n"),
        ["to a"]
    );
    assert_eq!(in_headers("NATS/1.0\r\nNats-Trace-Dest: a"), ["to a"]);
    for none in [
        "",
        "NATS/1.0\r\nnats-trace-dest: a\r\n\r\n",
        "NATS/1.0\r\nNats-Trace-Dest : a\r\n\r\n",
        "NATS/1.0\r\nNats-Trace-Dest:\r\n\r\n",
        "NATS/1.0\r\nNats-Trace-Only: true\r\n\r\n",
        "NATS/1.0\r\nA: Nats-Trace-Dest: a\r\n\r\n",
        "NATS/1.0\r\nXNats-Trace-Dest: a\r\n\r\n",
        "NATS/1.0\nNats-Trace-Dest: a\n\n",
    ] {
        assert_eq!(in_headers(none), [""; 0], "{none:?}");
    }
}
