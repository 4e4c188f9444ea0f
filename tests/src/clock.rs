//! A gateway whose wall clock a test sets.

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
    /// Compiles it. It shows the right time until it is set.
    pub fn new() -> Self {
        let clock = Self {
            library: Preload::compile("clock"),
            folder: scratch::folder("clock"),
        };
        clock.shift(0);
        clock
    }

    /// Restarts the gateway with this clock.
    pub fn rule(&self, gateway: &mut Gateway) {
        gateway.restart_in(&[
            ("LD_PRELOAD", self.library.path()),
            ("CLOCK_BY", self.by().as_os_str()),
        ]);
    }

    /// From now on the clock is wrong by this many seconds.
    pub fn shift(&self, seconds: i64) {
        self.write(seconds, self.by());
    }

    /// The same from the gateway's next write to disk on: in the middle of what it does.
    pub fn shift_at_next_write(&self, seconds: i64) {
        self.write(seconds, self.folder.path().join("by.next"));
    }

    fn write(&self, seconds: i64, path: PathBuf) {
        // Whoever reads meanwhile must not find half a number.
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
