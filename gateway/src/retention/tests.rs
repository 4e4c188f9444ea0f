//! Tests without a server; `tests/tests/rotation/stored_messages.rs` asks a real one.

use bytes::Bytes;
use data_encoding::BASE64;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::api::{ApiError, concerns};
use super::json::{ConsumerPage, StoredMessage, StreamInfo, StreamPage, read_answer, read_stored};
use super::question::{Findings, patterns, prefixes};
use super::scan::{PayloadMatch, SequenceRange, match_payload};
use super::stream::{StoredTime, Stream, Window};
use super::*;
use crate::envelope::{Flags, Header, Kid, LaneId, Suite};
use crate::fault::{Failure, Fault};

const SUBJECT: &str = "$JS.API.STREAM.MSG.GET.S";

fn bytes(value: &Value) -> Bytes {
    Bytes::from(value.to_string())
}

fn question() -> RetentionQuestion {
    RetentionQuestion {
        keyring: "agents".parse().unwrap(),
        subjects: vec!["agents.>".parse().unwrap()],
        api_prefixes: Vec::new(),
        kid: Kid([1; 8]),
        activated: Some("2026-11-23T10:00:00Z".parse().unwrap()),
        deactivated: Some("2026-11-24T10:00:00Z".parse().unwrap()),
    }
}

fn streams(configs: &[Value]) -> Vec<Stream> {
    let info = |config: &Value| {
        serde_json::from_value::<StreamInfo>(json!({ "config": config, "state": {} })).unwrap()
    };
    Stream::of("$JS.API", configs.iter().map(info).collect())
}

fn stored_time(configs: &[Value]) -> Vec<StoredTime> {
    streams(configs)
        .iter()
        .map(|stream| stream.stored_time)
        .collect()
}

fn envelope(kid: [u8; 8]) -> Vec<u8> {
    let header = Header {
        suite: Suite::Aes256Gcm,
        flags: Flags::BOUND,
        kid: Kid(kid),
        lane: LaneId([0; 16]),
        counter: 0,
    };
    [&header.encode()[..], &[0; 20]].concat()
}

#[test]
fn a_stored_message_is_read_from_its_json() {
    let message = json!({ "message": {
        "subject": "agents.a", "seq": 7, "time": "2026-11-23T10:00:00.5Z",
        "data": BASE64.encode(b"payload"), "hdrs": BASE64.encode(b"NATS/1.0\r\n\r\n"),
    }});
    let read = read_stored(SUBJECT, &bytes(&message)).unwrap().unwrap();
    assert_eq!((read.sequence, read.subject.as_str()), (7, "agents.a"));
    assert_eq!(read.payload, b"payload");
    assert_eq!(read.headers, b"NATS/1.0\r\n\r\n");
    assert_eq!(read.time.to_string(), "2026-11-23T10:00:00.5Z");
}

#[test]
fn no_message_and_no_stream_are_nothing_and_every_other_error_is_one() {
    let error = |code: u64, err_code: u64| {
        let error = json!({"code": code, "err_code": err_code, "description": "words"});
        read_stored(SUBJECT, &bytes(&json!({ "error": error })))
    };
    assert_eq!(error(404, 10_037).unwrap(), None);
    assert_eq!(error(404, 10_059).unwrap(), None);
    let said = error(503, 10_039).unwrap_err().to_string();
    assert!(said.contains("words (10039)"), "{said}");
    assert!(matches!(
        error(404, 0),
        Err(ApiError::Error { code: 404, .. })
    ));
}

#[test]
fn an_answer_that_is_something_else_is_unreadable() {
    let time = json!({"message": {"subject": "a", "seq": 1, "time": "yesterday"}});
    let data =
        json!({"message": {"subject": "a", "seq": 1, "data": "?", "time": "2026-11-23T10:00:00Z"}});
    for value in [json!({}), json!([1]), json!({"message": {}}), time, data] {
        let read = read_stored(SUBJECT, &bytes(&value));
        assert!(matches!(read, Err(ApiError::Unreadable { .. })), "{value}");
    }
    let read = read_answer::<StreamPage>(SUBJECT, &Bytes::from_static(b"-ERR"));
    assert!(matches!(read, Err(ApiError::Unreadable { .. })));
}

#[test]
fn a_list_with_gaps_says_which() {
    let page = json!({
        "total": 3, "streams": null, "missing": ["A"], "offline": {"B": "level 9"},
    });
    let page: StreamPage = read_answer(SUBJECT, &bytes(&page)).unwrap().unwrap();
    let gaps = page.gaps();
    assert_eq!(gaps.len(), 2);
    assert_eq!(gaps[0].what, "stream A does not answer");
    assert_eq!(gaps[1].what, "stream B is offline (level 9)");
    let page: StreamPage = serde_json::from_value(json!({"total": 0})).unwrap();
    assert!(page.gaps().is_empty());
}

#[test]
fn a_consumer_is_read_with_what_it_has_left() {
    let page =
        json!({"total": 1, "consumers": [{"name": "w", "num_pending": 2, "num_ack_pending": 3}]});
    let page: ConsumerPage = read_answer(SUBJECT, &bytes(&page)).unwrap().unwrap();
    let consumer = &page.consumers.unwrap()[0];
    assert_eq!((consumer.num_pending, consumer.num_ack_pending), (2, 3));
}

#[test]
fn a_payload_is_judged_by_its_kid() {
    let kid = Kid([1; 8]);
    assert_eq!(match_payload(&envelope([1; 8]), kid), PayloadMatch::Ours);
    assert_eq!(match_payload(&envelope([2; 8]), kid), PayloadMatch::Other);
    assert_eq!(match_payload(b"", kid), PayloadMatch::Other);
    assert_eq!(match_payload(b"plaintext", kid), PayloadMatch::Other);
    // Too short for an envelope.
    assert_eq!(
        match_payload(&envelope([1; 8])[..40], kid),
        PayloadMatch::Other
    );
    for (at, byte) in [(2, 0x21), (2, 0x13), (2, 0x1F), (3, 0xFF)] {
        let mut later = envelope([1; 8]);
        later[at] = byte;
        assert_eq!(
            match_payload(&later, kid),
            PayloadMatch::Unreadable,
            "{at} {byte}"
        );
    }
}

#[test]
fn the_window_is_the_versions_life_with_the_margin_on_both_sides() {
    let window = Window::of(&question());
    let text = |time: Option<Timestamp>| time.unwrap().to_string();
    assert_eq!(text(window.from), "2026-11-23T09:50:00Z");
    assert_eq!(text(window.to), "2026-11-24T10:10:00Z");
    assert_eq!(window.for_stored_time(StoredTime::Published), window);
    let later = window.for_stored_time(StoredTime::Later);
    assert_eq!((later.from, later.to), (window.from, None));
    let open = Window::of(&RetentionQuestion {
        activated: None,
        deactivated: Some(Timestamp::MAX),
        ..question()
    });
    assert_eq!((open.from, open.to), (None, Some(Timestamp::MAX)));
}

#[test]
fn times_are_those_of_the_publish_only_in_plain_streams_and_their_mirrors() {
    use StoredTime::{Later, Published};
    let plain = json!({"name": "P", "sources": []});
    let sourced = json!({"name": "S", "sources": [{"name": "P"}]});
    let mirror = |of: &str| json!({"name": "M", "mirror": {"name": of}});
    let abroad = json!({"name": "M", "mirror": {"name": "P", "external": {"api": "x"}}});
    let planned = json!({"name": "T", "allow_msg_schedules": true});
    assert_eq!(
        stored_time(&[plain.clone(), sourced.clone()]),
        [Published, Later]
    );
    assert_eq!(
        stored_time(&[plain.clone(), mirror("P")]),
        [Published, Published]
    );
    assert_eq!(stored_time(&[sourced, mirror("S")]), [Later, Later]);
    assert_eq!(stored_time(&[plain.clone(), abroad]), [Published, Later]);
    assert_eq!(stored_time(&[mirror("gone")]), [Later]);
    assert_eq!(
        stored_time(&[plain.clone(), planned.clone()]),
        [Published, Later]
    );
    assert_eq!(stored_time(&[planned, mirror("T")]), [Later, Later]);
    // A mirror that catches up republishes old messages, and any stream may store those.
    let live =
        json!({"name": "L", "mirror": {"name": "P"}, "republish": {"src": ">", "dest": "x.>"}});
    assert_eq!(stored_time(&[plain.clone(), live]), [Later, Later]);
    let live = json!({"name": "L", "republish": {"src": ">", "dest": "x.>"}});
    assert_eq!(stored_time(&[plain, live]), [Published, Published]);
}

#[test]
fn a_message_expires_by_the_streams_age_or_its_own() {
    let config = |age: u64| streams(&[json!({"name": "S", "max_age": age})]).remove(0);
    let message = |ttl: &str| StoredMessage {
        subject: String::new(),
        sequence: 1,
        time: Timestamp::UNIX_EPOCH,
        headers: format!("NATS/1.0\r\nNats-TTL: {ttl}\r\n\r\n").into_bytes(),
        payload: Vec::new(),
    };
    let at = |age, ttl| config(age).expires(&message(ttl)).map(Timestamp::as_second);
    let minute = 60_000_000_000;
    assert_eq!(at(0, ""), None);
    assert_eq!(at(minute, ""), Some(60));
    assert_eq!(at(minute, "5"), Some(5));
    assert_eq!(at(minute, "2m"), Some(60));
    assert_eq!(at(0, "2m"), Some(120));
    assert_eq!(at(minute, "never"), None);
}

#[test]
fn a_span_is_read_in_parts_that_leave_out_nothing() {
    for (first, end) in [(1, None), (5, Some(6)), (3, Some(103)), (7, None)] {
        for last_seq in [1, 8, 9, 100, 1000] {
            let range = SequenceRange { first, end };
            let last = range.last(last_seq);
            let parts = range.parts(last, 8);
            assert!(parts.len() <= 8, "{parts:?}");
            assert_eq!(parts.first().unwrap().first, first);
            assert_eq!(parts.last().unwrap().end, end);
            for pair in parts.windows(2) {
                assert_eq!(pair[0].end, Some(pair[1].first));
                assert!(pair[0].first < pair[1].first, "{parts:?}");
            }
        }
    }
    let widest = SequenceRange {
        first: 1,
        end: None,
    };
    assert_eq!(widest.parts(u64::MAX, 8).len(), 8);
}

#[test]
fn replies_are_asked_for_beside_the_subjects_and_nothing_twice() {
    let asked = |subjects: &[&str]| {
        let subjects: Vec<_> = subjects.iter().map(|s| s.parse().unwrap()).collect();
        let patterns = patterns(&subjects);
        patterns.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(asked(&[">", "a.>"]), [">"]);
    assert_eq!(asked(&["a.*", "a.b", "a.*"]), ["_INBOX.>", "_R_.>", "a.*"]);
}

#[test]
fn every_prefix_is_asked() {
    let config = Config {
        servers: Vec::new(),
        tls: None,
        login: None,
        domains: vec!["hub".to_owned()],
        deadline: CLOCK_MARGIN,
    };
    let imports = ["JS.acme.API.".to_owned()];
    let asked = prefixes(&config, &imports);
    assert_eq!(asked, ["$JS.API", "$JS.hub.API", "JS.acme.API"]);
}

#[test]
fn a_refusal_concerns_its_own_request_or_all() {
    let publish = "Permissions Violation for Publish to \"$JS.API.STREAM.LIST\"";
    assert!(concerns(publish, "$JS.API.STREAM.LIST"));
    assert!(!concerns(publish, "$JS.API.STREAM"));
    assert!(!concerns(publish, SUBJECT));
    let inbox = "Permissions Violation for Subscription to \"_INBOX.x.*\"";
    assert!(concerns(inbox, SUBJECT));
}

#[test]
fn evidence_decides_before_doubt_and_doubt_before_nothing() {
    let doubt = |what: &str, help| Failure::new(what, Fault::operator_later(help));
    let found = |doubts: Vec<Failure>| Findings {
        streams: 3,
        held: Vec::new(),
        doubts,
    };
    assert_eq!(
        found(Vec::new()).verdict(),
        RetentionAnswer::NothingStored { streams: 3 }
    );
    let said = |what, help| RetentionAnswer::Unknown(doubt(what, help));
    assert_eq!(found(vec![doubt("a; b", "c")]).verdict(), said("a; b", "c"));
    let two = found(vec![doubt("a", "b"), doubt("c", "d")]).verdict();
    assert_eq!(two, said("a (and 1 more doubts)", "b"));
    let holder = StoringStream {
        stream: "S".to_owned(),
        api: "$JS.API".to_owned(),
        subject: "agents.a".to_owned(),
        sequence: 1,
        stored: Timestamp::UNIX_EPOCH,
        messages_at_most: 1,
        expires: None,
        consumers: Vec::new(),
        why: String::new(),
    };
    let both = Findings {
        held: vec![holder.clone()],
        ..found(vec![doubt("a", "b")])
    };
    assert_eq!(both.verdict(), RetentionAnswer::Stored(vec![holder]));
}

#[test]
fn asking_is_for_any_thread() {
    fn moves(_future: impl Future + Send) {}
    let config = Config {
        servers: Vec::new(),
        tls: None,
        login: None,
        domains: Vec::new(),
        deadline: CLOCK_MARGIN,
    };
    moves(JetStream::new(config).streams_storing(question()));
}
