//! One line of the log: JSON, ended by a line end that belongs to it.
//!
//! What is hashed, chained and signed are the exact bytes, so that no canonical form is needed.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::act::{Act, Hex, Outcome};
use super::tree::Hash;
use super::{Change, Head, InForce, OutcomeWord, RecordRef, Text};
use crate::objects;
use crate::secret::NoEntropy;

/// The format that this version writes, and the highest that it reads; the first line of a log names it.
pub(super) const FORMAT: u64 = 1;

/// A line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// Its number, from 1: in the file, and in the Merkle tree.
    pub seq: u64,
    /// SHA-256 of the exact bytes of the line before it, its line end included; zeros in the first line.
    pub prev: Hash,
    /// What it says.
    #[serde(flatten)]
    pub body: Body,
}

/// What a line says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Body {
    /// This is about to happen.
    Intent(Event),
    /// This has come of it. Repeats the intent, so that one line tells the whole event.
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
    /// What is done.
    #[serde(flatten)]
    pub act: Act,
}

/// A key event that is over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Completed {
    /// As in the intent.
    #[serde(flatten)]
    pub event: Event,
    /// When it ended. Of one that a crash interrupted: when it was found out how it had; of one that is `unknown`: when it was tried.
    #[serde(with = "time")]
    pub completed: Timestamp,
    /// What came of it.
    pub outcome: OutcomeWord,
    /// What went wrong, if something did.
    pub error: Option<Text>,
    /// The record that the act led to; `None` where it led to none, and in lines of versions that did not say.
    #[serde(default)]
    pub record: Option<RecordRef>,
}

/// A fact, and when it was so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// When.
    #[serde(with = "time")]
    pub time: Timestamp,
    /// What.
    #[serde(flatten)]
    pub fact: Fact,
}

/// What the log says about itself and its gateway, beside key events.
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
        /// What its configuration says about protection; `None` in lines of versions that did not say.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        policy: Option<InForce>,
    },
    /// A gateway was told to stop, and has.
    GatewayStopped,
    /// The records as they were left, before a gateway stops or hands over: budgets have changed them since the last key event.
    RecordsLeft {
        /// One for each keyring.
        records: Vec<RecordRef>,
    },
    /// A gateway has handed keys and clients over to another process, and drains the connections that it has.
    GatewayHandedOver,
    /// The other process ended before it served: the gateway has taken the keys back.
    GatewayTookBack,
    /// The configuration was read again, with this result.
    ConfigurationReloaded {
        /// What changed, or why nothing did.
        result: Text,
        /// Each key with its values.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        changes: Vec<Change>,
        /// What it says about protection from now on.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        policy: Option<InForce>,
    },
    /// A record was found, and refused, that is older than one seen before, or another one of the same epoch.
    RollbackAlarm {
        /// Which record, and what was expected.
        what: Text,
    },
    /// A line that a crash had cut off was removed; it had never been acknowledged.
    TailRepaired {
        /// How many bytes of it were there.
        bytes: u64,
        /// Their SHA-256.
        sha256: Hash,
    },
    /// Lines that no checkpoint covered when the log was opened: a crash or a full disk came between the two.
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
    /// This log was begun in the place of another, which is gone or was moved away.
    LogReplaced {
        /// By whom.
        who: Text,
        /// Why.
        why: Text,
        /// What the records said then of logs, and how far they had come.
        heads: Vec<Head>,
    },
    /// The disk was full, and the reserve was given up for a revocation.
    ReserveReleased,
    /// The host's clock was set: times before and after this line cannot be compared.
    ClockSet {
        /// By how much: ahead, or back when it is negative.
        seconds: i64,
    },
}

/// Links an intent and its outcome: 128 random bits, as hex.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EventId(pub Hex<16>);

/// What must be legible in every line, of later formats too.
#[derive(Deserialize)]
pub(super) struct Probe {
    pub(super) seq: u64,
    pub(super) prev: Hash,
}

impl Line {
    /// Reads a line, with or without its line end.
    ///
    /// # Errors
    /// When it is none, or of a later version.
    pub fn parse(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        objects::from_slice(bytes)
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

    /// The records that it names: each is the last word on its keyring until a later line names another.
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

    /// The same, of a line that is yet to be written.
    pub(super) const fn policy_mut(&mut self) -> Option<&mut InForce> {
        match self {
            Self::Note(Note {
                fact:
                    Fact::GatewayStarted { policy, .. } | Fact::ConfigurationReloaded { policy, .. },
                ..
            }) => policy.as_mut(),
            Self::Intent(_) | Self::Outcome(_) | Self::Note(_) => None,
        }
    }

    /// When it was said.
    #[must_use]
    pub const fn time(&self) -> Timestamp {
        match self {
            Self::Intent(event) => event.initiated,
            Self::Outcome(completed) => completed.completed,
            Self::Note(note) => note.time,
        }
    }
}

impl Completed {
    /// Whether this is the last word on the event: a later line settles one that is unknown.
    #[must_use]
    pub const fn is_final(&self) -> bool {
        !matches!(self.outcome, OutcomeWord::Unknown)
    }

    pub(super) fn new(
        event: Event,
        (outcome, record): (&Outcome, Option<RecordRef>),
        completed: Timestamp,
    ) -> Self {
        let (word, error) = match outcome {
            Outcome::Done => (OutcomeWord::Done, None),
            Outcome::Failed(error) => (OutcomeWord::Failed, Some(error.clone())),
            Outcome::Refused(error) => (OutcomeWord::Refused, Some(error.clone())),
            Outcome::Unknown(why) => (OutcomeWord::Unknown, Some(why.clone())),
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

impl EventId {
    pub(super) fn random() -> Result<Self, NoEntropy> {
        let mut bytes = [0; 16];
        aws_lc_rs::rand::fill(&mut bytes).map_err(|_unspecified| NoEntropy)?;
        Ok(Self(Hex(bytes)))
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// RFC 3339 in UTC, with milliseconds.
pub(super) mod time {
    use jiff::Timestamp;
    use serde::{Deserialize, Deserializer, Serializer, de};

    pub(in super::super) fn serialize<S: Serializer>(
        time: &Timestamp,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{time:.3}"))
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Timestamp, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }

    /// The same, or `null`.
    pub(in super::super) mod optional {
        use jiff::Timestamp;
        use serde::{Deserialize, Deserializer, Serializer, de};

        pub(in super::super::super) fn serialize<S: Serializer>(
            time: &Option<Timestamp>,
            serializer: S,
        ) -> Result<S::Ok, S::Error> {
            match time {
                Some(time) => super::serialize(time, serializer),
                None => serializer.serialize_none(),
            }
        }

        pub(in super::super::super) fn deserialize<'de, D: Deserializer<'de>>(
            deserializer: D,
        ) -> Result<Option<Timestamp>, D::Error> {
            let text = Option::<String>::deserialize(deserializer)?;
            let time = text.map(|text| text.parse());
            time.transpose().map_err(de::Error::custom)
        }
    }
}
