//! One writer per state directory.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::OFlags;

use super::error::{Action, Error};
use super::files::flags;
use super::guarded::StateDir;

/// The file that is locked; every state directory has it.
pub(super) const LOCK: &str = "lock";

/// The right to write into a state directory; ends when dropped, or with the process however it ends.
#[derive(Debug)]
pub struct Lock {
    dir: StateDir,
    /// Held open: the system releases the lock with the last handle.
    _file: File,
}

impl Lock {
    /// Takes the lock `lock` in the state directory and writes our process id into it.
    ///
    /// # Errors
    /// [`Error::Locked`] with the holder's process id when another process has it; [`Error`] when the file cannot be used.
    pub fn take(dir: StateDir) -> Result<Self, Error> {
        let path = dir.join(LOCK);
        let failed = |e| Error::from_io(&path, Action::Lock, e);
        // Before opening: a link gives a confusing answer, and opening a device may act.
        if std::fs::symlink_metadata(&path).is_ok_and(|found| !found.is_file()) {
            return Err(Error::NotRegular {
                path,
                wanted: "file",
            });
        }
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(flags(OFlags::NOFOLLOW | OFlags::NONBLOCK))
            .open(&path)
            .map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(locked(dir.path(), &mut file)),
            Err(TryLockError::Error(e)) => return Err(failed(e)),
        }
        // For people alone: a full disk must not keep anybody from being served.
        if let Err(error) = write_pid(&mut file) {
            tracing::debug!(%error, "the lock does not say who has it");
        }
        Ok(Self { dir, _file: file })
    }

    /// The directory that it locks.
    #[must_use]
    pub const fn dir(&self) -> &StateDir {
        &self.dir
    }
}

fn write_pid(file: &mut File) -> std::io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{}", std::process::id())
}

/// The holder may be between taking the lock and writing its id: then nobody is named.
fn locked(dir: &Path, file: &mut File) -> Error {
    let mut text = String::new();
    let pid = match file.take(32).read_to_string(&mut text) {
        Ok(_) => text.trim().parse().ok(),
        Err(_) => None,
    };
    Error::Locked {
        dir: dir.to_owned(),
        pid,
    }
}
