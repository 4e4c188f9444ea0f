//! Listeners, servers and the limits of the message path.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use bytesize::ByteSize;

use crate::config::section::{Section, without_positions};
use crate::config::{proxy, tls, value};
use crate::dataplane::{Config, ConnectionLimits, ListenAddr, ServerAddr, Shutdown};
use crate::tls::TlsPolicy;

/// Section `[limits]`.
struct Limits {
    max_control_line: usize,
    max_message: usize,
    pending: usize,
    connection_limits: ConnectionLimits,
    auth_timeout: Duration,
    miss_wait: Duration,
    dial_timeout: Duration,
    handshake_timeout: Duration,
    workers: Option<usize>,
}

/// Reads the keys before the first section, and the sections of the message path.
pub(super) fn convert(root: &Section<'_>) -> Option<Config> {
    let (listen, all_listen) = root.non_empty_list("listen", value::listener);
    let (servers, all_servers) = root.non_empty_list("servers", value::server);
    let verified = root.list("servers-verify", value::word);
    let relay_only = root.one("relay-only", value::boolean);
    let advertise = root.list("advertise", value::host_and_port);
    let limits = limits(&root.section("limits"));
    let shutdown = shutdown(&root.section("shutdown"));
    let clients = tls::listener(root);
    let servers = without_positions(servers);
    let to_server = tls::to_server(root, &servers);
    let proxy = proxy::convert(&root.section("proxy"));
    check_distinct(root, &listen);
    if relay_only == Some(true) {
        root.warn(
            "relay-only",
            "no payload is sealed or opened".to_owned(),
            "remove it, or set `relay-only = false`, to protect what the keyrings cover",
        );
    }
    let limits = limits.filter(|_| all_listen && all_servers)?;
    Some(Config {
        listen: without_positions(listen),
        servers,
        verified: without_positions(verified?),
        relay_only: relay_only?,
        advertise: without_positions(advertise?),
        max_control_line: limits.max_control_line,
        max_message: limits.max_message,
        pending: limits.pending,
        connection_limits: limits.connection_limits,
        auth_timeout: limits.auth_timeout,
        miss_wait: limits.miss_wait,
        dial_timeout: limits.dial_timeout,
        handshake_timeout: limits.handshake_timeout,
        tls: clients?,
        server_tls: to_server?,
        shutdown: shutdown?,
        workers: limits.workers,
        proxy: proxy?,
    })
}

/// Reads `[shutdown]`.
fn shutdown(section: &Section<'_>) -> Option<Shutdown> {
    let span = |name| section.one(name, value::duration);
    let (grace, spread, drain) = (span("grace"), span("spread"), span("drain"));
    Some(Shutdown {
        grace: grace?,
        spread: spread?,
        drain: drain?,
    })
}

fn limits(section: &Section<'_>) -> Option<Limits> {
    let max_control_line = section.one("max-control-line", value::size);
    let max_message = section.one("max-message", value::size);
    let pending = section.one("pending", value::size);
    if let (Some(pending), Some(max_message)) = (pending, max_message) {
        warn_of_pending(section, pending, max_message);
    }
    let connection_limits = connection_limits(section);
    let auth_timeout = section.one("auth-timeout", value::duration);
    let miss_wait = section.one("miss-wait", value::duration);
    let dial_timeout = section.one("dial-timeout", value::duration);
    let handshake_timeout = section.one("handshake-timeout", value::duration);
    let workers = section.optional("workers", value::count);
    Some(Limits {
        max_control_line: usize::try_from(max_control_line?).ok()?,
        max_message: usize::try_from(max_message?).ok()?,
        pending: usize::try_from(pending?).ok()?,
        connection_limits: connection_limits?,
        auth_timeout: auth_timeout?,
        miss_wait: miss_wait?,
        dial_timeout: dial_timeout?,
        handshake_timeout: handshake_timeout?,
        workers: workers?,
    })
}

/// Warns where `limits.pending` is so small that a few large messages use it up: each counts twice.
fn warn_of_pending(section: &Section<'_>, pending: u64, max_message: u64) {
    if pending / 4 < max_message {
        let (pending, max_message) = (ByteSize(pending), ByteSize(max_message));
        section.warn(
            "pending",
            format!(
                "{pending} is less than four times `limits.max-message` ({max_message}): one or two messages on their way may use it up, and the slowest connections are disconnected"
            ),
            "give more, or lower `limits.max-message` to the server's `max_payload` and 64 KiB",
        );
    }
}

/// How many clients may be connected, and how fast they may come.
fn connection_limits(section: &Section<'_>) -> Option<ConnectionLimits> {
    let connections = section.one("connections", value::count);
    let per_address = section.optional("connections-per-address", value::count);
    let per_second = section.optional("connections-per-second", value::count);
    Some(ConnectionLimits {
        connections: connections?,
        per_address: per_address?,
        per_second: per_second?,
    })
}

/// Checks that listeners, servers and administration do not overlap; warns of addresses that other hosts can reach. `admin` is
/// the section and its address.
pub(super) fn check_addresses(
    root: &Section<'_>,
    network: &Config,
    admin: (&Section<'_>, Option<SocketAddr>),
) {
    warn_of_networks(root, network);
    if network.servers.iter().any(|server| is_own(network, server)) {
        let message =
            "the gateway would connect to itself: a server has an address of `listen`".to_owned();
        root.error(
            "servers",
            message,
            "give the server and the gateway different ports".to_owned(),
        );
    }
    let (section, Some(address)) = admin else {
        return;
    };
    let here = ListenAddr::Tcp(address);
    let overlaps = |listen: &ListenAddr| {
        listen.covers(address) || listen.tcp().is_some_and(|addr| here.covers(addr))
    };
    if network.listen.iter().any(overlaps) {
        let message = format!("{address} is an address of the gateway's `listen` too");
        section.error("listen", message, "give it a port of its own".to_owned());
    }
    if !address.ip().is_loopback() {
        let message =
            format!("{address} can be reached from other hosts, and has no access control");
        section.warn(
            "listen",
            message,
            "listen on a loopback address, or keep that network to operators",
        );
    }
}

fn warn_of_networks(root: &Section<'_>, network: &Config) {
    warn_of_listeners(root, network);
    warn_of_servers(root, &network.servers);
}

/// Warns of listeners that other hosts' clients can use without TLS.
fn warn_of_listeners(root: &Section<'_>, network: &Config) {
    let (how, help) = match network.tls.as_ref().map(|tls| tls.demand) {
        Some(TlsPolicy::Required) => return,
        Some(TlsPolicy::Optional) => (
            "may speak to it without TLS",
            "remove `plaintext` from [tls] as soon as every client speaks TLS",
        ),
        None => (
            "speak to it without TLS",
            "add a section [tls], listen on a loopback address, or keep that network private",
        ),
    };
    let open = network.listen.iter().filter(|listen| listen.is_open());
    let open: Vec<_> = open.map(ToString::to_string).collect();
    if !open.is_empty() {
        let addresses = open.join(", ");
        let message = format!("{addresses} can be reached from other hosts, and clients {how}");
        root.warn("listen", message, help);
    }
}

/// Warns of `servers` that are reached over a network without TLS.
pub(super) fn warn_of_servers(section: &Section<'_>, servers: &[ServerAddr]) {
    let remote = servers
        .iter()
        .filter(|server| !server.tls && !is_local(server));
    let remote: Vec<_> = remote.map(|server| format!("`{}`", server.host)).collect();
    if !remote.is_empty() {
        let (hosts, verb) = (
            remote.join(", "),
            if remote.len() == 1 { "is" } else { "are" },
        );
        let message = format!(
            "{hosts} {verb} reached without TLS: subjects, headers and credentials can be read on the way"
        );
        section.warn(
            "servers",
            message,
            "write `tls://`, or keep that network private",
        );
    }
}

/// Records duplicate addresses.
fn check_distinct(root: &Section<'_>, listen: &[(ListenAddr, usize)]) {
    for (index, (address, at)) in listen.iter().enumerate() {
        let earlier = listen
            .iter()
            .take(index)
            .any(|(earlier, _)| earlier == address);
        if earlier && !is_any_port(address) {
            let help = "remove one of the two".to_owned();
            root.error_at(
                *at,
                "listen",
                format!("{address} is in the list twice"),
                help,
            );
        }
    }
}

const fn is_any_port(address: &ListenAddr) -> bool {
    match address {
        ListenAddr::Tcp(addr) => addr.port() == 0,
        ListenAddr::Name(_, port) => *port == 0,
        ListenAddr::Unix(_) => false,
    }
}

fn is_local(server: &ServerAddr) -> bool {
    server.host == "localhost" || server.host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
}

/// Whether the server has an address of `listen`.
pub(super) fn is_own(network: &Config, server: &ServerAddr) -> bool {
    network.listen.iter().any(|listen| same(server, listen))
}

/// Whether the gateway listens at the server's address or name; a wildcard listener is at every address of this host.
fn same(server: &ServerAddr, listen: &ListenAddr) -> bool {
    match listen {
        ListenAddr::Name(host, port) if *host == server.host => *port == server.port,
        ListenAddr::Tcp(addr) if addr.ip().is_unspecified() => {
            is_local(server) && listen.covers((addr.ip(), server.port).into())
        }
        ListenAddr::Tcp(_) | ListenAddr::Name(..) | ListenAddr::Unix(_) => {
            let host = if server.host == "localhost" {
                "127.0.0.1"
            } else {
                &server.host
            };
            let ip = host.parse::<IpAddr>();
            ip.is_ok_and(|ip| listen.covers((ip, server.port).into()))
        }
    }
}
