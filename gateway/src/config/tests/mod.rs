//! Tests of the configuration.

mod control_section;
mod examples;
mod keyring_mistakes;
mod mistakes;
mod pages;
mod protection;
mod proxy_section;
mod reference;
mod strictness;
mod tls_sections;

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use proptest::prelude::*;

use super::*;
use crate::custody::{Custody, PassphraseSource};
use crate::envelope::Suite;
use crate::policy::{Bind, Plaintext, Route};

/// 2026-11-23, noon, in UTC.
const NOON: Duration = Duration::from_secs(1_795_435_200);

fn environment() -> Environment {
    Environment {
        now: SystemTime::UNIX_EPOCH.checked_add(NOON).unwrap(),
        state: Some(PathBuf::from("/state")),
        passphrase: None,
    }
}

fn read(text: &str) -> Result<(GatewayConfig, Vec<Finding>), Errors> {
    check_text("gw.toml", text, Path::new("/etc/keyway"), &environment())
}

fn checked(text: &str) -> GatewayConfig {
    match read(text) {
        Ok((checked, _)) => checked,
        Err(errors) => panic!("{errors}"),
    }
}

fn warnings(text: &str) -> Vec<String> {
    let (_, warnings) = read(text).unwrap();
    warnings.iter().map(ToString::to_string).collect()
}

/// The errors of `text`, without the file name.
#[track_caller]
fn said(text: &str, expected: &[&str]) {
    let errors = read(text).expect_err("a mistake");
    let said: Vec<_> = errors
        .findings()
        .iter()
        .map(|finding| finding.to_string().replace("gw.toml:", ""))
        .collect();
    assert_eq!(said, expected);
}

#[test]
fn empty_file_is_every_default() {
    let (checked, warnings) = defaults(&environment()).unwrap();
    assert!(warnings.is_empty());
    let (ours, theirs) = (&checked.dataplane, crate::dataplane::Config::default());
    assert_eq!(format!("{ours:?}"), format!("{theirs:?}"));
    assert_eq!(checked.state, Path::new("/state"));
    let listen = "127.0.0.1:4290".parse().ok();
    let socket = PathBuf::from("/state/admin.sock");
    assert_eq!(
        checked.admin,
        Admin {
            listen,
            socket,
            tokens: Vec::new()
        }
    );
    let (format, level) = (LogFormat::Text, tracing::Level::INFO);
    assert_eq!(checked.log, Log { format, level });
    assert_eq!(checked.custody, Custody::File);
}

#[test]
fn file_without_keyrings_seals_everything_under_default() {
    let checked = checked("");
    let expected = Keyring {
        name: "default".parse().unwrap(),
        terms: Terms {
            suite: Suite::Aes256Gcm,
            rotate: Rotate {
                after: Duration::from_hours(24),
                jitter: 10,
                messages: 1_000_000_000,
                bytes: 1 << 40,
            },
            limit: Limit {
                messages: 1 << 32,
                bytes: 4 << 40,
            },
            overlap: Duration::from_mins(10),
            retain: Retain::Destroy,
            hold: Duration::from_hours(24),
            destroy: DestroyApproval::Automatic,
            open: OpenPolicy::Suspended,
        },
    };
    assert_eq!(checked.keyrings, [expected]);
    assert!(matches!(
        checked.policy.route(b"anything"),
        Route::Keyring(_)
    ));
}

#[test]
fn every_key_of_the_network_is_read() {
    let text = r#"
        listen = ["127.0.0.1:1", "[::1]:2", 13, "14", ":15", "localhost:16", "n1:17", "[fe80::1%eth0]:18"]
        servers = ["nats://n1.example:3/", "n2.example", "nats://[::1]:5", "10.0.0.1:6", "[fe80::1%eth0]"]
        relay-only = true
        advertise = ["gw1.example:4223", "[::1]:4223"]
        [limits]
        max-control-line = 4096
        miss-wait = "0s"
        dial-timeout = "1s 500ms"
        handshake-timeout = "3s"
        workers = 3
        [shutdown]
        grace = "0s"
        spread = "2m"
        drain = "1m"
        "#;
    let network = checked(text).dataplane;
    let servers: Vec<_> = network.servers.iter().map(ToString::to_string).collect();
    assert_eq!(
        servers,
        [
            "n1.example:3",
            "n2.example:4222",
            "[::1]:5",
            "10.0.0.1:6",
            "[fe80::1%eth0]:4222"
        ]
    );
    let listen: Vec<_> = network.listen.iter().map(ToString::to_string).collect();
    assert_eq!(
        listen,
        [
            "127.0.0.1:1",
            "[::1]:2",
            "0.0.0.0:13",
            "0.0.0.0:14",
            "0.0.0.0:15",
            "localhost:16",
            "n1:17",
            "[fe80::1%eth0]:18"
        ]
    );
    assert_eq!(network.advertise, ["gw1.example:4223", "[::1]:4223"]);
    assert!(network.relay_only);
    assert_eq!((network.max_control_line, network.workers), (4096, Some(3)));
    let times = [
        network.miss_wait,
        network.dial_timeout,
        network.handshake_timeout,
    ];
    assert_eq!(times.map(|time| time.as_millis()), [0, 1500, 3000]);
    let shutdown = network.shutdown;
    let times = [shutdown.grace, shutdown.spread, shutdown.drain];
    assert_eq!(times.map(|time| time.as_secs()), [0, 120, 60]);
}

#[test]
fn every_key_of_operation_is_read() {
    let text = r#"
        state = "state"
        admin = { listen = "off", socket = "/run/keyway.sock" }
        log = { format = "json", level = "trace" }
        custody = { kind = "passphrase", passphrase-fd = 3 }
        jetstream.api-prefixes = ["JS.acme.API", "JS.other.API."]
        "#;
    let checked = checked(text);
    assert_eq!(checked.state, Path::new("/etc/keyway/state"));
    let socket = PathBuf::from("/run/keyway.sock");
    assert_eq!(
        checked.admin,
        Admin {
            listen: None,
            socket,
            tokens: Vec::new()
        }
    );
    let (format, level) = (LogFormat::Json, tracing::Level::TRACE);
    assert_eq!(checked.log, Log { format, level });
    assert_eq!(
        checked.custody,
        Custody::Passphrase(PassphraseSource::Descriptor(3))
    );
    assert_eq!(
        checked.policy.route(b"JS.other.API.STREAM.LIST"),
        Route::Pass
    );
}

#[test]
fn every_key_of_a_keyring_is_read() {
    let text = r#"
        limits.max-message = 2048
        [[keyring]]
        name = "one"
        subjects = "one.>"
        suite = "aes-256-gcm-siv"
        rotate = { after = "90d", jitter = 50, messages = 0x10, bytes = "1 KiB" }
        limit = { messages = 1_000, bytes = 2048 }
        overlap = "1h"
        open-suspended = false
        open-compromised = true
        retain = "archive"
        hold = "7d"
        destroy = "approved"
        bind = "keyring"
        plaintext = "accept"
        until = 2026-11-23
        "#;
    let checked = checked(text);
    let expected = Keyring {
        name: "one".parse().unwrap(),
        terms: Terms {
            suite: Suite::Aes256GcmSiv,
            rotate: Rotate {
                after: Duration::from_hours(24 * 90),
                jitter: 50,
                messages: 16,
                bytes: 1024,
            },
            limit: Limit {
                messages: 1000,
                bytes: 2048,
            },
            overlap: Duration::from_hours(1),
            retain: Retain::Archive,
            hold: Duration::from_hours(24 * 7),
            destroy: DestroyApproval::Approved,
            open: OpenPolicy::Compromised,
        },
    };
    assert_eq!(checked.keyrings, [expected]);
    let until = SystemTime::UNIX_EPOCH + NOON + Duration::from_hours(12);
    let rule = &checked.policy.keyrings()[0];
    assert_eq!(
        (&rule.bind, rule.plaintext),
        (&Bind::Keyring, Plaintext::Accept { until })
    );
}

#[test]
fn alias_of_a_keyring_is_read() {
    let text = r#"
        [[keyring]]
        name = "two"
        subjects = ["two.>", "eu.two.*"]
        aliases = [{ from = "two.*", to = "eu.two.*" }]
        "#;
    let rule = checked(text).policy.keyrings()[0].clone();
    assert!(matches!(rule.bind, Bind::Subject { aliases } if aliases.len() == 1));
}

#[test]
fn passphrase_file_starts_at_the_directory_of_the_file() {
    let custody = checked("custody = { kind = \"passphrase\", passphrase-file = \"p\" }").custody;
    assert_eq!(
        custody,
        Custody::Passphrase(PassphraseSource::File(PathBuf::from("/etc/keyway/p")))
    );
}

#[test]
fn empty_list_of_keyrings_is_the_default_keyring() {
    assert_eq!(checked("keyring = []").keyrings[0].name.as_str(), "default");
}

#[test]
fn state_directory_follows_the_environment() {
    let with = |set: &[(&str, &str)]| {
        environment::state_directory(|name| {
            let found = set.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| value.into())
        })
    };
    let all = [
        ("KEYWAY_STATE_DIR", "/k"),
        ("XDG_STATE_HOME", "/x"),
        ("HOME", "/h"),
    ];
    assert_eq!(with(&all), Some("/k".into()));
    assert_eq!(with(&all[1..]), Some("/x/keyway".into()));
    assert_eq!(with(&all[2..]), Some("/h/.local/state/keyway".into()));
    assert_eq!(with(&[]), None);
    assert_eq!(
        with(&[
            ("KEYWAY_STATE_DIR", ""),
            ("XDG_STATE_HOME", "x"),
            ("HOME", "/h")
        ]),
        Some("/h/.local/state/keyway".into())
    );
}

#[test]
fn second_look_is_asked_for_where_it_is_due() {
    let text = r#"
listen = "0.0.0.0:4223"
servers = "nats://n1.example:4222"
relay-only = true
[admin]
listen = "0.0.0.0:4290"
[[keyring]]
name = "a"
subjects = "a.>"
plaintext = "accept"
until = "2027-01-01"
"#;
    assert_eq!(
        warnings(text),
        [
            "gw.toml:2:10: listen: 0.0.0.0:4223 can be reached from other hosts, and clients speak to it without TLS\n  help: add a section [tls], listen on a loopback address, or keep that network private",
            "gw.toml:3:11: servers: `n1.example` is reached without TLS: subjects, headers and credentials can be read on the way\n  help: write `tls://`, or keep that network private",
            "gw.toml:4:14: relay-only: no payload is sealed or opened\n  help: remove it, or set `relay-only = false`, to protect what the keyrings cover",
            "gw.toml:6:10: admin.listen: 0.0.0.0:4290 can be reached from other hosts, and has no access control\n  help: listen on a loopback address, or keep that network to operators",
            "gw.toml:10:13: keyring.plaintext: plaintext is delivered on protected subjects\n  help: write `plaintext = \"reject\"` as soon as every publisher is behind a gateway",
        ]
    );
    assert!(warnings("listen = \"[::1]:1\"\nservers = \"localhost\"").is_empty());
    let several =
        warnings("listen = [\"[::]:1\", \"0.0.0.0:2\"]\nservers = [\"n1\", \"localhost\", \"n2\"]");
    assert!(
        several[0].contains("[::]:1, 0.0.0.0:2 can be"),
        "{several:?}"
    );
    assert!(several[1].contains("`n1`, `n2` are reached"), "{several:?}");
}

proptest! {
    #[test]
    fn any_bytes_get_a_verdict(data in prop::collection::vec(any::<u8>(), 0..300)) {
        check::never_panics(&data);
    }

    #[test]
    fn any_lines_of_known_words_get_a_verdict(lines in prop::collection::vec(line(), 0..20)) {
        check::never_panics(lines.join("\n").as_bytes());
    }
}

/// Lines that are valid TOML, with values that may be invalid.
fn line() -> impl Strategy<Value = String> {
    let names: Vec<_> = schema::keys()
        .filter_map(|key| key.path.rsplit('.').next())
        .collect();
    let values = [
        "1",
        "-1",
        "true",
        "\"\"",
        "\"a.>\"",
        "[]",
        "[\"a\", 1]",
        "{}",
        "{ a = 1 }",
        "\"1s\"",
        "2027-01-01",
        "\"accept\"",
        "1.5",
        "[",
    ];
    let pair = (
        prop::sample::select(names),
        prop::sample::select(values.to_vec()),
    );
    let pair = pair.prop_map(|(name, value)| format!("{name} = {value}"));
    let heads = [
        "[admin]",
        "[[keyring]]",
        "[limits]",
        "[custody]",
        "[log]",
        "[jetstream]",
        "[keyring]",
        "[tls]",
        "[server-tls]",
        "[x",
        "é",
    ];
    let examples: Vec<_> = schema::keys().map(|key| key.example.to_owned()).collect();
    prop_oneof![4 => pair, 2 => prop::sample::select(examples), 1 => prop::sample::select(heads.to_vec()).prop_map(str::to_owned)]
}

#[test]
fn list_of_clients_that_a_relay_does_not_keep_is_warned_of() {
    let keyrings = "[[keyring]]\nname = \"a\"\nsubjects = \"a.>\"\npublish-by = \"dns:a\"\ndeliver-to = []\n[[keyring]]\nname = \"b\"\nsubjects = \"b.>\"\n";
    assert!(warnings(keyrings).is_empty());
    let said = warnings(&format!("relay-only = true\n{keyrings}"));
    let lists: Vec<_> = said
        .iter()
        .filter(|line| line.contains("kept out"))
        .collect();
    assert!(
        lists[0].starts_with("gw.toml:5:14: keyring.publish-by: "),
        "{lists:?}"
    );
    assert!(
        lists[1].starts_with("gw.toml:6:14: keyring.deliver-to: "),
        "{lists:?}"
    );
    assert_eq!(lists.len(), 2);
}
