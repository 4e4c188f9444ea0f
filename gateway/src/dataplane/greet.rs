//! The handshake of the NATS client protocol: INFO and CONNECT, and what the gateway changes in them.
//!
//! The server speaks first: [`hear`] reads its first line, [`tell`] forwards it. Both operations may come again at any time: a
//! server sends INFO when its cluster or an account's limits change, and a second CONNECT authenticates anew.

use std::cell::RefCell;

use memchr::memchr;
use tokio::time::timeout;

use crate::envelope::OVERHEAD;
use crate::keyring::Snapshot;
use crate::wire::connect::{self, Connect};
use crate::wire::info::{self, Info};
use crate::wire::{Buffer, Credentials, Limits, write};

use super::ServerAddr;
use super::deliver::{DeliverBatch, DeliverPath};
use super::link::Link;
use super::origin;
use super::pending::Input;
use super::secure::{self, Insecure};
use super::session::Ended;
use super::socket::{self, Patience, Socket};
use super::worker::Worker;

/// The `api_lvl` from which servers verify `proxy_sig` (ADR-55).
const KNOWS_PROXIES: i64 = 2;

/// What the server sent first; it has been forwarded to the client.
pub(super) enum Greeting {
    /// INFO; with what followed it, yet to be delivered.
    Info(Buffer),
    /// Something else, mostly `-ERR`: the server is about to close.
    Farewell(Buffer),
}

/// The server sent an INFO that is not JSON.
pub(super) struct NotAnInfo;

/// The server will close on this CONNECT, without an error.
pub(super) struct Refused;

/// The first line that a server has sent.
pub(super) struct Said {
    line: Buffer,
    /// What followed it.
    rest: Buffer,
}

impl Said {
    /// Whether it is INFO or `-ERR`, as NATS servers begin.
    pub(super) fn is_of_a_server(&self) -> bool {
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
    ///
    /// # Errors
    /// [`Insecure`].
    pub(super) async fn secure(
        &self,
        worker: &Worker,
        (server, to): (Socket, &ServerAddr),
    ) -> Result<Socket, Insecure> {
        let json = self.line.filled().get(4..).unwrap_or_default();
        let in_the_clear = matches!(server, Socket::Tcp(_));
        let (true, Ok(info)) = (self.is_info(), Info::read(json.trim_ascii())) else {
            if in_the_clear && to.tls {
                return Err(secure::interrupt(worker, to));
            }
            return Ok(server);
        };
        let server = secure::behind(worker, (server, to), &info).await?;
        let begun = in_the_clear && matches!(server, Socket::Tls(_));
        if begun && !self.rest.is_empty() {
            return Err(secure::interrupt(worker, to));
        }
        Ok(server)
    }
}

/// Reads the server's first line. The client is not read before: its operations depend on INFO, and TLS may come first. A server
/// that accepts and stays silent is given up after `limits.dial-timeout`.
///
/// # Errors
/// Why the session has ended.
pub(super) async fn hear(worker: &Worker, server: &Socket) -> Result<Said, Ended> {
    let mut input = Input::default();
    let patience = worker.shared.config.dial_timeout;
    let len = timeout(patience, line(worker, server, &mut input))
        .await
        .map_err(|_elapsed| Ended::ServerSilent)??;
    let mut line = Buffer::new();
    line.put(input.buffer.filled().get(..len).unwrap_or_default());
    input.buffer.consume(len);
    let rest = input.buffer;
    Ok(Said { line, rest })
}

/// Forwards it to the client.
///
/// # Errors
/// Why the session has ended.
pub(super) async fn tell(
    worker: &Worker,
    client: &Socket,
    said: Said,
    link: &RefCell<Link>,
) -> Result<Greeting, Ended> {
    let is_info = said.is_info();
    let Said { mut line, rest } = said;
    let mut output = worker.pool.take();
    let batch = DeliverPath::new(worker, link).batch(&mut line, &mut output);
    let flushed = socket::flush(client, &mut output, Patience::Client).await;
    worker.pool.give(output);
    if matches!(batch, DeliverBatch::Malformed) {
        return Err(Ended::ServerMalformed);
    }
    flushed.map_err(|error| Ended::by_client(&error))?;
    Ok(if is_info {
        Greeting::Info(rest)
    } else {
        Greeting::Farewell(rest)
    })
}

/// Reads until `input` holds a whole line; returns its length.
async fn line<'w>(
    worker: &'w Worker,
    server: &Socket,
    input: &mut Input<'w>,
) -> Result<usize, Ended> {
    while input.buffer.len() <= Limits::default().max_server_line {
        match socket::fill(server, input, 0, worker).await {
            Ok(0) => return Err(Ended::Server),
            Err(error) => return Err(Ended::by_server(&error)),
            Ok(_) => {}
        }
        if let Some(end) = memchr(b'\n', input.buffer.filled()) {
            return Ok(end.saturating_add(1));
        }
    }
    Err(Ended::ServerMalformed)
}

/// Rewrites an INFO for the client and keeps what it says. Every INFO is rewritten: a client that saw the server's own addresses
/// would reconnect around the gateway.
pub(super) fn info(
    json: &[u8],
    snapshot: &Snapshot,
    worker: &Worker,
    link: &mut Link,
    out: &mut Buffer,
) -> Result<(), NotAnInfo> {
    let said = Info::read(json).map_err(|_not_an_object| NotAnInfo)?;
    rewrite((json, Says::Server), (snapshot, worker), link, out)?;
    link.max_payload = said.payload_limit();
    link.headers = said.headers();
    if link.info.is_empty() && said.auth_required() {
        link.refusals.await_acceptance();
    }
    link.info = json.into();
    link.identity.greeted(&said);
    // Before CONNECT it is not about this client.
    if let Some(account) = said.remote_account.filter(|_| link.protocol.is_some()) {
        link.account_named.say(account);
    }
    if let Some(nonce) = said.nonce.filter(|_| said.api_lvl >= KNOWS_PROXIES) {
        link.nonce = Some(nonce.to_owned());
    }
    Ok(())
}

/// The server's last INFO once more, with `ldm` set: the gateway is about to stop.
pub(super) fn lame_duck(
    urls: &[String],
    snapshot: &Snapshot,
    worker: &Worker,
    link: &Link,
    out: &mut Buffer,
) -> Result<(), NotAnInfo> {
    rewrite(
        (&link.info, Says::LameDuck(urls)),
        (snapshot, worker),
        link,
        out,
    )
}

/// Why an INFO is sent.
#[derive(Clone, Copy)]
enum Says<'a> {
    /// The server has sent it.
    Server,
    /// The gateway stops; clients can reconnect to these `connect_urls`.
    LameDuck(&'a [String]),
}

fn rewrite(
    (json, says): (&[u8], Says<'_>),
    (snapshot, worker): (&Snapshot, &Worker),
    link: &Link,
    out: &mut Buffer,
) -> Result<(), NotAnInfo> {
    let config = &worker.shared.config;
    let (connect_urls, lame_duck) = match says {
        Says::Server => (config.advertise.as_slice(), false),
        Says::LameDuck(urls) => (urls, true),
    };
    let seals = !config.relay_only && snapshot.policy().protects_anything();
    let (host, port) = link.ends.reached();
    let edits = info::Edits {
        overhead: if seals { OVERHEAD } else { 0 },
        host: &host.to_string(),
        port,
        connect_urls,
        client_ip: Some(&link.ends.client_ip().to_string()),
        tls: worker.shared.secure.word(&link.ends),
        lame_duck,
    };
    let mut rewritten = Buffer::new();
    info::rewrite(json, &edits, &mut rewritten).map_err(|_not_an_object| NotAnInfo)?;
    write::info(out, rewritten.filled());
    Ok(())
}

/// Forwards a CONNECT with its credentials, adds `proxy_sig`, and applies it to `options`. A second one drops the client's
/// subscriptions, but not what is known of reply subjects: answers to sealed requests may still be due.
pub(super) fn connect<'j>(
    (json, arg_len): (&'j [u8], usize),
    worker: &Worker,
    link: &RefCell<Link>,
    options: &mut Connect,
    out: &mut Buffer,
) -> Result<Credentials<'j>, Refused> {
    if connect::is_control(json) {
        tracing::error!(
            "the control connection of a gateway was made to a gateway; set `servers` in its [control] to the NATS servers themselves"
        );
        return Err(refuse(arg_len, out));
    }
    let signature = origin::signature(worker, link);
    let edits = connect::Edits {
        proxy_sig: signature.as_deref(),
    };
    let mut rewritten = Buffer::new();
    let taken = options.take(json, &edits, &mut rewritten);
    let credentials = taken.map_err(|_closes| refuse(arg_len, out))?;
    write::connect(out, rewritten.filled(), arg_len);
    Ok(credentials)
}

/// Sends an invalid CONNECT in its place: the server ends the connection, without an error.
fn refuse(arg_len: usize, out: &mut Buffer) -> Refused {
    write::connect(out, b"{", arg_len);
    Refused
}
