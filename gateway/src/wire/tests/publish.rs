//! Rules of the publish direction.

use super::super::write::{self, PublishLine};
use super::super::{Buffer, ClientOp, ClientParser, Limits, Malformed, Parsed};
use super::{client, client_stream, connected, publish, refused};

#[test]
fn r1_verbs_are_read_in_any_letter_case() {
    assert_eq!(
        client(b"pUb a 2\r\nhi\r\n"),
        publish(b"a", None, None, b"hi")
    );
    assert_eq!(
        client(b"hpub a 0 2\r\nhi\r\n"),
        publish(b"a", None, Some(b""), b"hi")
    );
    assert_eq!(client(b"ping\r\n"), ClientOp::Ping);
    assert_eq!(client(b"Pong\r\n"), ClientOp::Pong);
    assert_eq!(client(b"+ok\r\n"), ClientOp::Ok);
    assert_eq!(client(b"-err x\r\n"), ClientOp::Err { text: b"x" });
    assert_eq!(client(b"info {}\r\n"), ClientOp::Info { json: b"{}" });
    assert_eq!(
        client(b"unsub 1\r\n"),
        ClientOp::Unsubscribe {
            sid: b"1",
            max: None
        }
    );
}

#[test]
fn r1_a_wrong_byte_is_malformed_at_once() {
    for (stream, len) in [
        (&b"X"[..], 1),
        (b"R", 1),
        (b"L", 1),
        (b"A", 1),
        (b"M", 1),
        (b"\r", 1),
        (b"PX", 2),
        (b"PUX", 3),
        (b"PUBx", 4),
        (b"PINX", 4),
        (b"SUB\r", 4),
        (b"UNSUB\n", 6),
        (b"HPUBS", 5),
        (b"CONNECX", 7),
        (b"-ERR'", 5),
    ] {
        assert_eq!(
            refused(stream),
            Malformed::UnknownOperation { len },
            "{}",
            stream.escape_ascii()
        );
        assert_eq!(refused(stream).forward(stream), stream);
    }
}

#[test]
fn r1_a_prefix_of_a_verb_needs_more() {
    for stream in [
        "", "P", "PU", "PUB", "PUB ", "h", "HPUB", "s", "UNSUB", "CONNECT", "+O", "-ERR",
    ] {
        let (ops, end) = client_stream(stream.as_bytes());
        assert!(ops.is_empty() && end.is_ok(), "{stream}");
    }
}

#[test]
fn r2_runs_of_blanks_and_tabs_separate_arguments() {
    let stream = b"PUB \t a\t \tr  2 \t\r\nhi\r\n";
    assert_eq!(client(stream), publish(b"a", Some(b"r"), None, b"hi"));
    let sub = ClientOp::Subscribe {
        subject: b"a",
        queue: Some(b"q"),
        sid: b"1",
    };
    assert_eq!(client(b"SUB\ta  q\t1\t\n"), sub);
}

#[test]
fn r2_bare_line_feeds_end_control_lines_but_not_bodies() {
    assert_eq!(client(b"PUB a 2\nhi\r\n"), publish(b"a", None, None, b"hi"));
    assert_eq!(client(b"PING\n"), ClientOp::Ping);
    assert_eq!(refused(b"PUB a 2\r\nhi\n"), Malformed::Trailer);
    assert_eq!(refused(b"PUB a 2\r\nhi\rx"), Malformed::Trailer);
}

#[test]
fn r2_a_wrong_trailer_is_malformed_before_the_second_byte_of_it() {
    let mut parser = connected();
    assert_eq!(
        parser.next(b"PUB a 2\r\nh"),
        Ok(Parsed::Incomplete { need: 13 })
    );
    assert_eq!(parser.next(b"PUB a 2\r\nhi!"), Err(Malformed::Trailer));
}

#[test]
fn r2_connect_needs_no_blank_and_bare_verbs_swallow_the_rest_of_the_line() {
    assert_eq!(client(b"CONNECT{}\r\n"), ClientOp::Connect { json: b"{}" });
    assert_eq!(
        client(b"CONNECT \t{} \r\n"),
        ClientOp::Connect { json: b"{} " }
    );
    assert_eq!(client(b"PING junk\r\r\n"), ClientOp::Ping);
    assert_eq!(client(b"PONGjunk\n"), ClientOp::Pong);
    assert_eq!(client(b"+OK?\n"), ClientOp::Ok);
}

#[test]
fn r2_a_carriage_return_in_mid_argument_is_malformed() {
    for stream in [
        &b"PUB a\r 2\r\n"[..],
        b"SUB a 1\r\r\n",
        b"CONNECT {\r}\r\n",
        b"INFO \r{}\n",
        b"-ERR \rx",
    ] {
        let malformed = refused(stream);
        assert_eq!(malformed, Malformed::CarriageReturn);
    }
    assert_eq!(&*Malformed::CarriageReturn.forward(b"PUB a\r 2\r\n"), b"X");
    assert_eq!(
        &*Malformed::CarriageReturn.forward(b"connect {\r}\r\n"),
        b"CX"
    );
}

#[test]
fn r2_the_first_byte_of_an_argument_never_ends_the_line() {
    assert_eq!(
        client(b"PUB \na 2\r\nhi\r\n"),
        publish(b"\na", None, None, b"hi")
    );
    assert_eq!(
        client(b"CONNECT \n{}\r\n"),
        ClientOp::Connect { json: b"\n{}" }
    );
    let sub = ClientOp::Subscribe {
        subject: b"a",
        queue: None,
        sid: b"1",
    };
    assert_eq!(client(b"SUB \na 1\r\n"), sub);
    assert_eq!(refused(b"PUB \r\n"), Malformed::Arguments { len: 6 });
}

#[test]
fn r2_messages_from_a_client_are_malformed() {
    assert_eq!(
        refused(b"MSG a 1 0\r\n\r\n"),
        Malformed::UnknownOperation { len: 1 }
    );
    assert_eq!(refused(b"HM"), Malformed::ServerVerb);
    assert_eq!(&*Malformed::ServerVerb.forward(b"HMSG a 1 0 0\r\n"), b"X");
}

#[test]
fn r3_sizes_have_one_to_nine_digits_and_may_begin_with_zeros() {
    assert_eq!(
        client(b"PUB a 000000002\r\nhi\r\n"),
        publish(b"a", None, None, b"hi")
    );
    for size in ["0000000002", "-1", "+1", "2x", "x", "0x2"] {
        let stream = format!("PUB a {size}\r\nhi\r\n");
        let len = stream.len() - 4;
        assert_eq!(refused(stream.as_bytes()), Malformed::Arguments { len });
    }
}

#[test]
fn r3_hpub_with_an_empty_header_is_legal() {
    assert_eq!(
        client(b"HPUB a 0 5\r\nhello\r\n"),
        publish(b"a", None, Some(b""), b"hello")
    );
    assert_eq!(
        client(b"HPUB a r 0 0\r\n\r\n"),
        publish(b"a", Some(b"r"), Some(b""), b"")
    );
}

#[test]
fn r3_sizes_are_kept_and_written_as_the_client_wrote_them() {
    for (stream, canonical) in [
        ("PUB a 0002\r\nhi\r\n", "PUB a 0002\r\n"),
        ("pub\ta 0002\nhi\r\n", "PUB a 0002\r\n"),
        ("HPUB a r 01 003\r\n!hi\r\n", "HPUB a r 01 003\r\n"),
        ("HPUB a\t00\t02 \r\nhi\r\n", "HPUB a 00 02 \r\n"),
    ] {
        let mut parser = connected();
        let Ok(Parsed::Op {
            op: ClientOp::Publish(publish),
            ..
        }) = parser.next(stream.as_bytes())
        else {
            panic!("{stream} is a publish");
        };
        let line = PublishLine {
            subject: publish.subject,
            reply: publish.reply,
            header_size: publish.header_size,
            size: publish.size,
            arg_len: parser.arg_len(),
        };
        let mut out = Buffer::new();
        write::publish(&mut out, &line);
        assert_eq!(out.filled(), canonical.as_bytes());
    }
}

#[test]
fn r3_hpub_with_nothing_but_a_header_is_legal() {
    let stream = b"HPUB a 12 12\r\nNATS/1.0\r\n\r\n\r\n";
    assert_eq!(
        client(stream),
        publish(b"a", None, Some(b"NATS/1.0\r\n\r\n"), b"")
    );
}

#[test]
fn r3_hpub_header_longer_than_total_is_malformed() {
    assert_eq!(refused(b"HPUB a 6 5\r\n"), Malformed::Arguments { len: 12 });
}

#[test]
fn r4_an_argument_part_at_the_limit_passes_and_one_byte_more_is_malformed() {
    let limit = Limits::default().max_control_line;
    let sid = "1".repeat(limit - 2);
    assert!(matches!(
        client(format!("SUB a {sid}\r\n").as_bytes()),
        ClientOp::Subscribe { .. }
    ));
    let long = format!("SUB aa {sid}\r\n");
    let malformed = refused(long.as_bytes());
    assert_eq!(
        malformed,
        Malformed::ControlLineTooLong {
            len: long.len() - 2
        }
    );
    assert_eq!(
        &*malformed.forward(long.as_bytes()),
        long.trim_end().as_bytes()
    );
}

#[test]
fn r4_an_unfinished_line_beyond_the_limit_is_malformed() {
    let line = [&b"CONNECT {"[..], &[b'x'; 65_536]].concat();
    assert_eq!(
        refused(&line),
        Malformed::ControlLineTooLong { len: line.len() }
    );
}

#[test]
fn r4_endless_blanks_and_filling_are_malformed() {
    let blanks = [&b"SUB"[..], &[b' '; 65_537]].concat();
    assert_eq!(refused(&blanks), Malformed::EndlessFilling);
    let filling = [&b"PING"[..], &[b'x'; 65_537]].concat();
    assert_eq!(refused(&filling), Malformed::EndlessFilling);
}

#[test]
fn r4_a_line_that_was_shortened_is_filled_up_to_its_own_length() {
    let stream = b"SUB  a \t  1   \r\n";
    let mut parser = connected();
    assert!(matches!(parser.next(stream), Ok(Parsed::Op { .. })));
    assert_eq!(parser.arg_len(), b"a \t  1   ".len());
    let mut out = Buffer::new();
    write::subscribe(&mut out, b"a", None, b"1", parser.arg_len());
    assert_eq!(out.filled(), b"SUB a 1      \r\n");
}

#[test]
fn r4_growth_of_a_size_uses_the_blanks_that_were_dropped() {
    let mut out = Buffer::new();
    let line = PublishLine {
        subject: b"a",
        reply: None,
        header_size: None,
        size: b"147",
        arg_len: b"a  99".len(),
    };
    write::publish(&mut out, &line);
    assert_eq!(out.filled(), b"PUB a 147\r\n");
}

#[test]
fn r5_wrong_arguments_are_forwarded_verbatim_for_the_server_to_close() {
    for stream in [
        "PUB a\r\n",
        "PUB a b c 1\n",
        "HPUB a 1\r\n",
        "SUB a\r\n",
        "SUB a b c d\r\n",
        "UNSUB \t\r\n",
        "UNSUB 1 2 3\r\n",
    ] {
        let malformed = refused(stream.as_bytes());
        assert_eq!(malformed, Malformed::Arguments { len: stream.len() });
        let behind = [stream.as_bytes(), b"PUB secret 1\r\n"].concat();
        assert_eq!(&*malformed.forward(&behind), stream.as_bytes());
    }
}

#[test]
fn r5_hpub_without_negotiated_headers_is_malformed() {
    let mut parser = ClientParser::new(Limits::default());
    assert_eq!(
        parser.next(b"HPUB a 0 0\r\n"),
        Err(Malformed::Arguments { len: 12 })
    );
}

#[test]
fn r6_max_payload_counts_headers_and_is_judged_at_the_end_of_the_line() {
    assert_eq!(
        refused(b"PUB a 101\r\n"),
        Malformed::PayloadTooLarge { len: 11 }
    );
    assert_eq!(
        refused(b"HPUB a 90 101\r\n"),
        Malformed::PayloadTooLarge { len: 15 }
    );
    assert!(client_stream(b"PUB a 100\r\n").1.is_ok());
}

#[test]
fn r6_no_limit_accepts_every_size() {
    let mut parser = connected();
    parser.set_max_payload(None);
    assert_eq!(
        parser.next(b"PUB a 999999999\r\n"),
        Ok(Parsed::Incomplete {
            need: 1_000_000_018
        })
    );
}

#[test]
fn r9_unsub_keeps_whatever_stands_for_its_maximum() {
    let unsub = ClientOp::Unsubscribe {
        sid: b"x-1",
        max: Some(b"abc"),
    };
    assert_eq!(client(b"UNSUB x-1 abc\r\n"), unsub);
}

#[test]
fn r15_payloads_are_opaque() {
    assert_eq!(
        client(b"PUB a 13\r\n\r\nPING\r\nPUB x\r\n"),
        publish(b"a", None, None, b"\r\nPING\r\nPUB x")
    );
}

#[test]
fn a_body_that_is_not_whole_needs_exactly_its_end() {
    let mut parser = connected();
    assert_eq!(
        parser.next(b"PUB a 5\r\n"),
        Ok(Parsed::Incomplete { need: 16 })
    );
    assert_eq!(
        parser.next(b"PUB a 5\r\nhello\r"),
        Ok(Parsed::Incomplete { need: 16 })
    );
    assert!(matches!(
        parser.next(b"PUB a 5\r\nhello\r\n"),
        Ok(Parsed::Op { len: 16, .. })
    ));
}

#[test]
fn operations_come_one_after_the_other() {
    let (ops, end) = client_stream(b"PING\r\nPUB a 0\r\n\r\nPONG\r\nX");
    assert_eq!(
        ops,
        [
            ClientOp::Ping,
            publish(b"a", None, None, b""),
            ClientOp::Pong
        ]
    );
    assert_eq!(end, Err(Malformed::UnknownOperation { len: 1 }));
}
