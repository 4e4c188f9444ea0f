//! A child process and its log.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::process::{Child, Command, ExitStatus, Stdio};

use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};

use crate::error::Error;
use crate::wait::{self, DEADLINE};

/// A running program, killed when dropped.
pub struct Process {
    name: String,
    child: Child,
    /// Both its outputs: a file without a name, so that nobody has to read on for the program to go on.
    log: File,
}

impl Process {
    /// Starts `command` with this standard input.
    pub fn start(name: &str, command: &mut Command, input: Stdio) -> Result<Self, Error> {
        let program = command.get_program().display();
        let what = format!("cannot run {program} (install it, or name its path)");
        let (child, log) = spawn(command, input).map_err(Error::io(what))?;
        let name = name.to_owned();
        Ok(Self { name, child, log })
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
        read().unwrap_or_else(|error: io::Error| format!("(its log: {error})"))
    }

    /// The first line, logged already or within the deadline, for which `pick` yields something.
    pub fn line<T>(&self, what: &str, pick: impl Fn(&str) -> Option<T>) -> Result<T, Error> {
        self.until(what, || {
            let log = self.log();
            // What is behind the last line end is still being written.
            let (whole, _) = log.rsplit_once('\n')?;
            whole.lines().find_map(&pick)
        })
    }

    /// Polls `probe` until it yields a value.
    pub fn until<T>(
        &self,
        awaited: &str,
        mut probe: impl FnMut() -> Option<T>,
    ) -> Result<T, Error> {
        let found = wait::until(|| {
            // In this order, so that all that it did before its end is seen.
            let has_ended = self.has_ended();
            let missing = || has_ended.then_some(None);
            probe().map(Some).or_else(missing)
        });
        let log = self.log();
        let cause = match found {
            Some(Some(value)) => return Ok(value),
            Some(None) => log.lines().last().unwrap_or("it ended at once").to_owned(),
            None => format!("not within {DEADLINE:?}"),
        };
        let what = format!("{} did not show {awaited}", self.name);
        Err(Error { what, cause, log })
    }

    /// The exit status, if it has ended.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
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

fn spawn(command: &mut Command, input: Stdio) -> io::Result<(Child, File)> {
    let log = tempfile::tempfile()?;
    command.stdin(input).stdout(log.try_clone()?);
    let child = command.stderr(log.try_clone()?).spawn()?;
    Ok((child, log))
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
        let last: String = (12..=30).map(|number| format!("\n  {number}")).collect();
        let said = format!("sh did not show ready: why{last}\n  why");
        assert_eq!(error.to_string(), said);
    }

    #[test]
    fn line_is_found_even_if_the_program_has_ended_since() {
        let mut process = shell("echo ready");
        wait::until(|| process.ended()).unwrap();
        process.line("ready", is_ready).unwrap();
    }

    #[test]
    fn program_that_does_not_exist_is_an_error_that_names_it() {
        let mut command = Command::new("/nonexistent");
        let started = Process::start("nothing", &mut command, Stdio::null());
        let said = started.err().unwrap().to_string();
        assert!(said.starts_with("cannot run /nonexistent ("), "{said}");
    }
}
