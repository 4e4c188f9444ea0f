//! A key event: what is done, by whom, why, to what, and what came of it.

use std::fmt;
use std::str::FromStr;

use data_encoding::HEXLOWER;
use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::line::time;
use super::tree::{Hash, sha256};
use super::{Action, Change, IntendedUse, Text, Through, Trigger};

/// An act on keys, as it is about to happen. No field can hold a secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Act {
    /// Who wants it.
    pub who: Who,
    /// The way by which they asked.
    pub through: Through,
    /// What set it off, where something did.
    pub trigger: Option<Trigger>,
    /// The reason, in the words of whoever gave it.
    pub why: Text,
    /// What is done.
    #[serde(rename = "action")]
    pub what: Action,
    /// The keyring; `None` where it concerns all.
    pub keyring: Option<Text>,
    /// The key version, one that is yet to be made too; `None` where it concerns none.
    pub version: Option<KeyVersion>,
    /// What the version is for afterwards.
    pub intended_use: IntendedUse,
    /// Of a destruction: whether somebody wants it whatever is stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forced: Option<bool>,
    /// Of a destruction: what was found when it was looked into whether anything stored needs the version; `None`: nobody did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<Text>,
    /// Of a revocation, once it is done: what whoever has the secret may know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exposure: Option<Exposed>,
    /// When the version is to stop sealing, if that is known.
    #[serde(with = "time::optional")]
    pub expiry: Option<Timestamp>,
    /// The subjects that are affected.
    pub scope: Vec<Text>,
    /// What protects less than before, where that is what is done.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<Change>,
}

/// Names a key version without its secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyVersion {
    /// What people call it.
    pub label: Text,
    /// What envelopes call it.
    pub kid: Hex<8>,
    /// What only its secret produces.
    pub commitment: Hex<32>,
    /// The cipher that seals under it.
    pub algorithm: Text,
}

/// Names the exact bytes of a keyring's record in the catalogue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordRef {
    /// Whose record.
    pub keyring: Text,
    /// Its epoch.
    pub epoch: u64,
    /// SHA-256 of the file.
    pub sha256: Hash,
}

/// What was sealed under a version that is revoked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exposed {
    /// When it began to seal; `None`: it never did.
    #[serde(with = "time::optional")]
    pub from: Option<Timestamp>,
    /// When it stopped.
    #[serde(with = "time::optional")]
    pub until: Option<Timestamp>,
    /// Messages that are known to have been sealed, and at most.
    pub messages: [u64; 2],
    /// The same of bytes.
    pub bytes: [u64; 2],
    /// Lanes drawn under it, at least.
    pub lanes: u64,
}

/// Bytes that are written as lower-case hex.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hex<const N: usize>(pub [u8; N]);

/// Who acts. Text form: `gateway`, `uid:1000`, `token:NAME`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Who {
    /// The gateway by its own rules.
    Gateway,
    /// A user of this machine, as the kernel says.
    Uid(u32),
    /// Whoever bears a token of this name.
    Token(Text),
}

/// What came of an act.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is done.
    Done,
    /// It was tried and failed.
    Failed(Text),
    /// It was not tried.
    Refused(Text),
    /// It was tried, and why it cannot be said yet what has come of it.
    Unknown(Text),
}

impl RecordRef {
    /// Of a file with these bytes.
    #[must_use]
    pub fn of(keyring: &str, epoch: u64, file: &[u8]) -> Self {
        Self {
            keyring: keyring.into(),
            epoch,
            sha256: sha256(&[file]),
        }
    }
}

impl Act {
    /// Whether it goes before everything else when the disk is full: a revocation, and what follows from one.
    #[must_use]
    pub const fn is_essential(&self) -> bool {
        matches!(
            self.what,
            Action::Compromise | Action::Suspend | Action::Destroy
        ) || matches!(self.trigger, Some(Trigger::Compromise))
    }
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gateway => f.write_str("gateway"),
            Self::Uid(uid) => write!(f, "uid:{uid}"),
            Self::Token(name) => write!(f, "token:{name}"),
        }
    }
}

impl FromStr for Who {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let odd = || format!("`{text}` is not `gateway`, `uid:NUMBER` or `token:NAME`");
        if text == "gateway" {
            return Ok(Self::Gateway);
        }
        match text.split_once(':') {
            Some(("uid", uid)) => uid.parse().map(Self::Uid).map_err(|_number| odd()),
            Some(("token", name)) => Ok(Self::Token(name.into())),
            _ => Err(odd()),
        }
    }
}

impl Serialize for Who {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Who {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

impl<const N: usize> fmt::Display for Hex<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

impl<const N: usize> fmt::Debug for Hex<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl<const N: usize> Serialize for Hex<N> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de, const N: usize> Deserialize<'de> for Hex<N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bytes = HEXLOWER.decode(text.as_bytes()).ok();
        let bytes = bytes.and_then(|bytes| bytes.try_into().ok());
        bytes.map(Self).ok_or_else(|| {
            de::Error::custom(format!("`{text}` is not {N} bytes of lower-case hex"))
        })
    }
}
