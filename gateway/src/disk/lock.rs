//! The lock of the state directory: one writer.

use std::fs::{File, TryLockError};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use rustix::fs::OFlags;

use super::error::{Action, Error};
use super::files::nonblocking;
use super::names::LOCK;
use super::permissions::StateDir;

/// Follows the process id of a draining process, which shares the lock: it does not write, and keeps others from writing.
const DRAINS: &str = "drains";

/// Attempts, and the time between them, while a draining process shares the lock; together longer than it keeps the lock.
const ATTEMPTS: u32 = 500;
const RETRY_INTERVAL: Duration = Duration::from_millis(20);

/// The right to write into a state directory; ends when dropped, or with the process however it ends.
#[derive(Debug)]
pub struct Lock {
    dir: StateDir,
    /// Held open: the system releases the lock with the last handle.
    file: File,
}

impl Lock {
    /// Takes the lock and writes this process's id into the lock file. Blocks while a draining process shares the lock.
    ///
    /// # Errors
    /// [`Error::Locked`] with the holder's process id when another process has it; [`Error`] when the file cannot be used.
    pub fn acquire(dir: StateDir) -> Result<Self, Error> {
        for _attempt in 0..ATTEMPTS {
            if let Some(lock) = Self::try_acquire(dir.clone())? {
                return Ok(lock);
            }
            std::thread::park_timeout(RETRY_INTERVAL);
        }
        Err(locked(dir.path(), &mut open(&dir)?))
    }

    /// [`Lock::acquire`] without waiting; `None` while a draining process shares the lock, or its holder has written no id yet.
    fn try_acquire(dir: StateDir) -> Result<Option<Self>, Error> {
        let mut file = open(&dir)?;
        if acquired(&dir, file.try_lock())? {
            write_pid(&mut file, "");
            return Ok(Some(Self { dir, file }));
        }
        let holder = read_holder(&mut file);
        if holder.is_empty() || holder.ends_with(DRAINS) {
            return Ok(None);
        }
        Err(locked(dir.path(), &mut file))
    }

    /// Takes a shared lock: no process can write while one is held.
    ///
    /// # Errors
    /// As [`Lock::acquire`], without waiting.
    pub fn share(dir: StateDir) -> Result<Self, Error> {
        let mut file = open(&dir)?;
        if !acquired(&dir, file.try_lock_shared())? {
            return Err(locked(dir.path(), &mut file));
        }
        write_pid(&mut file, DRAINS);
        Ok(Self { dir, file })
    }

    /// Turns a shared lock into the exclusive one.
    ///
    /// # Errors
    /// [`Error::Locked`] when others share the lock, or another process got it first; the shared lock may be lost then.
    pub fn promote(&self) -> Result<Self, Error> {
        let failed = |e| Error::from_io(&self.dir.join(LOCK), Action::Lock, e);
        let mut file = self.file.try_clone().map_err(failed)?;
        if !acquired(&self.dir, file.try_lock())? {
            return Err(locked(self.dir.path(), &mut file));
        }
        write_pid(&mut file, "");
        let dir = self.dir.clone();
        Ok(Self { dir, file })
    }

    /// The directory that it locks.
    #[must_use]
    pub const fn dir(&self) -> &StateDir {
        &self.dir
    }
}

fn open(dir: &StateDir) -> Result<File, Error> {
    let path = dir.join(LOCK);
    // Before opening: a link gives a confusing error, and a device may act on being opened.
    if std::fs::symlink_metadata(&path).is_ok_and(|found| !found.is_file()) {
        return Err(Error::NotRegular(path, "file"));
    }
    let mut options = nonblocking(OFlags::NOFOLLOW);
    let options = options
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600);
    options
        .open(&path)
        .map_err(|e| Error::from_io(&path, Action::Lock, e))
}

/// Whether the lock was free.
fn acquired(dir: &StateDir, tried: Result<(), TryLockError>) -> Result<bool, Error> {
    match tried {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(e)) => Err(Error::from_io(&dir.join(LOCK), Action::Lock, e)),
    }
}

/// Writes id and purpose, for messages and for processes that wait; a failure (full disk) is only logged. Overwrites and then
/// truncates, so that a reader finds an empty file only where it is new.
fn write_pid(file: &mut File, what: &str) {
    let text = format!("{} {what}", std::process::id());
    let text = format!("{}\n", text.trim_end());
    let written = file
        .rewind()
        .and_then(|()| file.write_all(text.as_bytes()))
        .and_then(|()| file.stream_position())
        .and_then(|length| file.set_len(length));
    if let Err(error) = written {
        tracing::debug!(%error, "the lock does not say who has it");
    }
}

/// The content of the lock file; empty if the holder has not written its id yet.
fn read_holder(file: &mut File) -> String {
    let mut text = String::new();
    let read = file
        .rewind()
        .and_then(|()| file.take(32).read_to_string(&mut text));
    read.map_or_else(|_| String::new(), |_| text.trim().to_owned())
}

fn locked(dir: &Path, file: &mut File) -> Error {
    let text = read_holder(file);
    let pid = text.split(' ').next().and_then(|pid| pid.parse().ok());
    Error::Locked {
        dir: dir.to_owned(),
        pid,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holder_that_has_yet_to_say_whether_it_drains_is_waited_for() {
        let root = tempfile::tempdir().unwrap();
        let dir = StateDir::create(&root.path().join("state")).unwrap();
        let drains = Lock::share(dir.clone()).unwrap();
        assert!(Lock::try_acquire(dir.clone()).unwrap().is_none());
        std::fs::write(dir.join(LOCK), "").unwrap();
        assert!(Lock::try_acquire(dir.clone()).unwrap().is_none());
        drop(drains);
        let writer = Lock::try_acquire(dir.clone()).unwrap();
        assert!(matches!(Lock::try_acquire(dir), Err(Error::Locked { .. })));
        drop(writer);
    }
}
