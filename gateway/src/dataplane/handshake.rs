//! The handshake of the NATS client protocol: INFO and CONNECT, and what the gateway changes in them.
//!
//! The server speaks first: [`read_first_line`] reads its first line, [`forward_first_line`] forwards it. Both operations may come again at any time: a
//! server sends INFO when its cluster or an account's limits change, and a second CONNECT authenticates anew.

use std::cell::RefCell;

use memchr::memchr;
use tokio::time::timeout;

use crate::envelope::OVERHEAD;
use crate::keyring::Snapshot;
use crate::wire::connect::{self, Connect};
use crate::wire::info::{self, Info};
use crate::wire::{Buffer, Credentials, Limits, write};

use super::ServerAddr;
use super::backpressure::Input;
use super::deliver::{DeliverBatch, DeliverPath};
use super::proxy_protocol;
use super::session::EndReason;
use super::session_state::SessionState;
use super::socket::{self, Socket, WriteTimeout};
use super::tls_handshake::{self, TlsFailed};
use super::worker::Worker;

/// The `api_lvl` from which servers verify `proxy_sig` (ADR-55).
const API_LEVEL_PROXY_SIG: i64 = 2;

/// What the server sent first; it has been forwarded to the client.
pub(super) enum Greeting {
    /// INFO; with what followed it, yet to be delivered.
    Info(Buffer),
    /// Something else, mostly `-ERR`: the server is about to close.
    Closing(Buffer),
}

/// The server sent an INFO that is not JSON.
pub(super) struct InvalidInfo;

/// The server will close on this CONNECT, without an error.
pub(super) struct ConnectRejected;

/// The first line that a server has sent.
pub(super) struct FirstLine {
    line: Buffer,
    /// What followed it.
    rest: Buffer,
}

impl FirstLine {
    /// Whether it is INFO or `-ERR`, as NATS servers begin.
    pub(super) fn is_from_nats_server(&self) -> bool {
        self.is_info() || self.begins(b"-ERR")
    }

    fn is_info(&self) -> bool {
        self.begins(b"INFO")
    }

    fn begins(&self, verb: &[u8; 4]) -> bool {
        let first = self.line.filled().get(..verb.len());
        first.is_some_and(|first| first.eq_ignore_ascii_case(verb))
    }

    /// Upgrades to TLS where it follows INFO.
    ///
    /// # Errors
    /// [`TlsFailed`].
    pub(super) async fn secure(
        &self,
        worker: &Worker,
        (server, to): (Socket, &ServerAddr),
    ) -> Result<Socket, TlsFailed> {
        let json = self.line.filled().get(4..).unwrap_or_default();
        let in_the_clear = matches!(server, Socket::Tcp(_));
        let (true, Ok(info)) = (self.is_info(), Info::read(json.trim_ascii())) else {
            if in_the_clear && to.tls {
                return Err(tls_handshake::refuse_cleartext(worker, to));
            }
            return Ok(server);
        };
        let server = tls_handshake::server_after_info(worker, (server, to), &info).await?;
        let begun = in_the_clear && matches!(server, Socket::Tls(_));
        if begun && !self.rest.is_empty() {
            return Err(tls_handshake::refuse_cleartext(worker, to));
        }
        Ok(server)
    }
}

/// Reads the server's first line. The client is not read before: its operations depend on INFO, and TLS may come first. A server
/// that accepts and stays silent is given up after `limits.dial-timeout`.
///
/// # Errors
/// Why the session has ended.
pub(super) async fn read_first_line(
    worker: &Worker,
    server: &Socket,
) -> Result<FirstLine, EndReason> {
    let mut input = Input::default();
    let patience = worker.shared.config.dial_timeout;
    let len = timeout(patience, read_line(worker, server, &mut input))
        .await
        .map_err(|_elapsed| EndReason::ServerSilent)??;
    let mut line = Buffer::new();
    line.put(input.buffer.filled().get(..len).unwrap_or_default());
    input.buffer.consume(len);
    let rest = input.buffer;
    Ok(FirstLine { line, rest })
}

/// Forwards it to the client.
///
/// # Errors
/// Why the session has ended.
pub(super) async fn forward_first_line(
    worker: &Worker,
    client: &Socket,
    said: FirstLine,
    state: &RefCell<SessionState>,
) -> Result<Greeting, EndReason> {
    let is_info = said.is_info();
    let FirstLine { mut line, rest } = said;
    let mut output = worker.pool.take();
    let batch = DeliverPath::new(worker, state).batch(&mut line, &mut output);
    let flushed = socket::flush(client, &mut output, WriteTimeout::Client).await;
    worker.pool.give(output);
    if matches!(batch, DeliverBatch::Malformed) {
        return Err(EndReason::ServerMalformed);
    }
    flushed.map_err(|error| EndReason::by_client(&error))?;
    Ok(if is_info {
        Greeting::Info(rest)
    } else {
        Greeting::Closing(rest)
    })
}

/// Reads until `input` holds a whole line; returns its length.
async fn read_line<'w>(
    worker: &'w Worker,
    server: &Socket,
    input: &mut Input<'w>,
) -> Result<usize, EndReason> {
    while input.buffer.len() <= Limits::default().max_server_line {
        match socket::fill(server, input, 0, worker).await {
            Ok(0) => return Err(EndReason::Server),
            Err(error) => return Err(EndReason::by_server(&error)),
            Ok(_) => {}
        }
        if let Some(end) = memchr(b'\n', input.buffer.filled()) {
            return Ok(end.saturating_add(1));
        }
    }
    Err(EndReason::ServerMalformed)
}

/// Rewrites an INFO for the client and keeps what it says. Every INFO is rewritten: a client that saw the server's own addresses
/// would reconnect around the gateway.
pub(super) fn info(
    json: &[u8],
    snapshot: &Snapshot,
    worker: &Worker,
    state: &mut SessionState,
    out: &mut Buffer,
) -> Result<(), InvalidInfo> {
    let said = Info::read(json).map_err(|_not_an_object| InvalidInfo)?;
    rewrite((json, InfoSource::Server), (snapshot, worker), state, out)?;
    state.max_payload = said.payload_limit();
    state.headers = said.headers();
    if state.info.is_empty() && said.auth_required() {
        state.injected_errors.await_acceptance();
    }
    state.info = json.into();
    state.identity.read_info(&said);
    // Before CONNECT it is not about this client.
    if let Some(account) = said.remote_account.filter(|_| state.protocol.is_some()) {
        state.nats_account.set(account);
    }
    if let Some(nonce) = said.nonce.filter(|_| said.api_lvl >= API_LEVEL_PROXY_SIG) {
        state.nonce = Some(nonce.to_owned());
    }
    Ok(())
}

/// The server's last INFO once more, with `ldm` set: the gateway is about to stop.
pub(super) fn lame_duck(
    urls: &[String],
    snapshot: &Snapshot,
    worker: &Worker,
    state: &SessionState,
    out: &mut Buffer,
) -> Result<(), InvalidInfo> {
    rewrite(
        (&state.info, InfoSource::LameDuck(urls)),
        (snapshot, worker),
        state,
        out,
    )
}

/// Why an INFO is sent.
#[derive(Clone, Copy)]
enum InfoSource<'a> {
    /// The server has sent it.
    Server,
    /// The gateway stops; clients can reconnect to these `connect_urls`.
    LameDuck(&'a [String]),
}

fn rewrite(
    (json, source): (&[u8], InfoSource<'_>),
    (snapshot, worker): (&Snapshot, &Worker),
    state: &SessionState,
    out: &mut Buffer,
) -> Result<(), InvalidInfo> {
    let config = &worker.shared.config;
    let (connect_urls, lame_duck) = match source {
        InfoSource::Server => (config.advertise.as_slice(), false),
        InfoSource::LameDuck(urls) => (urls, true),
    };
    let seals = !config.relay_only && snapshot.policy().protects_anything();
    let (host, port) = state.ends.reached();
    let edits = info::Edits {
        overhead: if seals { OVERHEAD } else { 0 },
        host: &host.to_string(),
        port,
        connect_urls,
        client_ip: Some(&state.ends.client_ip().to_string()),
        tls: worker.shared.tls.info_tls(&state.ends),
        lame_duck,
    };
    let mut rewritten = Buffer::new();
    info::rewrite(json, &edits, &mut rewritten).map_err(|_not_an_object| InvalidInfo)?;
    write::info(out, rewritten.filled());
    Ok(())
}

/// Forwards a CONNECT with its credentials, adds `proxy_sig`, and applies it to `options`. A second one drops the client's
/// subscriptions, but not what is known of reply subjects: answers to sealed requests may still be due.
pub(super) fn connect<'j>(
    (json, arg_len): (&'j [u8], usize),
    worker: &Worker,
    state: &RefCell<SessionState>,
    options: &mut Connect,
    out: &mut Buffer,
) -> Result<Credentials<'j>, ConnectRejected> {
    if connect::is_control_client(json) {
        tracing::error!(
            "the control connection of a gateway was made to a gateway; set `servers` in its [control] to the NATS servers themselves"
        );
        return Err(refuse(arg_len, out));
    }
    let signature = proxy_protocol::signature(worker, state);
    let edits = connect::Edits {
        proxy_sig: signature.as_deref(),
    };
    let mut rewritten = Buffer::new();
    let taken = options.apply(json, &edits, &mut rewritten);
    let credentials = taken.map_err(|_closes| refuse(arg_len, out))?;
    write::connect(out, rewritten.filled(), arg_len);
    Ok(credentials)
}

/// Sends an invalid CONNECT in its place: the server ends the connection, without an error.
fn refuse(arg_len: usize, out: &mut Buffer) -> ConnectRejected {
    write::connect(out, b"{", arg_len);
    ConnectRejected
}
