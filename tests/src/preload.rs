//! C libraries that tests preload into a gateway (`LD_PRELOAD`).

use crate::scratch;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// A compiled library; its file is removed when dropped.
pub struct Preload {
    path: PathBuf,
    _folder: TempDir,
}

impl Preload {
    /// Compiles `tests/src/NAME.c`.
    pub fn compile(name: &str) -> Self {
        let folder = scratch::folder(name);
        let path = folder.path().join(format!("{name}.so"));
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("src/{name}.c"));
        let compiled = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-o"])
            .arg(&path)
            .arg(source)
            .arg("-ldl")
            .output()
            .expect("a C compiler");
        assert!(
            compiled.status.success(),
            "{}",
            compiled.stderr.escape_ascii()
        );
        Self {
            path,
            _folder: folder,
        }
    }

    /// The value of `LD_PRELOAD`.
    pub fn path(&self) -> &OsStr {
        self.path.as_os_str()
    }
}
