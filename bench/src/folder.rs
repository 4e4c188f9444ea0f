//! Where measurements are written.

use std::path::{Path, PathBuf};

/// `target/criterion`, wherever the target folder is of the program that runs.
#[must_use]
pub fn folder() -> PathBuf {
    let program = std::env::current_exe().unwrap();
    let target = program.ancestors().nth(3);
    target
        .map_or_else(|| PathBuf::from("target"), Path::to_owned)
        .join("criterion")
}
