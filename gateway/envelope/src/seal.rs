//! Sealing: one writer's lane, and the counter that keeps its nonces unique.
//!
//! A nonce is iv XOR counter, the deterministic construction of NIST SP 800-38D section 8.2.1 with a fresh key per lane. It stays
//! unique because the lane id is random, because the counter lives in exactly one [`Sealer`] that can be neither copied nor
//! shared, and because the message is counted before it is encrypted: a call that fails half way burns its counter.

use std::cell::Cell;
use std::marker::PhantomData;

use super::aad::Scratch;
use super::aead::{Aead, DefaultAead, Sealed};
use super::limits::{Caps, blocks};
use super::{
    Binding, EnvelopeId, Flags, HEADER_LEN, Header, Kid, LaneId, LaneKey, OVERHEAD, Suite,
    VersionKey,
};
use crate::secret::NoEntropy;

/// The one writer of a lane. It can move to another thread, but not be shared or copied:
///
/// ```compile_fail,E0277
/// fn shared<T: Sync>() {}
/// shared::<keyway_envelope::Sealer>();
/// ```
/// ```compile_fail,E0277
/// fn copied<T: Clone>() {}
/// copied::<keyway_envelope::Sealer>();
/// ```
/// ```
/// fn moved<T: Send>() {}
/// moved::<keyway_envelope::Sealer>();
/// ```
pub struct Sealer<A: Aead = DefaultAead> {
    key: LaneKey<A>,
    header: Header,
    /// Encoded headers with counter 0, indexed by the flags' byte.
    header_templates: [[u8; HEADER_LEN]; Flags::COUNT],
    aad: Scratch,
    messages: u32,
    blocks: u64,
    caps: Caps,
    not_sync: PhantomData<Cell<()>>,
}

/// A [`Sealer`] for messages with the same binding, which is encoded once.
pub struct BoundSealer<'s, A: Aead = DefaultAead> {
    sealer: &'s mut Sealer<A>,
    head: [u8; HEADER_LEN],
    binding: Binding<'s>,
    aad_len: usize,
}

/// Why a message was not sealed. The output holds no byte of the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealFailed {
    /// The lane has reached its cap, and fails from now on; draw a new lane.
    #[error("the lane has sealed as much as its key may; draw a new lane")]
    LaneEnded,
    /// A subject is longer than 65535 bytes.
    #[error("the subject has {0} bytes; an envelope can be bound to at most 65535")]
    SubjectTooLong(usize),
    /// The output buffer has the wrong length.
    #[error("{0} bytes to write an envelope of {1} bytes into; they must be equal")]
    OutputLength(usize, usize),
}

impl Sealer {
    /// A new lane of `version`, with a random id.
    ///
    /// # Errors
    /// [`NoEntropy`] when the random generator fails.
    #[inline]
    pub fn new(version: &VersionKey, suite: Suite) -> Result<Self, NoEntropy> {
        Self::with_aead(version, suite)
    }
}

impl<A: Aead> Sealer<A> {
    /// [`Sealer::new`] with a named AEAD implementation.
    ///
    /// # Errors
    /// [`NoEntropy`] when the random generator fails.
    #[inline]
    pub fn with_aead(version: &VersionKey, suite: Suite) -> Result<Self, NoEntropy> {
        let mut lane = [0; 16];
        aws_lc_rs::rand::fill(&mut lane).map_err(|_unspecified| NoEntropy)?;
        Ok(Self::with_lane_id(version, suite, LaneId(lane), Caps::FULL))
    }

    /// A lane with a given id. Only for known answers and tests: a repeated lane id repeats its nonces.
    #[inline]
    pub(super) fn with_lane_id(
        version: &VersionKey,
        suite: Suite,
        lane: LaneId,
        caps: Caps,
    ) -> Self {
        let header = Header {
            suite,
            flags: Flags::default(),
            kid: version.kid(),
            lane,
            counter: 0,
        };
        Self {
            key: version.lane_with(suite, lane),
            header,
            header_templates: header_templates(&header),
            aad: Scratch::new(),
            messages: 0,
            blocks: 0,
            caps,
            not_sync: PhantomData,
        }
    }

    /// Prepares sealing of payloads with this binding.
    ///
    /// # Errors
    /// [`SealFailed::SubjectTooLong`].
    #[inline]
    pub fn bind<'s>(&'s mut self, binding: Binding<'s>) -> Result<BoundSealer<'s, A>, SealFailed> {
        let too_long = || {
            let names = [binding.subject, binding.reply].into_iter().flatten();
            SealFailed::SubjectTooLong(names.map(<[u8]>::len).max().unwrap_or(0))
        };
        let aad_len = self.aad.bind(&binding).ok_or_else(too_long)?;
        let head = self
            .header_templates
            .get(usize::from(binding.flags().bits()));
        let head = *head.ok_or_else(too_long)?;
        if let Some(place) = self.aad.head() {
            *place = head;
        }
        Ok(BoundSealer {
            sealer: self,
            head,
            binding,
            aad_len,
        })
    }

    /// Seals one payload, as [`BoundSealer::seal`].
    ///
    /// # Errors
    /// As of [`Self::bind`] and [`BoundSealer::seal`].
    #[inline]
    pub fn seal(
        &mut self,
        binding: Binding<'_>,
        plaintext: &[u8],
        out: &mut [u8],
    ) -> Result<EnvelopeId, SealFailed> {
        self.bind(binding)?.seal(plaintext, out)
    }

    /// Messages sealed in this lane.
    #[must_use]
    #[inline]
    pub const fn messages(&self) -> u32 {
        self.messages
    }

    /// Blocks of 16 bytes sealed in this lane, as [`limits::blocks`](super::limits::blocks) counts them.
    #[must_use]
    #[inline]
    pub const fn blocks(&self) -> u64 {
        self.blocks
    }

    /// Messages that the lane can still seal, if [`Self::remaining_blocks`] suffice.
    #[must_use]
    #[inline]
    pub const fn remaining_messages(&self) -> u32 {
        self.caps.messages.saturating_sub(self.messages)
    }

    /// Blocks that the lane can still seal.
    #[must_use]
    #[inline]
    pub const fn remaining_blocks(&self) -> u64 {
        self.caps.blocks.saturating_sub(self.blocks)
    }

    /// The id of this lane.
    #[must_use]
    #[inline]
    pub const fn lane(&self) -> LaneId {
        self.header.lane
    }

    /// The key version of this lane.
    #[must_use]
    #[inline]
    pub const fn kid(&self) -> Kid {
        self.header.kid
    }

    /// The suite of this lane.
    #[must_use]
    #[inline]
    pub const fn suite(&self) -> Suite {
        self.header.suite
    }

    /// Uses up the next counter, before anything is encrypted with it.
    #[inline]
    fn count(&mut self, aad: usize, payload: usize) -> Result<u32, SealFailed> {
        let counter = self.messages;
        let messages = counter.checked_add(1);
        let blocks = self.blocks.checked_add(blocks(aad, payload));
        match (messages, blocks) {
            (Some(messages), Some(blocks)) if self.caps.allow(messages, blocks) => {
                self.messages = messages;
                self.blocks = blocks;
                Ok(counter)
            }
            _ => Err(self.end()),
        }
    }

    /// Ends the lane for good: not even an empty message is sealed from now on.
    #[inline]
    const fn end(&mut self) -> SealFailed {
        self.caps = Caps::NONE;
        SealFailed::LaneEnded
    }

    /// Skips to the last messages of a lane.
    #[cfg(test)]
    #[inline]
    pub(super) fn skip_to(&mut self, messages: u32) {
        assert!(messages >= self.messages, "a counter only grows");
        self.messages = messages;
    }
}

impl<A: Aead> BoundSealer<'_, A> {
    /// Seals one payload.
    ///
    /// Before: `out` is 48 bytes longer than `plaintext`. After: `out` is the whole envelope. On failure: `out` is untouched or
    /// all zero.
    ///
    /// # Errors
    /// [`SealFailed`]. After [`SealFailed::LaneEnded`] every further call fails the same way; [`SealFailed::OutputLength`] counts
    /// nothing.
    #[inline]
    pub fn seal(&mut self, plaintext: &[u8], out: &mut [u8]) -> Result<EnvelopeId, SealFailed> {
        let given = out.len();
        let mismatch = SealFailed::OutputLength(given, plaintext.len().saturating_add(OVERHEAD));
        if given.checked_sub(OVERHEAD) != Some(plaintext.len()) {
            return Err(mismatch);
        }
        let counter = self.sealer.count(self.aad_len, plaintext.len())?;
        let Sealer { key, aad, .. } = &mut *self.sealer;
        let (front, rest) = out.split_first_chunk_mut().ok_or(mismatch)?;
        let (ciphertext, tag) = rest.split_last_chunk_mut().ok_or(mismatch)?;
        // Writes the counter in both places instead of copying the header: the copy would stall on the write just before.
        *front = self.head;
        Header::count(front, counter);
        Header::count(aad.head().ok_or(mismatch)?, counter);
        let sealed = Sealed { ciphertext, tag };
        let seal = |aad: &[u8]| {
            let nonce = key.nonce(counter);
            key.aead().seal(nonce, aad, plaintext, sealed)
        };
        if aad.with((&self.binding, self.aad_len), seal) != Some(Ok(())) {
            out.fill(0);
            return Err(self.sealer.end());
        }
        Ok(EnvelopeId {
            lane: self.sealer.lane(),
            counter,
        })
    }
}

/// The encoded headers of a lane's first message, for every combination of flags.
#[inline]
fn header_templates(header: &Header) -> [[u8; HEADER_LEN]; Flags::COUNT] {
    let mut header_templates = [[0; HEADER_LEN]; Flags::COUNT];
    for (head, flags) in header_templates
        .iter_mut()
        .zip((0..).map_while(Flags::from_bits))
    {
        *head = Header { flags, ..*header }.encode();
    }
    header_templates
}
