//! What an operator does with the binary: rotate keys, and read why a gateway does not start.

use crate::gateway::{Gateway, binary};
use crate::process::Process;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};

impl Gateway {
    /// `keyway rotate KEYRING`, which must succeed.
    pub fn rotate(&self, keyring: &str) {
        let (status, said) = self.try_rotate(keyring);
        assert!(status.success(), "keyway rotate: {status}\n{said}");
    }

    /// How many key versions of each state `keyway keys` lists.
    pub fn states(&self) -> BTreeMap<String, usize> {
        let mut command = Command::new(binary());
        command.args(["keys", "--json", "--config"]);
        let output = command.arg(self.config()).output().unwrap();
        assert!(output.status.success(), "{}", output.stderr.escape_ascii());
        let listing: Value = serde_json::from_slice(&output.stdout).unwrap();
        let mut states = BTreeMap::new();
        for version in listing["versions"].as_array().unwrap() {
            let state = version["state"].as_str().unwrap().to_owned();
            *states.entry(state).or_default() += 1;
        }
        states
    }

    /// `keyway rotate KEYRING`, not waited for.
    pub fn begin_rotation(&self, keyring: &str) -> Process {
        let mut command = Command::new(binary());
        command.args(["rotate", keyring, "--why", "a test", "--config"]);
        Process::start("keyway rotate", command.arg(self.config()))
    }

    /// Begins a rotation and kills the gateway when this record has changed so many times, or the rotation is over.
    pub fn kill_in_rotation(&mut self, record: &Path, changes: u32) {
        let mut last = std::fs::read(record).unwrap();
        let mut seen = 0;
        let mut rotation = self.begin_rotation("default");
        while seen < changes && rotation.ended().is_none() {
            let now = std::fs::read(record).unwrap();
            if now != last {
                seen += 1;
                last = now;
            }
        }
        self.process().kill();
        rotation.wait();
    }

    /// `keyway rotate KEYRING`: exit status and output.
    pub fn try_rotate(&self, keyring: &str) -> (ExitStatus, String) {
        let mut process = self.begin_rotation(keyring);
        let status = process.wait();
        (status, process.whole_log())
    }
}

/// The files of a state directory, without those that every run writes anew and the audit log, which records failed attempts.
pub fn contents(state: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    const ANEW: [&str; 6] = [
        "lock",
        "ports.json",
        "admin.sock",
        "filler",
        "log.jsonl",
        "checkpoints",
    ];
    let mut found = BTreeMap::new();
    let mut folders = vec![state.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let kind = entry.file_type().unwrap();
            let anew = ANEW.iter().any(|name| entry.file_name() == *name);
            if kind.is_dir() {
                folders.push(entry.path());
            } else if kind.is_file() && !anew {
                found.insert(entry.path(), std::fs::read(entry.path()).unwrap());
            }
        }
    }
    found
}

/// Fails unless `keyway run` with this configuration exits with code 4, prints all these words, and changes nothing.
pub fn assert_refused(gateway: &Gateway, words: &[&str]) {
    let before = contents(&gateway.state());
    let (status, said) = refused(&gateway.config());
    assert_eq!(status.code(), Some(4), "{said}");
    for word in words {
        assert!(said.contains(word), "no `{word}` in: {said}");
    }
    assert!(!said.contains("panicked"), "{said}");
    let after = contents(&gateway.state());
    assert_eq!(
        before.keys().collect::<Vec<_>>(),
        after.keys().collect::<Vec<_>>()
    );
    assert!(before == after, "the state directory was changed; {said}");
}

/// Runs a gateway that must not start: exit status and output.
pub fn refused(config: &Path) -> (ExitStatus, String) {
    let mut command = Command::new(binary());
    let mut process = Process::start("keyway run", command.args(["run", "--config"]).arg(config));
    let status = process.wait();
    (status, process.whole_log())
}
