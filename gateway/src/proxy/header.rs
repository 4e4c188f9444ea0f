//! The header of the PROXY protocol, versions 1 (text) and 2 (binary), as specified by `HAProxy` in `proxy-protocol.txt`.
//!
//! The `proxy-header` crate has the formats. Added here: the header's length, so that nothing behind it is consumed; and
//! strictness, because the header decides which client address the server and its rules see.

use std::net::SocketAddr;

use proxy_header::{ParseConfig, Protocol, ProxiedAddress, ProxyHeader};
use strum::IntoStaticStr;

/// The longest header that is read, in bytes: version 2 with its longest (unix) addresses, and space for the TLVs that load
/// balancers add.
pub const LONGEST: usize = 536;

/// The longest header of version 1, its line end included (section 2.1).
const LONGEST_V1: usize = 107;
const BEGIN_V1: &[u8] = b"PROXY ";
const BEGIN_V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// The length of version 2's fixed part, which has the length of the rest.
const FIXED_V2: usize = 16;

/// The version of the PROXY protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// Text.
    V1,
    /// Binary.
    V2,
}

/// A whole header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The client's address. `None`: the proxy's own connection (`LOCAL`, a health check) or `UNKNOWN`; the socket's address
    /// applies.
    pub client: Option<SocketAddr>,
    /// Its length in bytes.
    pub len: usize,
}

/// Why bytes are not a valid header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error, IntoStaticStr)]
#[strum(serialize_all = "kebab-case")]
pub enum ProxyHeaderError {
    /// They do not begin like one.
    #[error("no PROXY header; a load balancer named in `proxy.accept-from` must send one")]
    Absent,
    /// They begin like one, and are malformed.
    #[error("a malformed PROXY header; it must be that of version 1 or 2, of a TCP connection")]
    Malformed,
    /// It is longer than [`LONGEST`], or 107 bytes in version 1.
    #[error(
        "a PROXY header of more than {LONGEST} bytes; have the load balancer send fewer fields"
    )]
    #[strum(serialize = "long")]
    TooLong,
}

impl Header {
    /// Reads the header at the start of `bytes`; `None` while it is incomplete.
    ///
    /// # Errors
    /// [`ProxyHeaderError`], as soon as no further byte could make it valid.
    pub fn read(bytes: &[u8]) -> Result<Option<Self>, ProxyHeaderError> {
        if Self::is_begun_by(bytes, BEGIN_V1) {
            line(bytes)
        } else if Self::is_begun_by(bytes, BEGIN_V2) {
            binary(bytes)
        } else {
            Err(ProxyHeaderError::Absent)
        }
    }

    /// Whether `bytes` begin like a header, valid or not.
    #[must_use]
    pub fn begins(bytes: &[u8]) -> bool {
        bytes.starts_with(BEGIN_V1) || bytes.starts_with(BEGIN_V2)
    }

    /// Whether `bytes` and `begin` agree as far as both go.
    fn is_begun_by(bytes: &[u8], begin: &[u8]) -> bool {
        bytes.iter().zip(begin).all(|(a, b)| a == b)
    }
}

fn line(bytes: &[u8]) -> Result<Option<Header>, ProxyHeaderError> {
    let within = bytes.get(..LONGEST_V1).unwrap_or(bytes);
    let Some(at) = memchr::memmem::find(within, b"\r\n") else {
        return if within.len() < LONGEST_V1 {
            Ok(None)
        } else {
            Err(ProxyHeaderError::TooLong)
        };
    };
    let len = at.saturating_add(2);
    parse(bytes.get(..len).unwrap_or_default()).map(Some)
}

fn binary(bytes: &[u8]) -> Result<Option<Header>, ProxyHeaderError> {
    let Some((fixed, _rest)) = bytes.split_first_chunk::<FIXED_V2>() else {
        return Ok(None);
    };
    let [.., high, low] = *fixed;
    let len = usize::from(u16::from_be_bytes([high, low])).saturating_add(FIXED_V2);
    if len > LONGEST {
        return Err(ProxyHeaderError::TooLong);
    }
    match bytes.get(..len) {
        Some(whole) => parse(whole).map(Some),
        None => Ok(None),
    }
}

/// Reads exactly these bytes as a header.
fn parse(whole: &[u8]) -> Result<Header, ProxyHeaderError> {
    let config = ParseConfig {
        include_tlvs: false,
        allow_v1: true,
        allow_v2: true,
    };
    let (header, len) = ProxyHeader::parse(whole, config)
        .map_err(|_variants_say_no_more| ProxyHeaderError::Malformed)?;
    let client = match header.proxied_address() {
        None => None,
        Some(proxied) if proxied.protocol == Protocol::Stream => Some(proxied.source),
        Some(_datagrams) => return Err(ProxyHeaderError::Malformed),
    };
    if len != whole.len() {
        return Err(ProxyHeaderError::Malformed);
    }
    Ok(Header {
        client: client.map(canonical),
        len,
    })
}

/// Appends the header for a connection from `ends.0` to `ends.1`; `None`: `LOCAL`. Addresses of two families are written as IPv6.
pub fn write(version: Version, ends: Option<(SocketAddr, SocketAddr)>, out: &mut Vec<u8>) {
    let ends = ends.map(|(client, local)| of_one_family(canonical(client), canonical(local)));
    let header = ends.map_or_else(ProxyHeader::with_local, |(client, local)| {
        ProxyHeader::with_address(ProxiedAddress::stream(client, local))
    });
    let written = match version {
        Version::V1 => header.encode_v1(out),
        Version::V2 => header.encode_v2(out),
    };
    // Cannot fail: a vector takes any length, there are no TLVs, and the families agree.
    debug_assert!(written.is_ok());
}

/// IPv4-mapped IPv6 addresses, as dual-stack sockets report them, become IPv4 addresses.
fn canonical(addr: SocketAddr) -> SocketAddr {
    SocketAddr::new(addr.ip().to_canonical(), addr.port())
}

fn of_one_family(client: SocketAddr, local: SocketAddr) -> (SocketAddr, SocketAddr) {
    match (client, local) {
        (SocketAddr::V4(_), SocketAddr::V4(_)) | (SocketAddr::V6(_), SocketAddr::V6(_)) => {
            (client, local)
        }
        (SocketAddr::V4(_), SocketAddr::V6(_)) | (SocketAddr::V6(_), SocketAddr::V4(_)) => {
            (mapped(client), mapped(local))
        }
    }
}

fn mapped(addr: SocketAddr) -> SocketAddr {
    match addr {
        SocketAddr::V4(four) => SocketAddr::new(four.ip().to_ipv6_mapped().into(), four.port()),
        SocketAddr::V6(_) => addr,
    }
}
