//! A gateway that is killed at one step of its writing to disk, chosen in advance.

use crate::gateway::Gateway;
use crate::scratch;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// A library that counts what a process makes durable, and kills it.
pub struct Death {
    folder: TempDir,
}

impl Death {
    /// Compiles it.
    pub fn new() -> Self {
        let folder = scratch::folder("death");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/death.c");
        let compiled = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-o"])
            .arg(folder.path().join("death.so"))
            .arg(source)
            .arg("-ldl")
            .output()
            .expect("a C compiler");
        assert!(
            compiled.status.success(),
            "{}",
            compiled.stderr.escape_ascii()
        );
        Self { folder }
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
        let library = self.folder.path().join("death.so");
        start(&[
            ("LD_PRELOAD", library.as_os_str()),
            ("DIE_WHEN", self.armed().as_os_str()),
            ("DIE_AFTER", OsStr::new(&step.to_string())),
        ])
    }

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
