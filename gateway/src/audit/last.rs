//! What a log says last of what it is about: the state that others are compared with.

use std::collections::BTreeMap;
use std::path::Path;

use super::line::{Body, Line};
use super::reader::{Piece, Pieces};
use super::{InForce, RecordRef, Settings, Text};
use crate::disk::{Error, Files};

/// The log's last word.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LastWord {
    records: BTreeMap<String, RecordRef>,
    policy: Option<Settings>,
}

impl LastWord {
    /// What lines say that nobody has judged: to be put beside what is known, never in its place.
    ///
    /// # Errors
    /// What the disk says; of a log that is not there nothing is known.
    pub fn unjudged(files: &dyn Files, log: &Path) -> Result<Self, Error> {
        let mut last = Self::default();
        let mut pieces = match Pieces::open(files, log) {
            Err(error) if error.is_missing() => return Ok(last),
            pieces => pieces?,
        };
        while let Some(piece) = pieces.next()? {
            if let Piece::Line(line) = piece
                && let Ok(line) = Line::parse(&line)
            {
                last.hear(&line.body);
            }
        }
        Ok(last)
    }

    /// The record of each keyring of which a line has named one.
    pub fn records(&self) -> impl Iterator<Item = &RecordRef> {
        self.records.values()
    }

    /// What the configuration said about protection that was in force last.
    #[must_use]
    pub const fn policy(&self) -> Option<&Settings> {
        self.policy.as_ref()
    }

    /// What a line says that puts these in force: all of them where the log does not have them.
    #[must_use]
    pub fn in_force(&self, settings: &Settings) -> InForce {
        let is_new = self.policy.as_ref() != Some(settings);
        InForce {
            sha256: settings.digest(),
            settings: is_new.then(|| settings.clone()),
        }
    }

    /// Takes in a line; lines come in their order. An outcome that a full disk kept out of the log may come behind that of a later
    /// record, which stands.
    pub(super) fn hear(&mut self, body: &Body) {
        if let Some(settings) = body.policy().and_then(|policy| policy.settings.as_ref()) {
            self.policy = Some(settings.clone());
        }
        for record in body.records() {
            let keyring = Text::as_str(&record.keyring);
            let known = self.records.get(keyring);
            if known.is_none_or(|known| known.epoch <= record.epoch) {
                self.records.insert(keyring.to_owned(), record.clone());
            }
        }
    }
}
