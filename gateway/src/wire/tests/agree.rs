//! Property tests: the parsers against the reference parser, the edits against `serde_json`, for streams that resemble NATS.

use proptest::prelude::*;

use super::super::check;

/// Valid and invalid fragments of the protocol, whose concatenations reach most states.
fn pieces() -> impl Strategy<Value = Vec<u8>> {
    let fixed = prop::sample::select(PIECES);
    prop_oneof![
        8 => fixed.prop_map(|text| text.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..4),
        1 => "[ -~]{0,40}".prop_map(String::into_bytes),
    ]
}

fn stream() -> impl Strategy<Value = Vec<u8>> {
    (any::<[u8; 2]>(), prop::collection::vec(pieces(), 0..14))
        .prop_map(|(choice, pieces)| [choice.to_vec(), pieces.concat()].concat())
}

fn header_block() -> impl Strategy<Value = Vec<u8>> {
    let line = prop::sample::select(HEADER_LINES);
    (
        any::<u8>(),
        any::<bool>(),
        prop::collection::vec(line, 0..8),
    )
        .prop_map(|(choice, good, lines)| {
            let start = if good { "NATS/1.0\r\n" } else { "" };
            [&[choice], start.as_bytes(), lines.concat().as_bytes()].concat()
        })
}

fn json_text() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop::sample::select(JSON_PIECES);
    let member = (prop::sample::select(KEYS), prop::sample::select(VALUES))
        .prop_map(|(key, value)| format!("\"{key}\" : {value}"));
    prop_oneof![
        3 => prop::collection::vec(member, 0..6).prop_map(|members| format!(" {{{}}}\n", members.join(" , ")).into_bytes()),
        1 => prop::collection::vec(piece, 0..16).prop_map(|pieces| pieces.concat().into_bytes()),
        1 => prop::collection::vec(any::<u8>(), 0..32),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn client_parser_and_reference_agree_on_any_stream_and_any_split(data in stream()) {
        check::client_parser_agrees(&data);
    }

    #[test]
    fn server_parser_and_reference_agree_on_any_stream_and_any_split(data in stream()) {
        check::server_parser_agrees(&data);
    }

    #[test]
    fn header_edits_change_what_they_name_and_nothing_else(data in header_block()) {
        check::header_edit_holds(&data);
    }

    #[test]
    fn info_and_connect_edits_mean_what_go_would_read(data in json_text()) {
        check::info_connect_edit_holds(&data);
    }

    #[test]
    fn jetstream_rewrites_mean_what_go_would_read(data in super::api_text::api_text()) {
        check::jetstream_holds(&data);
    }
}

const PIECES: &[&str] = &[
    "PUB a 0000000002\r\nhi\r\n",
    "HPUB a 12 12\r\nNATS/1.0\r\n\r\n\r\n",
    "PUB a 16\r\n0123456789abcdef\r\n",
    "PUB a 17\r\n",
    "MSG a 1 0000000002\r\nhi\r\n",
    "HMSG a 1 2 2\r\nhi\r\n",
    "MSG a 1 16\r\n0123456789abcdef\r\n",
    "MSG a 1  02\r\nhi\r\n",
    "HMSG a 1  002 003\r\nhi!\r\n",
    "PUB a 002\r\nhi\r\n",
    "HPUB a\t02  003\r\nhi!\r\n",
    "PUB ",
    "pub\t",
    "HPUB ",
    "hPuB  ",
    "SUB ",
    "sub \t ",
    "UNSUB ",
    "PING",
    "ping\r\n",
    "PONG\r\n",
    "+OK\r\n",
    "+ok junk\n",
    "-ERR ",
    "-ERR 'x'\r\n",
    "CONNECT ",
    "CONNECT{",
    "INFO ",
    "INFO {}\r\n",
    "MSG ",
    "HMSG ",
    "PING\r\n",
    "MSG a 1 2\r\nhi\r\n",
    "HMSG a.b 1 r 12 14\r\nNATS/1.0\r\n\r\nhi\r\n",
    "PUB a 2\r\nhi\r\n",
    "PUB a.b c 002\nhi\r\n",
    "HPUB a 12 14\r\nNATS/1.0\r\n\r\nhi\r\n",
    "HPUB a 0 2\r\nhi\r\n",
    "SUB a 1\r\n",
    "SUB a q 1\r\n",
    "UNSUB 1 5\r\n",
    "CONNECT {\"verbose\":false}\r\n",
    "\r\n",
    "\n",
    "\r",
    " ",
    "\t",
    "0",
    "2",
    "5",
    "17",
    "000000002",
    "0000000002",
    "999999999",
    "a",
    "a.b",
    "$JS.API",
    "X",
    "\u{0}",
    "hi\r\n",
    "\r\r\n",
];

const HEADER_LINES: &[&str] = &[
    "NATS/1.0\r\n",
    "NATS/1.0 503\r\n",
    "NATS/1.0 100 Idle Heartbeat\r\n",
    "Nats-Msg-Size: 12\r\n",
    "Nats-Msg-Size:12\r\n",
    "nats-msg-size: 1\r\n",
    "A:b\r\n",
    "A: \r\n",
    ":\r\n",
    "no colon\r\n",
    "\r\n",
    "\r",
    "\n",
    "A:",
    "x",
];

const JSON_PIECES: &[&str] = &[
    "{",
    "}",
    "[",
    "]",
    ":",
    ",",
    "\"verbose\":",
    "\"Headers\":",
    "\"headers\":",
    "\"proxy_sig\":",
    "\"pro\\u0078y_\u{17F}ig\":",
    "\"max_payload\":",
    "\"client_id\":",
    "\"connect_urls\":",
    "\"host\":",
    "\"port\":",
    "\"ldm\":",
    "\"protocol\":",
    "\"name\":",
    "true",
    "false",
    "null",
    "1",
    "-1",
    "1048576",
    "18446744073709551615",
    "1.0",
    "\"x\"",
    "\"\\\"}\"",
    "[\"a:1\"]",
    "{}",
    " ",
    "\n",
    "\\",
];

const KEYS: &[&str] = &[
    "verbose",
    "VERBOSE",
    "pedantic",
    "echo",
    "headers",
    "Headers",
    "no_responders",
    "no_re\u{17F}ponders",
    "protocol",
    "proxy_sig",
    "Proxy_Sig",
    "pro\\u0078y_sig",
    "proxy_\u{17F}ig",
    "max_payload",
    "client_id",
    "connect_urls",
    "ws_connect_urls",
    "host",
    "port",
    "tls_required",
    "tls_available",
    "tls_verify",
    "client_ip",
    "ldm",
    "name",
    "user",
    "import",
    "x\\\"y",
    "\u{212A}ey",
];

const VALUES: &[&str] = &[
    "true",
    "false",
    "null",
    "0",
    "1",
    "-1",
    "10",
    "1048576",
    "18446744073709551615",
    "9223372036854775808",
    "1.0",
    "1e2",
    "\"x\"",
    "\"\\\"},{\"",
    "[]",
    "[\"a:1\",{\"b\":[2]}]",
    "{}",
    "{\"proxy_sig\":\"in\"}",
    " true ",
];
