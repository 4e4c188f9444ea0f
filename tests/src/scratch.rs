//! Temporary folders, and the repository's path.

use std::path::PathBuf;

/// The repository's root.
pub fn repository() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .to_owned()
}

/// A fresh folder, readable by us alone and removed when dropped.
pub fn folder(purpose: &str) -> tempfile::TempDir {
    keyway_test_kit::folder(purpose).unwrap()
}
