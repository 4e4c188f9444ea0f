//! The words of `/v1`: what is asked and answered, as JSON. Fields are only ever added.

mod keyring;

use serde::de::IntoDeserializer;
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;

use crate::rotation::Rotated;

pub use keyring::{Amount, Exposure, Kept, KeyVersion, Keyring, Opened, Outlook, Rehearsal, Terms};

/// What the gateway is and how it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
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
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Readiness {
    /// Whether nothing speaks against it.
    pub ready: bool,
    /// What speaks against it.
    pub reasons: Vec<String>,
    /// What does not work and keeps no client from being served.
    #[serde(default)]
    pub degraded: Vec<String>,
}

/// Why something is to be done.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Reason {
    /// Why, in words that an auditor will read.
    pub why: String,
}

/// Please switch to a new key version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Rotate {
    /// Why, in words that an auditor will read.
    pub why: String,
    /// What set it off; `manual` when absent.
    #[serde(default, deserialize_with = "word")]
    pub event: Event,
}

/// What set a rotation off that somebody asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Event {
    /// Somebody wants it.
    #[default]
    Manual,
    /// Somebody left, or changed what they do.
    Personnel,
    /// A new deployment.
    Deployment,
    /// A key may be known to others.
    Compromise,
}

/// A key version must never seal again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Revoke {
    /// Why, in words that an auditor will read.
    pub why: String,
    /// The version, by number or label; the active one when absent.
    #[serde(default)]
    pub version: Option<String>,
}

/// The secret of a key version must go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(clippy::struct_excessive_bools, reason = "each is a word of its own")]
pub struct Destroy {
    /// Why, in words that an auditor will read.
    pub why: String,
    /// Whether it goes although something stored may need it.
    #[serde(default)]
    pub force: bool,
    /// Whether somebody else, or the gateway, has asked for it and this agrees. What was asked for by force takes `force` here too.
    #[serde(default)]
    pub approve: bool,
}

/// The switch was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
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

/// The version is revoked: nothing is sealed under it any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Revoked {
    /// What whoever has its secret may know.
    pub exposure: Exposure,
    /// The label of the version that seals from now on; `null`: none yet, and publishes wait.
    pub sealing: Option<String>,
    /// Why there is none.
    pub failure: Option<String>,
}

/// What became of the configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Reloaded {
    /// What has changed and is in force.
    pub applied: Vec<String>,
    /// What has changed in the file and takes a restart.
    pub restart: Vec<String>,
    /// What deserves a second look.
    pub warnings: Vec<String>,
}

/// Lines of the audit log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Tail {
    /// Each exactly as it is in the log, the latest last.
    pub lines: Vec<String>,
}

/// Why it was not done, with any status but 2xx.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// What is wrong.
    pub error: String,
    /// What would help; may be empty.
    pub help: String,
    /// Who has to act: `client`, `server`, `custodian`, `operator`, `internal`.
    pub who: String,
    /// Of a configuration that is not valid, everything that is wrong with it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mistakes: Vec<Mistake>,
}

/// One mistake of a configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Mistake {
    /// What is wrong, and where.
    pub what: String,
    /// What would be right.
    pub help: String,
}

/// Reads a word of an enum, and nothing else: what serde derives also takes `{"manual":null}` for it.
fn word<'de, D: Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<T, D::Error> {
    T::deserialize(String::deserialize(from)?.into_deserializer())
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
