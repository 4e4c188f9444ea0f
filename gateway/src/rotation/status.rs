//! What operators are told of keyrings and their versions.

use jiff::Timestamp;

use crate::catalogue::State;
use crate::envelope::{Kid, Suite};
use crate::keyring::Used;
use crate::policy::KeyringName;

/// A keyring and all its versions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyringStatus {
    /// Its name.
    pub keyring: KeyringName,
    /// The suite of new versions.
    pub suite: Suite,
    /// Oldest first.
    pub versions: Vec<VersionStatus>,
}

/// One version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VersionStatus {
    /// Its number in the keyring.
    pub number: u32,
    /// Its name for people.
    pub label: String,
    /// Its name in envelopes.
    pub kid: Kid,
    /// The suite it seals with.
    pub suite: Suite,
    /// Where it is in its life.
    pub state: State,
    /// When it was drawn.
    pub created: Timestamp,
    /// When it first became active.
    pub activated: Option<Timestamp>,
    /// What this process has sealed under it, when it is loaded.
    pub sealed: Option<Used>,
}
