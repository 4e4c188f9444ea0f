//! `[[keyring]]`: the rules of the policy, and when their keys are replaced.

use std::time::{Duration, SystemTime};

use crate::config::checked::{Keyring, Limit, Retain, Rotate};
use crate::config::finding::Wrong;
use crate::config::section::Section;
use crate::config::value::{self, LONGEST};
use crate::envelope::Suite;
use crate::envelope::limits::HardLimit;
use crate::policy::{Alias, Bind, Fault, Invalid, KeyringName, Pattern, Plaintext, Policy, Rule};

/// Longest subject that an envelope can be bound to, in bytes.
const LONGEST_SUBJECT: usize = 65_535;

/// How the names start that stand for those that could not be read.
const UNREAD: &str = "0-unread-";

/// One `[[keyring]]` as far as it could be read.
struct Entry<'t> {
    section: Section<'t>,
    rule: Rule,
    /// Where each of the rule's subjects stands.
    places: Vec<usize>,
    keys: Option<Keyring>,
}

/// What a version may seal, soft or hard, as far as it could be read.
#[derive(Clone, Copy)]
struct Budget {
    messages: Option<u64>,
    bytes: Option<u64>,
}

/// Reads every `[[keyring]]` and compiles the policy; without any, the keyring `default` covers everything.
pub(super) fn convert(
    root: &Section<'_>,
    control_line: usize,
    now: SystemTime,
) -> Option<(Policy, Vec<Keyring>)> {
    let prefixes = root.section("jetstream").many("api-prefixes", api_prefix);
    let sections = root.sections("keyring");
    let entries: Vec<_> = if sections.is_empty() {
        vec![default_entry(root.absent("keyring"), control_line)]
    } else {
        let numbered = sections.into_iter().enumerate();
        numbered
            .map(|(index, section)| entry(section, index, control_line, now))
            .collect()
    };
    let read = prefixes
        .iter()
        .flatten()
        .map(|(prefix, _place)| prefix.clone());
    let policy = compile(&entries, &read.collect::<Vec<_>>());
    let keyrings: Option<_> = entries.into_iter().map(|entry| entry.keys).collect();
    prefixes?;
    Some((policy?, keyrings?))
}

/// The keyring of a file that has none.
fn default_entry(section: Section<'_>, control_line: usize) -> Entry<'_> {
    let rule = Rule::everything();
    let keys = keys(&section, &rule, control_line);
    Entry {
        section,
        rule,
        places: Vec::new(),
        keys,
    }
}

/// Reads one `[[keyring]]`. What could not be read is replaced by what hides no other mistake; `keys` is `None` then.
fn entry(section: Section<'_>, index: usize, control_line: usize, now: SystemTime) -> Entry<'_> {
    let name = section.one("name", parsed::<KeyringName>);
    let (subjects, complete) = section.some("subjects", parsed::<Pattern>);
    let (bind, bound) = bind(&section);
    let plaintext = plaintext(&section, now);
    let whole = complete && name.is_some() && bound && plaintext.is_some();
    let (subjects, places) = subjects.into_iter().unzip();
    let rule = Rule {
        name: name.unwrap_or_else(|| unread(index)),
        subjects,
        bind,
        plaintext: plaintext.unwrap_or(Plaintext::Reject),
        ..Rule::everything()
    };
    let keys = keys(&section, &rule, control_line).filter(|_| whole);
    Entry {
        section,
        rule,
        places,
        keys,
    }
}

/// A name that no other keyring of the file has.
fn unread(index: usize) -> KeyringName {
    format!("{UNREAD}{index}").parse().unwrap_or_default()
}

/// What was read of `bind` and `aliases`, and whether that is all.
fn bind(section: &Section<'_>) -> (Bind, bool) {
    let words = [("subject", true), ("keyring", false)];
    let to_subject = section.one("bind", |v| value::choice(v, &words));
    let written = section.sections("aliases");
    let aliases: Vec<_> = written.iter().filter_map(alias).collect();
    if to_subject == Some(false) && !written.is_empty() {
        let message = "aliases mean nothing when envelopes are bound to the keyring alone";
        let help = "remove them, or write `bind = \"subject\"`";
        section.error("aliases", message.to_owned(), help.to_owned());
    }
    let complete = to_subject.is_some() && aliases.len() == written.len();
    match to_subject {
        Some(false) => (Bind::Keyring, complete),
        Some(true) | None => (Bind::Subject { aliases }, complete),
    }
}

fn alias(section: &Section<'_>) -> Option<Alias> {
    let from = section.one("from", parsed::<Pattern>);
    let to = section.one("to", parsed::<Pattern>);
    let alias = Alias::new(from?, to?);
    if let Err(uneven) = &alias {
        let help = "for example: { from = \"orders.*\", to = \"eu.orders.*\" }".to_owned();
        section.error("to", uneven.to_string(), help);
    }
    alias.ok()
}

fn plaintext(section: &Section<'_>, now: SystemTime) -> Option<Plaintext> {
    let accept = section.one("plaintext", |v| {
        value::choice(v, &[("reject", false), ("accept", true)])
    });
    let until = section.optional("until", value::end_of_day);
    match (accept?, until?) {
        (false, None) => Some(Plaintext::Reject),
        (true, Some(until)) if until > now => {
            section.warn(
                "plaintext",
                "plaintext is delivered on protected subjects".to_owned(),
                "write `plaintext = \"reject\"` as soon as every publisher is behind a gateway",
            );
            Some(Plaintext::Accept { until })
        }
        (true, Some(_past)) => {
            let help = "write `plaintext = \"reject\"` and remove `until`, or give a later date";
            section.error("until", "the date has passed".to_owned(), help.to_owned());
            None
        }
        (true, None) => {
            let message = "plaintext is accepted without a date on which that ends".to_owned();
            section.error(
                "plaintext",
                message,
                "for example: until = 2027-06-30".to_owned(),
            );
            None
        }
        (false, Some(_)) => {
            let message =
                "a date on which plaintext ends to be accepted, but it is rejected already"
                    .to_owned();
            section.error(
                "until",
                message,
                "remove it, or write `plaintext = \"accept\"`".to_owned(),
            );
            None
        }
    }
}

/// Reads what concerns the keys of a keyring rather than its subjects.
fn keys(section: &Section<'_>, rule: &Rule, control_line: usize) -> Option<Keyring> {
    let suites = [Suite::Aes256Gcm, Suite::Aes256GcmSiv].map(|suite| (suite.name(), suite));
    let suite = section.one("suite", |v| value::choice(v, &suites));
    let thresholds = section.section("rotate");
    let (after, soft) = rotate(&thresholds);
    let hard = budget(&section.section("limit"));
    let overlap = section.one("overlap", |v| value::duration(v, Duration::ZERO, LONGEST));
    let retain = section.one("retain", |v| {
        let words = [
            ("destroy", Retain::Destroy),
            ("archive", Retain::Archive),
            ("shred", Retain::Shred),
        ];
        value::choice(v, &words)
    });
    let limit = limit(hard);
    if let Some(limit) = limit {
        check_bound(section, limit, longest_subject(rule, control_line));
    }
    check_thresholds(&thresholds, soft, hard);
    Some(Keyring {
        name: rule.name.clone(),
        suite: suite?,
        rotate: Rotate {
            after: after?,
            messages: soft.messages?,
            bytes: soft.bytes?,
        },
        limit: limit?,
        overlap: overlap?,
        retain: retain?,
    })
}

fn rotate(section: &Section<'_>) -> (Option<Duration>, Budget) {
    let after = section.one("after", |v| {
        value::duration(v, Duration::from_secs(1), LONGEST)
    });
    (after, budget(section))
}

fn budget(section: &Section<'_>) -> Budget {
    Budget {
        messages: section.one("messages", |v| value::count(v, 1, u64::MAX)),
        bytes: section.one("bytes", |v| value::size(v, 1, u64::MAX)),
    }
}

fn limit(hard: Budget) -> Option<Limit> {
    Some(Limit {
        messages: hard.messages?,
        bytes: hard.bytes?,
    })
}

/// The bytes of subject that a bound envelope authenticates at most.
fn longest_subject(rule: &Rule, control_line: usize) -> usize {
    match rule.bind {
        Bind::Subject { .. } => control_line.min(LONGEST_SUBJECT),
        Bind::Keyring => 0,
    }
}

/// The multi-key bound of the cipher, which no limit may exceed.
fn check_bound(section: &Section<'_>, limit: Limit, longest_subject: usize) {
    let hard = HardLimit {
        messages: limit.messages,
        bytes: limit.bytes,
        longest_subject,
    };
    if let Err(over) = hard.check() {
        let help =
            "lower `limit.messages` or `limit.bytes`; the defaults are within the bound".to_owned();
        section.error("limit", over.to_string(), help);
    }
}

/// A successor must be made before the limit stops all sealing.
fn check_thresholds(section: &Section<'_>, soft: Budget, hard: Budget) {
    let pairs = [
        ("messages", soft.messages.zip(hard.messages)),
        ("bytes", soft.bytes.zip(hard.bytes)),
    ];
    let read =
        |(name, pair): (&'static str, Option<_>)| pair.map(|(soft, hard)| (name, soft, hard));
    let pairs = pairs.into_iter().filter_map(read);
    for (name, soft, hard) in pairs.filter(|(_, soft, hard)| soft >= hard) {
        let default = if section.has(name) {
            ""
        } else {
            ", the default,"
        };
        let message = format!(
            "{soft}{default} is not below `limit.{name}` ({hard}): sealing would stop before a rotation"
        );
        section.error(
            name,
            message,
            format!("give a number below {hard}, a tenth of it or less at best"),
        );
    }
}

/// Compiles the rules; mistakes are recorded where they stand.
fn compile(entries: &[Entry<'_>], prefixes: &[String]) -> Option<Policy> {
    let rules = entries.iter().map(|entry| entry.rule.clone()).collect();
    let faults = match Policy::new(rules, prefixes) {
        Ok(policy) => return Some(policy),
        Err(faults) => faults,
    };
    for fault in faults {
        if let Some(entry) = entries.get(fault.rule) {
            record(entry, &fault);
        }
    }
    None
}

fn record(entry: &Entry<'_>, fault: &Fault) {
    let (name, mut help) = match &fault.why {
        Invalid::NameTaken(_) => ("name", "give each keyring a name of its own".to_owned()),
        Invalid::PatternTaken { .. } => (
            "subjects",
            "keep it in one place; a more specific pattern may stand elsewhere".to_owned(),
        ),
        Invalid::System { .. } => ("subjects", "remove it".to_owned()),
        Invalid::Prefixed { instead, .. } => ("subjects", format!("write `{instead}`")),
        Invalid::StrayAlias(subject) => (
            "aliases",
            format!("add `{subject}` to `subjects`, or remove the alias"),
        ),
        Invalid::TooMany => ("name", "merge keyrings".to_owned()),
    };
    let mut message = fault.to_string();
    if let Invalid::PatternTaken { pattern, holder } = &fault.why {
        let own = entry.rule.subjects.iter().take(fault.subject.unwrap_or(0));
        if own.into_iter().any(|earlier| earlier == pattern) {
            message = format!("the pattern `{pattern}` is in the list twice");
            help = "remove one of the two".to_owned();
        } else if holder.as_str().starts_with(UNREAD) {
            message = format!("the pattern `{pattern}` is already in another keyring");
        }
    }
    let place = fault.subject.and_then(|subject| entry.places.get(subject));
    match place {
        Some(at) => entry.section.error_at(*at, name, message, help),
        None => entry.section.error(name, message, help),
    }
}

/// A subject without wildcards.
fn api_prefix(value: &toml::de::DeValue<'_>) -> Result<String, Wrong> {
    let written = value::text(value)?;
    let bare = written.strip_suffix('.').unwrap_or(written);
    let pattern: Pattern = bare
        .parse()
        .map_err(|bad: crate::policy::BadPattern| Wrong::new(bad.to_string()))?;
    if pattern.is_literal() {
        Ok(bare.to_owned())
    } else {
        Err(Wrong::new(format!(
            "`{written}` has wildcards, a prefix has none"
        )))
    }
}

/// A value with a text form of its own.
fn parsed<T>(value: &toml::de::DeValue<'_>) -> Result<T, Wrong>
where
    T: std::str::FromStr<Err: std::fmt::Display>,
{
    value::text(value)?
        .parse()
        .map_err(|bad: T::Err| Wrong::new(bad.to_string()))
}
