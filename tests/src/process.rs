//! A child process and its log.

use crate::wait::{self, DEADLINE};
use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;

/// A running program. Dropping it kills it, and shows its log if the test is failing.
pub struct Process {
    name: String,
    child: Child,
    log: Arc<Log>,
    readers: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Log {
    lines: Mutex<Vec<String>>,
    grew: Condvar,
}

impl Process {
    /// Starts `command` and collects both its outputs.
    pub fn start(name: &str, command: &mut Command) -> Self {
        Self::start_reading(name, command, Stdio::null())
    }

    /// The same with something on standard input.
    pub fn start_reading(name: &str, command: &mut Command, input: Stdio) -> Self {
        command
            .stdin(input)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {name} ({command:?}): {error}"));
        let log = Arc::new(Log::default());
        let readers = vec![
            log.gather(child.stdout.take().unwrap()),
            log.gather(child.stderr.take().unwrap()),
        ];
        Self {
            name: name.to_owned(),
            child,
            log,
            readers,
        }
    }

    /// The first line, logged already or within the deadline, for which `pick` yields something.
    pub fn line<T>(&self, what: &str, pick: impl Fn(&str) -> Option<T>) -> T {
        let lines = self.log.lines.lock().unwrap();
        let mut found = None;
        let wanted = |lines: &mut Vec<String>| {
            found = lines.iter().find_map(|line| pick(line));
            found.is_none()
        };
        let (guard, _) = self
            .log
            .grew
            .wait_timeout_while(lines, DEADLINE, wanted)
            .unwrap();
        drop(guard);
        found.unwrap_or_else(|| {
            panic!(
                "{} did not log, within {DEADLINE:?}: {what}\n{}",
                self.name,
                self.log()
            )
        })
    }

    /// Everything logged so far.
    pub fn log(&self) -> String {
        self.log.lines.lock().unwrap().join("\n")
    }

    /// Its complete log; waits until it and its children have closed their outputs.
    pub fn whole_log(&mut self) -> String {
        for reader in self.readers.drain(..) {
            reader.join().unwrap();
        }
        self.log()
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The exit status, if it has ended.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// Waits for the end.
    pub fn wait(&mut self) -> ExitStatus {
        let name = format!("the end of {}", self.name);
        wait::until(&name, || self.child.try_wait().unwrap())
    }

    /// `SIGKILL`, and waits for the end.
    pub fn kill(&mut self) {
        if self.ended().is_none() {
            self.child.kill().unwrap();
        }
        self.child.wait().unwrap();
    }

    /// `SIGTERM`, and waits for the end.
    pub fn terminate(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.wait()
    }

    /// `SIGSTOP`: its sockets stay open and silent.
    pub fn pause(&self) {
        self.signal(Signal::STOP);
    }

    /// `SIGCONT`, after [`Process::pause`].
    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!("---- log of {}\n{}\n----", self.name, self.log());
        }
    }
}

impl Log {
    fn gather(self: &Arc<Self>, pipe: impl Read + Send + 'static) -> JoinHandle<()> {
        let log = Arc::clone(self);
        std::thread::spawn(move || {
            for line in BufReader::new(pipe).lines().map_while(Result::ok) {
                log.lines.lock().unwrap().push(line);
                log.grew.notify_all();
            }
        })
    }
}
