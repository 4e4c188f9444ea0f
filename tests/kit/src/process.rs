//! A child process and its log.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::process::{Child, Command, ExitStatus, Stdio};

use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};

use crate::error::Error;
use crate::wait;

/// A running program, killed when dropped.
pub struct Process {
    name: String,
    child: Child,
    /// Both its outputs: a file without a name, so that nobody has to read on for the program to go on.
    log: File,
}

impl Process {
    /// Starts `command` with this standard input.
    ///
    /// # Errors
    /// There is no such program, or nowhere to write its log.
    pub fn start(name: &str, command: &mut Command, input: Stdio) -> Result<Self, Error> {
        let no_log = |source| Error::io("making a log file", source);
        let log = tempfile::tempfile().map_err(no_log)?;
        let outputs = (log.try_clone(), log.try_clone());
        let child = command
            .stdin(input)
            .stdout(outputs.0.map_err(no_log)?)
            .stderr(outputs.1.map_err(no_log)?)
            .spawn()
            .map_err(|source| Error::NotRun {
                program: command.get_program().display().to_string(),
                source,
            })?;
        Ok(Self {
            name: name.to_owned(),
            child,
            log,
        })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Everything logged so far.
    pub fn log(&self) -> String {
        let read = || {
            let len = self.log.metadata()?.len();
            let mut bytes = vec![0; usize::try_from(len).unwrap_or(usize::MAX)];
            self.log.read_exact_at(&mut bytes, 0)?;
            Ok(String::from_utf8_lossy(&bytes).into_owned())
        };
        read().unwrap_or_else(|error: std::io::Error| format!("(its log: {error})"))
    }

    /// The first line, logged already or within the deadline, for which `pick` yields something.
    ///
    /// # Errors
    /// The program ends, or the time, without such a line.
    pub fn line<T>(&self, what: &str, pick: impl Fn(&str) -> Option<T>) -> Result<T, Error> {
        self.until(what, || {
            let log = self.log();
            // What is behind the last line end is still being written.
            let (whole, _) = log.rsplit_once('\n')?;
            whole.lines().find_map(&pick)
        })
    }

    /// Polls `probe` until it yields a value.
    ///
    /// # Errors
    /// The program ends, or the time, without one.
    pub fn until<T>(&self, what: &str, mut probe: impl FnMut() -> Option<T>) -> Result<T, Error> {
        let found = wait::until(|| {
            // In this order, so that all that it did before its end is seen.
            let has_ended = self.has_ended();
            let missing = || has_ended.then_some(None);
            probe().map(Some).or_else(missing)
        });
        let (program, awaited, log) = (self.name.clone(), what.to_owned(), self.log());
        match found {
            Some(Some(value)) => Ok(value),
            Some(None) => Err(Error::Ended {
                program,
                awaited,
                log,
            }),
            None => Err(Error::Late {
                program,
                awaited,
                log,
            }),
        }
    }

    /// The exit status, if it has ended.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Waits for the end.
    ///
    /// # Errors
    /// It goes on.
    pub fn wait(&mut self) -> Result<ExitStatus, Error> {
        wait::until(|| self.ended()).ok_or_else(|| Error::Late {
            program: self.name.clone(),
            awaited: "its end".to_owned(),
            log: self.log(),
        })
    }

    /// `SIGKILL` if it still runs, and waits for the end.
    pub fn kill(&mut self) {
        // Both fail only where it has ended by itself.
        drop(self.child.kill());
        drop(self.child.wait());
    }

    /// The status stays there for [`Process::ended`].
    fn has_ended(&self) -> bool {
        let pid = WaitId::Pid(Pid::from_child(&self.child));
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        // Refused where the status has been fetched.
        waitid(pid, options).map_or(true, |status| status.is_some())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Process {
        let mut command = Command::new("sh");
        Process::start("sh", command.args(["-c", script]), Stdio::null()).unwrap()
    }

    fn is_ready(line: &str) -> Option<()> {
        (line == "ready").then_some(())
    }

    #[test]
    fn program_that_ends_too_early_is_an_error_with_its_last_lines() {
        let process = shell("seq 30; echo why >&2; exit 3");
        let error = process.line("ready", is_ready).unwrap_err();
        let last: String = (12..=30).map(|number| format!("{number}\n")).collect();
        assert_eq!(
            error.to_string(),
            format!("sh ended before this: ready; its last lines say why:\n{last}why")
        );
        assert_eq!(error.brief(), "why");
    }

    #[test]
    fn line_is_found_even_if_the_program_has_ended_since() {
        let mut process = shell("echo ready");
        assert!(process.wait().unwrap().success());
        process.line("ready", is_ready).unwrap();
    }

    #[test]
    fn program_that_does_not_exist_is_an_error_that_names_it() {
        let mut command = Command::new("/nonexistent");
        let started = Process::start("nothing", &mut command, Stdio::null());
        let said = started.err().unwrap().to_string();
        assert!(said.starts_with("cannot run /nonexistent: "), "{said}");
    }
}
