//! One client, one connection to the server, from accept to close.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use tokio::net::{TcpStream, UnixStream};
use tokio::sync::Notify;
use tokio::time::timeout;

use crate::wire::Buffer;

use super::address::Ends;
use super::admission::Ticket;
use super::dial::{Dialled, Untried};
use super::greet::{self, Greeting, Said};
use super::link::Link;
use super::origin;
use super::parting::Parting;
use super::pending::Input;
use super::secure::{self, Insecure};
use super::socket::{Patience, Socket};
use super::worker::{Accepted, Arrived, Worker};
use super::{deliver, publish, socket, watch};

/// How long one peer may take to close after the other has.
pub(super) const LINGER: Duration = Duration::from_secs(10);

/// How long a closing socket's input is read and discarded, so that the peer gets no reset.
const DISCARD: Duration = Duration::from_secs(1);

/// What both directions of a session use.
pub(super) struct Session {
    pub(super) client: Socket,
    pub(super) server: Socket,
    pub(super) link: RefCell<Link>,
    /// Wakes the publish direction: there are operations for the server, or the session is to end.
    pub(super) nudge: Notify,
    /// Draining, once the gateway stops.
    pub(super) parting: Parting,
}

/// Why a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
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
    Crowded,
    /// A load balancer sent no valid PROXY header.
    Unplaced,
    /// No server could be reached.
    NoServer,
    /// TLS with the client or the server failed.
    Insecure,
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
    match Box::pin(begin(&worker, socket, &mut ends, &mut ticket)).await {
        Ok((session, greeting)) => {
            worker.enter(number, &session);
            let ended = live(&worker, &session, greeting).await;
            worker.leave(number);
            let link = session.link.borrow();
            say(&worker, (number, ends), ended, Some(&link));
        }
        Err(ended) => say(&worker, (number, ends), ended, None),
    }
}

/// Up to the forwarded INFO: the client's address and limits, both sockets with their TLS. `ends` then has the address from the
/// PROXY header.
async fn begin(
    worker: &Worker,
    arrived: Arrived,
    ends: &mut Ends,
    ticket: &mut Ticket,
) -> Result<(Rc<Session>, Greeting), Ended> {
    let client = Box::pin(arrive(worker, arrived, ends, ticket)).await?;
    let (server, said) = Box::pin(reach(worker, ends)).await?;
    let link = RefCell::new(worker.link(*ends));
    let greeting = Box::pin(greet::tell(worker, &client, said, &link)).await?;
    let client = match greeting {
        Greeting::Info(_) => secure::after_info(worker, client).await?,
        Greeting::Farewell(_) => client,
    };
    link.borrow_mut().show(client.peer());
    Ok((Rc::new(Session::new(client, server, link)), greeting))
}

/// The client's socket, after PROXY header and connection limits; with TLS where that comes before INFO.
async fn arrive(
    worker: &Worker,
    arrived: Arrived,
    ends: &mut Ends,
    ticket: &mut Ticket,
) -> Result<Socket, Ended> {
    let client = adopt(arrived)?;
    let learned = Box::pin(origin::learn(worker, &client, ends)).await;
    learned.map_err(|_told| Ended::Unplaced)?;
    if let Some(ip) = ends.client.map(|addr| addr.ip()) {
        ticket.locate(ip).map_err(|refusal| {
            client.turn_away(refusal.error());
            Ended::Crowded
        })?;
    }
    Ok(Box::pin(secure::before_info(worker, client)).await?)
}

/// A server's socket and its first line. The client has been sent nothing yet, so that after a server without INFO the next one
/// can be dialled.
async fn reach(worker: &Worker, ends: &Ends) -> Result<(Socket, Said), Ended> {
    let mut untried = worker.shared.servers.untried();
    loop {
        let dialled = Box::pin(dial(worker, &mut untried)).await?;
        let to = dialled.2;
        match Box::pin(introduce(worker, dialled, ends)).await {
            Err(ended) if ended.is_by_server() && !untried.is_empty() => {
                tracing::debug!(server = %to, ended = ended.word(), "dialling the next server");
            }
            done => return done,
        }
    }
}

/// Sends the server a PROXY header and reads its first line.
async fn introduce(
    worker: &Worker,
    dialled: Dialled<'_>,
    ends: &Ends,
) -> Result<(Socket, Said), Ended> {
    let told = Box::pin(origin::tell(&worker.shared.config, &dialled.0, ends)).await;
    told.map_err(|_gone| Ended::Server)?;
    Box::pin(hear(worker, dialled)).await
}

/// Reads a server's first line, with TLS before or after it. The server's authentication timeout runs from here.
///
/// # Errors
/// Why it failed; failed TLS, and a peer that is no NATS server, have been logged.
pub(super) async fn hear(
    worker: &Worker,
    (stream, index, to): Dialled<'_>,
) -> Result<(Socket, Said), Ended> {
    let servers = &worker.shared.servers;
    let pass_over = |insecure: Insecure| {
        servers.pass_over(index);
        Ended::from(insecure)
    };
    let server = secure::first(worker, (stream, to)).await;
    let server = server.map_err(pass_over)?;
    let strange = |ended: &Ended| {
        if matches!(ended, Ended::ServerSilent | Ended::ServerMalformed) {
            watch::stranger(worker, (index, to), *ended);
        }
    };
    let said = greet::hear(worker, &server).await.inspect_err(strange)?;
    // Where TLS is required, a first line other than INFO is a TLS failure.
    let server = said.secure(worker, (server, to)).await;
    let server = server.map_err(pass_over)?;
    if !said.is_of_a_server() {
        return Err(Ended::ServerMalformed).inspect_err(strange);
    }
    servers.reach().found();
    Ok((server, said))
}

/// Forwards until both peers have closed.
async fn live(worker: &Worker, session: &Session, greeting: Greeting) -> Ended {
    let ended = match greeting {
        Greeting::Info(rest) => Box::pin(carry(worker, session, rest)).await,
        Greeting::Farewell(rest) => Box::pin(farewell(worker, session, rest)).await,
    };
    if let Some(text) = ended.last_words() {
        Box::pin(tell(session, text)).await;
    }
    Box::pin(close(worker, session)).await;
    ended
}

/// Sends the client a last error, after both directions have ended.
async fn tell(session: &Session, text: &[u8]) {
    let mut last = Buffer::new();
    last.put(text);
    let told = socket::flush(&session.client, &mut last, Patience::Client);
    if let Err(error) = told.await {
        tracing::trace!(%error, "a client is not told why its connection ends");
    }
}

/// Counts and logs the end of a session.
fn say(worker: &Worker, (session, client): (u64, Ends), ended: Ended, link: Option<&Link>) {
    let word = ended.word();
    let rule = link.and_then(|link| link.broken);
    let peer = link.and_then(|link| link.peer.as_ref());
    let identity = peer.map(String::as_str);
    worker.meters.ended(word);
    if ended == Ended::ServerMalformed {
        tracing::warn!(session, %client, identity, rule, "session ended: the server broke the protocol");
    } else if ended == Ended::Shed
        && let Some(left_out) = worker.shared.shed.admit(worker.shared.clock.instant())
    {
        tracing::warn!(session, %client, identity, left_out, "session ended: it kept memory and moved little while others waited for it (limits.pending)");
    } else {
        tracing::debug!(session, %client, identity, ended = word, rule, "session ended");
    }
}

impl Ended {
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
            Self::Crowded => "address",
            Self::Unplaced => "proxy-header",
            Self::NoServer => "no-server",
            Self::Insecure => "no-tls",
        }
    }

    /// The error for the client when the gateway ends the session: that of nats-server in this case.
    const fn last_words(self) -> Option<&'static [u8]> {
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
            | Self::Crowded
            | Self::Unplaced
            | Self::NoServer
            | Self::Insecure => None,
        }
    }

    /// Whether another server may work.
    const fn is_by_server(self) -> bool {
        match self {
            Self::Server | Self::ServerMalformed | Self::ServerSilent | Self::Insecure => true,
            Self::Client
            | Self::Stopped
            | Self::ClientStalled
            | Self::Shed
            | Self::Unauthenticated
            | Self::TooLarge
            | Self::Crowded
            | Self::Unplaced
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

impl From<Insecure> for Ended {
    fn from(_said: Insecure) -> Self {
        Self::Insecure
    }
}

impl Session {
    pub(super) fn new(client: Socket, server: Socket, link: RefCell<Link>) -> Self {
        Self {
            client,
            server,
            link,
            nudge: Notify::new(),
            parting: Parting::default(),
        }
    }

    /// Drains the session: what both peers have sent until then is still forwarded.
    pub(super) fn close(&self) {
        self.parting.close();
        self.nudge.notify_one();
    }
}

async fn dial<'w>(worker: &'w Worker, untried: &mut Untried) -> Result<Dialled<'w>, Ended> {
    let dialled = worker.shared.servers.dial(untried).await;
    dialled.map_err(|error| {
        let now = worker.shared.clock.instant();
        if let Some(left_out) = worker.shared.unreachable.admit(now) {
            tracing::error!(%error, left_out, "client turned away");
        }
        Ended::NoServer
    })
}

/// Registers the socket with this worker's runtime.
fn adopt(socket: Arrived) -> Result<Socket, Ended> {
    let adopted = match socket {
        Arrived::Tcp(stream) => TcpStream::from_std(stream).map(Socket::Tcp),
        Arrived::Unix(stream) => UnixStream::from_std(stream).map(Socket::Unix),
    };
    adopted.map_err(|error| {
        tracing::debug!(%error, "a client's socket cannot be used");
        Ended::Client
    })
}

/// Runs both directions until one ends, then the rest of the other. `rest` is what followed the server's INFO.
async fn carry(worker: &Worker, session: &Session, rest: Buffer) -> Ended {
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
                Ok(Ended::ServerMalformed) => Ended::ServerMalformed,
                Ok(_) | Err(_) => ended,
            }
        }
        // Everything has been delivered. What the client sends until it sees the end of the stream is still forwarded.
        First::Deliver(Ended::Stopped) => {
            session.client.finish();
            session.parting.told.notify_one();
            drop(timeout(LINGER, publish).await);
            Ended::Stopped
        }
        // The client reads no more, but what it has sent is still forwarded.
        First::Deliver(ended @ (Ended::Client | Ended::ClientStalled)) => {
            drop(timeout(LINGER, publish).await);
            ended
        }
        // The server has closed; everything has been delivered.
        First::Deliver(ended) => ended,
    }
}

/// Which direction ended first, and why.
enum First {
    Publish(Ended),
    Deliver(Ended),
}

/// Forwards what a server that rejects the client still sends, until it closes.
async fn farewell(worker: &Worker, session: &Session, rest: Buffer) -> Ended {
    timeout(LINGER, deliver::run(worker, session, rest))
        .await
        .unwrap_or(Ended::ServerSilent)
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
pub(super) async fn part(worker: &Worker, socket: &Socket) {
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
