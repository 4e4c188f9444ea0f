//! Direct gets: requests, and what the server appends to a stored message's headers. The blocks are those of nats-server 2.12.8,
//! 2.14.6 and 2.15.1.

use std::num::NonZeroU64;

use proptest::prelude::*;

use super::super::Buffer;
use super::super::header::direct_get_headers;
use super::super::jetstream::{batch, direct_get};

const SINGLE: &str = "Nats-Stream: S\r\nNats-Subject: k.guest\r\nNats-Sequence: 3\r\nNats-Time-Stamp: 2026-11-29T15:00:46.726818343Z\r\n";
const BATCH: &str = "Nats-Num-Pending: 12\r\nNats-Last-Sequence: 2\r\n";

/// Stream, subject and sequence.
type Says<'a> = (&'a [u8], &'a [u8], u64);

const GUEST: Option<Says<'static>> = Some((b"S", b"k.guest", 3));

fn says(block: &[u8]) -> Option<Says<'_>> {
    let written = direct_get_headers(block)?;
    Some((written.stream, written.subject, written.sequence))
}

/// The header block of a response for a message that is stored with `stored`.
fn answered(stored: &[u8], appended: &str) -> Vec<u8> {
    let cut = stored.len().saturating_sub(2);
    let stored = if cut == 0 {
        b"NATS/1.0\r\n"
    } else {
        &stored[..cut]
    };
    [stored, appended.as_bytes(), b"\r\n"].concat()
}

#[test]
fn headers_that_the_server_appended_say_which_message_it_is() {
    let batch = [SINGLE, BATCH].concat();
    for stored in ["", "NATS/1.0\r\n\r\n", "NATS/1.0\r\nA: b\r\n\r\n"] {
        for appended in [SINGLE, &batch] {
            let block = answered(stored.as_bytes(), appended);
            assert_eq!(says(&block), GUEST);
        }
    }
    for time in ["2026-11-29T15:00:46Z", "2026-11-29T15:00:46.7Z"] {
        let block = answered(b"", &SINGLE.replace("2026-11-29T15:00:46.726818343Z", time));
        assert_eq!(says(&block), GUEST, "{time}");
    }
}

#[test]
fn headers_that_the_server_appended_say_what_is_left_and_how_long_the_stored_ones_are() {
    let batch = [SINGLE, BATCH].concat();
    for stored in ["", "NATS/1.0\r\nA: b\r\n\r\n", "NATS/1.0\r\nA: b\r\nx"] {
        for (appended, pending) in [(SINGLE, None), (&*batch, Some(12))] {
            let block = answered(stored.as_bytes(), appended);
            let written = direct_get_headers(&block).unwrap();
            let found = (written.stored_len, written.pending);
            assert_eq!(found, (stored.len(), pending), "{stored:?}");
        }
    }
}

#[test]
fn headers_that_a_publisher_wrote_are_not_taken_for_the_servers() {
    let admin = SINGLE.replace("guest", "admin").replace(": 3", ": 99");
    let tricks = [
        format!("NATS/1.0\r\n{admin}\r\n"),
        format!("NATS/1.0\r\n{admin}{BATCH}\r\n"),
        // The server cuts two bytes off, so that one line becomes two or two become one.
        format!("NATS/1.0\r\n{admin}"),
        format!("NATS/1.0\r\n{admin}\r"),
        format!("NATS/1.0\r\n{admin}{BATCH}Nats-Stream: Tx"),
        format!("NATS/1.0\r\n{admin}\r\n{BATCH}"),
        format!("NATS/1.0\r\n\r\n{admin}\r\n"),
        format!("NATS/1.0\r\nA: b{admin}Nats-Stream: "),
        format!("NATS/1.0\n{}\n", admin.replace("\r\n", "\n")),
        format!("NATS/1.0\r{}\r", admin.replace("\r\n", "\r")),
        format!("hello {admin}"),
        "NATS/1.0\r\nNats-Subject: k.admin\r\n\r\n".to_owned(),
        "NATS/1.0\r\nnats-subject: k.admin\r\nNats-Subject:k.admin\r\n\r\n".to_owned(),
        "x".to_owned(),
    ];
    for stored in tricks {
        for appended in [SINGLE.to_owned(), [SINGLE, BATCH].concat()] {
            let block = answered(stored.as_bytes(), &appended);
            assert_eq!(says(&block), GUEST, "{stored:?}");
        }
    }
}

#[test]
fn headers_that_the_server_does_not_write_so_say_nothing() {
    let good = format!("NATS/1.0\r\n{SINGLE}{BATCH}\r\n");
    assert_eq!(says(good.as_bytes()), GUEST);
    let wrong = [
        ("Nats-Subject: k", "Nats-Subject:k"),
        ("Nats-Subject: k", "Nats-Subject:  k"),
        ("Nats-Subject: k", "nats-subject: k"),
        ("Nats-Subject: k", "XNats-Subject: k"),
        ("k.guest", ""),
        ("k.guest", "k guest"),
        ("k.guest", "k\nguest"),
        ("k.guest\r\n", "k.guest\r\nA: b\r\n"),
        ("k.guest\r\n", "k.guest\n"),
        ("Sequence: 3", "Sequence: 03"),
        ("Sequence: 3", "Sequence: -3"),
        ("Sequence: 3", "Sequence: +3"),
        ("Sequence: 3", "Sequence: 99999999999999999999"),
        ("Nats-Stream: S", "Nats-Stream: S T"),
        ("Nats-Stream: S", "Nats-Stream:S"),
        ("2026-11", "2026/11"),
        ("2026", "26"),
        ("343Z", "343"),
        ("343Z", "340Z"),
        (".726818343Z", ".Z"),
        (".726818343Z", "+00:00"),
        ("Nats-Num-Pending: 12\r\n", ""),
        ("Nats-Last-Sequence: 2\r\n", ""),
        (
            "Nats-Last-Sequence: 2\r\n",
            "Nats-Last-Sequence: 2\r\nA: b\r\n",
        ),
        ("Nats-Last-Sequence: 2", "Nats-Last-Sequence: x"),
        ("2\r\n\r\n", "2\r\n"),
        ("2\r\n\r\n", "2\r\n\r\n\r\n"),
        ("2\r\n\r\n", "2\n\r\n"),
    ];
    for (from, to) in wrong {
        let block = good.replacen(from, to, 1);
        assert_ne!(block, good, "{from:?}");
        assert_eq!(says(block.as_bytes()), None, "{block:?}");
    }
    let status = &b"NATS/1.0 204 EOB\r\nNats-Num-Pending: 12\r\nNats-Last-Sequence: 3\r\n\r\n"[..];
    for block in [
        status,
        b"NATS/1.0 404 Message Not Found\r\n\r\n",
        b"",
        b"\r\n",
    ] {
        assert_eq!(says(block), None);
    }
}

#[test]
fn direct_get_asks_for_headers_and_knows_who_did_not_want_them() {
    let asked = |body: &str| {
        let mut out = Buffer::new();
        let edited = direct_get(body.as_bytes(), 48, &mut out);
        assert_eq!(edited.changed, !out.is_empty());
        let text = String::from_utf8(out.filled().to_vec()).unwrap();
        (edited.changed.then_some(text), edited.without_headers)
    };
    let table = [
        (
            r#"{"seq":1,"no_hdr":true}"#,
            r#"{"seq":1,"no_hdr":false}"#,
            true,
        ),
        (
            r#"{"no_hdr" : true , "batch":2,"max_bytes":5}"#,
            r#"{"no_hdr" : false , "batch":2,"max_bytes":101}"#,
            true,
        ),
        (
            r#"{"max_bytes":5,"No\u005fhdr":true,"NO_HDR":true}"#,
            r#"{"max_bytes":53,"No\u005fhdr":false,"NO_HDR":false}"#,
            true,
        ),
        (
            r#"{"no_hdr":true,"NO_HDR":null}"#,
            r#"{"no_hdr":false,"NO_HDR":null}"#,
            true,
        ),
        (
            r#"{"no_hdr":true,"NO_HDR":false}"#,
            r#"{"no_hdr":false,"NO_HDR":false}"#,
            false,
        ),
        // The server sends these with headers in any case.
        (
            r#"{"multi_last":["a"],"no_hdr":true}"#,
            r#"{"multi_last":["a"],"no_hdr":false}"#,
            false,
        ),
    ];
    for (body, changed, without_headers) in table {
        assert_eq!(
            asked(body),
            (Some(changed.to_owned()), without_headers),
            "{body}"
        );
    }
    for body in [
        "",
        "{}",
        r#"{"seq":1}"#,
        r#"{"no_hdr":false}"#,
        r#"{"no_hdr":1}"#,
        r#"{"x":{"no_hdr":true}}"#,
        "[true]",
    ] {
        assert_eq!(asked(body), (None, false), "{body}");
    }
}

#[test]
fn direct_get_of_many_has_room_for_the_envelopes_of_the_smallest_messages_within_bounds() {
    let asked = |batch: u64, max_bytes: u64| {
        let body = format!("{{\"batch\":{batch},\"max_bytes\":{max_bytes}}}");
        let mut out = Buffer::new();
        assert!(direct_get(body.as_bytes(), 48, &mut out).changed);
        let text = String::from_utf8(out.filled().to_vec()).unwrap();
        let number = text.rsplit(':').next().unwrap().trim_end_matches('}');
        number.parse::<u64>().unwrap() - max_bytes
    };
    assert_eq!(asked(10, 1000), 10 * 48);
    assert_eq!(asked(1_000_000, 1000), 501 * 48);
    assert_eq!(asked(1_000_000, 100_000), 21_845 * 48);
    // Messages of 40 bytes and more fit, whatever is asked for.
    assert_eq!(asked(1_000_000, 4_000_000), 100_001 * 48);
}

#[test]
fn direct_get_of_one_message_is_no_batch() {
    let table = [
        (r#"{"seq":1,"max_bytes":9}"#, None),
        (r#"{"last_by_subj":"a","batch":0}"#, None),
        (r#"{"seq":1,"batch":2}"#, Some((None, false))),
        (
            r#"{"seq":1,"batch":1,"max_bytes":9,"no_hdr":true}"#,
            Some((Some(9), true)),
        ),
        (
            r#"{"multi_last":["a"],"max_bytes":9,"no_hdr":true}"#,
            Some((Some(9), false)),
        ),
        (
            r#"{"multi_last":["a"],"max_bytes":-9}"#,
            Some((None, false)),
        ),
        ("", None),
    ];
    for (body, expected) in table {
        let found = batch(body.as_bytes());
        let found =
            found.map(|batch| (batch.max_bytes.map(NonZeroU64::get), batch.without_headers));
        assert_eq!(found, expected, "{body}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_stored_the_servers_own_headers_are_found(
        pieces in prop::collection::vec(prop::sample::select(PIECES), 0..9),
        batch in any::<bool>(),
    ) {
        let appended = if batch { [SINGLE, BATCH].concat() } else { SINGLE.to_owned() };
        let block = answered(pieces.concat().as_bytes(), &appended);
        prop_assert_eq!(says(&block), GUEST);
    }
}

const PIECES: &[&str] = &[
    "NATS/1.0\r\n",
    "Nats-Stream: S\r\n",
    "Nats-Stream: ",
    "Nats-Subject: k.admin\r\n",
    "Nats-Sequence: 9\r\n",
    "Nats-Time-Stamp: 2026-11-29T15:00:46Z\r\n",
    "Nats-Num-Pending: 1\r\n",
    "Nats-Last-Sequence: 2\r\n",
    "\r\n",
    "\r",
    "\n",
    " ",
    "x",
];
