//! The state directory: opened, or made when there is none.

use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;

use super::audit::{self, AuditError, audit_directory};
use crate::audit::{Fact, LOG, Log, LoggedState};
use crate::catalogue::{Catalogue, CreateError, LoadError};
use crate::clock::Clock;
use crate::custodian::Custodian;
use crate::custody::{self, Custody, Opener};
use crate::disk::{self, Lock, Real, StateDir};
use crate::fault::{Faulty, faults};

/// Why the state directory cannot be used. Nothing in it has been changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The directory itself, or its lock.
    #[error(transparent)]
    Disk(#[from] disk::Error),
    /// The custodian of the key-encryption key.
    #[error(transparent)]
    Custody(#[from] custody::Error),
    /// A new catalogue.
    #[error(transparent)]
    Create(#[from] CreateError),
    /// The catalogue that is there.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The audit log or a part of it is missing, so that a rollback of the records could go unnoticed.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// The audit log is closed and cannot be read, with the same consequence.
    #[error(
        "the audit log cannot be read, so that nothing tells whether the records are the newest: {0}"
    )]
    Unread(disk::Error),
}

faults! { OpenError {
    Self::Disk(error) => error.fault(),
    Self::Custody(error) => error.fault(),
    Self::Create(error) => error.fault(),
    Self::Load(error) => error.fault(),
    Self::Audit(error) => error.fault(),
    Self::Unread(error) => error.fault(),
} }

/// An open state directory. The catalogue holds its lock.
pub struct OpenState {
    /// The key versions.
    pub catalogue: Catalogue,
    /// Their audit log; closed where it cannot be continued.
    pub audit: Log,
}

/// Takes the lock and opens KEK, catalogue and audit log; in an empty directory, makes them first.
///
/// # Errors
/// [`OpenError`].
pub fn open(state: &Path, custody: &Custody, clock: &Clock) -> Result<OpenState, OpenError> {
    // First: a state directory made without what it takes could not be used.
    let opener = custody.opener()?;
    let lock = Lock::acquire(StateDir::create(state)?)?;
    let custodian = opener.open_or_create(&lock)?;
    open_catalogue(lock, &custodian, clock)
}

/// [`open`] with a KEK that is open already, and the lock if the caller holds it.
pub(super) fn reopen(
    state: &Path,
    custodian: &Arc<dyn Custodian>,
    (clock, lock): (&Clock, Option<Lock>),
) -> Result<OpenState, OpenError> {
    let lock = match lock {
        Some(lock) => lock,
        None => Lock::acquire(StateDir::create(state)?)?,
    };
    open_catalogue(lock, custodian, clock)
}

/// Opens KEK and catalogue, where there are any, while another process holds the lock.
///
/// # Errors
/// [`OpenError`]: [`reopen`] would fail for the same reason.
pub(super) fn check_without_lock(
    state: &Path,
    custody: &Custody,
) -> Result<Option<Arc<dyn Custodian>>, OpenError> {
    let dir = StateDir::create(state)?;
    if !Opener::is_begun(&dir) {
        return Ok(None);
    }
    let custodian = custody.opener()?.open(&dir)?;
    if Catalogue::exists(&dir) {
        Catalogue::open_read_only(dir, Arc::clone(&custodian))?;
    }
    Ok(Some(custodian))
}

fn open_catalogue(
    lock: Lock,
    custodian: &Arc<dyn Custodian>,
    clock: &Clock,
) -> Result<OpenState, OpenError> {
    let catalogue = if Catalogue::exists(lock.dir()) {
        Catalogue::open_without_records(lock, Arc::clone(custodian))?
    } else {
        Catalogue::create(lock, Arc::clone(custodian))?
    };
    with_audit(catalogue, &**custodian, clock)
}

/// Opens the audit log, and reads the records, which must be those that it names. A log that cannot be continued is closed:
/// messages are sealed and opened as before, but no key event happens until an operator has repaired it. A log with a part
/// missing is an error: that part may have named newer records.
///
/// # Errors
/// [`OpenError`]. A rollback of records is also written to the log.
pub fn with_audit(
    mut catalogue: Catalogue,
    custodian: &dyn Custodian,
    clock: &Clock,
) -> Result<OpenState, OpenError> {
    let mut audit = match open_audit(&catalogue, custodian, clock) {
        Ok(log) => log,
        Err(error) if error.hides_history() => return Err(error.into()),
        Err(error) => {
            tracing::error!(error = %error.with_help(), "the audit log is closed; no key event happens");
            let log = audit_directory(catalogue.path()).join(LOG);
            let seems = LoggedState::read_unverified(&Real, &log).map_err(OpenError::Unread)?;
            Log::closed(&error, seems)
        }
    };
    // Also against the last line of a closed log: whoever truncates the log may have rolled records back as well.
    catalogue.compare_with(audit.logged_state());
    match catalogue.refresh() {
        Ok(()) => Ok(OpenState { catalogue, audit }),
        Err(error) => {
            if error.is_rollback() {
                log_rollback(&mut audit, &error, clock);
            }
            Err(error.into())
        }
    }
}

/// Writes to the audit log that a record was rolled back.
fn log_rollback(audit: &mut Log, error: &LoadError, clock: &Clock) {
    let what = error.with_help().into();
    let now = audit::now(clock).unwrap_or(Timestamp::MAX);
    if let Err(error) = audit.note(Fact::RollbackAlarm { what }, now) {
        tracing::error!(error = %error.with_help(), "the alarm is missing in the audit log");
    }
}

/// Opens the audit log beside this catalogue.
///
/// # Errors
/// [`AuditError`].
pub fn open_audit(
    catalogue: &Catalogue,
    custodian: &dyn Custodian,
    clock: &Clock,
) -> Result<Log, AuditError> {
    let dir = StateDir::open(catalogue.path())?;
    let about = (catalogue.id(), clock);
    audit::open(&dir, Arc::new(Real), custodian, about)
}
