//! Whose connection it is, said by a proxy: the gateway to the server, and a load balancer to the gateway.
//!
//! | you look for | it is in |
//! |---|---|
//! | the PROXY protocol's header, read and written | [`Header`], [`Version`] |
//! | the key whose signature makes the gateway a trusted proxy of the server (ADR-55) | [`Key`] |
//! | the hosts whose header is believed | [`Network`] |

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
