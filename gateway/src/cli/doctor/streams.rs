//! Streams that move messages to subjects where they may not open: out of a keyring, into one, by message schedules, or from an
//! API prefix that the gateway does not know.

use crate::policy::{Bind, Pattern, Plaintext, Rule};
use crate::retention::{Renaming, Scheduling, UnaskedSource};

use super::finding::Finding;
use super::patterns::{overlap, pattern_of};

/// Whether the subjects of a keyring overlap a pattern.
pub(super) fn overlaps(rule: &Rule, filter: &str) -> bool {
    let mut patterns = rule.subjects.iter();
    patterns.any(|pattern| overlap(pattern.as_str(), filter))
}

/// A transform out of a keyring with `bind = "keyring"`: envelopes open on subjects of their keyring only.
pub(super) fn leaves_keyring(rule: &Rule, renaming: &Renaming) -> Option<Finding> {
    let to = pattern_of(&renaming.to)?;
    if overlaps(rule, &to) {
        return None;
    }
    let (Renaming { stream, from, .. }, name) = (renaming, &rule.name);
    Some(Finding::problem(
        "streams",
        format!(
            "stream {stream} renames `{from}` to `{to}`, which keyring `{name}` does not cover: what it sealed does not open there"
        ),
        format!("add `{to}` to the subjects of keyring `{name}`"),
    ))
}

/// A transform of plaintext into a keyring that rejects plaintext.
pub(super) fn enters_keyring(rules: &[Rule], renaming: &Renaming) -> Option<Finding> {
    let to = pattern_of(&renaming.to)?;
    let pattern: Pattern = to.parse().ok()?;
    let covers = |rule: &&Rule| {
        let mut own = rule.subjects.iter();
        rule.plaintext == Plaintext::Reject && own.any(|own| own.covers(&pattern))
    };
    let rule = rules.iter().find(covers)?;
    let (Renaming { stream, from, .. }, name) = (renaming, &rule.name);
    if rules.iter().any(|rule| overlaps(rule, from)) {
        return None;
    }
    Some(Finding::problem(
        "streams",
        format!(
            "stream {stream} renames `{from}`, which no keyring covers, to `{to}`: keyring `{name}` withholds plaintext there"
        ),
        match rule.bind {
            Bind::Keyring => format!("add `{from}` to the subjects of keyring `{name}`"),
            Bind::Subject { .. } => format!(
                "add `{from}` to the subjects of keyring `{name}`, and aliases = [{{ from = \"{from}\", to = \"{to}\" }}]"
            ),
        },
    ))
}

/// A stream with message schedules, whose published messages need an alias. Schedules are messages themselves, so that the
/// stream's configuration does not say which there are.
pub(super) fn schedules(rule: &Rule, scheduling: &Scheduling) -> Option<Finding> {
    let Bind::Subject { aliases } = &rule.bind else {
        return None;
    };
    let Scheduling { stream, subjects } = scheduling;
    if !subjects.iter().any(|subject| overlaps(rule, subject)) {
        return None;
    }
    let touches = |pattern: &Pattern| {
        let mut subjects = subjects.iter();
        subjects.any(|subject| overlap(pattern.as_str(), subject))
    };
    let mut aliases = aliases.iter();
    if aliases.any(|alias| touches(alias.from()) && touches(alias.to())) {
        return None;
    }
    let name = &rule.name;
    Some(Finding::warning(
        "streams",
        format!(
            "stream {stream} takes schedules, and keyring `{name}` has no alias from one of its subjects to another: what a schedule publishes opens for nobody"
        ),
        format!(
            "add to keyring `{name}` an alias from the subjects of schedules (or their sources) to their targets, or set bind = \"keyring\""
        ),
    ))
}

/// A stream that copies through an API prefix that the gateway does not know: neither the original subjects nor requests of
/// clients under that prefix are recognised.
pub(super) fn unseen(unseen: &UnaskedSource) -> Finding {
    let UnaskedSource {
        stream,
        origin,
        api,
    } = unseen;
    let domain = api
        .strip_prefix("$JS.")
        .and_then(|rest| rest.strip_suffix(".API"));
    let what = format!("stream {stream} copies {origin} through `{api}`, where nobody looks");
    let (why, remedy) = match domain {
        Some(domain) => (
            "under which subjects that was published, and under which keys, is not known",
            format!("add to [control]: domains = [\"{domain}\"]"),
        ),
        None => (
            "requests of clients under this prefix are not taken for JetStream's, and are sealed where a keyring covers them",
            format!("add to [jetstream]: api-prefixes = [\"{api}\"]"),
        ),
    };
    Finding::warning("streams", format!("{what}: {why}"), remedy)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Alias;

    fn rule(subjects: &[&str], bind: Bind) -> Rule {
        Rule {
            subjects: subjects.iter().map(|one| one.parse().unwrap()).collect(),
            bind,
            ..Rule::everything()
        }
    }

    fn bound(aliases: &[(&str, &str)]) -> Bind {
        let aliases = aliases
            .iter()
            .map(|(from, to)| Alias::new(from.parse().unwrap(), to.parse().unwrap()).unwrap());
        Bind::Subject {
            aliases: aliases.collect(),
        }
    }

    fn renaming(from: &str, to: &str) -> Renaming {
        Renaming {
            stream: "S".to_owned(),
            origins: Vec::new(),
            from: from.to_owned(),
            to: to.to_owned(),
        }
    }

    #[test]
    fn keyring_that_binds_to_itself_is_told_where_its_messages_leave_it() {
        let rule = rule(&["a.>"], Bind::Keyring);
        for (to, told) in [
            ("b.>", true),
            ("a.b.>", false),
            (">", false),
            ("b.$2.$1", false),
        ] {
            assert_eq!(
                leaves_keyring(&rule, &renaming("a.>", to)).is_some(),
                told,
                "{to}"
            );
        }
    }

    #[test]
    fn plaintext_that_comes_to_a_keyring_is_told_where_nothing_of_it_is_sealed() {
        let rules = [rule(&["a.>"], bound(&[]))];
        for (from, to, told) in [
            ("plain.>", "a.>", true),
            ("plain.*", "a.{{wildcard(1)}}", true),
            ("plain.>", "b.>", false),
            ("plain.>", ">", false),
            (">", "a.>", false),
        ] {
            let found = enters_keyring(&rules, &renaming(from, to));
            assert_eq!(found.is_some(), told, "{from} {to}");
        }
    }

    #[test]
    fn schedules_need_an_alias_among_the_subjects_of_their_stream() {
        let scheduling = Scheduling {
            stream: "S".to_owned(),
            subjects: vec!["at.>".to_owned(), "jobs.>".to_owned()],
        };
        for (subjects, bind, told) in [
            (&[">"][..], bound(&[]), true),
            (&[">"], bound(&[("at.>", "jobs.>")]), false),
            (&[">"], bound(&[("other.>", "jobs.>")]), true),
            (&[">"], Bind::Keyring, false),
            (&["other.>"], bound(&[]), false),
        ] {
            let found = schedules(&rule(subjects, bind), &scheduling);
            assert_eq!(found.is_some(), told, "{subjects:?}");
        }
    }
}
