//! Promise: records and audit log are checked against each other; a revoked version does not seal again after a rollback.
#![expect(
    clippy::unwrap_used,
    reason = "a test stops at the first thing that is not as expected"
)]

use keyway_tests::command::{code, keyway, path, stderr_of, text};
use keyway_tests::gateway::copy;
use keyway_tests::{Gateway, NatsServer, RawClient, metrics, scratch, wait};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use std::path::{Path, PathBuf};
use std::process::Output;

/// A state directory in which nothing runs.
struct StateDirectory(tempfile::TempDir);

impl StateDirectory {
    fn new() -> Self {
        let state = Self(scratch::folder("history"));
        state.does(&["init"]);
        state.does(&["rotate", "--why", "one"]);
        state
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("state")
    }

    fn keyway(&self, words: &[&str]) -> Output {
        keyway(&[words, &["--state", path(&self.path())]].concat())
    }

    fn does(&self, words: &[&str]) {
        let done = self.keyway(words);
        assert_eq!(code(&done), 0, "{}", stderr_of(&done));
    }

    fn lines(&self) -> Vec<Value> {
        lines(&self.path())
    }

    /// Fails unless every command that opens the directory prints this, and changes no record.
    fn is_refused(&self, said: &str) {
        let records = std::fs::read(self.path().join(RECORD)).ok();
        for (words, exit) in [
            (&["audit", "verify"][..], 7),
            (&["rotate", "--why", "two"], 4),
            (&["run"], 4),
            (&["doctor"], 4),
            (&["status"], 4),
            (&["keys"], 4),
            (&["keys", "why", "1"], 4),
            (&["revoke", "--dry-run"], 4),
        ] {
            let refused = self.keyway(words);
            let all = format!("{}{}", stderr_of(&refused), text(&refused.stdout));
            assert_eq!(code(&refused), exit, "{words:?} {all}");
            assert!(all.contains(said), "{words:?} {all}");
        }
        assert_eq!(std::fs::read(self.path().join(RECORD)).ok(), records);
        assert!(has_alarm(&self.lines(), said));
    }
}

const RECORD: &str = "catalogue/default.json";

fn read(state: &Path, file: &str) -> Vec<u8> {
    std::fs::read(state.join(file)).unwrap()
}

fn lines(state: &Path) -> Vec<Value> {
    let log = std::fs::read_to_string(state.join("audit/log.jsonl")).unwrap();
    let lines = log.lines().map(serde_json::from_str);
    lines.collect::<Result<_, _>>().unwrap()
}

fn has_alarm(lines: &[Value], said: &str) -> bool {
    let mut alarms = lines.iter().filter(|line| line["note"] == "rollback-alarm");
    alarms.any(|line| line["what"].as_str().unwrap().contains(said))
}

#[test]
fn revoked_version_is_not_active_again_after_its_record_and_the_epochs_were_put_back() {
    let state = StateDirectory::new();
    let files = [RECORD, "seen.json"];
    let old = files.map(|file| read(&state.path(), file));
    state.does(&["revoke", "default", "--why", "a thief"]);
    let new = files.map(|file| read(&state.path(), file));
    for (file, content) in files.iter().zip(old) {
        std::fs::write(state.path().join(file), content).unwrap();
    }
    state.is_refused("was rolled back");
    for (file, content) in files.iter().zip(new) {
        std::fs::write(state.path().join(file), content).unwrap();
    }
    state.does(&["rotate", "--why", "three"]);
    state.does(&["audit", "verify"]);
}

/// A way to lose the end of an audit log, and the error.
type Loss = (fn(&Path), &'static str);

const LOSSES: [Loss; 7] = [
    (|state| remove(state, "audit"), "log.jsonl is missing, but"),
    (|state| empty(state, &["audit/log.jsonl"]), "is cut off"),
    (
        |state| empty(state, &["audit/log.jsonl", "audit/checkpoints"]),
        "is cut off",
    ),
    (
        |state| {
            remove(state, "audit");
            std::fs::remove_file(state.join("audit.key")).unwrap();
        },
        "the audit log that the records speak of is missing",
    ),
    (
        |state| {
            remove(state, "audit");
            std::fs::rename(state.join("audit.key"), state.join(".audit.key.new")).unwrap();
        },
        "the audit log that the records speak of is missing",
    ),
    (
        |state| std::fs::remove_file(state.join("audit.key")).unwrap(),
        "audit.key is missing, but",
    ),
    (
        |state| std::fs::write(state.join("audit.key"), "{}").unwrap(),
        "signing key",
    ),
];

fn remove(state: &Path, folder: &str) {
    std::fs::remove_dir_all(state.join(folder)).unwrap();
}

fn empty(state: &Path, files: &[&str]) {
    for file in files {
        std::fs::write(state.join(file), "").unwrap();
    }
}

#[test]
fn revoked_version_is_not_active_again_where_the_log_is_gone_emptied_or_without_its_key() {
    let state = StateDirectory::new();
    let files = [RECORD, "seen.json"];
    let old = files.map(|file| read(&state.path(), file));
    state.does(&["revoke", "default", "--why", "a thief"]);
    for (lose, said) in LOSSES {
        let victim = StateDirectory(scratch::folder("victim"));
        copy(&state.path(), &victim.path());
        for (file, content) in files.iter().zip(&old) {
            std::fs::write(victim.path().join(file), content).unwrap();
        }
        lose(&victim.path());
        for words in [
            &["status"][..],
            &["keys"],
            &["rotate", "--why", "two"],
            &["doctor"],
            &["run"],
        ] {
            let refused = victim.keyway(words);
            let all = format!("{}{}", stderr_of(&refused), text(&refused.stdout));
            assert_eq!(code(&refused), 4, "{words:?} {said}: {all}");
            assert!(all.contains(said), "{words:?} {said}: {all}");
        }
        assert_eq!(&read(&victim.path(), RECORD), &old[0], "{said}");
    }
}

#[test]
fn log_that_is_large_and_altered_is_compared_all_the_same() {
    let state = StateDirectory::new();
    let files = [RECORD, "seen.json"];
    let old = files.map(|file| read(&state.path(), file));
    state.does(&["revoke", "default", "--why", "a thief"]);
    for (file, content) in files.iter().zip(old) {
        std::fs::write(state.path().join(file), content).unwrap();
    }
    let log = state.path().join("audit/log.jsonl");
    let lines = std::fs::read_to_string(&log).unwrap();
    let filler = format!("{}\n", "x".repeat(1023)).repeat(17 * 1024);
    std::fs::write(&log, format!("{filler}{lines}")).unwrap();
    for words in [&["rotate", "--why", "two"][..], &["status"], &["run"]] {
        let refused = state.keyway(words);
        assert_eq!(code(&refused), 4, "{words:?} {}", stderr_of(&refused));
        let said = stderr_of(&refused);
        assert!(said.contains("was rolled back"), "{words:?} {said}");
    }
}

#[test]
fn record_of_the_same_epoch_from_another_history_is_refused() {
    let (state, other) = (
        StateDirectory::new(),
        StateDirectory(scratch::folder("other")),
    );
    copy(&state.path(), &other.path());
    state.does(&["rotate", "--why", "here"]);
    other.does(&["rotate", "--why", "there"]);
    std::fs::write(state.path().join(RECORD), read(&other.path(), RECORD)).unwrap();
    state.is_refused("was exchanged");
}

#[test]
fn record_that_is_gone_with_all_memory_of_it_is_missed() {
    let state = StateDirectory::new();
    std::fs::remove_file(state.path().join(RECORD)).unwrap();
    state.is_refused("is missing, but epoch");
}

#[test]
fn lines_name_the_exact_records_that_acts_led_to_and_those_that_are_left() {
    let state = StateDirectory::new();
    let lines = state.lines();
    let outcomes = lines.iter().filter(|line| line["kind"] == "outcome");
    let epochs = outcomes.map(|line| line["record"]["epoch"].as_u64().unwrap());
    let epochs: Vec<_> = epochs.collect();
    assert!(epochs.is_sorted() && epochs.len() >= 4, "{epochs:?}");
    let left = &lines.last().unwrap()["records"][0];
    assert_eq!(left["keyring"], "default");
    let file = read(&state.path(), RECORD);
    let digest = data_encoding::HEXLOWER.encode(&Sha256::digest(&file));
    assert_eq!(left["sha256"], digest);
}

#[test]
fn log_cut_back_with_its_checkpoints_is_missed_by_the_records() {
    let state = StateDirectory::new();
    let files = ["audit/log.jsonl", "audit/checkpoints"];
    let whole = files.map(|file| read(&state.path(), file));
    let cut_back = |lines: usize| {
        for (file, content) in files.iter().zip(&whole) {
            std::fs::write(state.path().join(file), content).unwrap();
        }
        cut(&state.path().join(files[0]), lines);
        cut(&state.path().join(files[1]), 6 * lines);
    };
    let count = state.lines().len();
    for lines in [1, count / 2, count - 1] {
        cut_back(lines);
        let said = format!("line {} and what follows is cut off", lines + 1);
        for (words, exit) in [
            (&["audit", "verify"][..], 7),
            (&["rotate", "--why", "two"], 4),
            (&["status"], 4),
            (&["doctor"], 4),
            (&["run"], 4),
        ] {
            let refused = state.keyway(words);
            let all = format!("{}{}", stderr_of(&refused), text(&refused.stdout));
            assert_eq!(code(&refused), exit, "{words:?} {all}");
            assert!(all.contains(&said), "{words:?} {all}");
        }
    }
    cut_back(count);
    state.does(&["audit", "verify"]);
    state.does(&["rotate", "--why", "two"]);
}

/// Truncates a file to its first lines.
fn cut(file: &Path, lines: usize) {
    let whole = std::fs::read_to_string(file).unwrap();
    let kept: Vec<_> = whole.split_inclusive('\n').take(lines).collect();
    std::fs::write(file, kept.concat()).unwrap();
}

#[test]
fn record_put_back_under_a_running_gateway_raises_the_alarm_and_stops_no_traffic() {
    let bus = NatsServer::start();
    let mut gateway = Gateway::sealing(&bus.url());
    let old = read(&gateway.state(), RECORD);
    gateway.rotate("default");
    std::fs::write(gateway.state().join(RECORD), &old).unwrap();
    let (status, said) = gateway.try_rotate("default");
    assert!(!status.success(), "{said}");
    assert!(said.contains("was rolled back"), "{said}");
    assert!(has_alarm(&lines(&gateway.state()), "was rolled back"));
    wait::until("the metric", || {
        let found = gateway.metrics().sum("keyway_catalogue_rolled_back", &[]);
        (found > 0.0).then_some(())
    });
    let (status, ready) = metrics::get(gateway.admin(), "/readyz");
    assert_eq!(status, 200, "{ready}");
    assert!(
        ready.contains("degraded: a record on disk is not"),
        "{ready}"
    );
    let mut agent = RawClient::agent(gateway.addr());
    agent.subscribe("a.b");
    agent.publish("a.b", b"hello");
    assert_eq!(agent.message("a.b").payload(), b"hello");
    assert!(gateway.process().terminate().success());
}

#[test]
fn record_and_epochs_put_back_under_a_running_gateway_are_noticed_although_nobody_asks() {
    let bus = NatsServer::start();
    let mut gateway = Gateway::sealing(&bus.url());
    let files = [RECORD, "seen.json"];
    let put = |gateway: &Gateway, contents: &[Vec<u8>]| {
        for (file, content) in files.iter().zip(contents) {
            std::fs::write(gateway.state().join(file), content).unwrap();
        }
    };
    let old = files.map(|file| read(&gateway.state(), file));
    gateway.rotate("default");
    let new = files.map(|file| read(&gateway.state(), file));
    put(&gateway, &old);
    let line = gateway.process().line("the alarm", |line| {
        let told = line.contains("not the one in force");
        told.then(|| line.to_owned())
    });
    assert!(line.contains("was rolled back"), "{line}");
    assert!(has_alarm(&lines(&gateway.state()), "was rolled back"));
    let config = gateway.config();
    let degraded = "degraded: a record on disk is not";
    wait::until("readiness and status", || {
        let (_status, ready) = metrics::get(gateway.admin(), "/readyz");
        let status = keyway(&["status", "--config", path(&config)]);
        let told = ready.contains(degraded) && text(&status.stdout).contains(degraded);
        told.then_some(())
    });
    put(&gateway, &new);
    wait::until("the end of it", || {
        let (_status, ready) = metrics::get(gateway.admin(), "/readyz");
        (!ready.contains("degraded")).then_some(())
    });
    gateway.rotate("default");
}
