//! What a server says first: read, secured, and forwarded to the client.

use std::cell::RefCell;

use memchr::memchr;
use tokio::time::timeout;

use crate::wire::info::Info;
use crate::wire::{Buffer, Limits};

use super::ServerAddr;
use super::backpressure::Input;
use super::context::Worker;
use super::deliver::{DeliverBatch, DeliverPath};
use super::dial::Dialled;
use super::end_reason::EndReason;
use super::session_state::SessionState;
use super::socket::{self, Socket, WriteTimeout};
use super::tls_handshake;

/// What the server sent first; it has been forwarded to the client.
pub(super) enum Greeting {
    /// INFO; with what followed it, yet to be delivered.
    Info(Buffer),
    /// Something else, mostly `-ERR`: the server is about to close.
    Closing(Buffer),
}

/// The first line that a server has sent.
pub(super) struct FirstLine {
    line: Buffer,
    /// What followed it.
    rest: Buffer,
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
    let pass_over = |_insecure: &EndReason| servers.pass_over(index);
    let server = tls_handshake::server_first(worker, (stream, to))
        .await
        .inspect_err(pass_over)?;
    let not_nats = |ended: &EndReason| {
        if matches!(ended, EndReason::ServerSilent | EndReason::ServerMalformed) {
            pass_over_not_nats(worker, (index, to), *ended);
        }
    };
    let said = read_first_line(worker, &server)
        .await
        .inspect_err(not_nats)?;
    // Where TLS is required, a first line other than INFO is a TLS failure.
    let server = said
        .secure(worker, (server, to))
        .await
        .inspect_err(pass_over)?;
    if !said.is_from_nats_server() {
        return Err(EndReason::ServerMalformed).inspect_err(not_nats);
    }
    servers.reach().found();
    Ok((server, said))
}

/// The peer is no NATS server, or one that hangs: logs that, and the next dial begins with another.
pub(super) fn pass_over_not_nats(
    worker: &Worker,
    (index, to): (usize, &ServerAddr),
    ended: EndReason,
) {
    let shared = &worker.shared;
    shared.servers.pass_over(index);
    let why = if ended == EndReason::ServerSilent {
        "it says nothing within `limits.dial-timeout`"
    } else if ended == EndReason::Server {
        "it closes without a word"
    } else {
        "what it says first is neither INFO nor an error of NATS"
    };
    if let Some(left_out) = shared.not_nats.admit(shared.clock.instant()) {
        tracing::error!(
            server = %to, why, left_out,
            help = "check `servers`: the port of clients is meant, which is 4222 by default; if it is right, look into that server's log",
            "who listens there does not greet as a NATS server"
        );
    }
}

impl FirstLine {
    /// Whether it is INFO or `-ERR`, as NATS servers begin.
    fn is_from_nats_server(&self) -> bool {
        self.is_info() || self.begins(b"-ERR")
    }

    fn is_info(&self) -> bool {
        self.begins(b"INFO")
    }

    fn begins(&self, verb: &[u8; 4]) -> bool {
        let first = self.line.filled().get(..verb.len());
        first.is_some_and(|first| first.eq_ignore_ascii_case(verb))
    }

    /// Upgrades to TLS where it follows INFO.
    async fn secure(
        &self,
        worker: &Worker,
        (server, to): (Socket, &ServerAddr),
    ) -> Result<Socket, EndReason> {
        let json = self.line.filled().get(4..).unwrap_or_default();
        let in_the_clear = matches!(server, Socket::Tcp(_));
        let (true, Ok(info)) = (self.is_info(), Info::read(json.trim_ascii())) else {
            if in_the_clear && to.tls {
                return Err(tls_handshake::refuse_cleartext(worker, to));
            }
            return Ok(server);
        };
        let server = tls_handshake::server_after_info(worker, (server, to), &info).await?;
        let begun = in_the_clear && matches!(server, Socket::Tls(_));
        if begun && !self.rest.is_empty() {
            return Err(tls_handshake::refuse_cleartext(worker, to));
        }
        Ok(server)
    }
}

/// Reads the server's first line. The client is not read before: its operations depend on INFO, and TLS may come first. A server
/// that accepts and stays silent is given up after `limits.dial-timeout`.
///
/// # Errors
/// Why the session has ended.
async fn read_first_line(worker: &Worker, server: &Socket) -> Result<FirstLine, EndReason> {
    let mut input = Input::default();
    let patience = worker.shared.config.dial_timeout;
    let len = timeout(patience, read_line(worker, server, &mut input))
        .await
        .map_err(|_elapsed| EndReason::ServerSilent)??;
    let mut line = Buffer::new();
    line.put(input.buffer.filled().get(..len).unwrap_or_default());
    input.buffer.consume(len);
    let rest = input.buffer;
    Ok(FirstLine { line, rest })
}

/// Forwards it to the client.
///
/// # Errors
/// Why the session has ended.
pub(super) async fn forward_first_line(
    worker: &Worker,
    client: &Socket,
    said: FirstLine,
    state: &RefCell<SessionState>,
) -> Result<Greeting, EndReason> {
    let is_info = said.is_info();
    let FirstLine { mut line, rest } = said;
    let mut output = worker.pending.pool.take();
    let batch = DeliverPath::new(worker, state).batch(&mut line, &mut output);
    let flushed = socket::flush(client, &mut output, WriteTimeout::Client).await;
    worker.pending.pool.give(output);
    if matches!(batch, DeliverBatch::Malformed) {
        return Err(EndReason::ServerMalformed);
    }
    flushed.map_err(|error| EndReason::by_client(&error))?;
    Ok(if is_info {
        Greeting::Info(rest)
    } else {
        Greeting::Closing(rest)
    })
}

/// Reads until `input` holds a whole line; returns its length.
async fn read_line<'w>(
    worker: &'w Worker,
    server: &Socket,
    input: &mut Input<'w>,
) -> Result<usize, EndReason> {
    while input.buffer.len() <= Limits::default().max_server_line {
        match socket::fill(server, input, 0, &worker.pending).await {
            Ok(0) => return Err(EndReason::Server),
            Err(error) => return Err(EndReason::by_server(&error)),
            Ok(_) => {}
        }
        if let Some(end) = memchr(b'\n', input.buffer.filled()) {
            return Ok(end.saturating_add(1));
        }
    }
    Err(EndReason::ServerMalformed)
}
