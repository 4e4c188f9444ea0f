//! Decides whether a subject is sealed or passed, and under which keyring.
//!
//! A policy is a list of [`Rule`]s, one for each keyring, compiled once into a trie of tokens and then only read. A subject is
//! decided in three steps: it is normalised (a JetStream domain or API prefix is stripped), system subjects are passed
//! ([`class`]), and the rest is looked up in the trie.
//!
//! Of several patterns that match a subject, the most specific one decides: see [`Pattern::specificity`].

mod alias;
#[cfg(any(test, feature = "twin", fuzzing))]
pub mod check;
mod class;
mod clients;
mod compiled;
mod name;
mod pattern;
mod route;
mod rule;
mod strict;
mod subject_transform;
#[cfg(test)]
mod tests;
mod trie;

pub use alias::{Alias, WildcardMismatch};
pub use clients::{
    AllowedClient, BadClient, ClientName, Clients, IdentityKind, IdentityKinds, MAX_NAME_LEN,
};
pub(crate) use clients::{is_account_key, is_user_key};
pub use compiled::Policy;
pub use name::{BadName, KeyringName};
pub use pattern::{BadPattern, Pattern};
pub use route::{Lookup, Role, Route};
pub use rule::{Bind, Invalid, KeyringId, Rule, RuleFault};
pub use strict::{Answers, AtLimit, Empty, Limit, Plaintext, Substitute, Undecryptable};
pub use subject_transform::{MAX_PUBLISHED_SUBJECTS, SubjectTransform};
