//! Files and sockets that exist as long as this process serves.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// A file or socket that this process has made and removes again, unless another has replaced it (told by device and inode).
#[derive(Debug)]
pub struct OwnedFile(Box<Made>);

#[derive(Debug)]
struct Made {
    path: PathBuf,
    /// Device and inode.
    identity: Option<(u64, u64)>,
}

impl OwnedFile {
    /// The file that this process has just made there.
    #[must_use]
    pub fn new(path: &Path) -> Self {
        Self(Box::new(Made {
            path: path.to_owned(),
            identity: identity(path),
        }))
    }

    /// Removes it, if it is still the same file.
    pub fn remove(&self) {
        let Made {
            path,
            identity: made,
        } = &*self.0;
        if made.is_none() || identity(path) != *made {
            return;
        }
        if let Err(error) = std::fs::remove_file(path)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::debug!(%error, path = %path.display(), "it stays behind");
        }
    }
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    let found = std::fs::symlink_metadata(path).ok()?;
    Some((found.dev(), found.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_another_has_put_in_its_place_stays() {
        let dir = tempfile::tempdir().unwrap();
        let (state, moved) = (dir.path().join("state"), dir.path().join("moved"));
        let make = || {
            std::fs::create_dir(&state).unwrap();
            std::fs::write(state.join("a"), "").unwrap();
            OwnedFile::new(&state.join("a"))
        };
        let first = make();
        std::fs::rename(&state, moved).unwrap();
        let second = make();
        first.remove();
        assert!(state.join("a").exists());
        second.remove();
        assert!(!state.join("a").exists());
        second.remove();
    }
}
