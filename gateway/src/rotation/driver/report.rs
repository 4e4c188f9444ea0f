//! Status of keyrings and versions for operators.

use crate::audit::ExposedData;
use crate::catalogue::{self, Mark, Opens, State};
use crate::envelope::Volume;
use crate::fault::Faulty;
use crate::keyring::Budget;
use crate::rotation::engine::{Refused, RetentionVerdict, Step};
use crate::rotation::error::OrderError;
use crate::rotation::report::{
    Amount, Exposure, KeyringStatus, Opened, OutlookReport, RetentionReasons, VersionStatus,
};
use crate::rotation::terms::DestroyApproval;

use super::journal::exposed;
use super::keyring::ManagedKeyring;
use super::loaded::SealedCount;
use super::shared::Shared;

/// The command that approves.
const APPROVE: &str = "`keyway destroy --approve`";

impl ManagedKeyring {
    pub(super) fn status(&self, shared: &Shared) -> KeyringStatus {
        let (keyring, engine) = (&self.name, &self.engine);
        let versions = self.record(shared).map(|record| record.versions.as_slice());
        let mut outlook = engine.outlook(shared.now());
        let unreserved = self.reserve_failure.clone();
        outlook.failure = outlook
            .failure
            .or(unreserved)
            .or_else(|| shared.load_failure.as_ref().map(|(_last, why)| why.clone()))
            .or_else(|| {
                let why = shared.journal.closed_by()?;
                Some(format!(
                    "no key event happens, because the audit log is closed: {}",
                    why.with_help()
                ))
            });
        let versions = versions.unwrap_or_default().iter();
        let versions = versions.map(|version| VersionStatus {
            exhausted: self.is_exhausted(shared, version),
            halted: version.state.seals() && shared.loaded.is_halted(version.kid),
            ..self.version_status(shared, version)
        });
        let outlook = OutlookReport::at(shared.wall(), outlook);
        KeyringStatus {
            versions: versions.collect(),
            stopped: self.stopped(shared),
            ..KeyringStatus::new(keyring, shared.rule(keyring), engine.terms(), outlook)
        }
    }

    fn version_status(&self, shared: &Shared, version: &catalogue::Version) -> VersionStatus {
        let engine = &self.engine;
        let known = VersionStatus::of_record(engine, version, shared.now());
        let kept = engine.destroy_check(version.number).map(|destroy_check| match &destroy_check.verdict {
            None => "JetStream is being asked what is stored under it".to_owned(),
            Some(RetentionVerdict::Clear(_)) if engine.terms().destroy == DestroyApproval::Approved => format!(
                "nothing stored needs it; the gateway wants to destroy it, and somebody has to approve: {APPROVE}"
            ),
            Some(RetentionVerdict::Clear(_)) => {
                "nothing stored needs it; it is about to be destroyed".to_owned()
            }
            Some(RetentionVerdict::Held(evidence)) => evidence.with_help(),
        });
        let kept = self.waits_for(shared, version).or(kept);
        let count = shared.loaded.count(version.kid);
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
        let Some(held) = shared.loaded.get(version.kid) else {
            return known;
        };
        let now = shared.clock.instant();
        let limit = engine.terms().limit.volume();
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
    fn waits_for(&self, shared: &Shared, version: &catalogue::Version) -> Option<String> {
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
        let until = self.engine.held_until(version.number, shared.now())?;
        (until > shared.wall()).then(|| format!("it is held until {until:.0}, whatever is stored"))
    }

    /// Whether the budget of a version is used up; while reservations fail, what is reserved is all of it.
    pub(super) fn is_exhausted(&self, shared: &Shared, version: &catalogue::Version) -> bool {
        let engine = &self.engine;
        let Some(held) = shared.loaded.get(version.kid) else {
            return VersionStatus::of_record(engine, version, shared.now()).exhausted;
        };
        let budget = &held.version.budget;
        let limit = engine.terms().limit.volume();
        let most = self.reserve_failure.as_ref();
        let most = most.map_or(limit, |_why| budget.reserved());
        version.state.seals() && is_used_up(budget, most, held.used())
    }

    /// Why a version is kept, as far as this gateway knows. The caller adds the answer of JetStream.
    pub(super) fn kept(
        &self,
        shared: &Shared,
        number: u32,
    ) -> Result<RetentionReasons, OrderError> {
        let unknown = OrderError::Refused(Refused::Unknown(number));
        let version = self.version(shared, number);
        let version = version.ok_or(unknown)?;
        let mark = Mark::unrecorded(&shared.marks, version);
        let mut kept = RetentionReasons::of_record(&self.engine, version, (shared.now(), mark));
        kept.reasons.extend(self.waits_for(shared, version));
        kept.reasons.extend(self.opened_recently(shared, number));
        Ok(kept)
    }

    /// What a leaked version exposes.
    pub(super) fn exposure(&self, shared: &Shared, number: u32) -> Result<Exposure, OrderError> {
        let version = self.version(shared, number);
        let version = version.ok_or(OrderError::Refused(Refused::Unknown(number)))?;
        let count = shared.loaded.count(version.kid);
        let keyring = &self.name;
        Ok(Exposure {
            halted: shared.loaded.is_halted(version.kid) && version.stopped_sealing().is_none(),
            sealed: count.map_or(version.reserved, SealedCount::used).into(),
            exact: count.map_or(version.sealed == version.reserved, SealedCount::is_exact),
            lanes: count.map_or(version.lanes, SealedCount::lanes),
            opens: shared.loaded.opens(keyring, version) != Opens::No,
            ..Exposure::of_record(keyring, shared.rule(keyring), version)
        })
    }

    /// For the audit log: what was sealed under a version that has been revoked, at least and at most.
    pub(super) fn exposed(&self, shared: &Shared, step: &Step) -> Option<ExposedData> {
        let Step::Compromise(number) = step else {
            return None;
        };
        let version = self.record(shared)?.version(*number)?;
        let count = shared.loaded.count(version.kid);
        let least = count.map_or(version.sealed, SealedCount::sealed);
        let most = count.map_or(version.reserved, SealedCount::most);
        let lanes = count.map_or(version.lanes, SealedCount::lanes);
        (version.state == State::Compromised).then(|| exposed(version, (least, most), lanes))
    }
}

/// Whether all of `most` is reserved, and what is not granted to lanes is too little for an average message.
fn is_used_up(budget: &Budget, most: Volume, sealed: Volume) -> bool {
    let (reserved, left) = (budget.reserved(), budget.left());
    let mean = sealed.bytes.checked_div(sealed.messages).unwrap_or(1);
    (reserved.messages >= most.messages && left.messages == 0)
        || (reserved.bytes >= most.bytes && left.bytes < mean.max(1))
}
