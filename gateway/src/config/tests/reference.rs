//! `docs/configuration.md` agrees with the schema: the part between its two marks is generated.
//!
//! After a change of the schema: `cargo test -p keyway --lib write_the_reference_page -- --ignored`.

use std::fmt::Write;
use std::fs;

use super::examples::repository;
use super::schema::{Default, Key, Kind, TakesEffect, keys};
use super::*;

const BEGIN: &str = "<!-- keys: begin -->\n";
const END: &str = "<!-- keys: end -->\n";

fn page() -> (PathBuf, String) {
    let path = repository().join("docs/configuration.md");
    let page = fs::read_to_string(&path).unwrap();
    (path, page)
}

/// The page's part before the keys, the keys, and the part behind them.
fn parts(page: &str) -> (&str, &str, &str) {
    let (before, rest) = page.split_once(BEGIN).unwrap();
    let (keys, after) = rest.split_once(END).unwrap();
    (before, keys, after)
}

fn rendered() -> String {
    let mut page = String::new();
    for key in keys() {
        render(&mut page, key).unwrap();
    }
    page.push('\n');
    page
}

fn render(page: &mut String, key: &Key) -> std::fmt::Result {
    let table = matches!(key.kind, Kind::Table | Kind::Tables);
    let path = key.path.replace("[]", "");
    let level = if table && !path.contains('.') {
        "##"
    } else {
        "###"
    };
    writeln!(page, "\n{level} `{path}`\n\n{}\n", key.effect)?;
    let (kind, form) = form(key.kind);
    let separator = if form.is_empty() { "" } else { ": " };
    writeln!(page, "- type: {kind}{separator}{form}")?;
    match key.default {
        Default::Value(text) => writeln!(page, "- default: `{text}`")?,
        Default::Described(words) => writeln!(page, "- default: {words}")?,
        Default::Required => writeln!(page, "- required")?,
    }
    match key.takes_effect {
        TakesEffect::AtReload => writeln!(page, "- a change takes effect: at a reload")?,
        TakesEffect::AtRestart => writeln!(page, "- a change takes effect: at a restart")?,
        TakesEffect::ByKey => {}
    }
    writeln!(page, "- example: `{}`", key.example)
}

/// The type of a key's values, and their form and range.
fn form(kind: Kind) -> (&'static str, String) {
    let range = |least: String, most: String| match &*least {
        "0" => format!("{least} to {most}"),
        "0 s" => format!("up to {most}"),
        _ => format!("from {least} to {most}").replace(" to any", ""),
    };
    let duration = |least, most| format!("duration, {}", range(span(least), span(most)));
    let words = |words: &[&str]| {
        words
            .iter()
            .map(|word| format!("`{word}`"))
            .collect::<Vec<_>>()
    };
    match kind {
        Kind::Table => ("table", String::new()),
        Kind::Tables => ("list of tables", String::new()),
        Kind::Boolean => ("true or false", String::new()),
        Kind::Text(form) => ("text", form.to_owned()),
        Kind::Texts(form) => ("text, or a list of it", form.to_owned()),
        Kind::Words(known) => {
            let known = words(known);
            let (last, first) = known.split_last().unwrap();
            ("text", format!("{} or {last}", first.join(", ")))
        }
        Kind::WordList(known) => ("text, or a list of it", words(known).join(", ")),
        Kind::Date(form) => ("date", form.to_owned()),
        Kind::Integer(form) => ("integer", form.to_owned()),
        Kind::Count(what, least, most) => (
            "integer",
            format!("{what}, {}", range(number(least), number(most))),
        ),
        Kind::Size(least, most) => (
            "integer or text",
            format!("bytes, {}", range(bytes(least), bytes(most))),
        ),
        Kind::Duration(least, most) => ("text", duration(least, most)),
        Kind::ShorterThan(other, least, most) => (
            "text",
            format!("{}, below `{other}`", duration(least, most)),
        ),
    }
}

fn number(count: u64) -> String {
    match count {
        u64::MAX => "any".to_owned(),
        1_000_000.. => format!(
            "{},{:03},{:03}",
            count / 1_000_000,
            count / 1_000 % 1_000,
            count % 1_000
        ),
        _ => count.to_string(),
    }
}

fn bytes(count: u64) -> String {
    let units = [
        (1 << 40, "TiB"),
        (1 << 30, "GiB"),
        (1 << 20, "MiB"),
        (1 << 10, "KiB"),
    ];
    match count {
        ..1024 | u64::MAX => number(count),
        _ => in_units(count, &units),
    }
}

fn span(span: Duration) -> String {
    let mut units = vec![
        (365 * 86_400, "years"),
        (86_400, "d"),
        (3_600, "h"),
        (60, "min"),
        (1, "s"),
    ];
    if span == Duration::from_hours(24) {
        units.remove(1);
    }
    match span.as_secs() {
        0 if span.is_zero() => "0 s".to_owned(),
        0 => format!("{} ms", span.as_millis()),
        seconds => in_units(seconds, &units),
    }
}

fn in_units(value: u64, units: &[(u64, &str)]) -> String {
    let (one, unit) = units.iter().find(|(one, _)| value >= *one).unwrap();
    format!("{} {unit}", value.checked_div(*one).unwrap())
}

#[test]
fn reference_page_says_what_the_schema_says() {
    let (_, page) = page();
    let (_, written, _) = parts(&page);
    for key in keys() {
        let heading = format!("# `{}`\n", key.path.replace("[]", ""));
        assert!(
            written.contains(&heading),
            "docs/configuration.md does not name `{}`",
            key.path
        );
    }
    assert!(
        written == rendered(),
        "docs/configuration.md is out of date: see the top of this file"
    );
}

#[test]
#[ignore = "writes docs/configuration.md"]
fn write_the_reference_page() {
    let (path, page) = page();
    let (before, _, after) = parts(&page);
    let page = format!("{before}{BEGIN}{}{END}{after}", rendered());
    fs::write(path, page).unwrap();
}

/// A file with the key's example in its section, and the other keys that it needs.
fn around(key: &Key) -> String {
    let keyring = "[[keyring]]\nname = \"x\"\nsubjects = [\"orders.*\", \"eu.orders.*\"]\n";
    let section = key.path.rsplit_once('.').map_or("", |(section, _)| section);
    let name = key.path.rsplit('.').next().unwrap_or_default();
    let with = match name {
        "until" => "plaintext = \"accept\"\n",
        "plaintext" if section != "tls" => "until = 2027-06-30\n",
        "user" => "password-file = \"x\"\n",
        "password-file" => "user = \"x\"\n",
        "passphrase-file" | "passphrase-fd" => "kind = \"passphrase\"\n",
        "kind" => "passphrase-fd = 3\n",
        "clients" => "client-ca = \"x\"\n",
        "client-ca" => "clients = \"required\"\n",
        "crl" => "clients = \"required\"\nclient-ca = \"x\"\n",
        "wait" => "handshake = \"automatic\"\n",
        _ => "",
    };
    let example = key.example;
    match (section, name) {
        ("", "keyring") => keyring.to_owned(),
        ("", "tls") => tls_without(""),
        ("keyring[]", "name") => format!("[[keyring]]\n{example}\nsubjects = \"x\"\n"),
        ("keyring[]", "subjects") => format!("[[keyring]]\nname = \"x\"\n{example}\n"),
        ("keyring[].aliases[]", "from") => {
            format!("{keyring}aliases = [{{ {example}, to = \"eu.orders.*\" }}]\n")
        }
        ("keyring[].aliases[]", _) => {
            format!("{keyring}aliases = [{{ from = \"orders.*\", {example} }}]\n")
        }
        ("admin.tokens[]", "name") => {
            format!("[admin]\ntokens = [{{ {example}, file = \"x\" }}]\n")
        }
        ("admin.tokens[]", _) => format!("[admin]\ntokens = [{{ name = \"x\", {example} }}]\n"),
        ("", _) => format!("{example}\n"),
        (section, _) if section.starts_with("keyring[]") => {
            format!("servers-verify = [\"user\", \"nkey\"]\n{keyring}{with}{example}\n")
        }
        ("tls", name) => format!("{}{with}{example}\n", tls_without(name)),
        ("server-tls", "certificate") => format!("[server-tls]\n{example}\nkey = \"x\"\n"),
        ("server-tls", "key") => format!("[server-tls]\n{example}\ncertificate = \"x\"\n"),
        ("server-tls", "handshake-first") => {
            format!("servers = \"tls://x\"\n[server-tls]\n{example}\n")
        }
        (section, _) => format!("[{section}]\n{with}{example}\n"),
    }
}

/// The section with its two required keys, except `name`.
fn tls_without(name: &str) -> String {
    let two = ["certificate", "key"];
    let lines = two.into_iter().filter(|key| *key != name);
    let lines: String = lines.map(|key| format!("{key} = \"x\"\n")).collect();
    format!("[tls]\n{lines}")
}

#[test]
fn every_example_of_the_schema_is_valid() {
    for key in keys() {
        checked(&around(key));
    }
}

#[test]
fn every_default_of_the_schema_is_what_an_absent_key_means() {
    let absent = |text: &str| format!("{:?}", checked(text));
    for key in keys() {
        let Default::Value(value) = key.default else {
            continue;
        };
        let name = key.path.rsplit('.').next().unwrap_or_default();
        let section = key.path.rsplit_once('.').map_or("", |(section, _)| section);
        let keyring = "keyring = [{ name = \"x\", subjects = \"x\"";
        let (with, without) = match section.strip_prefix("keyring[]") {
            None if section.is_empty() => (format!("{name} = {value}"), String::new()),
            // Without these sections there is no connection, or no TLS, at all.
            None if section == "control" || section == "server-tls" => (
                format!("{section}.{name} = {value}"),
                format!("[{section}]"),
            ),
            None if section == "tls" => {
                let mut rest = tls_without("");
                if name == "wait" {
                    rest.push_str("handshake = \"automatic\"\n");
                }
                (format!("{rest}{name} = {value}"), rest)
            }
            None => (format!("{section}.{name} = {value}"), String::new()),
            Some("") => (
                format!("{keyring}, {name} = {value} }}]"),
                format!("{keyring} }}]"),
            ),
            Some(inner) => {
                let inner = inner.trim_start_matches('.');
                (
                    format!("{keyring}, {inner}.{name} = {value} }}]"),
                    format!("{keyring} }}]"),
                )
            }
        };
        assert_eq!(absent(&with), absent(&without), "{}", key.path);
    }
}
