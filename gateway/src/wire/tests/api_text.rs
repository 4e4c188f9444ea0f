//! Random text for the property test of JetStream's requests and responses.

use proptest::prelude::*;

use super::jetstream::{ACKNOWLEDGEMENTS, MESSAGE};

/// Text that resembles JetStream's API, valid and invalid.
pub(super) fn api_text() -> impl Strategy<Value = Vec<u8>> {
    let scalar = prop::sample::select(SCALARS).prop_map(str::to_owned);
    let value = scalar.prop_recursive(3, 24, 5, |inner| {
        let key = prop::sample::select(KEYS);
        let member = (key, inner.clone()).prop_map(|(key, value)| format!("\"{key}\" :{value}"));
        let member = member.boxed();
        prop_oneof![
            1 => prop::collection::vec(inner, 0..4).prop_map(|list| format!("[{}]", list.join(" ,"))),
            4 => prop::collection::vec(member, 0..5).prop_map(|members| format!("{{{}}}", members.join(", "))),
        ]
    });
    let fixed = [ACKNOWLEDGEMENTS, FIXED].concat();
    let known = prop::sample::select(fixed).prop_map(|text| text.as_bytes().to_vec());
    let damaged = (known.clone(), any::<prop::sample::Index>(), any::<u8>());
    prop_oneof![
        3 => value.prop_map(String::into_bytes),
        1 => known,
        1 => damaged.prop_map(|(mut text, at, byte)| {
            let at = at.index(text.len());
            text[at] = byte;
            text
        }),
        1 => prop::collection::vec(any::<u8>(), 0..32),
    ]
}

const FIXED: &[&str] = &[
    MESSAGE,
    r#"{"config":{"subjects":["a.\u003e"],"max_msg_size":1048}}"#,
    r#"{"streams":[{"config":{"subjects":["a"],"max_msg_size":148}},{"config":{"name":"a","max_msg_size":148}}]}"#,
    r#"{"name":"a","subjects":["a.>"],"max_msg_size":1000,"allow_msg_counter":true}"#,
    r#"{"batch":10,"max_bytes":1024,"expires":1}"#,
    "$JS.ACK.S.C.2.7.9.1700000000000000000.0",
    "$JS.ACK._.hash.S.C.2.7.9.1700000000000000000.0.token",
    "1048",
];

const KEYS: &[&str] = &[
    "config",
    "streams",
    "message",
    "subjects",
    "subjects",
    "name",
    "mirror",
    "sources",
    "max_msg_size",
    "MAX_MSG_\u{17F}ize",
    "max_m\\u0073g_size",
    "max_bytes",
    "Max_Bytes",
    "batch",
    "multi_last",
    "allow_msg_counter",
    "deliver_subject",
    "subject",
    "seq",
    "hdrs",
    "data",
    "Data",
    "stream",
    "type",
    "error",
    "code",
    "err_code",
    "description",
    "msgs",
    "last_seq",
    "duplicate",
    "val",
    "count",
    "domain",
    "x",
];

const SCALARS: &[&str] = &[
    "0",
    "1",
    "48",
    "49",
    "1000",
    "2147483647",
    "2147483648",
    "-1",
    "-0",
    "1.5",
    "1e3",
    "9223372036854775807",
    "18446744073709551615",
    "18446744073709551616",
    "true",
    "false",
    "null",
    "\"\"",
    "\"a\"",
    "\"ab\"",
    "\"b\"",
    "\"\\u0061\"",
    "\"a\\ud83d\\ude00\"",
    "\"\\ud83d\"",
    "\"eA==\"",
    "\"eB==\"",
    "\"+/+/\"",
    "\"eA\\u003d=\"",
    "\"ack\"",
    "\"gap\"",
    "\"err\"",
    "\"\\\"]}\"",
    "tru",
    "01",
    "\"",
    "[",
    "}",
];
