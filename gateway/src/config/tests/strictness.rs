//! Strictness of a keyring: keys, the exact text of every error, warnings.

use super::*;
use crate::policy::{Answers, AtLimit, Empty, Limit, Rule, Substitute, Undecryptable};

/// The start of a keyring: three lines.
const KEYRING: &str = "[[keyring]]\nname = \"a\"\nsubjects = \"a.>\"\n";

fn rule(text: &str) -> Rule {
    checked(&format!("{KEYRING}{text}")).policy.keyrings()[0].clone()
}

#[test]
fn every_key_of_strictness_is_read() {
    let text = "reply = \"sealed\"\nempty = \"seal\"\n[keyring.undecryptable]\n\
        deliver = \"envelope\"\nnak-delay = \"5s\"\nlimit = \"5m\"\nat-limit = \"terminate\"\n";
    let strict = rule(text);
    let answers = (strict.answers, strict.empty);
    assert_eq!(answers, (Answers::Sealed, Empty::Seal));
    let limit = Limit {
        after: Duration::from_mins(5),
        then: AtLimit::Terminate,
    };
    let expected = Undecryptable {
        deliver: Substitute::Envelope,
        nak_delay: Some(Duration::from_secs(5)),
        limit: Some(limit),
    };
    assert_eq!(strict.undecryptable, expected);
}

#[test]
fn inline_table_says_the_same() {
    let inline = rule("undecryptable = { limit = \"1s\", at-limit = \"envelope\" }\n");
    let section = rule("[keyring.undecryptable]\nlimit = \"1s\"\nat-limit = \"envelope\"\n");
    assert_eq!(inline, section);
    let then = inline.undecryptable.limit.map(|limit| limit.then);
    assert_eq!(then, Some(AtLimit::Envelope));
}

#[test]
fn acknowledgements_alone_may_answer() {
    assert_eq!(rule("reply = \"puback\"\n").answers, Answers::PubAck);
}

#[test]
fn each_keyring_is_as_strict_as_it_says() {
    let text = format!(
        "{KEYRING}reply = \"sealed\"\n[keyring.undecryptable]\nnak-delay = \"1ms\"\n\
        [[keyring]]\nname = \"b\"\nsubjects = \"b.>\"\n"
    );
    let checked = checked(&text);
    let [first, second] = checked.policy.keyrings() else {
        panic!("two keyrings");
    };
    assert_eq!(
        (first.answers, second.answers),
        (Answers::Sealed, Answers::Either)
    );
    assert!(first.undecryptable.nak_delay.is_some());
    assert_eq!(second.undecryptable, Undecryptable::default());
}

#[test]
fn strictness_in_other_words_is_refused() {
    said(
        &format!(
            "{KEYRING}reply = \"none\"\nempty = true\nundecryptable = {{ deliver = \"error\", nak-delay = 5, limit = \"31d\", at-limit = \"term\" }}\n"
        ),
        &[
            "4:9: keyring.reply: `none` is not one of the words known here\n  help: write \"sealed\" or \"puback\" or \"either\"",
            "5:9: keyring.empty: expected text in quotes, found a truth value\n  help: for example: empty = \"seal\"",
            "6:29: keyring.undecryptable.deliver: `error` is not one of the words known here\n  help: write \"nothing\" or \"envelope\"",
            "6:50: keyring.undecryptable.nak-delay: expected a duration such as \"24h\", found an integer\n  help: for example: undecryptable = { nak-delay = \"5s\" }",
            "6:61: keyring.undecryptable.limit: 31d is not from 1s to 30days\n  help: for example: undecryptable = { limit = \"5m\", at-limit = \"envelope\" }",
            "6:79: keyring.undecryptable.at-limit: `term` is not one of the words known here\n  help: write \"terminate\" or \"envelope\"",
        ],
    );
}

#[test]
fn undecryptable_that_is_no_table_is_refused() {
    said(
        &format!("{KEYRING}undecryptable = \"nothing\"\n"),
        &[
            "4:17: keyring.undecryptable: expected a table, found text\n  help: write a section `[keyring.undecryptable]`",
        ],
    );
}

#[test]
fn unknown_key_of_strictness_is_refused_with_a_suggestion() {
    said(
        &format!(
            "{KEYRING}repyl = \"sealed\"\nnak-delay = \"5s\"\n[keyring.undecryptable]\nnak_delay = \"5s\"\natlimit = \"envelope\"\n"
        ),
        &[
            "4:1: keyring.repyl: no such key\n  help: did you mean `reply`?",
            "5:1: keyring.nak-delay: no such key\n  help: `nak-delay` belongs in `keyring.undecryptable`",
            "7:1: keyring.undecryptable.nak_delay: no such key\n  help: did you mean `nak-delay`?",
            "8:1: keyring.undecryptable.atlimit: no such key\n  help: did you mean `at-limit`?",
        ],
    );
}

#[test]
fn limit_without_its_end_is_refused() {
    said(
        &format!("{KEYRING}undecryptable = {{ limit = \"5m\" }}\n"),
        &[
            "4:27: keyring.undecryptable.limit: a limit, but not what happens when it is reached\n  help: add `at-limit = \"envelope\"` or `at-limit = \"terminate\"`",
        ],
    );
}

#[test]
fn end_without_its_limit_is_refused() {
    said(
        &format!("{KEYRING}undecryptable = {{ at-limit = \"terminate\" }}\n"),
        &[
            "4:30: keyring.undecryptable.at-limit: what happens at the limit, but there is none\n  help: add a limit, for example `limit = \"5m\"`, or remove it",
        ],
    );
}

#[test]
fn delay_that_outlives_the_limit_is_refused() {
    said(
        &format!(
            "{KEYRING}undecryptable = {{ nak-delay = \"5m\", limit = \"5m\", at-limit = \"envelope\" }}\n"
        ),
        &[
            "4:31: keyring.undecryptable.nak-delay: 5m is not below `limit` (5m): the message would come back only when the limit is over\n  help: give a delay below 5m, a tenth of it or less at best",
        ],
    );
}

#[test]
fn second_look_is_asked_for_where_strictness_costs_something() {
    let text = format!(
        "{KEYRING}undecryptable = {{ deliver = \"envelope\", limit = \"5m\", at-limit = \"terminate\" }}\n\
        [[keyring]]\nname = \"b\"\nsubjects = [\"b.>\", \"$KV.b.>\"]\nreply = \"sealed\"\n"
    );
    assert_eq!(
        warnings(&text),
        [
            "gw.toml:4:29: keyring.undecryptable.deliver: agents get ciphertext where a message does not open: a setting for debugging\n  help: write `deliver = \"nothing\"` as soon as the cause is found",
            "gw.toml:4:66: keyring.undecryptable.at-limit: a message that stays unreadable for so long is given up: its consumer gets it no more, and a work queue deletes it\n  help: write `at-limit = \"envelope\"`, or remove it with `limit`, to lose nothing that is stored",
            "gw.toml:8:9: keyring.reply: JetStream answers in plaintext when `$KV.b.>` is written, and the writer never learns of it\n  help: write `reply = \"puback\"`, or move these subjects to a keyring of their own",
        ]
    );
    let quiet = format!(
        "{KEYRING}reply = \"sealed\"\nundecryptable = {{ limit = \"5m\", at-limit = \"envelope\" }}\n"
    );
    assert!(warnings(&quiet).is_empty());
}

#[test]
fn keyring_is_for_everybody_for_those_it_names_or_for_nobody() {
    let said = "publish-by = [\"account:planner\", \"dns:*\"]\ndeliver-to = []\n";
    let limited = rule(said);
    let names = limited.publish_by.listed();
    assert_eq!(names.unwrap(), ["account:planner", "dns:*"]);
    assert_eq!(limited.deliver_to.listed(), Some(Vec::new()));
    let open = rule("");
    assert_eq!(
        (open.publish_by.listed(), open.deliver_to.listed()),
        (None, None)
    );
    let one = rule("deliver-to = \"account:ACME\"");
    assert_eq!(one.deliver_to.listed().unwrap(), ["account:ACME"]);
}
