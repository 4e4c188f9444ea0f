//! Subject transforms of streams (`subject_transform`, `republish`), and whether their results could still be delivered.
//!
//! | published on | result on | delivered |
//! |---|---|---|
//! | a keyring's subject | the same | opened |
//! | a keyring's subject | another, by an alias of that keyring | opened |
//! | a subject of a keyring with `bind = "keyring"` | another subject of that keyring | opened |
//! | any | a subject that no keyring covers | as stored |
//! | any | a subject of a keyring that accepts plaintext or delivers what does not open | possibly |
//! | any other | a keyring's subject | withheld |

use std::collections::BTreeSet;

use super::class::Class;
use super::pattern::Token;
use super::{Bind, KeyringId, Pattern, Policy, Rule};

/// Streams that are configured by hand have fewer subjects; with more, the check is skipped.
pub const MAX_PUBLISHED_SUBJECTS: usize = 64;

/// A mapping of published subjects to those that the server publishes or stores the same messages on.
#[derive(Clone, Copy, Debug)]
pub struct SubjectTransform<'a> {
    /// The patterns that are published.
    pub published: &'a [Vec<u8>],
    /// The pattern of those that are mapped.
    pub from: &'a [u8],
    /// A pattern that covers all results. Without functions that yield several tokens, it has the transform's tokens.
    pub to: &'a [u8],
}

impl Policy {
    /// Whether every transformed message would be withheld from every receiver. `strict`: the keyrings that reject plaintext.
    ///
    /// This runs on the worker: what does not depend on a published subject is computed once, and with more than
    /// [`MAX_PUBLISHED_SUBJECTS`] subjects the answer is `false`.
    #[must_use]
    pub fn is_unreadable_after(
        &self,
        moved: SubjectTransform<'_>,
        strict: impl Fn(KeyringId) -> bool,
    ) -> bool {
        if moved.published.len() > MAX_PUBLISHED_SUBJECTS || !self.seals_every(moved.to) {
            return false;
        }
        let (Some(from), Some(to)) = (self.user_pattern(moved.from), self.user_pattern(moved.to))
        else {
            return false;
        };
        let published = moved.published.iter().map(|one| self.user_pattern(one));
        let Some(mut published) = published.collect::<Option<Vec<_>>>() else {
            return false;
        };
        published.retain(|one| one.overlaps(&from));
        let seal_from = self.deciding_keyrings(&from);
        let deliver = self.deciding_keyrings(&to);
        let all_is_lost = |published: &Pattern| {
            let seal = self.deciding_keyrings(published);
            let is_lost = |id: &KeyringId| {
                let seals = seal.contains(id) && seal_from.contains(id);
                let opens = |rule: &Rule| seals && opens_by_alias(rule, (published, &from), &to);
                let rule = self.keyring(*id);
                strict(*id)
                    && rule.is_some_and(|rule| rule.undecryptable.is_nothing() && !opens(rule))
            };
            let stays = published.overlaps(&to) && may_keep_subject(&from, &to);
            !stays && deliver.iter().all(is_lost)
        };
        !published.is_empty() && published.iter().all(all_is_lost)
    }

    /// The pattern, if it is of user subjects.
    fn user_pattern(&self, pattern: &[u8]) -> Option<Pattern> {
        match self.class(pattern) {
            Class::User(bare) => Pattern::read(bare),
            Class::Reply | Class::Api(_) | Class::System(_) => None,
        }
    }

    /// The keyrings that subjects matching the filter may belong to.
    fn deciding_keyrings(&self, filter: &Pattern) -> BTreeSet<KeyringId> {
        let is_hidden = |pattern: &Pattern| {
            let mut others = self.patterns();
            others.any(|(_, other)| other.covers(filter) && other.specificity(pattern).is_lt())
        };
        let patterns = self.patterns();
        let some = patterns.filter(move |(_, own)| own.overlaps(filter) && !is_hidden(own));
        some.map(|(id, _)| id).collect()
    }
}

/// Whether an envelope sealed for a subject that `published` and `from` match opens on another subject, which `to` matches.
fn opens_by_alias(rule: &Rule, (published, from): (&Pattern, &Pattern), to: &Pattern) -> bool {
    let Bind::Subject { aliases } = &rule.bind else {
        return true;
    };
    let mut origin = Vec::new();
    aliases.iter().any(|alias| {
        if to.is_literal() {
            let known = alias.published(to.as_str().as_bytes(), &mut origin);
            return known && published.matches(&origin) && from.matches(&origin);
        }
        let before = alias.from();
        alias.to().overlaps(to) && before.overlaps(published) && before.overlaps(from)
    })
}

/// Whether some subject may be mapped to itself.
fn may_keep_subject(from: &Pattern, to: &Pattern) -> bool {
    let ends_wild = |pattern: &Pattern| pattern.tokens().last() == Some(Token::Tail);
    let lengths = (from.tokens().count(), to.tokens().count());
    if ends_wild(from) == ends_wild(to) && lengths.0 != lengths.1 {
        return false;
    }
    from.overlaps(to)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{Alias, Plaintext, Substitute, Undecryptable};

    fn alias(from: &str, to: &str) -> Alias {
        Alias::new(from.parse().unwrap(), to.parse().unwrap()).unwrap()
    }

    fn rule(name: &str, subjects: &[&str], bind: Bind) -> Rule {
        Rule {
            name: name.parse().unwrap(),
            subjects: subjects.iter().map(|s| s.parse().unwrap()).collect(),
            bind,
            ..Rule::everything()
        }
    }

    fn bound(aliases: &[(&str, &str)]) -> Bind {
        let aliases = aliases.iter().map(|(from, to)| alias(from, to));
        Bind::Subject {
            aliases: aliases.collect(),
        }
    }

    fn lost(policy: &Policy, (published, from, to): (&str, &str, &str)) -> bool {
        let moved = SubjectTransform {
            published: &published.split(' ').map(Into::into).collect::<Vec<_>>(),
            from: from.as_bytes(),
            to: to.as_bytes(),
        };
        let strict = |id| policy.keyring(id).unwrap().plaintext == Plaintext::Reject;
        policy.is_unreadable_after(moved, strict)
    }

    /// Checks rows of `(published, from, to, expected)` with these rules.
    fn check_table(rules: &[Rule], table: &[(&str, &str, &str, bool)]) {
        let policy = Policy::new(rules.to_vec(), &["JS.hub.API".to_owned()]).unwrap();
        for (published, from, to, expected) in table.iter().copied() {
            let told = lost(&policy, (published, from, to));
            assert_eq!(told, expected, "{published} {from} {to} {rules:#?}");
        }
    }

    #[test]
    fn of_more_subjects_than_anybody_declares_nothing_is_said() {
        let policy = Policy::new(vec![Rule::everything()], &[]).unwrap();
        let many: Vec<_> = (0..=MAX_PUBLISHED_SUBJECTS)
            .map(|n| format!("in.{n}"))
            .collect();
        let told = |subjects: &[String]| lost(&policy, (&subjects.join(" "), "in.>", "copy.>"));
        assert!(told(&many[1..]) && !told(&many));
    }

    #[test]
    fn under_the_default_keyring_whatever_is_moved_is_lost() {
        check_table(
            &[Rule::everything()],
            &[
                ("in.>", "in.>", "copy.>", true),
                ("in.>", ">", "copy.>", true),
                ("in.>", ">", "in.copy.>", true),
                ("in.*", "in.*", "out.*", true),
                ("in.a", "in.a", "out.a", true),
                ("in.> out.>", "in.>", "copy.>", true),
                ("in.> out.>", ">", "copy.>", true),
                // Subjects that are mapped to themselves open.
                ("in.>", ">", ">", false),
                ("in.*", "in.*", "in.*", false),
                ("in.>", "in.*", "in.a", false),
                ("in.a", "in.a", "in.a", false),
                // The order of wildcards is not considered.
                ("in.a.b", "in.*.*", "in.*.*", false),
                ("in.> copy.a", ">", "copy.a", false),
                // Nothing is mapped.
                ("in.a", "other.>", "copy.>", false),
                ("in..a", "in..a", "copy", false),
                // System subjects and reply subjects.
                ("in.>", "in.>", "$SYS.copy.>", false),
                ("in.>", "in.>", "JS.hub.API.STREAM.>", false),
                ("in.>", "in.>", "_INBOX.copy.>", false),
                ("_INBOX.x.>", "_INBOX.x.>", "copy.>", false),
            ],
        );
    }

    #[test]
    fn alias_that_leads_there_opens() {
        let rules = [rule(
            "a",
            &[">"],
            bound(&[("in.*", "out.*"), ("one", "two")]),
        )];
        check_table(
            &rules,
            &[
                ("in.>", "in.*", "out.*", false),
                ("in.>", "in.>", "out.>", false),
                ("in.a", "in.a", "out.a", false),
                ("in.a", "in.a", "out.b", true),
                ("in.a", "in.a", "two", true),
                ("one", "one", "two", false),
                ("in.>", "in.>", "copy.>", true),
                ("out.>", "out.>", "in.>", true),
                // A part of it opens.
                ("in.> else.>", "*.*", "out.*", false),
            ],
        );
    }

    #[test]
    fn subject_that_no_keyring_covers_loses_nothing_and_one_that_a_keyring_covers_loses_plaintext()
    {
        check_table(
            &[rule("a", &["in.>"], bound(&[]))],
            &[
                ("in.>", "in.>", "copy.>", false),
                ("plain.>", "plain.>", "copy.>", false),
                ("plain.>", "plain.>", "in.>", true),
                ("in.a.>", "in.a.>", "in.b.>", true),
                ("in.a", "in.a", "*.b", false),
            ],
        );
    }

    #[test]
    fn keyring_that_binds_to_itself_opens_among_its_own_subjects_alone() {
        let rules = [
            rule("a", &["a.>"], Bind::Keyring),
            rule("b", &["b.>", "a.b.>"], bound(&[])),
        ];
        check_table(
            &rules,
            &[
                ("a.x.>", "a.x.>", "a.y.>", false),
                ("b.>", "b.>", "a.x.>", true),
                ("a.x.>", "a.x.>", "b.>", true),
                // The more specific pattern decides.
                ("a.x", "a.x", "a.b.x", true),
                ("a.b.x", "a.b.x", "a.x", true),
                ("a.>", "a.>", "a.*.x.>", false),
            ],
        );
    }

    #[test]
    fn keyring_that_delivers_all_the_same_loses_nothing() {
        let everything = Rule::everything();
        let shown = Undecryptable {
            deliver: Substitute::Envelope,
            ..Undecryptable::default()
        };
        let until = std::time::SystemTime::UNIX_EPOCH;
        let migrating = Plaintext::Accept { until };
        for rule in [
            Rule {
                undecryptable: shown,
                ..everything.clone()
            },
            Rule {
                plaintext: migrating,
                ..everything
            },
        ] {
            check_table(&[rule], &[("in.>", "in.>", "copy.>", false)]);
        }
    }
}
