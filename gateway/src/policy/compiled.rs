//! The compiled rules of all keyrings.

use super::class::{self, Class};
use super::name::KeyringName;
use super::pattern::Pattern;
use super::route::{Lookup, Role, Route};
use super::rule::{KeyringId, Rule, RuleFault};
use super::strict::{Answers, Plaintext};
use super::trie::{self, Trie};

/// The compiled rules.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    rules: Vec<Rule>,
    api_prefixes: Vec<Box<[u8]>>,
    inboxes: Vec<Inboxes>,
    trie: Trie,
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

    /// One keyring, `default`, that covers every user subject.
    #[must_use]
    pub fn everything() -> Self {
        Self::new(vec![Rule::everything()], &[]).unwrap_or_else(|_faults| Self::nothing())
    }

    /// No keyring at all: every subject passes.
    #[must_use]
    pub fn nothing() -> Self {
        Self::default()
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
            Class::User(bare) => {
                let found = self.trie.find(bare);
                let route = found.map_or(Route::Pass, |found| Route::Keyring(found.keyring));
                Lookup {
                    explicit: found.is_some_and(|found| found.explicit),
                    ..lookup(route, Role::User, bare)
                }
            }
            Class::Reply => {
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
            Class::Api(request) => lookup(Route::Pass, Role::Api, request),
            Class::System(_) => lookup(Route::Pass, Role::System, subject),
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
        let user = matches!(self.class(filter), Class::User(_));
        let Some(pattern) = Pattern::read(filter) else {
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
        let (bare, reply) = self.sealable(filter)?;
        let filter = Pattern::read(bare)?;
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
        let (bare, reply) = self.sealable(filter)?;
        let Some(filter) = Pattern::read(bare) else {
            return self.patterns().map(|(id, _)| id).find(|id| closed(*id));
        };
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
        match Pattern::read(filter) {
            Some(literal) if literal.is_literal() => self.lookup(filter).role == Role::Api,
            Some(wild) => class::requests(&self.api_prefixes).any(|api| api.overlaps(&wild)),
            None => true,
        }
    }

    /// The subject to look up, and whether it is a reply subject; `None` if its payloads are never sealed.
    fn sealable<'a>(&self, filter: &'a [u8]) -> Option<(&'a [u8], bool)> {
        match self.class(filter) {
            Class::User(bare) => Some((bare, false)),
            Class::Reply => Some((filter, true)),
            Class::Api(_) | Class::System(_) => None,
        }
    }

    pub(super) fn class<'a>(&self, subject: &'a [u8]) -> Class<'a> {
        let class = class::of(subject, &self.api_prefixes);
        let is_user = matches!(class, Class::User(_));
        if is_user && self.inboxes(subject).is_some() {
            return Class::Reply;
        }
        class
    }

    /// The configured inbox prefix of a subject.
    fn inboxes(&self, subject: &[u8]) -> Option<&Inboxes> {
        let mut inboxes = self.inboxes.iter();
        inboxes.find(|inboxes| subject.starts_with(&inboxes.prefix))
    }

    /// Every pattern with its keyring.
    pub(super) fn patterns(&self) -> impl Iterator<Item = (KeyringId, &Pattern)> {
        let numbered = (0..=u16::MAX).map(KeyringId).zip(&self.rules);
        numbered.flat_map(|(id, rule)| rule.subjects.iter().map(move |pattern| (id, pattern)))
    }

    /// Whether any subject is sealed; if not, clients get the server's own `max_payload`.
    #[must_use]
    pub fn protects_anything(&self) -> bool {
        self.rules.iter().any(|rule| !rule.subjects.is_empty())
    }
}
