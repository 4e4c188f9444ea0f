//! Shifts the wall clock of a gateway.

use crate::gateway::Gateway;
use crate::preload::Preload;
use crate::scratch;
use std::path::PathBuf;
use tempfile::TempDir;

/// A library that shifts a process's wall clock.
pub struct WallClock {
    library: Preload,
    folder: TempDir,
}

impl WallClock {
    /// Compiles the library. It shifts nothing until told to.
    pub fn new() -> Self {
        let clock = Self {
            library: Preload::compile("clock"),
            folder: scratch::folder("clock"),
        };
        clock.shift(0);
        clock
    }

    /// Restarts the gateway under this clock.
    pub fn restart_gateway(&self, gateway: &mut Gateway) {
        gateway.restart_with_env(&[
            ("LD_PRELOAD", self.library.path()),
            ("CLOCK_BY", self.by().as_os_str()),
        ]);
    }

    /// Shifts the clock by this many seconds from now on.
    pub fn shift(&self, seconds: i64) {
        self.write(seconds, self.by());
    }

    /// The same from the gateway's next write to disk on, so in the middle of an operation.
    pub fn shift_at_next_write(&self, seconds: i64) {
        self.write(seconds, self.folder.path().join("by.next"));
    }

    fn write(&self, seconds: i64, path: PathBuf) {
        // Written beside and renamed: a reader must not see half a number.
        let aside = self.folder.path().join("aside");
        std::fs::write(&aside, seconds.to_string()).unwrap();
        std::fs::rename(aside, path).unwrap();
    }

    fn by(&self) -> PathBuf {
        self.folder.path().join("by")
    }
}

impl Default for WallClock {
    fn default() -> Self {
        Self::new()
    }
}
