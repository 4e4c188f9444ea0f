//! An envelope seen from outside, by a reader that shares no line with the gateway's.

use crate::frame::Frame;

/// How an envelope begins.
pub const MAGIC: [u8; 2] = [0xFA, 0x4B];
/// How much longer it is than its plaintext.
pub const OVERHEAD: usize = 48;

impl Frame {
    /// Fails unless the payload is an envelope of something as long as `plaintext`, without even a part of that in it.
    pub fn assert_sealed(&self, plaintext: &[u8]) {
        let payload = self.payload();
        assert!(payload.starts_with(&MAGIC), "{self:?}");
        assert_eq!(payload.len(), plaintext.len() + OVERHEAD, "{self:?}");
        assert_tells_nothing(payload, plaintext);
    }

    /// The kid of the envelope that is the payload.
    pub fn kid(&self) -> Vec<u8> {
        self.payload()[4..12].to_vec()
    }
}

/// Fails if six bytes of `plaintext` stand anywhere in `bytes`.
pub fn assert_tells_nothing(bytes: &[u8], plaintext: &[u8]) {
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
