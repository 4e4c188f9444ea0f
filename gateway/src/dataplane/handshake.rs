//! The handshake of the NATS client protocol: INFO and CONNECT, and what the gateway changes in them.
//!
//! Both operations may come again at any time: a server sends INFO when its cluster or an account's limits change, and a second CONNECT authenticates anew.

use std::cell::RefCell;

use crate::envelope::OVERHEAD;
use crate::keyring::Snapshot;
use crate::wire::connect::{self, Connect};
use crate::wire::info::{self, Info};
use crate::wire::{Buffer, Credentials, write};

use super::context::Worker;
use super::proxy_protocol;
use super::session_state::SessionState;

/// The `api_lvl` from which servers verify `proxy_sig` (ADR-55).
const API_LEVEL_PROXY_SIG: i64 = 2;

/// The server sent an INFO that is not JSON.
pub(super) struct InvalidInfo;

/// The server will close on this CONNECT, without an error.
pub(super) struct ConnectRejected;

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
    state.headers = said.headers;
    if state.info.is_empty() && said.auth_required {
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
        client_ip: &state.ends.client_ip().to_string(),
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
    let mut rewritten = Buffer::new();
    let taken = options.apply(json, signature.as_deref(), &mut rewritten);
    let credentials = taken.map_err(|_closes| refuse(arg_len, out))?;
    write::connect(out, rewritten.filled(), arg_len);
    Ok(credentials)
}

/// Sends an invalid CONNECT in its place: the server ends the connection, without an error.
fn refuse(arg_len: usize, out: &mut Buffer) -> ConnectRejected {
    write::connect(out, b"{", arg_len);
    ConnectRejected
}
