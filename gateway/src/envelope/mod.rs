//! The ciphertext format and its limits; knows nothing of NATS. `docs/envelope.md` specifies the format.
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

mod aad;
pub mod aead;
#[cfg(any(test, feature = "twin", fuzzing))]
pub mod check;
mod header;
mod known_answer;
mod lane;
pub mod limits;
mod seal;
mod version;
mod volume;

#[cfg(test)]
#[expect(
    clippy::arithmetic_side_effects,
    reason = "test arithmetic is on lengths that the test chose"
)]
mod tests;

pub use aad::{Aad, Binding, EnvelopeId, MAX_SUBJECT_LEN};
pub use header::{Commitment, Flags, Header, HeaderError, Kid, LaneId, Suite, looks_sealed};
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
