//! Subjects that the bus changes between publisher and receiver: an envelope that is bound to its subject opens on another one
//! only with an alias.
//!
//! What is checked: subject transforms of streams, mirrors and sources, also in sequence, and republish, which JetStream tells
//! the control connection; and with `--probe` the mappings of the agents' account, by publishing a test message. Not checked:
//! imports of other accounts, and transforms on leaf nodes and gateways between clusters.

use data_encoding::BASE32_NOPAD;

use crate::policy::{Alias, Bind, Rule};
use crate::printable::Count;
use crate::retention::{JetStream, Renaming};

use super::finding::Finding;
use super::probe_client::{ConnectOutcome, Credentials, ProbeClient};
use super::{Deployment, access, streams};

/// The payload of a test message.
const PROBE: &str = "keyway doctor: a probe, to be ignored";

pub(super) fn check(deployment: &Deployment) -> Vec<Finding> {
    let mut findings = streams(deployment);
    if deployment.probe {
        findings.extend(mappings(deployment));
    }
    findings
}

/// A random subject token.
pub(super) fn token() -> Option<String> {
    let mut bytes = [0; 10];
    aws_lc_rs::rand::fill(&mut bytes).ok()?;
    Some(BASE32_NOPAD.encode(&bytes))
}

fn streams(deployment: &Deployment) -> Vec<Finding> {
    let Some(config) = &deployment.checked.control else {
        return vec![Finding::warning(
            "streams",
            "without [control] nobody can ask JetStream which streams rename subjects",
            "add a section [control]: see docs/configuration.md",
        )];
    };
    let survey = JetStream::new(config.clone()).survey();
    let mut findings: Vec<_> = survey
        .doubts
        .iter()
        .map(|doubt| doubt_finding(doubt))
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

fn doubt_finding(doubt: &str) -> Finding {
    let (what, remedy) = doubt.split_once("; ").unwrap_or((doubt, "ask again"));
    Finding::warning("streams", what, remedy)
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

/// A transform's destination as a pattern, if its wildcards are in order: `{{wildcard(1)}}` and `$1` are the first `*`.
pub(super) fn pattern_of(dest: &str) -> Option<String> {
    let mut count = 0_usize;
    let mut tokens = Vec::new();
    for token in dest.split('.') {
        let inner = token.strip_prefix("{{").and_then(|t| t.strip_suffix("}}"));
        let number = inner.map_or_else(|| token.strip_prefix('$'), wildcard);
        match number {
            Some(number) => {
                count = count.saturating_add(1);
                if number.trim() != count.to_string() {
                    return None;
                }
                tokens.push("*");
            }
            None if inner.is_some() || token.contains("{{") => return None,
            None => tokens.push(token),
        }
    }
    Some(tokens.join("."))
}

/// The number in `wildcard(1)`, in any letter case.
fn wildcard(function: &str) -> Option<&str> {
    let (name, rest) = function.trim().split_once('(')?;
    let number = rest.strip_suffix(')')?;
    name.eq_ignore_ascii_case("wildcard").then_some(number)
}

/// Whether a subject matches both patterns.
pub(super) fn overlap(one: &str, other: &str) -> bool {
    let (mut one, mut other) = (one.split('.'), other.split('.'));
    loop {
        match (one.next(), other.next()) {
            (Some(">"), Some(_)) | (Some(_), Some(">")) | (None, None) => return true,
            (Some(a), Some(b)) if a == "*" || b == "*" || a == b => {}
            (Some(_), Some(_)) | (None, Some(_)) | (Some(_), None) => return false,
        }
    }
}

/// Publishes on a subject of each pattern that ends in a wildcard, and checks where the message arrives.
fn mappings(deployment: &Deployment) -> Vec<Finding> {
    let Some(mut client) = accepted_client(deployment) else {
        return vec![Finding::warning(
            "mappings",
            "no server lets the doctor in, so that nothing could be published",
            "name an agent's credentials: `--user` and `--password-file`, `--creds`, …",
        )];
    };
    let mut findings = Vec::new();
    for rule in deployment.checked.policy.keyrings() {
        if matches!(rule.bind, Bind::Keyring) {
            continue;
        }
        for pattern in &rule.subjects {
            findings.push(mapping(&mut client, rule, pattern.as_str()));
        }
    }
    findings
}

/// A connection that a server accepts, with the agent's credentials and the proxy key, if there is one.
fn accepted_client(deployment: &Deployment) -> Option<ProbeClient> {
    deployment
        .checked
        .dataplane
        .servers
        .iter()
        .find_map(|server| {
            let mut client = access::connect(deployment, server).ok()?;
            let credentials = Credentials {
                login: deployment.agent.as_ref(),
                key: deployment.key.as_ref(),
            };
            (client.authenticate(credentials).ok()? == ConnectOutcome::Accepted).then_some(client)
        })
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
    fn destination_is_a_pattern_where_its_wildcards_are_in_order() {
        for (dest, pattern) in [
            ("a.b", Some("a.b")),
            ("a.{{wildcard(1)}}.{{Wildcard(2)}}", Some("a.*.*")),
            ("a.$1", Some("a.*")),
            ("a.>", Some("a.>")),
            ("a.$2.$1", None),
            ("a.{{partition(3,1)}}", None),
            ("a.x{{wildcard(1)}}", None),
        ] {
            assert_eq!(pattern_of(dest).as_deref(), pattern, "{dest}");
        }
    }

    #[test]
    fn patterns_overlap_where_one_subject_matches_both() {
        for (one, other, both) in [
            ("a.>", "a.b", true),
            (">", "x.y", true),
            ("a.*", "*.b", true),
            ("a.*", "a", false),
            ("a.b", "a.c", false),
            ("a.>", "a", false),
        ] {
            assert_eq!(overlap(one, other), both, "{one} {other}");
            assert_eq!(overlap(other, one), both, "{other} {one}");
        }
    }

    #[test]
    fn example_has_a_last_token_of_its_own_or_there_is_none() {
        let of = |pattern| example(pattern).unwrap();
        assert!(of("a.*.>").starts_with("a.keyway-doctor."));
        assert!(!of(">").contains('.'));
        assert_eq!(example("a.b"), None);
    }
}
