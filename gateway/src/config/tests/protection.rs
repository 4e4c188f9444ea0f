//! For every key of the configuration: whether a change weakens protection, and that the audit log then says so.

use super::*;
use crate::audit::Settings;
use crate::rotation::protection::{KEYS, Weakening, weakened, weakening};

const USER: &str = "user:planner";

/// A keyring with all keys that can be combined.
const KEYRING: &str = r#"servers-verify = ["user"]
[[keyring]]
name = "agents"
subjects = ["agents.>"]
"#;

/// For each key that can weaken protection: a configuration, and a weaker one.
const PAIRS: &[(&str, &str, &str)] = &[
    (
        "servers",
        "servers = \"tls://a:1\"",
        "servers = [\"tls://a:1\", \"nats://b:2\"]",
    ),
    (
        "servers-verify",
        "servers-verify = [\"user\"]",
        "servers-verify = [\"user\", \"jwt\"]",
    ),
    ("lock-memory", "lock-memory = true", "lock-memory = false"),
    ("relay-only", "", "relay-only = true"),
    (
        "admin.tokens",
        "",
        "[[admin.tokens]]\nname = \"a\"\nfile = \"f\"",
    ),
    ("inbox-prefixes", "", "inbox-prefixes = [\"agents.inbox\"]"),
    (
        "jetstream.api-prefixes",
        "",
        "[jetstream]\napi-prefixes = [\"agents.api\"]",
    ),
    (
        "control.domains",
        "[control]\ndomains = [\"a\", \"b\"]",
        "[control]\ndomains = [\"a\"]",
    ),
    (
        "tls.clients",
        "[tls]\ncertificate = \"c\"\nkey = \"k\"\nclients = \"required\"\nclient-ca = \"a\"",
        "[tls]\ncertificate = \"c\"\nkey = \"k\"\nclients = \"optional\"\nclient-ca = \"a\"",
    ),
    (
        "tls.client-ca",
        "[tls]\ncertificate = \"c\"\nkey = \"k\"\nclients = \"required\"\nclient-ca = \"a\"",
        "[tls]\ncertificate = \"c\"\nkey = \"k\"\nclients = \"required\"\nclient-ca = \"b\"",
    ),
    (
        "tls.crl",
        "[tls]\ncertificate = \"c\"\nkey = \"k\"\nclients = \"required\"\nclient-ca = \"a\"\ncrl = \"r\"",
        "[tls]\ncertificate = \"c\"\nkey = \"k\"\nclients = \"required\"\nclient-ca = \"a\"",
    ),
    (
        "tls.plaintext",
        "[tls]\ncertificate = \"c\"\nkey = \"k\"",
        "",
    ),
    ("server-tls.ca", "[server-tls]\nca = \"a\"", "[server-tls]"),
    (
        "server-tls.server-name",
        "[server-tls]",
        "[server-tls]\nserver-name = \"x\"",
    ),
    ("keyring[].subjects", "", "subjects = [\"agents.a.>\"]"),
    ("keyring[].suite", "suite = \"aes-256-gcm-siv\"", ""),
    ("keyring[].rotate.after", "", "rotate = { after = \"48h\" }"),
    (
        "keyring[].rotate.messages",
        "",
        "rotate = { messages = 2_000_000_000 }",
    ),
    (
        "keyring[].rotate.bytes",
        "",
        "rotate = { bytes = \"2 TiB\" }",
    ),
    (
        "keyring[].limit.messages",
        "limit = { messages = 2_000_000_000 }",
        "",
    ),
    ("keyring[].limit.bytes", "limit = { bytes = \"2 TiB\" }", ""),
    ("keyring[].overlap", "", "overlap = \"1m\""),
    ("keyring[].open-suspended", "open-suspended = false", ""),
    ("keyring[].open-compromised", "", "open-compromised = true"),
    ("keyring[].retain", "", "retain = \"shred\""),
    ("keyring[].hold", "", "hold = \"1h\""),
    ("keyring[].destroy", "destroy = \"approved\"", ""),
    ("keyring[].bind", "", "bind = \"keyring\""),
    ("keyring[].answers", "", "answers = \"unbound\""),
    (
        "keyring[].aliases",
        "",
        "aliases = [{ from = \"agents.a\", to = \"agents.b\" }]",
    ),
    (
        "keyring[].publish-by",
        "publish-by = [\"user:planner\"]",
        "",
    ),
    (
        "keyring[].deliver-to",
        "deliver-to = []",
        "deliver-to = [\"user:*\"]",
    ),
    (
        "keyring[].plaintext",
        "",
        "plaintext = \"accept\"\nuntil = 2027-01-01",
    ),
    (
        "keyring[].until",
        "plaintext = \"accept\"\nuntil = 2027-01-01",
        "plaintext = \"accept\"\nuntil = 2027-02-01",
    ),
    ("keyring[].reply", "reply = \"sealed\"", ""),
    ("keyring[].empty", "empty = \"seal\"", ""),
    (
        "keyring[].undecryptable.deliver",
        "",
        "undecryptable = { deliver = \"envelope\" }",
    ),
    (
        "keyring[].undecryptable.limit",
        "",
        "undecryptable = { limit = \"1h\", at-limit = \"terminate\" }",
    ),
    (
        "keyring[].undecryptable.at-limit",
        "undecryptable = { limit = \"1h\", at-limit = \"terminate\" }",
        "undecryptable = { limit = \"1h\", at-limit = \"envelope\" }",
    ),
];

/// The configuration with this text in place of the key.
fn with(path: &str, text: &str) -> Settings {
    let file = match path.strip_prefix("keyring[].") {
        Some("subjects") if !text.is_empty() => KEYRING.replace("subjects = [\"agents.>\"]", text),
        Some(_) => format!("{KEYRING}{text}"),
        None => text.to_owned(),
    };
    settings(&checked(&file))
}

fn weaker(old: &Settings, new: &Settings) -> Vec<String> {
    let changes = weakened(old, new).into_iter();
    changes.map(|change| change.key.to_string()).collect()
}

#[test]
fn every_key_of_the_configuration_has_been_judged_once() {
    let mut judged: Vec<_> = KEYS.iter().map(|(path, _)| *path).collect();
    let mut known: Vec<_> = schema::keys().map(|key| key.path).collect();
    judged.sort_unstable();
    known.sort_unstable();
    assert_eq!(judged, known);
}

#[test]
fn every_key_that_can_weaken_is_in_the_settings_and_noticed_that_way_round_alone() {
    for (path, way) in KEYS {
        let pairs = PAIRS.iter().filter(|(key, ..)| key == path);
        let pairs: Vec<_> = pairs.collect();
        assert_eq!(pairs.is_empty(), *way == Weakening::Nothing, "{path}");
        for (_, strong, weak) in pairs {
            let (strong, weak) = (with(path, strong), with(path, weak));
            let key = path.replace("[]", ".agents");
            assert!(weaker(&strong, &weak).contains(&key), "{path}");
            let back = weaker(&weak, &strong);
            assert_eq!(
                back.contains(&key),
                *way == Weakening::Any || *path == "tls.client-ca",
                "{path} {back:?}"
            );
        }
    }
}

#[test]
fn every_setting_is_a_key_of_the_configuration() {
    let all = PAIRS.iter().map(|(path, _, weak)| with(path, weak));
    for settings in all {
        for key in settings.keys() {
            let path = key.replace("keyring.agents", "keyring[]");
            let path = path.replace("keyring.default", "keyring[]");
            assert!(weakening(&path).is_some(), "{key}");
        }
    }
}

fn of(keyrings: &str) -> Settings {
    settings(&checked(&format!(
        "servers-verify = [\"user\"]\n{keyrings}"
    )))
}

#[test]
fn new_keyring_is_judged_by_those_from_which_it_takes_subjects() {
    let all = "[[keyring]]\nname = \"all\"\nsubjects = [\">\"]\n";
    let lax = "[[keyring]]\nname = \"lax\"\nsubjects = [\"a.>\"]\nbind = \"keyring\"\n";
    let both = of(&format!("{all}{lax}"));
    assert_eq!(weaker(&of(all), &both), ["keyring.lax.bind"]);
    // Subjects that no keyring covered before, or that a more specific pattern keeps, are not taken from another keyring.
    let agents = all.replace('>', "b.>");
    assert!(weaker(&of(&agents), &of(&format!("{agents}{lax}"))).is_empty());
    assert!(weaker(&of(lax), &of(&format!("{lax}{all}"))).is_empty());
}

#[test]
fn subjects_that_other_patterns_of_the_keyring_cover_are_not_taken_out() {
    let with = |subjects: &str| {
        of(&format!(
            "[[keyring]]\nname = \"k\"\nsubjects = [{subjects}]\n"
        ))
    };
    assert!(weaker(&with("\"a.b\", \"a.c\""), &with("\"a.*\"")).is_empty());
    assert_eq!(
        weaker(&with("\"a.*\""), &with("\"a.b\"")),
        ["keyring.k.subjects"]
    );
    assert_eq!(
        weaker(
            &with("\"a.*\""),
            &of("[[keyring]]\nname = \"l\"\nsubjects = [\"b\"]\n")
        ),
        ["keyring.k.subjects"]
    );
}

/// Keys that change how clients are served without weakening protection.
const OTHER_PAIRS: &[(&str, &str, &str)] = &[
    (
        "keyring[].subjects",
        "",
        "subjects = [\"agents.>\", \"b.>\"]",
    ),
    (
        "keyring[].undecryptable.nak-delay",
        "",
        "undecryptable = { nak-delay = \"7s\" }",
    ),
    ("keyring[].rotate.jitter", "", "rotate = { jitter = 7 }"),
];

/// A process that drains compares this digest with that of the one that took over.
#[test]
fn digest_is_another_for_every_key_that_says_how_clients_are_served() {
    let pairs = || PAIRS.iter().chain(OTHER_PAIRS);
    for (path, one, other) in pairs() {
        let (one, other) = (with(path, one), with(path, other));
        assert_ne!(one.digest(), other.digest(), "{path}");
    }
    let whole = ["keyring[]", "inbox-prefixes", "jetstream.api-prefixes"];
    // Tables, whose keys stand by themselves, and the name, which is part of each.
    let parts = [
        "name",
        "rotate",
        "limit",
        "undecryptable",
        "aliases[].from",
        "aliases[].to",
    ];
    for (path, _) in KEYS
        .iter()
        .filter(|(key, _)| whole.iter().any(|part| key.starts_with(part)))
    {
        let name = path.strip_prefix("keyring[].").unwrap_or(path);
        let walked = pairs().any(|(key, ..)| key == path);
        assert!(walked || parts.contains(&name), "{path}");
    }
}

#[test]
fn digest_tells_two_configurations_apart_and_not_their_spelling() {
    let digest = |text: &str| settings(&checked(text)).digest();
    assert_eq!(
        digest(""),
        digest(
            "relay-only = false\n[[keyring]]\nname = \"default\"\nsubjects = \">\"\nplaintext = \"reject\""
        )
    );
    assert_ne!(digest(""), digest("relay-only = true"));
    let list = |list: &str| {
        digest(&format!(
            "servers-verify = [\"user\"]\n[[keyring]]\nname = \"a\"\nsubjects = \"a\"\npublish-by = [{list}]"
        ))
    };
    let (one, two) = (
        format!("\"{USER}\", \"user:b\""),
        format!("\"user:b\", \"{USER}\""),
    );
    assert_eq!(list(&one), list(&two));
}
