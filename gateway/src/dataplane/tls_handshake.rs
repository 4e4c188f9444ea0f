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
        (HandshakeOrder::First, Socket::Tcp(stream)) => {
            Box::pin(accept(worker, acceptor, stream)).await
        }
        (HandshakeOrder::Automatic(wait), Socket::Tcp(stream))
            if begins_tls(&stream, wait).await =>
        {
            Box::pin(accept(worker, acceptor, stream)).await
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
    Box::pin(accept(worker, acceptor, stream)).await
}

/// Before INFO: the handshake with a server, if `handshake-first` is set.
pub(super) async fn server_first(
    worker: &Worker,
    (stream, to): (TcpStream, &ServerAddr),
) -> Result<Socket, EndReason> {
    match &worker.shared.tls.tls.servers {
        Some(dialer) if dialer.settings().handshake_first => {
            Box::pin(connect(worker, dialer, (stream, to))).await
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
    match (dialer, to.tls) {
        (Some(dialer), _) if info.tls_required => {
            Box::pin(connect(worker, dialer, (stream, to))).await
        }
        (Some(dialer), true) if info.tls_available => {
            Box::pin(connect(worker, dialer, (stream, to))).await
        }
        (Some(_), true) | (None, true) => {
            refuse(
                worker,
                (to, Failure::Incompatible),
                "it does not offer TLS",
                "configure TLS there, or write `nats://` where the way is private",
            );
            Err(EndReason::NoTls)
        }
        (None, false) if info.tls_required => {
            refuse(
                worker,
                (to, Failure::Incompatible),
                "it requires TLS",
                "write `tls://` in `servers`, or add a section [server-tls]",
            );
            Err(EndReason::NoTls)
        }
        (Some(_) | None, false) => Ok(Socket::Tcp(stream)),
    }
}

/// A server has sent in the clear something else than INFO, or more than that: a man in the middle could have injected it.
pub(super) fn refuse_cleartext(worker: &Worker, to: &ServerAddr) -> EndReason {
    refuse(
        worker,
        (to, Failure::NotTls),
        "it, or somebody on the way, has said in the clear what belongs into TLS",
        "look at who is on the way; `handshake-first` on both sides leaves nothing in the clear",
    );
    EndReason::NoTls
}

/// Counts a failure. If it may be logged: how many lines were left out before it.
fn count_failure(worker: &Worker, side: Side, failure: Failure) -> Option<u64> {
    let shared = &worker.shared;
    shared.tls.failed(side, failure, shared.clock.instant())
}

async fn accept(
    worker: &Worker,
    acceptor: &Acceptor,
    stream: TcpStream,
) -> Result<Socket, EndReason> {
    match handshake(worker, accepting(acceptor, stream)).await {
        Ok(socket) => {
            worker.shared.tls.handshakes.done(Side::Client);
            Ok(socket)
        }
        Err(failed) => {
            let failure = Failure::of(&failed.error);
            if let Some(left_out) = count_failure(worker, Side::Client, failure) {
                let (cause, error) = (<&str>::from(failure), &failed.error);
                let help = acceptor.settings().help(failure);
                tracing::warn!(cause, %error, help, left_out, "no TLS with a client");
            }
            Err(failed.close(worker).await)
        }
    }
}

async fn connect(
    worker: &Worker,
    dialer: &Dialer,
    (stream, to): (TcpStream, &ServerAddr),
) -> Result<Socket, EndReason> {
    match handshake(worker, connecting(dialer, (stream, to))).await {
        Ok(socket) => {
            worker.shared.tls.handshakes.done(Side::Server);
            Ok(socket)
        }
        Err(failed) => {
            let failure = Failure::of(&failed.error);
            if let Some(left_out) = count_failure(worker, Side::Server, failure) {
                let (cause, error) = (<&str>::from(failure), &failed.error);
                let help = dialer.settings().help(failure);
                tracing::error!(server = %to, cause, %error, help, left_out, "no TLS with a server");
            }
            Err(failed.close(worker).await)
        }
    }
}

fn accepting(acceptor: &Acceptor, stream: TcpStream) -> io::Result<Box<TlsStream>> {
    let session = ServerConnection::new(acceptor.config()).map_err(io::Error::other)?;
    Ok(Box::new(TlsStream::new(stream, session)))
}

fn connecting(
    dialer: &Dialer,
    (stream, to): (TcpStream, &ServerAddr),
) -> io::Result<Box<TlsStream>> {
    let name = dialer.settings().name(&to.host).map_err(io::Error::other)?;
    let session = ClientConnection::new(dialer.config(), name).map_err(io::Error::other)?;
    Ok(Box::new(TlsStream::new(stream, session)))
}

/// A failed handshake and its connection.
struct Failed {
    error: io::Error,
    socket: Option<Socket>,
}

impl Failed {
    /// Closes, so that the peer can read the alert.
    async fn close(self, worker: &Worker) -> EndReason {
        if let Some(socket) = &self.socket {
            socket::close(&[socket], &worker.pending).await;
        }
        EndReason::NoTls
    }
}

/// The handshake, within `limits.handshake-timeout`.
async fn handshake(
    worker: &Worker,
    encrypted: io::Result<Box<TlsStream>>,
) -> Result<Socket, Failed> {
    let encrypted = encrypted.map_err(|error| Failed {
        error,
        socket: None,
    })?;
    let within = worker.shared.config.handshake_timeout;
    let shaken = timeout(within, encrypted.handshake()).await;
    let shaken = shaken.unwrap_or_else(|_elapsed| Err(io::ErrorKind::TimedOut.into()));
    let socket = Socket::Tls(encrypted);
    match shaken {
        Ok(()) => Ok(socket),
        Err(error) => Err(Failed {
            error,
            socket: Some(socket),
        }),
    }
}

/// Whether the peer begins a handshake within `wait`; peeks its first byte.
async fn begins_tls(stream: &TcpStream, wait: Duration) -> bool {
    let mut first = [0];
    match timeout(wait, stream.peek(&mut first)).await {
        Ok(Ok(1)) => first == [HANDSHAKE],
        Ok(Ok(_) | Err(_)) | Err(_) => false,
    }
}

fn refuse(worker: &Worker, (to, failure): (&ServerAddr, Failure), why: &str, help: &str) {
    if let Some(left_out) = count_failure(worker, Side::Server, failure) {
        tracing::error!(server = %to, why, help, left_out, "no TLS with a server");
    }
}
