//! The compiled patterns: a trie of tokens that finds the most specific match.
//!
//! A node tries its literal child, then its `*` child, then its `>`; the first match is the most specific one, since this is the
//! order of [`Pattern::specificity`]. A node has one depth only, so a search visits it at most once despite backtracking, and
//! nothing is allocated.

use super::class;
use super::pattern::{Pattern, Token};
use super::rule::{Bind, Invalid, KeyringId, Rule, RuleFault};

/// Up to this many literals, a linear search is faster than a binary one.
const MAX_LINEAR_SEARCH: usize = 16;

/// The compiled patterns.
#[derive(Clone, Debug, Default)]
pub(super) struct Trie {
    root: Node,
}

/// The patterns that begin with the same tokens.
#[derive(Clone, Debug, Default)]
struct Node {
    /// Sorted by token.
    literals: Vec<(Box<[u8]>, Self)>,
    star: Option<Box<Self>>,
    /// The pattern that ends with `>` here.
    tail: Option<Found>,
    /// The pattern that ends here.
    end: Option<Found>,
}

/// The most specific matching pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Found {
    /// The keyring that it belongs to.
    pub(super) keyring: KeyringId,
    /// Whether one of its tokens is a literal.
    pub(super) explicit: bool,
}

impl Trie {
    /// The most specific pattern that matches.
    pub(super) fn find(&self, subject: &[u8]) -> Option<Found> {
        self.root.find(Some(subject))
    }

    /// The same among the patterns whose first token is a literal.
    pub(super) fn find_below_literal(&self, subject: &[u8]) -> Option<Found> {
        let (token, rest) = next(subject);
        self.root.literal(token)?.find(rest)
    }

    /// Adds a pattern; returns the keyring that already has it, if any.
    fn insert(&mut self, pattern: &Pattern, keyring: KeyringId) -> Option<KeyringId> {
        let explicit = pattern
            .tokens()
            .any(|token| matches!(token, Token::Literal(_)));
        let found = Found { keyring, explicit };
        let mut node = &mut self.root;
        for token in pattern.tokens() {
            node = match token {
                Token::Literal(bytes) => node.literal_mut(bytes),
                Token::Star => node.star.get_or_insert_default(),
                Token::Tail => return fill(&mut node.tail, found),
            };
        }
        fill(&mut node.end, found)
    }
}

impl Node {
    /// `subject`: the remaining tokens; `None` at the end.
    fn find(&self, subject: Option<&[u8]>) -> Option<Found> {
        let Some(subject) = subject else {
            return self.end;
        };
        if self.literals.is_empty() && self.star.is_none() {
            return self.tail;
        }
        let (token, rest) = next(subject);
        let literal = self.literal(token).and_then(|node| node.find(rest));
        let star = || self.star.as_ref().and_then(|node| node.find(rest));
        literal.or_else(star).or(self.tail)
    }

    fn literal(&self, token: &[u8]) -> Option<&Self> {
        // Most lengths differ, so a linear search of a short list is faster.
        if self.literals.len() <= MAX_LINEAR_SEARCH {
            let found = self.literals.iter().find(|(known, _)| **known == *token);
            return found.map(|(_, node)| node);
        }
        let halved = self
            .literals
            .binary_search_by(|(known, _)| (**known).cmp(token));
        self.literals.get(halved.ok()?).map(|(_, node)| node)
    }

    fn literal_mut(&mut self, token: &[u8]) -> &mut Self {
        let place = self.literals.partition_point(|(known, _)| **known < *token);
        let known = self
            .literals
            .get(place)
            .is_some_and(|(known, _)| **known == *token);
        if !known {
            self.literals.insert(place, (token.into(), Self::default()));
        }
        #[expect(clippy::indexing_slicing, reason = "present: found or just inserted")]
        &mut self.literals[place].1
    }
}

/// Compiles the patterns of `rules`.
///
/// # Errors
/// Every fault, in the order of the rules.
pub(super) fn compile(rules: &[Rule], prefixes: &[Box<[u8]>]) -> Result<Trie, Vec<RuleFault>> {
    let mut trie = Trie::default();
    let mut faults = Vec::new();
    for (index, rule) in rules.iter().enumerate() {
        let mut fault = |subject, why| {
            faults.push(RuleFault {
                rule: index,
                subject,
                why,
            });
        };
        let Ok(id) = u16::try_from(index).map(KeyringId) else {
            fault(None, Invalid::TooMany);
            break;
        };
        if rules
            .iter()
            .take(index)
            .any(|earlier| earlier.name == rule.name)
        {
            fault(None, Invalid::NameTaken(rule.name.clone()));
        }
        for (place, pattern) in rule.subjects.iter().enumerate() {
            if let Some(why) = never_matches(pattern, prefixes) {
                fault(Some(place), why);
            } else if let Some(holder) = trie
                .insert(pattern, id)
                .and_then(|id| rules.get(id.index()))
            {
                let (pattern, holder) = (pattern.clone(), holder.name.clone());
                fault(Some(place), Invalid::PatternTaken { pattern, holder });
            }
        }
        for why in stray_aliases(rule) {
            fault(None, why);
        }
    }
    if faults.is_empty() {
        Ok(trie)
    } else {
        Err(faults)
    }
}

/// Why subjects that `pattern` matches are never looked up.
fn never_matches(pattern: &Pattern, prefixes: &[Box<[u8]>]) -> Option<Invalid> {
    let bytes = pattern.as_str().as_bytes();
    let system = match class::of(bytes, prefixes) {
        class::Class::System(system) => Some(system),
        class::Class::Api(_) => Some(&class::API),
        class::Class::User(_) | class::Class::Reply => None,
    };
    if let Some(system) = system {
        return Some(Invalid::System {
            pattern: pattern.clone(),
            class: system.pattern,
            why: system.why,
        });
    }
    let after = class::after_prefix(bytes, prefixes)?;
    Some(Invalid::Prefixed {
        pattern: pattern.clone(),
        instead: String::from_utf8_lossy(after).into_owned(),
    })
}

/// The subjects of aliases that the rule itself does not cover: they would have no effect.
fn stray_aliases(rule: &Rule) -> Vec<Invalid> {
    let Bind::Subject { aliases } = &rule.bind else {
        return Vec::new();
    };
    let sides = aliases.iter().flat_map(|alias| [alias.from(), alias.to()]);
    let stray = sides.filter(|side| !rule.subjects.iter().any(|pattern| pattern.covers(side)));
    stray.cloned().map(Invalid::StrayAlias).collect()
}

/// Sets `place` if it is empty; otherwise returns the keyring that has it.
fn fill(place: &mut Option<Found>, found: Found) -> Option<KeyringId> {
    let taken = place.map(|taken| taken.keyring);
    place.get_or_insert(found);
    taken
}

/// The first token, and what follows its dot. Tokens are short, so a plain loop is faster than `memchr`.
fn next(subject: &[u8]) -> (&[u8], Option<&[u8]>) {
    let dot = subject.iter().position(|b| *b == b'.');
    let Some((token, rest)) = dot.and_then(|dot| subject.split_at_checked(dot)) else {
        return (subject, None);
    };
    (token, rest.get(1..))
}
