//! AES-256-GCM and AES-256-GCM-SIV of aws-lc-rs, which wipes its contexts.

use aws_lc_rs::aead::{AES_256_GCM, AES_256_GCM_SIV, Aad, LessSafeKey, Nonce, UnboundKey};

use super::{Aead, Failed, KEY_LEN, NONCE_LEN, Sealed};
use crate::secret;
use crate::{Suite, TAG_LEN};

/// Bytes of stack to wipe after a key was derived and expanded, on the message path.
const STACK_DEPTH: usize = 10 * 1024;

/// A key schedule of aws-lc-rs.
pub struct Aws(LessSafeKey);

impl Aead for Aws {
    #[expect(
        clippy::expect_used,
        reason = "the key has the right length by its type, so this fails only without memory, where a Box would abort"
    )]
    #[inline]
    fn new(suite: Suite, key: &[u8; KEY_LEN]) -> Self {
        let algorithm = match suite {
            Suite::Aes256Gcm => &AES_256_GCM,
            Suite::Aes256GcmSiv => &AES_256_GCM_SIV,
        };
        let key = UnboundKey::new(algorithm, key).expect("memory for an AEAD context");
        Self(LessSafeKey::new(key))
    }

    #[inline]
    fn on_wiped_stack<T>(work: impl FnOnce() -> T) -> T {
        secret::with_wiped_stack::<STACK_DEPTH, _>(work)
    }

    #[inline]
    fn seal(
        &self,
        nonce: [u8; NONCE_LEN],
        aad: &[u8],
        plaintext: &[u8],
        sealed: Sealed<&mut [u8], &mut [u8; TAG_LEN]>,
    ) -> Result<(), Failed> {
        self.0
            .seal_out_of_place_scatter(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(aad),
                plaintext,
                sealed.ciphertext,
                &[],
                sealed.tag,
            )
            .map_err(|_unspecified| Failed)
    }

    #[inline]
    fn open(
        &self,
        nonce: [u8; NONCE_LEN],
        aad: &[u8],
        sealed: Sealed<&[u8], &[u8; TAG_LEN]>,
        plaintext: &mut [u8],
    ) -> Result<(), Failed> {
        self.0
            .open_separate_gather(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(aad),
                sealed.ciphertext,
                sealed.tag,
                plaintext,
            )
            .map_err(|_unspecified| Failed)
    }
}
