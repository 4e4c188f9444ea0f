//! Two implementations of both suites behind one trait. The caller keeps nonces unique.
//!
//! [`aws`] is the default. `pure` is in pure Rust: compiled for tests and with the feature `twin`, where each opens the envelopes
//! of the other; the feature `pure-rust-aead` makes it the default.

pub mod aws;
#[cfg(any(test, feature = "twin"))]
pub mod pure;

use super::{Suite, TAG_LEN};

/// Bytes of an AEAD key.
pub const KEY_LEN: usize = 32;

/// Bytes of a nonce.
pub const NONCE_LEN: usize = 12;

#[cfg(not(feature = "pure-rust-aead"))]
pub use aws::Aws as DefaultAead;
#[cfg(feature = "pure-rust-aead")]
pub use pure::Pure as DefaultAead;

/// An AEAD key schedule that seals and opens between separate buffers, without allocating.
pub trait Aead: Sized + Send + Sync {
    /// Expands `key`; wipes what it keeps when dropped.
    fn new(suite: Suite, key: &[u8; KEY_LEN]) -> Self;

    /// Derives and expands a key, and wipes as much of the stack as that uses with this implementation on any processor.
    fn on_wiped_stack<T>(work: impl FnOnce() -> T) -> T;

    /// Before: `plaintext` and `ciphertext` have one length. After: `ciphertext` and `tag` are written. On failure: unspecified.
    ///
    /// # Errors
    /// [`Failed`] when the lengths differ or exceed what the suite takes.
    fn seal(
        &self,
        nonce: [u8; NONCE_LEN],
        aad: &[u8],
        plaintext: &[u8],
        sealed: Sealed<&mut [u8], &mut [u8; TAG_LEN]>,
    ) -> Result<(), Failed>;

    /// Before: `ciphertext` and `plaintext` have one length. After: `plaintext` is written. On failure: `plaintext` is
    /// unspecified, and the caller wipes it.
    ///
    /// # Errors
    /// [`Failed`] when the tag does not fit; the comparison takes constant time.
    fn open(
        &self,
        nonce: [u8; NONCE_LEN],
        aad: &[u8],
        sealed: Sealed<&[u8], &[u8; TAG_LEN]>,
        plaintext: &mut [u8],
    ) -> Result<(), Failed>;
}

/// The output of an AEAD.
#[derive(Debug)]
pub struct Sealed<Text, Tag> {
    /// As long as the plaintext.
    pub ciphertext: Text,
    /// 16 bytes.
    pub tag: Tag,
}

/// The AEAD failed; no cause is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failed;
