//! File operations behind a trait, and durable [`replace`] and [`create`] on top of it.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use super::error::{Action, Error, MAX_LEN};

/// The file operations that durable files need; tests substitute a disk that fails or loses power.
pub trait Files: Send + Sync {
    /// The whole file, which must be a regular one.
    ///
    /// # Errors
    /// Whatever the system says.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;

    /// At most `len` bytes from `at` on, of a file of any length; fewer only at its end, none behind it.
    ///
    /// # Errors
    /// Whatever the system says.
    fn read_at(&self, path: &Path, at: u64, len: usize) -> io::Result<Vec<u8>>;

    /// How many bytes a file has.
    ///
    /// # Errors
    /// Whatever the system says.
    fn len(&self, path: &Path) -> io::Result<u64>;

    /// The names in a directory, sorted.
    ///
    /// # Errors
    /// Whatever the system says.
    fn names(&self, dir: &Path) -> io::Result<Vec<String>>;

    /// Creates or empties a file of mode 0600, writes the bytes and fsyncs it. On failure any part of it may be there.
    ///
    /// # Errors
    /// Whatever the system says.
    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()>;

    /// Appends the bytes to an existing file of length `at`, and fsyncs it. Bytes beyond `at` are left from a failed append, and
    /// are cut off first. On failure any part of the bytes may be there.
    ///
    /// # Errors
    /// [`io::ErrorKind::UnexpectedEof`] when the file is shorter than `at`; else whatever the system says.
    fn append(&self, path: &Path, at: u64, bytes: &[u8]) -> io::Result<()>;

    /// Removes a file. Survives a power cut only after [`Files::sync_dir`].
    ///
    /// # Errors
    /// Whatever the system says.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Renames a file over another, atomically. Survives a power cut only after [`Files::sync_dir`].
    ///
    /// # Errors
    /// Whatever the system says.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Makes the renames in a directory durable.
    ///
    /// # Errors
    /// Whatever the system says.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
}

/// The real disk.
#[derive(Clone, Copy, Debug, Default)]
pub struct Real;

/// Writes `bytes` to `path`, durably and atomically: a temporary file beside it, fsync, rename, fsync of the directory.
///
/// # Errors
/// [`Error`]; the old file is intact unless the failure came after the rename, in which case either may survive a crash.
pub fn replace(files: &dyn Files, path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let sibling = sibling(path);
    let written = files.write(&sibling, bytes);
    written.map_err(|e| Error::from_io(&sibling, Action::Write, e))?;
    rename(files, &sibling, path)
}

/// Renames a file over another, durably.
///
/// # Errors
/// [`Error`]; after a failed fsync of the directory either name may survive a crash.
pub fn rename(files: &dyn Files, from: &Path, to: &Path) -> Result<(), Error> {
    let renamed = files.rename(from, to);
    renamed.map_err(|e| Error::from_io(to, Action::Rename, e))?;
    sync(files, to.parent().unwrap_or_else(|| Path::new(".")))
}

/// Makes the renames in a directory durable.
///
/// # Errors
/// [`Error`].
pub fn sync(files: &dyn Files, dir: &Path) -> Result<(), Error> {
    let done = files.sync_dir(dir);
    done.map_err(|e| Error::from_io(dir, Action::SyncDir, e))
}

/// Reads a file; `None` when it is not there.
///
/// # Errors
/// [`Error`].
pub fn read_if_present(files: &dyn Files, path: &Path) -> Result<Option<Vec<u8>>, Error> {
    match files.read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(Error::from_io(path, Action::Read, e)),
    }
}

/// [`replace`] for a file that must not exist. The caller holds the lock, so that nobody else creates it meanwhile.
///
/// # Errors
/// [`Error::Exists`] when the path exists, else as [`replace`].
pub fn create(files: &dyn Files, path: &Path, bytes: &[u8]) -> Result<(), Error> {
    if read_if_present(files, path)?.is_some() {
        return Err(Error::Exists(path.to_owned()));
    }
    replace(files, path, bytes)
}

/// The temporary file that is renamed over `path`: hidden, so that listings skip what a crash left.
fn sibling(path: &Path) -> PathBuf {
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(".tmp");
    path.with_file_name(name)
}

impl Files for Real {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        read_all(open_regular(path, OFlags::NOFOLLOW)?)
    }

    fn read_at(&self, path: &Path, at: u64, len: usize) -> io::Result<Vec<u8>> {
        let file = open_regular(path, OFlags::NOFOLLOW)?;
        let mut bytes = vec![0; len];
        let mut filled = 0_usize;
        while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            let from = u64::try_from(filled).map_or(u64::MAX, |filled| at.saturating_add(filled));
            match file.read_at(rest, from) {
                Ok(0) => break,
                Ok(read) => filled = filled.saturating_add(read),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        bytes.truncate(filled);
        Ok(bytes)
    }

    fn len(&self, path: &Path) -> io::Result<u64> {
        Ok(open_regular(path, OFlags::NOFOLLOW)?.metadata()?.len())
    }

    fn names(&self, dir: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(dir)? {
            names.push(entry?.file_name().to_string_lossy().into_owned());
        }
        names.sort();
        Ok(names)
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let mut options = nonblocking(OFlags::NOFOLLOW);
        let options = options.write(true).create(true).truncate(true).mode(0o600);
        let mut file = options.open(path)?;
        let written = file.write_all(bytes).and_then(|()| file.sync_all());
        if written.is_err() {
            // A full disk gets its space back; should this fail too, the next write starts anew.
            drop(std::fs::remove_file(path));
        }
        written
    }

    fn append(&self, path: &Path, at: u64, bytes: &[u8]) -> io::Result<()> {
        let file = nonblocking(OFlags::NOFOLLOW).write(true).open(path)?;
        let meta = file.metadata()?;
        if !meta.is_file() {
            return Err(io::Error::other("not a regular file"));
        }
        if meta.len() < at {
            let short = format!("it has {} bytes, {at} were written", meta.len());
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, short));
        }
        if meta.len() > at {
            file.set_len(at)?;
        }
        let written = file.write_all_at(bytes, at).and_then(|()| file.sync_all());
        if written.is_err() {
            // A full disk gets its space back; should this fail too, the next append cuts it off.
            drop(file.set_len(at));
        }
        written
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        File::open(dir)?.sync_all()
    }
}

/// Opens a regular file without blocking, so that a pipe in its place cannot stall a start.
pub(super) fn open_regular(path: &Path, extra: OFlags) -> io::Result<File> {
    let file = nonblocking(extra).read(true).open(path)?;
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        Err(io::Error::other("not a regular file"))
    }
}

pub(super) fn read_all(file: File) -> io::Result<Vec<u8>> {
    // Capacity for the whole file and the read that finds its end: a vector that grows leaves copies of a secret behind.
    let expected = file.metadata()?.len().min(MAX_LEN).saturating_add(32);
    let mut bytes = Vec::with_capacity(usize::try_from(expected).unwrap_or(0));
    let limit = MAX_LEN.saturating_add(1);
    file.take(limit).read_to_end(&mut bytes)?;
    if u64::try_from(bytes.len()).is_ok_and(|len| len > MAX_LEN) {
        return Err(io::Error::from(io::ErrorKind::FileTooLarge));
    }
    Ok(bytes)
}

/// Options that open without blocking, and with these flags.
pub(super) fn nonblocking(extra: OFlags) -> OpenOptions {
    let mut options = OpenOptions::new();
    let flags = OFlags::NONBLOCK | extra;
    options.custom_flags(flags.bits().cast_signed());
    options
}
