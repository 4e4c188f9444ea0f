//! A signing key at rest: an Ed25519 seed wrapped under the KEK, and its public key in the clear.
//!
//! ```text
//! {
//!   "format": 1,
//!   "public": "base64 of 32 bytes",
//!   "wrapped": "base64, see `wrapped`"
//! }
//! ```

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use data_encoding::BASE64;
use serde::{Deserialize, Serialize};

use super::{Custodian, UnwrapFailed, WrapFailed, Wrapped};
use crate::fault::{Fault, faults};
use crate::later::wait;
use crate::secret::{NoEntropy, Secret, on_wiped_thread};

/// The format that this version writes, and the highest that it reads.
const FORMAT: u64 = 1;

/// What a signing key is for: with the public key, the context under which its seed is wrapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SigningPurpose {
    /// Records of the catalogue.
    Catalogue,
    /// Checkpoints of the audit log.
    Audit,
}

/// Why a signing key was not created.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SigningKeyNotMade {
    /// No random seed.
    #[error(transparent)]
    NoEntropy(#[from] NoEntropy),
    /// The custodian did not wrap it.
    #[error(transparent)]
    Wrap(#[from] WrapFailed),
}

/// Why the file of a signing key cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SigningKeyUnusable {
    /// Written by a later version.
    #[error("it has format {0}, this keyway reads up to {FORMAT}")]
    Newer(u64),
    /// The content is not as keyway writes it.
    #[error("it is damaged: {0}")]
    Damaged(String),
    /// The seed cannot be unwrapped.
    #[error(transparent)]
    Unwrap(#[from] UnwrapFailed),
}

faults! { SigningKeyNotMade {
    Self::NoEntropy(error) => error.fault(),
    Self::Wrap(error) => error.fault(),
} }

faults! { SigningKeyUnusable {
    Self::Unwrap(error) => error.fault(),
    Self::Newer(_) => Fault::operator("upgrade keyway"),
    Self::Damaged(_) => Fault::operator("restore it from a backup"),
} }

#[derive(Deserialize)]
struct Probe {
    format: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyJson {
    format: u64,
    public: String,
    wrapped: String,
}

impl SigningPurpose {
    const fn context(self) -> &'static [u8] {
        match self {
            Self::Catalogue => b"catalogue signing seed",
            Self::Audit => b"audit signing seed",
        }
    }
}

/// Generates a signing key; returns it with the content of its file.
///
/// # Errors
/// [`SigningKeyNotMade`].
pub fn create_signing_key(
    purpose: SigningPurpose,
    custodian: &dyn Custodian,
) -> Result<(Ed25519KeyPair, Vec<u8>), SigningKeyNotMade> {
    let seed = Secret::random()?;
    let pair = on_wiped_thread(|| Ed25519KeyPair::from_seed_unchecked(seed.expose()))
        .map_err(|_rejected| WrapFailed::Cipher)?;
    let public = pair.public_key().as_ref();
    let wrapped = wait(custodian.wrap(&seed, &[purpose.context(), public].concat()))?;
    let json = format!(
        "{{\n  \"format\": {FORMAT},\n  \"public\": \"{}\",\n  \"wrapped\": \"{wrapped}\"\n}}\n",
        BASE64.encode(public),
    );
    Ok((pair, json.into_bytes()))
}

/// Opens the content of a file that [`create_signing_key`] returned for the same purpose.
///
/// # Errors
/// [`SigningKeyUnusable`].
pub fn open_signing_key(
    content: &[u8],
    purpose: SigningPurpose,
    custodian: &dyn Custodian,
) -> Result<Ed25519KeyPair, SigningKeyUnusable> {
    let (json, public) = read(content)?;
    let wrapped: Wrapped = json
        .wrapped
        .parse()
        .map_err(|e| damaged(format!("`wrapped`: {e}")))?;
    let seed = wait(custodian.unwrap(&wrapped, &[purpose.context(), &public].concat()))?;
    on_wiped_thread(|| Ed25519KeyPair::from_seed_and_public_key(seed.expose(), &public))
        .map_err(|_rejected| damaged("seed and public key do not belong together"))
}

/// The public key in such a file; needs no custodian.
///
/// # Errors
/// [`SigningKeyUnusable`].
pub fn public_signing_key(content: &[u8]) -> Result<[u8; 32], SigningKeyUnusable> {
    read(content).map(|(_json, public)| public)
}

/// Reads the format first, so that a later one is reported as such.
fn read(content: &[u8]) -> Result<(KeyJson, [u8; 32]), SigningKeyUnusable> {
    let odd = |e: serde_json::Error| damaged(e.to_string());
    let Probe { format } = crate::strict_json::from_slice(content).map_err(odd)?;
    if format > FORMAT {
        return Err(SigningKeyUnusable::Newer(format));
    }
    let json: KeyJson = crate::strict_json::from_slice(content).map_err(odd)?;
    let public = BASE64
        .decode(json.public.as_bytes())
        .ok()
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or_else(|| damaged("the public key is not base64 of 32 bytes"))?;
    Ok((json, public))
}

fn damaged(what: impl Into<String>) -> SigningKeyUnusable {
    SigningKeyUnusable::Damaged(what.into())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::custody::Custody;
    use crate::disk::{Lock, StateDir};
    use crate::secret::memory::{find_in_memory, masked, on_deep_stack, with_fewer_cpu_features};

    fn kek() -> Arc<dyn Custodian> {
        let root = tempfile::tempdir().unwrap();
        let dir = StateDir::create(&root.path().join("state")).unwrap();
        let opener = Custody::File.opener().unwrap();
        opener.open_or_create(&Lock::acquire(dir).unwrap()).unwrap()
    }

    #[test]
    fn signing_key_opens_for_its_purpose_only_and_shows_its_public_half_to_all() {
        let kek = kek();
        let (pair, content) = create_signing_key(SigningPurpose::Audit, &*kek).unwrap();
        let public = pair.public_key().as_ref();
        assert_eq!(public_signing_key(&content).unwrap(), public);
        let again = open_signing_key(&content, SigningPurpose::Audit, &*kek).unwrap();
        assert_eq!(again.public_key().as_ref(), public);
        assert!(matches!(
            open_signing_key(&content, SigningPurpose::Catalogue, &*kek),
            Err(SigningKeyUnusable::Unwrap(UnwrapFailed::Damaged))
        ));
        let newer = String::from_utf8(content.clone()).unwrap();
        let newer = newer.replacen("\"format\": 1", "\"format\": 7", 1);
        assert!(matches!(
            public_signing_key(newer.as_bytes()),
            Err(SigningKeyUnusable::Newer(7))
        ));
        for cut in 0..content.len().saturating_sub(2) {
            assert!(public_signing_key(&content[..cut]).is_err());
        }
    }

    #[test]
    fn signing_leaves_no_copy_of_the_seed_in_memory() {
        with_fewer_cpu_features(
            "custodian::signing::tests::signing_leaves_no_copy_of_the_seed_in_memory",
        );
        let seed = on_deep_stack(|| {
            let kek = kek();
            let (made, content) = create_signing_key(SigningPurpose::Audit, &*kek).unwrap();
            let opened = open_signing_key(&content, SigningPurpose::Audit, &*kek).unwrap();
            drop((made, on_wiped_thread(|| opened.sign(b"what"))));
            let (json, public) = read(&content).unwrap();
            let context = [SigningPurpose::Audit.context(), &public].concat();
            let wrapped = json.wrapped.parse().unwrap();
            let seed = kek.unwrap(&wrapped, &context);
            masked(wait(seed).ok().unwrap().expose())
        });
        assert_eq!(find_in_memory(&seed), Vec::<String>::new());
    }
}
