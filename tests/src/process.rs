//! A program of the test kit, for tests: what fails panics, and a failing test shows the program's log.

use crate::wait;
use keyway_test_kit as kit;
use rustix::process::{Pid, Signal, kill_process};
use std::ops::{Deref, DerefMut};
use std::process::{Command, ExitStatus, Stdio};

/// A running program. Dropping it kills it, and shows its log if the test is failing.
pub struct Process(pub(crate) kit::Process);

impl Process {
    /// Starts `command` and collects both its outputs.
    pub fn start(name: &str, command: &mut Command) -> Self {
        Self::start_reading(name, command, Stdio::null())
    }

    /// The same with something on standard input.
    pub fn start_reading(name: &str, command: &mut Command, input: Stdio) -> Self {
        Self(kit::Process::start(name, command, input).unwrap())
    }

    /// The first line, logged already or within the deadline, for which `pick` yields something.
    pub fn line<T>(&self, what: &str, pick: impl Fn(&str) -> Option<T>) -> T {
        self.0.line(what, pick).unwrap()
    }

    /// Its complete log; waits for the end.
    pub fn whole_log(&mut self) -> String {
        self.wait();
        self.log()
    }

    /// Waits for the end.
    pub fn wait(&mut self) -> ExitStatus {
        let name = format!("the end of {}", self.name());
        wait::until(&name, || self.ended())
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
        let pid = Pid::from_raw(self.id().cast_signed()).unwrap();
        kill_process(pid, signal).unwrap();
    }
}

impl Deref for Process {
    type Target = kit::Process;

    fn deref(&self) -> &kit::Process {
        &self.0
    }
}

impl DerefMut for Process {
    fn deref_mut(&mut self) -> &mut kit::Process {
        &mut self.0
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!("---- log of {}\n{}\n----", self.name(), self.log());
        }
    }
}
