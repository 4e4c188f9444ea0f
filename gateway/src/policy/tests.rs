//! Tests of the rules, the trie and the classes of subjects.

use proptest::prelude::*;

use super::*;

fn pattern(text: &str) -> Pattern {
    text.parse().unwrap()
}

fn rule(name: &str, subjects: &[&str]) -> Rule {
    Rule {
        name: name.parse().unwrap(),
        subjects: subjects.iter().map(|s| pattern(s)).collect(),
        bind: Bind::Keyring,
        plaintext: Plaintext::Reject,
        ..Rule::everything()
    }
}

fn policy(rules: &[(&str, &[&str])]) -> Policy {
    let rules = rules.iter().map(|(name, subjects)| rule(name, subjects));
    Policy::new(rules.collect(), &["JS.acme.API".to_owned()]).unwrap()
}

fn name_of(policy: &Policy, subject: &str) -> String {
    match policy.route(subject.as_bytes()) {
        Route::Pass => "pass".to_owned(),
        Route::Reply(_) => "reply".to_owned(),
        Route::Keyring(id) => policy.keyring(id).unwrap().name.to_string(),
    }
}

fn faults(rules: Vec<Rule>) -> Vec<String> {
    let faults = Policy::new(rules, &["JS.acme.API".to_owned()]).unwrap_err();
    faults
        .iter()
        .map(|f| format!("{}/{:?}: {f}", f.rule, f.subject))
        .collect()
}

#[test]
fn pattern_that_nats_would_not_take_is_refused() {
    for (text, message) in [
        (
            "",
            "a subject is empty: give tokens separated by dots, such as `agents.>`",
        ),
        (
            "a..b",
            "`a..b` has an empty token: no dot at the start or end, and no two in a row",
        ),
        (
            ".a",
            "`.a` has an empty token: no dot at the start or end, and no two in a row",
        ),
        (
            "a.",
            "`a.` has an empty token: no dot at the start or end, and no two in a row",
        ),
        (
            "a b",
            "`a b` holds a space or control character: NATS subjects cannot",
        ),
        (
            "a.>.b",
            "`a.>.b` has `>` before its end: `>` stands for everything that follows, so it comes last",
        ),
        (
            "a.b*",
            "`a.b*` has a wildcard inside a token, which NATS takes literally: `*` and `>` stand alone between dots",
        ),
        (
            "a>",
            "`a>` has a wildcard inside a token, which NATS takes literally: `*` and `>` stand alone between dots",
        ),
    ] {
        assert_eq!(text.parse::<Pattern>().unwrap_err().to_string(), message);
    }
    assert_eq!(
        "x".repeat(1025).parse::<Pattern>(),
        Err(BadPattern::Long(1025))
    );
}

#[test]
fn most_specific_pattern_decides() {
    let policy = policy(&[
        ("all", &[">"]),
        ("agents", &["agents.>"]),
        ("one", &["agents.*.call"]),
        ("named", &["agents.seven.>"]),
        ("exact", &["agents.seven.call"]),
        ("star", &["*.*"]),
    ]);
    for (subject, name) in [
        ("other", "all"),
        ("agents", "all"),
        ("agents.one", "agents"),
        ("agents.one.call", "one"),
        ("agents.one.call.now", "agents"),
        ("agents.seven.call", "exact"),
        ("agents.seven.tell", "named"),
        ("tools.hammer", "star"),
        ("tools.hammer.nail", "all"),
    ] {
        assert_eq!(name_of(&policy, subject), name, "{subject}");
    }
}

#[test]
fn first_differing_token_decides_between_wildcards() {
    let policy = policy(&[("left", &["a.*"]), ("right", &["*.b"])]);
    assert_eq!(name_of(&policy, "a.b"), "left");
    assert_eq!(name_of(&policy, "c.b"), "right");
    assert_eq!(name_of(&policy, "c.d"), "pass");
}

#[test]
fn search_turns_back_from_a_literal_that_leads_nowhere() {
    let policy = policy(&[
        ("literal", &["a.b.c"]),
        ("star", &["a.*.d"]),
        ("tail", &["a.>"]),
    ]);
    assert_eq!(name_of(&policy, "a.b.d"), "star");
    assert_eq!(name_of(&policy, "a.b.e"), "tail");
    assert_eq!(name_of(&policy, "a.b"), "tail");
}

#[test]
fn many_literals_at_one_place_are_told_apart() {
    let names: Vec<String> = (0..100).map(|n| format!("t{n}")).collect();
    let rules = names.iter().map(|name| rule(name, &[name]));
    let policy = Policy::new(rules.collect(), &[]).unwrap();
    for name in &names {
        assert_eq!(&name_of(&policy, name), name);
    }
    assert_eq!(name_of(&policy, "t100"), "pass");
}

#[test]
fn malformed_subject_is_covered_all_the_same() {
    let policy = policy(&[("all", &[">"]), ("agents", &["agents.>"])]);
    for (subject, name) in [
        ("", "all"),
        (".", "all"),
        ("agents.", "agents"),
        ("agents.*", "agents"),
        ("agents..x", "agents"),
    ] {
        assert_eq!(name_of(&policy, subject), name, "{subject}");
    }
}

#[test]
fn system_subject_passes_unchanged_under_any_rule() {
    let policy = policy(&[("all", &[">"]), ("js", &["$JS.>"]), ("gr", &["*.>"])]);
    for subject in [
        "$JS.API.INFO",
        "$JS.API.STREAM.CREATE.orders",
        "$JS.API.CONSUMER.MSG.NEXT.orders.worker",
        "$JS.API.DIRECT.GET.orders",
        "$JS.API.META.LEADER.STEPDOWN",
        "$JS.API.SERVER.REMOVE",
        "$JS.API.ACCOUNT.PURGE.acme",
        "$JS.hub.API.STREAM.INFO.orders",
        "JS.acme.API.STREAM.INFO.orders",
        "JS.acme.API.INFO",
        "$JS.ACK.orders.worker.1.2.3.4.5",
        "$JS.ACK.API.worker.1.2.3.4.5",
        "$JS.FC.orders.worker.x",
        "$JS.EVENT.ADVISORY.API",
        "$JS.SNAPSHOT.ACK.orders.x",
        "$SYS.REQ.USER.INFO",
        "$SRV.PING",
        "$MQTT.sub.x",
        "$NRG.V.x",
        "$JSC.R.x",
        "$GNR.x.y",
        "_GR_.x.y",
        "$LDS.x",
    ] {
        assert_eq!(name_of(&policy, subject), "pass", "{subject}");
    }
}

#[test]
fn stores_and_unknown_dollar_subjects_are_user_subjects() {
    let policy = policy(&[
        ("all", &[">"]),
        ("kv", &["$KV.>"]),
        ("objects", &["$O.>", "$OBJ.>"]),
    ]);
    for (subject, name) in [
        ("$KV.bucket.key", "kv"),
        ("$JS.hub.API.$KV.bucket.key", "kv"),
        ("$JS.API.$KV.bucket.key", "kv"),
        ("JS.acme.API.$KV.bucket.key", "kv"),
        ("$JS.ACK.API.$KV.bucket.key", "kv"),
        ("$O.bucket.C.chunk", "objects"),
        ("$JS.hub.API.$O.bucket.M.meta", "objects"),
        ("$JS.hub.API.$OBJ.bucket", "objects"),
        ("$JS.API.INFO.x", "all"),
        ("$JS.API.NOVEL.x", "all"),
        ("$JS.hub.API.NOVEL.x", "all"),
        ("$JS.NOVEL", "all"),
        ("$NOVEL.x", "all"),
        ("$SYS", "all"),
        ("$", "all"),
        ("_", "all"),
        ("_INBOX", "all"),
        ("_INBOXES.x", "all"),
    ] {
        assert_eq!(name_of(&policy, subject), name, "{subject}");
    }
}

#[test]
fn reply_subject_waits_for_its_request_unless_a_rule_names_it() {
    let wild = policy(&[("all", &[">"]), ("star", &["*.x"])]);
    assert_eq!(name_of(&wild, "_INBOX.x"), "reply");
    assert_eq!(name_of(&wild, "_R_.x.y"), "reply");
    let all = wild.by_name("all");
    assert_eq!(wild.route(b"_INBOX.y"), Route::Reply(all));
    let narrow = policy(&[("agents", &["agents.>"])]);
    assert_eq!(narrow.route(b"_INBOX.y"), Route::Reply(None));
    let named = policy(&[("all", &[">"]), ("inbox", &["_INBOX.svc.>"])]);
    assert_eq!(name_of(&named, "_INBOX.svc.x"), "inbox");
    assert_eq!(name_of(&named, "_INBOX.other"), "reply");
}

#[test]
fn policy_without_rules_protects_nothing() {
    assert!(!Policy::nothing().protects_anything());
    assert_eq!(Policy::nothing().route(b"a"), Route::Pass);
    let everything = Policy::everything();
    assert!(everything.protects_anything());
    assert_eq!(name_of(&everything, "a.b"), "default");
    assert_eq!(everything.by_name("default").unwrap().index(), 0);
    assert_eq!(everything.by_name("other"), None);
}

#[test]
fn every_fault_of_the_rules_is_reported() {
    let mut aliased = rule("aliased", &["a.>"]);
    aliased.bind = Bind::Subject {
        aliases: vec![Alias::new(pattern("a.x"), pattern("b.x")).unwrap()],
    };
    let rules = vec![
        rule("one", &["x.>", "x.>", "$SYS.>"]),
        rule(
            "two",
            &["y", "x.>", "$JS.API.STREAM.>", "$JS.ACK.>", "_GR_.a"],
        ),
        rule(
            "one",
            &[
                "$JS.hub.API.$KV.b.>",
                "JS.acme.API.STREAM.>",
                "$JS.*.API.$KV.>",
            ],
        ),
        aliased,
    ];
    assert_eq!(
        faults(rules),
        [
            "0/Some(1): the pattern `x.>` is already in keyring `one`",
            "0/Some(2): `$SYS.>` lies within `$SYS.>`: the server answers these requests, so these subjects are never sealed",
            "1/Some(1): the pattern `x.>` is already in keyring `one`",
            "1/Some(2): `$JS.API.STREAM.>` lies within `$JS.API.>`: the server reads JetStream requests, so these subjects are never sealed",
            "1/Some(3): `$JS.ACK.>` lies within `$JS.ACK.>`: the server reads acknowledgements, so these subjects are never sealed",
            "1/Some(4): `_GR_.a` lies within `_GR_.>`: the gateways of a supercluster route replies there, so these subjects are never sealed",
            "2/None: the keyring `one` is defined twice",
            "2/Some(0): `$JS.hub.API.$KV.b.>` never matches: the prefix is stripped before a subject is looked up",
            "2/Some(1): `JS.acme.API.STREAM.>` lies within `$JS.API.>`: the server reads JetStream requests, so these subjects are never sealed",
            "2/Some(2): `$JS.*.API.$KV.>` never matches: the prefix is stripped before a subject is looked up",
            "3/None: the alias names `b.x`, which the keyring's subjects do not cover",
        ]
    );
}

#[test]
fn pattern_covers_what_it_matches() {
    assert!(pattern("a.>").covers(&pattern("a.*.b")));
    assert!(pattern("a.*").covers(&pattern("a.b")));
    assert!(!pattern("a.*").covers(&pattern("a.>")));
    assert!(!pattern("a.*").covers(&pattern("a.b.c")));
    assert!(!pattern("a.b").covers(&pattern("a.*")));
}

/// Subjects and patterns of few, short tokens, so that they meet often.
fn tokens(of: &'static [&'static str]) -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(of), 1..6).prop_map(|tokens| tokens.join("."))
}

proptest! {
    #[test]
    fn trie_agrees_with_list(
        patterns in prop::collection::vec(tokens(&["a", "b", "ab", "*", ">"]), 0..24),
        subject in tokens(&["a", "b", "ab", "c", ""]),
    ) {
        let mut lines = patterns;
        lines.push(subject);
        check::trie_agrees_with_list(lines.join("\n").as_bytes());
    }

    #[test]
    fn specificity_is_a_total_order_over_matching_patterns(
        texts in prop::collection::vec(tokens(&["a", "b", "*", ">"]), 3),
        subject in tokens(&["a", "b"]),
    ) {
        let matching: Vec<Pattern> = texts.iter()
            .filter_map(|text| text.parse().ok())
            .filter(|pattern: &Pattern| pattern.matches(subject.as_bytes()))
            .collect();
        for a in &matching {
            for b in &matching {
                prop_assert_eq!(a == b, a.specificity(b).is_eq());
                prop_assert_eq!(a.specificity(b), b.specificity(a).reverse());
                for c in &matching {
                    if a.specificity(b).is_lt() && b.specificity(c).is_lt() {
                        prop_assert!(a.specificity(c).is_lt());
                    }
                }
            }
        }
    }

    #[test]
    fn store_is_covered_by_what_is_stored(
        subject in tokens(&["$JS", "JS", "acme", "hub", "API", "ACK", "$KV", "$OBJ", "STREAM"]),
    ) {
        check::trie_agrees_with_list(format!("$KV.>\n$OBJ.>\n>\n{subject}").as_bytes());
    }

    #[test]
    fn any_bytes_are_routed(data in prop::collection::vec(any::<u8>(), 0..200)) {
        check::trie_agrees_with_list(&data);
    }
}

/// The index of the keyring that covers `filter`, among `closed` ones of the keyrings `k0`, `k1`, …
fn closes(rules: &[&[&str]], closed: &[u16], filter: &str) -> Option<u16> {
    let rules = rules.iter().enumerate();
    let rules = rules.map(|(index, subjects)| rule(&format!("k{index}"), subjects));
    let policy = Policy::new(rules.collect(), &["JS.acme.API".to_owned()]).unwrap();
    let found = policy.find_covering(filter.as_bytes(), |id| closed.contains(&id.0));
    found.map(|id| id.0)
}

#[test]
fn filter_that_lies_within_closed_subjects_is_closed() {
    let rules: &[&[&str]] = &[&["a.>"], &["a.open.*"], &[">"]];
    assert_eq!(closes(rules, &[0], "a.b"), Some(0));
    assert_eq!(closes(rules, &[0], "a.b.>"), Some(0));
    // A part of these subjects is open.
    assert_eq!(closes(rules, &[0], "a.>"), None);
    assert_eq!(closes(rules, &[0], "a.*.b"), None);
    assert_eq!(closes(rules, &[0], "a.open.b"), None);
    assert_eq!(closes(rules, &[0], "a.open.b.c"), Some(0));
    assert_eq!(closes(rules, &[0, 1], "a.>"), Some(0));
    assert_eq!(closes(rules, &[1], "a.open.*"), Some(1));
    assert_eq!(closes(rules, &[2], "a.b"), None);
    assert_eq!(closes(rules, &[2], "b.*"), Some(2));
    assert_eq!(closes(rules, &[], "b.*"), None);
}

#[test]
fn filter_that_may_match_replies_or_system_subjects_is_not_closed() {
    let rules: &[&[&str]] = &[&[">"], &["_INBOX.named.>"]];
    for filter in [
        ">",
        "*",
        "*.b",
        "_INBOX.a.*",
        "_INBOX.>",
        "$JS.>",
        "$JS.ACK.>",
        "$SYS.>",
        "JS.>",
        "$JS.API.STREAM.>",
        "a..b",
        "a.b*",
    ] {
        assert_eq!(closes(rules, &[0, 1], filter), None, "{filter}");
    }
    assert_eq!(closes(rules, &[0, 1], "_INBOX.named.*"), Some(1));
    assert_eq!(closes(rules, &[0, 1], "$KV.b.>"), Some(0));
    assert_eq!(closes(rules, &[0, 1], "$JS.d.API.$KV.b.k"), Some(0));
}
