//! The key of one lane, and opening with it.

use super::aead::{Aead, DefaultAead, KEY_LEN, NONCE_LEN, Sealed};
use super::{Aad, Binding, HEADER_LEN, Header, Suite};

/// One writer's private sub-key of a key version. Opens what that writer, a [`super::Sealer`], sealed. `A` is the AEAD
/// implementation, which only tests and benches choose.
pub struct LaneKey<A: Aead = DefaultAead> {
    aead: A,
    iv: [u8; NONCE_LEN],
}

/// The envelope is not authentic under this lane and binding. One error for all causes, so that a sender learns nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the envelope does not open: it was altered, moved to another subject, or sealed under another key"
)]
pub struct OpenFailed;

impl<A: Aead> LaneKey<A> {
    /// From key ‖ iv; the caller wipes them.
    #[inline]
    pub(super) fn new(suite: Suite, okm: &[u8; KEY_LEN + NONCE_LEN]) -> Self {
        let mut key = zeroize::Zeroizing::new([0; KEY_LEN]);
        let mut iv = [0; NONCE_LEN];
        for (to, from) in key.iter_mut().chain(&mut iv).zip(okm) {
            *to = *from;
        }
        Self {
            aead: A::new(suite, &key),
            iv,
        }
    }

    /// Opens a whole envelope.
    ///
    /// `header` was parsed from `envelope` and names this lane. `known` is the known context, from which the flags select. `out`
    /// is 48 bytes shorter than `envelope`. After: `out` is the plaintext. On failure: `out` is all zero.
    ///
    /// # Errors
    /// [`OpenFailed`] for every cause, also when a bound part is not known, or `out` has another length.
    #[inline]
    pub fn open(
        &self,
        header: &Header,
        known: Binding<'_>,
        envelope: &[u8],
        out: &mut [u8],
    ) -> Result<(), OpenFailed> {
        self.open_with(header, &mut Aad::new(known), envelope, out)
    }

    /// [`Self::open`] for several messages with the same known context.
    ///
    /// # Errors
    /// As of [`Self::open`].
    #[inline]
    pub fn open_with(
        &self,
        header: &Header,
        aad: &mut Aad<'_>,
        envelope: &[u8],
        out: &mut [u8],
    ) -> Result<(), OpenFailed> {
        let opened = self.try_open(header, aad, envelope, out);
        if opened.is_none() {
            out.fill(0);
        }
        opened.ok_or(OpenFailed)
    }

    #[inline]
    fn try_open(
        &self,
        header: &Header,
        aad: &mut Aad<'_>,
        envelope: &[u8],
        out: &mut [u8],
    ) -> Option<()> {
        let (head, rest) = envelope.split_first_chunk::<HEADER_LEN>()?;
        let (ciphertext, tag) = rest.split_last_chunk()?;
        let nonce = self.nonce(header.counter);
        let sealed = Sealed { ciphertext, tag };
        let open = |aad: &[u8]| self.aead.open(nonce, aad, sealed, out);
        // Authenticates the envelope's own header bytes, not an encoding of `header`: the header of another envelope fails.
        aad.with_header((head, header.flags), open)?.ok()
    }

    /// The AEAD, for the sealer of this lane.
    #[inline]
    pub(super) const fn aead(&self) -> &A {
        &self.aead
    }

    /// iv XOR (8 zero bytes ‖ big-endian counter).
    #[inline]
    pub(super) fn nonce(&self, counter: u32) -> [u8; NONCE_LEN] {
        let mut nonce = self.iv;
        if let Some(tail) = nonce.last_chunk_mut() {
            *tail = (u32::from_be_bytes(*tail) ^ counter).to_be_bytes();
        }
        nonce
    }
}
