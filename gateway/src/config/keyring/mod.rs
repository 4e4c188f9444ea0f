//! `[[keyring]]`: policy rules and key management.

mod clients;
mod keys;
mod strict;

use std::time::SystemTime;

use crate::config::finding::ValueError;
use crate::config::gateway_config::Keyring;
use crate::config::section::Section;
use crate::config::value::{self, Value};
use crate::dataplane::Config;
use crate::policy::{Alias, Bind, Invalid, KeyringName, Pattern, Policy, Rule, RuleFault};

/// Prefix of placeholder names for keyrings whose name has an error.
const PLACEHOLDER: &str = "0-unread-";

/// One `[[keyring]]`, as far as it has no errors.
struct Entry<'t> {
    section: Section<'t>,
    rule: Rule,
    /// Byte offset of each of the rule's subjects.
    places: Vec<usize>,
    keys: Option<Keyring>,
}

/// Reads every `[[keyring]]` and compiles the policy; without any, the keyring `default` covers everything.
pub(super) fn convert(
    root: &Section<'_>,
    control_line: usize,
    now: SystemTime,
) -> Option<(Policy, Vec<Keyring>)> {
    let prefixes = root.section("jetstream").list("api-prefixes", prefix);
    let inboxes = root.list("inbox-prefixes", inbox_prefix);
    let sections = root.sections("keyring");
    let entries: Vec<_> = if sections.is_empty() {
        vec![default_entry(root.absent("keyring"), control_line)]
    } else {
        let numbered = sections.into_iter().enumerate();
        numbered
            .map(|(index, section)| entry(section, index, control_line, now))
            .collect()
    };
    let policy = compile(&entries, prefixes.as_deref().unwrap_or_default());
    let keyrings: Option<_> = entries.into_iter().map(|entry| entry.keys).collect();
    prefixes?;
    Some((policy?.with_inboxes(&inboxes?), keyrings?))
}

/// The checks that need the message path's configuration, for keyrings without other errors.
pub(super) fn check(root: &Section<'_>, network: &Config, keyrings: &[Keyring]) {
    let limits = root.section("limits");
    for (index, section) in root.sections("keyring").iter().enumerate() {
        clients::check(section, &network.verified);
        if network.relay_only {
            clients::warn_of_relay(section);
        }
        if let Some(keyring) = keyrings.get(index) {
            check_size(section, keyring, (&limits, network.max_message));
        }
    }
}

/// The keyring of a file that has none.
fn default_entry(section: Section<'_>, control_line: usize) -> Entry<'_> {
    let mut rule = Rule::everything();
    section.record("name", &rule.name);
    let keys = keys::convert(&section, &rule, control_line);
    rule.max_payload_len = longest(keys.as_ref());
    Entry {
        section,
        rule,
        places: Vec::new(),
        keys,
    }
}

/// Reads one `[[keyring]]`. Values with errors are replaced so that they hide no other error; `keys` is `None` then.
fn entry(section: Section<'_>, index: usize, control_line: usize, now: SystemTime) -> Entry<'_> {
    let name = section.one("name", value::parsed::<KeyringName>);
    let (subjects, complete) = section.non_empty_list("subjects", value::parsed::<Pattern>);
    let (bind, bound) = bind(&section);
    let (subjects, places): (Vec<_>, _) = subjects.into_iter().unzip();
    let strict = strict::convert(&section, &subjects, now);
    let clients = clients::convert(&section);
    let whole = complete && name.is_some() && bound && strict.is_some() && clients.is_some();
    let (publish_by, deliver_to) = clients.unwrap_or_default();
    let strict = strict.unwrap_or_default();
    let mut rule = Rule {
        name: name.unwrap_or_else(|| placeholder_name(index)),
        subjects,
        max_payload_len: u64::MAX,
        bind,
        plaintext: strict.plaintext,
        answers: strict.answers,
        binds_answers: strict.binds_answers,
        empty: strict.empty,
        undecryptable: strict.undecryptable,
        publish_by,
        deliver_to,
    };
    let keys = keys::convert(&section, &rule, control_line).filter(|_| whole);
    rule.max_payload_len = longest(keys.as_ref());
    Entry {
        section,
        rule,
        places,
        keys,
    }
}

/// The largest payload, in bytes: the limit of a key version.
fn longest(keys: Option<&Keyring>) -> u64 {
    keys.map_or(u64::MAX, |keys| keys.terms.limit.bytes)
}

/// `limit.bytes` must be at least `limits.max-message`: a larger message could never be sealed.
fn check_size(section: &Section<'_>, keyring: &Keyring, (limits, most): (&Section<'_>, usize)) {
    let bytes = keyring.terms.limit.bytes;
    if usize::try_from(bytes).is_ok_and(|bytes| bytes < most) {
        let default = if limits.has("max-message") {
            ""
        } else {
            ", the default"
        };
        let message = format!(
            "{bytes} is less than one message may have (`limits.max-message`: {most}{default}): such a message could never be sealed"
        );
        let help =
            format!("give at least {most}, or write `max-message = {bytes}` or less in [limits]");
        section.section("limit").error("bytes", message, help);
    }
}

/// A placeholder name, unique in the file.
fn placeholder_name(index: usize) -> KeyringName {
    format!("{PLACEHOLDER}{index}").parse().unwrap_or_default()
}

/// `bind` and `aliases`, and whether they have no errors.
fn bind(section: &Section<'_>) -> (Bind, bool) {
    let to_subject = section.is("bind", "subject");
    let written = section.sections("aliases");
    let aliases: Vec<_> = written.iter().filter_map(alias).collect();
    if to_subject == Some(false) && !written.is_empty() {
        let message = "aliases mean nothing when envelopes are bound to the keyring alone";
        let help = "remove them, or write `bind = \"subject\"`";
        section.error("aliases", message, help);
    }
    let complete = to_subject.is_some() && aliases.len() == written.len();
    match to_subject {
        Some(false) => (Bind::Keyring, complete),
        Some(true) | None => (Bind::Subject { aliases }, complete),
    }
}

fn alias(section: &Section<'_>) -> Option<Alias> {
    let from = section.one("from", value::parsed::<Pattern>);
    let to = section.one("to", value::parsed::<Pattern>);
    let alias = Alias::new(from?, to?);
    if let Err(uneven) = &alias {
        let help = "for example: { from = \"orders.*\", to = \"eu.orders.*\" }";
        section.error("to", uneven.to_string(), help);
    }
    alias.ok()
}

/// Compiles the rules; errors are recorded at their position.
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

fn record(entry: &Entry<'_>, fault: &RuleFault) {
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
        } else if holder.as_str().starts_with(PLACEHOLDER) {
            message = format!("the pattern `{pattern}` is already in another keyring");
        }
    }
    let place = fault.subject.and_then(|subject| entry.places.get(subject));
    match place {
        Some(at) => entry.section.error_at(*at, name, message, help),
        None => entry.section.error(name, message, help),
    }
}

/// A [`prefix`] that does not begin with `$`, as those of system subjects and stores do.
fn inbox_prefix(value: Value<'_>) -> Result<String, ValueError> {
    let prefix = prefix(value)?;
    if prefix.starts_with('$') {
        return Err(ValueError::new(format!(
            "`{prefix}` is the server's or a store's, and clients wait for no answers there"
        )));
    }
    Ok(prefix)
}

/// A subject without wildcards.
fn prefix(value: Value<'_>) -> Result<String, ValueError> {
    let written = value::text(value)?;
    let bare = written.strip_suffix('.').unwrap_or(written);
    let pattern = bare.parse::<Pattern>();
    let pattern = pattern.map_err(|bad| ValueError::new(bad.to_string()))?;
    if pattern.is_literal() {
        Ok(bare.to_owned())
    } else {
        Err(ValueError::new(format!(
            "`{written}` has wildcards, a prefix has none"
        )))
    }
}
