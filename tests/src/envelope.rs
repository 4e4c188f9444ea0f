//! Reads the header of an envelope, sharing no code with the gateway.

use crate::frame::Frame;

/// How an envelope begins.
pub const MAGIC: [u8; 2] = [0xFA, 0x4B];
/// How much longer it is than its plaintext.
pub const OVERHEAD: usize = 48;

impl Frame {
    /// Fails unless the payload is an envelope of a plaintext of this length, without any part of `plaintext` in it.
    pub fn assert_sealed(&self, plaintext: &[u8]) {
        let payload = self.payload();
        assert!(payload.starts_with(&MAGIC), "{self:?}");
        assert_eq!(payload.len(), plaintext.len() + OVERHEAD, "{self:?}");
        assert_no_plaintext(payload, plaintext);
    }

    /// The kid of the envelope in the payload.
    pub fn kid(&self) -> Vec<u8> {
        self.payload()[4..12].to_vec()
    }
}

/// Fails if any six consecutive bytes of `plaintext` are in `bytes`.
pub fn assert_no_plaintext(bytes: &[u8], plaintext: &[u8]) {
    for part in plaintext.windows(6) {
        let found = bytes.windows(part.len()).any(|window| window == part);
        assert!(
            !found,
            "{:?} in {}",
            part.escape_ascii(),
            bytes.escape_ascii()
        );
    }
}
