//! What a process uses, as `/proc` shows it.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use crate::error::Error;
use crate::process::Process;

impl Process {
    /// Resident memory in bytes, to the byte; of a gateway only root may ask.
    ///
    /// # Errors
    /// The process is gone, or nobody else's business.
    pub fn resident(&self) -> Result<u64, Error> {
        self.memory("smaps_rollup", "Rss:")
    }

    /// Peak resident memory in bytes since the last reset.
    ///
    /// # Errors
    /// The process is gone.
    pub fn peak(&self) -> Result<u64, Error> {
        self.memory("status", "VmHWM:")
    }

    /// Resets the peak of resident memory.
    pub fn forget_peak(&self) {
        // Where the kernel refuses, the peak is that since the start.
        drop(fs::write(self.proc("clear_refs"), "5"));
    }

    /// The amount on the line that begins with `name` in this file of its folder in `/proc`, in bytes.
    ///
    /// # Errors
    /// The process is gone, or the file has no such line.
    pub fn memory(&self, file: &str, name: &str) -> Result<u64, Error> {
        let path = self.proc(file);
        let failed = |source| Error::io(format!("reading {}", path.display()), source);
        let text = fs::read_to_string(&path).map_err(failed)?;
        let kib = text
            .lines()
            .find_map(|line| line.strip_prefix(name)?.trim().strip_suffix(" kB"))
            .and_then(|number| number.parse::<u64>().ok());
        kib.map(|kib| kib.saturating_mul(1024))
            .ok_or_else(|| failed(std::io::ErrorKind::InvalidData.into()))
    }

    /// Open files.
    ///
    /// # Errors
    /// The process is gone.
    pub fn files(&self) -> Result<u64, Error> {
        let found = self.entries("fd")?.count();
        Ok(u64::try_from(found).unwrap_or(u64::MAX))
    }

    /// Threads.
    ///
    /// # Errors
    /// The process is gone.
    pub fn threads(&self) -> Result<u64, Error> {
        let found = self.entries("task")?.count();
        Ok(u64::try_from(found).unwrap_or(u64::MAX))
    }

    /// CPU time of all its threads that still run.
    ///
    /// # Errors
    /// The process is gone.
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
        let found = fs::read_dir(&path);
        let found =
            found.map_err(|source| Error::io(format!("reading {}", path.display()), source))?;
        Ok(found.flatten().map(|entry| entry.path()))
    }

    fn proc(&self, file: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/{file}", self.id()))
    }
}
