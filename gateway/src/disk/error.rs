//! I/O errors of files and directories, sorted by remedy.

use std::io;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use strum::Display;

use crate::fault::{Fault, Faulty, faults};

/// The largest file that is read, in bytes: thousands of key versions fit.
pub(super) const MAX_LEN: u64 = 16 * 1024 * 1024;

/// Why a file or directory could not be used. Nothing was overwritten.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The path does not exist.
    #[error("{} does not exist", .0.display())]
    Missing(PathBuf),
    /// The directory cannot be created.
    #[error("cannot create the directory {}: {why}", .0.display(), why = .1)]
    NotCreatable(PathBuf, String),
    /// The file system takes no writes.
    #[error("cannot {action} {}: the file system is read-only", .0.display(), action = .1)]
    ReadOnly(PathBuf, Action),
    /// No space, or no quota.
    #[error("cannot {action} {}: no space left on the disk (or quota used up)", .0.display(), action = .1)]
    Full(PathBuf, Action),
    /// Permission denied.
    #[error("cannot {action} {}: permission denied", .0.display(), action = .1)]
    Denied(PathBuf, Action),
    /// Its mode lets others than the owner use it.
    #[error("{} has mode {found:04o}, at most {limit:04o} is allowed, because others could use it", path.display())]
    TooOpen {
        /// The file or directory.
        path: PathBuf,
        /// Its permission bits.
        found: u32,
        /// The most permissive mode allowed.
        limit: u32,
    },
    /// It belongs to another user.
    #[error("{} belongs to uid {owner}, keyway runs as uid {us}", path.display())]
    NotOurs {
        /// The file or directory.
        path: PathBuf,
        /// Its owner.
        owner: u32,
        /// This process's effective uid.
        us: u32,
    },
    /// A directory with other content that other users can use: no state directory.
    #[error("{} is no state directory: it holds other things, and others use it", .0.display())]
    Foreign(PathBuf),
    /// A link, pipe, device or the like stands where a `file` or `directory` is needed.
    #[error("{} is not a {wanted}", .0.display(), wanted = .1)]
    NotRegular(PathBuf, &'static str),
    /// Larger than any file that keyway writes.
    #[error("{} is larger than {MAX_LEN} bytes, so keyway did not write it", .0.display())]
    TooLarge(PathBuf),
    /// The file exists and is not overwritten.
    #[error("{} exists already and is not overwritten", .0.display())]
    Exists(PathBuf),
    /// Another process holds the state directory.
    #[error("the state directory {} is in use by {}", dir.display(), holder(*pid))]
    Locked {
        /// The state directory.
        dir: PathBuf,
        /// The holder, if the lock file names one.
        pid: Option<u32>,
    },
    /// Anything else.
    #[error("cannot {action} {}: {source}", path.display())]
    Other {
        /// What was to be used.
        path: PathBuf,
        /// What failed.
        action: Action,
        /// The system's error.
        source: io::Error,
    },
}

/// What was being done when it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Display)]
#[strum(serialize_all = "lowercase")]
pub enum Action {
    /// Reading a file or its metadata.
    Read,
    /// Listing a directory.
    List,
    /// Creating a directory.
    Create,
    /// Writing a file, up to and with its fsync.
    Write,
    /// Adding to a file, up to and with its fsync.
    #[strum(serialize = "append to")]
    Append,
    /// Removing a file.
    Remove,
    /// Putting a written file in its place.
    Rename,
    /// Making a rename durable.
    #[strum(serialize = "fsync")]
    SyncDir,
    /// Taking the lock.
    Lock,
}

impl Error {
    /// Sorts an I/O error.
    #[must_use]
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the system's enum has forty variants and grows"
    )]
    pub fn from_io(path: &Path, action: Action, source: io::Error) -> Self {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::NotFound => Self::Missing(path),
            io::ErrorKind::ReadOnlyFilesystem => Self::ReadOnly(path, action),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full(path, action),
            io::ErrorKind::PermissionDenied => Self::Denied(path, action),
            io::ErrorKind::FileTooLarge if action == Action::Read => Self::TooLarge(path),
            io::ErrorKind::AlreadyExists => Self::Exists(path),
            // `ELOOP`: a link that `O_NOFOLLOW` did not follow.
            _ if source.raw_os_error() == Some(Errno::LOOP.raw_os_error()) => {
                Self::NotRegular(path, "file")
            }
            _ => Self::Other {
                path,
                action,
                source,
            },
        }
    }

    /// Whether the path does not exist, as opposed to being unusable.
    #[must_use]
    pub const fn is_missing(&self) -> bool {
        matches!(self, Self::Missing(_))
    }

    /// The fault, where `help` says what to do if the path does not exist.
    pub(crate) fn fault_if_missing(&self, help: &'static str) -> Fault {
        if self.is_missing() {
            Fault::operator(help)
        } else {
            self.fault()
        }
    }
}

faults! { Error {
    Self::Missing(_) => Fault::operator("put it there, or correct the path"),
    Self::NotCreatable(..) => Fault::operator("choose another state directory"),
    Self::ReadOnly(..) => Fault::operator_later("remount it writable, or choose another state directory"),
    Self::Full(..) => Fault::operator_later("free some and try again"),
    Self::Denied(..) => Fault::operator("run keyway as the owner of the state directory"),
    Self::TooOpen { path, limit, .. } => Fault::operator(format!("chmod {limit:04o} '{}'", path.display())),
    Self::NotOurs { path, us, .. } => Fault::operator(format!("chown {us} '{}', or run keyway as its owner", path.display())),
    Self::Foreign(_) => Fault::operator("leave it as it is, and name a directory of keyway's own, which is made if it is missing"),
    Self::NotRegular(_, wanted) => Fault::operator(format!("put a real {wanted} there (no link, pipe or device)")),
    Self::TooLarge(_) => Fault::operator("restore it from a backup"),
    Self::Exists(_) => Fault::operator("choose another state directory, or move it away if you are sure"),
    Self::Locked { .. } => Fault::operator_later("stop that one first, or give this one its own state directory"),
    Self::Other { .. } => Fault::operator_later("look at the disk and the path"),
} }

fn holder(pid: Option<u32>) -> String {
    pid.map_or_else(
        || "another process".to_owned(),
        |pid| format!("process {pid}"),
    )
}
