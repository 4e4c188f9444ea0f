//! Kills a process at a chosen step of its writing to disk.

use crate::gateway::Gateway;
use crate::preload::Preload;
use crate::scratch;
use std::ffi::OsStr;
use std::path::PathBuf;
use tempfile::TempDir;

/// A preloaded library that counts a process's writes to disk and kills it at one of them.
pub struct CrashInjection {
    library: Preload,
    folder: TempDir,
}

impl CrashInjection {
    /// Compiles it.
    pub fn new() -> Self {
        Self {
            library: Preload::compile("crash_injection"),
            folder: scratch::folder("armed"),
        }
    }

    /// Restarts the gateway so that it is killed at this step, counted from the call of [`CrashInjection::arm`].
    pub fn restart_with_kill_at(&self, gateway: &mut Gateway, step: usize) {
        if self.armed().exists() {
            std::fs::remove_file(self.armed()).unwrap();
        }
        self.with_kill_at(step, |environment| gateway.restart_with_env(environment));
    }

    /// Calls `start` with the environment of a process that is killed at this step, once armed.
    pub fn with_kill_at<T>(&self, step: usize, start: impl FnOnce(&[(&str, &OsStr)]) -> T) -> T {
        start(&[
            ("LD_PRELOAD", self.library.path()),
            ("DIE_WHEN", self.armed().as_os_str()),
            ("DIE_AFTER", OsStr::new(&step.to_string())),
        ])
    }

    /// Environment variable that makes every creation of and write to a file or directory a step, not only `fsync` and `rename`.
    pub const EVERY_CHANGE: (&str, &str) = ("DIE_FINELY", "");

    /// Begins to count steps.
    pub fn arm(&self) {
        std::fs::write(self.armed(), "").unwrap();
    }

    fn armed(&self) -> PathBuf {
        self.folder.path().join("armed")
    }
}

impl Default for CrashInjection {
    fn default() -> Self {
        Self::new()
    }
}
