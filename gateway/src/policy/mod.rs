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
mod name;
mod pattern;
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
pub use name::{BadName, KeyringName};
pub use pattern::{BadPattern, Pattern};
pub use strict::{Answers, AtLimit, Empty, Limit, Plaintext, Substitute, Undecryptable};
pub use subject_transform::{MAX_PUBLISHED_SUBJECTS, SubjectTransform};

/// Index of a keyring in [`Policy::keyrings`]; valid only for the policy that it came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyringId(u16);

/// What happens to the payloads of a subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Route {
    /// Passed unchanged: a system subject, or one that no keyring covers.
    Pass,
    /// Sealed on publish and opened on deliver, under this keyring.
    Keyring(KeyringId),
    /// A reply subject (`_INBOX.>`, `_R_.>`, or under a configured inbox prefix): the request decides. If it is unknown, the
    /// keyring whose patterns cover the subject, if any.
    Reply(Option<KeyringId>),
}

/// The result of [`Policy::lookup`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lookup {
    /// What happens to its payloads.
    pub route: Route,
    /// Who reads its payloads.
    pub role: Role,
    /// Whether the pattern that decided has a literal token, unlike `>` or `*.>`.
    pub explicit: bool,
    prefix: usize,
}

/// Who reads the payloads of a subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Clients: an ordinary subject.
    User,
    /// The requester: a reply subject.
    Reply,
    /// JetStream: a request to its API.
    Api,
    /// The server, or every client of the account.
    System,
}

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

/// The compiled rules.
#[derive(Clone, Debug)]
pub struct Policy {
    rules: Vec<Rule>,
    api_prefixes: Vec<Box<[u8]>>,
    inboxes: Vec<Inboxes>,
    trie: trie::Trie,
    awaits_pub_acks: bool,
}

/// A configured inbox prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Inboxes {
    /// The prefix, with its final dot.
    prefix: Box<[u8]>,
    /// Whether a keyring's pattern lies under the prefix; otherwise patterns only cover it together with more.
    explicit: bool,
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

/// An error in the rules that [`Policy::new`] was given.
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

impl Route {
    /// The keyring of [`Route::Keyring`].
    #[must_use]
    pub const fn keyring(self) -> Option<KeyringId> {
        match self {
            Self::Keyring(keyring) => Some(keyring),
            Self::Pass | Self::Reply(_) => None,
        }
    }

    /// The same, or the keyring whose patterns cover a reply subject.
    #[must_use]
    pub const fn covering_keyring(self) -> Option<KeyringId> {
        match self {
            Self::Keyring(keyring) => Some(keyring),
            Self::Reply(covering) => covering,
            Self::Pass => None,
        }
    }
}

impl Lookup {
    /// The subject that an envelope is bound to: `subject`, which was looked up, without the JetStream domain or API prefix
    /// through which a key-value or object store was written.
    #[must_use]
    pub fn normalise<'a>(&self, subject: &'a [u8]) -> &'a [u8] {
        match self.role {
            Role::User => self.rest(subject),
            Role::Reply | Role::Api | Role::System => subject,
        }
    }

    /// The keyring of a subject that a pattern with a literal token covers and that is no reply subject: even as the reply
    /// subject of a request it carries ordinary messages.
    #[must_use]
    pub fn explicit_user_keyring(&self) -> Option<KeyringId> {
        let is_work = self.explicit && self.role == Role::User;
        self.route.keyring().filter(|_| is_work)
    }

    /// The keyring of a subject that a pattern with a literal token covers. Naming it as a reply subject amounts to publishing to
    /// it.
    #[must_use]
    pub fn explicit_keyring(&self) -> Option<KeyringId> {
        self.route.keyring().filter(|_| self.explicit)
    }

    /// What follows `$JS.API.`, or the prefix in its place, in a request to JetStream.
    #[must_use]
    pub fn request<'a>(&self, subject: &'a [u8]) -> Option<&'a [u8]> {
        (self.role == Role::Api).then(|| self.rest(subject))
    }

    fn rest<'a>(&self, subject: &'a [u8]) -> &'a [u8] {
        subject.get(self.prefix..).unwrap_or(subject)
    }
}

impl KeyringId {
    /// Index of the keyring in [`Policy::keyrings`].
    #[must_use]
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

impl Policy {
    /// Compiles `rules`. `api_prefixes` are the subjects under which this account imports JetStream's API, besides `$JS.API` and
    /// `$JS.<domain>.API`: `JS.acme.API` for example, with or without the final dot.
    ///
    /// # Errors
    /// Every [`RuleFault`], in the order of the rules.
    pub fn new(rules: Vec<Rule>, api_prefixes: &[String]) -> Result<Self, Vec<RuleFault>> {
        let api_prefixes = class::dotted(api_prefixes);
        let trie = trie::compile(&rules, &api_prefixes)?;
        let mut answers = rules.iter().map(|rule| rule.answers);
        let awaits_pub_acks = answers.any(|answers| answers == Answers::PubAck);
        Ok(Self {
            awaits_pub_acks,
            rules,
            api_prefixes,
            inboxes: Vec::new(),
            trie,
        })
    }

    /// The same policy with custom inbox prefixes (`custom` for `custom.>`), with or without the final dot.
    #[must_use]
    pub fn with_inboxes(mut self, prefixes: &[String]) -> Self {
        let inboxes = class::dotted(prefixes).into_iter().map(|prefix| Inboxes {
            explicit: self
                .patterns()
                .any(|(_, pattern)| pattern.as_str().as_bytes().starts_with(&prefix)),
            prefix,
        });
        self.inboxes = inboxes.collect();
        self
    }

    /// The same rules, those in `places` first and in that order, so that a keyring keeps its [`KeyringId`] when others are
    /// added.
    #[must_use]
    pub fn reordered(&self, places: &[&KeyringName]) -> Self {
        let place = |rule: &Rule| places.iter().position(|name| **name == rule.name);
        let mut rules = self.rules.clone();
        rules.sort_by_key(|rule| place(rule).unwrap_or(usize::MAX));
        let Ok(trie) = trie::compile(&rules, &self.api_prefixes) else {
            // Impossible: they were compiled before.
            return self.clone();
        };
        Self {
            rules,
            trie,
            ..self.clone()
        }
    }

    /// The same policy, rejecting plaintext on the subjects of these keyrings.
    #[must_use]
    pub fn rejecting_plaintext(&self, keyrings: &[KeyringName]) -> Self {
        let mut policy = self.clone();
        for rule in &mut policy.rules {
            if keyrings.contains(&rule.name) {
                rule.plaintext = Plaintext::Reject;
            }
        }
        policy
    }

    /// The prefixes of JetStream's API, with their final dots.
    pub fn api_prefixes(&self) -> impl Iterator<Item = String> {
        let prefixes = self.api_prefixes.iter();
        prefixes.map(|prefix| String::from_utf8_lossy(prefix).into_owned())
    }

    /// The prefixes of inboxes, with their final dots.
    pub fn inbox_prefixes(&self) -> impl Iterator<Item = String> {
        let inboxes = self.inboxes.iter();
        inboxes.map(|own| String::from_utf8_lossy(&own.prefix).into_owned())
    }

    /// Whether both policies have the same prefixes of JetStream's API.
    #[must_use]
    pub fn has_same_api_prefixes(&self, other: &Self) -> bool {
        self.api_prefixes == other.api_prefixes
    }

    /// Whether both policies have the same inbox prefixes.
    #[must_use]
    pub fn has_same_inbox_prefixes(&self, other: &Self) -> bool {
        let prefixes = |policy: &Self| -> Vec<_> {
            policy
                .inboxes
                .iter()
                .map(|inboxes| inboxes.prefix.clone())
                .collect()
        };
        prefixes(self) == prefixes(other)
    }

    /// One keyring, `default`, that covers every user subject.
    #[must_use]
    pub fn everything() -> Self {
        Self::new(vec![Rule::everything()], &[]).unwrap_or_else(|_faults| Self::nothing())
    }

    /// No keyring at all: every subject passes.
    #[must_use]
    pub fn nothing() -> Self {
        Self {
            rules: Vec::new(),
            api_prefixes: Vec::new(),
            inboxes: Vec::new(),
            trie: trie::Trie::default(),
            awaits_pub_acks: false,
        }
    }

    /// Looks `subject` up, as it stands on the wire in either direction.
    #[must_use]
    pub fn lookup(&self, subject: &[u8]) -> Lookup {
        let lookup = |route, role, bare: &[u8]| Lookup {
            route,
            role,
            explicit: false,
            prefix: subject.len().saturating_sub(bare.len()),
        };
        match self.class(subject) {
            class::Class::User(bare) => {
                let found = self.trie.find(bare);
                let route = found.map_or(Route::Pass, |found| Route::Keyring(found.keyring));
                Lookup {
                    explicit: found.is_some_and(|found| found.explicit),
                    ..lookup(route, Role::User, bare)
                }
            }
            class::Class::Reply => {
                let covering = || self.trie.find(subject).map(|found| found.keyring);
                let explicit = self.trie.find_below_literal(subject);
                let explicit =
                    explicit.filter(|_| self.inboxes(subject).is_none_or(|own| own.explicit));
                let route = explicit.map_or_else(
                    || Route::Reply(covering()),
                    |found| Route::Keyring(found.keyring),
                );
                Lookup {
                    explicit: explicit.is_some(),
                    ..lookup(route, Role::Reply, subject)
                }
            }
            class::Class::Api(request) => lookup(Route::Pass, Role::Api, request),
            class::Class::System(_) => lookup(Route::Pass, Role::System, subject),
        }
    }

    /// What happens to a payload on `subject`.
    #[must_use]
    pub fn route(&self, subject: &[u8]) -> Route {
        self.lookup(subject).route
    }

    /// The subject that an envelope is bound to: see [`Lookup::normalise`].
    #[must_use]
    pub fn normalise<'a>(&self, subject: &'a [u8]) -> &'a [u8] {
        self.lookup(subject).normalise(subject)
    }

    /// Whether payloads on `subject` are never sealed, whatever the rules.
    #[must_use]
    pub fn is_system(&self, subject: &[u8]) -> bool {
        matches!(self.lookup(subject).role, Role::Api | Role::System)
    }

    /// Whether every subject that `filter` matches is sealed, possibly under several keyrings. `filter` may have wildcards.
    #[must_use]
    pub fn seals_every(&self, filter: &[u8]) -> bool {
        let user = matches!(self.class(filter), class::Class::User(_));
        let pattern = std::str::from_utf8(filter).map(str::parse::<Pattern>);
        let Ok(Ok(pattern)) = pattern else {
            return false;
        };
        let mut owned = self.rules.iter().flat_map(|rule| &rule.subjects);
        user && owned.any(|own| own.covers(&pattern))
    }

    /// The rules, in the order of their [`KeyringId`].
    #[must_use]
    pub fn keyrings(&self) -> &[Rule] {
        &self.rules
    }

    /// The rule of a keyring; `None` if `id` is not of this policy.
    #[must_use]
    pub fn keyring(&self, id: KeyringId) -> Option<&Rule> {
        self.rules.get(id.index())
    }

    /// The keyring's name in logs and metrics; `none` without one.
    #[must_use]
    pub fn name_of(&self, id: Option<KeyringId>) -> &str {
        let rule = id.and_then(|id| self.keyring(id));
        rule.map_or("none", |rule| rule.name.as_str())
    }

    /// The keyring of that name.
    #[must_use]
    pub fn by_name(&self, name: &str) -> Option<KeyringId> {
        let index = self
            .rules
            .iter()
            .position(|rule| rule.name.as_str() == name)?;
        u16::try_from(index).ok().map(KeyringId)
    }

    /// Whether a keyring accepts only `PubAck` as responses ([`Answers::PubAck`]).
    #[must_use]
    pub const fn awaits_pub_acks(&self) -> bool {
        self.awaits_pub_acks
    }

    /// Whether a keyring restricts its clients, in at least one direction.
    #[must_use]
    pub fn restricts_clients(&self) -> bool {
        self.rules.iter().any(Rule::restricts_clients)
    }

    /// A keyring that `closed` selects and whose patterns cover every subject that `filter` matches. Some of these subjects may
    /// belong to other selected keyrings, but to no others.
    pub fn find_covering(
        &self,
        filter: &[u8],
        closed: impl Fn(KeyringId) -> bool,
    ) -> Option<KeyringId> {
        let (bare, reply) = match self.class(filter) {
            class::Class::User(bare) => (bare, false),
            class::Class::Reply => (filter, true),
            class::Class::Api(_) | class::Class::System(_) => return None,
        };
        let filter: Pattern = std::str::from_utf8(bare).ok()?.parse().ok()?;
        if class::may_be_system(&filter, &self.api_prefixes) {
            return None;
        }
        // Where patterns overlap, the more specific one decides.
        let is_alone = |pattern: &Pattern| {
            self.patterns().all(|(id, other)| {
                closed(id) || !other.overlaps(&filter) || pattern.specificity(other).is_lt()
            })
        };
        let mut closing = self.patterns().filter(|(id, pattern)| {
            closed(*id) && pattern.covers(&filter) && !(reply && pattern.starts_wild())
        });
        closing
            .find(|(_, pattern)| is_alone(pattern))
            .map(|(id, _)| id)
    }

    /// A keyring that `closed` selects and that some subject that `filter` matches may belong to. `filter` may have wildcards;
    /// one that is no valid subject may belong to any.
    pub fn find_overlapping(
        &self,
        filter: &[u8],
        closed: impl Fn(KeyringId) -> bool,
    ) -> Option<KeyringId> {
        let (bare, reply) = match self.class(filter) {
            class::Class::User(bare) => (bare, false),
            class::Class::Reply => (filter, true),
            class::Class::Api(_) | class::Class::System(_) => return None,
        };
        let parsed = std::str::from_utf8(bare)
            .ok()
            .and_then(|text| text.parse().ok());
        let Some(filter) = parsed else {
            return self.patterns().map(|(id, _)| id).find(|id| closed(*id));
        };
        let filter: Pattern = filter;
        if filter.is_literal() {
            let lookup = self.lookup(bare);
            let keyring = lookup.route.keyring().filter(|_| !reply || lookup.explicit);
            return keyring.filter(|keyring| closed(*keyring));
        }
        let mut reached = self.patterns().filter(|(id, pattern)| {
            closed(*id) && pattern.overlaps(&filter) && !(reply && pattern.starts_wild())
        });
        reached.next().map(|(id, _)| id)
    }

    /// Whether some subject that `filter` matches may be a request to JetStream's API. `filter` may have wildcards; `true` if it
    /// is no valid subject.
    #[must_use]
    pub fn may_match_api_request(&self, filter: &[u8]) -> bool {
        let parsed = std::str::from_utf8(filter)
            .ok()
            .and_then(|text| text.parse::<Pattern>().ok());
        match parsed {
            Some(literal) if literal.is_literal() => self.lookup(filter).role == Role::Api,
            Some(wild) => class::requests(&self.api_prefixes).any(|api| api.overlaps(&wild)),
            None => true,
        }
    }

    fn class<'a>(&self, subject: &'a [u8]) -> class::Class<'a> {
        let class = class::of(subject, &self.api_prefixes);
        let is_user = matches!(class, class::Class::User(_));
        if is_user && self.inboxes(subject).is_some() {
            return class::Class::Reply;
        }
        class
    }

    /// The configured inbox prefix of a subject.
    fn inboxes(&self, subject: &[u8]) -> Option<&Inboxes> {
        let mut inboxes = self.inboxes.iter();
        inboxes.find(|inboxes| subject.starts_with(&inboxes.prefix))
    }

    /// Every pattern with its keyring.
    fn patterns(&self) -> impl Iterator<Item = (KeyringId, &Pattern)> {
        let numbered = (0..=u16::MAX).map(KeyringId).zip(&self.rules);
        numbered.flat_map(|(id, rule)| rule.subjects.iter().map(move |pattern| (id, pattern)))
    }

    /// Whether any subject is sealed; if not, clients get the server's own `max_payload`.
    #[must_use]
    pub fn protects_anything(&self) -> bool {
        self.rules.iter().any(|rule| !rule.subjects.is_empty())
    }
}

impl Rule {
    fn restricts_clients(&self) -> bool {
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

impl crate::fault::Faulty for RuleFault {
    fn fault(&self) -> crate::fault::Fault {
        crate::fault::Fault {
            who: crate::fault::Who::Operator,
            retry: crate::fault::Retry::Never,
        }
    }
}
