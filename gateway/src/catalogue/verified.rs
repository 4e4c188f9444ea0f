//! A verified record, with the bytes of its file.
//!
//! Every write compares with the file on disk. If that is, byte for byte, what this process has written or verified, it is
//! neither verified nor parsed again, and the text of unchanged versions is copied.

use std::ops::Range;

use super::{Record, Version};
use crate::audit::RecordRef;
use crate::policy::KeyringName;

/// A record whose signature and rules were checked, and its file.
pub(super) struct VerifiedRecord {
    pub(super) record: Record,
    file: Vec<u8>,
    /// Each version's byte range in the file, in the record's order; empty if another process wrote the file.
    ranges: Vec<Range<usize>>,
}

impl VerifiedRecord {
    /// An empty record, for a keyring without a file.
    pub(super) const fn absent(keyring: KeyringName) -> Self {
        Self::read(Record::empty(keyring), Vec::new())
    }

    /// Read from a file; version ranges are not known.
    pub(super) const fn read(record: Record, file: Vec<u8>) -> Self {
        Self::written(record, file, Vec::new())
    }

    /// Written by this process, and read back.
    pub(super) const fn written(record: Record, file: Vec<u8>, ranges: Vec<Range<usize>>) -> Self {
        Self {
            record,
            file,
            ranges,
        }
    }

    /// Whether the file is byte for byte the verified one.
    pub(super) fn is_same_file(&self, file: &[u8]) -> bool {
        self.file == file
    }

    pub(super) fn has_same_bytes(&self, other: &Self) -> bool {
        self.file == other.file
    }

    /// The epoch and hash of the file, for the audit log.
    pub(super) fn reference(&self) -> RecordRef {
        let Record { keyring, epoch, .. } = &self.record;
        RecordRef::of(keyring.as_str(), *epoch, &self.file)
    }

    /// The JSON of the version at `index`, if the version is unchanged.
    pub(super) fn text_of(&self, index: usize, version: &Version) -> Option<&[u8]> {
        let place = self.ranges.get(index)?;
        let same = self.record.versions.get(index) == Some(version);
        self.file.get(place.clone()).filter(|_text| same)
    }
}
