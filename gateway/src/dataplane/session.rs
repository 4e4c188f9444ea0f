//! One client, one connection to the server, from accept to close.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::time::Duration;

use tokio::net::{TcpStream, UnixStream};
use tokio::sync::Notify;
use tokio::time::timeout;

use crate::wire::Buffer;

use super::greet::{self, Greeting};
use super::link::Link;
use super::socket::Socket;
use super::worker::{Accepted, Arrived, Worker};
use super::{deliver, publish, socket};

/// How long the server may take to close after the client has, and the client after the server has.
const LINGER: Duration = Duration::from_secs(10);

/// How long what a peer still sends is read and discarded after the other has closed.
const DISCARD: Duration = Duration::from_secs(1);

/// What both directions of a session need.
pub(super) struct Session {
    pub(super) client: Socket,
    pub(super) server: Socket,
    pub(super) link: RefCell<Link>,
    /// Told when the link holds something for the server.
    pub(super) nudge: Notify,
    stopping: Cell<bool>,
}

/// Why a session ended; one word in its log line.
#[derive(Clone, Copy, Debug)]
pub(super) enum Ended {
    /// The client closed, or the gateway stopped for it.
    Client,
    /// The server closed.
    Server,
    /// The server sent what no server may.
    ServerMalformed,
    /// The server accepted the connection and did not greet.
    ServerSilent,
}

/// Carries one session: the stages of its life, in order.
pub(super) async fn run(worker: Rc<Worker>, accepted: Accepted) {
    let Accepted {
        socket,
        ends,
        number,
    } = accepted;
    worker.meters.accepted.increment(1);
    let Some((client, server)) = open(&worker, socket).await else {
        return;
    };
    let link = RefCell::new(Link::new(ends));
    let greeted = greet::first(&worker, (&client, &server), &link).await;
    let session = Rc::new(Session::new(client, server, link));
    worker.enter(number, &session);
    let ended = match greeted {
        Ok(Greeting::Info(rest)) => Box::pin(carry(&worker, &session, rest)).await,
        Ok(Greeting::Farewell(rest)) => Box::pin(farewell(&worker, &session, rest)).await,
        Err(ended) => ended,
    };
    close(&worker, &session).await;
    worker.leave(number);
    say(number, &session, ended);
}

/// The session's last log line.
fn say(session: u64, of: &Session, ended: Ended) {
    let link = of.link.borrow();
    let (client, rule) = (link.ends, link.broken);
    match ended {
        Ended::ServerMalformed => {
            tracing::warn!(session, %client, rule, "session ended: the server broke the protocol");
        }
        Ended::Client | Ended::Server | Ended::ServerSilent => {
            tracing::debug!(session, %client, ended = ended.word(), rule, "session ended");
        }
    }
}

impl Ended {
    /// For the log.
    const fn word(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Server => "server",
            Self::ServerMalformed => "server-malformed",
            Self::ServerSilent => "server-silent",
        }
    }
}

impl Session {
    pub(super) fn new(client: Socket, server: Socket, link: RefCell<Link>) -> Self {
        Self {
            client,
            server,
            link,
            nudge: Notify::new(),
            stopping: Cell::new(false),
        }
    }

    /// Ends the session as if the client had closed its side: what it has sent still goes out.
    pub(super) fn stop(&self) {
        self.stopping.set(true);
        self.client.deafen();
    }

    pub(super) const fn is_stopping(&self) -> bool {
        self.stopping.get()
    }
}

/// Both sockets; `None` when no server can be reached. R28: the server's authentication time-out runs from here.
async fn open(worker: &Worker, socket: Arrived) -> Option<(Socket, Socket)> {
    let client = match adopt(socket) {
        Ok(client) => client,
        Err(error) => {
            tracing::debug!(%error, "a client's socket cannot be used");
            return None;
        }
    };
    match worker.shared.servers.dial().await {
        Ok(server) => Some((client, Socket::Tcp(server))),
        Err(error) => {
            let now = worker.shared.clock.instant();
            if let Some(left_out) = worker.shared.unreachable.admit(now) {
                tracing::error!(%error, left_out, "client turned away");
            }
            None
        }
    }
}

/// From now on the socket is this worker's.
fn adopt(socket: Arrived) -> io::Result<Socket> {
    match socket {
        Arrived::Tcp(stream) => TcpStream::from_std(stream).map(Socket::Tcp),
        Arrived::Unix(stream) => UnixStream::from_std(stream).map(Socket::Unix),
    }
}

/// Both directions at once, until one ends; then what is left of the other. `rest` is what the server said behind its greeting.
async fn carry(worker: &Worker, session: &Session, rest: Buffer) -> Ended {
    let mut publish = std::pin::pin!(publish::run(worker, session));
    let mut deliver = std::pin::pin!(deliver::run(worker, session, rest));
    let first = tokio::select! {
        () = &mut publish => None,
        ended = &mut deliver => Some(ended),
    };
    match first {
        // R35: the client has closed, or said its last; the server closes when it has read that.
        None => {
            session.server.finish();
            match timeout(LINGER, deliver).await {
                Ok(Ended::ServerMalformed) => Ended::ServerMalformed,
                Ok(Ended::Server | Ended::ServerSilent | Ended::Client) | Err(_) => Ended::Client,
            }
        }
        // The client takes no more, but what it had sent before is the server's.
        Some(Ended::Client) => {
            drop(timeout(LINGER, publish).await);
            Ended::Client
        }
        // R34: the server has closed; the client has been given everything.
        Some(ended) => ended,
    }
}

/// What a server still says that has turned the client away, until it closes.
async fn farewell(worker: &Worker, session: &Session, rest: Buffer) -> Ended {
    timeout(LINGER, deliver::run(worker, session, rest))
        .await
        .unwrap_or(Ended::ServerSilent)
}

/// Closes both sockets without losing what a peer has not read yet: a socket closed with unread input resets the connection, and
/// a reset discards a final `-ERR` on one side, or a last publish on the other.
async fn close(worker: &Worker, session: &Session) {
    session.client.finish();
    session.server.finish();
    if !session.is_stopping() {
        // Whoever keeps sending for longer than this has had time to read.
        let both = async {
            tokio::join!(
                discard(worker, &session.client),
                discard(worker, &session.server)
            )
        };
        drop(timeout(DISCARD, both).await);
    }
}

async fn discard(worker: &Worker, socket: &Socket) {
    let mut discarded = Buffer::new();
    while socket::fill(socket, &mut discarded, 0, &worker.pool)
        .await
        .is_ok_and(|count| count != 0)
    {
        discarded.clear();
    }
    socket::release(&mut discarded, &worker.pool);
}
