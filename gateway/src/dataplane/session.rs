//! One client, one connection to the server, from accept to close.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use socket2::SockRef;
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::timeout;

use crate::wire::Buffer;

use super::link::Link;
use super::worker::{Accepted, Worker};
use super::{deliver, publish, socket};

/// How long the server may take to close after the client has, and the client after the server has.
const LINGER: Duration = Duration::from_secs(10);

/// How long what a peer still sends is read and discarded after the other has closed.
const DISCARD: Duration = Duration::from_secs(1);

/// What both directions of a session need.
pub(super) struct Session {
    pub(super) client: TcpStream,
    pub(super) server: TcpStream,
    pub(super) link: RefCell<Link>,
    /// Told once the server has sent its first INFO: before that, what the client sends cannot be judged.
    pub(super) greeted: Notify,
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

/// How the publish direction ended.
#[derive(Clone, Copy, Debug)]
pub(super) enum Published {
    /// Everything that the client had to say, or all that the server would hear.
    Everything,
    /// The server never greeted, so that nothing could be published.
    NotGreeted,
}

/// Carries one session: dial, then both directions until one ends, then the other's rest.
pub(super) async fn run(worker: Rc<Worker>, accepted: Accepted) {
    let Accepted {
        socket,
        peer,
        number,
    } = accepted;
    worker.meters.accepted.increment(1);
    let Ok(session) = open(&worker, socket, peer).await else {
        return;
    };
    worker.enter(number, &session);
    let ended = carry(&worker, &session).await;
    worker.leave(number);
    let rule = session.link.borrow().broken;
    match ended {
        Ended::ServerMalformed => {
            tracing::warn!(session = number, %peer, rule, "session ended: the server broke the protocol");
        }
        Ended::Client | Ended::Server | Ended::ServerSilent => {
            tracing::debug!(session = number, %peer, ended = ended.word(), rule, "session ended");
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
    pub(super) fn new(client: TcpStream, server: TcpStream, link: Link) -> Self {
        Self {
            client,
            server,
            link: RefCell::new(link),
            greeted: Notify::new(),
            nudge: Notify::new(),
            stopping: Cell::new(false),
        }
    }

    /// Ends the session as if the client had closed its side: what it has sent still goes out.
    pub(super) fn stop(&self) {
        self.stopping.set(true);
        // Fails only when the client has gone already.
        drop(SockRef::from(&self.client).shutdown(std::net::Shutdown::Read));
    }

    pub(super) const fn is_stopping(&self) -> bool {
        self.stopping.get()
    }
}

/// R28: the server's authentication time-out runs from here, so that the dial comes first; TLS with the client will stand
/// before it.
async fn open(
    worker: &Worker,
    socket: std::net::TcpStream,
    peer: SocketAddr,
) -> io::Result<Rc<Session>> {
    let client = TcpStream::from_std(socket)?;
    let local = client.local_addr()?;
    let server = match worker.shared.servers.dial().await {
        Ok(server) => server,
        Err(error) => {
            if let Some(left_out) = worker
                .shared
                .unreachable
                .admit(worker.shared.clock.instant())
            {
                tracing::error!(%error, left_out, "client turned away");
            }
            return Err(io::ErrorKind::NotConnected.into());
        }
    };
    Ok(Rc::new(Session::new(
        client,
        server,
        Link::new(peer, local),
    )))
}

/// Both directions at once, until one ends; then what is left of the other.
async fn carry(worker: &Worker, session: &Session) -> Ended {
    let mut publish = std::pin::pin!(publish::run(worker, session));
    let mut deliver = std::pin::pin!(deliver::run(worker, session));
    let first = tokio::select! {
        published = &mut publish => First::Publish(published),
        ended = &mut deliver => First::Deliver(ended),
    };
    let ended = match first {
        First::Publish(Published::NotGreeted) => return Ended::ServerSilent,
        // R35: the client has closed, or said its last; the server closes when it has read that.
        First::Publish(Published::Everything) => {
            socket::finish(&session.server);
            match timeout(LINGER, deliver).await {
                Ok(Ended::ServerMalformed) => Ended::ServerMalformed,
                Ok(Ended::Server | Ended::ServerSilent | Ended::Client) | Err(_) => Ended::Client,
            }
        }
        // The client takes no more, but what it had sent before is the server's.
        First::Deliver(Ended::Client) => {
            drop(timeout(LINGER, publish).await);
            Ended::Client
        }
        // R34: the server has closed; the client has been given everything.
        First::Deliver(ended) => ended,
    };
    close(worker, session).await;
    ended
}

/// Which direction ended first, and how.
enum First {
    Publish(Published),
    Deliver(Ended),
}

/// Closes both sockets without losing what a peer has not read yet: a socket closed with unread input resets the connection, and
/// a reset discards a final `-ERR` on one side, or a last publish on the other.
async fn close(worker: &Worker, session: &Session) {
    socket::finish(&session.client);
    socket::finish(&session.server);
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

async fn discard(worker: &Worker, socket: &TcpStream) {
    let mut discarded = Buffer::new();
    while socket::fill(socket, &mut discarded, 0, &worker.pool)
        .await
        .is_ok_and(|count| count != 0)
    {
        discarded.clear();
    }
    socket::release(&mut discarded, &worker.pool);
}
