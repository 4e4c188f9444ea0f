//! What may be ordered: one list for the API and for commands.

use serde::de::IntoDeserializer;
use serde::{Deserialize, Deserializer, Serialize};
use strum::IntoStaticStr;
use utoipa::ToSchema;

use crate::audit::Trigger;

/// A keyring by its name, and a version of it by number or label.
pub type VersionPath = (String, String);

/// An order and what it is for. Keyrings are given by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// Switch to a new key version.
    Rotate(String, Rotate),
    /// A version never seals again.
    Revoke(String, Revoke),
    /// End the rotation under way without a successor.
    Abort(String, Reason),
    /// Change the state of a version.
    Change(Change, VersionPath, Reason),
    /// The secret of a version goes, if nothing stored needs it, or by force.
    Destroy(VersionPath, Destroy),
    /// Rehearse a revocation, without revoking anything.
    Drill(Reason),
}

/// A change of a version's state that takes nothing but a reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr)]
#[strum(serialize_all = "lowercase")]
pub enum Change {
    /// It stops sealing while somebody investigates.
    Suspend,
    /// A suspended version returns to its former state.
    Restore,
    /// Its overlap ends now.
    Archive,
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
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema, clap::ValueEnum,
)]
#[serde(rename_all = "lowercase")]
pub enum Event {
    /// Somebody wants it
    #[default]
    Manual,
    /// Somebody left, or changed what they do
    Personnel,
    /// A new deployment
    Deployment,
    /// A key may be known to others; `keyway revoke` also stops the version for good
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

impl Order {
    /// The path that takes it by POST.
    #[must_use]
    pub fn path(&self) -> String {
        let verb = match self {
            Self::Rotate(..) => "rotate",
            Self::Revoke(..) => "revoke",
            Self::Abort(..) => "abort",
            Self::Change(change, ..) => change.into(),
            Self::Destroy(..) => "destroy",
            Self::Drill(_) => "drill",
        };
        match (self.keyring(), self.version()) {
            (None, _) => format!("/v1/{verb}"),
            (Some(keyring), None) => format!("/v1/keyrings/{keyring}/{verb}"),
            (Some(keyring), Some(version)) => {
                format!("/v1/keyrings/{keyring}/versions/{version}/{verb}")
            }
        }
    }

    /// The body of the request.
    ///
    /// # Errors
    /// [`serde_json::Error`].
    pub fn body(&self) -> serde_json::Result<Vec<u8>> {
        match self {
            Self::Rotate(_, asked) => serde_json::to_vec(asked),
            Self::Revoke(_, asked) => serde_json::to_vec(asked),
            Self::Destroy(_, asked) => serde_json::to_vec(asked),
            Self::Abort(_, asked) | Self::Change(_, _, asked) | Self::Drill(asked) => {
                serde_json::to_vec(asked)
            }
        }
    }

    /// The keyring; `None` for an order to the gateway as a whole.
    #[must_use]
    pub fn keyring(&self) -> Option<&str> {
        match self {
            Self::Rotate(keyring, _)
            | Self::Revoke(keyring, _)
            | Self::Abort(keyring, _)
            | Self::Change(_, (keyring, _), _)
            | Self::Destroy((keyring, _), _) => Some(keyring),
            Self::Drill(_) => None,
        }
    }

    /// The version, in orders whose path names one.
    #[must_use]
    pub fn version(&self) -> Option<&str> {
        match self {
            Self::Change(_, (_, version), _) | Self::Destroy((_, version), _) => Some(version),
            Self::Rotate(..) | Self::Revoke(..) | Self::Abort(..) | Self::Drill(_) => None,
        }
    }
}

impl Event {
    /// As the audit log names it.
    #[must_use]
    pub const fn trigger(self) -> Trigger {
        match self {
            Self::Manual => Trigger::Manual,
            Self::Personnel => Trigger::Personnel,
            Self::Deployment => Trigger::Deployment,
            Self::Compromise => Trigger::Compromise,
        }
    }
}

/// Reads a word of an enum, and nothing else: what serde derives also takes `{"manual":null}` for it.
fn word<'de, D: Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<T, D::Error> {
    T::deserialize(String::deserialize(from)?.into_deserializer())
}
