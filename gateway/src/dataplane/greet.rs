//! INFO and CONNECT: what the two sides tell each other, and what the gateway changes in it.
//!
//! Both may come at any time, not only first: a server sends INFO again when its cluster or an account's limits change, and a
//! second CONNECT authenticates anew. Each goes through here.

use crate::envelope::OVERHEAD;
use crate::keyring::Snapshot;
use crate::wire::connect::{self, Connect};
use crate::wire::info::{self, Info, Tls};
use crate::wire::{Buffer, write};

use super::link::{Greeting, Link};
use super::worker::Worker;

/// The server sent an INFO that is not JSON.
pub(super) struct NotAnInfo;

/// The server will close on this CONNECT, without a word.
pub(super) struct Refused;

/// Rewrites an INFO for the client and remembers what the server said. Every INFO is rewritten alike (NATS.md, section 3): a
/// client that saw the server's own addresses would reconnect around the gateway.
pub(super) fn info(
    json: &[u8],
    snapshot: &Snapshot,
    worker: &Worker,
    link: &mut Link,
    out: &mut Buffer,
) -> Result<(), NotAnInfo> {
    let said = Info::read(json).map_err(|_not_an_object| NotAnInfo)?;
    let config = &worker.shared.config;
    let seals = !config.relay_only && snapshot.policy().protects_anything();
    let edits = info::Edits {
        overhead: if seals { OVERHEAD } else { 0 },
        host: &link.local.ip().to_string(),
        port: link.local.port(),
        connect_urls: &config.advertise,
        client_ip: Some(&link.peer.ip().to_string()),
        tls: Tls::None,
        lame_duck: false,
    };
    let mut rewritten = Buffer::new();
    info::rewrite(json, &edits, &mut rewritten).map_err(|_not_an_object| NotAnInfo)?;
    write::info(out, rewritten.filled());
    link.max_payload = said.payload_limit();
    link.headers = said.headers();
    if link.greeting == Greeting::Awaited {
        link.greeting = Greeting::Came;
    }
    Ok(())
}

/// Forwards a CONNECT, credentials included, and applies it to `options`. A second one drops the client's subscriptions (R8), but
/// not what reply subjects stand for: the client may still owe answers to sealed requests.
pub(super) fn connect(
    json: &[u8],
    arg_len: usize,
    options: &mut Connect,
    out: &mut Buffer,
) -> Result<(), Refused> {
    if connect::is_control(json) {
        tracing::error!(
            "the control connection of a gateway was made to a gateway; set `servers` in its [control] to the NATS servers themselves"
        );
        // What no server takes for a CONNECT: it ends the connection.
        write::connect(out, b"{", arg_len);
        return Err(Refused);
    }
    let mut rewritten = Buffer::new();
    connect::rewrite(json, &connect::Edits::default(), &mut rewritten);
    write::connect(out, rewritten.filled(), arg_len);
    options.apply(json).map_err(|_closes| Refused)
}
