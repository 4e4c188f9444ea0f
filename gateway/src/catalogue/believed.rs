//! A record that is believed, with the bytes that it was believed for.
//!
//! Every write compares with what is on disk. That is nearly always what this process has written or verified itself, to the last
//! byte: then there is nothing to verify or parse again, and the text of every version that has not changed can be taken over.

use std::ops::Range;

use super::{Record, Version};
use crate::audit::RecordRef;
use crate::policy::KeyringName;

/// A record, and the file that says it: signed by this catalogue, within the rules.
pub(super) struct Believed {
    pub(super) record: Record,
    file: Vec<u8>,
    /// Where each version stands in the file, in the record's order; none of a file that another process wrote.
    places: Vec<Range<usize>>,
}

impl Believed {
    /// Of a keyring that has no file yet.
    pub(super) const fn absent(keyring: KeyringName) -> Self {
        Self::read(Record::empty(keyring), Vec::new())
    }

    /// What a file says.
    pub(super) const fn read(record: Record, file: Vec<u8>) -> Self {
        Self::written(record, file, Vec::new())
    }

    /// What this process has put into a file, and read back.
    pub(super) const fn written(record: Record, file: Vec<u8>, places: Vec<Range<usize>>) -> Self {
        Self {
            record,
            file,
            places,
        }
    }

    /// Whether the file is still what was believed; nothing less than all of it is compared.
    pub(super) fn is_said_by(&self, file: &[u8]) -> bool {
        self.file == file
    }

    /// Whether both stand in the same bytes.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        self.file == other.file
    }

    /// Names the file, for the audit log.
    pub(super) fn reference(&self) -> RecordRef {
        let Record { keyring, epoch, .. } = &self.record;
        RecordRef::of(keyring.as_str(), *epoch, &self.file)
    }

    /// The text of the version at this place in the record, if it is this very one.
    pub(super) fn text_of(&self, index: usize, version: &Version) -> Option<&[u8]> {
        let place = self.places.get(index)?;
        let same = self.record.versions.get(index) == Some(version);
        self.file.get(place.clone()).filter(|_text| same)
    }
}
