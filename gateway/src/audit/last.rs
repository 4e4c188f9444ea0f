//! What a log says last of what it is about: the state that others are compared with.

use std::collections::BTreeMap;

use super::line::Body;
use super::{RecordRef, Text};

/// The log's last word.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LastWord {
    records: BTreeMap<String, RecordRef>,
}

impl LastWord {
    /// The record of each keyring of which a line has named one.
    pub fn records(&self) -> impl Iterator<Item = &RecordRef> {
        self.records.values()
    }

    /// Takes in a line; lines come in their order. An outcome that a full disk kept out of the log may come behind that of a later
    /// record, which stands.
    pub(super) fn hear(&mut self, body: &Body) {
        for record in body.records() {
            let keyring = Text::as_str(&record.keyring);
            let known = self.records.get(keyring);
            if known.is_none_or(|known| known.epoch <= record.epoch) {
                self.records.insert(keyring.to_owned(), record.clone());
            }
        }
    }
}
