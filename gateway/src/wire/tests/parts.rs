//! Headers and subjects.

use super::super::header::{self, Edit};
use super::super::subject::{
    is_literal, is_pedantic_publish, is_valid_filter, is_valid_publish, normalise, tokens,
};
use super::super::{Buffer, write};

const BLOCK: &[u8] =
    b"NATS/1.0\r\nNats-Msg-Size:  1234\r\nnats-msg-size: 5\r\nA:b\r\nNats-Msg-Size: 6\r\n\r\n";

const NO_PREFIXES: [&str; 0] = [];

fn edited(block: &[u8], name: &[u8], edit: Edit<'_>) -> Vec<u8> {
    let mut out = Buffer::new();
    header::edit(block, name, edit, &mut out);
    assert_eq!(out.len(), header::edited_len(block, name, edit));
    out.filled().to_vec()
}

#[test]
fn r17_header_names_are_case_sensitive_and_the_first_one_counts() {
    assert_eq!(header::get(BLOCK, b"Nats-Msg-Size"), Some(&b"1234"[..]));
    assert_eq!(header::get(BLOCK, b"nats-msg-size"), Some(&b"5"[..]));
    assert_eq!(header::get(BLOCK, b"a"), None);
    assert_eq!(header::iter(BLOCK).count(), 4);
}

#[test]
fn r17_replacing_a_header_changes_its_value_and_the_length() {
    let out = edited(BLOCK, b"Nats-Msg-Size", Edit::Replace(b"86"));
    let expected =
        b"NATS/1.0\r\nNats-Msg-Size:  86\r\nnats-msg-size: 5\r\nA:b\r\nNats-Msg-Size: 6\r\n\r\n";
    assert_eq!(out, expected);
}

#[test]
fn r17_removing_a_header_removes_all_of_that_name() {
    let out = edited(BLOCK, b"Nats-Msg-Size", Edit::Remove);
    assert_eq!(out, b"NATS/1.0\r\nnats-msg-size: 5\r\nA:b\r\n\r\n");
}

#[test]
fn r17_a_header_that_is_absent_or_behind_the_block_passes_unchanged() {
    for block in [
        BLOCK,
        b"",
        b"junk\r\nX: 1\r\n\r\n",
        b"NATS/1.0\r\n\r\nX: 1\r\n",
    ] {
        assert_eq!(edited(block, b"X", Edit::Replace(b"2")), block);
        assert_eq!(edited(block, b"X", Edit::Remove), block);
    }
}

#[test]
fn r18_a_status_is_the_code_of_the_first_line() {
    assert_eq!(header::status(b"NATS/1.0 503\r\n\r\n"), Some(&b"503"[..]));
    let idle = b"NATS/1.0 100 Idle Heartbeat\r\nA:b\r\n\r\n";
    assert_eq!(
        header::status_line(idle),
        Some((&b"100"[..], &b"Idle Heartbeat"[..]))
    );
    for block in [
        &b"NATS/1.0\r\n\r\n"[..],
        b"NATS/1.0 \r\n\r\n",
        b"503\r\n\r\n",
        b"",
        BLOCK,
    ] {
        assert!(!header::has_status(block));
    }
}

#[test]
fn r10_subjects_are_valid_where_the_server_says_so() {
    for subject in [
        "a", "a.b.c", "*", ">", "a.*.>", "a.b*", "a>.b", "$JS.API", "\u{e9}", "a.>x",
    ] {
        assert!(is_valid_filter(subject.as_bytes()), "{subject}");
    }
    for subject in [
        "", ".", "a.", ".a", "a..b", ">.a", "a.>.b", "a b", "a\tb", "a.\u{c}", "a\r",
    ] {
        assert!(!is_valid_filter(subject.as_bytes()), "{subject}");
        assert!(!is_valid_publish(subject.as_bytes()), "{subject}");
    }
    for subject in ["*", "a.*", ">", "a.>"] {
        assert!(
            !is_valid_publish(subject.as_bytes()) && !is_literal(subject.as_bytes()),
            "{subject}"
        );
    }
    assert!(is_valid_publish(b"a.b*.c>"));
}

#[test]
fn r10_pedantic_checks_tokens_and_not_bytes() {
    assert!(is_pedantic_publish(b"a\x0c.b"));
    for subject in ["a..b", "a.", "*", "a.>"] {
        assert!(!is_pedantic_publish(subject.as_bytes()), "{subject}");
    }
}

#[test]
fn tokens_include_empty_ones() {
    let all: Vec<&[u8]> = tokens(b"a..b").collect();
    assert_eq!(all, [&b"a"[..], b"", b"b"]);
}

#[test]
fn api_subjects_are_normalised_as_the_server_maps_them() {
    let prefixes = ["acme.js", "other.api."];
    for (subject, expected) in [
        ("a.b", "a.b"),
        ("$JS.API.STREAM.LIST", "$JS.API.STREAM.LIST"),
        ("$JS.hub.API.STREAM.LIST", "$JS.API.STREAM.LIST"),
        ("$JS.hub.API.$KV.b.k", "$KV.b.k"),
        ("$JS.API.$KV.b.k", "$KV.b.k"),
        ("$JS.API.$OBJ.b.k", "$OBJ.b.k"),
        (
            "acme.js.CONSUMER.MSG.NEXT.s.c",
            "$JS.API.CONSUMER.MSG.NEXT.s.c",
        ),
        ("acme.js.$KV.b.k", "$KV.b.k"),
        ("other.api.INFO", "$JS.API.INFO"),
        ("acme.jsx.INFO", "acme.jsx.INFO"),
        ("$JS.ACK.s.c.1.2.3.4.5", "$JS.ACK.s.c.1.2.3.4.5"),
        ("$JS.hub.APIX.a", "$JS.hub.APIX.a"),
        ("$JS.API.API.x", "$JS.API.API.x"),
        ("$JS.", "$JS."),
    ] {
        assert_eq!(
            &*normalise(subject.as_bytes(), &prefixes),
            expected.as_bytes(),
            "{subject}"
        );
    }
}

#[test]
fn subjects_that_need_no_new_bytes_are_borrowed() {
    for subject in ["a.b", "$JS.API.INFO", "$JS.d.API.$KV.b.k"] {
        let normal = normalise(subject.as_bytes(), &NO_PREFIXES);
        assert!(matches!(normal, std::borrow::Cow::Borrowed(_)), "{subject}");
    }
}

#[test]
fn sizes_are_written_in_plain_digits() {
    for total in [0, 9, 10, 99, 100, 1_048_576, usize::MAX] {
        assert_eq!(
            write::Decimal::new(total).digits(),
            total.to_string().as_bytes()
        );
    }
}
