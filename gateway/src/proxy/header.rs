//! The header of the PROXY protocol, versions 1 (text) and 2 (binary), as `proxy-protocol.txt` of `HAProxy` specifies it.
//!
//! The `proxy-header` crate knows the formats. What is added here: how far a header may go, so that nothing behind it is taken
//! from the stream; and no leniency, because whoever may send a header says which address the server and its rules will see.

use std::net::SocketAddr;

use proxy_header::{ParseConfig, Protocol, ProxiedAddress, ProxyHeader};

/// The longest header that is read, in bytes: the fixed part of version 2, its addresses (unix ones are the longest), and room
/// for the fields that load balancers add.
pub const LONGEST: usize = 536;

/// The longest header of version 1, its line end included (section 2.1).
const LONGEST_V1: usize = 107;
const BEGIN_V1: &[u8] = b"PROXY ";
const BEGIN_V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// The part of version 2 that says how long the rest is.
const FIXED_V2: usize = 16;

/// How the header is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// A line of text.
    V1,
    /// Bytes.
    V2,
}

/// A whole header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Where the client is. `None`: the proxy speaks for itself (`LOCAL`, a health check) or cannot say (`UNKNOWN`, a unix
    /// socket), so that the socket's own address counts.
    pub client: Option<SocketAddr>,
    /// How many bytes it has; what follows belongs to the next protocol.
    pub len: usize,
}

/// Why bytes are no header that is believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Wrong {
    /// They begin like nothing of the kind.
    #[error("no PROXY header; a load balancer named in `proxy.accept-from` must send one")]
    Absent,
    /// They begin like one.
    #[error("a malformed PROXY header; it must be that of version 1 or 2, of a TCP connection")]
    Malformed,
    /// It is longer than [`LONGEST`], or 107 bytes in version 1.
    #[error(
        "a PROXY header of more than {LONGEST} bytes; have the load balancer send fewer fields"
    )]
    Long,
}

impl Wrong {
    /// The metrics' word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Absent => "absent",
            Self::Malformed => "malformed",
            Self::Long => "long",
        }
    }
}

impl Header {
    /// Reads the header at the start of `bytes`; `None` while it is not whole.
    ///
    /// # Errors
    /// [`Wrong`], as soon as no further byte could make it right.
    pub fn read(bytes: &[u8]) -> Result<Option<Self>, Wrong> {
        if Self::is_begun_by(bytes, BEGIN_V1) {
            line(bytes)
        } else if Self::is_begun_by(bytes, BEGIN_V2) {
            binary(bytes)
        } else {
            Err(Wrong::Absent)
        }
    }

    /// Whether a stream that starts with `bytes` starts with a header, right or wrong.
    #[must_use]
    pub fn begins(bytes: &[u8]) -> bool {
        bytes.starts_with(BEGIN_V1) || bytes.starts_with(BEGIN_V2)
    }

    /// Whether `bytes` are the beginning of `begin`, or begin with it.
    fn is_begun_by(bytes: &[u8], begin: &[u8]) -> bool {
        bytes.iter().zip(begin).all(|(a, b)| a == b)
    }
}

fn line(bytes: &[u8]) -> Result<Option<Header>, Wrong> {
    let within = bytes.get(..LONGEST_V1).unwrap_or(bytes);
    let Some(at) = memchr::memmem::find(within, b"\r\n") else {
        return if within.len() < LONGEST_V1 {
            Ok(None)
        } else {
            Err(Wrong::Long)
        };
    };
    let len = at.saturating_add(2);
    parse(bytes.get(..len).unwrap_or_default()).map(Some)
}

fn binary(bytes: &[u8]) -> Result<Option<Header>, Wrong> {
    let Some((fixed, _rest)) = bytes.split_first_chunk::<FIXED_V2>() else {
        return Ok(None);
    };
    let [.., high, low] = *fixed;
    let len = usize::from(u16::from_be_bytes([high, low])).saturating_add(FIXED_V2);
    if len > LONGEST {
        return Err(Wrong::Long);
    }
    match bytes.get(..len) {
        Some(whole) => parse(whole).map(Some),
        None => Ok(None),
    }
}

/// Reads exactly these bytes as a header.
fn parse(whole: &[u8]) -> Result<Header, Wrong> {
    let config = ParseConfig {
        include_tlvs: false,
        allow_v1: true,
        allow_v2: true,
    };
    let (header, len) =
        ProxyHeader::parse(whole, config).map_err(|_variants_say_no_more| Wrong::Malformed)?;
    let client = match header.proxied_address() {
        None => None,
        Some(proxied) if proxied.protocol == Protocol::Stream => Some(proxied.source),
        Some(_datagrams) => return Err(Wrong::Malformed),
    };
    if len != whole.len() {
        return Err(Wrong::Malformed);
    }
    Ok(Header {
        client: client.map(canonical),
        len,
    })
}

/// Appends the header of a connection from `ends.0` to `ends.1`; `None`: of one that has no such addresses. Addresses of two
/// families are written as IPv6 ones.
pub fn write(version: Version, ends: Option<(SocketAddr, SocketAddr)>, out: &mut Vec<u8>) {
    let ends = ends.map(|(client, local)| of_one_family(canonical(client), canonical(local)));
    let header = ends.map_or_else(ProxyHeader::with_local, |(client, local)| {
        ProxyHeader::with_address(ProxiedAddress::stream(client, local))
    });
    let written = match version {
        Version::V1 => header.encode_v1(out),
        Version::V2 => header.encode_v2(out),
    };
    // A vector takes any length, there are no fields, and the families agree.
    debug_assert!(written.is_ok());
}

/// IPv4 as such, where a socket that takes both shows it as IPv6.
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
