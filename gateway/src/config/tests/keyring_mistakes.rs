//! The exact text of every error in keyrings.

use super::*;

#[test]
fn prefix_with_wildcards_is_refused() {
    said(
        r#"jetstream.api-prefixes = ["JS.*.API", "", "a..b"]
"#,
        &[
            "1:27: jetstream.api-prefixes: `JS.*.API` has wildcards, a prefix has none\n  help: for example: api-prefixes = [\"JS.acme.API\"]",
            "1:39: jetstream.api-prefixes: a subject is empty: give tokens separated by dots, such as `agents.>`\n  help: for example: api-prefixes = [\"JS.acme.API\"]",
            "1:43: jetstream.api-prefixes: `a..b` has an empty token: no dot at the start or end, and no two in a row\n  help: for example: api-prefixes = [\"JS.acme.API\"]",
        ],
    );
}

#[test]
fn keyring_without_name_and_subjects_is_refused() {
    said(
        r#"[[keyring]]
[[keyring]]
name = "A"
subjects = ["a..b", "b.>"]
[[keyring]]
name = "c"
subjects = "b.>"
"#,
        &[
            "1:1: keyring.name: `name` is missing\n  help: for example: name = \"agents\"",
            "1:1: keyring.subjects: `subjects` is missing\n  help: for example: subjects = [\"agents.>\", \"tools.*.call\"]",
            "3:8: keyring.name: a keyring's name holds `A`: only a-z, 0-9, `-`, `_`\n  help: for example: name = \"agents\"",
            "4:13: keyring.subjects: `a..b` has an empty token: no dot at the start or end, and no two in a row\n  help: for example: subjects = [\"agents.>\", \"tools.*.call\"]",
            "7:12: keyring.subjects: the pattern `b.>` is already in another keyring\n  help: keep it in one place; a more specific pattern may stand elsewhere",
        ],
    );
}

#[test]
fn keyring_twice_is_refused() {
    said(
        r#"[[keyring]]
name = "a"
subjects = "a.>"
[[keyring]]
name = "a"
subjects = "b.>"
"#,
        &[
            "5:8: keyring.name: the keyring `a` is defined twice\n  help: give each keyring a name of its own",
        ],
    );
}

#[test]
fn pattern_twice_is_refused() {
    said(
        r#"[[keyring]]
name = "a"
subjects = "a.>"
[[keyring]]
name = "b"
subjects = "a.>"
"#,
        &[
            "6:12: keyring.subjects: the pattern `a.>` is already in keyring `a`\n  help: keep it in one place; a more specific pattern may stand elsewhere",
        ],
    );
}

#[test]
fn pattern_twice_in_one_list_is_refused_whatever_the_name_is() {
    for name in ["a", "A"] {
        let text = format!("[[keyring]]\nname = \"{name}\"\nsubjects = [\"a.>\", \"a.>\"]\n");
        let errors = read(&text).unwrap_err().to_string();
        assert!(
            errors.contains("the pattern `a.>` is in the list twice\n  help: remove one"),
            "{errors}"
        );
    }
}

#[test]
fn mistake_in_a_section_hides_no_other_in_it() {
    said(
        r#"[[keyring]]
name = "a"
subjects = "a.>"
rotate = { after = "24", messages = 5 }
limit = { messages = 4 }
"#,
        &[
            "4:20: keyring.rotate.after: `24` is not a duration\n  help: write numbers with units: ms, s, m, h, d, for example \"90d\" or \"1h 30m\"",
            "4:37: keyring.rotate.messages: 5 is not below `limit.messages` (4): sealing would stop before a rotation\n  help: give a number below 4, a tenth of it or less at best",
        ],
    );
}

#[test]
fn system_subject_in_a_keyring_is_refused() {
    said(
        r#"[[keyring]]
name = "a"
subjects = ["$SYS.>", "$JS.API.STREAM.>", "$JS.hub.API.$KV.b.>"]
"#,
        &[
            "3:13: keyring.subjects: `$SYS.>` lies within `$SYS.>`: the server answers these requests, so these subjects are never sealed\n  help: remove it",
            "3:23: keyring.subjects: `$JS.API.STREAM.>` lies within `$JS.API.>`: the server reads JetStream requests, so these subjects are never sealed\n  help: remove it",
            "3:43: keyring.subjects: `$JS.hub.API.$KV.b.>` never matches: the prefix is stripped before a subject is looked up\n  help: write `$KV.b.>`",
        ],
    );
}

#[test]
fn alias_that_cannot_help_is_refused() {
    said(
        r#"[[keyring]]
name = "a"
subjects = "a.>"
aliases = [{ from = "a.*", to = "a.>" }, { from = "a.b", to = "b.a" }, { from = "a.b" }]
"#,
        &[
            "4:11: keyring.aliases: the alias names `b.a`, which the keyring's subjects do not cover\n  help: add `b.a` to `subjects`, or remove the alias",
            "4:33: keyring.aliases.to: `a.*` and `a.>` have different wildcards: as many `*` on both sides, and a final `>` on both or neither\n  help: for example: { from = \"orders.*\", to = \"eu.orders.*\" }",
            "4:72: keyring.aliases.to: `to` is missing\n  help: for example: to = \"eu.orders.*\"",
        ],
    );
}

#[test]
fn alias_without_subject_binding_is_refused() {
    said(
        r#"[[keyring]]
name = "a"
subjects = "a.>"
bind = "keyring"
aliases = [{ from = "a.b", to = "a.c" }]
"#,
        &[
            "5:11: keyring.aliases: aliases mean nothing when envelopes are bound to the keyring alone\n  help: remove them, or write `bind = \"subject\"`",
        ],
    );
}

#[test]
fn plaintext_without_an_end_is_refused() {
    said(
        r#"[[keyring]]
name = "a"
subjects = "a.>"
plaintext = "accept"
"#,
        &[
            "4:13: keyring.plaintext: plaintext is accepted without a date on which that ends\n  help: for example: until = 2027-06-30",
        ],
    );
}

#[test]
fn plaintext_past_its_end_is_refused() {
    said(
        r#"[[keyring]]
name = "a"
subjects = "a.>"
plaintext = "accept"
until = 2026-11-22
"#,
        &[
            "5:9: keyring.until: the date has passed\n  help: write `plaintext = \"reject\"` and remove `until`, or give a later date",
        ],
    );
}

#[test]
fn end_without_plaintext_is_refused() {
    said(
        r#"[[keyring]]
name = "a"
subjects = "a.>"
until = 2027-01-01
"#,
        &[
            "4:9: keyring.until: a date on which plaintext ends to be accepted, but it is rejected already\n  help: remove it, or write `plaintext = \"accept\"`",
        ],
    );
}

#[test]
fn end_that_is_no_date_is_refused() {
    said(
        r#"[[keyring]]
name = "a"
subjects = "a.>"
plaintext = "accept"
until = 2027-01-01T10:00:00Z
[[keyring]]
name = "b"
subjects = "b.>"
plaintext = "accept"
until = "2027-02-30"
"#,
        &[
            "5:9: keyring.until: `2027-01-01T10:00:00Z` is not a date (year-month-day)\n  help: for example: until = 2027-06-30",
            "10:9: keyring.until: `2027-02-30` is not a date (year-month-day)\n  help: for example: until = 2027-06-30",
        ],
    );
}

#[test]
fn threshold_over_the_limit_is_refused() {
    said(
        r#"[[keyring]]
name = "a"
subjects = "a.>"
rotate = { bytes = "4 TiB" }
limit = { messages = 1000 }
"#,
        &[
            "4:10: keyring.rotate.messages: 1000000000, the default, is not below `limit.messages` (1000): sealing would stop before a rotation\n  help: give a number below 1000, a tenth of it or less at best",
            "4:20: keyring.rotate.bytes: 4398046511104 is not below `limit.bytes` (4398046511104): sealing would stop before a rotation\n  help: give a number below 4398046511104, a tenth of it or less at best",
        ],
    );
}

#[test]
fn limit_that_one_message_may_exceed_is_refused() {
    said(
        r#"[[keyring]]
name = "a"
subjects = "a.>"
rotate = { bytes = "1 MiB" }
limit = { bytes = "64 MiB" }
"#,
        &[
            "5:19: keyring.limit.bytes: 67108864 is less than one message may have (`limits.max-message`: 68157440, the default): such a message could never be sealed\n  help: give at least 68157440, or write `max-message = 67108864` or less in [limits]",
        ],
    );
    said(
        r#"limits.max-message = 2000
[[keyring]]
name = "a"
subjects = "a.>"
rotate = { bytes = 500 }
limit.bytes = 1999
"#,
        &[
            "6:15: keyring.limit.bytes: 1999 is less than one message may have (`limits.max-message`: 2000): such a message could never be sealed\n  help: give at least 2000, or write `max-message = 1999` or less in [limits]",
        ],
    );
}

#[test]
fn limit_over_the_bound_is_refused() {
    said(
        r#"[[keyring]]
name = "a"
subjects = "a.>"
limit = { messages = 1_000_000_000_000 }
"#,
        &[
            "4:9: keyring.limit: the hard limit allows 4101274877906944 blocks of 16 bytes under one key version; at most 2^47 keep the attacker's advantage below 2^-50: lower `limit`\n  help: lower `limit.messages` or `limit.bytes`; the defaults are within the bound",
        ],
    );
}

#[test]
fn key_life_out_of_range_is_refused() {
    said(
        r#"[[keyring]]
name = "a"
subjects = "a.>"
rotate = { after = "0s", messages = 0, bytes = "0" }
overlap = "11y"
limit.bytes = 99999999999999999999
"#,
        &[
            "4:20: keyring.rotate.after: 0s is not from 1s to 10years\n  help: for example: rotate = { after = \"24h\" }",
            "4:37: keyring.rotate.messages: 0 is not from 1 to 18446744073709551615\n  help: for example: rotate = { messages = 1_000_000_000 }",
            "4:48: keyring.rotate.bytes: 0 is not from 1 B to 16.0 EiB\n  help: for example: rotate = { bytes = \"1 TiB\" }",
            "5:11: keyring.overlap: 11y is not from 0s to 10years\n  help: for example: overlap = \"10m\"",
            "6:15: keyring.limit.bytes: 99999999999999999999 is not from 1 B to 16.0 EiB\n  help: for example: limit = { bytes = \"4 TiB\" }",
        ],
    );
}

#[test]
fn client_that_cannot_be_anybody_is_refused() {
    said(
        r#"[[keyring]]
name = "a"
subjects = "a.>"
publish-by = ["usr:planner", "planner", "user:p*", 7]
deliver-to = ["nkey:UABC", "account:$G", "dns:"]
"#,
        &[
            "4:15: keyring.publish-by: `usr` is no kind of identity\n  help: did you mean `user:planner`?",
            "4:30: keyring.publish-by: `planner` is no kind of identity\n  help: write KIND:NAME; the kinds are nkey, user, account, subject, dns, uri, email",
            "4:41: keyring.publish-by: `p*` has a `*` inside a name: it stands alone, for any name of its kind\n  help: for example: publish-by = [\"user:planner\", \"nkey:UBMNFGRWUSB7Q2OWAKFV2AIUSC4G5OL3J2QGO7BGIW545YNTAGRQ6VSK\"]",
            "4:52: keyring.publish-by: expected text in quotes, found an integer\n  help: for example: publish-by = [\"user:planner\", \"nkey:UBMNFGRWUSB7Q2OWAKFV2AIUSC4G5OL3J2QGO7BGIW545YNTAGRQ6VSK\"]",
            "5:15: keyring.deliver-to: `UABC` is not a public nkey of a user: they begin with `U` and have 56 characters\n  help: for example: deliver-to = [\"account:*\"]",
            "5:28: keyring.deliver-to: `$G` is the account of everybody who has no other\n  help: leave the list out to admit everybody",
            "5:42: keyring.deliver-to: a name is empty: give one, or `*` for any\n  help: for example: deliver-to = [\"account:*\"]",
        ],
    );
}

#[test]
fn client_whom_no_server_is_said_to_check_is_refused() {
    let keyring = |top: &str| {
        format!(
            "{top}[[keyring]]\nname = \"a\"\nsubjects = \"a.>\"\npublish-by = [\"dns:*\", \"user:planner\"]\ndeliver-to = \"nkey:*\"\n"
        )
    };
    let unsaid = "is nobody: `servers-verify` does not say that servers check it\n  help: write";
    let user = format!(
        ": keyring.publish-by: `user:planner` {unsaid} servers-verify = \"user\" at the top of the file if they do; docs/identity.md says what that means"
    );
    let nkey = format!(
        ": keyring.deliver-to: `nkey:*` {unsaid} servers-verify = \"nkey\", or \"jwt\", at the top of the file if they do; docs/identity.md says what that means"
    );
    said(
        &keyring(""),
        &[&format!("4:24{user}"), &format!("5:14{nkey}")],
    );
    said(
        &keyring("servers-verify = \"jwt\"\n"),
        &[&format!("5:24{user}")],
    );
    said(
        "servers-verify = \"token\"\n",
        &[
            "1:18: servers-verify: `token` is not one of the words known here\n  help: write \"user\" or \"nkey\" or \"jwt\"",
        ],
    );
}
