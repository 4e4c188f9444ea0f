//! A client sees the same over TLS as on the server over TLS.

use super::*;
use keyway_tests::session::{self, End, SERVERS, Session, play_via};
use std::fmt::Write as _;
use std::net::SocketAddr;

/// The maximum plaintext of a TLS record.
const RECORD: usize = 16 * 1024;

/// Plays every session on the server itself and through the gateway, over TLS on both sides.
pub(super) fn compare(mode: &Mode, via: impl Fn(&TlsFixture) -> TlsMode) {
    let fixture = TlsFixture::new();
    let via = via(&fixture);
    let servers = SERVERS.iter().map(|text| fixture.server(mode, text));
    let servers: Vec<_> = servers.collect();
    let gateways = servers.iter().map(|server| fixture.gateway(mode, server));
    let gateways: Vec<_> = gateways.collect();
    let directly: Vec<_> = servers.iter().map(NatsServer::addr).collect();
    let through: Vec<_> = gateways.iter().map(Gateway::addr).collect();
    same((&directly, &through), &via);
}

/// Plays every session on these servers and through these gateways, whole and split in two; fails where the answers differ.
pub(super) fn same((directly, through): (&[SocketAddr], &[SocketAddr]), via: &TlsMode) {
    let mut found = String::new();
    let sessions = session::all();
    // The server resets a connection with further unread records, by which its last error may be lost.
    let heard = |session: &&Session| session.end != End::Closed || session.script.len() < RECORD;
    let included = |session: &&Session| !session.relay_only && heard(session);
    for session in sessions.iter().filter(included) {
        let expected = play_via(directly[session.server], session, &[], via);
        let half = [session.script.len() / 2];
        for cuts in [&[][..], &half] {
            let answer = play_via(through[session.server], session, cuts, via);
            if answer != expected {
                let name = session.name;
                writeln!(
                    found,
                    "{name} {cuts:?}\n  server  {expected:?}\n  gateway {answer:?}"
                )
                .unwrap();
            }
        }
    }
    assert!(found.is_empty(), "{found}");
}

#[test]
fn sessions_are_the_server_s_own_with_tls_after_info() {
    compare(&AFTER_INFO, |fixture| TlsMode::AfterInfo(fixture.client()));
}

#[test]
fn sessions_are_the_server_s_own_with_the_handshake_first() {
    compare(&FIRST, |fixture| TlsMode::First(fixture.client()));
}

#[test]
fn sessions_are_the_server_s_own_where_the_client_may_begin_and_does() {
    compare(&AUTOMATIC, |fixture| TlsMode::First(fixture.client()));
}

#[test]
fn sessions_are_the_server_s_own_with_optional_tls_that_is_used() {
    compare(&OPTIONAL, |fixture| TlsMode::AfterInfo(fixture.client()));
}

#[test]
fn sessions_are_the_server_s_own_with_optional_tls_that_is_not_used() {
    compare(&OPTIONAL, |_scene| TlsMode::Plain);
}

#[test]
fn sessions_are_the_server_s_own_with_certificates_of_clients() {
    compare(&VERIFIED, |fixture| TlsMode::AfterInfo(fixture.client()));
}
