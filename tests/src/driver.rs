//! Runs the scenario list in a client of another language, and compares what it saw.

use crate::scratch::{self, repository};
use crate::tools;
use crate::wait::DEADLINE;
use serde::Deserialize;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;

/// How often nats.c may crash: libnats 3.4 uses freed subscriptions on a loaded machine, also against the bare server (4 of 150 runs
/// beside five others). What the gateway does wrong it does each time.
const TRIES: usize = 3;

/// An official client with a driver in `tests/clients`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Client {
    /// nats.c
    C,
    /// nats.js on Node
    JavaScript,
    /// nats.py
    Python,
}

/// The result of a scenario.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct Outcome {
    /// The scenario's name.
    pub name: String,
    /// Whether the scenario's own checks held.
    pub pass: bool,
    /// The error message.
    #[serde(default)]
    pub detail: String,
    /// What the client saw, in order and without what differs from run to run: to be equal directly and through the gateway.
    pub seen: Vec<String>,
}

impl Client {
    fn command(self, list: &str) -> Command {
        let clients = repository().join("tests/clients");
        match self {
            Self::C => Command::new(tools::path("c")),
            Self::JavaScript => {
                let mut command = Command::new(tools::path("node"));
                command
                    .env("NODE_PATH", tools::path("js"))
                    .arg(clients.join(format!("js/{list}.cjs")));
                command
            }
            Self::Python => {
                let mut command = Command::new("python3");
                command
                    .env("PYTHONPATH", tools::path("python"))
                    .arg("-B")
                    .arg(clients.join(format!("python/{list}.py")));
                command
            }
        }
    }

    /// Runs every scenario against `url`. Where a scenario asks for something to be done meanwhile, `cue` gets its name
    /// (`restart-front`, `restart-server`) and does it. `args` goes to the driver as it is.
    pub fn run(self, url: &str, args: &[&str], mut cue: impl FnMut(&str)) -> Vec<Outcome> {
        let args = [&["--url", url], args].concat();
        for _ in 1..TRIES {
            if let Some(outcomes) = self.try_run("driver", &args, &mut cue, true) {
                return outcomes;
            }
        }
        self.try_run("driver", &args, &mut cue, false).unwrap()
    }

    /// Runs the list of NATS features, with these arguments, which name the gateways.
    pub fn features(self, args: &[&str]) -> Vec<Outcome> {
        let nothing = &mut |cue: &str| panic!("unknown cue {cue}");
        self.try_run("features", args, nothing, false).unwrap()
    }

    /// Runs one scenario of the list of what happens at the gateway's edges; nats.c has none. `cue` is as in [`Self::run`].
    pub fn edge(self, url: &str, scenario: &str, mut cue: impl FnMut(&str)) -> Vec<Outcome> {
        let args = ["--url", url, "--only", scenario];
        let outcomes = self.try_run("edges", &args, &mut cue, false).unwrap();
        assert_eq!(outcomes.len(), 1, "no scenario {scenario}");
        outcomes
    }

    /// `None` when `again` and the client's own library crashed.
    #[expect(
        clippy::fn_params_excessive_bools,
        reason = "private, with two callers side by side"
    )]
    fn try_run(
        self,
        list: &str,
        args: &[&str],
        mut cue: &mut dyn FnMut(&str),
        again: bool,
    ) -> Option<Vec<Outcome>> {
        let folder = scratch::folder("driver");
        let report = folder.path().join("report.json");
        let mut command = self.command(list);
        command.arg("--out").arg(&report).args(args);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let complaints = gather(child.stderr.take().unwrap());
        let answered = answer_cues(&mut child, &mut cue);
        if !answered {
            child.kill().unwrap();
        }
        let status = child.wait().unwrap();
        let complaints = complaints.recv().unwrap();
        assert!(
            answered,
            "{self:?} driver said nothing for {:?}\n{complaints}",
            DEADLINE * 3
        );
        if again && self == Self::C && status.signal().is_some() {
            eprintln!("C driver ended with {status}, once more\n{complaints}");
            return None;
        }
        assert!(
            status.success(),
            "{self:?} driver ended with {status}\n{complaints}"
        );
        Some(serde_json::from_slice(&std::fs::read(report).unwrap()).unwrap())
    }
}

/// Fails, naming every scenario, unless all passed.
pub fn assert_passed(where_: &str, outcomes: &[Outcome]) {
    assert!(!outcomes.is_empty(), "{where_}: no scenario ran");
    let failed: Vec<_> = outcomes.iter().filter(|outcome| !outcome.pass).collect();
    assert!(failed.is_empty(), "{where_}: {failed:#?}");
}

/// Fails unless the client saw the same as it saw directly.
pub fn assert_same(where_: &str, direct: &[Outcome], outcomes: &[Outcome]) {
    for (expected, got) in direct.iter().zip(outcomes) {
        assert_eq!(
            expected, got,
            "{where_}: {} is not what it is directly",
            expected.name
        );
    }
    assert_eq!(
        direct.len(),
        outcomes.len(),
        "{where_}: not the same scenarios"
    );
}

/// Answers each `CUE name` line; false if the driver times out.
fn answer_cues(child: &mut Child, cue: &mut impl FnMut(&str)) -> bool {
    let mut stdin = child.stdin.take().unwrap();
    let stdout = child.stdout.take().unwrap();
    let (sender, lines) = mpsc::channel();
    std::thread::spawn(move || {
        BufReader::new(stdout)
            .lines()
            .map_while(Result::ok)
            .try_for_each(|line| sender.send(line))
    });
    loop {
        match lines.recv_timeout(DEADLINE * 3) {
            Ok(line) => {
                if let Some(name) = line.strip_prefix("CUE ") {
                    cue(name);
                    stdin.write_all(b"done\n").unwrap();
                }
            }
            Err(mpsc::RecvTimeoutError::Disconnected) => return true,
            Err(mpsc::RecvTimeoutError::Timeout) => return false,
        }
    }
}

fn gather(mut pipe: impl Read + Send + 'static) -> mpsc::Receiver<String> {
    let (sender, whole) = mpsc::channel();
    std::thread::spawn(move || {
        let mut text = Vec::new();
        let read = pipe.read_to_end(&mut text);
        sender.send(read.map_or_else(
            |error| error.to_string(),
            |_| String::from_utf8_lossy(&text).into_owned(),
        ))
    });
    whole
}
