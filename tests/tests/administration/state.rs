//! Promise: whatever is wrong with the state directory, the error names cause and remedy, nothing is overwritten, and running
//! traffic goes on; and killing the gateway at any moment loses no key.
#![expect(
    clippy::unwrap_used,
    reason = "a test stops at the first thing that is not as expected"
)]

use keyway_tests::gateway::{Settings, binary};
use keyway_tests::mount::Mount;
use keyway_tests::operator::{assert_refused, contents, refused};
use keyway_tests::process::Process;
use keyway_tests::{BusTap, Gateway, NatsServer, RawClient};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

const RECORD: &str = "catalogue/default.json";
/// Most of these tests need no server.
const NOWHERE: &str = "nats://127.0.0.1:9";

/// A gateway that has run and was stopped.
fn stopped() -> Gateway {
    let mut gateway = Gateway::sealing(NOWHERE);
    assert!(gateway.process().terminate().success());
    gateway
}

#[test]
fn a_second_gateway_is_refused_and_told_who_has_the_directory() {
    let mut first = Gateway::sealing(NOWHERE);
    let pid = format!("process {}", first.process().id());
    assert_refused(&first, &[&pid, "in use"]);
    assert!(first.process().ended().is_none());
    // A killed one leaves no lock.
    first.restart();
}

#[test]
fn a_wrong_key_encryption_key_is_told() {
    let (gateway, other) = (stopped(), stopped());
    fs::copy(other.state().join("kek"), gateway.state().join("kek")).unwrap();
    assert_refused(&gateway, &["catalogue.key", "unwrap"]);
}

#[test]
fn a_wrong_passphrase_is_told_and_a_right_one_opens() {
    let folder = keyway_tests::scratch::folder("passphrase");
    let file = folder.path().join("words");
    let write = |words: &str| {
        fs::write(&file, words).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    };
    write("correct horse battery staple\n");
    let settings = Settings {
        tables: format!("[custody]\nkind = \"passphrase\"\npassphrase-file = {file:?}\n"),
        ..Settings::default()
    };
    let mut gateway = Gateway::start(NOWHERE, settings);
    gateway.process().kill();
    assert!(!gateway.state().join("kek").exists());
    write("correct horse battery stable\n");
    assert_refused(&gateway, &["kek.json", "wrong passphrase"]);
    write("correct horse battery staple\n");
    gateway.restart();
}

#[test]
fn a_key_encryption_key_that_others_can_read_is_refused() {
    let gateway = stopped();
    let kek = gateway.state().join("kek");
    fs::set_permissions(&kek, fs::Permissions::from_mode(0o644)).unwrap();
    assert_refused(&gateway, &["kek", "0644", "chmod 0600"]);
}

/// Everything below a folder but sockets.
fn below(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            found.extend(below(&entry.path()));
        }
        if kind.is_dir() || kind.is_file() {
            found.push(entry.path());
        }
    }
    found
}

#[test]
fn whatever_of_the_state_directory_others_can_use_is_refused() {
    let mut gateway = Gateway::sealing(NOWHERE);
    // A file of a running gateway, and one that it leaves for the next start.
    let state = gateway.state();
    let ports = fs::read(state.join("ports.json")).unwrap();
    assert!(gateway.process().terminate().success());
    for (name, bytes) in [
        ("ports.json", &ports[..]),
        ("revoked-0011223344556677", b""),
        ("suspended-0011223344556677", b""),
        ("withdrawn-0011223344556677", b""),
    ] {
        fs::write(state.join(name), bytes).unwrap();
        fs::set_permissions(state.join(name), fs::Permissions::from_mode(0o600)).unwrap();
    }
    let found = below(&state);
    assert!(found.len() > 12, "{found:?}");
    for path in found {
        let right = fs::metadata(&path).unwrap().permissions();
        let (open, limit) = if path.is_dir() {
            (0o777, "chmod 0700")
        } else {
            (0o644, "chmod 0600")
        };
        fs::set_permissions(&path, fs::Permissions::from_mode(open)).unwrap();
        assert_refused(&gateway, &[&path.to_string_lossy(), limit]);
        fs::set_permissions(&path, right).unwrap();
    }
    gateway.restart();
    // Files of others are not checked.
    fs::write(state.join("notes.txt"), "").unwrap();
    fs::create_dir(state.join("lost+found")).unwrap();
    gateway.restart();
}

#[test]
fn every_missing_file_has_its_own_error_and_is_not_made_anew() {
    let cases: [(&str, &[&str]); 4] = [
        ("kek", &["kek", "restore"]),
        ("catalogue.key", &["catalogue.key", "is missing"]),
        ("seen.json", &["seen.json", "is missing"]),
        (RECORD, &["default.json", "is missing", "epoch"]),
    ];
    for (file, words) in cases {
        let gateway = stopped();
        fs::remove_file(gateway.state().join(file)).unwrap();
        assert_refused(&gateway, words);
        assert!(!gateway.state().join(file).exists(), "{file}");
    }
}

#[test]
fn an_audit_log_that_was_altered_stops_key_events_and_no_traffic() {
    let mut server = NatsServer::start();
    let mut gateway = Gateway::sealing(&server.url());
    assert!(gateway.process().terminate().success());
    let log = gateway.state().join("audit/log.jsonl");
    let altered = fs::read_to_string(&log)
        .unwrap()
        .replacen("begun", "begot", 1);
    fs::write(&log, &altered).unwrap();
    gateway.restart();
    let mut tap = BusTap::open(server.addr());
    RawClient::handshake(gateway.addr(), "").publish("talk.a", b"secret");
    assert_ne!(tap.message("talk.a").payload(), b"secret");
    assert_eq!(fs::read_to_string(&log).unwrap(), altered);
    server.kill();
}

#[test]
fn every_damaged_file_is_named() {
    for file in ["kek", "catalogue.key", "seen.json", RECORD] {
        let gateway = stopped();
        let path = gateway.state().join(file);
        let whole = fs::read(&path).unwrap();
        let mut flipped = whole.clone();
        flipped[whole.len() / 2] ^= 1;
        for damaged in [
            &flipped[..],
            &whole[..whole.len() / 2],
            b"",
            b"\xFF\0garbage",
        ] {
            fs::write(&path, damaged).unwrap();
            let name = match file {
                // Another KEK may be valid: what it cannot unwrap is named.
                "kek" => "",
                _ => path.file_name().unwrap().to_str().unwrap(),
            };
            assert_refused(&gateway, &[name]);
        }
    }
}

#[test]
fn an_older_copy_put_back_is_noticed() {
    let mut gateway = Gateway::sealing(NOWHERE);
    let record = gateway.state().join(RECORD);
    let old = fs::read(&record).unwrap();
    gateway.rotate("default");
    gateway.process().kill();
    fs::write(&record, old).unwrap();
    assert_refused(&gateway, &["default.json", "rolled back", "epoch"]);
}

#[test]
fn a_record_of_another_state_directory_is_noticed() {
    let (gateway, other) = (stopped(), stopped());
    fs::copy(other.state().join(RECORD), gateway.state().join(RECORD)).unwrap();
    assert_refused(&gateway, &["default.json", "another state directory"]);
}

#[test]
fn a_record_damaged_under_a_running_gateway_stops_the_rotation_and_not_the_traffic() {
    let server = NatsServer::start();
    let gateway = Gateway::sealing(&server.url());
    let record = gateway.state().join(RECORD);
    let whole = fs::read(&record).unwrap();
    fs::write(&record, b"{}").unwrap();
    let (status, said) = gateway.try_rotate("default");
    assert!(!status.success(), "{said}");
    assert!(said.contains("default.json"), "{said}");
    assert_eq!(fs::read(&record).unwrap(), b"{}");
    talks(&gateway);
    fs::write(&record, whole).unwrap();
    gateway.rotate("default");
    talks(&gateway);
}

/// Fails unless two agents behind the gateway can read each other's messages.
fn talks(gateway: &Gateway) {
    let mut agent = RawClient::agent(gateway.addr());
    agent.subscribe("a.b");
    agent.publish("a.b", b"hello");
    assert_eq!(agent.message("a.b").payload(), b"hello");
}

#[test]
fn a_read_only_disk_is_told() {
    let gateway = stopped();
    let Some(_mount) = Mount::read_only(&gateway.state()) else {
        return;
    };
    assert_refused(&gateway, &["read-only", "remount"]);
}

#[test]
fn a_full_disk_at_the_start_is_told_and_who_can_be_served_is() {
    let server = NatsServer::start();
    let mut gateway = Gateway::sealing(&server.url());
    gateway.process().terminate();
    let Some(mount) = Mount::small(&gateway.state(), 2048) else {
        return;
    };
    let filler = mount.fill();
    let mut command = Command::new(binary());
    command.arg("run").arg("--config").arg(gateway.config());
    let started = Process::start("keyway (full disk)", &mut command);
    let full = |line: &str| line.contains("no space left").then_some(());
    started.line("the full disk", full);
    started.line("ready", |line| line.contains(": ready ").then_some(()));
    let mut agent = RawClient::agent(gateway.addr());
    agent.subscribe("a.b");
    agent.flush();
    fs::remove_file(filler).unwrap();
    talks(&gateway);
}

#[test]
fn a_full_disk_before_anything_was_made_leaves_no_half_made_state() {
    let mut gateway = stopped();
    for entry in fs::read_dir(gateway.state()).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if path.is_dir() {
            fs::remove_dir_all(path).unwrap();
        } else {
            fs::remove_file(path).unwrap();
        }
    }
    let Some(mount) = Mount::small(&gateway.state(), 128) else {
        return;
    };
    let filler = mount.fill();
    let (status, said) = refused(&gateway.config());
    assert_eq!(status.code(), Some(4), "{said}");
    assert!(said.contains("no space left"), "{said}");
    fs::remove_file(filler).unwrap();
    gateway.restart();
    assert_eq!(gateway.states(), BTreeMap::from([("active".to_owned(), 1)]));
}

#[test]
fn a_disk_that_fills_up_stops_the_rotation_and_not_the_traffic() {
    let server = NatsServer::start();
    let mut gateway = Gateway::sealing(&server.url());
    let Some(mount) = Mount::under(&mut gateway, 2304) else {
        return;
    };
    let filler = mount.fill();
    let before = contents(&gateway.state());
    let (status, said) = gateway.try_rotate("default");
    assert!(!status.success(), "{said}");
    assert!(said.contains("no space left"), "{said}");
    assert!(before == contents(&gateway.state()), "{said}");
    talks(&gateway);
    fs::remove_file(filler).unwrap();
    gateway.rotate("default");
    talks(&gateway);
    gateway.restart();
    talks(&gateway);
}

#[test]
fn a_kill_at_any_step_of_a_rotation_loses_no_key_and_activates_none_twice() {
    let server = NatsServer::start();
    let mut gateway = Gateway::sealing(&server.url());
    let mut bare = RawClient::agent(server.addr());
    let mut sealed = Vec::new();
    for round in 0..8 {
        let mut tap = BusTap::open(server.addr());
        RawClient::agent(gateway.addr()).publish("a.b", round.to_string().as_bytes());
        sealed.push(tap.message("a.b").payload().to_vec());
        let record = gateway.state().join(RECORD);
        gateway.kill_in_rotation(&record, round % 4);
        gateway.restart();
        assert_eq!(gateway.states()["active"], 1, "round {round}");
        let mut subscriber = RawClient::agent(gateway.addr());
        subscriber.subscribe("a.b");
        for envelope in &sealed {
            bare.publish("a.b", envelope);
        }
        let opened = subscriber.arrived();
        let opened = opened.iter().map(|frame| frame.payload().to_vec());
        assert!(
            opened.eq((0..=round).map(|number| number.to_string().into_bytes())),
            "round {round}"
        );
    }
    gateway.rotate("default");
    assert_eq!(gateway.states()["active"], 1);
}
