//! Wrapping and unwrapping keys under the key-encryption key (KEK).
//!
//! A [`Custodian`] guards the KEK. What it wraps is bound to a context, so that a wrapped secret is useless in another record.
//! [`local`] keeps the KEK in the state directory, or derives it from a passphrase; `OpenBao`, a KMS or a PKCS#11 module would be
//! other implementations of the trait.
//!
//! Calls block, as the catalogue's do on fsync, so both are called from a thread of the control plane and never from one that
//! serves connections. A remote custodian waits for its answer there, with a deadline of its own.

mod custodian;
pub mod local;
mod passphrase;
mod signing;
mod wrapped;

pub use custodian::{Custodian, Description, UnwrapFailed, WrapFailed};
pub use passphrase::{
    MIN_LEN as PASSPHRASE_MIN_LEN, Passphrase, PassphraseError, PassphraseSource,
};
pub use signing::{
    SigningKeyNotMade, SigningKeyUnusable, SigningPurpose, create_signing_key, open_signing_key,
    public_signing_key,
};
pub use wrapped::{KekId, ParseWrappedError, Wrapped};
