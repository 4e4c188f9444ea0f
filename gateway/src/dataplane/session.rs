//! One client, one connection to the server, from accept to close.

use std::cell::RefCell;
use std::rc::Rc;

use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

use crate::wire::Buffer;

use super::address::Endpoints;
use super::connection_limits::Ticket;
use super::context::Worker;
use super::dial::{Dialled, Untried};
use super::end_reason::EndReason;
use super::greeting::{self, FirstLine, Greeting};
use super::listener::AcceptedSocket;
use super::session_state::{Session, SessionState};
use super::socket::{self, LINGER, Socket, WriteTimeout};
use super::{deliver, proxy_protocol, publish, tls_handshake};

/// Up to the forwarded INFO: the client's address and limits, both sockets with their TLS. `ends` then has the address from the
/// PROXY header.
pub(super) async fn establish(
    worker: &Worker,
    arrived: AcceptedSocket,
    ends: &mut Endpoints,
    ticket: &mut Ticket,
) -> Result<(Rc<Session>, Greeting), EndReason> {
    let client = Box::pin(admit_client(worker, arrived, ends, ticket)).await?;
    let (server, said) = Box::pin(connect_server(worker, ends)).await?;
    let state = RefCell::new(worker.session_state(*ends));
    let greeting = Box::pin(greeting::forward_first_line(worker, &client, said, &state)).await?;
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
    Box::pin(tls_handshake::client_before_info(worker, client)).await
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
                tracing::debug!(server = %to, ended = <&str>::from(ended), "dialling the next server");
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
    Box::pin(greeting::greet(worker, dialled)).await
}

/// Forwards until both peers have closed.
pub(super) async fn run_to_end(
    worker: &Worker,
    session: &Session,
    greeting: Greeting,
) -> EndReason {
    let ended = match greeting {
        Greeting::Info(rest) => Box::pin(forward_both(worker, session, rest)).await,
        Greeting::Closing(rest) => Box::pin(forward_closing(worker, session, rest)).await,
    };
    if let Some(text) = ended.last_error() {
        Box::pin(send_last_error(session, text)).await;
    }
    let both = [&session.client, &session.server];
    Box::pin(socket::close(&both, &worker.pending)).await;
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
pub(super) fn log_end(
    worker: &Worker,
    (session, client): (u64, Endpoints),
    ended: EndReason,
    state: Option<&SessionState>,
) {
    let word = ended.into();
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
