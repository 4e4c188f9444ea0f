//! Subjects that the bus changes between publisher and receiver: an envelope that is bound to its subject opens on another one
//! only with an alias.
//!
//! What is checked: subject transforms of streams, mirrors and sources, also in sequence, and republish, which JetStream tells
//! the control connection; and with `--probe` the mappings of the agents' account, by publishing a test message. Not checked:
//! imports of other accounts, and transforms on leaf nodes and gateways between clusters.

use crate::policy::{Alias, Bind, Rule};
use crate::printable::Count;
use crate::retention::{JetStream, Renaming};

use super::deployment::Deployment;
use super::finding::Finding;
use super::patterns::pattern_of;
use super::probe_client::{ProbeClient, token};
use super::{access, streams};

/// The payload of a test message.
const PROBE: &str = "keyway doctor: a probe, to be ignored";

pub(super) fn check(deployment: &Deployment) -> Vec<Finding> {
    let mut findings = streams(deployment);
    if deployment.probe {
        findings.extend(mappings(deployment));
    }
    findings
}

fn streams(deployment: &Deployment) -> Vec<Finding> {
    let Some(config) = &deployment.checked.control else {
        return vec![Finding::warning(
            "streams",
            "without [control] nobody can ask JetStream which streams rename subjects",
            "add a section [control]: see docs/configuration.md",
        )];
    };
    let imports: Vec<_> = deployment.checked.policy.api_prefixes().collect();
    let survey = JetStream::new(config.clone()).survey(&imports);
    let doubts = survey.doubts.iter();
    let mut findings: Vec<_> = doubts
        .map(|doubt| Finding::warning("streams", &doubt.what, doubt.fault.help()))
        .collect();
    let rules = deployment.checked.policy.keyrings();
    for renaming in &survey.renamings {
        findings.extend(rules.iter().filter_map(|rule| renamed(rule, renaming)));
        findings.extend(streams::enters_keyring(rules, renaming));
    }
    for scheduling in &survey.schedulings {
        let each = rules.iter();
        findings.extend(each.filter_map(|rule| streams::schedules(rule, scheduling)));
    }
    findings.extend(survey.unseen.iter().map(streams::unseen));
    if findings.is_empty() {
        let streams = survey.streams;
        findings.push(Finding::ok(
            "streams",
            format!(
                "{}; none renames a subject that is bound without an alias",
                Count(streams, "stream")
            ),
        ));
    }
    findings
}

/// A problem where a keyring needs an alias for a transform.
fn renamed(rule: &Rule, renaming: &Renaming) -> Option<Finding> {
    let from = renaming.from.as_str();
    if !streams::overlaps(rule, from) {
        return None;
    }
    let Bind::Subject { aliases } = &rule.bind else {
        return streams::leaves_keyring(rule, renaming);
    };
    let (stream, name) = (&renaming.stream, &rule.name);
    let to = pattern_of(&renaming.to);
    let is_known = |to: &str| aliases.iter().any(|alias| inverts(alias, from, to));
    if to.as_deref().is_some_and(is_known) {
        return None;
    }
    let by = match renaming.origins.as_slice() {
        [] => String::new(),
        origins => format!(" (copied from {})", origins.join(", then ")),
    };
    let what = format!(
        "stream {stream}{by} renames `{from}` to `{}`: what keyring `{name}` sealed does not open there",
        renaming.to
    );
    let remedy = match to {
        Some(to) => format!(
            "add to keyring `{name}`: subjects that cover `{to}`, and aliases = [{{ from = \"{from}\", to = \"{to}\" }}]"
        ),
        None => format!(
            "no alias can say this; set bind = \"keyring\" for keyring `{name}`, or do without the transform"
        ),
    };
    Some(Finding::problem("streams", what, remedy))
}

/// Whether an alias maps the new subject back to the published one, for any tokens of the wildcards.
fn inverts(alias: &Alias, from: &str, to: &str) -> bool {
    let example = |pattern: &str| {
        let mut count = 0_usize;
        let tokens = pattern.split('.').map(|token| match token {
            "*" => {
                count = count.saturating_add(1);
                format!("keyway-doctor-{count}")
            }
            ">" => "keyway-doctor.any".to_owned(),
            literal => literal.to_owned(),
        });
        tokens.collect::<Vec<_>>().join(".")
    };
    let mut published = Vec::new();
    alias.published(example(to).as_bytes(), &mut published) && published == example(from).as_bytes()
}

/// Publishes on a subject of each pattern that ends in a wildcard, and checks where the message arrives.
fn mappings(deployment: &Deployment) -> Vec<Finding> {
    let mut servers = deployment.checked.dataplane.servers.iter();
    let credentials = deployment.credentials();
    let client = servers.find_map(|server| access::accepted(deployment, server, credentials));
    let Some(mut client) = client else {
        return vec![Finding::warning(
            "mappings",
            "no server lets the doctor in, so that nothing could be published",
            "name an agent's credentials: `--user` and `--password-file`, `--creds`, …",
        )];
    };
    let rules = deployment.checked.policy.keyrings().iter();
    let bound = rules.filter(|rule| matches!(rule.bind, Bind::Subject { .. }));
    let subjects = bound.flat_map(|rule| rule.subjects.iter().map(move |pattern| (rule, pattern)));
    subjects
        .map(|(rule, pattern)| mapping(&mut client, rule, pattern.as_str()))
        .collect()
}

fn mapping(client: &mut ProbeClient, rule: &Rule, pattern: &str) -> Finding {
    let Some(subject) = example(pattern) else {
        return Finding::warning(
            "mappings",
            format!("`{pattern}` names one subject, which is not tried: somebody listens there"),
            "look for it among `mappings` in the server's configuration",
        );
    };
    match client.echo(&subject, (&subject, PROBE)) {
        Some(back) if !back.is_empty() => {
            return Finding::ok("mappings", format!("`{pattern}` is not mapped"));
        }
        Some(_nothing) => {}
        None => {
            return Finding::warning(
                "mappings",
                format!("the server does not let this user publish and subscribe on `{subject}`"),
                "name a user that may, for this check",
            );
        }
    }
    let elsewhere = client.echo(">", (&subject, PROBE)).unwrap_or_default();
    let name = &rule.name;
    let what = match elsewhere.first() {
        Some(other) => format!("`{subject}` arrives as `{other}`"),
        None => format!("`{subject}` arrives elsewhere, or nowhere"),
    };
    Finding::problem(
        "mappings",
        format!("{what}: the account maps `{pattern}`"),
        format!(
            "add an alias to keyring `{name}` that says what is mapped to what, or set bind = \"keyring\""
        ),
    )
}

/// An unused subject of the pattern, if that ends in a wildcard.
fn example(pattern: &str) -> Option<String> {
    let (before, last) = pattern.rsplit_once('.').map_or(("", pattern), |p| p);
    if !matches!(last, "*" | ">") {
        return None;
    }
    let token = token()?;
    let tokens = before.split('.').filter(|token| !token.is_empty());
    let tokens = tokens.map(|token| if token == "*" { "keyway-doctor" } else { token });
    let tokens: Vec<_> = tokens.chain([token.as_str()]).collect();
    Some(tokens.join("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn example_has_a_last_token_of_its_own_or_there_is_none() {
        let of = |pattern| example(pattern).unwrap();
        assert!(of("a.*.>").starts_with("a.keyway-doctor."));
        assert!(!of(">").contains('.'));
        assert_eq!(example("a.b"), None);
    }
}
