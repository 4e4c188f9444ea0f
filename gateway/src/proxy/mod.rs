//! The PROXY protocol's header ([`Header`], [`Version`]), the networks that may send it ([`Network`]), and the key of a trusted
//! proxy, whose signature the server verifies (ADR-55, [`Key`]).

#[cfg(any(test, feature = "twin", fuzzing))]
pub mod check;
mod header;
mod key;
mod network;
#[cfg(test)]
mod tests;

pub use header::{Header, LONGEST, ProxyHeaderError, Version, write};
pub use key::{InvalidSeed, Key, KeyError, Seed};
pub use network::{InvalidNetwork, Network};
