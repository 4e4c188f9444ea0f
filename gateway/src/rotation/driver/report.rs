//! Status of keyrings and versions for operators.

use crate::catalogue::{self, Mark, State};
use crate::envelope::Volume;
use crate::keyring::Budget;
use crate::rotation::OrderError;
use crate::rotation::engine::{KeyringState, Refused, RetentionVerdict};
use crate::rotation::report::{
    Amount, KeyringStatus, Opened, OutlookReport, Overview, RetentionReasons, VersionStatus,
};
use crate::rotation::terms::DestroyApproval;

use super::Driver;
use super::reserve::used;

/// The command that approves.
const APPROVE: &str = "`keyway destroy --approve`";

impl Driver {
    pub(super) fn overview(&self) -> Overview {
        Overview {
            keyrings: self.status(),
            unreserved: self.journal.unreserved(),
            rolled_back: self.rolled_back.clone(),
            unread: self.unread.clone(),
        }
    }

    pub(super) fn status(&self) -> Vec<KeyringStatus> {
        (0..self.keyrings.len())
            .filter_map(|index| self.status_of(index))
            .collect()
    }

    pub(super) fn status_of(&self, index: usize) -> Option<KeyringStatus> {
        let (keyring, engine) = self.engine(index)?;
        let versions = self.record(index).map(|record| record.versions.as_slice());
        let mut outlook = engine.outlook(self.now());
        let unreserved = self.keyrings.get(index)?.reserve_failure.clone();
        outlook.failure = outlook
            .failure
            .or(unreserved)
            .or_else(|| self.load_failure.as_ref().map(|(_last, why)| why.clone()))
            .or_else(|| {
                let why = self.journal.closed_by()?;
                Some(format!(
                    "no key event happens, because the audit log is closed: {why}"
                ))
            });
        let versions = versions.unwrap_or_default().iter();
        let versions = versions.map(|version| VersionStatus {
            exhausted: self.is_exhausted(index, version),
            halted: version.state.seals() && self.loaded.is_halted(version.kid),
            ..self.version(engine, version)
        });
        let outlook = OutlookReport::at(self.wall(), outlook);
        Some(KeyringStatus {
            versions: versions.collect(),
            stopped: self.stopped(index),
            ..KeyringStatus::new(keyring, self.rule(keyring), engine.terms(), outlook)
        })
    }

    fn version(&self, engine: &KeyringState, version: &catalogue::Version) -> VersionStatus {
        let known = VersionStatus::of_record(engine, version, self.now());
        let kept = engine.destroy_check(version.number).map(|destroy_check| match &destroy_check.verdict {
            None => "JetStream is being asked what is stored under it".to_owned(),
            Some(RetentionVerdict::Clear(_)) if engine.terms().destroy == DestroyApproval::Approved => format!(
                "nothing stored needs it; the gateway wants to destroy it, and somebody has to approve: {APPROVE}"
            ),
            Some(RetentionVerdict::Clear(_)) => {
                "nothing stored needs it; it is about to be destroyed".to_owned()
            }
            Some(RetentionVerdict::Held(evidence)) => evidence.clone(),
        });
        let kept = self.waits_for(engine, version).or(kept);
        let count = self.loaded.count(version.kid);
        let (sealed, used_up, lanes) = count
            .map_or((version.sealed, version.reserved, version.lanes), |count| {
                (count.sealed(), count.used(), count.lanes())
            });
        let known = VersionStatus {
            sealed: sealed.into(),
            used: used_up.into(),
            lanes,
            kept,
            ..known
        };
        let Some(held) = self.loaded.get(version.kid) else {
            return known;
        };
        let now = self.clock.instant();
        let limit = used(engine.terms().limit);
        let budget = &held.version.budget;
        let seals = version.state.seals();
        VersionStatus {
            left: if seals {
                limit.minus(used_up).into()
            } else {
                Amount::default()
            },
            outstanding: budget.outstanding(held.version.usage.total()).into(),
            opened: Some(Opened {
                messages: held.version.usage.opened(),
                failed: held.version.usage.failed_opens(),
                seconds_ago: held
                    .last_opened
                    .map(|at| now.saturating_duration_since(at).as_secs()),
            }),
            ..known
        }
    }

    /// What the destruction of a version waits for, apart from what is stored.
    fn waits_for(&self, engine: &KeyringState, version: &catalogue::Version) -> Option<String> {
        if let Some(proposal) = version
            .proposed
            .as_ref()
            .filter(|_asked| version.state != State::Destroyed)
        {
            let (who, why) = (&proposal.who, &proposal.why);
            let force = if proposal.forced {
                " by force, whatever is stored"
            } else {
                ""
            };
            return Some(format!(
                "{who} has asked for its destruction{force} ({why}), and somebody else has to approve: {APPROVE}"
            ));
        }
        let until = engine.held_until(version.number, self.now())?;
        (until > self.wall()).then(|| format!("it is held until {until:.0}, whatever is stored"))
    }

    /// Whether the budget of a version is used up; while reservations fail, what is reserved is all of it.
    pub(super) fn is_exhausted(&self, index: usize, version: &catalogue::Version) -> bool {
        let Some((engine, managed)) = self
            .engine(index)
            .map(|(_keyring, engine)| engine)
            .zip(self.keyrings.get(index))
        else {
            return false;
        };
        let Some(held) = self.loaded.get(version.kid) else {
            return VersionStatus::of_record(engine, version, self.now()).exhausted;
        };
        let budget = &held.version.budget;
        let limit = used(engine.terms().limit);
        let most = managed.reserve_failure.as_ref();
        let most = most.map_or(limit, |_why| budget.reserved());
        version.state.seals() && is_used_up(budget, most, held.used())
    }

    /// Why a version is kept, as far as this gateway knows. The caller adds the answer of JetStream.
    pub(super) fn kept(&self, index: usize, number: u32) -> Result<RetentionReasons, OrderError> {
        let unknown = OrderError::Refused(Refused::Unknown(number));
        let (_keyring, engine) = self.engine(index).ok_or(OrderError::Stopping)?;
        let version = self.record(index).and_then(|record| record.version(number));
        let version = version.ok_or(unknown)?;
        let mark = Mark::unrecorded(&self.marks, version);
        let mut kept = RetentionReasons::of_record(engine, version, (self.now(), mark));
        kept.reasons.extend(self.waits_for(engine, version));
        kept.reasons.extend(self.opened_recently(index, number));
        Ok(kept)
    }
}

/// Whether all of `most` is reserved, and what is not granted to lanes is too little for an average message.
fn is_used_up(budget: &Budget, most: Volume, sealed: Volume) -> bool {
    let (reserved, left) = (budget.reserved(), budget.left());
    let mean = sealed.bytes.checked_div(sealed.messages).unwrap_or(1);
    (reserved.messages >= most.messages && left.messages == 0)
        || (reserved.bytes >= most.bytes && left.bytes < mean.max(1))
}
