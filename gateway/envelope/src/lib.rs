//! Envelopes: self-contained ciphertexts for messages, under keys that rotate.
//!
//! An envelope is a message sealed with AES-256-GCM or AES-256-GCM-SIV and 48 bytes longer than it. Its header says which key
//! version opens it, so that old messages stay readable after a rotation; it can be bound to the subject that it was published
//! on and to the request that it answers, so that it opens nowhere else. `docs/envelope.md` specifies the format,
//! `docs/envelope-vectors.json` has vectors for other implementations. Transport, storage and rotation of keys are the caller's.
//!
//! A [`VersionKey`] is derived from a root [`Secret`](secret::Secret), the name of a keyring and a version number. Each writer
//! seals with a [`Sealer`] of its own, which draws a random lane id: nonces stay unique without coordination between threads,
//! processes or machines. Any holder of the version opens with the [`LaneKey`] that the [`Header`] names.
//!
//! ```
//! use keyway_envelope::{Binding, Header, OVERHEAD, Sealer, Suite, VersionKey, secret::Secret};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let version = VersionKey::derive("agents", 1, &Secret::random()?);
//! let bound = Binding::to(Some(b"agents.alice.tasks"));
//!
//! let mut envelope = [0; 5 + OVERHEAD];
//! Sealer::new(&version, Suite::Aes256Gcm)?.seal(bound, b"hello", &mut envelope)?;
//!
//! let header = Header::parse(&envelope)?;
//! assert_eq!(header.kid, version.kid());
//! let mut plaintext = [0; 5];
//! version.lane(header.suite, header.lane).open(&header, bound, &envelope, &mut plaintext)?;
//! assert_eq!(&plaintext, b"hello");
//! # Ok(()) }
//! ```
//!
//! | content | item |
//! |---|---|
//! | the header, 32 bytes | [`Header`] |
//! | key derivation, proof of possession | [`VersionKey`] |
//! | sealing, and the cap of a lane | [`Sealer`] |
//! | opening | [`LaneKey`] |
//! | the authenticated context of an envelope | [`Binding`] |
//! | the AEAD implementations | [`aead`] |
//! | limits of lanes and key versions | [`limits`] |
//! | amounts of sealed data | [`Volume`] |
//! | key material in memory | [`secret`] |
//!
//! What the caller must see to:
//! - Draw a new [`Sealer`] when one fails with [`SealFailed::LaneEnded`], and after [`limits::MAX_AGE`].
//! - Switch to a new key version before [`limits::HardLimit`] is reached over all writers.
//! - Run [`self_test`] at the start, and do not go on if it fails.
//! - Detect replays where they matter: an envelope opens as often as it is presented.
//!
//! The cryptography is that of aws-lc-rs. The feature `twin` compiles the pure-Rust implementation beside it, and
//! `pure-rust-aead` seals and opens with that one. The examples `seal`, `open`, `inspect` and `vectors` each run alone:
//! `cargo run -p keyway-envelope --example seal`.

mod aad;
pub mod aead;
#[doc(hidden)]
pub mod check;
mod header;
mod known_answer;
mod lane;
pub mod limits;
mod seal;
pub mod secret;
mod version;
mod volume;

#[cfg(test)]
#[expect(
    clippy::arithmetic_side_effects,
    reason = "test arithmetic is on lengths that the test chose"
)]
mod tests;

pub use aad::{Aad, Binding, MAX_SUBJECT_LEN};
pub use header::{
    Commitment, EnvelopeId, Flags, Header, HeaderError, Kid, LaneId, Suite, looks_sealed,
};
pub use known_answer::{SelfTestFailed, self_test};
pub use lane::{LaneKey, OpenFailed};
pub use limits::{MAX_BLOCKS, MAX_MESSAGES};
pub use seal::{BoundSealer, SealFailed, Sealer};
pub use version::{Claim, NotProven, Proof, VersionKey};
pub use volume::Volume;

/// First bytes of every envelope: no UTF-8 text, and so no JSON, starts with FA.
pub const MAGIC: [u8; 2] = [0xFA, 0x4B];

/// Bytes of the header, before the ciphertext.
pub const HEADER_LEN: usize = 32;

/// Bytes of the tag, after the ciphertext.
pub const TAG_LEN: usize = 16;

/// Bytes that sealing adds to any payload.
pub const OVERHEAD: usize = HEADER_LEN + TAG_LEN;
