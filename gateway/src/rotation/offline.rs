//! The status of a keyring while no gateway runs: from its record, its terms, and the marks of orders not yet in the record.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::catalogue::{Mark, Moment, Opens, Record, Version};
use crate::envelope::Kid;
use crate::policy::Rule;

use super::engine::{KeyringState, Now, Refused, VersionView};
use super::report::{Exposure, KeyringStatus, OutlookReport, RetentionReasons, VersionStatus};
use super::{OrderError, Terms};

/// A keyring that no process uses. What was reserved counts as used.
pub struct OfflineKeyring<'a> {
    /// Its policy rule.
    pub rule: &'a Rule,
    /// Its terms.
    pub terms: &'a Terms,
    /// Its versions; `None` before the first.
    pub record: Option<&'a Record>,
    /// Orders that could not be written into the record.
    pub marks: Vec<(Mark, Kid)>,
    /// The current time.
    pub now: Moment,
}

impl OfflineKeyring<'_> {
    /// Its versions, and what is due.
    #[must_use]
    pub fn status(&self) -> KeyringStatus {
        let state = self.state();
        let now = self.now();
        let versions = self.versions().iter().map(|version| VersionStatus {
            halted: version.state.seals() && self.is_halted(version),
            ..VersionStatus::of_record(&state, version, now)
        });
        let outlook = OutlookReport::at(now.wall, state.outlook(now));
        KeyringStatus {
            versions: versions.collect(),
            ..KeyringStatus::new(&self.rule.name, Some(self.rule), self.terms, outlook)
        }
    }

    /// What a leaked version exposes.
    ///
    /// # Errors
    /// [`OrderError::Refused`] when there is no such version.
    pub fn exposure(&self, number: u32) -> Result<Exposure, OrderError> {
        let version = self.version(number)?;
        let opens = match version.state.opens() {
            Opens::ByPolicy => self.terms.open.includes(version.state),
            Opens::Yes | Opens::OnDemand => true,
            Opens::No => false,
        };
        Ok(Exposure {
            halted: self.is_halted(version) && version.stopped_sealing().is_none(),
            opens,
            ..Exposure::of_record(&self.rule.name, Some(self.rule), version)
        })
    }

    /// Why a version is not destroyed, as far as its record says.
    ///
    /// # Errors
    /// [`OrderError::Refused`] when there is no such version.
    pub fn kept(&self, number: u32) -> Result<RetentionReasons, OrderError> {
        let version = self.version(number)?;
        Ok(RetentionReasons::of_record(
            &self.state(),
            version,
            (self.now(), self.mark(version)),
        ))
    }

    fn mark(&self, version: &Version) -> Option<Mark> {
        Mark::unrecorded(&self.marks, version)
    }

    /// Whether a mark keeps every later start from sealing under it, whatever its record says.
    fn is_halted(&self, version: &Version) -> bool {
        matches!(self.mark(version), Some(Mark::Revoked | Mark::Suspended))
    }

    fn version(&self, number: u32) -> Result<&Version, OrderError> {
        let version = self.record.and_then(|record| record.version(number));
        version.ok_or(OrderError::Refused(Refused::Unknown(number)))
    }

    fn versions(&self) -> &[Version] {
        self.record.map_or(&[], |record| record.versions.as_slice())
    }

    fn state(&self) -> KeyringState {
        let versions = self.versions().iter().map(VersionView::from).collect();
        KeyringState::new(self.terms.clone(), versions, BTreeSet::new())
    }

    const fn now(&self) -> Now {
        Now {
            wall: self.now.wall,
            monotonic: self.now.monotonic,
            elapsed: Duration::ZERO,
        }
    }
}
