//! What operators are told of keyrings, versions, and what keeps them.

use crate::catalogue::{self, State};
use crate::rotation::OrderError;
use crate::rotation::engine::{Refused, Ring, Verdict};
use crate::rotation::report::{Kept, KeyringStatus, Opened, VersionStatus};
use crate::rotation::terms::Retain;

use super::Driver;
use super::reserve::used;

impl Driver {
    /// Every keyring.
    pub(super) fn status(&self) -> Vec<KeyringStatus> {
        (0..self.rings.len())
            .filter_map(|index| self.status_of(index))
            .collect()
    }

    pub(super) fn status_of(&self, index: usize) -> Option<KeyringStatus> {
        let (keyring, ring) = self.ring(index)?;
        let versions = self.record(index).map(|record| record.versions.as_slice());
        let mut outlook = ring.outlook(self.now());
        outlook.failure = outlook
            .failure
            .or_else(|| self.journal.closed_by().map(str::to_owned));
        Some(KeyringStatus {
            keyring: keyring.clone(),
            terms: ring.terms().clone(),
            subjects: self.subjects(keyring),
            versions: versions
                .unwrap_or_default()
                .iter()
                .map(|version| self.version(ring, version))
                .collect(),
            outlook,
        })
    }

    fn version(&self, ring: &Ring, version: &catalogue::Version) -> VersionStatus {
        let held = self.loaded.get(version.kid);
        let now = self.clock.instant();
        let sealed = held.map_or(version.reserved, |held| held.used());
        let seals = version.state.seals();
        VersionStatus {
            number: version.number,
            label: version.label.as_str().to_owned(),
            kid: version.kid,
            commitment: version.commitment,
            suite: version.suite,
            state: version.state,
            created: version.created,
            since: version.since,
            activated: version.activated,
            deactivated: version.deactivated,
            overlap_ends: ring.overlap_ends(version.number),
            used: sealed,
            left: if seals {
                used(ring.terms().limit).minus(sealed)
            } else {
                crate::envelope::Used::default()
            },
            outstanding: held
                .map(|held| held.version.budget.outstanding(held.version.usage.total()))
                .unwrap_or_default(),
            lanes: held.map_or(version.lanes, |held| held.lanes()),
            opened: held.map(|held| Opened {
                messages: held.version.usage.opened(),
                failed: held.version.usage.failed_opens(),
                ago: held.last_opened.map(|at| now.saturating_duration_since(at)),
            }),
            kept: ring.gate(version.number).map(|gate| match &gate.verdict {
                None => "JetStream is being asked what is stored under it".to_owned(),
                Some(Verdict::Clear) => {
                    "nothing stored needs it; it is about to be destroyed".to_owned()
                }
                Some(Verdict::Held(evidence)) => evidence.clone(),
            }),
        }
    }

    /// What keeps a version, as far as this gateway knows; what JetStream says is added by whoever asks it.
    pub(super) fn kept(&self, index: usize, number: u32) -> Result<Kept, OrderError> {
        let unknown = OrderError::Refused(Refused::Unknown(number));
        let (_keyring, ring) = self.ring(index).ok_or(OrderError::Stopping)?;
        let version = self.record(index).and_then(|record| record.version(number));
        let version = version.ok_or(unknown)?;
        let mut reasons = Vec::new();
        match version.state {
            State::PreActive | State::Ready => reasons.push("it is about to become active".to_owned()),
            State::Active => reasons.push("it is active: everything new is sealed under it".to_owned()),
            State::DecryptOnly => {
                let ends = ring.overlap_ends(number).map(|ends| ends.to_string());
                reasons.push(format!("its overlap lasts until {}", ends.unwrap_or_default()));
            }
            State::Archived => match ring.terms().retain {
                Retain::Archive => reasons.push("retain = \"archive\": it is never destroyed by itself".to_owned()),
                Retain::Destroy | Retain::Shred => {}
            },
            State::Suspended => reasons.push("it is suspended: an operator decides what becomes of it".to_owned()),
            State::Compromised => reasons.push("it is compromised: an operator destroys it when it is no longer needed as evidence".to_owned()),
            State::Destroyed => reasons.push("nothing: its secret is gone, only its record is left".to_owned()),
        }
        reasons.extend(self.opened_of_late(index, number));
        Ok(Kept {
            label: version.label.to_string(),
            state: version.state,
            reasons,
        })
    }
}
