//! A key event: the action, its actor, reason, object and outcome.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::hash::{Hash, Hex, sha256};
use super::settings::Change;
use super::text::Text;
use super::time;
use super::words::{Action, Channel, IntendedUse, Trigger};

/// An action on keys. No field can hold a secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Act {
    /// The actor.
    pub who: Actor,
    /// The interface by which it was requested.
    pub through: Channel,
    /// What triggered it, if something did.
    pub trigger: Option<Trigger>,
    /// The reason, in the actor's words.
    pub why: Text,
    /// The action.
    #[serde(rename = "action")]
    pub what: Action,
    /// The keyring; `None`: all of them.
    pub keyring: Option<Text>,
    /// The key version, also one that is yet to be generated; `None`: none.
    pub version: Option<KeyVersion>,
    /// What the version may be used for afterwards.
    pub intended_use: IntendedUse,
    /// Of a destruction: whether it was forced, whatever is still stored under the version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forced: Option<bool>,
    /// Of a destruction: what the search for stored messages that need the version found; `None`: there was no search.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<Text>,
    /// Of a revocation, once it is done: what was sealed under the version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exposure: Option<ExposedData>,
    /// When the version stops sealing, if that is known.
    #[serde(with = "time::optional")]
    pub expiry: Option<Timestamp>,
    /// The subjects that are affected.
    pub scope: Vec<Text>,
    /// Of a weakening: the settings that protect less than before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<Change>,
}

/// Names a key version without its secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyVersion {
    /// Its label, for people.
    pub label: Text,
    /// Its kid, as in envelopes.
    pub kid: Hex<8>,
    /// The commitment to its secret.
    pub commitment: Hex<32>,
    /// The AEAD that seals under it.
    pub algorithm: Text,
}

/// Names the exact bytes of a keyring's record in the catalogue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordRef {
    /// The keyring.
    pub keyring: Text,
    /// Its epoch.
    pub epoch: u64,
    /// SHA-256 of the file.
    pub sha256: Hash,
}

/// What was sealed under a version that is revoked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExposedData {
    /// When it began to seal; `None`: it never did.
    #[serde(with = "time::optional")]
    pub from: Option<Timestamp>,
    /// When it stopped.
    #[serde(with = "time::optional")]
    pub until: Option<Timestamp>,
    /// How many messages were sealed: at least, and at most.
    pub messages: [u64; 2],
    /// How many bytes: at least, and at most.
    pub bytes: [u64; 2],
    /// How many lanes were started under it, at least.
    pub lanes: u64,
}

/// The actor of a key event. Text form: `gateway`, `uid:1000`, `token:NAME`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Actor {
    /// The gateway, by its own rules.
    Gateway,
    /// A user of this host, by the kernel's peer credentials.
    Uid(u32),
    /// The bearer of the token of this name.
    Token(Text),
}

/// The outcome of an action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is done.
    Done,
    /// It was tried and failed.
    Failed(Text),
    /// It was not tried.
    Refused(Text),
    /// It was tried, and its outcome is not known yet, for this reason.
    Unknown(Text),
}

impl RecordRef {
    /// The reference to a record with these bytes.
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
    /// Whether it may use the reserve when the disk is full: a revocation, and what follows from one.
    #[must_use]
    pub const fn is_essential(&self) -> bool {
        matches!(
            self.what,
            Action::Compromise | Action::Suspend | Action::Destroy
        ) || matches!(self.trigger, Some(Trigger::Compromise))
    }
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gateway => f.write_str("gateway"),
            Self::Uid(uid) => write!(f, "uid:{uid}"),
            Self::Token(name) => write!(f, "token:{name}"),
        }
    }
}

impl FromStr for Actor {
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

impl Serialize for Actor {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Actor {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}
