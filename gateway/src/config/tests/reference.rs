//! `docs/configuration.md` agrees with the schema: the part between its two marks is generated.
//!
//! After a change of the schema: `cargo test -p keyway --lib write_the_reference_page -- --ignored`.

use std::fmt::Write;
use std::fs;

use super::examples::repository;
use super::schema::{Default, Key, keys};
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
    let table = key.kind.contains("table");
    let path = key.path.replace("[]", "");
    let level = if table && !path.contains('.') {
        "##"
    } else {
        "###"
    };
    writeln!(page, "\n{level} `{path}`\n\n{}\n", key.effect)?;
    let unit = if key.unit.is_empty() {
        String::new()
    } else {
        format!(": {}", key.unit)
    };
    writeln!(page, "- type: {}{unit}", key.kind)?;
    match key.default {
        Default::Value(text) => writeln!(page, "- default: `{text}`")?,
        Default::Described(words) => writeln!(page, "- default: {words}")?,
        Default::Required => writeln!(page, "- required")?,
    }
    writeln!(page, "- example: `{}`", key.example)
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
