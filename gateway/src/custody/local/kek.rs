//! A KEK in memory: wraps and unwraps with AES-256-GCM.

use std::path::{Path, PathBuf};

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Prk, Salt};
use zeroize::Zeroizing;

use super::error::KeyDerivationFailed;
use crate::custodian::{Custodian, Description, UnwrapFailed, WrapFailed};
use crate::custodian::{FORMAT, KekId, Wrapped};
use crate::later::{Later, ready};
use crate::secret::{NoEntropy, Secret, on_wiped_thread};

/// The first bytes of the additional data; no other use of AES-GCM in keyway begins with them.
const DOMAIN: &[u8] = b"keyway/1 wrap";

/// A KEK in this process: only its id and the wrapping key, which are derived from it (HKDF, RFC 5869).
pub(in crate::custody) struct Kek {
    key: LessSafeKey,
    id: KekId,
    kind: &'static str,
    place: PathBuf,
}

struct Len(usize);

impl KeyType for Len {
    fn len(&self) -> usize {
        self.0
    }
}

impl Kek {
    /// Derives id and wrapping key; to be called within [`on_wiped_thread`].
    pub(super) fn new(
        secret: &Secret,
        kind: &'static str,
        place: &Path,
    ) -> Result<Self, KeyDerivationFailed> {
        let prk = Salt::new(HKDF_SHA256, b"keyway/1 kek").extract(secret.expose());
        let mut id = [0; 8];
        expand(&prk, b"id", &mut id)?;
        let wrapping = Secret::build(|out| expand(&prk, b"wrap", out))?;
        let key = UnboundKey::new(&AES_256_GCM, wrapping.expose())
            .map_err(|_unspecified| KeyDerivationFailed)?;
        Ok(Self {
            key: LessSafeKey::new(key),
            id: KekId(id),
            kind,
            place: place.to_owned(),
        })
    }

    /// The KEK's id.
    #[must_use]
    pub(super) const fn id(&self) -> KekId {
        self.id
    }
}

impl Custodian for Kek {
    fn wrap<'a>(
        &'a self,
        secret: &'a Secret,
        context: &'a [u8],
    ) -> Later<'a, Result<Wrapped, WrapFailed>> {
        ready(self.wrap_now(secret, context))
    }

    fn unwrap<'a>(
        &'a self,
        wrapped: &'a Wrapped,
        context: &'a [u8],
    ) -> Later<'a, Result<Secret, UnwrapFailed>> {
        ready(self.unwrap_now(wrapped, context))
    }

    fn describe(&self) -> Description {
        Description {
            kind: self.kind,
            place: self.place.display().to_string(),
            kek: self.id,
        }
    }
}

impl Kek {
    /// The nonce is random, 96 bits: fewer than 2^32 wraps under one KEK (NIST SP 800-38D, section 8.3), far beyond any
    /// catalogue.
    fn wrap_now(&self, secret: &Secret, context: &[u8]) -> Result<Wrapped, WrapFailed> {
        let mut nonce = [0; 12];
        aws_lc_rs::rand::fill(&mut nonce).map_err(|_unspecified| NoEntropy)?;
        let prefix = [&[FORMAT][..], &self.id.0].concat();
        let aad = Aad::from([DOMAIN, &prefix, context].concat());
        on_wiped_thread(|| {
            let mut sealed = Zeroizing::new(*secret.expose());
            let nonced = Nonce::assume_unique_for_key(nonce);
            let tag = self
                .key
                .seal_in_place_separate_tag(nonced, aad, &mut *sealed)
                .map_err(|_unspecified| WrapFailed::Cipher)?;
            Wrapped::join(&[&prefix, &nonce, &*sealed, tag.as_ref()]).ok_or(WrapFailed::Cipher)
        })
    }

    fn unwrap_now(&self, wrapped: &Wrapped, context: &[u8]) -> Result<Secret, UnwrapFailed> {
        let parts = wrapped.parts().ok_or(UnwrapFailed::Damaged)?;
        if parts.kek != self.id {
            return Err(UnwrapFailed::OtherKek {
                wrapped: parts.kek,
                ours: self.id,
            });
        }
        let aad = Aad::from([DOMAIN, parts.prefix, context].concat());
        let nonce = Nonce::assume_unique_for_key(parts.nonce);
        Secret::build(|out| {
            let key = &self.key;
            on_wiped_thread(|| {
                key.open_separate_gather(nonce, aad, parts.ciphertext, parts.tag, out)
            })
            .map_err(|_unspecified| UnwrapFailed::Damaged)
        })
    }
}

fn expand(prk: &Prk, info: &[u8], out: &mut [u8]) -> Result<(), KeyDerivationFailed> {
    prk.expand(&[info], Len(out.len()))
        .and_then(|okm| okm.fill(out))
        .map_err(|_unspecified| KeyDerivationFailed)
}
