//! PROXY protocol headers of load balancers, and those for servers; the signature of a trusted proxy (ADR-55).

use std::cell::RefCell;
use std::io;

use tokio::net::TcpStream;
use tokio::time::timeout;

use super::Config;
use super::address::Endpoints;
use super::context::Worker;
use super::session_state::SessionState;
use super::socket::Socket;
use crate::proxy::{self, Header, LONGEST, ProxyHeaderError};

/// Why the header was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum HeaderRefused {
    /// It is missing or invalid.
    #[error(transparent)]
    Invalid(#[from] ProxyHeaderError),
    /// It did not come within `limits.handshake-timeout`.
    #[error("no PROXY header in time; a load balancer named in `proxy.accept-from` must send one")]
    Late,
    /// The peer closed before, as health checks of load balancers do.
    #[error("closed before its PROXY header")]
    Gone,
}

/// Reads the header that a load balancer of `proxy.accept-from` must send, and nothing beyond it, which may be TLS. From other
/// peers it is not read, and a header is a malformed operation.
///
/// # Errors
/// [`HeaderRefused`], which is counted and logged.
pub(super) async fn receive(
    worker: &Worker,
    client: &Socket,
    ends: &mut Endpoints,
) -> Result<(), HeaderRefused> {
    let config = &worker.shared.config;
    let Some(peer) = ends.client else {
        return Ok(());
    };
    let between = &config.proxy.accept_from;
    if !between.iter().any(|network| network.contains(peer.ip())) {
        return Ok(());
    }
    let header = match timeout(config.handshake_timeout, read(client)).await {
        Ok(read) => read,
        Err(_elapsed) => Err(HeaderRefused::Late),
    };
    match header {
        Ok(header) => {
            ends.client = header.client.or(ends.client);
            Ok(())
        }
        Err(refused) => {
            refuse(worker, ends, refused);
            Err(refused)
        }
    }
}

async fn read(client: &Socket) -> Result<Header, HeaderRefused> {
    let mut held = Vec::with_capacity(LONGEST);
    loop {
        let before = held.len();
        let mut ahead = [0; LONGEST];
        let seen = client.peek(&mut ahead).await;
        let seen = seen.map_err(|_gone| HeaderRefused::Gone)?;
        if seen == 0 {
            return Err(HeaderRefused::Gone);
        }
        held.extend(ahead.iter().take(seen));
        let header = Header::read(&held)?;
        let ours = header.map_or(held.len(), |header| header.len);
        held.truncate(ours);
        // Consumes only the header's part of what was peeked.
        let took = client.skip(ours.saturating_sub(before));
        took.map_err(|_gone| HeaderRefused::Gone)?;
        if let Some(header) = header {
            return Ok(header);
        }
    }
}

fn refuse(worker: &Worker, ends: &Endpoints, refused: HeaderRefused) {
    let cause = match refused {
        HeaderRefused::Invalid(wrong) => <&str>::from(wrong),
        HeaderRefused::Late => "late",
        HeaderRefused::Gone => return,
    };
    worker.meters.header_refused(cause);
    let now = worker.shared.clock.instant();
    if let Some(left_out) = worker.shared.refused_headers.admit(now) {
        tracing::warn!(client = %ends, error = %refused, left_out, "connection closed");
    }
}

/// Counts a header from a peer outside `proxy.accept-from`.
pub(super) fn count_unexpected(worker: &Worker, bytes: &[u8]) {
    if Header::begins(bytes) {
        worker.meters.header_refused("unexpected");
    }
}

/// Sends the server a PROXY header with the client's address, before TLS.
///
/// # Errors
/// The socket's.
pub(super) async fn send(config: &Config, server: &TcpStream, ends: &Endpoints) -> io::Result<()> {
    let Some(version) = config.proxy.send else {
        return Ok(());
    };
    let mut header = Vec::with_capacity(LONGEST);
    proxy::write(version, ends.client.zip(ends.gateway), &mut header);
    timeout(config.dial_timeout, server.writable()).await??;
    // A new connection has buffer space for it.
    if server.try_write(&header)? < header.len() {
        return Err(io::ErrorKind::WriteZero.into());
    }
    Ok(())
}

/// The `proxy_sig` for CONNECT (ADR-55): over the newest nonce, if the gateway has a key and the server verifies it. A key that
/// the server does not ask for is logged as an error.
pub(super) fn signature(worker: &Worker, state: &RefCell<SessionState>) -> Option<String> {
    let shared = &worker.shared;
    let key = shared.config.proxy.key.as_ref()?;
    let state = state.borrow();
    match &state.nonce {
        Some(nonce) => Some(key.sign(nonce)),
        None => {
            if let Some(left_out) = shared.unsigned.admit(shared.clock.instant()) {
                let public = key.public();
                tracing::error!(
                    left_out,
                    "the server takes no proxy's signature, and refuses users with `proxy_required`; set `proxies {{ trusted: [ {{ key: {public} }} ] }}` in nats-server 2.12 or later"
                );
            }
            None
        }
    }
}
