//! Promise: everything in code spans of the documentation exists: fields, words, files, messages and links.
//!
//! Fields of audit lines and records, keys of the configuration, options, metrics and exit codes have tests of their own beside the
//! types that they are compared with.

#![expect(
    clippy::unwrap_used,
    clippy::arithmetic_side_effects,
    reason = "a test stops at the first thing that is not as expected"
)]

use keyway_tests::command::{json, keyway, path};
use keyway_tests::scratch::{self, repository};
use keyway_tests::{Gateway, NatsServer};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// External words: of NATS and its clients, of TLS and certificates, of the system and of other programs; and of examples.
const EXTERNAL_WORDS: &[&str] = &[
    "account_mapping connz client_info default_sentinel deny_purge issuer_account jsz varz leafnode max_value_size no_auth_user",
    "rate_limit_bps tls_handshake_first trusted_keys websocket Nats-Msg-Id Nats-Service-Error Nats-Stream-Source handshakeFirst",
    "CN OU agent-7 billing block_size ADVISORY",
    "CLOCK_BOOTTIME LISTEN_FDS MONOTONIC_USEC NotifyAccess preStop send-proxy send-proxy-v2 bash bash-completion jq sed sha256sum",
    "0387ef645d50980f 5ffbf650 AcMoTwIO daily jobs u001b",
];

/// Pages about measurements, tests and contributions, which name more than this code.
const ABOUT_OTHER_THINGS: [&str; 3] = ["performance.md", "testing.md", "CONTRIBUTING.md"];

/// Every page, by its path.
fn pages() -> Vec<(PathBuf, String)> {
    let docs = files(&repository().join("docs"));
    let others = [
        "README.md",
        "ARCHITECTURE.md",
        "SECURITY.md",
        "CONTRIBUTING.md",
    ];
    let others = others.map(|name| repository().join(name));
    let all = docs.into_iter().chain(others);
    let pages = all.filter(|path| path.extension().is_some_and(|end| end == "md"));
    pages
        .map(|path| (path.clone(), fs::read_to_string(path).unwrap()))
        .collect()
}

/// The files in a folder and in those below it.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    entries
        .flat_map(|path| {
            if path.is_dir() {
                files(&path)
            } else {
                vec![path]
            }
        })
        .collect()
}

/// The text of this repository: sources without comments and unit tests, configurations, and the names of tests.
fn sources() -> String {
    let mut all = String::new();
    for folder in [
        "gateway/src",
        "gateway/envelope/src",
        "loadtest/src",
        "bench",
        "configs",
        "tests",
        ".cargo",
    ] {
        for path in files(&repository().join(folder)) {
            let name = path.file_name().unwrap().to_str().unwrap();
            let is_test = path.components().any(|part| part.as_os_str() == "tests");
            let is_unit_test = folder.starts_with("gateway") && (is_test || name == "tests.rs");
            let end = path
                .extension()
                .and_then(|end| end.to_str())
                .unwrap_or_default();
            all.push_str(path.strip_prefix(repository()).unwrap().to_str().unwrap());
            all.push('\n');
            if !["rs", "toml", "yaml", "service", "socket", "Dockerfile"].contains(&end) {
                continue;
            }
            let text = fs::read_to_string(path).unwrap();
            if is_unit_test {
                // Of unit tests pages name the functions only.
                let tests = text.lines().filter(|line| line.starts_with("fn "));
                all.extend(tests.flat_map(|line| [line, "\n"]));
            } else {
                all.push_str(&without_comments(&text));
            }
        }
    }
    for name in [
        "Makefile",
        "docs/openapi.json",
        "docs/envelope-vectors.json",
        "Cargo.toml",
    ] {
        all.push_str(&fs::read_to_string(repository().join(name)).unwrap());
    }
    all
}

fn without_comments(source: &str) -> String {
    let code = source.split("\n#[cfg(test)]\nmod tests {").next().unwrap();
    let lines = code
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"));
    lines.flat_map(|line| [line, "\n"]).collect()
}

/// A text's words; `RecordsLeft`, `records-left` and `records_left` count as one.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|letter: char| !letter.is_ascii_alphanumeric() && !"-_".contains(letter))
        // A placeholder for a kid is not a word.
        .map(|word| {
            word.strip_suffix("-KID")
                .unwrap_or(word)
                .trim_matches(['-', '_'])
        })
        .filter(|word| word.bytes().filter(u8::is_ascii_alphabetic).count() > 1)
}

fn normalized(word: &str) -> String {
    word.to_ascii_lowercase().replace(['-', '_'], "")
}

/// The inline code spans of a page.
fn spans(page: &str) -> impl Iterator<Item = &str> {
    let lines = page.split("```").step_by(2).flat_map(str::lines);
    lines.flat_map(|line| line.split('`').skip(1).step_by(2))
}

#[test]
fn every_word_in_code_is_one_of_the_code_s() {
    let sources = sources();
    let mut known: BTreeSet<String> = words(&sources).map(normalized).collect();
    known.extend(
        words(&sources)
            .flat_map(|word| word.split(['-', '_']))
            .map(normalized),
    );
    let external: BTreeSet<&str> = EXTERNAL_WORDS
        .iter()
        .flat_map(|line| line.split(' '))
        .collect();
    let (mut wrong, mut seen) = (Vec::new(), BTreeSet::new());
    for (path, page) in pages() {
        let name = path.file_name().unwrap().to_str().unwrap();
        if ABOUT_OTHER_THINGS.contains(&name) {
            continue;
        }
        let found = spans(&page).flat_map(|span| words(span).map(move |word| (span, word)));
        for (span, word) in found {
            let begins = |known: &String| known.starts_with(&normalized(word));
            if external.contains(word) {
                seen.insert(word.to_owned());
                continue;
            }
            let is_cut = span.contains('…') && known.iter().any(begins);
            if !is_cut && !known.contains(&normalized(word)) {
                wrong.push(format!("{name}: {word}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    let unused: Vec<_> = external
        .iter()
        .filter(|word| !seen.contains(**word))
        .collect();
    assert!(unused.is_empty(), "no page has {unused:?} any more");
}

/// The anchor that a heading has.
fn anchor(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = text
        .chars()
        .filter(|letter| letter.is_alphanumeric() || " -_".contains(*letter));
    kept.collect::<String>().replace(' ', "-")
}

#[test]
fn every_link_leads_somewhere() {
    let mut count = 0;
    for (path, page) in pages() {
        for link in page
            .split("](")
            .skip(1)
            .map(|rest| rest.split(')').next().unwrap())
        {
            if link.contains("://") || link.contains('`') {
                continue;
            }
            let (file, place) = link.split_once('#').unwrap_or((link, ""));
            let target = if file.is_empty() {
                path.clone()
            } else {
                path.parent().unwrap().join(file)
            };
            assert!(target.exists(), "{}: {link}", path.display());
            if !place.is_empty() {
                let text = fs::read_to_string(&target).unwrap();
                let mut headings = text.lines().filter(|line| line.starts_with('#'));
                assert!(
                    headings.any(|heading| anchor(heading) == place),
                    "{}: {link}",
                    path.display()
                );
            }
            count += 1;
        }
    }
    assert!(count > 80, "{count}");
}

/// The member names of the object that a page shows behind these words, without nested ones.
fn members_of(page: &str, behind: &str) -> BTreeSet<String> {
    assert!(page.contains(behind), "docs/cli.md has no {behind}");
    let (_, rest) = page.split_once(behind).unwrap();
    let (_, inside) = rest.split_once('{').unwrap();
    let mut depth = 0;
    let mut own = String::new();
    for letter in inside.chars() {
        match letter {
            '{' | '[' => depth += 1,
            '}' if depth == 0 => break,
            '}' | ']' => depth -= 1,
            _ if depth == 0 => own.push(letter),
            _ => {}
        }
    }
    own.split('"')
        .skip(1)
        .step_by(2)
        .map(str::to_owned)
        .collect()
}

fn members(value: &Value) -> BTreeSet<String> {
    value.as_object().unwrap().keys().cloned().collect()
}

#[test]
fn objects_that_the_page_of_the_commands_shows_are_what_they_print() {
    let page = fs::read_to_string(repository().join("docs/cli.md")).unwrap();
    let server = NatsServer::start();
    let gateway = Gateway::sealing(&server.url());
    let file = gateway.config();
    let file = path(&file);
    let printed = |words: &str| {
        let words: Vec<&str> = words.split(' ').collect();
        let named = if words == ["check"] {
            &[file][..]
        } else {
            &["--config", file]
        };
        json(&keyway(&[&words[..], &["--json"], named].concat()))
    };
    let section = |name: &str| {
        let section = page.split(&format!("\n## keyway {name}\n")).nth(1).unwrap();
        section.split("\n## ").next().unwrap().to_owned()
    };
    for (words, name, behind) in [
        ("check", "check", "JSON: `"),
        ("doctor", "doctor", "JSON: `"),
        ("status", "status", "JSON: `"),
        ("keys", "keys", "JSON: `"),
        ("rotate --why x", "rotate", "JSON: `"),
        ("keys why 1", "keys", "of `why`: `"),
        ("revoke --why x", "revoke", "JSON: `"),
        ("drill --why x", "drill", "JSON: `"),
        ("reload", "reload", "JSON: `"),
        ("audit verify", "audit", "JSON of `verify`: `"),
        ("audit show", "audit", "of `show`: `"),
        ("audit tail", "audit", "(JSON: `"),
    ] {
        let shown = members_of(&section(name), behind);
        assert_eq!(shown, members(&printed(words)), "{words}");
    }
    let shown = members_of(&section("keys"), "\"versions\": [");
    assert_eq!(shown, members(&printed("keys")["versions"][0]));
    let shown = members_of(&section("doctor"), "\"findings\": [");
    assert_eq!(shown, members(&printed("doctor")["findings"][0]));
}

#[test]
fn every_file_of_a_state_directory_is_on_its_page() {
    let page = fs::read_to_string(repository().join("docs/keys.md")).unwrap();
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `"));
    let rows: BTreeSet<&str> = rows
        .map(|row| row.split(['`', '/']).next().unwrap())
        .collect();
    let server = NatsServer::start();
    let gateway = Gateway::sealing(&server.url());
    let folder = scratch::folder("files");
    let state = folder.path().join("state");
    let secret = folder.path().join("passphrase");
    fs::write(&secret, "correct horse battery\n").unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    fs::set_permissions(&secret, mode).unwrap();
    let words = ["init", "--proxy-key", "--state", path(&state)];
    let words = [&words[..], &["--passphrase-file", path(&secret)]].concat();
    assert!(keyway(&words).status.success());
    for folder in [gateway.state(), state] {
        for entry in fs::read_dir(&folder).unwrap().map(Result::unwrap) {
            let name = entry.file_name().into_string().unwrap();
            let is_named = rows.contains(name.as_str());
            assert!(is_named, "docs/keys.md has no row for {name}");
        }
    }
}
