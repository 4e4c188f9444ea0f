//! Listeners, servers and the limits of the message path.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use crate::config::section::Section;
use crate::config::value;
use crate::dataplane::{Config, ListenAddr, ServerAddr};

const MINUTE: Duration = Duration::from_mins(1);
const HOUR: Duration = Duration::from_hours(1);

/// How long sessions and their stages may take.
struct Limits {
    max_control_line: usize,
    miss_wait: Duration,
    dial_timeout: Duration,
    drain: Duration,
    workers: Option<usize>,
}

/// Reads the top of the file and `[limits]`.
pub(super) fn convert(root: &Section<'_>, base: &Path) -> Option<Config> {
    let (listen, all_listen) = root.some("listen", |v| value::listener(v, base));
    let (servers, all_servers) = root.some("servers", value::server);
    let relay_only = root.one("relay-only", value::truth);
    let advertise = root.many("advertise", value::host_and_port);
    let limits = limits(&root.section("limits"));
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
        listen: bare(listen),
        servers: bare(servers),
        relay_only: relay_only?,
        advertise: bare(advertise?),
        max_control_line: limits.max_control_line,
        miss_wait: limits.miss_wait,
        dial_timeout: limits.dial_timeout,
        drain: limits.drain,
        workers: limits.workers,
    })
}

fn limits(section: &Section<'_>) -> Option<Limits> {
    let millisecond = Duration::from_millis(1);
    let max_control_line = section.one("max-control-line", |v| value::size(v, 4096, 1 << 20));
    let miss_wait = section.one("miss-wait", |v| value::duration(v, Duration::ZERO, MINUTE));
    let dial_timeout = section.one("dial-timeout", |v| value::duration(v, millisecond, MINUTE));
    let drain = section.one("drain", |v| value::duration(v, Duration::ZERO, HOUR));
    let workers = section.optional("workers", |v| value::count(v, 1, 1024));
    Some(Limits {
        max_control_line: usize::try_from(max_control_line?).ok()?,
        miss_wait: miss_wait?,
        dial_timeout: dial_timeout?,
        drain: drain?,
        workers: workers?.and_then(|n| usize::try_from(n).ok()),
    })
}

/// What addresses must not have in common, and who may reach them. `admin` is the section and its address.
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
    if address.port() != 0 && network.listen.contains(&ListenAddr::Tcp(address)) {
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
    let open = network.listen.iter().filter_map(ListenAddr::tcp);
    let open: Vec<_> = open
        .filter(|address| !address.ip().is_loopback())
        .map(|address| address.to_string())
        .collect();
    if !open.is_empty() {
        let addresses = open.join(", ");
        let message = format!(
            "{addresses} can be reached from other hosts, and clients speak to it without TLS"
        );
        root.warn(
            "listen",
            message,
            "listen on a loopback address, or keep that network private",
        );
    }
    warn_of_servers(root, &network.servers);
}

/// Warns of `servers` that are reached over a network.
pub(super) fn warn_of_servers(section: &Section<'_>, servers: &[ServerAddr]) {
    let remote = servers.iter().filter(|server| !is_local(server));
    let remote: Vec<_> = remote.map(|server| format!("`{}`", server.host)).collect();
    if !remote.is_empty() {
        let (hosts, verb) = (
            remote.join(", "),
            if remote.len() == 1 { "is" } else { "are" },
        );
        let message = format!(
            "{hosts} {verb} reached without TLS: subjects, headers and credentials can be read on the way"
        );
        section.warn("servers", message, "keep that network private");
    }
}

/// Records addresses that stand twice in the list.
fn check_distinct(root: &Section<'_>, listen: &[(ListenAddr, usize)]) {
    for (index, (address, at)) in listen.iter().enumerate() {
        let earlier = listen
            .iter()
            .take(index)
            .any(|(earlier, _)| earlier == address);
        if earlier && address.tcp().is_none_or(|addr| addr.port() != 0) {
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

fn is_local(server: &ServerAddr) -> bool {
    server.host == "localhost" || server.host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
}

/// Whether the server has an address of `listen`.
pub(super) fn is_own(network: &Config, server: &ServerAddr) -> bool {
    let mut addresses = network.listen.iter().filter_map(ListenAddr::tcp);
    addresses.any(|address| same(server, address))
}

fn same(server: &ServerAddr, address: SocketAddr) -> bool {
    let host = if server.host == "localhost" {
        "127.0.0.1"
    } else {
        &server.host
    };
    let ip = host.parse().ok();
    server.port == address.port() && ip == Some(address.ip())
}

pub(super) fn bare<T>(placed: Vec<(T, usize)>) -> Vec<T> {
    placed.into_iter().map(|(value, _place)| value).collect()
}
