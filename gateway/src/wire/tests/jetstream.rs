//! JetStream's requests and responses; the responses are those of nats-server 2.15.1.

use super::super::Buffer;
use super::super::jetstream::{
    Ambiguous, Delivery, Request, StoredFrom, StoredMessage, deliver_subject, exceeded,
    is_counter_stream, is_pub_ack, narrow_limits, narrow_max_msg_size, narrow_msg_size, subjects,
    widen_limit, widen_max_bytes, widen_max_msg_size, widen_restored,
};

fn written(rewrite: impl FnOnce(&mut Buffer) -> bool) -> Option<String> {
    let mut out = Buffer::new();
    let changed = rewrite(&mut out);
    assert_eq!(changed, !out.is_empty());
    changed.then(|| String::from_utf8(out.filled().to_vec()).unwrap())
}

fn pull(body: &str) -> Option<String> {
    written(|out| widen_max_bytes(body.as_bytes(), 48, out))
}

fn covered(what: StoredFrom<'_>) -> bool {
    let (StoredFrom::Published(subject) | StoredFrom::Copied(subject)) = what;
    subject.starts_with(b"a")
}

fn widened(config: &str) -> Option<String> {
    written(|out| widen_max_msg_size(config.as_bytes(), 48, covered, out))
}

fn narrowed(answer: &str) -> Option<String> {
    written(|out| narrow_max_msg_size(answer.as_bytes(), 48, covered, out))
}

#[test]
fn request_is_told_by_its_tokens() {
    let subject = Some(&b"a.b"[..]);
    let table = [
        ("CONSUMER.MSG.NEXT.S.C", Request::Next),
        ("DIRECT.GET.S", Request::DirectGet { subject: None }),
        ("DIRECT.GET.S.a.b", Request::DirectGet { subject }),
        ("STREAM.MSG.GET.S", Request::MessageGet),
        ("STREAM.CREATE.S", Request::StreamConfig),
        ("STREAM.UPDATE.S", Request::StreamConfig),
        ("STREAM.INFO.S", Request::StreamInfo),
        ("STREAM.LIST", Request::StreamList),
        ("STREAM.SNAPSHOT.S", Request::Snapshot),
        ("STREAM.RESTORE.S", Request::Restore),
        ("CONSUMER.CREATE.S", Request::ConsumerConfig),
        ("CONSUMER.CREATE.S.C.a.b", Request::ConsumerConfig),
        ("CONSUMER.DURABLE.CREATE.S.C", Request::ConsumerConfig),
        ("CONSUMER.INFO.S.C", Request::ConsumerInfo),
        ("CONSUMER.LIST.S", Request::ConsumerInfo),
    ];
    for (request, kind) in table {
        assert_eq!(Request::of(request.as_bytes()), kind, "{request}");
    }
}

#[test]
fn request_with_other_tokens_is_none_of_ours() {
    for request in [
        "CONSUMER.MSG.NEXT.S",
        "CONSUMER.MSG.NEXT.S.C.x",
        "CONSUMER.INFO.S",
        "CONSUMER.LIST",
        "DIRECT.GET.",
        "DIRECT.GET.S.",
        "STREAM.MSG.GET.S.x",
        "STREAM.CREATE.",
        "STREAM.LIST.x",
        "STREAM.NAMES",
        "stream.info.S",
        "",
    ] {
        assert_eq!(Request::of(request.as_bytes()), Request::Other, "{request}");
    }
}

#[test]
fn pull_max_bytes_leaves_room_for_envelopes() {
    assert_eq!(
        pull(r#"{ "batch" : 10,"max_bytes":1024 ,"x":[1]}"#).unwrap(),
        r#"{ "batch" : 10,"max_bytes":1504 ,"x":[1]}"#
    );
    assert_eq!(pull(r#"{"max_bytes":5}"#).unwrap(), r#"{"max_bytes":53}"#);
    assert_eq!(
        pull(r#"{"batch":0,"max_bytes":100}"#).unwrap(),
        r#"{"batch":0,"max_bytes":148}"#
    );
    // Keys as Go reads them: any letter case, the last one wins.
    assert_eq!(
        pull(r#"{"max_bytes":5,"MAX_Bytes":6,"batch":9,"BATCH":1}"#).unwrap(),
        r#"{"max_bytes":5,"MAX_Bytes":54,"batch":9,"BATCH":1}"#
    );
}

#[test]
fn consumers_limit_leaves_room_for_the_envelopes_of_a_pull_and_is_told_without_it() {
    let body =
        |limit| format!(r#"{{"stream_name":"S","config":{{"max_bytes": {limit} ,"name":"C"}}}}"#);
    let widen = |body: &str| written(|out| widen_limit(body.as_bytes(), 48, out));
    let narrow = |answer: &str| written(|out| narrow_limits(answer.as_bytes(), 48, out));
    assert_eq!(widen(&body(1000)), Some(body(2248)));
    assert_eq!(narrow(&body(2248)), Some(body(1000)));
    let list = |limit| {
        format!(
            r#"{{"total":2,"consumers":[{},5,{}]}}"#,
            body(limit),
            body(limit)
        )
    };
    assert_eq!(narrow(&list(2248)), Some(list(1000)));
    for limit in ["0", "-1", "null", "5.0", "\"5\""] {
        let body = format!(r#"{{"config":{{"max_bytes":{limit}}}}}"#);
        assert_eq!((widen(&body), narrow(&body)), (None, None), "{body}");
    }
    assert_eq!(widen(r#"{"max_bytes":5}"#), None);
}

#[test]
fn limit_is_found_in_the_status_of_the_server_alone() {
    let said = |headers: &str| {
        let (number, limit) = exceeded(headers.as_bytes(), 48)?;
        let mut out = Buffer::new();
        number.replace(limit.to_string().as_bytes(), &mut out);
        Some(String::from_utf8(out.filled().to_vec()).unwrap())
    };
    let status = |limit| format!("NATS/1.0 409 Exceeded MaxRequestMaxBytes of {limit}\r\n\r\n");
    assert_eq!(said(&status("2248")), Some(status("1000")));
    for other in [
        status("-5"),
        status("x"),
        status(""),
        status("48"),
        status("2248").replace("409", "408"),
        "NATS/1.0 409 Exceeded MaxRequestBatch of 2248\r\n\r\n".to_owned(),
        "NATS/1.0\r\nA: Exceeded MaxRequestMaxBytes of 2248\r\n\r\n".to_owned(),
    ] {
        assert_eq!(said(&other), None, "{other}");
    }
}

#[test]
fn pull_is_read_behind_brackets_of_any_depth() {
    for depth in [31, 32, 33, 63, 64, 65, 2_000] {
        let (open, close) = (r#"{"a":["#.repeat(depth), "]}".repeat(depth));
        let body = format!(r#"{{"x":{open}{close},"max_bytes":5}}"#);
        assert_eq!(pull(&body), Some(body.replace(":5}", ":53}")), "{depth}");
        let crossed = body.replacen("]}", "}]", 1);
        assert_eq!(pull(&crossed), None, "{depth}");
    }
}

#[test]
fn pull_for_any_number_of_messages_grows_by_what_its_bytes_can_hold() {
    assert_eq!(
        pull(r#"{"batch":1000000,"max_bytes":4000}"#).unwrap(),
        r#"{"batch":1000000,"max_bytes":8848}"#
    );
    assert_eq!(
        pull(r#"{"multi_last":["a.>"],"max_bytes":80}"#).unwrap(),
        r#"{"multi_last":["a.>"],"max_bytes":224}"#
    );
    assert_eq!(
        pull(r#"{"batch":9223372036854775807,"max_bytes":9223372036854775807}"#),
        None,
        "nothing is above the largest"
    );
}

#[test]
fn pull_without_max_bytes_passes_unchanged() {
    for body in [
        "",
        " 10 ",
        "{}",
        "{\"batch\":3}",
        r#"{"max_bytes":0}"#,
        r#"{"max_bytes":-1}"#,
        r#"{"max_bytes":"5"}"#,
        r#"{"max_bytes":5.0}"#,
        r#"{"max_bytes":99999999999999999999}"#,
        r#"{"max_bytes":5"#,
        "[5]",
    ] {
        assert_eq!(pull(body), None, "{body}");
    }
}

#[test]
fn max_msg_size_grows_when_every_subject_is_sealed() {
    assert_eq!(
        widened(r#"{"name":"S","subjects":["a.\u003e" , "ab"],"max_msg_size": 1000}"#).unwrap(),
        r#"{"name":"S","subjects":["a.\u003e" , "ab"],"max_msg_size": 1048}"#
    );
    assert_eq!(
        widened(r#"{"name":"alone","max_msg_size":1}"#).unwrap(),
        r#"{"name":"alone","max_msg_size":49}"#,
        "the server takes the name for the subject"
    );
    assert_eq!(
        widened(r#"{"subjects":["a"],"max_msg_size":2147483600}"#).unwrap(),
        r#"{"subjects":["a"],"max_msg_size":2147483647}"#
    );
    for config in [
        r#"{"subjects":["a","b"],"max_msg_size":1}"#,
        r#"{"subjects":["a",5],"max_msg_size":1}"#,
        r#"{"subjects":["a"],"max_msg_size":-1}"#,
        r#"{"subjects":["a"],"max_msg_size":2147483647}"#,
        r#"{"subjects":["a"],"max_msg_size":2147483648}"#,
        r#"{"subjects":["a"]}"#,
        r#"{"name":"a","mirror":{"name":"T"},"max_msg_size":1}"#,
        r#"{"name":"a","sources":[{"name":"T"}],"max_msg_size":1}"#,
        r#"{"subjects":["a"],"subjects":["b"],"max_msg_size":1}"#,
        r#"{"max_msg_size":1}"#,
    ] {
        assert_eq!(widened(config), None, "{config}");
    }
}

#[test]
fn max_msg_size_grows_where_something_that_is_copied_may_be_sealed() {
    let mirror = r#""mirror":{"name":"T","filter_subject":"a.>"}"#;
    let transform =
        r#""mirror":{"name":"T","subject_transforms":[{"src":"b"},{"src":"a.*","dest":"c.*"}]}"#;
    let sources = r#""sources":[{"name":"T"},{"name":"U","filter_subject":"a"}]"#;
    let both = r#""subjects":["b"],"sources":[{"name":"U","filter_subject":"a"}]"#;
    for stores in [mirror, transform, sources, both] {
        let config = |size| format!(r#"{{"name":"S",{stores},"max_msg_size":{size}}}"#);
        assert_eq!(widened(&config(100)), Some(config(148)));
        let answer = |size| format!(r#"{{"config":{}}}"#, config(size));
        assert_eq!(narrowed(&answer(148)), Some(answer(100)));
    }
    for other in [
        r#""mirror":{"name":"T","filter_subject":"b.>"}"#,
        r#""mirror":{"name":"T","subject_transforms":[{"dest":"a"}]}"#,
        r#""sources":[{"name":"T","filter_subject":""},5,{"name":"a"}]"#,
    ] {
        assert_eq!(widened(&format!(r#"{{{other},"max_msg_size":100}}"#)), None);
    }
}

#[test]
fn restored_stream_grows_as_a_new_one_does() {
    let restore = |body: &str| written(|out| widen_restored(body.as_bytes(), 48, covered, out));
    let body = r#"{"state":{"bytes":7},"config":{"subjects":["a"],"max_msg_size":100},"x":1}"#;
    assert_eq!(restore(body), Some(body.replace("100", "148")));
    assert_eq!(restore(r#"{"subjects":["a"],"max_msg_size":100}"#), None);
}

#[test]
fn max_msg_size_is_told_as_the_client_set_it() {
    let one = r#"{"type":"t","config":{"name":"S","subjects":["a.\u003e"],"max_msg_size":1048},"did_create":true}"#;
    assert_eq!(narrowed(one).unwrap(), one.replace("1048", "1000"));
    let list = r#"{"total":4,"streams":[{"config":{"subjects":["a"],"max_msg_size":148}},5,{"config":{"subjects":["b"],"max_msg_size":148}},{"x":1,"config":{"subjects":["a"],"max_msg_size":49},"y":2}],"z":3}"#;
    let expected = r#"{"total":4,"streams":[{"config":{"subjects":["a"],"max_msg_size":100}},5,{"config":{"subjects":["b"],"max_msg_size":148}},{"x":1,"config":{"subjects":["a"],"max_msg_size":1},"y":2}],"z":3}"#;
    assert_eq!(narrowed(list).unwrap(), expected);
    for answer in [
        r#"{"config":{"subjects":["a"],"max_msg_size":48}}"#,
        r#"{"config":{"subjects":["a"],"max_msg_size":-1}}"#,
        r#"{"config":{"subjects":["a"],"max_msg_size":148}"#,
        r#"{"subjects":["a"],"max_msg_size":148}"#,
        r#"{"type":"t","error":{"code":404}}"#,
    ] {
        assert_eq!(narrowed(answer), None, "{answer}");
    }
}

#[test]
fn counter_stream_is_told_by_its_configuration() {
    assert!(is_counter_stream(
        br#"{"name":"C","Allow_Msg_Counter":true}"#
    ));
    assert!(!is_counter_stream(
        br#"{"allow_msg_counter":true,"allow_msg_counter":false}"#
    ));
    assert!(!is_counter_stream(
        br#"{"metadata":{"allow_msg_counter":true}}"#
    ));
    let mut seen = Vec::new();
    subjects(
        br#"{"subjects":["\u0063.>","d\/\ud83d\ude00"]}"#,
        |subject| {
            seen.push(String::from_utf8(subject.to_vec()).unwrap());
        },
    );
    assert_eq!(seen, ["c.>", "d/\u{1F600}"]);
}

#[test]
fn snapshot_names_where_its_chunks_go() {
    let subject = deliver_subject(br#"{"deliver_subject":"_INBOX.\u0041","chunk_size":1}"#);
    assert_eq!(subject.as_deref(), Some(&b"_INBOX.A"[..]));
    assert_eq!(deliver_subject(br#"{"deliver_subject":""}"#), None);
    assert_eq!(deliver_subject(br#"{"deliver_subject":5}"#), None);
    assert_eq!(deliver_subject(b""), None);
}

pub(super) const MESSAGE: &str = r#"{"type":"io.nats.jetstream.api.v1.stream_msg_get_response","message":{"subject":"a.1","seq":2,"hdrs":"TkFUUy8xLjANCk5hdHMtTXNnLUlkOiA3DQoNCg==","data":"eA==","time":"2026-11-24T10:29:26.497842567Z"}}"#;

#[test]
fn stored_message_changes_its_data_and_nothing_else() {
    let stored = StoredMessage::parse(MESSAGE.as_bytes()).unwrap().unwrap();
    assert_eq!((&*stored.subject, stored.sequence), (&b"a.1"[..], 2));
    let (mut data, mut headers) = (b"kept".to_vec(), Vec::new());
    assert!(stored.decode(&mut data) && stored.decode_headers(&mut headers));
    assert_eq!(data, b"keptx");
    assert_eq!(headers, b"NATS/1.0\r\nNats-Msg-Id: 7\r\n\r\n");
    let mut out = Buffer::new();
    stored.rewrite(b"hello", &mut out);
    let expected = MESSAGE.replace("eA==", "aGVsbG8=");
    assert_eq!(out.filled(), expected.as_bytes());
}

#[test]
fn stored_answer_without_a_message_passes() {
    let error =
        br#"{"type":"t","error":{"code":404,"err_code":10037,"description":"no message found"}}"#;
    assert_eq!(StoredMessage::parse(error), Ok(None));
    assert_eq!(StoredMessage::parse(br#"{"message":null}"#), Ok(None));
    let empty = br#"{"message":{"subject":"a","seq":1}}"#;
    let stored = StoredMessage::parse(empty).unwrap().unwrap();
    let mut out = Buffer::new();
    stored.rewrite(b"ignored", &mut out);
    assert_eq!(out.filled(), empty);
}

#[test]
fn stored_answer_that_two_clients_read_differently_is_refused() {
    for answer in [
        r#"{"message":{"subject":"a","seq":1,"data":"eA==","data":"eQ=="}}"#,
        r#"{"message":{"subject":"a","seq":1,"data":"eA==","Data":"eQ=="}}"#,
        r#"{"message":{"subject":"a","seq":1,"d\u0061ta":"eA=="}}"#,
        r#"{"message":{"subject":"a","seq":1},"message":{"subject":"b","seq":1}}"#,
        r#"{"Message":{"subject":"a","seq":1}}"#,
        r#"{"message":{"seq":1,"data":"eA=="}}"#,
        r#"{"message":{"subject":"a","seq":1,"data":5}}"#,
        r#"{"message":{"subject":"a","seq":-1}}"#,
        r#"{"message":[]}"#,
        r#"{"message":{"subject":"a","seq":1}"#,
        "not json",
        "",
    ] {
        assert_eq!(
            StoredMessage::parse(answer.as_bytes()),
            Err(Ambiguous),
            "{answer}"
        );
    }
}

#[test]
fn stored_data_that_is_not_strict_base64_is_refused() {
    for data in [
        "eA",
        "eA=",
        "eA===",
        "e===",
        "eB==",
        "eA==eA==",
        "e A=",
        "eA\\u003d=",
        "e_-_",
        "=",
    ] {
        let json = format!(r#"{{"message":{{"subject":"a","seq":1,"data":"{data}"}}}}"#);
        let stored = StoredMessage::parse(json.as_bytes()).unwrap().unwrap();
        let mut out = b"kept".to_vec();
        assert!(!stored.decode(&mut out), "{data}");
        assert_eq!(out, b"kept");
    }
}

pub(super) const ACKNOWLEDGEMENTS: &[&str] = &[
    r#"{"stream":"S","seq":1}"#,
    r#"{"stream":"S","seq":2,"duplicate": true}"#,
    r#"{"stream":"S", "seq":18446744073709551615,"domain":"hub"}"#,
    r#"{"error":{"code":400,"err_code":10060,"description":"expected stream does not match"},"stream":"S","seq":0}"#,
    r#"{"error":{"code":503}}"#,
    r#"{"stream":"C","seq":1,"val":"1"}"#,
    r#"{"stream":"S","seq":4,"batch":"u","count":2}"#,
    r#"{"type":"ack","seq":0,"msgs":1}"#,
    r#"{"type":"gap","last_seq":3,"seq":5}"#,
    r#"{"type":"err","seq":7,"error":{"code":400,"err_code":10071,"description":"wrong last sequence: 8"}}"#,
];

#[test]
fn every_acknowledgement_of_the_server_is_one() {
    for text in ACKNOWLEDGEMENTS {
        assert!(is_pub_ack(text.as_bytes()), "{text}");
    }
}

#[test]
fn what_only_looks_like_an_acknowledgement_is_none() {
    let long = format!(r#"{{"stream":"{}","seq":1}}"#, "S".repeat(4096));
    let deep = format!(r#"{{"stream":{}}}"#, "[".repeat(4000));
    for text in [
        "",
        "{}",
        "null",
        r#"[{"stream":"S","seq":1}]"#,
        r#"{"stream":"S"}"#,
        r#"{"seq":1}"#,
        r#"{"stream":"S","seq":-1}"#,
        r#"{"stream":"S","seq":01}"#,
        r#"{"stream":"S","seq":1.0}"#,
        r#"{"stream":"S","seq":18446744073709551616}"#,
        r#"{"stream":"S","seq":"1"}"#,
        r#"{"stream":null,"seq":1}"#,
        r#"{"stream":"S","seq":1,"seq":1}"#,
        r#"{"Stream":"S","seq":1}"#,
        r#"{"stream":"S","seq":1,"secret":"x"}"#,
        r#"{"stream":"S","seq":1,"msgs":1}"#,
        r#"{"stream":"S","seq":1} x"#,
        r#"{"stream":"S","seq":1,}"#,
        r#"{"stream":"\x","seq":1}"#,
        r#"{"error":{},"stream":"S","seq":0}"#,
        r#"{"error":{"code":400,"more":1}}"#,
        r#"{"error":{"code":[400]}}"#,
        r#"{"error":null,"stream":"S","seq":1}"#,
        r#"{"type":"ack","seq":1}"#,
        r#"{"type":"ack","seq":1,"msgs":65536}"#,
        r#"{"type":"ack","seq":1,"msgs":1,"stream":"S"}"#,
        r#"{"type":"io.nats.jetstream.api.v1.stream_info_response","error":{"code":404}}"#,
        "{\"stream\":\"S\n\",\"seq\":1}",
        // No stream has such a name, and no server writes so much.
        r#"{"stream":"S and more","seq":1}"#,
        r#"{"stream":"S\u0000","seq":1}"#,
        r#"{"stream":"a.b","seq":1}"#,
        r#"{"stream":"","seq":1}"#,
        r#"{"stream":"S","seq":1,"domain":"say this"}"#,
        "{\"stream\":\"S\",\"seq\":1}\n",
        &format!(r#"{{"stream":"{}","seq":1}}"#, "S".repeat(256)),
        &format!(
            r#"{{"error":{{"code":400,"description":"{}"}}}}"#,
            "a".repeat(513)
        ),
        &long,
        &deep,
    ] {
        assert!(!is_pub_ack(text.as_bytes()), "{text}");
    }
    assert!(!is_pub_ack(b"{\"stream\":\"\xFF\",\"seq\":1}"));
}

#[test]
fn delivery_is_read_from_both_forms_of_reply() {
    let short = Delivery::of(b"$JS.ACK.S.C.2.7.9.1700000000000000000.0").unwrap();
    assert_eq!((short.stream, short.consumer), (&b"S"[..], &b"C"[..]));
    assert_eq!((short.delivered, short.sequence), (2, 7));
    assert_eq!(short.origin, None);
    for reply in [
        &b"$JS.ACK._.hash.S.C.2.7.9.1700000000000000000.0"[..],
        b"$JS.ACK._.hash.S.C.2.7.9.1700000000000000000.0.token",
    ] {
        let origin = Some((&b"_"[..], &b"hash"[..]));
        let long = Delivery::of(reply).unwrap();
        assert_eq!(long, Delivery { origin, ..short });
    }
    for other in [
        &b"$JS.ACK.S.C.2.7.9.1"[..],
        b"$JS.ACK.d.S.C.2.7.9.1.0",
        b"$JS.ACK.S.C.x.7.9.1.0",
        b"$JS.ACK.S.C.+2.7.9.1.0",
        b"$JS.ACK..C.2.7.9.1.0",
        b"$JS.ACK.S.C.2.99999999999999999999.9.1.0",
        b"$JS.FC.S.C.2.7.9.1.0",
        b"_INBOX.a",
    ] {
        assert_eq!(Delivery::of(other), None, "{}", other.escape_ascii());
    }
}

#[test]
fn announced_size_is_the_plaintexts() {
    let narrow = |value: &[u8]| narrow_msg_size(value, 48);
    assert_eq!(narrow(b"1048"), Some(1000));
    assert_eq!(narrow(b"49"), Some(1));
    for value in [
        &b"48"[..],
        b"0",
        b"",
        b"-5",
        b"+99",
        b"x",
        b"99999999999999999999",
    ] {
        assert_eq!(narrow(value), None);
    }
}
