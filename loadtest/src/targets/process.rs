//! A child process: started, waited for, looked at in /proc, and killed when dropped.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use crate::error::RunError;
use crate::load::now;

/// How long a program may take to be ready.
const START: Duration = Duration::from_secs(20);

/// How often its output is polled.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// A running program; its log goes to a file.
pub(crate) struct Process {
    child: Child,
}

impl Process {
    /// Starts `command` and waits until `ready` yields a value.
    pub(crate) fn start<T>(
        mut command: Command,
        log: &Path,
        ready: impl Fn() -> Option<T>,
    ) -> Result<(Self, T), RunError> {
        let program = command.get_program().to_string_lossy().into_owned();
        let failed = |why: String| RunError::Program {
            program: program.clone(),
            why,
        };
        let file =
            File::create(log).map_err(|source| RunError::io("creating a log file", source))?;
        let other = file
            .try_clone()
            .map_err(|source| RunError::io("creating a log file", source))?;
        let child = command
            .stdin(Stdio::null())
            .stdout(file)
            .stderr(other)
            .spawn()
            .map_err(|error| failed(error.to_string()))?;
        let mut process = Self { child };
        let begun = now();
        loop {
            if let Some(announced) = ready() {
                return Ok((process, announced));
            }
            let ended = process
                .child
                .try_wait()
                .is_ok_and(|status| status.is_some());
            if ended || now().duration_since(begun) > START {
                let said = fs::read_to_string(log).unwrap_or_default();
                return Err(failed(said));
            }
            std::thread::park_timeout(POLL_INTERVAL);
        }
    }

    /// Resident memory in bytes.
    pub(crate) fn resident(&self) -> Result<u64, RunError> {
        self.memory("smaps_rollup", "Rss:")
    }

    /// Peak resident memory in bytes since the last reset.
    pub(crate) fn peak(&self) -> Result<u64, RunError> {
        self.memory("status", "VmHWM:")
    }

    /// Resets the peak of resident memory.
    pub(crate) fn forget_peak(&self) {
        // Where the kernel refuses, the peak is that since the start.
        drop(fs::write(
            format!("/proc/{}/clear_refs", self.child.id()),
            "5",
        ));
    }

    fn memory(&self, file: &str, name: &str) -> Result<u64, RunError> {
        let path = format!("/proc/{}/{file}", self.child.id());
        let text = read(&path)?;
        let kib = text
            .lines()
            .find_map(|line| line.strip_prefix(name))
            .and_then(|rest| rest.trim().strip_suffix("kB"))
            .and_then(|number| number.trim().parse::<u64>().ok());
        kib.map(|kib| kib * 1024)
            .ok_or_else(|| RunError::Limit(format!("{path} has no {name}")))
    }

    /// Open files, and threads.
    pub(crate) fn files_and_threads(&self) -> Result<(u64, u64), RunError> {
        let count = |what: &str| -> Result<u64, RunError> {
            let folder = format!("/proc/{}/{what}", self.child.id());
            let found = fs::read_dir(&folder)
                .map_err(|source| RunError::io(format!("reading {folder}"), source))?;
            Ok(u64::try_from(found.count()).unwrap_or(u64::MAX))
        };
        Ok((count("fd")?, count("task")?))
    }

    /// CPU time of all its threads that still run.
    pub(crate) fn cpu(&self) -> Result<Duration, RunError> {
        let folder = format!("/proc/{}/task", self.child.id());
        let threads = fs::read_dir(&folder)
            .map_err(|source| RunError::io(format!("reading {folder}"), source))?;
        let mut spent = 0;
        for thread in threads.flatten() {
            // A thread may end meanwhile.
            let text = fs::read_to_string(thread.path().join("schedstat")).unwrap_or_default();
            spent += text
                .split(' ')
                .next()
                .and_then(|nanos| nanos.parse::<u64>().ok())
                .unwrap_or(0);
        }
        Ok(Duration::from_nanos(spent))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only where it has ended by itself.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// CPU time of this program, including threads that have ended.
pub(crate) fn own_cpu() -> Duration {
    let spent = clock_gettime(ClockId::ProcessCPUTime);
    Duration::try_from(spent).unwrap_or_default()
}

fn read(path: &str) -> Result<String, RunError> {
    fs::read_to_string(path).map_err(|source| RunError::io(format!("reading {path}"), source))
}
