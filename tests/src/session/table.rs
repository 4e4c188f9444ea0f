//! The table of sessions: valid and hostile scripts, most of them for a protocol rule that clients rely on.

#![expect(clippy::too_many_lines, reason = "tables")]

use super::{End, Session};

/// CONNECT of a usual client: not verbose, not pedantic, with headers.
const QUIET: &str = "CONNECT {\"verbose\":false,\"pedantic\":false,\"headers\":true,\"no_responders\":true,\"protocol\":1}\r\n";

/// Sends this after [`QUIET`], and a last PING whose PONG completes the answer.
fn quiet(name: &'static str, script: &str) -> Session {
    after_quiet(open(name, &format!("{QUIET}{script}")))
}

/// Sends this without a CONNECT, and a last PING whose PONG completes the answer.
fn open(name: &'static str, script: &str) -> Session {
    bytes(name, format!("{script}PING\r\n").into_bytes())
}

/// Sends exactly these bytes, every PING of which is answered.
fn bytes(name: &'static str, script: Vec<u8>) -> Session {
    let pings = script
        .windows(4)
        .filter(|window| window.eq_ignore_ascii_case(b"ping"))
        .count();
    Session {
        name,
        server: 0,
        script,
        cut_from: 1,
        end: End::Pongs(pings),
        relay_only: false,
    }
}

/// Sends exactly this; the server closes.
fn killed(name: &'static str, script: &str) -> Session {
    Session {
        name,
        server: 0,
        script: script.as_bytes().to_vec(),
        cut_from: 1,
        end: End::Closed,
        relay_only: false,
    }
}

/// Sends this after [`QUIET`]; the server closes.
fn killed_quiet(name: &'static str, script: &str) -> Session {
    after_quiet(killed(name, &format!("{QUIET}{script}")))
}

fn after_quiet(session: Session) -> Session {
    Session {
        cut_from: QUIET.len(),
        ..session
    }
}

fn on(server: usize, session: Session) -> Session {
    Session { server, ..session }
}

fn relay_only(session: Session) -> Session {
    Session {
        relay_only: true,
        ..session
    }
}

/// Sets the count of PONGs, for a script with the word PING inside a payload.
fn answered(count: usize, session: Session) -> Session {
    Session {
        end: End::Pongs(count),
        ..session
    }
}

/// All sessions.
pub fn all() -> Vec<Session> {
    let mut sessions = accepted();
    sessions.extend(subscriptions());
    sessions.extend(options());
    sessions.extend(refused());
    sessions.extend(malformed());
    sessions.extend(limits());
    sessions.extend(guarded());
    sessions
}

/// Everything that the grammar accepts, in unusual spellings.
fn accepted() -> Vec<Session> {
    vec![
        quiet("publish_and_deliver", "SUB a 1\r\nPUB a 5\r\nhello\r\n"),
        quiet("empty_payload", "SUB a 1\r\nPUB a 0\r\n\r\n"),
        quiet("reply_subject", "SUB a 1\r\nPUB a in.box 2\r\nhi\r\n"),
        quiet(
            "headers_and_payload",
            "SUB a 1\r\nHPUB a 22 24\r\nNATS/1.0\r\nOne: 1 2\r\n\r\nhi\r\n",
        ),
        quiet(
            "headers_reply_and_no_payload",
            "SUB a 1\r\nHPUB a in.box 12 12\r\nNATS/1.0\r\n\r\n\r\n",
        ),
        quiet(
            "headers_of_length_zero_arrive_as_a_plain_message",
            "SUB a 1\r\nHPUB a 0 5\r\nhello\r\n",
        ),
        quiet(
            "status_line_in_headers",
            "SUB a 1\r\nHPUB a 16 16\r\nNATS/1.0 503\r\n\r\n\r\n",
        ),
        quiet(
            "lower_case_verbs",
            "sub a 1\r\npub a 2\r\nhi\r\nunsub 1\r\nping\r\n",
        ),
        quiet(
            "mixed_case_verbs",
            "sUb a 1\r\nPuB a 2\r\nhi\r\nhPuB a 12 14\r\nNATS/1.0\r\n\r\nhi\r\n",
        ),
        quiet(
            "tabs_and_runs_of_spaces",
            "SUB\t  a \t 1 \r\nPUB \t a\t\t2  \r\nhi\r\n",
        ),
        quiet("queue_with_tabs", "SUB a\tcrew\t1\r\nPUB a 2\r\nhi\r\n"),
        quiet("bare_line_feeds", "SUB a 1\nPUB a 2\nhi\r\nPING\n"),
        quiet(
            "sizes_with_leading_zeros",
            "SUB a 1\r\nPUB a 0002\r\nhi\r\nHPUB a 012 0014\r\nNATS/1.0\r\n\r\nhi\r\n",
        ),
        quiet(
            "sizes_with_leading_zeros_and_nothing_behind_the_headers",
            "SUB a 1\r\nPUB a 000\r\n\r\nHPUB a 00 00\r\n\r\nHPUB a r 00012 0012\r\nNATS/1.0\r\n\r\n\r\n",
        ),
        quiet(
            "sizes_whose_zeros_make_room_for_an_envelope",
            "SUB a 1\r\nPUB a 00000002\r\nhi\r\nHPUB a 00 02\r\nhi\r\nHPUB\ta\t000000012  0000014\r\nNATS/1.0\r\n\r\nhi\r\n",
        ),
        relay_only(quiet(
            "size_of_nine_digits",
            "SUB a 1\r\nPUB a 000000002\r\nhi\r\n",
        )),
        quiet("ping_with_words_behind", "PING and more\r\nPING\t1\r\n"),
        quiet("pong_unasked", "PONG\r\nPONG x\r\n"),
        quiet(
            "ok_from_a_client",
            "+OK\r\n+ok\r\nSUB a 1\r\nPUB a 1\r\nx\r\n",
        ),
        quiet(
            "info_from_a_client",
            "INFO {}\r\nINFO {\"host\":\"x\"}\r\nSUB a 1\r\nPUB a 1\r\nx\r\n",
        ),
        answered(
            1,
            quiet(
                "payload_that_looks_like_protocol",
                "SUB a 1\r\nPUB a 21\r\nPING\r\nPUB b 3\r\nabc\r\n\r\n\r\n",
            ),
        ),
        quiet(
            "connect_without_a_space",
            "CONNECT{\"verbose\":false}\r\nSUB a 1\r\nPUB a 1\r\nx\r\n",
        ),
        quiet(
            "many_in_one_segment",
            &format!("SUB a.* 1\r\n{}", "PUB a.b 3\r\nxyz\r\n".repeat(20)),
        ),
        quiet(
            "subject_of_odd_bytes",
            "SUB é.* 1\r\nPUB é.ň 2\r\nhi\r\nPUB é.\u{1} 2\r\nhi\r\n",
        ),
        quiet("nothing_but_ping", "PING\r\nPING\r\n"),
        quiet(
            "looks_sealed_but_is_short",
            "SUB a 1\r\nPUB a 4\r\nK\u{11}\u{0}x\r\n",
        ),
        open("ping_before_connect", "PING\r\n"),
        open("publish_before_connect", "SUB a 1\r\nPUB a 2\r\nhi\r\n"),
    ]
}

fn subscriptions() -> Vec<Session> {
    vec![
        quiet(
            "wildcards",
            "SUB a.* 1\r\nSUB > 2\r\nUNSUB 2\r\nPUB a.b 2\r\nhi\r\nPUB a.b.c 2\r\nno\r\n",
        ),
        quiet("queue_of_one", "SUB a crew 1\r\nPUB a 2\r\nhi\r\n"),
        quiet(
            "unsubscribe",
            "SUB a 1\r\nPUB a 1\r\nx\r\nUNSUB 1\r\nPUB a 1\r\ny\r\n",
        ),
        quiet(
            "auto_unsubscribe",
            "SUB a 1\r\nUNSUB 1 2\r\nPUB a 1\r\nx\r\nPUB a 1\r\ny\r\nPUB a 1\r\nz\r\n",
        ),
        quiet(
            "auto_unsubscribe_reached_already",
            "SUB a 1\r\nPUB a 1\r\nx\r\nPUB a 1\r\ny\r\nUNSUB 1 1\r\nPUB a 1\r\nz\r\n",
        ),
        quiet("unsubscribe_of_a_stranger", "UNSUB 99\r\nUNSUB 98 5\r\n"),
        quiet(
            "same_sid_twice_keeps_the_first",
            "SUB a 1\r\nSUB b 1\r\nPUB a 1\r\nx\r\nPUB b 1\r\ny\r\n",
        ),
        quiet(
            "sid_of_letters",
            "SUB a one-sid\r\nPUB a 1\r\nx\r\nUNSUB one-sid\r\nPUB a 1\r\ny\r\n",
        ),
        quiet(
            "sid_used_again",
            "SUB a 1\r\nUNSUB 1\r\nSUB b 1\r\nPUB a 1\r\nx\r\nPUB b 1\r\ny\r\n",
        ),
        quiet(
            "second_connect_drops_subscriptions",
            &format!("SUB a 1\r\n{QUIET}PUB a 1\r\nx\r\nSUB a 2\r\nPUB a 1\r\ny\r\n"),
        ),
        quiet(
            "no_responders",
            "SUB in.* 7\r\nPUB nobody in.box 2\r\nhi\r\nPUB nobody out.box 2\r\nhi\r\n",
        ),
        quiet(
            "no_responders_to_headers",
            "SUB in.* 7\r\nHPUB nobody in.box 12 12\r\nNATS/1.0\r\n\r\n\r\n",
        ),
        quiet(
            "request_and_reply",
            "SUB in.* 7\r\nSUB svc 8\r\nPUB svc in.box 1\r\n?\r\nPUB in.box 1\r\n!\r\n",
        ),
    ]
}

fn options() -> Vec<Session> {
    vec![
        open(
            "defaults_are_verbose_and_pedantic",
            "CONNECT {}\r\nSUB a 1\r\nPUB a 1\r\nx\r\nUNSUB 1\r\nPUB a..b 1\r\nx\r\n",
        ),
        open(
            "verbose",
            "CONNECT {\"verbose\":true,\"pedantic\":false}\r\nSUB a 1\r\nPUB a 1\r\nx\r\nUNSUB 1\r\nPONG\r\n",
        ),
        open(
            "echo_off",
            "CONNECT {\"verbose\":false,\"echo\":false}\r\nSUB a 1\r\nPUB a 1\r\nx\r\n",
        ),
        open(
            "headers_off_strips_them",
            "CONNECT {\"verbose\":false,\"headers\":false}\r\nSUB a 1\r\nPUB a 1\r\nx\r\nPING\r\n",
        ),
        killed(
            "json_literals_are_lower_case",
            "CONNECT {\"verbose\":FALSE}\r\nPING\r\n",
        ),
        open(
            "key_in_other_case_counts",
            "CONNECT {\"VeRbOsE\":false,\"PEDANTIC\":false}\r\nSUB a 1\r\nPUB a 1\r\nx\r\n",
        ),
        open(
            "last_of_two_keys_wins",
            "CONNECT {\"verbose\":true,\"verbose\":false,\"echo\":false,\"Echo\":true}\r\nSUB a 1\r\nPUB a 1\r\nx\r\n",
        ),
        open(
            "protocol_0",
            "CONNECT {\"verbose\":false,\"protocol\":0}\r\nPING\r\nSUB a 1\r\nPUB a 1\r\nx\r\n",
        ),
        open(
            "unknown_keys",
            "CONNECT {\"verbose\":false,\"lang\":\"x\",\"new\":[1,{\"a\":null}]}\r\nPING\r\n",
        ),
        open(
            "verbose_changes_with_a_second_connect",
            "CONNECT {\"verbose\":false}\r\nSUB a 1\r\nCONNECT {\"verbose\":true}\r\nSUB a 1\r\nPUB a 1\r\nx\r\n",
        ),
    ]
}

/// Errors that leave the connection open.
fn refused() -> Vec<Session> {
    let pedantic = "CONNECT {\"verbose\":false,\"pedantic\":true}\r\n";
    vec![
        open(
            "pedantic_minds_publish_subjects",
            &format!("{pedantic}PUB a..b 1\r\nx\r\nPUB a.* 1\r\nx\r\nPUB .a 1\r\nx\r\n"),
        ),
        open(
            "pedantic_takes_good_subjects",
            &format!("{pedantic}SUB a.> 1\r\nPUB a.b 1\r\nx\r\n"),
        ),
        quiet(
            "invalid_subscription",
            "SUB a..b 1\r\nSUB .a 2\r\nSUB a. 3\r\nSUB >.a 4\r\n",
        ),
        quiet(
            "publish_to_wildcards_unchecked",
            "SUB a.> 1\r\nPUB a.* 1\r\nx\r\nPUB a.> 1\r\nx\r\n",
        ),
        on(
            2,
            quiet(
                "too_many_subscriptions",
                "SUB a 1\r\nSUB b 2\r\nSUB c 3\r\nPUB c 1\r\nx\r\n",
            ),
        ),
    ]
}

/// What the server closes the connection for, with or without an error.
fn malformed() -> Vec<Session> {
    vec![
        killed_quiet("unknown_verb", "SUB a 1\r\nFOO a 1\r\n"),
        killed_quiet("verb_cut_short", "PUX a 1\r\n"),
        killed_quiet("http_request", "GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
        killed_quiet("tls_hello", "\u{16}\u{3}\u{1}\u{0}\u{5}hello\r\n"),
        killed_quiet("binary", "\u{0}\u{0}\u{0}\u{1}\r\n"),
        killed_quiet("route_verb", "RMSG a b 1\r\nx\r\n"),
        killed_quiet("leaf_verb", "LS+ a\r\n"),
        killed_quiet("account_verb", "A+ a\r\n"),
        killed_quiet("size_too_small_for_the_payload", "PUB a 2\r\nhello\r\n"),
        killed_quiet(
            "payload_ends_with_a_bare_line_feed",
            "PUB a 2\r\nhi\nPING\r\n",
        ),
        killed_quiet("size_missing", "PUB a\r\nhi\r\n"),
        killed_quiet("size_negative", "PUB a -1\r\nhi\r\n"),
        killed_quiet("size_with_sign", "PUB a +2\r\nhi\r\n"),
        killed_quiet("size_of_letters", "PUB a two\r\nhi\r\n"),
        killed_quiet("size_of_ten_digits", "PUB a 0000000002\r\nhi\r\n"),
        killed_quiet("publish_of_four_words", "PUB a b c 2\r\nhi\r\n"),
        killed_quiet("publish_of_no_words", "PUB \r\nhi\r\n"),
        killed_quiet("subscribe_of_one_word", "SUB a\r\n"),
        killed_quiet("subscribe_of_four_words", "SUB a b c d\r\n"),
        killed_quiet("unsubscribe_of_no_words", "UNSUB \r\n"),
        killed_quiet("unsubscribe_of_three_words", "UNSUB 1 2 3\r\n"),
        killed_quiet(
            "header_longer_than_total",
            "HPUB a 14 12\r\nNATS/1.0\r\n\r\n\r\n",
        ),
        killed_quiet(
            "header_length_of_letters",
            "HPUB a x 12\r\nNATS/1.0\r\n\r\n\r\n",
        ),
        killed_quiet(
            "header_publish_of_two_words",
            "HPUB a 12\r\nNATS/1.0\r\n\r\n\r\n",
        ),
        killed(
            "headers_not_agreed",
            "CONNECT {\"verbose\":false}\r\nHPUB a 12 12\r\nNATS/1.0\r\n\r\n\r\n",
        ),
        killed(
            "headers_before_connect",
            "HPUB a 12 12\r\nNATS/1.0\r\n\r\n\r\n",
        ),
        killed(
            "no_responders_without_headers",
            "CONNECT {\"verbose\":false,\"no_responders\":true}\r\n",
        ),
        killed(
            "connect_that_is_not_json",
            "CONNECT {verbose:false}\r\nPING\r\n",
        ),
        killed("connect_that_is_a_list", "CONNECT []\r\nPING\r\n"),
        killed(
            "connect_of_wrong_type",
            "CONNECT {\"verbose\":\"no\"}\r\nPING\r\n",
        ),
        killed("connect_without_words", "CONNECT \r\nPING\r\n"),
        killed_quiet("error_from_a_client", "-ERR 'Stale Connection'\r\nPING\r\n"),
        killed_quiet("info_that_is_not_json", "INFO x\r\nPING\r\n"),
        killed("empty_line", "\r\nPING\r\n"),
        killed_quiet(
            "answers_come_before_the_end",
            "SUB a 1\r\nPUB a 2\r\nhi\r\nPING\r\nNONSENSE\r\nPUB a 2\r\nno\r\n",
        ),
    ]
}

fn limits() -> Vec<Session> {
    let most = "x".repeat(1024);
    let half = "y".repeat(512);
    let endless = Session {
        cut_from: 60_000,
        ..killed_quiet(
            "control_line_that_never_ends",
            &format!("SUB {}", "a".repeat(70_000)),
        )
    };
    vec![
        relay_only(quiet(
            "payload_of_max_payload",
            &format!("SUB a 1\r\nPUB a 1024\r\n{most}\r\n"),
        )),
        relay_only(killed_quiet(
            "payload_over_max_payload",
            "SUB a 1\r\nPUB a 1025\r\n",
        )),
        relay_only(killed_quiet(
            "headers_count_for_max_payload",
            "HPUB a 12 1025\r\nNATS/1.0\r\n\r\n",
        )),
        killed_quiet("payload_far_over_max_payload", "PUB a 999999999\r\n"),
        quiet(
            "payload_of_half",
            &format!(
                "SUB a 1\r\nPUB a 512\r\n{half}\r\nHPUB a 12 524\r\nNATS/1.0\r\n\r\n{half}\r\n"
            ),
        ),
        on(
            2,
            killed_quiet(
                "control_line_too_long",
                &format!("PUB {} 1\r\nx\r\n", "a".repeat(600)),
            ),
        ),
        on(2, endless),
        on(
            2,
            quiet(
                "control_line_just_short_enough",
                &format!("SUB a 1\r\nPUB {} 1\r\nx\r\n", "a".repeat(500)),
            ),
        ),
    ]
}

fn guarded() -> Vec<Session> {
    let ada = "CONNECT {\"verbose\":false,\"pedantic\":false,\"headers\":true,\"user\":\"ada\",\"pass\":\"secret\"}\r\n";
    let loud =
        "CONNECT {\"verbose\":true,\"pedantic\":false,\"user\":\"ada\",\"pass\":\"secret\"}\r\n";
    vec![
        on(
            1,
            open(
                "user_and_password",
                &format!("{ada}SUB a 1\r\nPUB a 1\r\nx\r\n"),
            ),
        ),
        on(
            1,
            open(
                "denied_publish",
                &format!("{ada}SUB > 1\r\nPUB no.way 1\r\nx\r\nPUB a 1\r\ny\r\n"),
            ),
        ),
        on(
            1,
            open(
                "denied_subscription",
                &format!("{ada}SUB no.way 1\r\nSUB a 2\r\nPUB a 1\r\ny\r\n"),
            ),
        ),
        on(
            1,
            open(
                "denied_publish_gets_no_ok_when_verbose",
                &format!("{loud}PUB no.way 1\r\nx\r\nPUB a 1\r\ny\r\n"),
            ),
        ),
        on(
            1,
            open(
                "denied_queue_subscription",
                &format!("{ada}SUB no.way crew 1\r\n"),
            ),
        ),
        on(
            1,
            killed(
                "wrong_password",
                "CONNECT {\"verbose\":false,\"user\":\"ada\",\"pass\":\"wrong\"}\r\nPING\r\n",
            ),
        ),
        on(
            1,
            killed("no_credentials", "CONNECT {\"verbose\":false}\r\nPING\r\n"),
        ),
        on(1, killed("publish_before_credentials", "PUB a 1\r\nx\r\n")),
    ]
}
