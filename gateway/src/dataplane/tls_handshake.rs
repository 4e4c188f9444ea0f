//! TLS handshakes of a session: with the client before or after INFO, with the server before or after its INFO.
//!
//! Nothing that could belong to a handshake is read in the clear: not a byte after the server's INFO, and of a client at most its
//! first byte is peeked. A handshake that failed or cannot take place has been logged: [`EndReason::NoTls`].

use std::io;
use std::time::Duration;

use rustls::{ClientConnection, ServerConnection};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::metrics::Side;
use crate::tls::{Acceptor, Dialer, Failure, HandshakeOrder, TlsPolicy};
use crate::wire::info::Info;

use super::ServerAddr;
use super::context::Worker;
use super::end_reason::EndReason;
use super::socket::{self, Socket};
use super::tls_stream::TlsStream;

/// The content type of a TLS handshake record (RFC 8446, section 5.1). No NATS operation begins with it.
const HANDSHAKE: u8 = 0x16;

/// Before INFO: the handshake with a client that begins with it.
pub(super) async fn client_before_info(
    worker: &Worker,
    socket: Socket,
) -> Result<Socket, EndReason> {
    let Some(acceptor) = &worker.shared.tls.tls.clients else {
        return Ok(socket);
    };
    match (acceptor.settings().handshake, socket) {
        (HandshakeOrder::First, Socket::Tcp(stream)) => accept(worker, acceptor, stream).await,
        (HandshakeOrder::Automatic(wait), Socket::Tcp(stream))
            if begins_tls(&stream, wait).await =>
        {
            accept(worker, acceptor, stream).await
        }
        (_, socket) => Ok(socket),
    }
}

/// After INFO: the handshake with a client that has not done it yet.
pub(super) async fn client_after_info(
    worker: &Worker,
    socket: Socket,
) -> Result<Socket, EndReason> {
    let Some(acceptor) = &worker.shared.tls.tls.clients else {
        return Ok(socket);
    };
    let stream = match socket {
        Socket::Tcp(stream) => stream,
        socket @ (Socket::Unix(_) | Socket::Tls(_)) => return Ok(socket),
    };
    let patience = worker.shared.config.handshake_timeout;
    if acceptor.settings().demand == TlsPolicy::Optional && !begins_tls(&stream, patience).await {
        return Ok(Socket::Tcp(stream));
    }
    accept(worker, acceptor, stream).await
}

/// Before INFO: the handshake with a server, if `handshake-first` is set.
pub(super) async fn server_first(
    worker: &Worker,
    (stream, to): (TcpStream, &ServerAddr),
) -> Result<Socket, EndReason> {
    match &worker.shared.tls.tls.servers {
        Some(dialer) if dialer.settings().handshake_first => {
            connect(worker, dialer, (stream, to)).await
        }
        Some(_) | None => Ok(Socket::Tcp(stream)),
    }
}

/// After the server's INFO: the handshake, if it or the configuration requires TLS.
pub(super) async fn server_after_info(
    worker: &Worker,
    (socket, to): (Socket, &ServerAddr),
    info: &Info<'_>,
) -> Result<Socket, EndReason> {
    let stream = match socket {
        Socket::Tcp(stream) => stream,
        socket @ (Socket::Unix(_) | Socket::Tls(_)) => return Ok(socket),
    };
    let dialer = worker.shared.tls.tls.servers.as_ref();
    match dialer {
        Some(dialer) if info.tls_required || to.tls && info.tls_available => {
            connect(worker, dialer, (stream, to)).await
        }
        _ if to.tls => Err(refuse(
            worker,
            (to, Failure::Incompatible),
            "it does not offer TLS",
            "configure TLS there, or write `nats://` where the way is private",
        )),
        None if info.tls_required => Err(refuse(
            worker,
            (to, Failure::Incompatible),
            "it requires TLS",
            "write `tls://` in `servers`, or add a section [server-tls]",
        )),
        Some(_) | None => Ok(Socket::Tcp(stream)),
    }
}

/// A server has sent in the clear something else than INFO, or more than that: a man in the middle could have injected it.
pub(super) fn refuse_cleartext(worker: &Worker, to: &ServerAddr) -> EndReason {
    refuse(
        worker,
        (to, Failure::NotTls),
        "it, or somebody on the way, has said in the clear what belongs into TLS",
        "look at who is on the way; `handshake-first` on both sides leaves nothing in the clear",
    )
}

/// Counts a failure. If it may be logged: how many lines were left out before it.
fn count_failure(worker: &Worker, side: Side, failure: Failure) -> Option<u64> {
    let shared = &worker.shared;
    shared.tls.failed(side, failure, shared.clock.instant())
}

/// The handshake with a client.
fn accept(
    worker: &Worker,
    acceptor: &Acceptor,
    stream: TcpStream,
) -> impl Future<Output = Result<Socket, EndReason>> {
    let session = ServerConnection::new(acceptor.config()).map_err(io::Error::other);
    let session = session.map(|session| TlsStream::new(stream, session));
    let help = |failure| acceptor.settings().help(failure);
    Box::pin(handshake(worker, None, session, help))
}

/// The handshake with a server.
fn connect(
    worker: &Worker,
    dialer: &Dialer,
    (stream, to): (TcpStream, &ServerAddr),
) -> impl Future<Output = Result<Socket, EndReason>> {
    let session = || {
        let name = dialer.settings().name(&to.host).map_err(io::Error::other)?;
        ClientConnection::new(dialer.config(), name).map_err(io::Error::other)
    };
    let session = session().map(|session| TlsStream::new(stream, session));
    let help = |failure| dialer.settings().help(failure);
    Box::pin(handshake(worker, Some(to), session, help))
}

/// The handshake, within `limits.handshake-timeout`; `to` is the server, if it is with one. One that fails is counted and logged,
/// and its connection closed so that the peer can read the alert.
async fn handshake(
    worker: &Worker,
    to: Option<&ServerAddr>,
    session: io::Result<TlsStream>,
    help: impl Fn(Failure) -> String,
) -> Result<Socket, EndReason> {
    let shared = &worker.shared;
    let side = to.map_or(Side::Client, |_server| Side::Server);
    let (error, socket) = match session {
        Ok(session) => {
            let session = Box::new(session);
            let shaken = timeout(shared.config.handshake_timeout, session.handshake()).await;
            let socket = Socket::Tls(session);
            match shaken.unwrap_or_else(|_elapsed| Err(io::ErrorKind::TimedOut.into())) {
                Ok(()) => {
                    shared.tls.handshakes.done(side);
                    return Ok(socket);
                }
                Err(error) => (error, Some(socket)),
            }
        }
        Err(error) => (error, None),
    };
    let failure = Failure::of(&error);
    if let Some(left_out) = count_failure(worker, side, failure) {
        let (cause, help) = (<&str>::from(failure), help(failure));
        if let Some(to) = to {
            tracing::error!(server = %to, cause, %error, help, left_out, "no TLS with a server");
        } else {
            tracing::warn!(cause, %error, help, left_out, "no TLS with a client");
        }
    }
    if let Some(socket) = socket {
        socket::close(&[&socket], &worker.pending).await;
    }
    Err(EndReason::NoTls)
}

/// Whether the peer begins a handshake within `wait`; peeks its first byte.
async fn begins_tls(stream: &TcpStream, wait: Duration) -> bool {
    let mut first = [0];
    match timeout(wait, stream.peek(&mut first)).await {
        Ok(Ok(1)) => first == [HANDSHAKE],
        Ok(Ok(_) | Err(_)) | Err(_) => false,
    }
}

fn refuse(
    worker: &Worker,
    (to, failure): (&ServerAddr, Failure),
    why: &str,
    help: &str,
) -> EndReason {
    if let Some(left_out) = count_failure(worker, Side::Server, failure) {
        tracing::error!(server = %to, why, help, left_out, "no TLS with a server");
    }
    EndReason::NoTls
}
