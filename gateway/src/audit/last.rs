//! What a log says last of what it is about: the state that others are compared with.

use std::collections::BTreeMap;
use std::path::Path;

use super::line::{Body, Line};
use super::reader::{Piece, Pieces};
use super::{RecordRef, Settings, Text};
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

    /// Leaves out of a line what it puts in force, where the lines before it say the same. Only when it is written is it known which
    /// these are: a full disk may have kept others out.
    pub(super) fn leave_out(&self, body: &mut Body) {
        if let Some(policy) = body.policy_mut()
            && policy.settings == self.policy
        {
            policy.settings = None;
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
