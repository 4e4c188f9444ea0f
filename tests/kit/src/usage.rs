//! What a process uses, as `/proc` shows it.

use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::time::Duration;

use crate::error::Error;
use crate::process::Process;

impl Process {
    /// Resident memory in bytes, to the byte; of a gateway only root may ask.
    pub fn resident(&self) -> Result<u64, Error> {
        self.memory("smaps_rollup", "Rss:")
    }

    /// Peak resident memory in bytes since the last reset.
    pub fn peak(&self) -> Result<u64, Error> {
        self.memory("status", "VmHWM:")
    }

    /// Resets the peak of resident memory.
    pub fn forget_peak(&self) {
        // Where the kernel refuses, the peak is that since the start.
        drop(fs::write(self.proc("clear_refs"), "5"));
    }

    /// The amount on the line that begins with `name` in this file of its folder in `/proc`, in bytes.
    pub fn memory(&self, file: &str, name: &str) -> Result<u64, Error> {
        let path = self.proc(file);
        let failed = || Error::io(format!("reading {name} in {}", path.display()));
        let text = fs::read_to_string(&path).map_err(failed())?;
        let mut lines = text.lines();
        let kib = lines.find_map(|line| line.strip_prefix(name)?.trim().strip_suffix(" kB"));
        let kib = kib.and_then(|number| number.parse::<u64>().ok());
        kib.map(|kib| kib.saturating_mul(1024))
            .ok_or_else(|| failed()(ErrorKind::InvalidData.into()))
    }

    /// How many entries this folder of its folder in `/proc` has: `fd` for open files, `task` for threads.
    pub fn count(&self, folder: &str) -> Result<u64, Error> {
        Ok(self.entries(folder)?.map(|_| 1).sum())
    }

    /// CPU time of all its threads that still run.
    pub fn cpu(&self) -> Result<Duration, Error> {
        let nanos = self.entries("task")?.filter_map(|thread| {
            // A thread may end meanwhile.
            let text = fs::read_to_string(thread.join("schedstat")).ok()?;
            text.split(' ').next()?.parse::<u64>().ok()
        });
        Ok(Duration::from_nanos(nanos.sum()))
    }

    fn entries(&self, folder: &str) -> Result<impl Iterator<Item = PathBuf>, Error> {
        let path = self.proc(folder);
        let found = fs::read_dir(&path).map_err(Error::io(format!("reading {}", path.display())));
        Ok(found?.flatten().map(|entry| entry.path()))
    }

    fn proc(&self, file: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/{file}", self.id()))
    }
}
