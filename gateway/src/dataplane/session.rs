//! One client, one connection to the server, from accept to close.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use tokio::net::{TcpStream, UnixStream};
use tokio::sync::Notify;
use tokio::time::timeout;

use crate::wire::Buffer;

use super::address::Endpoints;
use super::backpressure::Input;
use super::connection_limits::Ticket;
use super::dial::{Dialled, Untried};
use super::drain::SessionDrain;
use super::handshake::{self, FirstLine, Greeting};
use super::proxy_protocol;
use super::session_state::SessionState;
use super::socket::{Socket, WriteTimeout};
use super::tls_handshake::{self, TlsFailed};
use super::worker::{Accepted, AcceptedSocket, Worker};
use super::{deliver, publish, server_probe, socket};

/// How long one peer may take to close after the other has.
pub(super) const LINGER: Duration = Duration::from_secs(10);

/// How long a closing socket's input is read and discarded, so that the peer gets no reset.
const DISCARD: Duration = Duration::from_secs(1);

/// What both directions of a session use.
pub(super) struct Session {
    pub(super) client: Socket,
    pub(super) server: Socket,
    pub(super) state: RefCell<SessionState>,
    /// Wakes the publish direction: there are operations for the server, or the session is to end.
    pub(super) wake_publish: Notify,
    /// Draining, once the gateway stops.
    pub(super) drain: SessionDrain,
}

/// Why a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EndReason {
    /// The client closed.
    Client,
    /// The gateway stopped; the session was drained.
    Stopped,
    /// The server closed.
    Server,
    /// The server violated the protocol.
    ServerMalformed,
    /// The server accepted the connection and sent no INFO.
    ServerSilent,
    /// The client read nothing for 30 s: a slow consumer.
    ClientStalled,
    /// A peer was slow while others waited for the memory that its bytes occupy.
    Shed,
    /// The client sent no whole operation within `limits.auth-timeout`.
    Unauthenticated,
    /// The client published a message larger than `limits.max-message`.
    TooLarge,
    /// The limit of connections from the client's address was reached.
    AddressLimit,
    /// A load balancer sent no valid PROXY header.
    NoProxyHeader,
    /// No server could be reached.
    NoServer,
    /// TLS with the client or the server failed.
    NoTls,
}

/// Runs one session from accept to close.
pub(super) async fn run(worker: Rc<Worker>, accepted: Accepted) {
    let Accepted {
        socket,
        mut ends,
        mut ticket,
        number,
    } = accepted;
    worker.meters.accepted.increment(1);
    match Box::pin(establish(&worker, socket, &mut ends, &mut ticket)).await {
        Ok((session, greeting)) => {
            worker.register(number, &session);
            let ended = run_to_end(&worker, &session, greeting).await;
            worker.unregister(number);
            let state = session.state.borrow();
            log_end(&worker, (number, ends), ended, Some(&state));
        }
        Err(ended) => log_end(&worker, (number, ends), ended, None),
    }
}

/// Up to the forwarded INFO: the client's address and limits, both sockets with their TLS. `ends` then has the address from the
/// PROXY header.
async fn establish(
    worker: &Worker,
    arrived: AcceptedSocket,
    ends: &mut Endpoints,
    ticket: &mut Ticket,
) -> Result<(Rc<Session>, Greeting), EndReason> {
    let client = Box::pin(admit_client(worker, arrived, ends, ticket)).await?;
    let (server, said) = Box::pin(connect_server(worker, ends)).await?;
    let state = RefCell::new(worker.session_state(*ends));
    let greeting = Box::pin(handshake::forward_first_line(worker, &client, said, &state)).await?;
    let client = match greeting {
        Greeting::Info(_) => tls_handshake::client_after_info(worker, client).await?,
        Greeting::Closing(_) => client,
    };
    state.borrow_mut().set_certificate(client.peer());
    Ok((Rc::new(Session::new(client, server, state)), greeting))
}

/// The client's socket, after PROXY header and connection limits; with TLS where that comes before INFO.
async fn admit_client(
    worker: &Worker,
    arrived: AcceptedSocket,
    ends: &mut Endpoints,
    ticket: &mut Ticket,
) -> Result<Socket, EndReason> {
    let client = register_socket(arrived)?;
    let learned = Box::pin(proxy_protocol::receive(worker, &client, ends)).await;
    learned.map_err(|_told| EndReason::NoProxyHeader)?;
    if let Some(ip) = ends.client.map(|addr| addr.ip()) {
        ticket.set_address(ip).map_err(|refusal| {
            client.reject(refusal.error());
            EndReason::AddressLimit
        })?;
    }
    Ok(Box::pin(tls_handshake::client_before_info(worker, client)).await?)
}

/// A server's socket and its first line. The client has been sent nothing yet, so that after a server without INFO the next one
/// can be dialled.
async fn connect_server(
    worker: &Worker,
    ends: &Endpoints,
) -> Result<(Socket, FirstLine), EndReason> {
    let mut untried = worker.shared.servers.untried();
    loop {
        let dialled = Box::pin(dial(worker, &mut untried)).await?;
        let to = dialled.2;
        match Box::pin(announce_client(worker, dialled, ends)).await {
            Err(ended) if ended.is_servers_fault() && !untried.is_empty() => {
                tracing::debug!(server = %to, ended = ended.word(), "dialling the next server");
            }
            done => return done,
        }
    }
}

/// Sends the server a PROXY header and reads its first line.
async fn announce_client(
    worker: &Worker,
    dialled: Dialled<'_>,
    ends: &Endpoints,
) -> Result<(Socket, FirstLine), EndReason> {
    let told = Box::pin(proxy_protocol::send(
        &worker.shared.config,
        &dialled.0,
        ends,
    ))
    .await;
    told.map_err(|_gone| EndReason::Server)?;
    Box::pin(greet(worker, dialled)).await
}

/// Reads a server's first line, with TLS before or after it. The server's authentication timeout runs from here.
///
/// # Errors
/// Why it failed; failed TLS, and a peer that is no NATS server, have been logged.
pub(super) async fn greet(
    worker: &Worker,
    (stream, index, to): Dialled<'_>,
) -> Result<(Socket, FirstLine), EndReason> {
    let servers = &worker.shared.servers;
    let pass_over = |insecure: TlsFailed| {
        servers.pass_over(index);
        EndReason::from(insecure)
    };
    let server = tls_handshake::server_first(worker, (stream, to)).await;
    let server = server.map_err(pass_over)?;
    let not_nats = |ended: &EndReason| {
        if matches!(ended, EndReason::ServerSilent | EndReason::ServerMalformed) {
            server_probe::pass_over_not_nats(worker, (index, to), *ended);
        }
    };
    let said = handshake::read_first_line(worker, &server)
        .await
        .inspect_err(not_nats)?;
    // Where TLS is required, a first line other than INFO is a TLS failure.
    let server = said.secure(worker, (server, to)).await;
    let server = server.map_err(pass_over)?;
    if !said.is_from_nats_server() {
        return Err(EndReason::ServerMalformed).inspect_err(not_nats);
    }
    servers.reach().found();
    Ok((server, said))
}

/// Forwards until both peers have closed.
async fn run_to_end(worker: &Worker, session: &Session, greeting: Greeting) -> EndReason {
    let ended = match greeting {
        Greeting::Info(rest) => Box::pin(forward_both(worker, session, rest)).await,
        Greeting::Closing(rest) => Box::pin(forward_closing(worker, session, rest)).await,
    };
    if let Some(text) = ended.last_error() {
        Box::pin(send_last_error(session, text)).await;
    }
    Box::pin(close(worker, session)).await;
    ended
}

/// Sends the client a last error, after both directions have ended.
async fn send_last_error(session: &Session, text: &[u8]) {
    let mut last = Buffer::new();
    last.put(text);
    let told = socket::flush(&session.client, &mut last, WriteTimeout::Client);
    if let Err(error) = told.await {
        tracing::trace!(%error, "a client is not told why its connection ends");
    }
}

/// Counts and logs the end of a session.
fn log_end(
    worker: &Worker,
    (session, client): (u64, Endpoints),
    ended: EndReason,
    state: Option<&SessionState>,
) {
    let word = ended.word();
    let rule = state.and_then(|state| state.violated_rule);
    let peer = state.and_then(|state| state.peer.as_ref());
    let identity = peer.map(String::as_str);
    worker.meters.ended(word);
    if ended == EndReason::ServerMalformed {
        tracing::warn!(session, %client, identity, rule, "session ended: the server broke the protocol");
    } else if ended == EndReason::Shed
        && let Some(left_out) = worker.shared.shed.admit(worker.shared.clock.instant())
    {
        tracing::warn!(session, %client, identity, left_out, "session ended: it kept memory and moved little while others waited for it (limits.pending)");
    } else {
        tracing::debug!(session, %client, identity, ended = word, rule, "session ended");
    }
}

impl EndReason {
    /// For metrics and log.
    const fn word(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Stopped => "stopped",
            Self::Server => "server",
            Self::ServerMalformed => "server-malformed",
            Self::ServerSilent => "server-silent",
            Self::ClientStalled => "client-stalled",
            Self::Shed => "shed",
            Self::Unauthenticated => "auth-timeout",
            Self::TooLarge => "too-large",
            Self::AddressLimit => "address",
            Self::NoProxyHeader => "proxy-header",
            Self::NoServer => "no-server",
            Self::NoTls => "no-tls",
        }
    }

    /// The error for the client when the gateway ends the session: that of nats-server in this case.
    const fn last_error(self) -> Option<&'static [u8]> {
        match self {
            Self::Unauthenticated => Some(b"-ERR 'Authentication Timeout'\r\n"),
            Self::TooLarge => Some(b"-ERR 'Maximum Payload Violation'\r\n"),
            Self::Client
            | Self::Stopped
            | Self::Server
            | Self::ServerMalformed
            | Self::ServerSilent
            | Self::ClientStalled
            | Self::Shed
            | Self::AddressLimit
            | Self::NoProxyHeader
            | Self::NoServer
            | Self::NoTls => None,
        }
    }

    /// Whether another server may work.
    const fn is_servers_fault(self) -> bool {
        match self {
            Self::Server | Self::ServerMalformed | Self::ServerSilent | Self::NoTls => true,
            Self::Client
            | Self::Stopped
            | Self::ClientStalled
            | Self::Shed
            | Self::Unauthenticated
            | Self::TooLarge
            | Self::AddressLimit
            | Self::NoProxyHeader
            | Self::NoServer => false,
        }
    }

    /// For an error of the server's socket.
    pub(super) fn by_server(error: &io::Error) -> Self {
        if error.kind() == io::ErrorKind::OutOfMemory {
            Self::Shed
        } else {
            Self::Server
        }
    }

    /// For an error of the client's socket.
    pub(super) fn by_client(error: &io::Error) -> Self {
        if error.kind() == io::ErrorKind::OutOfMemory {
            Self::Shed
        } else if error.kind() == io::ErrorKind::TimedOut {
            Self::ClientStalled
        } else {
            Self::Client
        }
    }
}

impl From<TlsFailed> for EndReason {
    fn from(_said: TlsFailed) -> Self {
        Self::NoTls
    }
}

impl Session {
    pub(super) fn new(client: Socket, server: Socket, state: RefCell<SessionState>) -> Self {
        Self {
            client,
            server,
            state,
            wake_publish: Notify::new(),
            drain: SessionDrain::default(),
        }
    }

    /// Drains the session: what both peers have sent until then is still forwarded.
    pub(super) fn close(&self) {
        self.drain.close();
        self.wake_publish.notify_one();
    }
}

async fn dial<'w>(worker: &'w Worker, untried: &mut Untried) -> Result<Dialled<'w>, EndReason> {
    let dialled = worker.shared.servers.dial(untried).await;
    dialled.map_err(|error| {
        let now = worker.shared.clock.instant();
        if let Some(left_out) = worker.shared.unreachable.admit(now) {
            tracing::error!(%error, left_out, "client turned away");
        }
        EndReason::NoServer
    })
}

/// Registers the socket with this worker's runtime.
fn register_socket(socket: AcceptedSocket) -> Result<Socket, EndReason> {
    let adopted = match socket {
        AcceptedSocket::Tcp(stream) => TcpStream::from_std(stream).map(Socket::Tcp),
        AcceptedSocket::Unix(stream) => UnixStream::from_std(stream).map(Socket::Unix),
    };
    adopted.map_err(|error| {
        tracing::debug!(%error, "a client's socket cannot be used");
        EndReason::Client
    })
}

/// Runs both directions until one ends, then the rest of the other. `rest` is what followed the server's INFO.
async fn forward_both(worker: &Worker, session: &Session, rest: Buffer) -> EndReason {
    let mut publish = std::pin::pin!(publish::run(worker, session));
    let mut deliver = std::pin::pin!(deliver::run(worker, session, rest));
    let first = tokio::select! {
        ended = &mut publish => First::Publish(ended),
        ended = &mut deliver => First::Deliver(ended),
    };
    match first {
        // The client has closed; the server closes when it has read everything.
        First::Publish(ended) => {
            session.server.finish();
            match timeout(LINGER, deliver).await {
                Ok(EndReason::ServerMalformed) => EndReason::ServerMalformed,
                Ok(_) | Err(_) => ended,
            }
        }
        // Everything has been delivered. What the client sends until it sees the end of the stream is still forwarded.
        First::Deliver(EndReason::Stopped) => {
            session.client.finish();
            session.drain.wake_publish.notify_one();
            drop(timeout(LINGER, publish).await);
            EndReason::Stopped
        }
        // The client reads no more, but what it has sent is still forwarded.
        First::Deliver(ended @ (EndReason::Client | EndReason::ClientStalled)) => {
            drop(timeout(LINGER, publish).await);
            ended
        }
        // The server has closed; everything has been delivered.
        First::Deliver(ended) => ended,
    }
}

/// Which direction ended first, and why.
enum First {
    Publish(EndReason),
    Deliver(EndReason),
}

/// Forwards what a server that rejects the client still sends, until it closes.
async fn forward_closing(worker: &Worker, session: &Session, rest: Buffer) -> EndReason {
    timeout(LINGER, deliver::run(worker, session, rest))
        .await
        .unwrap_or(EndReason::ServerSilent)
}

/// Closes both sockets without losing what a peer has not read yet: closing a socket with unread input resets the connection,
/// which discards a final `-ERR` on one side, or a last publish on the other.
async fn close(worker: &Worker, session: &Session) {
    session.client.finish();
    session.server.finish();
    let both = async {
        tokio::join!(
            discard(worker, &session.client),
            discard(worker, &session.server)
        )
    };
    drop(timeout(DISCARD, both).await);
}

/// Closes a connection that never became a session, so that the peer can read why.
pub(super) async fn close_unstarted(worker: &Worker, socket: &Socket) {
    socket.finish();
    drop(timeout(DISCARD, discard(worker, socket)).await);
}

async fn discard(worker: &Worker, socket: &Socket) {
    let mut discarded = Input::default();
    while socket::fill_raw(socket, &mut discarded, 0, worker)
        .await
        .is_ok_and(|count| count != 0)
    {
        discarded.buffer.clear();
    }
    discarded.release(&worker.pool);
}
