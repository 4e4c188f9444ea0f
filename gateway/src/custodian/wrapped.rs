//! A secret wrapped under a KEK: bytes that may be stored anywhere.
//!
//! ```text
//! offset  size  field
//! 0       1     format: 1 = AES-256-GCM, random nonce
//! 1       8     id of the KEK, so that another KEK is told from damage
//! 9       12    nonce
//! 21      32    ciphertext
//! 53      16    tag, over "keyway/1 wrap" ‖ the first 9 bytes ‖ the context
//! ```

use std::fmt;
use std::str::FromStr;

use data_encoding::{BASE64, HEXLOWER};

/// Length of every wrapped secret, in bytes.
pub(crate) const LEN: usize = 69;

/// A wrapped secret. Its text form is base64.
#[derive(Clone, PartialEq, Eq)]
pub struct Wrapped(pub(crate) [u8; LEN]);

/// A KEK's id, derived from it one way.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct KekId(pub(crate) [u8; 8]);

/// Why a text is not a wrapped secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseWrappedError {
    /// Not base64, or another length.
    #[error("not base64 of {LEN} bytes")]
    Shape,
    /// An unknown format.
    #[error("wrapped in format {0}, this keyway knows format 1: upgrade keyway")]
    Format(u8),
}

/// The parts of a wrapped secret.
pub(crate) struct Parts<'a> {
    pub(crate) prefix: &'a [u8; 9],
    pub(crate) kek: KekId,
    pub(crate) nonce: [u8; 12],
    pub(crate) ciphertext: &'a [u8; 32],
    pub(crate) tag: &'a [u8; 16],
}

/// The only format so far.
pub(crate) const FORMAT: u8 = 1;

impl Wrapped {
    pub(crate) fn parts(&self) -> Option<Parts<'_>> {
        let (prefix, rest) = self.0.split_first_chunk::<9>()?;
        let (nonce, rest) = rest.split_first_chunk()?;
        let (ciphertext, rest) = rest.split_first_chunk()?;
        let (tag, _none) = rest.split_first_chunk()?;
        let [_format, kek @ ..] = *prefix;
        Some(Parts {
            prefix,
            kek: KekId(kek),
            nonce: *nonce,
            ciphertext,
            tag,
        })
    }

    /// `None` unless the parts have the length of a wrapped secret.
    pub(crate) fn join(parts: &[&[u8]]) -> Option<Self> {
        parts.concat().try_into().ok().map(Self)
    }
}

impl FromStr for Wrapped {
    type Err = ParseWrappedError;

    fn from_str(text: &str) -> Result<Self, ParseWrappedError> {
        let bytes = BASE64
            .decode(text.as_bytes())
            .map_err(|_where| ParseWrappedError::Shape)?;
        match bytes.first() {
            Some(&FORMAT) => bytes
                .try_into()
                .map(Self)
                .map_err(|_bytes| ParseWrappedError::Shape),
            Some(&other) => Err(ParseWrappedError::Format(other)),
            None => Err(ParseWrappedError::Shape),
        }
    }
}

impl fmt::Display for Wrapped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&BASE64.encode(&self.0))
    }
}

/// Ciphertext is not secret, but of no use in a log.
impl fmt::Debug for Wrapped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Wrapped(…)")
    }
}

impl fmt::Display for KekId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for KekId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KekId({self})")
    }
}
