//! Rules of the deliver direction.

use super::super::write::{self, Decimal};
use super::super::{Buffer, Limits, Malformed, Parsed, ServerOp, ServerParser};
use super::{message, server, server_refused};

#[test]
fn r16_every_form_of_the_server_is_read() {
    assert_eq!(
        server(b"MSG a 1 2\r\nhi\r\n"),
        message(b"a", b"1", None, None, b"hi")
    );
    assert_eq!(
        server(b"MSG a 1 r 0\r\n\r\n"),
        message(b"a", b"1", Some(b"r"), None, b"")
    );
    let block = b"NATS/1.0\r\n\r\n";
    assert_eq!(
        server(b"HMSG a 1 12 14\r\nNATS/1.0\r\n\r\nhi\r\n"),
        message(b"a", b"1", None, Some(block), b"hi")
    );
    assert_eq!(
        server(b"HMSG a 1 r 12 12\r\nNATS/1.0\r\n\r\n\r\n"),
        message(b"a", b"1", Some(b"r"), Some(block), b"")
    );
    assert_eq!(server(b"INFO {} \r\n"), ServerOp::Info { json: b"{} " });
    assert_eq!(server(b"-ERR 'x y'\r\n"), ServerOp::Err { text: b"'x y'" });
    assert_eq!(server(b"PING\r\n"), ServerOp::Ping);
    assert_eq!(server(b"PONG\r\n"), ServerOp::Pong);
    assert_eq!(server(b"+OK\r\n"), ServerOp::Ok);
}

#[test]
fn r16_sizes_that_a_publisher_wrote_with_zeros_are_read() {
    assert_eq!(
        server(b"MSG a 1 002\r\nhi\r\n"),
        message(b"a", b"1", None, None, b"hi")
    );
}

#[test]
fn r16_subjects_with_line_ends_in_them_do_not_end_the_session() {
    assert_eq!(
        server(b"MSG a\r 1 0\r\n\r\n"),
        message(b"a\r", b"1", None, None, b"")
    );
    assert_eq!(
        server(b"MSG \na 1 0\r\n\r\n"),
        message(b"\na", b"1", None, None, b"")
    );
}

#[test]
fn r16_what_a_server_says_itself_has_two_spaces_before_the_size() {
    assert_eq!(
        server(b"MSG a 1  2\r\nhi\r\n"),
        message(b"a", b"1", None, None, b"hi")
    );
    let block = b"NATS/1.0\r\n\r\n";
    assert_eq!(
        server(b"HMSG a 1  12 14\r\nNATS/1.0\r\n\r\nhi\r\n"),
        message(b"a", b"1", None, Some(block), b"hi")
    );
}

/// The line with `total` in it.
fn resized(line: &[u8], total: usize) -> Vec<u8> {
    let mut out = Buffer::new();
    write::message(&mut out, line, total);
    out.filled().to_vec()
}

#[test]
fn r16_opening_changes_the_total_size_and_nothing_else_on_the_line() {
    assert_eq!(resized(b"MSG a 1 r 1048576\r\n", 9), b"MSG a 1 r 9\r\n");
    assert_eq!(
        resized(b"HMSG a 1  0012 112\r\n", 64),
        b"HMSG a 1  0012 64\r\n"
    );
}

#[test]
fn r3_opening_restores_the_leading_zeros_that_sealing_kept() {
    for (written, plain) in [
        ("2", 2),
        ("02", 2),
        ("0002", 2),
        ("00000099", 99),
        ("00", 0),
    ] {
        let sealed = Decimal::like(written.as_bytes(), plain + 48);
        let line = [b"MSG a 1 ", sealed.digits(), b"\r\n"].concat();
        let expected = format!("MSG a 1 {written}\r\n");
        assert_eq!(resized(&line, plain), expected.as_bytes());
    }
}

#[test]
fn r3_leading_zeros_never_make_a_size_longer_than_nine_digits() {
    assert_eq!(Decimal::like(b"000000002", 50).digits(), b"000000050");
    assert_eq!(
        Decimal::like(b"000000002", 1_234_567_890).digits(),
        b"1234567890"
    );
}

#[test]
fn r15_a_message_may_exceed_what_info_announced_up_to_a_sanity_cap() {
    let mut parser = ServerParser::new(Limits::default());
    assert_eq!(
        parser.next(b"MSG a 1 67174400\r\n"),
        Ok(Parsed::Incomplete { need: 67_174_420 })
    );
    assert_eq!(
        server_refused(b"MSG a 1 67174401\r\n"),
        Malformed::PayloadTooLarge { len: 18 }
    );
}

#[test]
fn r19_what_no_server_writes_is_malformed() {
    for stream in [
        &b"msg a 1 0\r\n"[..],
        b"PUB a 0\r\n",
        b"PING \r\n",
        b"PING\n",
        b"PX",
        b"MSG  a 1 0\r\n",
        b"MSG a  1 0\r\n",
        b"MSG a 1   0\r\n",
        b"MSG a 1 r  0\r\n",
        b"MSG a  0\r\n",
        b"MSG a 0\r\n",
        b"MSG a 1 0\n",
        b"MSG a 1 -1\r\n",
        b"MSG a 1 r x 0\r\n",
        b"HMSG a 1 0\r\n",
        b"HMSG a 1 3 2\r\n",
        b"MSG a 1 1\r\nab",
    ] {
        let _: Malformed = server_refused(stream);
    }
}

#[test]
fn r19_an_endless_server_line_is_malformed() {
    let line = [&b"INFO "[..], &vec![b'x'; 1 << 20]].concat();
    assert_eq!(
        server_refused(&line),
        Malformed::ControlLineTooLong { len: line.len() }
    );
}
