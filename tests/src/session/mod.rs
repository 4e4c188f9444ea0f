//! Scripted sessions for the differential test: bytes to send, how the session ends, and how answers are made comparable.

mod table;

pub use table::all;

use crate::frame::{self, Frame};
use crate::raw_client::{RawClient, TlsMode, WaitOutcome};
use serde_json::Value;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// A session: what a client sends after INFO, and what completes the answer.
#[derive(Clone, Debug)]
pub struct Session {
    /// What it shows, for failure messages.
    pub name: &'static str,
    /// Which of the [`SERVERS`] it is for.
    pub server: usize,
    /// The bytes to send.
    pub script: Vec<u8>,
    /// Where the split positions begin: sessions share their first bytes.
    pub cut_from: usize,
    /// How it ends.
    pub end: End,
    /// Whether a sealing gateway cannot answer it as the server does, for a reason in `tests/tests/clients/differential.rs`.
    pub relay_only: bool,
}

/// What completes the answer to a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The server has answered this many PINGs.
    Pongs(usize),
    /// The server closes the connection.
    Closed,
}

/// The configurations of the servers.
pub const SERVERS: &[&str] = &[
    "max_payload: 1024",
    "max_payload: 1024\nauthorization { users = [ \
     { user: ada, password: secret, permissions: { publish: { deny: \"no.>\" }, subscribe: { deny: \"no.>\" } } } ] }",
    "max_payload: 1024\nmax_subscriptions: 2\nmax_control_line: 512",
];

/// The answer to a session, without what differs from run to run.
#[derive(Debug, PartialEq, Eq)]
pub struct Answer {
    /// One line per operation.
    pub lines: Vec<String>,
    /// How the session ended.
    pub end: WaitOutcome,
}

/// After this silence nothing more is expected from a server.
const PATIENCE: Duration = Duration::from_secs(5);

/// The queue group in scripts, replaced by a fresh one in each play: the server may not yet have noticed the end of the play
/// before, and would go on delivering to its member.
const GROUP: &str = "crew";

/// Plays a session with the script split at `cuts` (ascending byte positions).
pub fn play(addr: SocketAddr, session: &Session, cuts: &[usize]) -> Answer {
    play_via(addr, session, cuts, &TlsMode::Plain)
}

/// The same, over TLS or not.
pub fn play_via(addr: SocketAddr, session: &Session, cuts: &[usize], via: &TlsMode) -> Answer {
    let group = fresh_group();
    let script = replace(&session.script, GROUP, &group);
    let mut raw = RawClient::connect_until_info(addr, via, PATIENCE);
    let mut pieces = Vec::new();
    let mut from = 0;
    for &to in cuts.iter().chain([&script.len()]) {
        pieces.push(&script[from..to]);
        from = to;
    }
    raw.send_split(&pieces);
    let mut end =
        raw.outcome(|bytes| matches!(session.end, End::Pongs(count) if pongs(bytes) >= count));
    if let (End::Pongs(count), WaitOutcome::Enough) = (session.end, end) {
        // A barrier: the server announces itself once more right behind its first PONG, be it in the same read or in the next.
        raw.send(b"PING\r\n");
        end = raw.outcome(|bytes| pongs(bytes) > count);
    }
    let lines = normalise(&replace(raw.received(), &group, GROUP));
    Answer { lines, end }
}

/// A unique name as long as [`GROUP`].
fn fresh_group() -> String {
    static PLAYS: AtomicU32 = AtomicU32::new(0);
    format!("q{:03x}", PLAYS.fetch_add(1, Ordering::Relaxed) & 0xfff)
}

fn replace(bytes: &[u8], from: &str, to: &str) -> Vec<u8> {
    let mut replaced = bytes.to_vec();
    while let Some(at) = replaced
        .windows(from.len())
        .position(|window| window == from.as_bytes())
    {
        replaced[at..at + to.len()].copy_from_slice(to.as_bytes());
    }
    replaced
}

fn pongs(bytes: &[u8]) -> usize {
    frame::split_frames(bytes)
        .0
        .iter()
        .filter(|frame| frame.verb() == "PONG")
        .count()
}

/// One line per operation; INFO without what names the connection or the listener, the server's own PINGs left out.
fn normalise(bytes: &[u8]) -> Vec<String> {
    let (frames, rest) = frame::split_frames(bytes);
    let mut lines: Vec<String> = frames
        .iter()
        .filter(|frame| frame.line != "PING")
        .map(comparable)
        .collect();
    if !rest.is_empty() {
        lines.push(format!("incomplete: {}", rest.escape_ascii()));
    }
    lines
}

fn comparable(frame: &Frame) -> String {
    if matches!(frame.verb(), "MSG" | "HMSG") {
        return format!("{frame:?}");
    }
    let Some(json) = frame.line.strip_prefix("INFO ") else {
        return frame.line.clone();
    };
    let Ok(Value::Object(mut members)) = serde_json::from_str(json) else {
        return format!("not JSON: {json}");
    };
    for volatile in [
        "client_id",
        "client_ip",
        "nonce",
        "host",
        "port",
        "connect_urls",
        "max_payload",
    ] {
        members.remove(volatile);
    }
    let mut text = "INFO".to_owned();
    for (name, value) in members {
        write!(text, " {name}={value}").unwrap();
    }
    text
}
