//! Promise: an operator's command reaches the gateway whatever else is wrong, and its answer is true.
#![expect(
    clippy::unwrap_used,
    reason = "a test stops at the first thing that is not as expected"
)]

use keyway_tests::command::{code, json, keyway, path, stderr_of, text};
use keyway_tests::gateway::Settings;
use keyway_tests::{Gateway, NatsServer, RawClient, scratch, wait};
use std::fs::{read_to_string, write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Output;

const NO_SERVER: &str = "nats://127.0.0.1:9";

/// `keyway WORDS --config …` of this gateway.
fn run(gateway: &Gateway, words: &[&str]) -> Output {
    keyway(&[words, &["--config", path(&gateway.config())]].concat())
}

#[test]
fn order_reaches_the_gateway_although_its_file_has_mistakes() {
    let mut gateway = Gateway::sealing(NO_SERVER);
    let whole = read_to_string(gateway.config()).unwrap();
    let edited = format!("nonsense = 1\n{whole}[[keyring]]\nname = \"half\"\n");
    write(gateway.config(), &edited).unwrap();
    for words in [
        &["rotate", "default", "--why", "a"][..],
        &["suspend", "1", "--why", "a"],
        &["restore", "1", "--why", "a"],
        &["archive", "1", "--why", "a"],
        &["destroy", "1", "--force", "--why", "a"],
        &["revoke", "--dry-run"],
        &["revoke", "--why", "laptop lost"],
        &["drill"],
        &["status"],
        &["top"],
        &["keys", "why", "2"],
        &["audit", "tail"],
        &["audit", "show"],
        &["audit", "verify"],
    ] {
        let done = run(&gateway, words);
        let said = stderr_of(&done);
        assert_eq!(code(&done), 0, "{words:?}: {said}");
        assert!(said.contains("has 2 mistakes"), "{words:?}: {said}");
        assert!(said.contains("`keyway check"), "{words:?}: {said}");
    }
    let stranger = run(&gateway, &["rotate", "half", "--why", "a"]);
    assert_eq!(code(&stranger), 2, "{}", stderr_of(&stranger));
    assert!(stderr_of(&stranger).contains("the running gateway has no keyring `half`"));
    let worse = format!("{whole}[[keyring\nname = \"half\n");
    write(gateway.config(), worse).unwrap();
    let done = run(&gateway, &["rotate", "--why", "a"]);
    assert_eq!(code(&done), 0, "{}", stderr_of(&done));
    leads_nowhere_where_it_is_unclear(&gateway, &edited);
    // Without a gateway the command would have to go by the file.
    write(gateway.config(), &edited).unwrap();
    gateway.process().kill();
    let refused = run(&gateway, &["rotate", "--why", "a"]);
    let said = stderr_of(&refused);
    assert_eq!(code(&refused), 3, "{said}");
    for word in ["nonsense: no such key", "keyring.subjects", "--state DIR"] {
        assert!(said.contains(word), "{word}: {said}");
    }
}

/// Fails unless a command is refused where the file may belong to another gateway.
fn leads_nowhere_where_it_is_unclear(gateway: &Gateway, edited: &str) {
    write(gateway.config(), edited.replace("state = \"", "state = ")).unwrap();
    let refused = run(gateway, &["rotate", "--why", "a"]);
    let said = stderr_of(&refused);
    assert_eq!(code(&refused), 3, "{said}");
    assert!(said.contains("--state DIR"), "{said}");
    let state = gateway.state();
    let named = run(gateway, &["rotate", "--why", "a", "--state", path(&state)]);
    assert_eq!(code(&named), 0, "{}", stderr_of(&named));
    let alone = keyway(&["rotate", "--why", "a", "--state", path(&state)]);
    assert_eq!(code(&alone), 0, "{}", stderr_of(&alone));
}

#[test]
fn mistakes_that_the_gateway_finds_at_a_reload_have_a_line_each() {
    let gateway = Gateway::sealing(NO_SERVER);
    let whole = read_to_string(gateway.config()).unwrap();
    let edited = format!("nonsense = 1\n\"more\\nerror: none\" = 2\n{whole}");
    write(gateway.config(), edited).unwrap();
    let refused = keyway(&["reload", "--state", path(&gateway.state())]);
    let said = stderr_of(&refused);
    assert_eq!(code(&refused), 3, "{said}");
    let begins = |what: &str| said.lines().filter(|line| line.starts_with(what)).count();
    let file = path(&gateway.config()).to_owned();
    assert_eq!(
        begins(&format!("{file}:1:1: nonsense: no such key")),
        1,
        "{said}"
    );
    assert_eq!(
        begins(&format!("{file}:2:1: more\\nerror: none")),
        1,
        "{said}"
    );
    assert_eq!(begins("error: "), 1, "{said}");
    // Warnings have their remedy on a line of their own, too, and come once.
    write(gateway.config(), format!("relay-only = true\n{whole}")).unwrap();
    let reloaded = run(&gateway, &["reload"]);
    let said = stderr_of(&reloaded);
    assert_eq!(code(&reloaded), 0, "{said}");
    assert!(!said.contains("\\n"), "{said}");
    let warnings = said.matches("warning: ").count();
    assert!(
        warnings > 0 && said.matches("  help: ").count() == warnings,
        "{said}"
    );
}

#[test]
fn reload_that_is_refused_for_a_mistake_is_in_the_log_whatever_file_the_command_was_given() {
    let gateway = Gateway::sealing(NO_SERVER);
    let whole = read_to_string(gateway.config()).unwrap();
    write(gateway.config(), format!("nonsense = 1\n{whole}")).unwrap();
    let by_state = keyway(&["reload", "--state", path(&gateway.state())]);
    for refused in [run(&gateway, &["reload"]), by_state] {
        let said = stderr_of(&refused);
        assert_eq!(code(&refused), 3, "{said}");
        assert!(said.contains("nonsense: no such key"), "{said}");
    }
    let log = read_to_string(gateway.state().join("audit/log.jsonl")).unwrap();
    let refusals = log.lines().filter(|line| {
        line.contains(r#""action":"reload""#) && line.contains(r#""outcome":"refused""#)
    });
    assert_eq!(refusals.count(), 2, "{log}");
}

#[test]
fn rotation_that_is_due_is_not_aborted_and_the_reason_is_told() {
    let server = NatsServer::start();
    let keyring = "[[keyring]]\nname = \"a\"\nsubjects = \"a.>\"\nrotate = { messages = 5 }\n";
    let settings = Settings {
        tables: keyring.to_owned(),
        ..Settings::default()
    };
    let gateway = Gateway::start(&server.url(), settings);
    let mut agent = RawClient::handshake(gateway.addr(), "");
    // Consecutive rotations are delayed, the longer the more there are.
    let refused = wait::until("a rotation that is held back", || {
        for _ in 0..5 {
            agent.send(b"PUB a.b 1\r\nx\r\n");
        }
        agent.flush();
        let refused = run(&gateway, &["abort", "--why", "a"]);
        let idle = stderr_of(&refused).contains("no rotation is under way");
        (!idle).then_some(refused)
    });
    let said = stderr_of(&refused);
    assert_eq!(code(&refused), 8, "{said}");
    assert!(said.contains("of 5 messages sealed"), "{said}");
    assert!(said.contains("help: let this one go on"), "{said}");
    // No version was discarded for it.
    assert_eq!(gateway.states().get("destroyed"), None);
}

/// A file that only its owner may read.
fn secret(file: &Path, content: &str) {
    write(file, content).unwrap();
    std::fs::set_permissions(file, PermissionsExt::from_mode(0o600)).unwrap();
}

/// Lines of `[admin]`, the wrong key, and the error.
const WRONG: [(&str, &str, &str); 7] = [
    (
        "tokens = [{ name = \"a\", file = \"missing\" }]",
        "admin.tokens",
        "does not exist",
    ),
    (
        "tokens = [{ name = \"a\", file = \"empty\" }]",
        "admin.tokens",
        "holds no token",
    ),
    (
        "tokens = [{ name = \"a\", file = \"one\" }, { name = \"b\", file = \"same\" }]",
        "admin.tokens",
        "the token of another name",
    ),
    ("socket = \"one\"", "admin.socket", "is no socket"),
    ("socket = \"no/where\"", "admin.socket", "no directory"),
    (
        "[custody]\nkind = \"passphrase\"\npassphrase-file = \"empty\"",
        "custody.passphrase-file",
        "empty",
    ),
    (
        "[proxy]\nnkey-seed-file = \"empty\"",
        "proxy.nkey-seed-file",
        "holds no nkey seed",
    ),
];

#[test]
fn file_that_cannot_be_used_is_found_by_check_and_before_anything_is_made() {
    const TOKEN: &str = "0123456789abcdef0123456789abcdef";
    let folder = scratch::folder("named");
    let at = |name: &str| folder.path().join(name);
    for (name, content) in [("one", TOKEN), ("same", TOKEN), ("empty", "")] {
        secret(&at(name), content);
    }
    let file = at("gw.toml");
    for (lines, key, words) in WRONG {
        let listen = "listen = \"127.0.0.1:0\"";
        let text = format!("{listen}\nstate = \"state\"\n[admin]\n{listen}\n{lines}\n");
        write(&file, text).unwrap();
        let checked = keyway(&["check", "--json", path(&file)]);
        let report = json(&checked);
        assert_eq!(code(&checked), 3, "{report}");
        let errors = report["errors"].as_array().unwrap();
        assert_eq!(errors.len(), 1, "{report}");
        let (error, message) = (&errors[0], errors[0]["message"].to_string());
        assert_eq!(error["key"], key, "{report}");
        assert!(message.contains(words) && error["help"] != "", "{report}");
        let run = keyway(&["run", "--config", path(&file)]);
        let said = stderr_of(&run);
        assert_eq!(code(&run), 4, "{said}");
        assert!(said.contains(words), "{said}");
        assert!(!at("state").exists(), "{key}: {said}");
    }
    // Every one that is wrong, not the first alone.
    let token = |name| format!("{{ name = \"{name}\", file = \"{name}\" }}");
    let tokens = ["missing", "empty", "one", "same"].map(token).join(", ");
    write(&file, format!("[admin]\ntokens = [{tokens}]\n")).unwrap();
    let report = json(&keyway(&["check", "--json", path(&file)]));
    assert_eq!(report["errors"].as_array().unwrap().len(), 3, "{report}");
}

#[test]
fn shown_log_says_why() {
    let folder = scratch::folder("why");
    let state = folder.path().join("state");
    let with = |words: &[&str]| keyway(&[words, &["--state", path(&state)]].concat());
    assert_eq!(code(&with(&["init"])), 0);
    let why = "laptop lost\nin a train";
    assert_eq!(code(&with(&["rotate", "--why", why])), 0);
    assert_eq!(code(&with(&["drill", "--why", "monthly"])), 0);
    let shown = with(&["audit", "show"]);
    let page = text(&shown.stdout);
    assert!(page.lines().next().unwrap().ends_with(" WHY"), "{page}");
    let rows = |what: &str, why: &str| {
        let is_meant = |line: &&str| line.contains(what) && line.ends_with(why);
        page.lines().filter(is_meant).count()
    };
    assert_eq!(rows(" done ", " laptop lost\\nin a train"), 3, "{page}");
    assert_eq!(rows(" revocation rehearsed ", " monthly"), 1, "{page}");
}

#[test]
fn help_of_destroy_says_what_force_and_approval_do() {
    let help = keyway(&["destroy", "--help"]);
    let words = text(&help.stdout).split_whitespace();
    let help = words.collect::<Vec<_>>().join(" ");
    for said in [
        "whatever is stored, and during its overlap too",
        "any other is checked all the same",
        "the order asks for the destruction and destroys nothing yet",
    ] {
        assert!(help.contains(said), "{said}: {help}");
    }
}
