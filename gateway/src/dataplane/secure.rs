//! TLS, where it stands in a session's life: with the client before or behind INFO, with the server before or behind its.
//!
//! Nothing is read in the clear beyond what comes before a handshake: not a byte behind the server's INFO, and of a client
//! at most a look at its first byte, which stays where it is.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::{ClientConnection, ServerConnection};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::metrics::{Handshakes, Side, Throttle};
use crate::tls::{Acceptor, Clients, Demand, Dialer, Failure, Handshake};
use crate::wire::info::{Info, Tls as Word};

use super::ServerAddr;
use super::address::Ends;
use super::encrypted::Encrypted;
use super::session;
use super::socket::Socket;
use super::worker::{Shared, Worker};

/// What a TLS record of a handshake begins with. No client of NATS begins with it.
const HANDSHAKE: u8 = 0x16;

/// TLS on both sides; new handshakes go by what it says at their time.
#[derive(Clone, Default)]
pub struct Tls {
    /// With clients; `None`: none.
    pub clients: Option<Arc<Acceptor>>,
    /// With servers; `None`: with none of them.
    pub servers: Option<Arc<Dialer>>,
}

/// What all workers share of it.
pub(super) struct Secure {
    tls: Tls,
    handshakes: Handshakes,
    said: [[Throttle; Failure::ALL.len()]; 2],
}

/// The handshake failed, or cannot take place. It has been said.
pub(super) struct Insecure;

impl Secure {
    pub(super) fn new(tls: Tls) -> Self {
        Self {
            tls,
            handshakes: Handshakes::new(Failure::ALL.iter().map(|cause| cause.word())),
            said: Default::default(),
        }
    }

    /// What INFO says of the gateway's own TLS; nothing at a unix socket.
    pub(super) fn word(&self, ends: &Ends) -> Word {
        let (Some(acceptor), Some(_network)) = (&self.tls.clients, ends.gateway) else {
            return Word::None;
        };
        let settings = acceptor.settings();
        match (settings.demand, &settings.clients) {
            (Demand::Optional, _) => Word::Available,
            (Demand::Required, Clients::Required(_)) => Word::Verified,
            (Demand::Required, Clients::Unasked | Clients::Optional(_)) => Word::Required,
        }
    }

    /// Whether TLS is spoken with servers.
    pub(super) const fn reaches_servers(&self) -> bool {
        self.tls.servers.is_some()
    }

    fn throttle(&self, side: Side, failure: Failure) -> Option<&Throttle> {
        let [clients, servers] = &self.said;
        let of = match side {
            Side::Client => clients,
            Side::Server => servers,
        };
        let mut throttles = of.iter().zip(Failure::ALL);
        throttles.find_map(|(throttle, of)| (of == failure).then_some(throttle))
    }
}

/// Before INFO: the handshake of a client that begins with it.
///
/// # Errors
/// [`Insecure`].
pub(super) async fn before_info(worker: &Worker, socket: Socket) -> Result<Socket, Insecure> {
    let Some(acceptor) = &worker.shared.secure.tls.clients else {
        return Ok(socket);
    };
    match (acceptor.settings().handshake, socket) {
        (Handshake::First, Socket::Tcp(stream)) => Box::pin(accept(worker, acceptor, stream)).await,
        (Handshake::Automatic(wait), Socket::Tcp(stream)) if begins(&stream, wait).await => {
            Box::pin(accept(worker, acceptor, stream)).await
        }
        (_, socket) => Ok(socket),
    }
}

/// Behind INFO: the handshake of a client that has not done it yet.
///
/// # Errors
/// [`Insecure`].
pub(super) async fn after_info(worker: &Worker, socket: Socket) -> Result<Socket, Insecure> {
    let Some(acceptor) = &worker.shared.secure.tls.clients else {
        return Ok(socket);
    };
    let stream = match socket {
        Socket::Tcp(stream) => stream,
        socket @ (Socket::Unix(_) | Socket::Tls(_)) => return Ok(socket),
    };
    let patience = worker.shared.config.handshake_timeout;
    if acceptor.settings().demand == Demand::Optional && !begins(&stream, patience).await {
        return Ok(Socket::Tcp(stream));
    }
    Box::pin(accept(worker, acceptor, stream)).await
}

/// With a server that is dialled for TLS from the first byte on.
///
/// # Errors
/// [`Insecure`].
pub(super) async fn first(
    worker: &Worker,
    (stream, to): (TcpStream, &ServerAddr),
) -> Result<Socket, Insecure> {
    match &worker.shared.secure.tls.servers {
        Some(dialer) if dialer.settings().handshake_first => {
            Box::pin(connect(worker, dialer, (stream, to))).await
        }
        Some(_) | None => Ok(Socket::Tcp(stream)),
    }
}

/// With a server that has sent `info`, if one of the two wants it.
///
/// # Errors
/// [`Insecure`].
pub(super) async fn behind(
    worker: &Worker,
    (socket, to): (Socket, &ServerAddr),
    info: &Info<'_>,
) -> Result<Socket, Insecure> {
    let stream = match socket {
        Socket::Tcp(stream) => stream,
        socket @ (Socket::Unix(_) | Socket::Tls(_)) => return Ok(socket),
    };
    let dialer = worker.shared.secure.tls.servers.as_ref();
    match (dialer, to.tls) {
        (Some(dialer), _) if info.tls_required() => {
            Box::pin(connect(worker, dialer, (stream, to))).await
        }
        (Some(dialer), true) if info.tls_available() => {
            Box::pin(connect(worker, dialer, (stream, to))).await
        }
        (Some(_), true) | (None, true) => {
            refuse(
                worker,
                (to, Failure::Incompatible),
                "it does not offer TLS",
                "configure TLS there, or write `nats://` where the way is private",
            );
            Err(Insecure)
        }
        (None, false) if info.tls_required() => {
            refuse(
                worker,
                (to, Failure::Incompatible),
                "it requires TLS",
                "write `tls://` in `servers`, or add a section [server-tls]",
            );
            Err(Insecure)
        }
        (Some(_) | None, false) => Ok(Socket::Tcp(stream)),
    }
}

/// A server has said something else than INFO in the clear, or more. Whoever stands between could have put it there.
pub(super) fn interrupt(worker: &Worker, to: &ServerAddr) -> Insecure {
    refuse(
        worker,
        (to, Failure::NotTls),
        "it, or somebody on the way, has said in the clear what belongs into TLS",
        "look at who is on the way; `handshake-first` on both sides leaves nothing in the clear",
    );
    Insecure
}

async fn accept(
    worker: &Worker,
    acceptor: &Acceptor,
    stream: TcpStream,
) -> Result<Socket, Insecure> {
    match shake(worker, accepting(acceptor, stream)).await {
        Ok(socket) => {
            worker.shared.secure.handshakes.done(Side::Client);
            Ok(socket)
        }
        Err(failed) => {
            let failure = Failure::of(&failed.error);
            if let Some(left_out) = worker.shared.failed(Side::Client, failure) {
                let (cause, error) = (failure.word(), &failed.error);
                let help = acceptor.settings().help(failure);
                tracing::warn!(cause, %error, help, left_out, "no TLS with a client");
            }
            Err(failed.part(worker).await)
        }
    }
}

async fn connect(
    worker: &Worker,
    dialer: &Dialer,
    (stream, to): (TcpStream, &ServerAddr),
) -> Result<Socket, Insecure> {
    match shake(worker, connecting(dialer, (stream, to))).await {
        Ok(socket) => {
            worker.shared.secure.handshakes.done(Side::Server);
            Ok(socket)
        }
        Err(failed) => {
            let failure = Failure::of(&failed.error);
            if let Some(left_out) = worker.shared.failed(Side::Server, failure) {
                let (cause, error) = (failure.word(), &failed.error);
                let help = dialer.settings().help(failure);
                tracing::error!(server = %to, cause, %error, help, left_out, "no TLS with a server");
            }
            Err(failed.part(worker).await)
        }
    }
}

/// A handshake with a client that has yet to begin.
fn accepting(acceptor: &Acceptor, stream: TcpStream) -> io::Result<Box<Encrypted>> {
    let session = ServerConnection::new(acceptor.config()).map_err(io::Error::other)?;
    Ok(Box::new(Encrypted::new(stream, session)))
}

/// The same with a server.
fn connecting(
    dialer: &Dialer,
    (stream, to): (TcpStream, &ServerAddr),
) -> io::Result<Box<Encrypted>> {
    let name = dialer.settings().name(&to.host).map_err(io::Error::other)?;
    let session = ClientConnection::new(dialer.config(), name).map_err(io::Error::other)?;
    Ok(Box::new(Encrypted::new(stream, session)))
}

/// A handshake that failed, and the connection that it leaves.
struct Failed {
    error: io::Error,
    socket: Option<Socket>,
}

impl Failed {
    /// The peer has time to read why.
    async fn part(self, worker: &Worker) -> Insecure {
        if let Some(socket) = &self.socket {
            session::part(worker, socket).await;
        }
        Insecure
    }
}

/// The handshake, within its time.
async fn shake(worker: &Worker, encrypted: io::Result<Box<Encrypted>>) -> Result<Socket, Failed> {
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

/// Whether the peer begins a handshake within `wait`. Its first byte stays unread.
async fn begins(stream: &TcpStream, wait: Duration) -> bool {
    let mut first = [0];
    match timeout(wait, stream.peek(&mut first)).await {
        Ok(Ok(1)) => first == [HANDSHAKE],
        Ok(Ok(_) | Err(_)) | Err(_) => false,
    }
}

fn refuse(worker: &Worker, (to, failure): (&ServerAddr, Failure), why: &str, help: &str) {
    if let Some(left_out) = worker.shared.failed(Side::Server, failure) {
        tracing::error!(server = %to, why, help, left_out, "no TLS with a server");
    }
}

impl Shared {
    /// Counts a failure. How many lines were left out before it, if there may be one of it now.
    fn failed(&self, side: Side, failure: Failure) -> Option<u64> {
        self.secure.handshakes.failed(side, failure.word());
        let throttle = self.secure.throttle(side, failure)?;
        throttle.admit(self.clock.instant())
    }
}
