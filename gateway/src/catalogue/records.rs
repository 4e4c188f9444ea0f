//! The records as the control plane reaches them: what is asked for comes later.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::time::ClockState;
use super::verified::VerifiedRecord;
use super::{LoadError, Record, SetError};
use crate::disk;
use crate::later::Later;
use crate::policy::KeyringName;

/// The one writer of the records. Works for callers in turn, so that what is asked for first is done first.
pub trait Records: Send {
    /// Replaces a record durably, if that is still the one which the change was made from.
    fn set(&self, change: RecordChange) -> Later<'static, Answer<SetError>>;

    /// Reads one keyring's record again, or all.
    fn read(&self, which: Option<KeyringName>) -> Later<'static, Answer<LoadError>>;

    /// Whether the records are byte for byte those last read or written.
    fn is_unchanged(&self) -> Later<'static, bool>;

    /// Stores the catalogue's own time.
    fn save_clock(&self, state: ClockState) -> Later<'static, Result<(), disk::Error>>;

    /// Writes what every change of a record writes, changing nothing.
    fn rehearse(&self) -> Later<'static, Result<(), disk::Error>>;
}

/// A record to be set, and the epoch of the one that it replaces.
#[derive(Clone, Debug)]
pub struct RecordChange {
    pub(super) expected: u64,
    pub(super) record: Record,
    pub(super) remember: Remember,
    /// The version whose new secret was shown to unwrap.
    pub(super) proven: Option<u32>,
}

/// When the epoch of a new record goes to `seen.json`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Remember {
    /// Before the record is acted on.
    Now,
    /// With the next record that is: until then nothing is sealed because of this one, so that nothing is lost with it.
    Later,
}

/// How it ended, and the records as they were known then. After a failure, too, they may be newer than before.
#[must_use]
pub struct Answer<E> {
    pub(super) records: KnownRecords,
    /// How it ended.
    pub result: Result<(), E>,
}

/// Records that were verified.
pub(super) type KnownRecords = BTreeMap<KeyringName, Arc<VerifiedRecord>>;
