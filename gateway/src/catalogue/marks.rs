//! Marker files for orders that could not be recorded, for the next start: empty files, for which a full disk has room, and which
//! need no open audit log.
//!
//! The name in the state directory is the content: `revoked-KID`. A marker is not signed, and can only keep a version from
//! sealing: who can create one there can also delete the record.

use data_encoding::HEXLOWER;
use strum::VariantArray;

use super::store::sync;
use super::{State, Version, View};
use crate::disk::names::MARKS;
use crate::disk::{Action, Error};
use crate::envelope::Kid;

/// What a marker file says of a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, VariantArray)]
pub enum Mark {
    /// It never seals again.
    Revoked,
    /// It does not seal while an operator investigates.
    Suspended,
    /// The rotation that it was made for was reported as failed.
    Withdrawn,
}

impl Mark {
    /// The word in the file's name.
    #[must_use]
    pub const fn word(self) -> &'static str {
        let [revoked, suspended, withdrawn] = MARKS;
        match self {
            Self::Revoked => revoked,
            Self::Suspended => suspended,
            Self::Withdrawn => withdrawn,
        }
    }

    /// Whether a version in this recorded state still needs the marker.
    #[must_use]
    pub const fn is_unrecorded_in(self, state: State) -> bool {
        match self {
            Self::Revoked => !matches!(state, State::Compromised | State::Destroyed),
            Self::Suspended => !matches!(
                state,
                State::Suspended | State::Compromised | State::Destroyed
            ),
            Self::Withdrawn => matches!(state, State::PreActive | State::Ready),
        }
    }

    /// The first of these marks that a version's record does not reflect yet; `marks` has revocations first.
    #[must_use]
    pub fn unrecorded(marks: &[(Self, Kid)], version: &Version) -> Option<Self> {
        let mut of = marks.iter().filter(|(_mark, kid)| *kid == version.kid);
        let ahead = of.find(|(mark, _kid)| mark.is_unrecorded_in(version.state));
        ahead.map(|(mark, _kid)| *mark)
    }

    fn name(self, kid: Kid) -> String {
        format!("{}-{kid}", self.word())
    }

    fn read(name: &str) -> Option<(Self, Kid)> {
        let (word, kid) = name.split_once('-')?;
        let mark = Self::VARIANTS.iter().find(|mark| mark.word() == word)?;
        let kid = HEXLOWER.decode(kid.as_bytes()).ok()?;
        Some((*mark, Kid(kid.try_into().ok()?)))
    }
}

impl View {
    /// Creates a marker, durably.
    ///
    /// # Errors
    /// [`Error`]: the next start does not know of the order.
    pub fn mark(&self, mark: Mark, kid: Kid) -> Result<(), Error> {
        let path = self.dir.join(&mark.name(kid));
        let made = self.files.write(&path, &[]);
        made.map_err(|e| Error::from_io(&path, Action::Write, e))?;
        sync(&*self.files, self.dir.path())
    }

    /// Deletes a marker; a missing one is no error.
    ///
    /// # Errors
    /// [`Error`].
    pub fn unmark(&self, mark: Mark, kid: Kid) -> Result<(), Error> {
        let path = self.dir.join(&mark.name(kid));
        match self.files.remove(&path) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
            removed => removed.map_err(|e| Error::from_io(&path, Action::Remove, e))?,
        }
        sync(&*self.files, self.dir.path())
    }

    /// All markers, revocations first.
    ///
    /// # Errors
    /// [`Error`].
    pub fn marks(&self) -> Result<Vec<(Mark, Kid)>, Error> {
        let dir = self.dir.path();
        let names = self.files.names(dir);
        let names = names.map_err(|e| Error::from_io(dir, Action::List, e))?;
        let mut marks: Vec<_> = names.iter().filter_map(|name| Mark::read(name)).collect();
        marks.sort_unstable();
        Ok(marks)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mark_is_ahead_of_a_record_until_that_says_the_same_or_more() {
        for (mark, ahead, level) in [
            (Mark::Revoked, State::Active, State::Compromised),
            (Mark::Revoked, State::Suspended, State::Destroyed),
            (Mark::Suspended, State::DecryptOnly, State::Suspended),
            (Mark::Suspended, State::Active, State::Compromised),
            // Active: the rotation has not failed after all.
            (Mark::Withdrawn, State::Ready, State::Active),
            (Mark::Withdrawn, State::PreActive, State::Destroyed),
        ] {
            assert!(mark.is_unrecorded_in(ahead), "{mark:?} {ahead}");
            assert!(!mark.is_unrecorded_in(level), "{mark:?} {level}");
        }
    }
}
