//! Promise: what happened to keys can be read and proven later, and what cannot be written down does not happen.
#![expect(
    clippy::unwrap_used,
    reason = "a test stops at the first thing that is not as expected"
)]

use keyway_tests::command::{code, json, keyway, path, stderr_of, text};
use keyway_tests::scratch;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A state directory with an audit log of some lines: the first, and those of each rotation.
struct StateDirectory {
    folder: tempfile::TempDir,
    /// The output of `keyway init`.
    said: String,
}

impl StateDirectory {
    fn new(reasons: &[&str]) -> Self {
        let mut state = Self {
            folder: scratch::folder("audit"),
            said: String::new(),
        };
        let made = state.keyway(&["init"]);
        assert_eq!(code(&made), 0, "{}", stderr_of(&made));
        text(&made.stdout).clone_into(&mut state.said);
        for why in reasons {
            let rotated = state.keyway(&["rotate", "--why", why]);
            assert_eq!(code(&rotated), 0, "{}", stderr_of(&rotated));
        }
        state
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    fn log(&self) -> PathBuf {
        self.path().join("audit/log.jsonl")
    }

    fn checkpoints(&self) -> PathBuf {
        self.path().join("audit/checkpoints")
    }

    fn keyway(&self, words: &[&str]) -> Output {
        keyway(&[words, &["--state", path(&self.path())]].concat())
    }

    /// Fails unless `keyway audit verify WORDS` exits with 7 and prints this.
    fn assert_altered(&self, words: &[&str], said: &str) {
        let refused = self.keyway(&[&["audit", "verify"], words].concat());
        assert_eq!(code(&refused), 7, "{}", stderr_of(&refused));
        assert!(
            stderr_of(&refused).contains(said),
            "{}",
            stderr_of(&refused)
        );
    }
}

fn read(file: &Path) -> String {
    std::fs::read_to_string(file).unwrap()
}

/// The log's lines, each with its line end.
fn lines(state: &StateDirectory) -> Vec<String> {
    let log = read(&state.log());
    log.split_inclusive('\n').map(str::to_owned).collect()
}

#[test]
fn log_verifies_with_the_key_that_init_printed_and_shows_what_happened() {
    let state = StateDirectory::new(&["one", "two\u{1b}[2J"]);
    let key = state.said.split("verifier key ").nth(1).unwrap();
    let key = key.lines().next().unwrap();
    let verified = json(&state.keyway(&["audit", "verify", "--json", "--key", key]));
    let count = lines(&state).len();
    assert_eq!(
        (&verified["lines"], &verified["key"]),
        (&count.into(), &key.into())
    );
    assert_eq!(code(&state.keyway(&["audit", "verify"])), 0);
    let shown = state.keyway(&["audit", "show"]);
    // Three versions were generated, admitted and activated, the first one because there was none.
    let rows = text(&shown.stdout).matches("  done").count();
    assert_eq!(rows, 9, "{}", stderr_of(&shown));
    let words = ["audit", "show", "--json", "-n", "1", "--keyring", "default"];
    let shown = json(&state.keyway(&words));
    let line = &shown["lines"][0];
    assert_eq!(line["why"], "two\u{1b}[2J", "{shown}");
    let label = line["version"]["label"].as_str().unwrap();
    assert!(label.ends_with(".3"), "{shown}");
    let other = state.keyway(&["audit", "show", "--keyring", "other"]);
    assert_eq!(text(&other.stdout).lines().count(), 1);
}

#[test]
fn altered_log_is_shown_and_ends_with_exit_code_7_and_a_copy_without_a_key_with_a_warning() {
    let state = StateDirectory::new(&["one", "two"]);
    let altered = read(&state.log()).replace("\"why\":\"one\"", "\"why\":\"won\"");
    let copy = state.log().with_file_name("copy.jsonl");
    std::fs::write(&copy, &altered).unwrap();
    std::fs::write(state.log(), altered).unwrap();
    for form in [&[][..], &["--json"]] {
        let shown = state.keyway(&[&["audit", "show"], form].concat());
        assert_eq!(code(&shown), 7, "{}", stderr_of(&shown));
        assert!(text(&shown.stdout).contains("won"), "{}", stderr_of(&shown));
        assert!(
            text(&shown.stderr).contains("line "),
            "{}",
            stderr_of(&shown)
        );
    }
    let elsewhere = tempfile::tempdir().unwrap();
    let moved = elsewhere.path().join("copy.jsonl");
    std::fs::rename(copy, &moved).unwrap();
    let shown = state.keyway(&["audit", "show", "--log", moved.to_str().unwrap()]);
    assert_eq!(code(&shown), 0, "{}", stderr_of(&shown));
    let said = text(&shown.stderr);
    assert!(
        said.contains("nothing says whether these lines are as written"),
        "{said}"
    );
}

#[test]
fn order_that_is_refused_is_in_the_log_with_who_and_why() {
    let state = StateDirectory::new(&["one"]);
    for (words, action, says) in [
        (["archive", "2"], "archive", "only a decrypt-only version"),
        (["suspend", "9"], "suspend", "has no version `9`"),
    ] {
        let refused = state.keyway(&[&words[..], &["--why", "in error"]].concat());
        assert_eq!(code(&refused), 8, "{}", stderr_of(&refused));
        let shown = json(&state.keyway(&["audit", "show", "--json", "-n", "2"]));
        let lines = shown["lines"].as_array().unwrap();
        let of = |line: &&serde_json::Value| line["outcome"] == "refused";
        let line = lines.iter().rev().find(of).unwrap();
        assert_eq!(line["action"], action, "{shown}");
        assert_eq!(line["why"], "in error", "{shown}");
        assert!(line["who"].as_str().unwrap().starts_with("uid:"), "{shown}");
        assert!(line["error"].as_str().unwrap().contains(says), "{shown}");
    }
    assert_eq!(code(&state.keyway(&["audit", "verify"])), 0);
}

#[test]
fn line_that_was_changed_removed_or_cut_off_is_named_and_stops_key_events() {
    let state = StateDirectory::new(&["one", "two"]);
    let whole = lines(&state);
    let last = whole.len();
    let said = whole.iter().position(|line| line.contains("one")).unwrap();
    let altered = |alter: &dyn Fn(&mut Vec<String>)| {
        let mut lines = whole.clone();
        alter(&mut lines);
        lines.concat()
    };
    for (wrong, content) in [
        (
            said + 1,
            altered(&|lines| lines[said] = lines[said].replacen("one", "won", 1)),
        ),
        (2, altered(&|lines| drop(lines.remove(1)))),
        (last - 1, altered(&|lines| lines.swap(last - 1, last - 2))),
        (last, altered(&|lines| drop(lines.pop()))),
    ] {
        std::fs::write(state.log(), &content).unwrap();
        state.assert_altered(&[], &format!("line {wrong} "));
        let rotated = state.keyway(&["rotate", "--why", "three"]);
        assert_eq!(code(&rotated), 4, "{}", stderr_of(&rotated));
        assert_eq!(read(&state.log()), content);
    }
    std::fs::write(state.log(), whole.concat()).unwrap();
    let listed = json(&state.keyway(&["keys", "--json"]));
    assert_eq!(listed["versions"].as_array().unwrap().len(), 3);
    assert_eq!(code(&state.keyway(&["rotate", "--why", "three"])), 0);
}

#[test]
fn log_cut_back_with_its_checkpoints_is_noticed_with_one_kept_elsewhere() {
    let state = StateDirectory::new(&[]);
    let files = [state.log(), state.checkpoints()];
    let before = files.each_ref().map(|file| read(file));
    assert_eq!(code(&state.keyway(&["rotate", "--why", "one"])), 0);
    let notes = read(&state.checkpoints());
    let lines: Vec<&str> = notes.lines().collect();
    let kept = state.folder.path().join("kept");
    std::fs::write(&kept, lines[lines.len() - 6..].join("\n")).unwrap();
    let option = ["--checkpoint", path(&kept)];
    let verified = state.keyway(&["audit", "verify", option[0], option[1]]);
    assert_eq!(code(&verified), 0, "{}", stderr_of(&verified));
    for (file, content) in files.iter().zip(before) {
        std::fs::write(file, content).unwrap();
    }
    state.assert_altered(&option, "line 2 and what follows is cut off");
    // The records show it too, as long as they exist.
    state.assert_altered(&[], "a record beside the log was written when");
}

#[test]
fn directory_from_before_there_was_a_log_gets_one() {
    let state = StateDirectory::new(&[]);
    std::fs::remove_dir_all(state.path().join("audit")).unwrap();
    std::fs::remove_file(state.path().join("audit.key")).unwrap();
    assert_eq!(code(&state.keyway(&["rotate", "--why", "two"])), 0);
    let verified = json(&state.keyway(&["audit", "verify", "--json"]));
    assert_eq!(verified["lines"], lines(&state).len());
}

#[test]
fn log_that_was_moved_away_is_missed_until_another_is_begun_for_a_reason() {
    let state = StateDirectory::new(&["one"]);
    let begin = ["audit", "begin", "--why", "the disk lost it"];
    let refused = |words: &[&str], said: &str| {
        let refused = state.keyway(words);
        assert_eq!(code(&refused), 4, "{}", stderr_of(&refused));
        assert!(
            stderr_of(&refused).contains(said),
            "{}",
            stderr_of(&refused)
        );
    };
    refused(&begin, "belongs to an audit log");
    std::fs::remove_dir_all(state.path().join("audit")).unwrap();
    refused(&["rotate", "--why", "two"], "move the key away as well");
    std::fs::remove_file(state.path().join("audit.key")).unwrap();
    refused(&["rotate", "--why", "two"], "keyway audit begin");
    let begun = state.keyway(&begin);
    assert_eq!(code(&begun), 0, "{}", stderr_of(&begun));
    let said = &lines(&state)[1];
    assert!(said.contains("log-replaced") && said.contains("the disk lost it"));
    assert_eq!(code(&state.keyway(&["rotate", "--why", "two"])), 0);
    let verified = json(&state.keyway(&["audit", "verify", "--json"]));
    assert_eq!(verified["lines"], lines(&state).len());
}

#[test]
fn published_recipe_verifies_a_log_without_keyway() {
    let state = StateDirectory::new(&["one"]);
    let page = read(&scratch::repository().join("docs/audit.md"));
    let recipe = page.split("```python\n").nth(1).unwrap();
    let recipe = recipe.split("```").next().unwrap();
    let run = || {
        let mut python = Command::new("python3");
        python.args(["-c", recipe]);
        python.args([state.log(), state.checkpoints()]);
        python.output().unwrap()
    };
    let said = run();
    let count = lines(&state).len();
    let wanted = format!("{count} lines, {count} checkpoints\n");
    assert_eq!(text(&said.stdout), wanted, "{}", stderr_of(&said));
    let done = lines(&state);
    let done = done.iter().position(|line| line.contains("done")).unwrap() + 1;
    let changed = read(&state.log()).replace("done", "gone");
    std::fs::write(state.log(), changed).unwrap();
    assert!(text(&run().stderr).contains(&format!("line {done} was changed")));
}
