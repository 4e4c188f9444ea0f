//! A byte of our ciphertext format, or the arithmetic of its overhead; knows nothing of NATS.
//!
//! `docs/envelope.md` is the page that fixes the format; somebody could write a decryptor from it alone. The code follows it:
//!
//! | you look for | it is in |
//! |---|---|
//! | the 32 bytes in front | [`Header`] |
//! | secrets to keys | [`VersionKey`] |
//! | plaintext to envelope, and the cap of a lane | [`Sealer`] |
//! | envelope to plaintext | [`LaneKey`] |
//! | what an envelope is bound to | [`Binding`] |
//! | the two implementations of both suites | [`aead`] |
//! | how much a key version may seal at most | [`limits`] |
//! | how that is counted | [`Used`] |

mod aad;
pub mod aead;
#[cfg(any(test, feature = "twin", fuzzing))]
pub mod check;
mod header;
mod known_answer;
mod lane;
pub mod limits;
mod seal;
mod used;
mod version;

#[cfg(test)]
#[expect(
    clippy::arithmetic_side_effects,
    reason = "test arithmetic is on lengths that the test chose"
)]
mod tests;

pub use aad::{Aad, Binding, EnvelopeId, LONGEST_SUBJECT};
pub use header::{Commitment, Flags, Header, Kid, LaneId, Refused, Suite, looks_sealed};
pub use known_answer::{WrongAnswer, self_test};
pub use lane::{LaneKey, OpenFailed};
pub use limits::{MAX_BLOCKS, MAX_MESSAGES};
pub use seal::{BoundSealer, SealFailed, Sealer};
pub use used::Used;
pub use version::{Claim, NotProven, Proof, VersionKey};

/// First bytes of every envelope: FA never starts UTF-8 or JSON.
pub const MAGIC: [u8; 2] = [0xFA, 0x4B];

/// Bytes in front of the ciphertext.
pub const HEADER_LEN: usize = 32;

/// Bytes behind the ciphertext.
pub const TAG_LEN: usize = 16;

/// What sealing adds to a payload, in bytes; the same for every payload.
pub const OVERHEAD: usize = HEADER_LEN + TAG_LEN;
