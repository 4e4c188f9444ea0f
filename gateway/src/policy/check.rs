//! Properties that hold for any bytes, for fuzzers and property tests.

use crate::policy::{KeyringName, Pattern, Plaintext, Policy, Route, Rule};

/// Makes a keyring of each valid pattern among the lines of `data`; the last line is a subject. The trie must find the same
/// keyring as a search through the list, and for a key-value or object put the one that covers the stored subject.
///
/// # Panics
/// When the two disagree.
pub fn trie_agrees_with_list(data: &[u8]) {
    let mut lines: Vec<&[u8]> = data.split(|b| *b == b'\n').collect();
    let subject = lines.pop().unwrap_or_default();
    let mut patterns: Vec<Pattern> = lines.iter().filter_map(|line| parse(line)).collect();
    patterns.sort();
    patterns.dedup();
    let rules = patterns.into_iter().take(64).enumerate();
    let rules = rules.filter_map(|(i, pattern)| rule(i, pattern)).collect();
    let Ok(policy) = Policy::new(rules, &["JS.acme.API".to_owned()]) else {
        return;
    };
    let trie = policy.route(subject);
    if !matches!(subject.first(), Some(b'$' | b'_' | b'J')) {
        assert_eq!(trie, by_list(&policy, subject));
    }
    stores_lose_their_prefix(&policy, subject);
}

/// A key-value or object put is looked up, and its envelope bound, under the subject that the server stores it by: without
/// `$JS.API.`, `$JS.<domain>.API.` or a configured prefix.
fn stores_lose_their_prefix(policy: &Policy, subject: &[u8]) {
    let tokens: Vec<&[u8]> = subject.split(|b| *b == b'.').collect();
    let stored = match tokens.as_slice() {
        [b"$JS", b"API", rest @ ..]
        | [b"$JS", _, b"API", rest @ ..]
        | [b"JS", b"acme", b"API", rest @ ..]
        | rest => rest,
    };
    if matches!(stored, [b"$KV" | b"$OBJ", _, ..]) {
        let stored = stored.join(&b'.');
        assert_eq!(policy.normalise(subject), stored);
        assert_eq!(policy.route(subject), policy.route(&stored));
    }
}

/// The reference: the most specific of all patterns that match.
fn by_list(policy: &Policy, subject: &[u8]) -> Route {
    let all = policy.keyrings().iter().flat_map(|rule| &rule.subjects);
    let mut matching: Vec<&Pattern> = all.filter(|p| p.matches(subject)).collect();
    matching.sort_by(|a, b| a.specificity(b));
    if let [first, second, ..] = matching.as_slice() {
        assert!(
            first.specificity(second).is_lt(),
            "{first} and {second} are equally specific"
        );
    }
    let holder = matching.first().and_then(|best| {
        let holds = |rule: &&Rule| rule.subjects.contains(best);
        policy.keyrings().iter().find(holds)
    });
    let id = holder.and_then(|rule| policy.by_name(rule.name.as_str()));
    id.map_or(Route::Pass, Route::Keyring)
}

fn parse(line: &[u8]) -> Option<Pattern> {
    std::str::from_utf8(line).ok()?.parse().ok()
}

fn rule(index: usize, pattern: Pattern) -> Option<Rule> {
    let name: KeyringName = format!("k{index}").parse().ok()?;
    Some(Rule {
        name,
        subjects: vec![pattern],
        bind: super::Bind::Keyring,
        plaintext: Plaintext::Reject,
        ..Rule::everything()
    })
}
