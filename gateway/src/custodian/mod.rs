//! The custodian of the key-encryption key (KEK) as the rest of the gateway knows it, and what it wraps.
//!
//! A [`Custodian`] guards the KEK. What it wraps is bound to a context, so that a wrapped secret is useless in another record.

mod signing;
mod wrapped;

pub use signing::{
    SigningKeyNotMade, SigningKeyUnusable, SigningPurpose, create_signing_key, open_signing_key,
    public_signing_key,
};
pub(crate) use wrapped::FORMAT;
pub use wrapped::{KekId, ParseWrappedError, Wrapped};

use crate::fault::{Fault, faults};
use crate::later::Later;
use crate::secret::{NoEntropy, Secret};

/// Guards the KEK. Answers come later; one that waits for another process or host does so on a thread of its own, with a deadline.
pub trait Custodian: Send + Sync {
    /// Wraps a secret; only the same context unwraps it.
    ///
    /// # Errors
    /// [`WrapFailed`].
    fn wrap<'a>(
        &'a self,
        secret: &'a Secret,
        context: &'a [u8],
    ) -> Later<'a, Result<Wrapped, WrapFailed>>;

    /// Unwraps what [`Custodian::wrap`] returned for this context.
    ///
    /// # Errors
    /// [`UnwrapFailed`], which tells another KEK from damage.
    fn unwrap<'a>(
        &'a self,
        wrapped: &'a Wrapped,
        context: &'a [u8],
    ) -> Later<'a, Result<Secret, UnwrapFailed>>;

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
