//! Rules of the handshake: INFO and CONNECT.

use super::super::connect::{Connect, Refused};
use super::super::info::{self, Info, Tls};
use super::super::{Buffer, NotAnObject};

/// An INFO as nats-server 2.15.1 in a cluster writes it.
const INFO: &str = concat!(
    r#"{"server_id":"NBM","server_name":"n1","version":"2.15.1","proto":1,"git_commit":"abc","go":"go1.25.1","host":"0.0.0.0","#,
    r#""port":4222,"headers":true,"auth_required":true,"tls_required":true,"tls_verify":true,"max_payload":1048576,"jetstream":true,"#,
    r#""client_id":18446744073709551615,"client_ip":"10.0.0.7","nonce":"SvNsb2xw","cluster":"c","connect_urls":["10.0.0.1:4222"],"#,
    r#""ws_connect_urls":["10.0.0.1:80"],"xkey":"XA","api_lvl":4,"new":{"a":[1.50,"}"]} } "#
);

fn edits<'a>() -> info::Edits<'a> {
    info::Edits {
        overhead: 48,
        host: "127.0.0.1",
        port: 4223,
        connect_urls: &[],
        client_ip: "192.0.2.9",
        tls: Tls::None,
        lame_duck: false,
    }
}

fn rewritten(json: &str, edits: &info::Edits<'_>) -> String {
    let mut out = Buffer::new();
    info::rewrite(json.as_bytes(), edits, &mut out).expect("an object");
    String::from_utf8(out.filled().to_vec()).expect("text")
}

#[test]
fn info_is_edited_where_it_names_the_server_and_nowhere_else() {
    let expected = concat!(
        r#"{"server_id":"NBM","server_name":"n1","version":"2.15.1","proto":1,"git_commit":"abc","go":"go1.25.1","host":"127.0.0.1","#,
        r#""port":4223,"headers":true,"auth_required":true,"max_payload":1048528,"jetstream":true,"#,
        r#""client_id":18446744073709551615,"client_ip":"192.0.2.9","nonce":"SvNsb2xw","cluster":"c","#,
        r#""xkey":"XA","api_lvl":4,"new":{"a":[1.50,"}"]} } "#
    );
    assert_eq!(rewritten(INFO, &edits()), expected);
}

#[test]
fn info_max_payload_without_a_limit_or_without_overhead_passes_unchanged() {
    for (json, overhead) in [
        (r#"{"max_payload":-1}"#, 48),
        (r#"{"max_payload":0}"#, 48),
        (r#"{"max_payload" : 1e3}"#, 48),
        (r#"{"max_payload":7}"#, 0),
    ] {
        assert_eq!(
            rewritten(
                json,
                &info::Edits {
                    overhead,
                    ..edits()
                }
            ),
            json
        );
    }
    assert_eq!(
        rewritten(r#"{"max_payload":47}"#, &edits()),
        r#"{"max_payload":0}"#
    );
}

#[test]
fn info_connect_urls_are_the_gateways_own() {
    let urls = ["gw1:4223".to_owned(), "gw2:4223".to_owned()];
    let with = info::Edits {
        connect_urls: &urls,
        ..edits()
    };
    let expected = r#"{"connect_urls":["gw1:4223","gw2:4223"],"x":1}"#;
    assert_eq!(
        rewritten(r#"{"Connect_URLs":["s:1"],"x":1,"connect_urls":[]}"#, &with),
        expected
    );
    assert_eq!(
        rewritten("{}", &with),
        r#"{"connect_urls":["gw1:4223","gw2:4223"]}"#
    );
}

#[test]
fn info_describes_the_gateways_tls_and_lame_duck_mode() {
    let with = info::Edits {
        tls: Tls::Required,
        lame_duck: true,
        ..edits()
    };
    assert_eq!(
        rewritten(r#"{"tls_verify":true}"#, &with),
        r#"{"tls_required":true,"ldm":true}"#
    );
    assert_eq!(rewritten(r#"{"ldm":true}"#, &edits()), r#"{"ldm":true}"#);
    let verified = info::Edits {
        tls: Tls::Verified,
        ..edits()
    };
    assert_eq!(
        rewritten(r#"{"tls_verify":true,"tls_available":true}"#, &verified),
        r#"{"tls_verify":true,"tls_required":true}"#
    );
}

#[test]
fn info_is_read_as_the_server_said_it() {
    let info = Info::read(INFO.as_bytes()).expect("an object");
    assert_eq!(
        (info.max_payload, info.payload_limit()),
        (1_048_576, Some(1_048_576))
    );
    assert_eq!(info.api_lvl, 4);
    assert_eq!(info.nonce, Some(&b"SvNsb2xw"[..]));
    assert!(info.headers && info.auth_required && info.tls_required && !info.tls_available);
    assert_eq!(
        Info::read(br#"{"max_payload":-1}"#).map(|info| info.payload_limit()),
        Ok(None)
    );
}

#[test]
fn info_that_is_no_object_is_refused_and_nothing_is_written() {
    for json in [
        "",
        "null",
        "[]",
        "{",
        "{\"a\"}",
        "{\"a\":}",
        "{\"a\":1,}",
        "{\"a\":[}",
        "{} x",
        "{\"a\":\"\\\"}",
        "{\"a\" 1}",
    ] {
        let mut out = Buffer::new();
        assert_eq!(
            info::rewrite(json.as_bytes(), &edits(), &mut out),
            Err(NotAnObject),
            "{json}"
        );
        assert!(out.is_empty());
    }
}

#[test]
fn info_nested_beyond_every_reader_is_refused_without_recursion() {
    let deep = |depth: usize| format!("{{\"a\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
    assert!(Info::read(deep(9_999).as_bytes()).is_ok());
    assert_eq!(Info::read(deep(10_000).as_bytes()), Err(NotAnObject));
    assert_eq!(
        Info::read("{\"a\":[".repeat(100_000).as_bytes()),
        Err(NotAnObject)
    );
}

/// The options after a first CONNECT.
fn read(json: &[u8]) -> Result<Connect, Refused> {
    let mut options = Connect::default();
    options.apply(json, None, &mut Buffer::new())?;
    Ok(options)
}

/// What the server gets of a CONNECT.
fn taken(options: &mut Connect, json: &[u8], proxy_sig: Option<&str>) -> Result<String, Refused> {
    let mut out = Buffer::new();
    options.apply(json, proxy_sig, &mut out)?;
    Ok(String::from_utf8(out.filled().to_vec()).expect("UTF-8"))
}

#[test]
fn r7_absent_keys_mean_verbose_and_no_headers() {
    let options = read(b"{}").expect("valid");
    assert_eq!(options, Connect::default());
    assert!(options.verbose && !options.headers);
    assert_eq!(options.protocol, 0);
}

#[test]
fn r8_a_second_connect_keeps_what_it_does_not_name() {
    let mut options = read(br#"{"verbose":false,"headers":true,"protocol":1}"#).expect("valid");
    let changed = taken(&mut options, br#"{"headers":null,"echo":false}"#, None);
    changed.expect("valid");
    assert!(!options.verbose && options.headers);
    assert_eq!(options.protocol, 1);
    let before = options;
    let same = taken(&mut options, b" null ", None);
    assert_eq!((same.as_deref(), options), (Ok(" null "), before));
}

#[test]
fn r23_keys_are_read_in_any_case_and_the_last_one_wins() {
    let options = read(
        br#"{"headers":false,"HEADERS":true,"verbose":true,"\u0056erbose":false,"other":[{}]}"#,
    );
    assert!(options.is_ok_and(|options| options.headers && !options.verbose));
    let folded = read("{\"header\u{17F}\":true}".as_bytes());
    assert!(folded.is_ok_and(|options| options.headers));
}

#[test]
fn r23_wrong_types_and_wrong_json_are_refused_as_the_server_refuses_them() {
    for json in [
        r#"{"verbose":1}"#,
        r#"{"protocol":1.0}"#,
        r#"{"protocol":"1"}"#,
        r#"{"user":5}"#,
        r#"{"import":5}"#,
    ] {
        assert_eq!(read(json.as_bytes()), Err(Refused::WrongType), "{json}");
    }
    for json in [
        "[]",
        "1",
        "",
        "{",
        "{} x",
        "{\"name\":\"a\tb\"}",
        "{\"a\":01}",
        "{\"a\":tru}",
        "{'a':1}",
    ] {
        assert_eq!(read(json.as_bytes()), Err(Refused::NotAnObject), "{json}");
    }
    assert!(read(b"{\"name\":\"\xff\"}").is_ok());
}

#[test]
fn r24_proxy_sig_of_a_client_is_stripped_however_it_is_spelt() {
    for key in [
        "proxy_sig",
        "PROXY_SIG",
        "pro\\u0078y_sig",
        "proxy_\u{17F}ig",
        "\\u0070roxy_\\u017fig",
    ] {
        let json = format!("{{ \"a\":1, \"{key}\":\"x\",\"b\":2}}");
        let stripped = taken(&mut Connect::default(), json.as_bytes(), None);
        assert_eq!(stripped.as_deref(), Ok(r#"{ "a":1,"b":2}"#), "{key}");
    }
}

#[test]
fn r24_our_own_proxy_sig_takes_the_place_of_the_clients() {
    for (json, expected) in [
        (r#"{"proxy_sig":"theirs"}"#, r#"{"proxy_sig":"ours"}"#),
        (r#"{"a":1} "#, r#"{"a":1,"proxy_sig":"ours"} "#),
    ] {
        let signed = taken(&mut Connect::default(), json.as_bytes(), Some("ours"));
        assert_eq!(signed.as_deref(), Ok(expected));
    }
}

#[test]
fn r24_a_connect_without_proxy_sig_passes_byte_for_byte() {
    for json in ["{ }", " {\"a\" : 1 ,\n\"a\":[ ]} ", "{}"] {
        let same = taken(&mut Connect::default(), json.as_bytes(), None);
        assert_eq!(same.as_deref(), Ok(json));
    }
}

/// Each line was sent to nats-server 2.15.1, which accepted the first kind and closed the connection on the second.
#[test]
fn r23_odd_json_is_judged_as_the_server_was_seen_to_judge_it() {
    let depth = |n: usize| format!("{{\"x\":{}{}}}", "[".repeat(n), "]".repeat(n)).into_bytes();
    for json in [
        &br#"{"protocol":-0}"#[..],
        br#"{"name":"\ud800"}"#,
        b"{\"na\xff\":\"x\"}",
        br#"{"x":1e999}"#,
        b"{\"name\":\"\x7f\"}",
        br#"{"":1}"#,
        br#"{"no-responders":1,"noresponders":1}"#,
        &depth(16),
    ] {
        assert!(read(json).is_ok(), "{}", json.escape_ascii());
    }
    for json in [
        &br#"{"protocol":1e0}"#[..],
        br#"{"protocol":-0.0}"#,
        br#"{"protocol":9223372036854775808}"#,
        br#"{"name":"\x"}"#,
        b"\xef\xbb\xbf{}",
        b"{}\0",
        b"{\x0b}",
        b"{\"name\":\"\x1f\"}",
        "{\"n\u{212A}ey\":5}".as_bytes(),
        br#"{"verbose":"true"}"#,
        &depth(10_000),
    ] {
        assert!(read(json).is_err(), "{}", json.escape_ascii());
    }
}

/// The server would accept these; no client writes them.
#[test]
fn connect_that_nests_or_lists_more_than_any_client_s_is_refused() {
    let deep = format!("{{\"x\":{}{}}}", "{\"x\":".repeat(17), "}".repeat(17));
    let deep = deep.replace(":}", ":1}");
    assert_eq!(read(deep.as_bytes()), Err(Refused::NotAnObject));
    let many = |count: usize| format!("{{{}\"echo\":true}}", "\"x\":1,".repeat(count));
    assert!(read(many(255).as_bytes()).is_ok());
    assert_eq!(read(many(256).as_bytes()), Err(Refused::TooMany));
}
