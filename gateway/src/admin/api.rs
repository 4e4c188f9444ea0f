//! The words of `/v1`: what is asked and answered, as JSON. Fields are only ever added.

use serde::{Deserialize, Serialize};

use crate::rotation::{KeyringStatus, Rotated, VersionStatus};

/// What the gateway is and how it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The gateway's version.
    pub version: String,
    /// Whether it touches no payload.
    pub relay_only: bool,
    /// Whether a client that connects now would be served.
    #[serde(flatten)]
    pub readiness: Readiness,
}

/// Whether a client that connects now would be served.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Readiness {
    /// Whether nothing speaks against it.
    pub ready: bool,
    /// What speaks against it.
    pub reasons: Vec<String>,
}

/// A keyring and its key versions, oldest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Keyring {
    /// Its name.
    pub keyring: String,
    /// The suite of new versions.
    pub suite: String,
    /// Oldest first.
    pub versions: Vec<KeyVersion>,
}

/// A key version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyVersion {
    /// Its number in the keyring, from 1.
    pub number: u32,
    /// Its name for people.
    pub label: String,
    /// Its name in envelopes, hex.
    pub kid: String,
    /// The suite it seals with.
    pub suite: String,
    /// Where it is in its life.
    pub state: String,
    /// When it was drawn, RFC 3339.
    pub created: String,
    /// When it first became active, RFC 3339.
    pub activated: Option<String>,
    /// What this process has sealed under it; `null` when it is not loaded.
    pub sealed: Option<Sealed>,
}

/// What has been sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sealed {
    /// Messages.
    pub messages: u64,
    /// Plaintext bytes.
    pub bytes: u64,
}

/// Please switch to a new key version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rotate {
    /// Why, in words that an auditor will read.
    pub why: String,
}

/// The switch was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Switch {
    /// The keyring.
    pub keyring: String,
    /// The label of the version that sealed until now.
    pub from: Option<String>,
    /// The label of the version that seals from now on.
    pub to: String,
    /// Its kid, hex.
    pub kid: String,
}

/// Why it was not done, with any status but 2xx.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// What is wrong.
    pub error: String,
    /// What would help; may be empty.
    pub help: String,
    /// Who has to act: `client`, `server`, `custodian`, `operator`, `internal`.
    pub who: String,
}

impl From<KeyringStatus> for Keyring {
    fn from(status: KeyringStatus) -> Self {
        Self {
            keyring: status.keyring.to_string(),
            suite: status.terms.suite.name().to_owned(),
            versions: status.versions.into_iter().map(Into::into).collect(),
        }
    }
}

impl From<VersionStatus> for KeyVersion {
    fn from(status: VersionStatus) -> Self {
        Self {
            number: status.number,
            label: status.label,
            kid: status.kid.to_string(),
            suite: status.suite.name().to_owned(),
            state: status.state.name().to_owned(),
            created: status.created.to_string(),
            activated: status.activated.map(|time| time.to_string()),
            sealed: status.opened.map(|_loaded| Sealed {
                messages: status.used.messages,
                bytes: status.used.bytes,
            }),
        }
    }
}

impl From<Rotated> for Switch {
    fn from(rotated: Rotated) -> Self {
        Self {
            keyring: rotated.keyring.to_string(),
            from: rotated.from,
            to: rotated.to,
            kid: rotated.kid.to_string(),
        }
    }
}
