//! The latest records and settings that a log names, with which the catalogue and the configuration are compared.

use std::collections::BTreeMap;
use std::path::Path;

use super::line::{Body, Fact, Line, Note};
use super::reader::{Piece, Pieces};
use super::{RecordRef, Settings, Text};
use crate::disk::{Error, Files};

/// The latest record of each keyring, and the latest settings, by the lines of a log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoggedState {
    records: BTreeMap<String, RecordRef>,
    policy: Option<Settings>,
}

impl LoggedState {
    /// Reads the state from a log without verifying it: it may add to what is known, and must never replace that.
    ///
    /// # Errors
    /// Errors of the disk. A log that does not exist has an empty state.
    pub fn read_unverified(files: &dyn Files, log: &Path) -> Result<Self, Error> {
        let mut last = Self::default();
        let mut pieces = match Pieces::open(files, log) {
            Err(error) if error.is_missing() => return Ok(last),
            pieces => pieces?,
        };
        while let Some(piece) = pieces.next()? {
            if let Piece::Line(line) = piece
                && let Ok(line) = Line::parse(&line)
            {
                last.apply(&line.body);
            }
        }
        Ok(last)
    }

    /// The latest record of each keyring.
    pub fn records(&self) -> impl Iterator<Item = &RecordRef> {
        self.records.values()
    }

    /// The settings that were in force last.
    #[must_use]
    pub const fn policy(&self) -> Option<&Settings> {
        self.policy.as_ref()
    }

    /// Omits the settings from a line if the latest ones are the same. To be called when the line is written: a full disk may
    /// have prevented earlier lines.
    pub(super) fn omit_unchanged(&self, body: &mut Body) {
        if let Body::Note(Note { fact, .. }) = body
            && let Fact::GatewayStarted { policy, .. } | Fact::ConfigurationReloaded { policy, .. } =
                fact
            && let Some(policy) = policy
            && policy.settings == self.policy
        {
            policy.settings = None;
        }
    }

    /// Applies the next line. An outcome that a full disk delayed may come behind one with a later record, which then stays.
    pub(super) fn apply(&mut self, body: &Body) {
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
