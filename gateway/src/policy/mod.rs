//! The answer to "is this subject sealed or passed, and under which keyring".
//!
//! A policy is a list of [`Rule`]s, one for each keyring, compiled once into a trie of tokens and then only read. A subject is
//! answered in three steps: the gateway's own view of it is taken (a JetStream domain or API prefix is stripped), subjects
//! that the server or its clients use for themselves are set aside ([`class`]), and the rest is looked up in the trie.
//!
//! Of several patterns that match a subject, the most specific one decides: see [`Pattern::specificity`].

mod alias;
#[cfg(any(test, feature = "twin", fuzzing))]
pub mod check;
mod class;
mod clients;
mod moved;
mod name;
mod pattern;
mod strict;
#[cfg(test)]
mod tests;
mod trie;

pub use alias::{Alias, Uneven};
pub use clients::{BadClient, ClientName, Clients, Kind, Kinds, LONGEST_NAME, Listed};
pub(crate) use clients::{is_account_key, is_user_key};
pub use moved::{MOST_PUBLISHED, Move};
pub use name::{BadName, KeyringName};
pub use pattern::{BadPattern, Pattern};
pub use strict::{Answers, AtLimit, Empty, Limit, Plaintext, Substitute, Undecryptable};

/// Index of a keyring in [`Policy::keyrings`]; valid for the policy that gave it, and for no other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyringId(u16);

/// What is to be done with the payloads of a subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Route {
    /// Left alone: a system subject, or one that no keyring covers.
    Pass,
    /// Sealed on publish and opened on deliver, under this keyring.
    Keyring(KeyringId),
    /// A reply subject (`_INBOX.>`, `_R_.>`, and under the prefixes of inboxes): what the request was decides. Where that is not known, the keyring whose
    /// patterns cover it, if any.
    Reply(Option<KeyringId>),
}

/// What a subject is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    /// What becomes of its payloads.
    pub route: Route,
    /// Who reads them.
    pub role: Role,
    /// Whether the pattern that decided names a token, as neither `>` nor `*.>` do.
    pub named: bool,
    prefix: usize,
}

/// Who reads the payloads of a subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Agents.
    User,
    /// Whoever sent the request that named it.
    Reply,
    /// JetStream: a request to its API.
    Api,
    /// The server, or every client of the account.
    System,
}

/// What envelopes of a keyring are bound to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bind {
    /// The publisher's subject: an envelope moved to another subject does not open.
    Subject {
        /// Subjects that the bus renames on the way, each with the one it was published on.
        aliases: Vec<Alias>,
    },
    /// The keyring alone: envelopes may move between its subjects.
    Keyring,
}

/// One keyring: its name, the subjects it covers, and how strictly.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The keyring's name; unique in a policy.
    pub name: KeyringName,
    /// What it covers. No other rule may have one of these patterns.
    pub subjects: Vec<Pattern>,
    /// What its envelopes are bound to.
    pub bind: Bind,
    /// The longest payload that is sealed: a key version may not seal more in all, and no successor could.
    pub longest: u64,
    /// Whether plaintext is delivered on its subjects.
    pub plaintext: Plaintext,
    /// Which plaintext may answer a request on its subjects.
    pub answers: Answers,
    /// Whether what answers a request is bound to it.
    pub binds_answers: bool,
    /// Whether empty payloads are sealed.
    pub empty: Empty,
    /// What becomes of a delivery that does not open.
    pub undecryptable: Undecryptable,
    /// Who may publish on its subjects.
    pub publish_by: Clients,
    /// To whom its plaintext may be delivered.
    pub deliver_to: Clients,
}

/// The compiled rules.
#[derive(Clone, Debug)]
pub struct Policy {
    rules: Vec<Rule>,
    api_prefixes: Vec<Box<[u8]>>,
    inboxes: Vec<Inboxes>,
    trie: trie::Trie,
    awaits_acknowledgements: bool,
}

/// Where clients with an inbox prefix of their own wait for answers.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Inboxes {
    /// The prefix, with its final dot.
    prefix: Box<[u8]>,
    /// Whether a keyring names them, and not only more than them.
    named: bool,
}

/// Why a rule cannot be part of a policy.
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
        /// Who has it.
        holder: KeyringName,
    },
    /// The pattern names subjects that are never sealed.
    #[error("`{pattern}` lies within `{class}`: {why}, so these subjects are never sealed")]
    System {
        /// The pattern.
        pattern: Pattern,
        /// The class of subjects that it lies within.
        class: &'static str,
        /// Why that class is never sealed.
        why: &'static str,
    },
    /// The pattern is written with a JetStream domain or API prefix, which is stripped before a subject is looked up.
    #[error("`{pattern}` never matches: the prefix is stripped before a subject is looked up")]
    Prefixed {
        /// The pattern.
        pattern: Pattern,
        /// What would match.
        instead: String,
    },
    /// A side of an alias is a subject that the rule does not cover.
    #[error("the alias names `{0}`, which the keyring's subjects do not cover")]
    StrayAlias(Pattern),
    /// More keyrings than [`KeyringId`] can count.
    #[error("more than {} keyrings", u16::MAX)]
    TooMany,
}

/// One fault of the list of rules that [`Policy::new`] was given.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub struct Fault {
    /// Index of the rule.
    pub rule: usize,
    /// Index in the rule's subjects; `None` when the rule as a whole is at fault.
    pub subject: Option<usize>,
    /// What is wrong.
    pub why: Invalid,
}

impl Route {
    /// The keyring that seals the subject's payloads whatever was asked.
    #[must_use]
    pub const fn keyring(self) -> Option<KeyringId> {
        match self {
            Self::Keyring(keyring) => Some(keyring),
            Self::Pass | Self::Reply(_) => None,
        }
    }

    /// The same, or on a reply subject the one that seals where nothing else is known.
    #[must_use]
    pub const fn covering(self) -> Option<KeyringId> {
        match self {
            Self::Keyring(keyring) => Some(keyring),
            Self::Reply(covering) => covering,
            Self::Pass => None,
        }
    }
}

impl Look {
    /// The subject that an envelope is bound to: the one that was looked at, without the JetStream domain or API prefix through
    /// which a key-value or object store was written.
    #[must_use]
    pub fn bare<'a>(&self, subject: &'a [u8]) -> &'a [u8] {
        match self.role {
            Role::User => self.rest(subject),
            Role::Reply | Role::Api | Role::System => subject,
        }
    }

    /// The keyring of a subject that is not for answers, whoever names it for one: what is published there is work of its own.
    #[must_use]
    pub fn work(&self) -> Option<KeyringId> {
        let is_work = self.named && self.role == Role::User;
        self.route.keyring().filter(|_| is_work)
    }

    /// The keyring of a subject that whoever names it for an answer publishes to, as it were.
    #[must_use]
    pub fn claimed(&self) -> Option<KeyringId> {
        self.route.keyring().filter(|_| self.named)
    }

    /// What follows `$JS.API.`, or what stands in its place, in a request to JetStream.
    #[must_use]
    pub fn request<'a>(&self, subject: &'a [u8]) -> Option<&'a [u8]> {
        (self.role == Role::Api).then(|| self.rest(subject))
    }

    fn rest<'a>(&self, subject: &'a [u8]) -> &'a [u8] {
        subject.get(self.prefix..).unwrap_or(subject)
    }
}

impl KeyringId {
    /// The place of the keyring in [`Policy::keyrings`].
    #[must_use]
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

impl Policy {
    /// Compiles `rules`. `api_prefixes` are the subjects under which this account imports JetStream's API, beside
    /// `$JS.API` and `$JS.<domain>.API`: `JS.acme.API` for example, with or without the final dot.
    ///
    /// # Errors
    /// Every [`Fault`] of the rules, in their order.
    pub fn new(rules: Vec<Rule>, api_prefixes: &[String]) -> Result<Self, Vec<Fault>> {
        let api_prefixes = class::dotted(api_prefixes);
        let trie = trie::compile(&rules, &api_prefixes)?;
        let mut answers = rules.iter().map(|rule| rule.answers);
        let awaits_acknowledgements = answers.any(|answers| answers == Answers::PubAck);
        Ok(Self {
            awaits_acknowledgements,
            rules,
            api_prefixes,
            inboxes: Vec::new(),
            trie,
        })
    }

    /// The same, for clients that wait for answers under these prefixes too (`custom` for `custom.>`), with or without the final dot.
    #[must_use]
    pub fn with_inboxes(mut self, prefixes: &[String]) -> Self {
        let inboxes = class::dotted(prefixes).into_iter().map(|prefix| Inboxes {
            named: self
                .patterns()
                .any(|(_, pattern)| pattern.as_str().as_bytes().starts_with(&prefix)),
            prefix,
        });
        self.inboxes = inboxes.collect();
        self
    }

    /// The same rules, those named in `places` first and in that order: a keyring keeps its [`KeyringId`] when others are added.
    #[must_use]
    pub fn arranged(&self, places: &[&KeyringName]) -> Self {
        let place = |rule: &Rule| places.iter().position(|name| **name == rule.name);
        let mut rules = self.rules.clone();
        rules.sort_by_key(|rule| place(rule).unwrap_or(usize::MAX));
        let Ok(trie) = trie::compile(&rules, &self.api_prefixes) else {
            // They were compiled before.
            return self.clone();
        };
        Self {
            rules,
            trie,
            ..self.clone()
        }
    }

    /// The same with plaintext rejected on the subjects of these keyrings.
    #[must_use]
    pub fn rejecting(&self, keyrings: &[KeyringName]) -> Self {
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

    /// Whether both know the same prefixes of JetStream's API.
    #[must_use]
    pub fn has_prefixes_of(&self, other: &Self) -> bool {
        self.api_prefixes == other.api_prefixes
    }

    /// Whether both know the same prefixes of inboxes.
    #[must_use]
    pub fn has_inboxes_of(&self, other: &Self) -> bool {
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
            awaits_acknowledgements: false,
        }
    }

    /// What `subject`, as it stands on the wire, is in either direction.
    #[must_use]
    pub fn look(&self, subject: &[u8]) -> Look {
        let look = |route, role, bare: &[u8]| Look {
            route,
            role,
            named: false,
            prefix: subject.len().saturating_sub(bare.len()),
        };
        match self.class(subject) {
            class::Class::User(bare) => {
                let found = self.trie.find(bare);
                let route = found.map_or(Route::Pass, |found| Route::Keyring(found.keyring));
                Look {
                    named: found.is_some_and(|found| found.named),
                    ..look(route, Role::User, bare)
                }
            }
            class::Class::Reply => {
                let covering = || self.trie.find(subject).map(|found| found.keyring);
                let named = self.trie.find_named(subject);
                let named = named.filter(|_| self.inboxes(subject).is_none_or(|own| own.named));
                let route = named.map_or_else(
                    || Route::Reply(covering()),
                    |found| Route::Keyring(found.keyring),
                );
                Look {
                    named: named.is_some(),
                    ..look(route, Role::Reply, subject)
                }
            }
            class::Class::Api(request) => look(Route::Pass, Role::Api, request),
            class::Class::System(_) => look(Route::Pass, Role::System, subject),
        }
    }

    /// What becomes of a payload on `subject`.
    #[must_use]
    pub fn route(&self, subject: &[u8]) -> Route {
        self.look(subject).route
    }

    /// The subject that an envelope is bound to: see [`Look::bare`].
    #[must_use]
    pub fn normalise<'a>(&self, subject: &'a [u8]) -> &'a [u8] {
        self.look(subject).bare(subject)
    }

    /// Whether payloads on `subject` are never sealed, whatever the rules and whoever asked for them.
    #[must_use]
    pub fn is_system(&self, subject: &[u8]) -> bool {
        matches!(self.look(subject).role, Role::Api | Role::System)
    }

    /// Whether every subject that `filter`, which may have wildcards, matches is sealed, be it under several keyrings.
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

    /// The rule of a keyring; `None` when `id` is another policy's.
    #[must_use]
    pub fn keyring(&self, id: KeyringId) -> Option<&Rule> {
        self.rules.get(id.index())
    }

    /// What the keyring is called in logs and metrics; `none` without one.
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

    /// Whether a keyring admits nothing but acknowledgements as answers.
    #[must_use]
    pub const fn awaits_acknowledgements(&self) -> bool {
        self.awaits_acknowledgements
    }

    /// Whether a keyring is not for everybody, in one direction at least.
    #[must_use]
    pub fn is_selective(&self) -> bool {
        self.rules.iter().any(Rule::is_selective)
    }

    /// The keyring, among those that `closed` tells, to which every subject belongs that `filter` matches; be it that others of them
    /// have a part of these subjects.
    pub fn closes(&self, filter: &[u8], closed: impl Fn(KeyringId) -> bool) -> Option<KeyringId> {
        let (bare, reply) = match self.class(filter) {
            class::Class::User(bare) => (bare, false),
            class::Class::Reply => (filter, true),
            class::Class::Api(_) | class::Class::System(_) => return None,
        };
        let filter: Pattern = std::str::from_utf8(bare).ok()?.parse().ok()?;
        if class::may_be_system(&filter, &self.api_prefixes) {
            return None;
        }
        // Where they overlap, the more specific pattern decides.
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

    /// The keyring, among those that `closed` tells, to which something that is published on `filter`, which may have wildcards, may
    /// belong. What is no subject may belong to any.
    pub fn reaches(&self, filter: &[u8], closed: impl Fn(KeyringId) -> bool) -> Option<KeyringId> {
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
            let look = self.look(bare);
            let keyring = look.route.keyring().filter(|_| !reply || look.named);
            return keyring.filter(|keyring| closed(*keyring));
        }
        let mut reached = self.patterns().filter(|(id, pattern)| {
            closed(*id) && pattern.overlaps(&filter) && !(reply && pattern.starts_wild())
        });
        reached.next().map(|(id, _)| id)
    }

    /// Whether something that is published on `filter`, which may have wildcards, may be a request to JetStream's API. Of what is no
    /// subject nobody knows.
    #[must_use]
    pub fn may_request(&self, filter: &[u8]) -> bool {
        let parsed = std::str::from_utf8(filter)
            .ok()
            .and_then(|text| text.parse::<Pattern>().ok());
        match parsed {
            Some(literal) if literal.is_literal() => self.look(filter).role == Role::Api,
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

    /// The inboxes of its own to which a subject belongs.
    fn inboxes(&self, subject: &[u8]) -> Option<&Inboxes> {
        let mut inboxes = self.inboxes.iter();
        inboxes.find(|inboxes| subject.starts_with(&inboxes.prefix))
    }

    /// Every pattern with its keyring.
    fn patterns(&self) -> impl Iterator<Item = (KeyringId, &Pattern)> {
        let numbered = (0..=u16::MAX).map(KeyringId).zip(&self.rules);
        numbered.flat_map(|(id, rule)| rule.subjects.iter().map(move |pattern| (id, pattern)))
    }

    /// Whether any subject at all is sealed; if not, the server's `max_payload` is the clients' too.
    #[must_use]
    pub fn protects_anything(&self) -> bool {
        self.rules.iter().any(|rule| !rule.subjects.is_empty())
    }
}

impl Rule {
    fn is_selective(&self) -> bool {
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
            longest: u64::MAX,
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

impl crate::fault::Faulty for Fault {
    fn fault(&self) -> crate::fault::Fault {
        crate::fault::Fault {
            who: crate::fault::Who::Operator,
            retry: crate::fault::Retry::Never,
        }
    }
}
