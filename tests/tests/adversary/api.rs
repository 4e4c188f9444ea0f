//! Answers of JetStream's API: forged, broken, and bombs.

use super::{SAID, arrived, assert_gateway_lives, these};
use keyway_tests::frame::Frame;
use keyway_tests::{Hostile, Raw};

/// JSON that is hard on whoever reads it, with a name for a failing test.
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

/// Somebody who has asked this of the server's API, which has not answered.
fn asking(hostile: &Hostile, subject: &str, body: &[u8]) -> Raw {
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
    let hostile = Hostile::start();
    let mut victim = asking(&hostile, "$JS.API.STREAM.INFO.s", b"");
    let forged =
        br#"{"type":"io.nats.jetstream.api.v1.stream_info_response","state":{"messages":0}}"#;
    hostile.forge(&[answer(forged)]);
    assert_eq!(arrived(&mut victim), these(&[("_INBOX.v.1", forged)]));
}

#[test]
fn a_json_bomb_as_answer_of_the_api_is_the_clients_to_judge_and_the_gateway_lives() {
    let hostile = Hostile::start();
    for (name, bomb) in bombs() {
        let mut victim = asking(&hostile, "$JS.API.STREAM.INFO.s", b"");
        hostile.forge(&[answer(&bomb)]);
        let seen = victim.message("_INBOX.v.1");
        assert!(seen.payload() == bomb, "{name}");
    }
    assert_gateway_lives(&hostile);
}

#[test]
fn a_json_bomb_as_stored_message_ends_nothing() {
    let hostile = Hostile::start();
    for (_name, bomb) in bombs() {
        let mut victim = asking(&hostile, "$JS.API.STREAM.MSG.GET.s", br#"{"seq":1}"#);
        hostile.forge(&[answer(&bomb)]);
        // Whether it is delivered is the gateway's choice; the session goes on behind it.
        victim.flush();
        victim.publish("x.y", SAID);
    }
    assert_gateway_lives(&hostile);
}
