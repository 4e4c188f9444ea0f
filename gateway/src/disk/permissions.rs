//! Owner and permissions of files and directories, checked before their content is used.

use std::ffi::{OsStr, OsString};
use std::fs::{DirBuilder, File, Metadata};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use zeroize::Zeroizing;

use super::error::{Action, Error};
use super::files::{Files as _, Real, open_regular, read_all};
use super::names::{
    AUDIT, AUDIT_KEY, CATALOGUE_KEY, CLOCK, KEK, KEK_PARAMETERS, LOCK, MARKS, NEW_AUDIT_KEY,
    NEW_CATALOGUE_KEY, PORTS, RECORDS, SEEN,
};

/// Names of which a state directory has at least one, also one restored from a backup.
const STATE_DIR_MARKERS: [&str; 5] = [LOCK, KEK, KEK_PARAMETERS, CATALOGUE_KEY, RECORDS];

/// The gateway's own files in it, beside the marker files and those in [`SUBDIRECTORIES`].
const FILES: [&str; 10] = [
    LOCK,
    KEK,
    KEK_PARAMETERS,
    CATALOGUE_KEY,
    NEW_CATALOGUE_KEY,
    AUDIT_KEY,
    NEW_AUDIT_KEY,
    SEEN,
    CLOCK,
    PORTS,
];
const SUBDIRECTORIES: [&str; 2] = [RECORDS, AUDIT];

/// The state directory: owned by this process's user, and closed to all others.
#[derive(Clone, Debug)]
pub struct StateDir(PathBuf);

/// The users that may own a secret file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AllowedOwner {
    /// This process's user alone; no links.
    Us,
    /// This process's user or root; links allowed, as with mounted secrets.
    UsOrRoot,
}

impl StateDir {
    /// Opens an existing directory, after checking it and the gateway's files in it.
    ///
    /// # Errors
    /// [`Error::Missing`], [`Error::TooOpen`] (wider than 0700, or a file wider than 0600), [`Error::NotOurs`],
    /// [`Error::NotRegular`]; [`Error::Foreign`] where it is no state directory, so that their remedies would be wrong.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let meta = std::fs::metadata(path).map_err(|e| Error::from_io(path, Action::Read, e))?;
        if !meta.is_dir() {
            return Err(Error::NotRegular(path.to_owned(), "directory"));
        }
        let checked = check_access(path, &meta);
        if checked.is_err() && is_foreign(path) {
            return Err(Error::Foreign(path.to_owned()));
        }
        checked?;
        check_content(path)?;
        Ok(Self(path.to_owned()))
    }

    /// Opens the directory, and creates it and its parents first if it is missing.
    ///
    /// # Errors
    /// As [`StateDir::open`], and what creating can fail with.
    pub fn create(path: &Path) -> Result<Self, Error> {
        if let Some(parent) = path.parent().filter(|p| !p.as_os_str().is_empty()) {
            std::fs::create_dir_all(parent).map_err(|e| uncreatable(path, e))?;
        }
        make_private(path)?;
        Self::open(path)
    }

    /// A directory inside, created with mode 0700 if it is missing.
    ///
    /// # Errors
    /// What creating can fail with.
    pub fn subdirectory(&self, name: &str) -> Result<PathBuf, Error> {
        let path = self.0.join(name);
        make_private(&path)?;
        Ok(path)
    }

    /// Its path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The path of a file inside.
    #[must_use]
    pub fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

/// Reads a secret file, after checking on the open file that no other user can read or write it.
///
/// # Errors
/// [`Error::Missing`], [`Error::NotRegular`], [`Error::TooOpen`] (wider than 0600), [`Error::NotOurs`], or the system's error.
pub fn read_secret_file(path: &Path, allowed: AllowedOwner) -> Result<Zeroizing<Vec<u8>>, Error> {
    let read = |e| Error::from_io(path, Action::Read, e);
    let file = match allowed {
        AllowedOwner::Us => open_file(path, std::fs::symlink_metadata(path), OFlags::NOFOLLOW),
        AllowedOwner::UsOrRoot => open_file(path, std::fs::metadata(path), OFlags::empty()),
    }?;
    let meta = file.metadata().map_err(read)?;
    check_owner(path, &meta, allowed)?;
    check_mode(path, &meta, 0o600)?;
    read_all(file).map(Zeroizing::new).map_err(read)
}

/// Reads a file that is not secret, without checking owner and mode; links are followed.
///
/// # Errors
/// [`Error::Missing`], [`Error::NotRegular`], or the system's error.
pub fn read_public_file(path: &Path) -> Result<Vec<u8>, Error> {
    let file = open_file(path, std::fs::metadata(path), OFlags::empty())?;
    read_all(file).map_err(|e| Error::from_io(path, Action::Read, e))
}

/// Opens a file for reading, unless its metadata `looked` otherwise: a device may act on being opened, and a link gives a confusing
/// answer under NOFOLLOW.
fn open_file(path: &Path, looked: io::Result<Metadata>, extra: OFlags) -> Result<File, Error> {
    let read = |e| Error::from_io(path, Action::Read, e);
    if !looked.map_err(read)?.is_file() {
        return Err(Error::NotRegular(path.to_owned(), "file"));
    }
    open_regular(path, extra).map_err(read)
}

/// Whether the directory has content, and none of a state directory's.
fn is_foreign(path: &Path) -> bool {
    let is_empty = std::fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_none());
    let is_there = |name| std::fs::symlink_metadata(path.join(name)).is_ok();
    !is_empty && !STATE_DIR_MARKERS.into_iter().any(is_there)
}

/// Checks the gateway's own files alone: a mounted volume has root's `lost+found`, and a configuration may be there too.
fn check_content(state: &Path) -> Result<(), Error> {
    for name in names(state)? {
        let path = state.join(&name);
        if SUBDIRECTORIES.iter().any(|folder| name == *folder) {
            // May be a link, as the state directory itself.
            check_own(&path, std::fs::metadata(&path))?;
            for name in names(&path)? {
                let path = path.join(name);
                check_own(&path, std::fs::symlink_metadata(&path))?;
            }
        } else if is_own_file(&name) {
            check_own(&path, std::fs::symlink_metadata(&path))?;
        }
    }
    Ok(())
}

fn is_own_file(name: &OsStr) -> bool {
    let is_mark = |name: &str| {
        name.split_once('-')
            .is_some_and(|(word, _)| MARKS.contains(&word))
    };
    name.to_str()
        .is_some_and(|name| FILES.contains(&name) || is_mark(name))
}

/// The names in a directory; none if it is not a directory, which fails where it is used.
fn names(folder: &Path) -> Result<Vec<OsString>, Error> {
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let entries = std::fs::read_dir(folder);
    let names = entries.and_then(|entries| entries.map(|entry| Ok(entry?.file_name())).collect());
    names.map_err(|e| Error::from_io(folder, Action::List, e))
}

/// Checks owner and mode of a file or directory. It may be gone, because the gateway replaces and removes files. Links, pipes and
/// devices are refused where they are read.
fn check_own(path: &Path, found: io::Result<Metadata>) -> Result<(), Error> {
    let meta = match found {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        found => found.map_err(|e| Error::from_io(path, Action::Read, e))?,
    };
    if meta.is_dir() || meta.is_file() {
        check_access(path, &meta)?;
    }
    Ok(())
}

/// Checks that nobody else can use a directory or file.
fn check_access(path: &Path, meta: &Metadata) -> Result<(), Error> {
    check_owner(path, meta, AllowedOwner::Us)?;
    check_mode(path, meta, if meta.is_dir() { 0o700 } else { 0o600 })
}

fn make_private(path: &Path) -> Result<(), Error> {
    match DirBuilder::new().mode(0o700).create(path) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        done => done
            .and_then(|()| sync_parent(path))
            .map_err(|e| uncreatable(path, e)),
    }
}

/// Sorts an error of creating a directory: some are about its parents.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the system's enum has forty variants and grows"
)]
fn uncreatable(path: &Path, source: io::Error) -> Error {
    let place = |why: String| Error::NotCreatable(path.to_owned(), why);
    match source.kind() {
        io::ErrorKind::AlreadyExists | io::ErrorKind::NotADirectory => {
            let mut parents = path.ancestors().skip(1);
            let in_the_way = parents.find(|above| above.exists() && !above.is_dir());
            let which = in_the_way.map_or_else(|| "a parent".into(), Path::to_string_lossy);
            place(format!("{which} is not a directory"))
        }
        io::ErrorKind::NotFound => place("its parent takes no new directories".to_owned()),
        _ => Error::from_io(path, Action::Create, source),
    }
}

/// Makes a new directory durable: without it a power cut may lose the directory with all files in it.
fn sync_parent(path: &Path) -> io::Result<()> {
    let parent = path.parent().filter(|p| !p.as_os_str().is_empty());
    Real.sync_dir(parent.unwrap_or_else(|| Path::new(".")))
}

fn check_owner(path: &Path, meta: &Metadata, allowed: AllowedOwner) -> Result<(), Error> {
    let us = rustix::process::geteuid().as_raw();
    let owner = meta.uid();
    if owner == us || (allowed == AllowedOwner::UsOrRoot && owner == 0) {
        return Ok(());
    }
    Err(Error::NotOurs {
        path: path.to_owned(),
        owner,
        us,
    })
}

fn check_mode(path: &Path, meta: &Metadata, limit: u32) -> Result<(), Error> {
    let found = meta.mode() & 0o777;
    if found & !limit == 0 {
        return Ok(());
    }
    Err(Error::TooOpen {
        path: path.to_owned(),
        found,
        limit,
    })
}
