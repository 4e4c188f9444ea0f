//! Answers of JetStream's API: forged, malformed, and JSON bombs.

use super::{SAID, arrived, assert_gateway_lives, envelope, these};
use data_encoding::BASE64;
use keyway_tests::frame::Frame;
use keyway_tests::{HostileBus, RawClient};

/// JSON that is expensive to parse, with names.
fn bombs() -> Vec<(&'static str, Vec<u8>)> {
    let nested = |open: &str, close: &str, times: usize| {
        format!("{}1{}", open.repeat(times), close.repeat(times)).into_bytes()
    };
    let kind = r#""type":"io.nats.jetstream.api.v1.stream_msg_get_response""#;
    vec![
        ("100,000 brackets deep", nested("[", "]", 100_000)),
        ("100,000 objects deep", nested("{\"a\":", "}", 100_000)),
        ("10 MB of brackets", b"[".repeat(10_000_000)),
        ("10 MB of braces", b"{".repeat(10_000_000)),
        (
            "a million members",
            format!("{{{}\"z\":1}}", "\"a\":1,".repeat(1_000_000)).into_bytes(),
        ),
        (
            "a number of a million digits",
            format!("{{\"seq\":{}}}", "9".repeat(1_000_000)).into_bytes(),
        ),
        (
            "numbers beyond all bounds",
            br#"{"seq":1e999999999,"size":-99999999999999999999999999}"#.to_vec(),
        ),
        (
            "a bomb inside of a message",
            format!(
                "{{{kind},\"message\":{}{}}}",
                "[".repeat(100_000),
                "]".repeat(100_000)
            )
            .into_bytes(),
        ),
        (
            "an endless string",
            format!(
                "{{{kind},\"message\":{{\"data\":\"{}",
                "A".repeat(1_000_000)
            )
            .into_bytes(),
        ),
        (
            "a million escapes",
            format!(
                "{{{kind},\"message\":{{\"subject\":\"{}\"}}}}",
                "\\u0061".repeat(1_000_000)
            )
            .into_bytes(),
        ),
    ]
}

/// A client with this unanswered request to the server's API.
fn asking(hostile: &HostileBus, subject: &str, body: &[u8]) -> RawClient {
    let mut victim = hostile.victim("_INBOX.v.*");
    hostile.adversary.on_message("_INBOX.v.1", |_frame| vec![]);
    victim.request(subject, "_INBOX.v.1", body);
    victim.forget();
    victim
}

fn answer(payload: &[u8]) -> Frame {
    Frame::delivery("_INBOX.v.1", "1", payload)
}

#[test]
fn a_forged_answer_of_the_api_is_delivered() {
    let hostile = HostileBus::start();
    let mut victim = asking(&hostile, "$JS.API.STREAM.INFO.s", b"");
    let forged =
        br#"{"type":"io.nats.jetstream.api.v1.stream_info_response","state":{"messages":0}}"#;
    hostile.forge(&[answer(forged)]);
    assert_eq!(arrived(&mut victim), these(&[("_INBOX.v.1", forged)]));
}

#[test]
fn a_json_bomb_that_is_no_answer_of_the_api_is_withheld_and_the_gateway_lives() {
    let hostile = HostileBus::start();
    for (name, bomb) in bombs() {
        let mut victim = asking(&hostile, "$JS.API.STREAM.INFO.s", b"");
        hostile.forge(&[answer(&bomb)]);
        let seen = victim.arrived();
        // Where it is an answer of the API, it is the client that must cope with it.
        assert_eq!(
            seen.len(),
            usize::from(name == "a million escapes"),
            "{name}"
        );
    }
    assert_gateway_lives(&hostile);
}

/// The answer to `STREAM.MSG.GET`.
fn stored(subject: &str, data: &str) -> Vec<u8> {
    format!(
        r#"{{"type":"io.nats.jetstream.api.v1.stream_msg_get_response","message":{{"subject":"{subject}","seq":1,"data":"{data}","time":"2026-01-01T00:00:00Z"}}}}"#
    )
    .into_bytes()
}

/// What a client receives that asks for the stored message of `a.b`, where the server answers with this.
fn seen(hostile: &HostileBus, payload: &[u8]) -> Vec<u8> {
    let mut victim = asking(hostile, "$JS.API.STREAM.MSG.GET.s", br#"{"seq":1}"#);
    hostile.forge(&[answer(payload)]);
    victim.message("_INBOX.v.1").payload().to_vec()
}

/// Fails unless the requester gets an error in place of the message, and it is counted.
fn assert_refused(hostile: &HostileBus, payload: &[u8], cause: &str) {
    let before = hostile.pair.withheld(cause);
    let seen = seen(hostile, payload);
    let said: serde_json::Value = serde_json::from_slice(&seen).unwrap();
    let description = said["error"]["description"].as_str().unwrap();
    assert!(description.ends_with(cause), "{description}");
    assert!(said["message"].is_null(), "{said}");
    assert_eq!(hostile.pair.withheld(cause), before + 1.0, "{cause}");
}

#[test]
fn a_stored_message_that_was_altered_moved_or_never_sealed_is_answered_with_an_error() {
    let hostile = HostileBus::start();
    let sealed = envelope(&hostile, "a.b", SAID);
    let genuine = stored("a.b", &BASE64.encode(&sealed));
    let opened = stored("a.b", &BASE64.encode(SAID));
    assert_eq!(seen(&hostile, &genuine), opened);
    let mut altered = sealed.clone();
    altered[40] ^= 1;
    let mut unknown = sealed.clone();
    unknown[4] ^= 1;
    for (subject, data, cause) in [
        ("a.b", &altered[..], "unauthentic"),
        ("a.c", &sealed, "unauthentic"),
        ("a.b", &unknown, "unknown-key"),
        ("a.b", &sealed[..20], "bad-envelope"),
        ("a.b", b"trust me", "plaintext"),
    ] {
        assert_refused(&hostile, &stored(subject, &BASE64.encode(data)), cause);
    }
    assert_gateway_lives(&hostile);
}

#[test]
fn a_stored_message_in_broken_base64_is_answered_with_an_error() {
    let hostile = HostileBus::start();
    let sealed = envelope(&hostile, "a.b", SAID);
    let data = BASE64.encode(&sealed);
    let half = data.len() / 2;
    for broken in [
        data[1..].to_owned(),
        data[..data.len() - 1].to_owned(),
        format!("{}!{}", &data[..half], &data[half..]),
        format!("{data}===="),
        "+ks=====".to_owned(),
        "\\u002bksRAA".to_owned(),
        "not base64 at all".to_owned(),
    ] {
        assert_refused(&hostile, &stored("a.b", &broken), "bad-envelope");
    }
}

/// SECURITY.md: the server says which subject a stored message has.
#[test]
fn another_stored_message_than_was_asked_for_is_delivered_under_its_true_subject() {
    let hostile = HostileBus::start();
    let other = envelope(&hostile, "a.other", SAID);
    let answer = stored("a.other", &BASE64.encode(&other));
    let opened = stored("a.other", &BASE64.encode(SAID));
    assert_eq!(seen(&hostile, &answer), opened);
}

#[test]
fn a_stored_message_that_clients_would_read_differently_is_answered_with_an_error() {
    let hostile = HostileBus::start();
    let sealed = envelope(&hostile, "a.b", SAID);
    let (sealed, forged) = (BASE64.encode(&sealed), BASE64.encode(b"trust me"));
    let kind = r#""type":"io.nats.jetstream.api.v1.stream_msg_get_response""#;
    let message = |data: &str| format!(r#"{{"subject":"a.b","seq":1,"data":"{data}"}}"#);
    let twice = |first: &str, second: &str| {
        format!(
            r#"{{{kind},"message":{},"message":{}}}"#,
            message(first),
            message(second)
        )
    };
    let inside = |first: &str, second: &str| {
        format!(
            r#"{{{kind},"message":{{"subject":"a.b","seq":1,"data":"{first}","Data":"{second}"}}}}"#
        )
    };
    let answers = [
        twice(&sealed, &forged),
        twice(&forged, &sealed),
        inside(&sealed, &forged),
        inside(&forged, &sealed),
        format!(r#"{{"message":{}}}"#, message(&forged)),
        format!(r#"{{"Message":{},"TYPE":"x"}}"#, message(&forged)),
        format!(r#"{{"mess\u0061ge":{}}}"#, message(&forged)),
        format!(r#"{{{kind},"message":{{"subject":"a.b","d\u0061ta":"{forged}"}}}}"#),
        format!(r#"{{{kind},"message":{{"data":"{forged}"}}}}"#),
        format!(r#"[{{"message":{}}}]"#, message(&forged)),
        format!(
            r#"{{{kind},"message":{{"subject":"$SYS.x","Subject":"a.b","seq":1,"data":"{forged}"}}}}"#
        ),
    ];
    for answer in answers {
        let seen = seen(&hostile, answer.as_bytes());
        let said: serde_json::Value = serde_json::from_slice(&seen).unwrap();
        assert_eq!(said["error"]["code"], 500, "{answer}\n{said}");
    }
    // An answer of the API without a message is passed on.
    let none = format!(r#"{{{kind},"error":{{"code":404}}}}"#).into_bytes();
    assert_eq!(seen(&hostile, &none), none);
}

#[test]
fn a_json_bomb_as_stored_message_shows_nothing_and_the_gateway_lives() {
    let hostile = HostileBus::start();
    for (name, bomb) in bombs() {
        let seen = seen(&hostile, &bomb);
        let refused = seen.starts_with(
            b"{\"type\":\"io.nats.jetstream.api.v1.stream_msg_get_response\",\"error\"",
        );
        assert!(refused || seen == bomb, "{name}");
    }
    assert_gateway_lives(&hostile);
}
