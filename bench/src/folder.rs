//! Where measurements are written.

use std::path::{Path, PathBuf};

/// `target/criterion` in the target folder of the running program.
#[must_use]
pub fn folder() -> PathBuf {
    let program = std::env::current_exe().unwrap();
    let target = program.ancestors().nth(3);
    target
        .map_or_else(|| PathBuf::from("target"), Path::to_owned)
        .join("criterion")
}
