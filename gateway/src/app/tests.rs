//! Every key of the configuration at a reload: taken, or named as one whose change takes a restart.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use super::certificates::Certificates;
use super::reload::{ConfigSource, Reloader};
use crate::admin::Reload;
use crate::audit::{Actor, Channel};
use crate::clock::Clock;
use crate::config::schema::{self, Key, Kind, TakesEffect};
use crate::config::{Environment, GatewayConfig, check_text};
use crate::custody::PassphraseSource;
use crate::operations::{Caller, Reloaded};

fn checked(text: &str) -> GatewayConfig {
    let environment = Environment {
        now: SystemTime::UNIX_EPOCH,
        state: Some("/state".into()),
        // As from the command line, so that `custody.kind` can stand alone.
        passphrase: Some(PassphraseSource::Descriptor(0)),
    };
    let read = check_text("gw.toml", text, Path::new("/etc"), &environment);
    read.unwrap_or_else(|errors| panic!("{errors}\n{text}")).0
}

/// What a gateway that was started with one file makes of the other, and the log level that it sets.
fn reload(old: &str, new: &str) -> (Reloaded, tracing::Level) {
    let (old, new) = (checked(old), new.to_owned());
    let level = Arc::new(Mutex::new(old.log.level));
    let set = Arc::clone(&level);
    let source = ConfigSource {
        read: Box::new(move || Ok((checked(&new), Vec::new()))),
        level: Box::new(move |level| *set.lock().unwrap() = level),
    };
    let nothing = crate::dataplane::Config::default();
    let certificates = Certificates::load(&nothing, &Clock::system()).unwrap();
    let reloader = Arc::new(Reloader::new(source, Arc::new(certificates), &old));
    let caller = Caller {
        who: Actor::Gateway,
        through: Channel::Signal,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let reloaded = runtime.block_on(reloader.reload(caller)).unwrap();
    let level = *level.lock().unwrap();
    (reloaded, level)
}

/// Two values of a key, in TOML.
fn two_values(key: &Key) -> [String; 2] {
    let quoted = |values: [&str; 2]| values.map(|value| format!("\"{value}\""));
    let counted = |least: u64| [0, 1].map(|more| least.saturating_add(more).to_string());
    match (key.path, key.kind) {
        // Above `rotate`, and within the bound of the cipher.
        ("keyring[].limit.messages", _) => counted(2_000_000_000),
        ("keyring[].limit.bytes", _) => counted(2 << 40),
        ("listen" | "admin.listen", _) => quoted(["127.0.0.1:1", "127.0.0.1:2"]),
        ("advertise", _) => quoted(["a:1", "b:1"]),
        ("servers" | "control.servers", _) => quoted(["tls://a", "tls://b"]),
        ("proxy.accept-from", _) => quoted(["10.0.0.1", "10.0.0.2"]),
        ("keyring[].publish-by" | "keyring[].deliver-to", _) => quoted(["user:a", "user:b"]),
        // Without a certificate nothing else can be asked of clients.
        ("tls.clients", Kind::Words(words)) => quoted([words[1], words[2]]),
        ("keyring[].until", _) => ["2027-06-30", "2027-07-01"].map(str::to_owned),
        (_, Kind::Boolean) => ["true", "false"].map(str::to_owned),
        (_, Kind::Text(_) | Kind::Texts(_)) => quoted(["a", "b"]),
        (_, Kind::Words(words) | Kind::WordList(words)) => quoted([words[0], words[1]]),
        (_, Kind::Integer(_)) => counted(3),
        (_, Kind::Count(_, least, _) | Kind::Size(least, _)) => counted(least),
        (_, Kind::Duration(least, _) | Kind::ShorterThan(_, least, _)) => {
            let spans = [0, 1].map(|more| least.saturating_add(Duration::from_secs(more)));
            spans.map(|span| format!("\"{}\"", humantime::format_duration(span)))
        }
        (_, Kind::Table | Kind::Tables | Kind::Date(_)) => panic!("{}", key.path),
    }
}

/// Two files that differ in the key alone, or in what else its value needs.
fn two_files(key: &Key) -> [String; 2] {
    match key.path {
        "keyring" => [&["a"][..], &["a", "b"]].map(|names| {
            let one = |name| format!("[[keyring]]\nname = \"{name}\"\nsubjects = \"{name}\"\n");
            names.iter().map(one).collect()
        }),
        "keyring[].aliases" => two_keyrings("", "aliases = [{ from = \"a\", to = \"b\" }]"),
        "admin.tokens" => [String::new(), token("name = \"a\", file = \"a\"")],
        "tls" => [String::new(), tls("")],
        "server-tls" | "control" => [String::new(), format!("[{}]", key.path)],
        "keyring[].plaintext" => two_keyrings("", "plaintext = \"accept\", until = 2027-06-30"),
        path => two_values(key).map(|value| file(path, &value)),
    }
}

/// A file with this value, and what else that needs.
fn file(path: &str, value: &str) -> String {
    let name = path.rsplit('.').next().unwrap();
    let with = match path {
        "keyring[].name" => {
            return format!("keyring = [{{ name = {value}, subjects = \"a\" }}]");
        }
        "keyring[].subjects" => {
            return format!("keyring = [{{ name = \"k\", subjects = {value} }}]");
        }
        "keyring[].aliases[].from" => {
            return keyring(&format!("aliases = [{{ from = {value}, to = \"c\" }}]"));
        }
        "keyring[].aliases[].to" => {
            return keyring(&format!("aliases = [{{ from = \"c\", to = {value} }}]"));
        }
        "admin.tokens[].name" => return token(&format!("name = {value}, file = \"a\"")),
        "admin.tokens[].file" => return token(&format!("name = \"a\", file = {value}")),
        "keyring[].until" => "plaintext = \"accept\", ",
        "keyring[].undecryptable.limit" => "undecryptable.at-limit = \"envelope\", ",
        "keyring[].undecryptable.at-limit" => "undecryptable.limit = \"1h\", ",
        "custody.passphrase-file" | "custody.passphrase-fd" => "kind = \"passphrase\"\n",
        "control.user" => "password-file = \"a\"\n",
        "control.password-file" => "user = \"a\"\n",
        "tls.clients" => "client-ca = \"a\"\n",
        "tls.client-ca" => "clients = \"required\"\n",
        "tls.crl" => "clients = \"required\"\nclient-ca = \"a\"\n",
        "tls.wait" => "handshake = \"automatic\"\n",
        "tls.certificate" => return format!("[tls]\nkey = \"k\"\ncertificate = {value}"),
        "tls.key" => return format!("[tls]\ncertificate = \"c\"\nkey = {value}"),
        "server-tls.certificate" => "key = \"k\"\n",
        "server-tls.key" => "certificate = \"c\"\n",
        _ => "",
    };
    match path.split_once('.') {
        None => format!("{path} = {value}"),
        Some(("keyring[]", inner)) => keyring(&format!("{with}{inner} = {value}")),
        Some(("tls", _)) => tls(&format!("{with}{name} = {value}")),
        Some((section, _)) => format!("servers = \"tls://a\"\n[{section}]\n{with}{name} = {value}"),
    }
}

fn two_keyrings(one: &str, other: &str) -> [String; 2] {
    [one, other].map(keyring)
}

fn keyring(keys: &str) -> String {
    let fixed = "name = \"k\", subjects = [\"a\", \"b\", \"c\"]";
    let keys = if keys.is_empty() {
        String::new()
    } else {
        format!(", {keys}")
    };
    format!("servers-verify = \"user\"\nkeyring = [{{ {fixed}{keys} }}]")
}

fn tls(keys: &str) -> String {
    format!("[tls]\ncertificate = \"c\"\nkey = \"k\"\n{keys}")
}

fn token(keys: &str) -> String {
    format!("admin.tokens = [{{ {keys} }}]")
}

#[test]
fn change_of_a_key_is_taken_or_named_as_one_for_a_restart_as_the_schema_says() {
    for key in schema::keys() {
        let path = key.path.replace("[]", "");
        if key.takes_effect == TakesEffect::ByKey {
            continue;
        }
        let [old, new] = two_files(key);
        let (reloaded, level) = reload(&old, &new);
        let (
            Reloaded {
                applied, restart, ..
            },
            about,
        ) = (&reloaded, format!("{path}: {reloaded:?}"));
        let told = match key.path {
            "keyring" => "keyring `b` is new".to_owned(),
            "keyring[].aliases[].from" | "keyring[].aliases[].to" => {
                "keyring.k.aliases: ".to_owned()
            }
            other => format!("{}: ", other.replace("[]", ".k")),
        };
        match key.takes_effect {
            TakesEffect::AtReload => {
                assert!(restart.is_empty(), "{about}");
                assert!(
                    applied.iter().any(|line| line.starts_with(&told)),
                    "{about}"
                );
            }
            TakesEffect::AtRestart => assert_eq!(restart.join(" "), path, "{about}"),
            TakesEffect::ByKey => {}
        }
        assert_eq!(level, checked(&new).log.level, "{about}");
        let (unchanged, _level) = reload(&new, &new);
        assert_eq!(unchanged, Reloaded::default(), "{path}");
    }
}

#[test]
fn another_spelling_of_a_value_is_no_change() {
    let old = "limits.max-message = \"64 KiB\"\nlisten = \"127.0.0.1:4223\"\nlog.format = \"text\"";
    let (reloaded, _level) = reload(old, "limits.max-message = 65_536");
    assert_eq!(reloaded, Reloaded::default());
}

#[test]
fn section_that_comes_or_goes_is_named_without_its_keys() {
    let (with, without) = (tls("handshake = \"first\""), "limits.workers = 1");
    for (old, new) in [(&*with, without), (without, &with)] {
        let (reloaded, _level) = reload(old, new);
        assert_eq!(reloaded.restart, ["limits.workers", "tls"]);
    }
}
