//! An IP network in CIDR notation.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

/// An IP network such as `10.0.0.0/8`, or a single address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    first: IpAddr,
    /// The prefix length: at most 32 or 128.
    bits: u8,
}

/// Not an IP network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidNetwork {
    /// Neither an address nor an address with a prefix length.
    #[error("not an IP address, nor one with a length in bits")]
    Shape,
    /// The address has host bits set: the address or the length is a mistake.
    #[error("the address has bits set behind the first {0}")]
    HostBits(u8),
}

impl Network {
    /// Whether it contains `addr`. IPv4-mapped IPv6 addresses count as IPv4.
    #[must_use]
    pub fn contains(&self, addr: IpAddr) -> bool {
        match (self.first, addr.to_canonical()) {
            (IpAddr::V4(first), IpAddr::V4(addr)) => {
                (first.to_bits() ^ addr.to_bits()) & mask4(self.bits) == 0
            }
            (IpAddr::V6(first), IpAddr::V6(addr)) => {
                (first.to_bits() ^ addr.to_bits()) & mask6(self.bits) == 0
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }
}

impl FromStr for Network {
    type Err = InvalidNetwork;

    fn from_str(text: &str) -> Result<Self, InvalidNetwork> {
        let (addr, bits) = text
            .split_once('/')
            .map_or((text, None), |(addr, bits)| (addr, Some(bits)));
        let first: IpAddr = addr.parse().map_err(|_shape| InvalidNetwork::Shape)?;
        let most = if first.is_ipv4() { 32 } else { 128 };
        let digits = bits.filter(|bits| bits.bytes().all(|b| b.is_ascii_digit()));
        let bits = match (bits, digits) {
            (None, _) => most,
            (Some(_), digits) => digits
                .and_then(|digits| digits.parse().ok())
                .filter(|bits| *bits <= most)
                .ok_or(InvalidNetwork::Shape)?,
        };
        let behind = match first {
            IpAddr::V4(first) => u128::from(first.to_bits() & !mask4(bits)),
            IpAddr::V6(first) => first.to_bits() & !mask6(bits),
        };
        if behind != 0 {
            return Err(InvalidNetwork::HostBits(bits));
        }
        if matches!(first, IpAddr::V6(first) if is_mapped(&first)) {
            return Err(InvalidNetwork::Shape);
        }
        Ok(Self { first, bits })
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.first, self.bits)
    }
}

/// IPv4-mapped: no address matches such a network, since those are compared as IPv4.
fn is_mapped(addr: &Ipv6Addr) -> bool {
    addr.to_ipv4_mapped().is_some()
}

fn mask4(bits: u8) -> u32 {
    u32::MAX
        .checked_shl(32_u32.saturating_sub(u32::from(bits)))
        .unwrap_or(0)
}

fn mask6(bits: u8) -> u128 {
    u128::MAX
        .checked_shl(128_u32.saturating_sub(u32::from(bits)))
        .unwrap_or(0)
}
