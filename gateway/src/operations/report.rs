//! What is answered beside the reports of rotation, as JSON. Fields are only ever added.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::rotation::{Exposure, KeyringStatus, Rehearsal, Rotated};

/// What became of an order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Report {
    /// What was rehearsed.
    Rehearsed(Vec<Rehearsal>),
    /// The switch was made.
    Rotated(Rotated),
    /// The version is revoked.
    Revoked(Revoked),
    /// The keyring as it is now.
    Changed(Box<KeyringStatus>),
}

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
    pub warnings: Vec<Mistake>,
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
