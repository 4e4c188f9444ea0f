//! How much a lane and a key version may seal.
//!
//! The unit is the block of 16 bytes. draft-irtf-cfrg-aead-limits, section "Multi-Key AEAD Limits", bounds AES-GCM with nonces
//! randomised per key, as our iv does, by q + v ≤ p × 2^127 / (L × B): q + v messages of L blocks under all keys, B blocks at
//! most under one. (q + v) × L is a key version's hard limit in blocks, B is [`MAX_BLOCKS`], and p, the attacker's advantage, is
//! 2^-50.

use std::time::Duration;

use super::HEADER_LEN;

/// Messages after which a lane ends.
pub const MAX_MESSAGES: u32 = 1 << 24;

/// Blocks after which a lane ends: B of the bound.
pub const MAX_BLOCKS: u64 = 1 << 30;

/// Blocks that all lanes of one key version may seal together: p × 2^127 / B = 2^(127 - 50 - 30).
pub const MAX_VERSION_BLOCKS: u64 = 1 << 47;

/// How long a lane may be used. Enforced by its owner: this module has no clock.
pub const MAX_AGE: Duration = Duration::from_secs(60);

/// Failed opens under one key version that raise an alarm.
pub const FAILED_OPENS_ALARM: u64 = 1 << 20;

/// Failed opens under one key version that force a rotation. They count in the bound: at 1 MiB each they are 2^44 blocks.
pub const FAILED_OPENS_ROTATE: u64 = 1 << 28;

const BLOCK: usize = 16;

/// Blocks of one message: ⌈AAD/16⌉ + ⌈payload/16⌉ + 1, the last for the tag.
#[must_use]
#[inline]
pub const fn blocks(aad_len: usize, payload_len: usize) -> u64 {
    let blocks = aad_len
        .div_ceil(BLOCK)
        .saturating_add(payload_len.div_ceil(BLOCK))
        .saturating_add(1);
    // usize has at most 64 bits on every platform that Rust supports.
    #[expect(clippy::as_conversions, reason = "lossless, and `From` is not const")]
    let blocks = blocks as u64;
    blocks
}

/// The caps of a lane; tests lower them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Caps {
    pub(super) messages: u32,
    pub(super) blocks: u64,
}

impl Caps {
    /// The caps of a new lane.
    pub(super) const FULL: Self = Self {
        messages: MAX_MESSAGES,
        blocks: MAX_BLOCKS,
    };

    /// The caps of a lane that has ended.
    pub(super) const NONE: Self = Self {
        messages: 0,
        blocks: 0,
    };

    /// Whether these totals are within the caps.
    #[inline]
    pub(super) const fn allow(self, messages: u32, blocks: u64) -> bool {
        messages <= self.messages && blocks <= self.blocks
    }
}

/// The hard limit of a key version, after which it seals nothing more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HardLimit {
    /// Messages.
    pub messages: u64,
    /// Bytes of payload.
    pub bytes: u64,
    /// Length of the longest subject that envelopes are bound to, in bytes; 0 when they are bound to none.
    pub longest_subject: usize,
}

/// A hard limit beyond the bound of the cipher.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the hard limit allows {blocks} blocks of 16 bytes under one key version; at most 2^47 keep the attacker's advantage below 2^-50: lower `limit`"
)]
pub struct OverBound {
    /// Blocks that the limit allows in the worst case.
    pub blocks: u128,
}

impl HardLimit {
    /// Blocks in the worst case: every payload leaves a block partly filled, every subject is the longest.
    #[must_use]
    #[inline]
    pub fn blocks(&self) -> u128 {
        let aad = HEADER_LEN
            .saturating_add(2)
            .saturating_add(self.longest_subject);
        // The header and tag of each message, and the one payload block that it fills only partly.
        let each = blocks(aad, 1);
        u128::from(self.messages)
            .saturating_mul(u128::from(each))
            .saturating_add(u128::from(self.bytes / 16))
    }

    /// Checks blocks × 2^30 ≤ 2^-50 × 2^127.
    ///
    /// # Errors
    /// [`OverBound`] when the limit allows more.
    #[inline]
    pub fn check(&self) -> Result<(), OverBound> {
        let blocks = self.blocks();
        if blocks > u128::from(MAX_VERSION_BLOCKS) {
            return Err(OverBound { blocks });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_count_each_part_in_whole_blocks_and_one_for_the_tag() {
        assert_eq!(blocks(32, 0), 3);
        assert_eq!(blocks(32, 1), 4);
        assert_eq!(blocks(32, 16), 4);
        assert_eq!(blocks(33, 17), 6);
        assert_eq!(blocks(usize::MAX, usize::MAX), 1 + (1 << 61));
    }

    #[test]
    fn default_limit_is_within_the_bound_even_with_the_longest_subjects() {
        let limit = HardLimit {
            messages: 1 << 32,
            bytes: 4 << 40,
            longest_subject: crate::MAX_SUBJECT_LEN,
        };
        assert_eq!(limit.check(), Ok(()));
    }

    #[test]
    fn limit_is_refused_from_the_first_block_over_the_bound() {
        // 34 bytes of AAD: 3 blocks; one for the payload; one for the tag.
        let exact = HardLimit {
            messages: 1 << 20,
            bytes: ((1 << 47) - (5 << 20)) * 16,
            longest_subject: 0,
        };
        assert_eq!(exact.blocks(), 1 << 47);
        assert_eq!(exact.check(), Ok(()));
        let over = HardLimit {
            bytes: exact.bytes + 16,
            ..exact
        };
        let blocks = (1 << 47) + 1;
        assert_eq!(over.check(), Err(OverBound { blocks }));
        let most = HardLimit {
            messages: u64::MAX,
            bytes: u64::MAX,
            longest_subject: usize::MAX,
        };
        most.check().unwrap_err();
    }

    #[test]
    fn bound_is_the_one_of_the_formula() {
        assert_eq!(MAX_VERSION_BLOCKS, 1_u64 << (127 - 50 - MAX_BLOCKS.ilog2()));
    }

    #[test]
    fn real_payloads_never_cost_more_than_the_worst_case() {
        let limit = HardLimit {
            messages: 3,
            bytes: 15 + 1 + 33,
            longest_subject: 20,
        };
        let aad = HEADER_LEN + 2 + 20;
        let real: u64 = [15, 1, 33].map(|payload| blocks(aad, payload)).iter().sum();
        assert!(u128::from(real) <= limit.blocks());
    }
}
