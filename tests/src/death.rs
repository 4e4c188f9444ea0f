//! A gateway that is killed at one step of its writing to disk, chosen in advance.

use crate::gateway::Gateway;
use crate::preload::Preload;
use crate::scratch;
use std::ffi::OsStr;
use std::path::PathBuf;
use tempfile::TempDir;

/// A library that counts what a process makes durable, and kills it.
pub struct Death {
    library: Preload,
    folder: TempDir,
}

impl Death {
    /// Compiles it.
    pub fn new() -> Self {
        Self {
            library: Preload::compile("death"),
            folder: scratch::folder("armed"),
        }
    }

    /// Restarts the gateway so that it will be killed at this step, counted from when [`Death::arm`] is called.
    pub fn await_in(&self, gateway: &mut Gateway, step: usize) {
        if self.armed().exists() {
            std::fs::remove_file(self.armed()).unwrap();
        }
        self.threaten(step, |environment| gateway.restart_in(environment));
    }

    /// Starts something in an environment in which it is killed at this step, once armed.
    pub fn threaten<T>(&self, step: usize, start: impl FnOnce(&[(&str, &OsStr)]) -> T) -> T {
        start(&[
            ("LD_PRELOAD", self.library.path()),
            ("DIE_WHEN", self.armed().as_os_str()),
            ("DIE_AFTER", OsStr::new(&step.to_string())),
        ])
    }

    /// What makes more of a command's steps count, if it is in its environment: whatever makes or fills a file or a directory.
    pub const FINELY: (&str, &str) = ("DIE_FINELY", "");

    /// From now on steps count.
    pub fn arm(&self) {
        std::fs::write(self.armed(), "").unwrap();
    }

    fn armed(&self) -> PathBuf {
        self.folder.path().join("armed")
    }
}

impl Default for Death {
    fn default() -> Self {
        Self::new()
    }
}
