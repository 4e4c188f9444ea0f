//! Conversions of single values, one for each kind.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use bytesize::ByteSize;
use toml::de::DeValue;

use crate::config::finding::ValueError;
use crate::config::schema::Kind;
use crate::dataplane::{ListenAddr, ServerAddr};

/// The longest path of a unix socket on Linux (unix(7), `sun_path`), without the final zero.
pub(super) const MAX_SOCKET_PATH: usize = 107;

/// A value in the file, with the type of its key.
#[derive(Clone, Copy)]
pub(super) struct Value<'v> {
    pub(super) toml: &'v DeValue<'v>,
    pub(super) kind: Kind,
    /// Where a relative path starts.
    pub(super) base: &'v Path,
}

/// The conversion of a value.
pub(super) type Convert<T> = fn(Value<'_>) -> Result<T, ValueError>;

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

fn mismatch(wanted: &str, value: Value<'_>) -> ValueError {
    ValueError::new(format!("expected {wanted}, found {}", kind(value.toml)))
}

pub(super) fn text(value: Value<'_>) -> Result<&str, ValueError> {
    let text = value.toml.as_str();
    text.ok_or_else(|| mismatch("text in quotes", value))
}

/// A value that is parsed from text.
pub(super) fn parsed<T>(value: Value<'_>) -> Result<T, ValueError>
where
    T: FromStr<Err: std::fmt::Display>,
{
    let parsed = text(value)?.parse();
    parsed.map_err(|bad: T::Err| ValueError::new(bad.to_string()))
}

pub(super) fn boolean(value: Value<'_>) -> Result<bool, ValueError> {
    let boolean = value.toml.as_bool();
    boolean.ok_or_else(|| mismatch("`true` or `false`", value))
}

/// An integer in its key's range.
pub(super) fn count<N: TryFrom<u64>>(value: Value<'_>) -> Result<N, ValueError> {
    let (least, most) = range(value.kind);
    integer(value, least, most)
}

/// An integer from `least` to `most`.
pub(super) fn integer<N>(value: Value<'_>, least: u64, most: u64) -> Result<N, ValueError>
where
    N: TryFrom<u64>,
{
    let (number, written) = parsed_integer(value, "an integer")?;
    in_range(number, least, most)
        .ok_or_else(|| ValueError::new(format!("{written} is not from {least} to {most}")))
}

/// An integer (`None`: one that is out of any range), and as it is written.
fn parsed_integer(value: Value<'_>, wanted: &str) -> Result<(Option<u64>, String), ValueError> {
    let integer = value.toml.as_integer();
    let integer = integer.ok_or_else(|| mismatch(wanted, value))?;
    let parsed = u64::from_str_radix(integer.as_str(), integer.radix());
    Ok((parsed.ok(), integer.to_string()))
}

fn in_range<N: TryFrom<u64>>(number: Option<u64>, least: u64, most: u64) -> Option<N> {
    let number = number.filter(|number| (least..=most).contains(number));
    number.and_then(|number| N::try_from(number).ok())
}

const fn range(kind: Kind) -> (u64, u64) {
    if let Kind::Count(_, least, most) | Kind::Size(least, most) = kind {
        (least, most)
    } else {
        (0, u64::MAX)
    }
}

/// Bytes, in the key's range: an integer, or text with a unit.
pub(super) fn size<N: TryFrom<u64>>(value: Value<'_>) -> Result<N, ValueError> {
    let (bytes, written) = if let Some(written) = value.toml.as_str() {
        let Ok(parsed) = ByteSize::from_str(written) else {
            return Err(ValueError::with_help(
                format!("`{written}` is not a size"),
                "write a number and a unit: B, kB, MB, GB, TB (powers of 1000) or KiB, MiB, GiB, TiB (powers of 1024)",
            ));
        };
        (Some(parsed.as_u64()), written.to_owned())
    } else {
        parsed_integer(value, "a size such as \"1 TiB\"")?
    };
    let (least, most) = range(value.kind);
    in_range(bytes, least, most).ok_or_else(|| {
        let (least, most) = (ByteSize(least), ByteSize(most));
        ValueError::new(format!("{written} is not from {least} to {most}"))
    })
}

/// A size with its unit, for messages.
pub(super) fn shown_size(bytes: usize) -> ByteSize {
    ByteSize(u64::try_from(bytes).unwrap_or(u64::MAX))
}

/// A duration in its key's range.
pub(super) fn duration(value: Value<'_>) -> Result<Duration, ValueError> {
    let Some(written) = value.toml.as_str() else {
        return Err(mismatch("a duration such as \"24h\"", value));
    };
    let Ok(parsed) = humantime::parse_duration(written) else {
        return Err(ValueError::with_help(
            format!("`{written}` is not a duration"),
            "write numbers with units: ms, s, m, h, d, for example \"90d\" or \"1h 30m\"",
        ));
    };
    let (Kind::Duration(least, most) | Kind::ShorterThan(_, least, most)) = value.kind else {
        return Ok(parsed);
    };
    if (least..=most).contains(&parsed) {
        return Ok(parsed);
    }
    let [least, most] = [least, most].map(humantime::format_duration);
    let message = format!("{written} is not from {least} to {most}");
    Err(ValueError::new(message))
}

/// One of the key's words.
pub(super) fn word<T: FromStr>(value: Value<'_>) -> Result<T, ValueError> {
    let written = text(value)?;
    let words = if let Kind::Words(words) | Kind::WordList(words) = value.kind {
        words
    } else {
        &[]
    };
    let known = words.contains(&written).then(|| written.parse().ok());
    known.flatten().ok_or_else(|| {
        let words: Vec<_> = words.iter().map(|word| format!("\"{word}\"")).collect();
        ValueError::with_help(
            format!("`{written}` is not one of the words known here"),
            format!("write {}", words.join(" or ")),
        )
    })
}

/// A path; a relative one starts at the file's directory.
pub(super) fn path(value: Value<'_>) -> Result<PathBuf, ValueError> {
    full_path(text(value)?, value.base)
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

/// The address of a listener: what nats-server takes for `listen`, or `unix:` and a path.
pub(super) fn listener(value: Value<'_>) -> Result<ListenAddr, ValueError> {
    let unix = value
        .toml
        .as_str()
        .and_then(|text| text.strip_prefix("unix:"));
    let Some(path) = unix else {
        return network_listener(value);
    };
    let path = full_path(path, value.base)?;
    if path.as_os_str().len() > MAX_SOCKET_PATH {
        return Err(ValueError::new(format!(
            "{} is longer than {MAX_SOCKET_PATH} bytes, which a unix socket cannot be",
            path.display()
        )));
    }
    Ok(ListenAddr::Unix(path))
}

/// `IP:PORT`, `HOST:PORT`, or the port alone (a number, or after a colon): then at every address of the host, as in nats-server.
fn network_listener(value: Value<'_>) -> Result<ListenAddr, ValueError> {
    let everywhere = |port: u16| ListenAddr::Tcp((Ipv4Addr::UNSPECIFIED, port).into());
    if value.toml.as_integer().is_some() {
        return integer(value, 0, u16::MAX.into()).map(everywhere);
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
pub(super) fn address(value: Value<'_>) -> Result<SocketAddr, ValueError> {
    let not_allowed = |what: &str| ValueError::new(format!("{what} cannot stand here"));
    if value
        .toml
        .as_str()
        .is_some_and(|text| text.starts_with("unix:"))
    {
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
pub(super) fn host_and_port(value: Value<'_>) -> Result<String, ValueError> {
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
pub(super) fn server(value: Value<'_>) -> Result<ServerAddr, ValueError> {
    server_without(
        value,
        "but the gateway has none: each client brings its own",
        "remove what stands before `@`, `@` too",
    )
}

/// [`server`] with another message (`instead`) and remedy for credentials in the URL.
pub(super) fn server_without(
    value: Value<'_>,
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
pub(super) fn end_of_day(value: Value<'_>) -> Result<SystemTime, ValueError> {
    let written = match value.toml {
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
