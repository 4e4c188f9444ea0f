//! Listeners, servers and the limits of the message path.

use std::net::{IpAddr, SocketAddr};

use crate::config::section::{Section, read_all};
use crate::config::{proxy, tls, value};
use crate::dataplane::{Config, ConnectionLimits, ListenAddr, ServerAddr, Shutdown};
use crate::tls::TlsPolicy;

/// Reads the keys before the first section, and the sections of the message path.
pub(super) fn convert(root: &Section<'_>) -> Option<Config> {
    let (listen, all_listen) = root.non_empty_list("listen", value::listener);
    let (servers, all_servers) = root.non_empty_list("servers", value::server);
    check_distinct(root, &listen);
    let servers = without_positions(servers);
    let relay_only = root.one("relay-only", value::boolean);
    if relay_only == Some(true) {
        root.warn(
            "relay-only",
            "no payload is sealed or opened",
            "remove it, or set `relay-only = false`, to protect what the keyrings cover",
        );
    }
    let limits = root.section("limits");
    let max_message = limits.one("max-message", value::size);
    let pending = limits.one("pending", value::size);
    warn_of_pending(&limits, pending.zip(max_message));
    read_all!(Config {
        server_tls: tls::to_server(root, &servers),
        listen: all_listen.then(|| without_positions(listen)),
        servers: all_servers.then_some(servers),
        verified: root.list("servers-verify", value::word),
        relay_only: relay_only,
        advertise: root.list("advertise", value::host_and_port),
        max_control_line: limits.one("max-control-line", value::size),
        max_message: max_message,
        pending: pending,
        connection_limits: connection_limits(&limits),
        auth_timeout: limits.one("auth-timeout", value::duration),
        miss_wait: limits.one("miss-wait", value::duration),
        dial_timeout: limits.one("dial-timeout", value::duration),
        handshake_timeout: limits.one("handshake-timeout", value::duration),
        tls: tls::listener(root),
        shutdown: shutdown(&root.section("shutdown")),
        workers: limits.optional("workers", value::count),
        proxy: proxy::convert(&root.section("proxy")),
    })
}

/// The values of a list.
pub(super) fn without_positions<T>(placed: Vec<(T, usize)>) -> Vec<T> {
    placed.into_iter().map(|(value, _place)| value).collect()
}

fn shutdown(section: &Section<'_>) -> Option<Shutdown> {
    read_all!(Shutdown {
        grace: section.one("grace", value::duration),
        spread: section.one("spread", value::duration),
        drain: section.one("drain", value::duration),
    })
}

/// Warns where `limits.pending` is so small that a few large messages use it up: each counts twice.
fn warn_of_pending(section: &Section<'_>, pair: Option<(usize, usize)>) {
    if let Some((pending, max_message)) = pair.filter(|(pending, most)| pending / 4 < *most) {
        let [pending, max_message] = [pending, max_message].map(value::shown_size);
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
    read_all!(ConnectionLimits {
        connections: section.one("connections", value::count),
        per_address: section.optional("connections-per-address", value::count),
        per_second: section.optional("connections-per-second", value::count),
    })
}

/// Checks that listeners, servers and administration do not overlap; warns of addresses that other hosts can reach. `admin` is
/// the section and its address.
pub(super) fn check_addresses(
    root: &Section<'_>,
    network: &Config,
    admin: (&Section<'_>, Option<SocketAddr>),
) {
    warn_of_listeners(root, network);
    warn_of_servers(root, &network.servers);
    if network.servers.iter().any(|server| is_own(network, server)) {
        root.error(
            "servers",
            "the gateway would connect to itself: a server has an address of `listen`",
            "give the server and the gateway different ports",
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
        section.error("listen", message, "give it a port of its own");
    }
    if !address.ip().is_loopback() {
        section.warn(
            "listen",
            format!("{address} can be reached from other hosts, and has no access control"),
            "listen on a loopback address, or keep that network to operators",
        );
    }
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
        let hosts = remote.join(", ");
        let verb = if remote.len() == 1 { "is" } else { "are" };
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
        let mut earlier = listen.iter().take(index);
        if earlier.any(|(earlier, _)| earlier == address) && !is_any_port(address) {
            let message = format!("{address} is in the list twice");
            root.error_at(*at, "listen", message, "remove one of the two");
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
            let host = Some(&*server.host).filter(|host| *host != "localhost");
            let ip = host.unwrap_or("127.0.0.1").parse::<IpAddr>();
            ip.is_ok_and(|ip| listen.covers((ip, server.port).into()))
        }
    }
}
