//! The key of a trusted proxy: an nkey, whose signature of the server's nonce a CONNECT carries as `proxy_sig` (ADR-55).
//!
//! An nkey is an Ed25519 key in base32: one or two prefix bytes, the 32 bytes, a CRC-16. It is read and written here rather than
//! by the `nkeys` crate, which leaves copies of the seed in memory.

use std::fmt;
use std::path::{Path, PathBuf};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use data_encoding::{BASE32_NOPAD, BASE64URL_NOPAD};
use zeroize::Zeroizing;

use crate::disk::{self, AllowedOwner, read_secret_file};
use crate::fault::{Fault, faults};
use crate::secret::{self, NoEntropy, Secret, on_wiped_thread, with_wiped_stack};

/// The prefix `S`: a seed.
const SEED: u8 = 18 << 3;
/// The prefix `N`, a server: that of new proxy keys, which cannot be confused with users' then.
const SERVER: u8 = 13 << 3;
/// The prefixes that sign: server, account, cluster, module, operator, user, service. nats-server accepts any of them for a
/// proxy.
const SIGNERS: [u8; 7] = [SERVER, 0, 2 << 3, 12 << 3, 14 << 3, 20 << 3, 21 << 3];

/// Two prefix bytes, the seed, two bytes of checksum.
const SEED_LEN: usize = 36;
const SEED_TEXT: usize = 58;
/// Bytes of stack that are wiped after a signature. Small, because CONNECT waits for it.
const SIGN_DEPTH: usize = 64 * 1024;

/// A signing nkey. `Debug` shows its public key.
pub struct Key {
    pair: Ed25519KeyPair,
    /// The prefix byte of the public key.
    prefix: u8,
}

/// The seed of a new key as a file's text. No `Debug`.
pub struct Seed(Zeroizing<String>);

/// The text is not the seed of an nkey that signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not the seed of a signing nkey, which has 58 characters and begins with S")]
pub struct InvalidSeed;

/// Why the key in a file cannot be used. Never repeats the contents.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The file cannot be read.
    #[error("the key in `nkey-seed-file`: {0}")]
    File(#[from] disk::Error),
    /// It holds something else.
    #[error("{} holds no nkey seed", .0.display())]
    Content(PathBuf),
}

impl Key {
    /// Reads a seed from a file that only its owner may read; trailing line ends are ignored.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn read(path: &Path) -> Result<Self, KeyError> {
        let bytes = read_secret_file(path, AllowedOwner::UsOrRoot)?;
        on_wiped_thread(|| Self::parse(bytes.trim_ascii_end()))
            .map_err(|_never_quoted| KeyError::Content(path.into()))
    }

    /// Reads a seed's text.
    ///
    /// # Errors
    /// [`InvalidSeed`].
    pub fn parse(text: &[u8]) -> Result<Self, InvalidSeed> {
        if text.len() != SEED_TEXT {
            return Err(InvalidSeed);
        }
        let mut raw = Zeroizing::new([0; SEED_LEN]);
        let decoded = BASE32_NOPAD.decode_mut(text, raw.as_mut_slice());
        if decoded.map_err(|_may_quote| InvalidSeed)? != SEED_LEN {
            return Err(InvalidSeed);
        }
        let (checked, sum) = raw.split_last_chunk::<2>().ok_or(InvalidSeed)?;
        let ([first, second], seed) = checked.split_first_chunk().ok_or(InvalidSeed)?;
        let prefix = (first & 7) << 5 | (second & 0xf8) >> 3;
        let is_seed = first & 0xf8 == SEED && second & 7 == 0 && SIGNERS.contains(&prefix);
        if !is_seed || crc(checked) != u16::from_le_bytes(*sum) {
            return Err(InvalidSeed);
        }
        let pair = Ed25519KeyPair::from_seed_unchecked(seed);
        let pair = pair.map_err(|_rejected| InvalidSeed)?;
        Ok(Self { pair, prefix })
    }

    /// A new proxy key and its seed.
    ///
    /// # Errors
    /// [`NoEntropy`].
    pub fn create() -> Result<(Self, Seed), NoEntropy> {
        let secret = Secret::random()?;
        let seed = on_wiped_thread(|| Seed::of(&secret));
        let pair = on_wiped_thread(|| Ed25519KeyPair::from_seed_unchecked(secret.expose()));
        let pair = pair.map_err(|_rejected| NoEntropy)?;
        let prefix = SERVER;
        Ok((Self { pair, prefix }, seed))
    }

    /// The public key, as in the server's configuration.
    #[must_use]
    pub fn public(&self) -> String {
        let raw = [&[self.prefix], self.pair.public_key().as_ref()].concat();
        BASE32_NOPAD.encode(&with_crc(raw))
    }

    /// The signature of a nonce, as CONNECT carries it.
    #[must_use]
    pub fn sign(&self, nonce: &[u8]) -> String {
        let signature = with_wiped_stack::<SIGN_DEPTH, _>(|| self.pair.sign(nonce));
        BASE64URL_NOPAD.encode(signature.as_ref())
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Key").field(&self.public()).finish()
    }
}

impl Seed {
    fn of(secret: &Secret) -> Self {
        let mut raw = Zeroizing::new(Vec::with_capacity(SEED_LEN));
        raw.extend([SEED | SERVER >> 5, (SERVER & 31) << 3]);
        raw.extend(secret.expose());
        debug_assert_eq!(raw.len(), secret::LEN.saturating_add(2));
        let sum = crc(&raw);
        raw.extend(sum.to_le_bytes());
        let mut text = String::with_capacity(SEED_TEXT.saturating_add(1));
        BASE32_NOPAD.encode_append(&raw, &mut text);
        text.push('\n');
        Self(Zeroizing::new(text))
    }

    /// The file's text, a line.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

faults! { KeyError {
    Self::File(error) => error.fault_if_missing("make one with `keyway proxy-key`, or name the file that holds it"),
    Self::Content(_) => Fault::operator("make one with `keyway proxy-key`, and name its file"),
} }

fn with_crc(mut raw: Vec<u8>) -> Vec<u8> {
    let sum = crc(&raw);
    raw.extend(sum.to_le_bytes());
    raw
}

/// CRC-16/XMODEM.
fn crc(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc: u16, byte| {
        (0..8).fold(crc ^ u16::from(*byte) << 8, |crc, _bit| {
            let carry = if crc & 0x8000 == 0 { 0 } else { 0x1021 };
            crc << 1 ^ carry
        })
    })
}
