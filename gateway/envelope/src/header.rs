//! The header of an envelope (32 bytes), and the identifiers in it.

use std::fmt;

use super::{HEADER_LEN, MAGIC, OVERHEAD};

/// Format version that this crate writes and reads: the high nibble of the third byte.
const FORMAT: u8 = 1;
/// Suite number reserved for random nonces made in a validated module; refused until it is specified.
const RESERVED_SUITE: u8 = 3;

/// Whether a payload starts with [`MAGIC`]. Such a payload is parsed as an envelope, and never treated as plaintext.
#[must_use]
#[inline]
pub fn looks_sealed(payload: &[u8]) -> bool {
    payload.starts_with(&MAGIC)
}

/// The AEAD of an envelope. The discriminant is its number in the header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Suite {
    /// AES-256-GCM (NIST SP 800-38D), the default.
    Aes256Gcm = 1,
    /// AES-256-GCM-SIV (RFC 8452): a lane whose nonces repeat because its host was cloned leaks only equality of messages.
    Aes256GcmSiv = 2,
}

/// Identifies a key version in an envelope: the first 8 bytes of its [`Commitment`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Kid(pub [u8; 8]);

/// Identifies a lane under its key version; random.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct LaneId(pub [u8; 16]);

/// Identifies an envelope under its key version: no two share lane and counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct EnvelopeId {
    /// The lane that it was sealed in.
    pub lane: LaneId,
    /// Its position there.
    pub counter: u32,
}

/// A commitment to one secret, keyring name and version number; reveals nothing about the secret.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Commitment(pub [u8; 32]);

/// The flags in the header's fourth byte: what the authenticated data contains.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Flags(u8);

/// A decoded header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The AEAD that sealed the payload.
    pub suite: Suite,
    /// What the authenticated data contains beside the header.
    pub flags: Flags,
    /// The key version.
    pub kid: Kid,
    /// The lane under the key version.
    pub lane: LaneId,
    /// Position in the lane, from which the nonce is made.
    pub counter: u32,
}

/// Why a header is not valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// Shorter than an empty envelope.
    #[error("{0} bytes are too few for an envelope")]
    Short(usize),
    /// It does not start with [`MAGIC`].
    #[error("not an envelope: it does not start with FA 4B")]
    Magic,
    /// Unknown format version.
    #[error("envelope of format {0}")]
    Version(u8),
    /// Suite 3, which is not specified yet.
    #[error("envelope of suite 3, which is reserved")]
    ReservedSuite,
    /// Unknown suite.
    #[error("envelope of unknown suite {0}")]
    UnknownSuite(u8),
    /// A reserved flag bit is set.
    #[error("envelope with reserved flags {0:#010b}")]
    Flags(u8),
}

impl Suite {
    /// The name used in configuration and status.
    #[must_use]
    #[inline]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Aes256Gcm => "aes-256-gcm",
            Self::Aes256GcmSiv => "aes-256-gcm-siv",
        }
    }

    /// The number in the header, which is also an input of the lane's key derivation.
    #[must_use]
    #[inline]
    pub const fn number(self) -> u8 {
        match self {
            Self::Aes256Gcm => 1,
            Self::Aes256GcmSiv => 2,
        }
    }

    #[inline]
    fn from_nibble(nibble: u8) -> Result<Self, HeaderError> {
        match nibble {
            1 => Ok(Self::Aes256Gcm),
            2 => Ok(Self::Aes256GcmSiv),
            RESERVED_SUITE => Err(HeaderError::ReservedSuite),
            other => Err(HeaderError::UnknownSuite(other)),
        }
    }
}

impl Flags {
    /// The publisher's subject is authenticated.
    pub const BOUND: Self = Self(1);
    /// It answers a request, whose lane and counter are authenticated.
    pub const ANSWER: Self = Self(1 << 1);
    /// It passes a request on: the responder does not know which request its reply subject stands for.
    pub const PASSED_ON: Self = Self(1 << 2);
    /// The reply subject that it was published with is authenticated.
    pub const REPLY: Self = Self(1 << 3);

    /// The number of combinations.
    pub(super) const COUNT: usize = 16;

    /// From the header's byte; `None` when a reserved bit is set.
    #[inline]
    pub(super) const fn from_bits(bits: u8) -> Option<Self> {
        if bits >> 4 == 0 {
            Some(Self(bits))
        } else {
            None
        }
    }

    /// The header's byte.
    #[must_use]
    #[inline]
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// Whether all bits of `flag` are set.
    #[must_use]
    #[inline]
    pub const fn has(self, flag: Self) -> bool {
        self.0 & flag.0 == flag.0
    }

    /// With the bits of `flag` set.
    #[must_use]
    #[inline]
    pub const fn with(self, flag: Self) -> Self {
        Self(self.0 | flag.0)
    }
}

impl EnvelopeId {
    /// Stands for a request with an empty payload, which has no envelope. No lane has this id, because ids are random.
    pub const EMPTY: Self = Self {
        lane: LaneId([0; 16]),
        counter: 0,
    };
}

impl Commitment {
    /// The kid of the key version.
    #[must_use]
    #[inline]
    pub const fn kid(&self) -> Kid {
        let [a, b, c, d, e, f, g, h, ..] = self.0;
        Kid([a, b, c, d, e, f, g, h])
    }
}

impl Header {
    /// Reads the header of a whole envelope.
    ///
    /// # Errors
    /// [`HeaderError`], with the first rule that the bytes break.
    #[inline]
    pub fn parse(envelope: &[u8]) -> Result<Self, HeaderError> {
        if !looks_sealed(envelope) {
            return Err(HeaderError::Magic);
        }
        let short = HeaderError::Short(envelope.len());
        if envelope.len() < OVERHEAD {
            return Err(short);
        }
        let (&[_, _, format, flags], rest) = envelope.split_first_chunk().ok_or(short)?;
        if format >> 4 != FORMAT {
            return Err(HeaderError::Version(format >> 4));
        }
        let suite = Suite::from_nibble(format & 0x0F)?;
        let flags = Flags::from_bits(flags).ok_or(HeaderError::Flags(flags))?;
        let (&kid, rest) = rest.split_first_chunk().ok_or(short)?;
        let (&lane, rest) = rest.split_first_chunk().ok_or(short)?;
        let (&counter, _) = rest.split_first_chunk().ok_or(short)?;
        Ok(Self {
            suite,
            flags,
            kid: Kid(kid),
            lane: LaneId(lane),
            counter: u32::from_be_bytes(counter),
        })
    }

    /// The id of the envelope under its key version.
    #[must_use]
    #[inline]
    pub const fn id(&self) -> EnvelopeId {
        EnvelopeId {
            lane: self.lane,
            counter: self.counter,
        }
    }

    /// Sets the counter in an encoded header: messages of a lane with the same binding differ in nothing else.
    #[inline]
    pub(super) const fn count(bytes: &mut [u8; HEADER_LEN], counter: u32) {
        if let Some(tail) = bytes.last_chunk_mut() {
            *tail = counter.to_be_bytes();
        }
    }

    /// Encodes to 32 bytes, which [`Header::parse`] decodes.
    #[must_use]
    #[inline]
    pub fn encode(&self) -> [u8; HEADER_LEN] {
        let [m0, m1] = MAGIC;
        let format = FORMAT << 4 | self.suite.number();
        let start = [m0, m1, format, self.flags.bits()];
        let counter = self.counter.to_be_bytes();
        let mut bytes = [0; HEADER_LEN];
        let mut rest = bytes.as_mut_slice();
        // The four fields fill the array (docs/envelope.md has the layout).
        for field in [&start[..], &self.kid.0, &self.lane.0, &counter] {
            let Some((place, after)) = rest.split_at_mut_checked(field.len()) else {
                break;
            };
            place.copy_from_slice(field);
            rest = after;
        }
        bytes
    }
}

impl HeaderError {
    /// The word used in metric labels.
    #[must_use]
    #[inline]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Short(_) => "short",
            Self::Magic => "magic",
            Self::Version(_) => "version",
            Self::ReservedSuite => "reserved_suite",
            Self::UnknownSuite(_) => "unknown_suite",
            Self::Flags(_) => "flags",
        }
    }

    /// What would be right; may be empty.
    #[must_use]
    pub const fn help(self) -> &'static str {
        match self {
            Self::Short(_) => "the shortest has 48",
            Self::Magic => "",
            Self::Version(_) => {
                "this gateway reads format 1: upgrade it if publishers were upgraded"
            }
            Self::ReservedSuite | Self::UnknownSuite(_) => {
                "known are 1 (AES-256-GCM) and 2 (AES-256-GCM-SIV)"
            }
            Self::Flags(_) => "only the four lowest bits may be set",
        }
    }
}

#[inline]
fn hex(bytes: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
}

/// `Display` and `Debug` in hex.
macro_rules! shown_as_hex {
    ($($name:ident),*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                hex(&self.0, f)
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }
    )*};
}

shown_as_hex!(Kid, LaneId, Commitment);
