//! AES-256-GCM and AES-256-GCM-SIV in pure Rust.

use aes_gcm::aead::inout::InOutBuf;
use aes_gcm::{AeadInOut, Aes256Gcm, KeyInit};
use aes_gcm_siv::Aes256GcmSiv;

use super::{Aead, Failed, KEY_LEN, NONCE_LEN, Sealed};
use crate::secret;
use crate::{Suite, TAG_LEN};

/// Bytes of stack to wipe after a key was derived and expanded: these crates put their tables there, the larger ones where the processor
/// has AVX-512.
const STACK_DEPTH: usize = 24 * 1024;

/// A key schedule of the `RustCrypto` crates; boxed, because they are large and differ in size.
pub struct Pure(Schedule);

enum Schedule {
    Gcm(Box<Aes256Gcm>),
    GcmSiv(Box<Aes256GcmSiv>),
}

impl Aead for Pure {
    fn new(suite: Suite, key: &[u8; KEY_LEN]) -> Self {
        Self(match suite {
            Suite::Aes256Gcm => Schedule::Gcm(Box::new(Aes256Gcm::new(key.into()))),
            Suite::Aes256GcmSiv => Schedule::GcmSiv(Box::new(Aes256GcmSiv::new(key.into()))),
        })
    }

    fn on_wiped_stack<T>(work: impl FnOnce() -> T) -> T {
        secret::with_wiped_stack::<STACK_DEPTH, _>(work)
    }

    fn seal(
        &self,
        nonce: [u8; NONCE_LEN],
        aad: &[u8],
        plaintext: &[u8],
        sealed: Sealed<&mut [u8], &mut [u8; TAG_LEN]>,
    ) -> Result<(), Failed> {
        let text = InOutBuf::new(plaintext, sealed.ciphertext).map_err(|_lengths| Failed)?;
        let nonce = nonce.into();
        let tag = match &self.0 {
            Schedule::Gcm(gcm) => gcm.encrypt_inout_detached(&nonce, aad, text),
            Schedule::GcmSiv(siv) => siv.encrypt_inout_detached(&nonce, aad, text),
        };
        *sealed.tag = tag.map_err(|_opaque| Failed)?.into();
        Ok(())
    }

    fn open(
        &self,
        nonce: [u8; NONCE_LEN],
        aad: &[u8],
        sealed: Sealed<&[u8], &[u8; TAG_LEN]>,
        plaintext: &mut [u8],
    ) -> Result<(), Failed> {
        let text = InOutBuf::new(sealed.ciphertext, plaintext).map_err(|_lengths| Failed)?;
        let nonce = nonce.into();
        let tag = sealed.tag.into();
        match &self.0 {
            Schedule::Gcm(gcm) => gcm.decrypt_inout_detached(&nonce, aad, text, tag),
            Schedule::GcmSiv(siv) => siv.decrypt_inout_detached(&nonce, aad, text, tag),
        }
        .map_err(|_opaque| Failed)
    }
}
