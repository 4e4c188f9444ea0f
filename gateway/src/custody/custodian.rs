//! The custodian of the key-encryption key (KEK), as a trait.

use super::wrapped::{KekId, Wrapped};
use crate::fault::{Fault, faults};
use crate::secret::{NoEntropy, Secret};

/// Guards the KEK.
pub trait Custodian: Send + Sync {
    /// Wraps a secret; only the same context unwraps it.
    ///
    /// # Errors
    /// [`WrapFailed`].
    fn wrap(&self, secret: &Secret, context: &[u8]) -> Result<Wrapped, WrapFailed>;

    /// Unwraps what [`Custodian::wrap`] returned for this context.
    ///
    /// # Errors
    /// [`UnwrapFailed`], which tells another KEK from damage.
    fn unwrap(&self, wrapped: &Wrapped, context: &[u8]) -> Result<Secret, UnwrapFailed>;

    /// A description for status and logs.
    fn describe(&self) -> Description;
}

/// A custodian, in words that may be logged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// `file` or `passphrase`, as in the configuration.
    pub kind: &'static str,
    /// The path of the KEK or its parameters.
    pub place: String,
    /// The KEK's id.
    pub kek: KekId,
}

/// Why a secret could not be wrapped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WrapFailed {
    /// No random nonce.
    #[error(transparent)]
    NoEntropy(#[from] NoEntropy),
    /// The cipher refused.
    #[error("the cipher refused to wrap a 32-byte secret: this is a defect, please report it")]
    Cipher,
}

/// Why a wrapped secret could not be unwrapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UnwrapFailed {
    /// Wrapped under another KEK.
    #[error("it is wrapped under the key-encryption key {wrapped}, but the one in use is {ours}")]
    OtherKek {
        /// The KEK that wrapped it.
        wrapped: KekId,
        /// The KEK in use.
        ours: KekId,
    },
    /// Wrapped under this KEK, but bytes or context differ.
    #[error("the wrapped secret is damaged, or was moved here from another record")]
    Damaged,
}

faults! { WrapFailed {
    Self::NoEntropy(error) => error.fault(),
    Self::Cipher => Fault::DEFECT,
} }

faults! { UnwrapFailed {
    Self::OtherKek { .. } => Fault::custodian("restore the `kek` (or `kek.json`) that belongs to this state directory"),
    Self::Damaged => Fault::operator("restore the file from a backup"),
} }
