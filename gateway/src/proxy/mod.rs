//! The PROXY protocol's header ([`Header`], [`Version`]), the networks that may send it ([`Network`]), and the key of a trusted
//! proxy, whose signature the server verifies (ADR-55, [`Key`]).

#[cfg(any(test, feature = "twin", fuzzing))]
pub mod check;
mod header;
mod key;
mod network;
#[cfg(test)]
mod tests;

pub use header::{Header, LONGEST, Version, Wrong, write};
pub use key::{Key, KeyError, NotASeed, Seed};
pub use network::{Network, NotANetwork};
