//! Files that only this catalogue could have written.
//!
//! A file is a JSON document of several lines, then one more on the last line that signs the exact bytes before it. Nothing is
//! canonicalised, so nothing can be read in two ways; `jq` reads the whole file as two documents.
//!
//! ```text
//! {
//!   "format": 1,
//!   …
//! }
//! {"catalogue":"5f0c…","signature":"base64 of Ed25519(\"keyway/1 record\" ‖ 0 ‖ every byte up to here)"}
//! ```

use std::path::Path;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use data_encoding::{BASE64, HEXLOWER};
use serde::{Deserialize, Serialize};

use super::json::{self, Unreadable};
use super::{CreateError, LoadError};
use crate::custodian::{
    Custodian, SigningKeyUnusable, SigningPurpose, create_signing_key, open_signing_key,
};
use crate::secret::on_wiped_thread;

/// The kind of file; a signature of one kind does not verify for another.
#[derive(Clone, Copy, Debug)]
pub(super) enum FileKind {
    Record,
    Seen,
    Clock,
}

/// The catalogue's signing key.
pub(super) struct Signer {
    pair: Ed25519KeyPair,
    id: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SignatureJson {
    catalogue: String,
    signature: String,
}

impl FileKind {
    const fn domain(self) -> &'static [u8] {
        match self {
            Self::Record => b"keyway/1 record\0",
            Self::Seen => b"keyway/1 seen\0",
            Self::Clock => b"keyway/1 clock\0",
        }
    }

    fn message(self, payload: &[u8]) -> Vec<u8> {
        [self.domain(), payload].concat()
    }
}

impl Signer {
    /// Draws a signing key; returns the content of `catalogue.key` beside it.
    pub(super) fn create(custodian: &dyn Custodian) -> Result<(Self, Vec<u8>), CreateError> {
        let (pair, content) = create_signing_key(SigningPurpose::Catalogue, custodian)?;
        Ok((Self::new(pair), content))
    }

    /// Opens the content of `catalogue.key`.
    pub(super) fn open(
        path: &Path,
        content: &[u8],
        custodian: &dyn Custodian,
    ) -> Result<Self, LoadError> {
        open_signing_key(content, SigningPurpose::Catalogue, custodian)
            .map(Self::new)
            .map_err(|why| unusable(path, why))
    }

    /// The catalogue's id: the first 8 bytes of SHA-256 of its public key, hex.
    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// The whole file for a payload of JSON.
    pub(super) fn sign(&self, kind: FileKind, mut payload: Vec<u8>) -> Vec<u8> {
        payload.push(b'\n');
        let signature = on_wiped_thread(|| self.pair.sign(&kind.message(&payload)));
        let line = format!(
            "{{\"catalogue\":\"{}\",\"signature\":\"{}\"}}\n",
            self.id,
            BASE64.encode(signature.as_ref())
        );
        payload.extend_from_slice(line.as_bytes());
        payload
    }

    /// The payload of a file whose signature verifies.
    pub(super) fn verify<'a>(
        &self,
        kind: FileKind,
        path: &Path,
        file: &'a [u8],
    ) -> Result<&'a [u8], LoadError> {
        let (payload, line) = split(file).ok_or_else(|| damaged(path, "it is cut short"))?;
        // A later format may be signed in another way.
        let format = json::read::<serde::de::IgnoredAny>(payload);
        format.map_err(|e| unreadable(path, e))?;
        let json: SignatureJson = crate::strict_json::from_slice(line)
            .map_err(|e| damaged(path, &format!("its last line is no signature: {e}")))?;
        let signature = BASE64
            .decode(json.signature.as_bytes())
            .map_err(|_where| damaged(path, "the signature is not base64"))?;
        if json.catalogue != self.id {
            return Err(LoadError::OtherCatalogue {
                path: path.to_owned(),
                found: json.catalogue,
                ours: self.id.clone(),
            });
        }
        UnparsedPublicKey::new(&ED25519, self.pair.public_key().as_ref())
            .verify(&kind.message(payload), &signature)
            .map_err(|_unspecified| LoadError::Signature(path.to_owned()))?;
        Ok(payload)
    }

    fn new(pair: Ed25519KeyPair) -> Self {
        let digest = digest(&SHA256, pair.public_key().as_ref());
        let id = HEXLOWER.encode(digest.as_ref().first_chunk::<8>().map_or(&[], |id| id));
        Self { pair, id }
    }
}

pub(super) fn unreadable(path: &Path, why: Unreadable) -> LoadError {
    match why {
        Unreadable::Newer(found) => LoadError::Newer(path.to_owned(), found),
        Unreadable::Damaged(what) => damaged(path, &what),
    }
}

fn unusable(path: &Path, why: SigningKeyUnusable) -> LoadError {
    match why {
        SigningKeyUnusable::Newer(found) => unreadable(path, Unreadable::Newer(found)),
        SigningKeyUnusable::Damaged(what) => damaged(path, &what),
        SigningKeyUnusable::Unwrap(source) => LoadError::Unwrap {
            path: path.to_owned(),
            source,
        },
    }
}

pub(super) fn damaged(path: &Path, what: &str) -> LoadError {
    LoadError::Damaged(path.to_owned(), what.to_owned())
}

/// The payload with its line end, and the last line without it.
fn split(file: &[u8]) -> Option<(&[u8], &[u8])> {
    let whole = file.strip_suffix(b"\n")?;
    let end = memchr::memrchr(b'\n', whole)?.checked_add(1)?;
    whole.split_at_checked(end)
}
