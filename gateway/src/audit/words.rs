//! The words of the log: enums whose variants are spelled alike in lines, messages and metrics.

use serde::{Deserialize, Serialize};
use strum::{Display, IntoStaticStr, VariantNames};

/// An action on a key version, or on the configuration that governs it.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Hash,
    Serialize,
    Deserialize,
    Display,
    IntoStaticStr,
    VariantNames,
)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum Action {
    /// A secret is generated, wrapped and made durable.
    Generate,
    /// Every member has proven that it holds the version: it may open, and become active.
    Admit,
    /// A version begins to seal; its predecessor is deactivated in the same step.
    Activate,
    /// A version stops sealing; the line names no successor.
    Deactivate,
    /// A version is archived: loaded on demand only.
    Archive,
    /// An archived version is loaded again.
    Restore,
    /// A version neither seals nor opens until it is resumed or revoked.
    Suspend,
    /// A suspended version returns to its former state.
    Resume,
    /// A version is declared compromised.
    Compromise,
    /// A version's secret is erased.
    Destroy,
    /// The configuration protects less than before: the line names each change.
    Weaken,
    /// The configuration is read again.
    Reload,
    /// The destruction of a version is requested, and waits for approval by a second person.
    DestroyRequested,
    /// A rotation is requested.
    RotateRequested,
    /// A rotation that was under way is aborted.
    Abort,
}

/// What triggered an action.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Hash,
    Serialize,
    Deserialize,
    Display,
    IntoStaticStr,
    VariantNames,
)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum Trigger {
    /// The cryptoperiod, the overlap or a retention is over.
    Time,
    /// The limit of messages under a version.
    Messages,
    /// The limit of bytes under a version.
    Bytes,
    /// A limit would be reached before a successor is in place.
    Forecast,
    /// A key is compromised, or suspected to be.
    Compromise,
    /// A person with access left, or changed roles.
    Personnel,
    /// A new deployment.
    Deployment,
    /// A person's request.
    Manual,
    /// The start of a gateway.
    Start,
    /// Too many messages that did not open.
    FailedOpens,
}

/// The interface by which an action was requested.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Hash,
    Serialize,
    Deserialize,
    Display,
    IntoStaticStr,
    VariantNames,
)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum Channel {
    /// The unix socket.
    AdminSocket,
    /// The administration's TCP port.
    AdminTcp,
    /// A command on the state directory, without a running gateway.
    CommandLine,
    /// None: the gateway's own rules.
    Gateway,
    /// A signal.
    Signal,
}

/// What the key version may be used for after the action.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Hash,
    Serialize,
    Deserialize,
    Display,
    IntoStaticStr,
    VariantNames,
)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum IntendedUse {
    /// It seals and opens (NIST: originator and recipient usage).
    SealAndOpen,
    /// It opens only (NIST: recipient usage).
    Open,
    /// Neither.
    Nothing,
}

/// The outcome of a key event, without the reason.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Hash,
    Serialize,
    Deserialize,
    Display,
    IntoStaticStr,
    VariantNames,
)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum OutcomeKind {
    /// It is done.
    Done,
    /// It was tried and failed.
    Failed,
    /// It was not tried.
    Refused,
    /// It was tried, and its outcome is not known yet: a later line for the same event has it.
    Unknown,
}
