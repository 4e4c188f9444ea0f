//! Tests of the protocol's rules, and of the parsers against the reference parser.

mod agree;
mod ambiguity;
mod api_text;
mod deliver;
mod direct_get;
mod greeting;
mod jetstream;
mod parts;
mod publish;
mod server_json;
mod subject_uses;

use super::{
    ClientOp, ClientParser, Limits, Malformed, Message, Parsed, Publish, ServerOp, ServerParser,
};

/// A parser after a CONNECT with headers, and with a `max_payload` of 100.
fn connected() -> ClientParser {
    let mut parser = ClientParser::new(Limits::default());
    parser.set_headers(true);
    parser.set_max_payload(Some(100));
    parser
}

/// Every operation of a client's stream, and the error at its end, if any.
fn client_stream(stream: &[u8]) -> (Vec<ClientOp<'_>>, Result<(), Malformed>) {
    let mut parser = connected();
    let (mut ops, mut rest) = (Vec::new(), stream);
    loop {
        match parser.next(rest) {
            Ok(Parsed::Op { op, len }) => {
                ops.push(unsized_op(op));
                rest = &rest[len..];
            }
            Ok(Parsed::Incomplete { .. }) => return (ops, Ok(())),
            Err(malformed) => return (ops, Err(malformed)),
        }
    }
}

/// A publish without its size digits, which are checked here; other tests check how they are spelt.
fn unsized_op(op: ClientOp<'_>) -> ClientOp<'_> {
    let ClientOp::Publish(publish) = op else {
        return op;
    };
    let number = |digits: &[u8]| String::from_utf8_lossy(digits).parse::<usize>().unwrap();
    let headers = publish.headers.unwrap_or_default();
    let body = [headers, publish.payload].concat();
    let header_len = publish.headers.map(<[u8]>::len);
    assert_eq!(publish.header_size.map(number), header_len);
    assert_eq!(number(publish.size), body.len());
    ClientOp::Publish(Publish {
        header_size: None,
        size: b"",
        ..publish
    })
}

/// The only operation of a client's stream.
fn client(stream: &[u8]) -> ClientOp<'_> {
    let (ops, end) = client_stream(stream);
    assert_eq!((ops.len(), end), (1, Ok(())), "{}", stream.escape_ascii());
    ops[0]
}

/// Why a client's stream is refused at its first operation.
fn refused(stream: &[u8]) -> Malformed {
    let (ops, end) = client_stream(stream);
    assert!(ops.is_empty(), "{ops:?}");
    end.expect_err("accepted")
}

/// The only operation of a server's stream; a message without its line, which is checked here.
fn server(stream: &[u8]) -> ServerOp<'_> {
    match ServerParser::new(Limits::default()).next(stream) {
        Ok(Parsed::Op {
            op: ServerOp::Message(message),
            len,
        }) => {
            let headers = message.headers.unwrap_or_default();
            let whole = [message.line, headers, message.payload, b"\r\n"].concat();
            assert_eq!((&whole[..], len), (stream, stream.len()));
            ServerOp::Message(Message {
                line: b"",
                ..message
            })
        }
        Ok(Parsed::Op { op, len }) if len == stream.len() => op,
        other => panic!("{other:?} for {}", stream.escape_ascii()),
    }
}

/// Why a server's stream is refused.
fn server_refused(stream: &[u8]) -> Malformed {
    ServerParser::new(Limits::default())
        .next(stream)
        .expect_err("accepted")
}

fn publish<'a>(
    subject: &'a [u8],
    reply: Option<&'a [u8]>,
    headers: Option<&'a [u8]>,
    payload: &'a [u8],
) -> ClientOp<'a> {
    ClientOp::Publish(Publish {
        subject,
        reply,
        header_size: None,
        size: b"",
        headers,
        payload,
    })
}

const fn message<'a>(
    subject: &'a [u8],
    sid: &'a [u8],
    reply: Option<&'a [u8]>,
    headers: Option<&'a [u8]>,
    payload: &'a [u8],
) -> ServerOp<'a> {
    ServerOp::Message(Message {
        line: b"",
        subject,
        sid,
        reply,
        headers,
        payload,
    })
}
