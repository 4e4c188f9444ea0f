//! The audit log of a state directory: opened, or begun when there has never been one.
//!
//! `audit.key` gets its name last: while it is missing no log is in use, and an interrupted attempt is completed.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::{RoundMode, Timestamp, TimestampRound, Unit};

use crate::audit::{self, Fact, Head, LOG, Log, LogDir, Signer, Text, VerifierKey, WriteFailed};
use crate::catalogue::{self, Catalogue};
use crate::clock::Clock;
use crate::custodian::{
    Custodian, SigningKeyNotMade, SigningKeyUnusable, SigningPurpose, create_signing_key,
    open_signing_key, public_signing_key,
};
use crate::disk::names::{AUDIT, AUDIT_KEY, NEW_AUDIT_KEY};
use crate::disk::{self, Action, Error, Files, StateDir, read_if_present};
use crate::fault::{Fault, faults};

/// Why there is no audit log to write to. Nothing was overwritten.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuditError {
    /// A file or directory cannot be used.
    #[error(transparent)]
    Disk(#[from] Error),
    /// A log without the key that signs it.
    #[error("{} is missing, but there is a log in {} that it signed", path.display(), log.display())]
    NoKey {
        /// Where the key belongs.
        path: PathBuf,
        /// The log's directory.
        log: PathBuf,
    },
    /// A key without its log.
    #[error("the audit log {} is missing, but {} has signed one", log.display(), path.display())]
    NoLog {
        /// The key.
        path: PathBuf,
        /// Where the log belongs.
        log: PathBuf,
    },
    /// Neither a log nor its key, where there was one.
    #[error("the audit log that the records speak of is missing ({head}), and so is its key {}", path.display())]
    Gone {
        /// Where the key belongs.
        path: PathBuf,
        /// What is known of the log.
        head: Head,
    },
    /// A log is to be begun where one, or its key, exists.
    #[error("{} belongs to an audit log", .0.display())]
    Exists(PathBuf),
    /// The first line of a new log could not be written.
    #[error(transparent)]
    Write(#[from] WriteFailed),
    /// The key cannot be used.
    #[error("the audit log's signing key {}: {source}", path.display())]
    Key {
        /// The key.
        path: PathBuf,
        /// Why not.
        source: SigningKeyUnusable,
    },
    /// No key was made.
    #[error("cannot make the audit log's signing key: {0}")]
    NewKey(#[from] SigningKeyNotMade),
    /// The log that is there cannot be continued.
    #[error(transparent)]
    Open(#[from] audit::OpenError),
    /// The wall clock shows a year that no calendar has.
    #[error("the system's clock is beyond the year 9999")]
    Clock,
}

faults! { AuditError {
    Self::Disk(error) => error.fault(),
    Self::Key { source, .. } => source.fault(),
    Self::NewKey(error) => error.fault(),
    Self::Open(error) => error.fault(),
    Self::Write(error) => error.fault(),
    Self::NoKey { .. } => Fault::operator("restore it from a backup, or move that directory away and begin a new log with `keyway audit begin --why REASON`"),
    Self::NoLog { .. } => Fault::operator("restore it from a backup, or move the key away as well and begin a new log with `keyway audit begin --why REASON`"),
    Self::Gone { .. } => Fault::operator("restore `audit` and `audit.key` from a backup, or begin a new log with `keyway audit begin --why REASON`"),
    Self::Exists(_) => Fault::operator("where that is to be left, move it away together with `audit` first"),
    Self::Clock => Fault::operator("set it"),
} }

impl AuditError {
    /// Whether a part of the log is known to be missing, so that a rollback of the records could go unnoticed.
    pub(super) const fn hides_history(&self) -> bool {
        match self {
            Self::NoKey { .. } | Self::NoLog { .. } | Self::Gone { .. } | Self::Key { .. } => true,
            Self::Open(error) => error.is_short(),
            Self::Disk(_) | Self::Exists(_) | Self::Write(_) | Self::NewKey(_) | Self::Clock => {
                false
            }
        }
    }
}

/// Opens the log; begins one where there is neither a log nor its key. The caller holds the directory's lock.
pub(super) fn open(
    dir: &StateDir,
    files: Arc<dyn Files>,
    custodian: &dyn Custodian,
    (id, clock): (&str, &Clock),
) -> Result<Log, AuditError> {
    let Some(content) = key(&*files, dir.path())? else {
        let about = (id, now(clock)?);
        return begin_in(dir, files, custodian, about, &[]);
    };
    // Before the log is read: it must be at least as long as these heads say.
    let heads = catalogue::audit_heads(&*files, dir.path());
    let place = LogDir::new(files, dir.subdirectory(AUDIT)?);
    let signer = signer(&dir.join(AUDIT_KEY), &content, custodian)?;
    Ok(Log::open(place, signer, now(clock)?, &heads)?)
}

/// The content of the key file; `None` where there has never been a log, or beginning the first was interrupted.
fn key(files: &dyn Files, state: &Path) -> Result<Option<Vec<u8>>, AuditError> {
    let path = state.join(AUDIT_KEY);
    let (content, log) = (read_if_present(files, &path)?, audit_directory(state));
    let has_log = exists(files, &log.join(LOG))?;
    match content {
        Some(content) if has_log => Ok(Some(content)),
        Some(_) => Err(AuditError::NoLog {
            path,
            log: log.join(LOG),
        }),
        None if has_log && !exists(files, &state.join(NEW_AUDIT_KEY))? => {
            Err(AuditError::NoKey { path, log })
        }
        None => match catalogue::audit_heads(files, state).pop() {
            Some(head) => Err(AuditError::Gone { path, head }),
            None => Ok(None),
        },
    }
}

/// Begins a log in place of one that is gone or was moved away: the records are trusted as they are, and the new log names them.
///
/// # Errors
/// [`AuditError`]; a repeated call goes on where an interrupted attempt stopped.
pub fn begin_audit_log(
    catalogue: &Catalogue,
    custodian: &dyn Custodian,
    (who, why): (Text, Text),
    clock: &Clock,
) -> Result<Log, AuditError> {
    let dir = StateDir::open(catalogue.path())?;
    let path = dir.join(AUDIT_KEY);
    if exists(&disk::Real, &path)? {
        return Err(AuditError::Exists(path));
    }
    let heads = catalogue::audit_heads(&disk::Real, dir.path());
    // The key of a log that has been in use begins no other.
    let path = dir.join(NEW_AUDIT_KEY);
    if let Some(content) = read_if_present(&disk::Real, &path)?
        && let key = verifier(path.clone(), &content)?
        && heads.iter().any(|head| head.about(&key).is_some())
    {
        return Err(AuditError::Exists(path));
    }
    let keyrings = catalogue.keyrings();
    let records = keyrings.filter_map(|keyring| catalogue.reference(keyring));
    let facts = [
        Fact::LogReplaced { who, why, heads },
        Fact::RecordsLeft {
            records: records.collect(),
        },
    ];
    let about = (catalogue.id(), now(clock)?);
    begin_in(&dir, Arc::new(disk::Real), custodian, about, &facts)
}

/// Begins a log, or goes on where an interrupted attempt stopped; writes these facts before the key gets its name.
fn begin_in(
    dir: &StateDir,
    files: Arc<dyn Files>,
    custodian: &dyn Custodian,
    (id, now): (&str, Timestamp),
    facts: &[Fact],
) -> Result<Log, AuditError> {
    let place = LogDir::new(Arc::clone(&files), dir.subdirectory(AUDIT)?);
    let (path, staged) = (dir.join(AUDIT_KEY), dir.join(NEW_AUDIT_KEY));
    let signer = match read_if_present(&*files, &staged)? {
        Some(content) => signer(&staged, &content, custodian)?,
        None if exists(&*files, &place.log())? => {
            let log = dir.join(AUDIT);
            return Err(AuditError::NoKey { path, log });
        }
        None => {
            let (pair, content) = create_signing_key(SigningPurpose::Audit, custodian)?;
            disk::create(&*files, &staged, &content)?;
            Signer::new(pair)
        }
    };
    // The checkpoint is written last: once it is there, the log has begun.
    let mut log = if exists(&*files, &place.checkpoints())? {
        Log::open(place, signer, now, &[])?
    } else {
        Log::create(place, signer, id, now)?
    };
    for fact in facts {
        log.note(fact.clone(), now)?;
    }
    disk::rename(&*files, &staged, &path)?;
    Ok(log)
}

/// Whether the directory has a log that has begun, or had one.
#[must_use]
pub fn has_audit_log(dir: &StateDir) -> bool {
    std::fs::symlink_metadata(dir.join(AUDIT_KEY)).is_ok()
}

/// Where a state directory keeps its audit log.
#[must_use]
pub fn audit_directory(state: &Path) -> PathBuf {
    state.join(AUDIT)
}

/// The key that verifies a state directory's audit log, without the KEK.
///
/// # Errors
/// [`AuditError`].
pub fn audit_verifier(state: &Path) -> Result<VerifierKey, AuditError> {
    let path = state.join(AUDIT_KEY);
    let content = disk::Real
        .read(&path)
        .map_err(|e| Error::from_io(&path, Action::Read, e))?;
    verifier(path, &content)
}

/// [`audit_verifier`] after checking that both log and key exist; `None` where there has never been a log.
///
/// # Errors
/// [`AuditError`]: what keeps a gateway from starting on the directory.
pub fn audit_verifier_of_log(state: &Path) -> Result<Option<VerifierKey>, AuditError> {
    let content = key(&disk::Real, state)?;
    let verifier = |content: Vec<u8>| verifier(state.join(AUDIT_KEY), &content);
    content.map(verifier).transpose()
}

fn verifier(path: PathBuf, content: &[u8]) -> Result<VerifierKey, AuditError> {
    let public = public_signing_key(content);
    let public = public.map_err(|source| AuditError::Key { path, source })?;
    Ok(VerifierKey::new(public))
}

fn signer(path: &Path, content: &[u8], custodian: &dyn Custodian) -> Result<Signer, AuditError> {
    let pair = open_signing_key(content, SigningPurpose::Audit, custodian);
    let pair = pair.map_err(|source| AuditError::Key {
        path: path.to_owned(),
        source,
    })?;
    Ok(Signer::new(pair))
}

fn exists(files: &dyn Files, path: &Path) -> Result<bool, Error> {
    match files.len(path) {
        Ok(_) => Ok(true),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(Error::from_io(path, Action::Read, e)),
    }
}

/// Wall-clock time in whole milliseconds, the resolution of the log.
pub(super) fn now(clock: &Clock) -> Result<Timestamp, AuditError> {
    let round = TimestampRound::new()
        .smallest(Unit::Millisecond)
        .mode(RoundMode::Trunc);
    Timestamp::try_from(clock.wall())
        .and_then(|now| now.round(round))
        .map_err(|_out_of_range| AuditError::Clock)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::custody::Custody;
    use crate::disk::Lock;
    use crate::disk::testing::{CrashDisk, DiskFault};

    struct Home {
        _root: tempfile::TempDir,
        dir: StateDir,
        kek: Arc<dyn Custodian>,
        disk: Arc<CrashDisk>,
    }

    impl Home {
        fn new() -> Self {
            let root = tempfile::tempdir().unwrap();
            let dir = StateDir::create(&root.path().join("state")).unwrap();
            let kek = Custody::File
                .opener()
                .unwrap()
                .open_or_create(&Lock::acquire(dir.clone()).unwrap())
                .unwrap();
            Self {
                _root: root,
                dir,
                kek,
                disk: Arc::default(),
            }
        }

        fn open(&self) -> Result<Log, AuditError> {
            let files = Arc::<CrashDisk>::clone(&self.disk);
            open(&self.dir, files, &*self.kek, ("5f0c", &Clock::system()))
        }
    }

    #[test]
    fn interrupted_beginning_is_finished_by_the_next() {
        let mut verifiers = std::collections::BTreeSet::new();
        for step in 0..14 {
            for kept in 0..5 {
                let home = Home::new();
                home.disk.arm(step, DiskFault::Crash);
                drop(home.open());
                home.disk.restart(kept);
                let log = home.open().unwrap();
                let verifier = log.verifier().unwrap().to_string();
                drop(log);
                home.disk.restart(0);
                let again = home.open().unwrap();
                assert_eq!(again.verifier().unwrap().to_string(), verifier);
                assert_eq!(again.tail(9).unwrap().len(), 1);
                verifiers.insert(verifier);
            }
        }
        assert!(verifiers.len() > 10);
    }

    #[test]
    fn key_or_log_that_is_gone_is_told_and_not_made_anew() {
        let home = Home::new();
        drop(home.open().unwrap());
        let before = home.disk.content();
        home.disk.remove(&home.dir.join(AUDIT_KEY)).unwrap();
        let error = home.open().err().unwrap().to_string();
        assert!(error.contains("audit.key is missing, but"), "{error}");
        assert!(!home.disk.content().contains_key(&home.dir.join(AUDIT_KEY)));
        let home = Home::new();
        drop(home.open().unwrap());
        home.disk.remove(&home.dir.join("audit/log.jsonl")).unwrap();
        let error = home.open().err().unwrap().to_string();
        assert!(error.contains("log.jsonl is missing, but"), "{error}");
        assert_eq!(home.disk.content().len(), before.len() - 1);
    }

    #[test]
    fn key_of_another_directory_is_refused() {
        let (home, other) = (Home::new(), Home::new());
        drop((home.open().unwrap(), other.open().unwrap()));
        let theirs = other.disk.read(&other.dir.join(AUDIT_KEY)).unwrap();
        home.disk
            .tamper(&home.dir.join(AUDIT_KEY), |bytes| *bytes = theirs);
        let error = home.open().err().unwrap().to_string();
        assert!(error.contains("signing key"), "{error}");
    }
}
