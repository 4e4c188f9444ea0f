//! Unambiguous and ambiguous bodies. `tests/tests/nats/api_request_parsing.rs` tests how the server reads them.

use super::super::jetstream::{Request, is_unambiguous};

fn one_meaning(request: &str, body: &str) -> bool {
    is_unambiguous(Request::of(request.as_bytes()), body.as_bytes())
}

#[test]
fn body_that_a_client_writes_is_unambiguous() {
    let table = [
        (
            "STREAM.CREATE.S",
            r#"{"name":"S","subjects":["a","b.>"],"max_msg_size":10,"metadata":{"a":"1","A":"2","name":"x"}}"#,
        ),
        (
            "STREAM.UPDATE.S",
            r#" {"name":"S","mirror":null,"sources":[{"name":"T","external":null},{"name":"U"}],"republish":{"src":"","dest":"d"}} "#,
        ),
        (
            "STREAM.RESTORE.S",
            r#"{"config":{"name":"S","subjects":null},"state":{"config":{},"CONFIG":{}}}"#,
        ),
        (
            "CONSUMER.CREATE.S.C",
            r#"{"stream_name":"S","config":{"deliver_subject":"d","metadata":{"deliver_subject":"x"}}}"#,
        ),
        ("STREAM.SNAPSHOT.S", r#"{"deliver_subject":"_INBOX.a"}"#),
        (
            "CONSUMER.MSG.NEXT.S.C",
            r#"{"expires":1,"batch":2,"max_bytes":3}"#,
        ),
        ("CONSUMER.MSG.NEXT.S.C", " 10 "),
        ("CONSUMER.MSG.NEXT.S.C", ""),
        (
            "DIRECT.GET.S",
            r#"{"multi_last":["a","b"],"batch":2,"no_hdr":true}"#,
        ),
        ("STREAM.MSG.GET.S", r#"{"last_by_subj":"a"}"#),
        ("STREAM.INFO.S", r#"{"name":"a","name":"b"}{}"#),
        ("STREAM.CREATE.S", "null"),
    ];
    for (request, body) in table {
        assert!(one_meaning(request, body), "{request} {body}");
    }
}

#[test]
fn body_that_the_server_refuses_is_left_to_it() {
    for body in [
        "[]",
        "x",
        "{",
        r#"{"name""#,
        r#"{"name":1}"#,
        r#"{"subjects":"a"}"#,
        r#"{"max_msg_size":1e2}"#,
        "10 20",
        r#"{"a":[}"#,
    ] {
        assert!(one_meaning("STREAM.CREATE.S", body), "{body}");
    }
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn body_with_two_meanings_is_ambiguous() {
    let table = [
        (
            "STREAM.CREATE.S",
            r#"{"name":"S","subjects":["a"],"subjects":[null]}"#,
        ),
        ("STREAM.CREATE.S", r#"{"name":"S","subjects":["a",null]}"#),
        ("STREAM.CREATE.S", r#"{"name":"S","Subjects":["a"]}"#),
        ("STREAM.CREATE.S", r#"{"name":"S","\u0073ubjects":["a"]}"#),
        (
            "STREAM.CREATE.S",
            "{\"name\":\"S\",\"\u{17f}ubjects\":[\"a\"]}",
        ),
        ("STREAM.CREATE.S", r#"{"max_msg_size":1,"max_msg_size":2}"#),
        (
            "STREAM.CREATE.S",
            r#"{"allow_msg_counter":true,"allow_msg_counter":null}"#,
        ),
        ("STREAM.CREATE.S", r#"{"name":"S"}{"subjects":["a"]}"#),
        ("STREAM.CREATE.S", r#"null{"subjects":["a"]}"#),
        ("STREAM.CREATE.S", r#"{"name":"S"} x"#),
        (
            "STREAM.CREATE.S",
            r#"{"republish":{"dest":"a"},"republish":{"src":"b"}}"#,
        ),
        (
            "STREAM.CREATE.S",
            r#"{"republish":{"dest":"a","DEST":"b"}}"#,
        ),
        (
            "STREAM.CREATE.S",
            r#"{"subject_transform":{"dest":"a","dest":"b"}}"#,
        ),
        ("STREAM.CREATE.S", r#"{"mirror":{"name":"a","name":"b"}}"#),
        (
            "STREAM.CREATE.S",
            r#"{"sources":[{"external":{"api":"a","api":"b"}}]}"#,
        ),
        (
            "STREAM.CREATE.S",
            r#"{"sources":[{"consumer":{"deliver_subject":"a","Deliver_subject":"b"}}]}"#,
        ),
        (
            "STREAM.CREATE.S",
            r#"{"sources":[{"subject_transforms":[{"src":"a"},null]}]}"#,
        ),
        ("STREAM.CREATE.S", r#"{"sources":[null]}"#),
        ("STREAM.RESTORE.S", r#"{"config":{"name":"S"},"config":{}}"#),
        (
            "CONSUMER.CREATE.S",
            r#"{"config":{"deliver_subject":"a"},"Config":{}}"#,
        ),
        (
            "CONSUMER.CREATE.S",
            r#"{"config":{"deliver_subject":"a","deliver_subject":null}}"#,
        ),
        (
            "STREAM.SNAPSHOT.S",
            r#"{"deliver_subject":"a","deliver_subject":"b"}"#,
        ),
        ("CONSUMER.MSG.NEXT.S.C", r#"{"max_bytes":1,"MAX_BYTES":2}"#),
        ("DIRECT.GET.S", r#"{"seq":1,"no_hdr":true,"no_hdr":null}"#),
        (
            "DIRECT.GET.S",
            r#"{"last_by_subj":"a","next_by_subj":"b","last_by_subj":null}"#,
        ),
        ("STREAM.MSG.GET.S", r#"{"seq":1}{"last_by_subj":"a"}"#),
    ];
    for (request, body) in table {
        assert!(!one_meaning(request, body), "{request} {body}");
    }
    let broken = b"{\"subjects\":[\"a.\xff\"]}";
    assert!(!is_unambiguous(Request::StreamConfig, broken));
}
