//! Conversions of single values, one for each kind.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use bytesize::ByteSize;
use toml::de::DeValue;

use crate::config::finding::ValueError;
use crate::dataplane::{ListenAddr, ServerAddr};

/// A year as `humantime` reads and writes it.
const YEAR: Duration = Duration::from_secs(31_557_600);

/// Ten years: longer than any key should live.
pub(super) const MAX_DURATION: Duration = YEAR.saturating_mul(10);

/// The longest path of a unix socket on Linux (unix(7), `sun_path`), without the final zero.
pub(super) const MAX_SOCKET_PATH: usize = 107;

/// The kind of a value, for messages.
pub(super) const fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "text",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a decimal number",
        DeValue::Boolean(_) => "a truth value",
        DeValue::Datetime(_) => "a date or time",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

fn mismatch(wanted: &str, value: &DeValue<'_>) -> ValueError {
    ValueError::new(format!("expected {wanted}, found {}", kind(value)))
}

pub(super) fn text<'v>(value: &'v DeValue<'_>) -> Result<&'v str, ValueError> {
    value
        .as_str()
        .ok_or_else(|| mismatch("text in quotes", value))
}

pub(super) fn boolean(value: &DeValue<'_>) -> Result<bool, ValueError> {
    value
        .as_bool()
        .ok_or_else(|| mismatch("`true` or `false`", value))
}

/// An integer from `least` to `most`.
pub(super) fn count(value: &DeValue<'_>, least: u64, most: u64) -> Result<u64, ValueError> {
    let integer = value
        .as_integer()
        .ok_or_else(|| mismatch("an integer", value))?;
    let parsed = u64::from_str_radix(integer.as_str(), integer.radix());
    let in_range = parsed.ok().filter(|n| (least..=most).contains(n));
    in_range.ok_or_else(|| ValueError::new(format!("{integer} is not from {least} to {most}")))
}

/// Bytes: an integer, or text with a unit.
pub(super) fn size(value: &DeValue<'_>, least: u64, most: u64) -> Result<u64, ValueError> {
    let Some(written) = value.as_str() else {
        let integer = value
            .as_integer()
            .ok_or_else(|| mismatch("a size such as \"1 TiB\"", value))?;
        let parsed = u64::from_str_radix(integer.as_str(), integer.radix());
        return within(parsed.ok(), &integer.to_string(), least, most);
    };
    let Ok(parsed) = ByteSize::from_str(written) else {
        return Err(ValueError::with_help(
            format!("`{written}` is not a size"),
            "write a number and a unit: B, kB, MB, GB, TB (powers of 1000) or KiB, MiB, GiB, TiB (powers of 1024)",
        ));
    };
    within(Some(parsed.as_u64()), written, least, most)
}

fn within(bytes: Option<u64>, written: &str, least: u64, most: u64) -> Result<u64, ValueError> {
    let in_range = bytes.filter(|n| (least..=most).contains(n));
    in_range.ok_or_else(|| {
        let (least, most) = (ByteSize(least), ByteSize(most));
        ValueError::new(format!("{written} is not from {least} to {most}"))
    })
}

pub(super) fn duration(
    value: &DeValue<'_>,
    least: Duration,
    most: Duration,
) -> Result<Duration, ValueError> {
    let Some(written) = value.as_str() else {
        return Err(mismatch("a duration such as \"24h\"", value));
    };
    let Ok(parsed) = humantime::parse_duration(written) else {
        return Err(ValueError::with_help(
            format!("`{written}` is not a duration"),
            "write numbers with units: ms, s, m, h, d, for example \"90d\" or \"1h 30m\"",
        ));
    };
    if (least..=most).contains(&parsed) {
        return Ok(parsed);
    }
    let range = (
        humantime::format_duration(least),
        humantime::format_duration(most),
    );
    Err(ValueError::new(format!(
        "{written} is not from {} to {}",
        range.0, range.1
    )))
}

/// One of the `words`.
pub(super) fn choice<T: Copy>(value: &DeValue<'_>, words: &[(&str, T)]) -> Result<T, ValueError> {
    let written = text(value)?;
    if let Some((_, chosen)) = words.iter().find(|(word, _)| *word == written) {
        return Ok(*chosen);
    }
    let known: Vec<_> = words
        .iter()
        .map(|(word, _)| format!("\"{word}\""))
        .collect();
    Err(ValueError::with_help(
        format!("`{written}` is not one of the words known here"),
        format!("write {}", known.join(" or ")),
    ))
}

/// A path, resolved against `base`.
pub(super) fn path(value: &DeValue<'_>, base: &Path) -> Result<PathBuf, ValueError> {
    full_path(text(value)?, base)
}

fn full_path(written: &str, base: &Path) -> Result<PathBuf, ValueError> {
    if written.is_empty() || written.contains('\0') {
        return Err(ValueError::new("the path is empty or holds a zero byte"));
    }
    if written.starts_with('~') || written.contains('$') {
        return Err(ValueError::with_help(
            format!("`{written}` would be taken as it stands: `~` and `$` mean nothing here"),
            "write the path in full",
        ));
    }
    Ok(base.join(written))
}

/// The address of a listener: what nats-server takes for `listen`, or `unix:` and a path; a relative path starts at `base`.
pub(super) fn listener(value: &DeValue<'_>, base: &Path) -> Result<ListenAddr, ValueError> {
    let unix = value.as_str().and_then(|text| text.strip_prefix("unix:"));
    let Some(path) = unix else {
        return network_listener(value);
    };
    let path = full_path(path, base)?;
    if path.as_os_str().len() > MAX_SOCKET_PATH {
        return Err(ValueError::new(format!(
            "{} is longer than {MAX_SOCKET_PATH} bytes, which a unix socket cannot be",
            path.display()
        )));
    }
    Ok(ListenAddr::Unix(path))
}

/// `IP:PORT`, `HOST:PORT`, or the port alone (a number, or after a colon): then at every address of the host, as in nats-server.
fn network_listener(value: &DeValue<'_>) -> Result<ListenAddr, ValueError> {
    let everywhere = |port: u16| ListenAddr::Tcp((Ipv4Addr::UNSPECIFIED, port).into());
    if value.as_integer().is_some() {
        let port = u16::try_from(count(value, 0, u16::MAX.into())?);
        return port
            .map(everywhere)
            .map_err(|error| ValueError::new(error.to_string()));
    }
    let written = text(value)?;
    if let Ok(addr) = written.parse() {
        return Ok(ListenAddr::Tcp(addr));
    }
    let (host, port) = written.rsplit_once(':').unwrap_or(("", written));
    let digits = !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit());
    match port.parse().ok().filter(|_| digits) {
        Some(port) if host.is_empty() => Ok(everywhere(port)),
        Some(port) if is_host(host) && !is_numeric(host) => {
            check_zone(host)?;
            Ok(ListenAddr::Name(unbracketed(host), port))
        }
        _ => Err(ValueError::new(format!(
            "`{written}` is not an address with a port"
        ))),
    }
}

/// The address of `admin.listen`: IP address and port; of names only `localhost`, because none is looked up.
pub(super) fn address(value: &DeValue<'_>) -> Result<SocketAddr, ValueError> {
    let not_allowed = |what: &str| ValueError::new(format!("{what} cannot stand here"));
    if value.as_str().is_some_and(|text| text.starts_with("unix:")) {
        return Err(not_allowed("a unix socket"));
    }
    match network_listener(value)? {
        ListenAddr::Tcp(addr) => Ok(addr),
        ListenAddr::Name(host, port) if host == "localhost" => {
            Ok((Ipv4Addr::LOCALHOST, port).into())
        }
        ListenAddr::Name(..) | ListenAddr::Unix(_) => {
            Err(not_allowed("a host's name other than `localhost`"))
        }
    }
}

/// `HOST:PORT`, kept as it is written.
pub(super) fn host_and_port(value: &DeValue<'_>) -> Result<String, ValueError> {
    let written = text(value)?;
    if written.contains("://") || written.contains('@') {
        return Err(ValueError::new(
            "expected a host and a port alone, found a URL",
        ));
    }
    match split_port(written) {
        Some((host, Some(_port))) if is_host(host) => {
            check_zone(host)?;
            Ok(written.to_owned())
        }
        _ => Err(ValueError::new(format!(
            "`{written}` is not a host with a port"
        ))),
    }
}

/// The URL of a server. Credentials are never repeated in a message.
pub(super) fn server(value: &DeValue<'_>) -> Result<ServerAddr, ValueError> {
    server_without(
        value,
        "but the gateway has none: each client brings its own",
        "remove what stands before `@`, `@` too",
    )
}

/// [`server`] with another message (`instead`) and remedy for credentials in the URL.
pub(super) fn server_without(
    value: &DeValue<'_>,
    instead: &str,
    help: &str,
) -> Result<ServerAddr, ValueError> {
    let written = text(value)?;
    if written.contains('@') {
        return Err(ValueError::with_help(
            format!("a server's URL holds credentials, {instead}"),
            help,
        ));
    }
    let (scheme, rest) = written.split_once("://").unwrap_or(("nats", written));
    // Clients take a path, and ignore it.
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    if matches!(scheme, "ws" | "wss") {
        return Err(ValueError::with_help(
            format!("`{written}`: `{scheme}://` to the server is not supported yet"),
            "write `tls://`, or `nats://` where the way to the server is private",
        ));
    }
    let known = matches!(scheme, "nats" | "tls");
    let parts = split_port(rest).filter(|(host, _)| known && is_host(host));
    let Some((host, port)) = parts else {
        return Err(ValueError::new(format!(
            "`{written}` is not a server's URL"
        )));
    };
    check_zone(host)?;
    Ok(ServerAddr {
        host: unbracketed(host),
        port: port.unwrap_or(4222),
        tls: scheme == "tls",
    })
}

/// Host and port of `HOST`, `HOST:PORT` or `[IPV6]:PORT`; `None` when the port is not one.
fn split_port(written: &str) -> Option<(&str, Option<u16>)> {
    let colon = written
        .rfind(':')
        .filter(|colon| !written.get(*colon..).unwrap_or_default().contains(']'));
    let Some((host, port)) = colon.and_then(|colon| written.split_at_checked(colon)) else {
        return Some((written, None));
    };
    let digits = port
        .strip_prefix(':')
        .filter(|digits| digits.bytes().all(|b| b.is_ascii_digit()));
    let port: u16 = digits?.parse().ok()?;
    (port != 0).then_some((host, Some(port)))
}

/// Whether the last label is a number, as in a mistyped IPv4 address; no host name ends so.
fn is_numeric(host: &str) -> bool {
    let last = host.rsplit('.').next().unwrap_or(host);
    last.bytes().all(|b| b.is_ascii_digit())
}

fn unbracketed(host: &str) -> String {
    let host = host.trim_start_matches('[');
    host.trim_end_matches(']').to_owned()
}

/// A host name, an IPv4 address, or an IPv6 address in brackets, with a zone or without.
fn is_host(host: &str) -> bool {
    if let Some(inside) = host.strip_prefix('[') {
        let Some(inside) = inside.strip_suffix(']') else {
            return false;
        };
        let (ip, zone) = inside.split_once('%').unwrap_or((inside, "zone"));
        let whole = !zone.is_empty() && zone.bytes().all(|b| b.is_ascii_graphic() && b != b'%');
        return whole && ip.parse::<std::net::Ipv6Addr>().is_ok();
    }
    let label = |label: &str| {
        let letters = label
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
        !label.is_empty() && label.len() <= 63 && letters
    };
    host.len() <= 253 && host.split('.').all(label)
}

/// Only a link-local address takes a zone (RFC 4007, section 6); resolvers know no other with one.
fn check_zone(host: &str) -> Result<(), ValueError> {
    let Some((ip, zone)) = host.trim_start_matches('[').split_once('%') else {
        return Ok(());
    };
    let ip: Option<std::net::Ipv6Addr> = ip.parse().ok();
    if ip.is_none_or(|ip| ip.is_unicast_link_local()) {
        return Ok(());
    }
    let zone = zone.trim_end_matches(']');
    let what = format!("`{host}`: only a link-local address (fe80::/10) takes a zone");
    Err(ValueError::with_help(what, format!("leave out `%{zone}`")))
}

/// A date, as TOML date or text; yields the end of that day in UTC.
pub(super) fn end_of_day(value: &DeValue<'_>) -> Result<SystemTime, ValueError> {
    let written = match value {
        DeValue::String(written) => written.to_string(),
        DeValue::Datetime(written) => written.to_string(),
        DeValue::Integer(_)
        | DeValue::Float(_)
        | DeValue::Boolean(_)
        | DeValue::Array(_)
        | DeValue::Table(_) => {
            return Err(mismatch("a date", value));
        }
    };
    let next = (written.len() == 10).then(|| day_after(&written)).flatten();
    next.ok_or_else(|| ValueError::new(format!("`{written}` is not a date (year-month-day)")))
}

fn day_after(written: &str) -> Option<SystemTime> {
    let date: jiff::civil::Date = written.parse().ok()?;
    let midnight = date.tomorrow().ok()?.at(0, 0, 0, 0);
    let timestamp = jiff::tz::TimeZone::UTC.to_timestamp(midnight).ok()?;
    SystemTime::try_from(timestamp).ok()
}
