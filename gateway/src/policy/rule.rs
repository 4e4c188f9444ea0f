//! One keyring of a policy: its subjects, and how they are treated.

use super::alias::Alias;
use super::clients::Clients;
use super::name::KeyringName;
use super::pattern::Pattern;
use super::strict::{Answers, Empty, Plaintext, Undecryptable};

/// Index of a keyring in [`super::Policy::keyrings`]; valid only for the policy that it came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyringId(pub(super) u16);

/// What envelopes of a keyring are bound to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bind {
    /// The publisher's subject: an envelope that is moved to another subject does not open.
    Subject {
        /// Subjects that the server maps on the way, each with the one that it was published on.
        aliases: Vec<Alias>,
    },
    /// The keyring alone: envelopes may move between its subjects.
    Keyring,
}

/// One keyring: its name, the subjects that it covers, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The keyring's name; unique in a policy.
    pub name: KeyringName,
    /// The patterns that it covers; no two rules may share one.
    pub subjects: Vec<Pattern>,
    /// What its envelopes are bound to.
    pub bind: Bind,
    /// Longest payload that may be sealed, in bytes: a longer one exceeds the whole budget of any key version.
    pub max_payload_len: u64,
    /// How plaintext on its subjects is treated.
    pub plaintext: Plaintext,
    /// Which plaintext may answer a request on its subjects.
    pub answers: Answers,
    /// Whether envelopes that answer a request are bound to it.
    pub binds_answers: bool,
    /// How empty payloads are treated.
    pub empty: Empty,
    /// How deliveries that do not open are treated.
    pub undecryptable: Undecryptable,
    /// Clients that may publish on its subjects.
    pub publish_by: Clients,
    /// Clients that its decrypted payloads may be delivered to.
    pub deliver_to: Clients,
}

/// Why a rule is invalid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// Two rules have one name.
    #[error("the keyring `{0}` is defined twice")]
    NameTaken(KeyringName),
    /// Two patterns are the same, in one rule or in two.
    #[error("the pattern `{pattern}` is already in keyring `{holder}`")]
    PatternTaken {
        /// The pattern.
        pattern: Pattern,
        /// The keyring that has it.
        holder: KeyringName,
    },
    /// The pattern lies within system subjects, which are never sealed.
    #[error("`{pattern}` lies within `{class}`: {why}, so these subjects are never sealed")]
    System {
        /// The pattern.
        pattern: Pattern,
        /// The pattern of those system subjects.
        class: &'static str,
        /// Why they are never sealed.
        why: &'static str,
    },
    /// The pattern is written with a JetStream domain or API prefix, which is stripped before a subject is looked up.
    #[error("`{pattern}` never matches: the prefix is stripped before a subject is looked up")]
    Prefixed {
        /// The pattern.
        pattern: Pattern,
        /// The pattern without the prefix, which would match.
        instead: String,
    },
    /// A subject of an alias is not covered by the rule.
    #[error("the alias names `{0}`, which the keyring's subjects do not cover")]
    StrayAlias(Pattern),
    /// More keyrings than [`KeyringId`] can count.
    #[error("more than {} keyrings", u16::MAX)]
    TooMany,
}

/// An error in the rules that [`super::Policy::new`] was given.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub struct RuleFault {
    /// Index of the rule.
    pub rule: usize,
    /// Index in the rule's subjects; `None` if the error is about the rule as a whole.
    pub subject: Option<usize>,
    /// What is wrong.
    pub why: Invalid,
}

impl KeyringId {
    /// Index of the keyring in [`super::Policy::keyrings`].
    #[must_use]
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

impl Rule {
    pub(super) fn restricts_clients(&self) -> bool {
        let both = [&self.publish_by, &self.deliver_to];
        both.into_iter()
            .any(|clients| *clients != Clients::Everybody)
    }

    /// The keyring of a gateway that has none configured: `default`, on every user subject.
    #[must_use]
    pub fn everything() -> Self {
        Self {
            name: KeyringName::default(),
            subjects: vec![Pattern::everything()],
            max_payload_len: u64::MAX,
            bind: Bind::Subject {
                aliases: Vec::new(),
            },
            plaintext: Plaintext::Reject,
            answers: Answers::default(),
            binds_answers: true,
            empty: Empty::default(),
            undecryptable: Undecryptable::default(),
            publish_by: Clients::default(),
            deliver_to: Clients::default(),
        }
    }
}
