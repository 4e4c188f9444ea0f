//! Headers and subjects.

use super::super::subject::{is_literal, tokens};
use super::super::{Buffer, header, write};

const BLOCK: &[u8] =
    b"NATS/1.0\r\nNats-Msg-Size:  1234\r\nnats-msg-size: 5\r\nA:b\r\nNats-Msg-Size: 6\r\n\r\n";

fn replaced(block: &[u8], name: &[u8], value: &[u8]) -> Vec<u8> {
    let mut out = Buffer::new();
    header::replace(block, name, value, &mut out);
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
fn r17_replacing_a_header_changes_the_first_value_of_that_name() {
    let out = replaced(BLOCK, b"Nats-Msg-Size", b"86");
    let expected =
        b"NATS/1.0\r\nNats-Msg-Size:  86\r\nnats-msg-size: 5\r\nA:b\r\nNats-Msg-Size: 6\r\n\r\n";
    assert_eq!(out, expected);
}

#[test]
fn r17_a_header_that_is_absent_or_behind_the_block_passes_unchanged() {
    for block in [
        BLOCK,
        b"",
        b"junk\r\nX: 1\r\n\r\n",
        b"NATS/1.0\r\n\r\nX: 1\r\n",
    ] {
        assert_eq!(replaced(block, b"X", b"2"), block);
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
fn r10_a_wildcard_is_a_whole_token() {
    for subject in ["a", "a.b*.c>", "a.>x", "", "a..b"] {
        assert!(is_literal(subject.as_bytes()), "{subject}");
    }
    for subject in ["*", "a.*", ">", "a.>"] {
        assert!(!is_literal(subject.as_bytes()), "{subject}");
    }
}

#[test]
fn tokens_include_empty_ones() {
    let all: Vec<&[u8]> = tokens(b"a..b").collect();
    assert_eq!(all, [&b"a"[..], b"", b"b"]);
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
