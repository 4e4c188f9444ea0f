//! One line of the log: JSON, and a line end that belongs to it. The exact bytes are hashed, so that no canonical form is needed.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::act::{Act, Outcome, RecordRef};
use super::hash::{Hash, Hex};
use super::head::Head;
use super::settings::{Change, InForce};
use super::text::Text;
use super::time;
use super::words::OutcomeKind;
use crate::secret::NoEntropy;
use crate::strict_json;

/// The format that this version writes, and the highest that it reads; the first line of a log names it.
pub(super) const FORMAT: u64 = 1;

/// One line of the audit log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// Its number, from 1: in the file, and in the Merkle tree.
    pub seq: u64,
    /// SHA-256 of the exact bytes of the line before it, its line end included; zeros in the first line.
    pub prev: Hash,
    /// Its content.
    #[serde(flatten)]
    pub body: Body,
}

/// The content of a line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Body {
    /// A key event is about to happen.
    Intent(Event),
    /// The outcome of a key event. Repeats the intent, so that one line has the whole event.
    Outcome(Completed),
    /// A fact that is no key event.
    Note(Note),
}

/// A key event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// The same in the intent and in the outcome.
    #[serde(rename = "event")]
    pub id: EventId,
    /// When it began.
    #[serde(with = "time")]
    pub initiated: Timestamp,
    /// The action.
    #[serde(flatten)]
    pub act: Act,
}

/// A key event with its outcome.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Completed {
    /// As in the intent.
    #[serde(flatten)]
    pub event: Event,
    /// When it ended. Of one that a crash interrupted: when its outcome was found out; of one that is `unknown`: when it was
    /// tried.
    #[serde(with = "time")]
    pub completed: Timestamp,
    /// The outcome.
    pub outcome: OutcomeKind,
    /// Why it was refused, failed or is unknown.
    pub error: Option<Text>,
    /// The record to which the action led; `None` where it led to none, and in lines of versions without this field.
    #[serde(default)]
    pub record: Option<RecordRef>,
}

/// A fact with its time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// When.
    #[serde(with = "time")]
    pub time: Timestamp,
    /// What.
    #[serde(flatten)]
    pub fact: Fact,
}

/// A fact about the log or its gateway that is no key event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "note", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Fact {
    /// The first line of every log.
    Begun {
        /// The format of the lines.
        format: u64,
        /// The catalogue whose events it records.
        catalogue: Text,
    },
    /// A gateway has started.
    GatewayStarted {
        /// Its version.
        version: Text,
        /// Its settings; `None` in lines of versions without this field.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        policy: Option<InForce>,
    },
    /// A gateway has stopped, as it was told to.
    GatewayStopped,
    /// The records before a gateway stops or hands over: budgets have changed them since the last key event.
    RecordsLeft {
        /// One for each keyring.
        records: Vec<RecordRef>,
    },
    /// A gateway has handed its keys and listeners over to another process, and drains its connections.
    GatewayHandedOver,
    /// The other process ended before it served clients: the gateway has taken its keys back.
    GatewayTookBack,
    /// The configuration was read again, with this result.
    ConfigurationReloaded {
        /// The result: what changed, or why nothing did.
        result: Text,
        /// The settings that changed.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        changes: Vec<Change>,
        /// The settings from now on.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        policy: Option<InForce>,
    },
    /// A record was refused that is older than one seen before, or differs from one of the same epoch.
    RollbackAlarm {
        /// Which record, and what was expected.
        what: Text,
    },
    /// An incomplete line (a crash) was removed; it had never been acknowledged.
    TailRepaired {
        /// How many bytes it had.
        bytes: u64,
        /// Their SHA-256.
        sha256: Hash,
    },
    /// Lines that no checkpoint covered when the log was opened, because of a crash or a full disk.
    Uncovered {
        /// The first of them.
        first: u64,
        /// The last of them.
        last: u64,
    },
    /// A revocation was rehearsed.
    Drill {
        /// By whom.
        who: Text,
        /// Why.
        why: Text,
    },
    /// This log replaces another one, which is lost or was moved away.
    LogReplaced {
        /// By whom.
        who: Text,
        /// Why.
        why: Text,
        /// The heads of earlier logs in the records at that time.
        heads: Vec<Head>,
    },
    /// The disk was full, and the reserve was released for a revocation.
    ReserveReleased,
    /// The host's clock was set: times before and after this line cannot be compared.
    ClockSet {
        /// By how much; negative: back.
        seconds: i64,
    },
}

/// Links an intent and its outcome: 128 random bits, as hex.
pub type EventId = Hex<16>;

/// The fields that every line has, also in later formats.
#[derive(Deserialize)]
pub(super) struct Probe {
    pub(super) seq: u64,
    pub(super) prev: Hash,
}

impl Line {
    /// Reads a line, with or without its line end.
    ///
    /// # Errors
    /// If it is no line, or one of a later version.
    pub fn parse(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        strict_json::from_slice(bytes)
    }

    /// Its exact bytes.
    pub(super) fn bytes(&self) -> Result<Vec<u8>, serde_json::Error> {
        let mut bytes = serde_json::to_vec(self)?;
        bytes.push(b'\n');
        Ok(bytes)
    }
}

impl Body {
    /// The key event, if it is one.
    #[must_use]
    pub const fn event(&self) -> Option<&Event> {
        match self {
            Self::Intent(event) => Some(event),
            Self::Outcome(completed) => Some(&completed.event),
            Self::Note(_) => None,
        }
    }

    /// The records that it names: each is the latest of its keyring until a later line names another.
    #[must_use]
    pub fn records(&self) -> &[RecordRef] {
        match self {
            Self::Outcome(completed) => completed.record.as_slice(),
            Self::Note(Note {
                fact: Fact::RecordsLeft { records },
                ..
            }) => records,
            Self::Intent(_) | Self::Note(_) => &[],
        }
    }

    /// The settings that it puts in force.
    #[must_use]
    pub const fn policy(&self) -> Option<&InForce> {
        match self {
            Self::Note(Note {
                fact:
                    Fact::GatewayStarted { policy, .. } | Fact::ConfigurationReloaded { policy, .. },
                ..
            }) => policy.as_ref(),
            Self::Intent(_) | Self::Outcome(_) | Self::Note(_) => None,
        }
    }

    /// The time in the line: of the intent, of the outcome, or of the fact.
    #[must_use]
    pub const fn time(&self) -> Timestamp {
        match self {
            Self::Intent(event) => event.initiated,
            Self::Outcome(completed) => completed.completed,
            Self::Note(note) => note.time,
        }
    }
}

impl Event {
    pub(super) fn new(act: Act, initiated: Timestamp) -> Result<Self, NoEntropy> {
        let mut id = [0; 16];
        aws_lc_rs::rand::fill(&mut id).map_err(|_unspecified| NoEntropy)?;
        Ok(Self {
            id: Hex(id),
            initiated,
            act,
        })
    }
}

impl Completed {
    /// Whether the event is over: one whose outcome is unknown gets a later line.
    #[must_use]
    pub const fn is_final(&self) -> bool {
        !matches!(self.outcome, OutcomeKind::Unknown)
    }

    pub(super) fn new(
        event: Event,
        (outcome, record): (&Outcome, Option<RecordRef>),
        completed: Timestamp,
    ) -> Self {
        let (word, error) = match outcome {
            Outcome::Done => (OutcomeKind::Done, None),
            Outcome::Failed(error) => (OutcomeKind::Failed, Some(error.clone())),
            Outcome::Refused(error) => (OutcomeKind::Refused, Some(error.clone())),
            Outcome::Unknown(why) => (OutcomeKind::Unknown, Some(why.clone())),
        };
        Self {
            event,
            completed,
            outcome: word,
            error,
            record,
        }
    }
}
