//! Promise: what a client sees through the relay equals what it sees on the server itself, byte for byte.
//!
//! A table of scripted sessions, valid and hostile, is played against the server and through the gateway, whole and cut in two at
//! every byte, and the answers are compared.
//!
//! One difference is known and meant: a control line that never ends is killed when it outgrows the gateway's limit of 64 KiB, not
//! already at the server's, which the gateway cannot know.
//!
//! A sealing gateway must give the same answers too, but for two that no gateway could give. Envelopes take room, so it lowers the
//! payload limit that it announces. And a size may have nine digits, leading zeros counted: one that is written with so many zeros
//! that the larger size of the envelope has too few digits left loses a zero for good.

#![expect(
    clippy::indexing_slicing,
    reason = "a test stops at the first thing that is not as expected"
)]

use keyway_tests::gateway::Settings;
use keyway_tests::raw_client::RawClient;
use keyway_tests::session::{self, Answer, SERVERS, Session, play};
use keyway_tests::{Gateway, NatsServer, frame};
use std::net::SocketAddr;

/// One server per configuration that sessions ask for.
fn servers() -> Vec<NatsServer> {
    SERVERS
        .iter()
        .map(|text| NatsServer::configured(text))
        .collect()
}

/// A gateway before each of the servers.
fn gateways(servers: &[NatsServer], settings: &Settings) -> Vec<Gateway> {
    servers
        .iter()
        .map(|server| Gateway::start(&server.url(), settings.clone()))
        .collect()
}

/// Scripts longer than this are cut in a few places only.
const LONG: usize = 4096;

/// The splits of a script: none, then in two at every byte, then into single bytes.
fn cuts(session: &Session) -> Vec<Vec<usize>> {
    let end = session.script.len();
    let (stride, bytes) = if end > LONG {
        (LONG, Vec::new())
    } else {
        (1, (1..end).collect())
    };
    let halves = (session.cut_from..end).step_by(stride).map(|at| vec![at]);
    [Vec::new()]
        .into_iter()
        .chain(halves)
        .chain([bytes])
        .collect()
}

/// How the answers at `addr` differ from `expected`, for each split. Plays run one after another, as they share subjects.
fn differences(
    addr: SocketAddr,
    session: &Session,
    cuts: &[Vec<usize>],
    expected: &Answer,
) -> Vec<String> {
    let answers = cuts.iter().map(|cuts| (cuts, play(addr, session, cuts)));
    answers
        .filter_map(|(cuts, answer)| describe(session, cuts, expected, &answer))
        .take(2) // enough to see what is wrong
        .collect()
}

fn describe(
    session: &Session,
    cuts: &[usize],
    expected: &Answer,
    answer: &Answer,
) -> Option<String> {
    let cut = match cuts {
        [] => "whole".to_owned(),
        [at] => format!("cut at {at}"),
        _ => "byte by byte".to_owned(),
    };
    let script = session.script.escape_ascii();
    (expected != answer).then(|| {
        format!(
            "{} ({cut})\n  sent {script}\n  server  {expected:?}\n  gateway {answer:?}",
            session.name
        )
    })
}

/// Fails with the first few differences.
fn assert_none(differences: &[String]) {
    let shown = differences
        .iter()
        .take(12)
        .map(String::as_str)
        .collect::<Vec<_>>()
        .join("\n");
    assert!(
        differences.is_empty(),
        "{} differences, among them:\n{shown}",
        differences.len()
    );
}

fn compare(
    settings: &Settings,
    include: impl Fn(&Session) -> bool,
    cuts: impl Fn(&Session) -> Vec<Vec<usize>>,
) {
    let servers = servers();
    let gateways = gateways(&servers, settings);
    let mut found = Vec::new();
    for session in session::all().iter().filter(|session| include(session)) {
        let expected = play(servers[session.server].addr(), session, &[]);
        let here = differences(
            gateways[session.server].addr(),
            session,
            &cuts(session),
            &expected,
        );
        found.extend(here);
    }
    assert_none(&found);
}

#[test]
fn the_server_answers_every_session_the_same_each_time() {
    let servers = servers();
    let mut found = Vec::new();
    for session in &session::all() {
        let addr = servers[session.server].addr();
        let expected = play(addr, session, &[]);
        found.extend(differences(
            addr,
            session,
            &[vec![], vec![session.script.len() / 2], vec![]],
            &expected,
        ));
    }
    assert_none(&found);
}

#[test]
fn the_relay_answers_every_session_as_the_server_does_however_it_is_split() {
    compare(
        &Settings {
            relay_only: true,
            ..Settings::default()
        },
        |_| true,
        cuts,
    );
}

#[test]
fn the_sealing_gateway_answers_every_session_as_the_server_does_however_it_is_split() {
    compare(&Settings::default(), |session| !session.relay_only, cuts);
}

/// The server's own trace message has two spaces before the size, and a body that differs from run to run.
#[test]
fn a_trace_comes_through_the_relay_as_the_server_spells_it() {
    let server = NatsServer::start();
    let settings = Settings {
        relay_only: true,
        ..Settings::default()
    };
    let gateway = Gateway::start(&server.url(), settings);
    let spellings = [server.addr(), gateway.addr()].map(|addr| {
        let mut raw = RawClient::handshake(addr, "\"headers\":true");
        raw.send(b"SUB trace 1\r\nHPUB a 36 36\r\nNATS/1.0\r\nNats-Trace-Dest: trace\r\n\r\n\r\n");
        raw.until("the trace", |bytes| {
            frame::split_frames(bytes)
                .0
                .iter()
                .any(|frame| frame.verb() == "MSG")
        });
        let frames = raw.frames();
        let trace = frames.iter().find(|frame| frame.verb() == "MSG").unwrap();
        let size = trace.body.len().to_string();
        trace.line.strip_suffix(&size).unwrap().to_owned()
    });
    assert_eq!(spellings, ["MSG trace 1  ", "MSG trace 1  "]);
}
