//! The audit log, with outcomes and facts that could not be written yet.

use std::time::{Duration, Instant};

use jiff::Timestamp;

use crate::audit::{
    self, Act, Action, ExposedData, Fact, Head, Hex, IntendedUse, KeyVersion, Outcome,
    PendingEvent, RecordRef, Settings, Text, WriteFailed,
};
use crate::catalogue::{State, Version, View};
use crate::envelope::{Kid, Volume};
use crate::fault::{Failure, Faulty};
use crate::policy::{KeyringName, Rule};
use crate::rotation::reason::{DestroyBasis, Reason};

/// The log, and what is still to be written to it.
pub(super) struct Journal {
    log: audit::Log,
    deferred: Vec<DeferredOutcome>,
    /// Facts that a full disk has kept out of it, with their times.
    deferred_facts: Vec<(Fact, Timestamp)>,
    /// Events whose outcome is not known yet.
    unknown_outcomes: Vec<PendingEvent>,
    /// When filling the reserve is tried again: it takes what is left of a full disk.
    again: Option<Instant>,
    /// Why filling it failed last.
    unfilled: Option<String>,
}

/// An outcome that is still to be written, and when the event ended.
struct DeferredOutcome {
    pending: PendingEvent,
    outcome: Outcome,
    completed: Timestamp,
}

/// How many facts are kept: reloads could produce any number.
const MAX_DEFERRED_FACTS: usize = 16;

/// How often filling the reserve is tried.
const REPLENISH: Duration = Duration::from_secs(60);

impl Journal {
    pub(super) const fn new(log: audit::Log) -> Self {
        Self {
            log,
            deferred: Vec::new(),
            deferred_facts: Vec::new(),
            unknown_outcomes: Vec::new(),
            again: None,
            unfilled: None,
        }
    }

    /// Writes the outcomes of events that a crash has interrupted, from the catalogue. Yields rotations of which no more than the
    /// intent is left, each with the kid of the version to be generated.
    pub(super) fn recover(
        &mut self,
        view: &View,
        now: Timestamp,
    ) -> Vec<(Option<Kid>, (String, Reason))> {
        let mut lost = Vec::new();
        for pending in self.log.open_intents() {
            lost.extend(begun(pending.act()).map(|begun| (kid(&pending), begun)));
            self.finish_from_record(pending, view, now);
        }
        lost
    }

    /// Writes the intent; what cannot be audited must not happen. Outstanding outcomes go first, so that at most one event of a
    /// keyring is open when a process dies, and the record shows its outcome.
    pub(super) fn begin(&mut self, act: Act, now: Timestamp) -> Result<PendingEvent, WriteFailed> {
        let mut flushed = self.flush();
        if flushed.is_err() && act.is_essential() {
            self.release(now);
            flushed = self.flush();
        }
        flushed?;
        self.log.begin(act, now)
    }

    /// Writes the outcome, now or when the disk works again. An unknown one is resolved by [`Journal::settle_from_record`].
    pub(super) fn finish(&mut self, pending: PendingEvent, outcome: Outcome, completed: Timestamp) {
        if matches!(outcome, Outcome::Unknown(_)) {
            self.unknown_outcomes.push(pending.clone());
        }
        self.deferred.push(DeferredOutcome {
            pending,
            outcome,
            completed,
        });
        if self.flush().is_err() {
            tracing::error!(
                "the outcome of a key event is missing in the audit log; it is written as soon as the disk takes it"
            );
        }
    }

    /// Writes the single line of an order for which nothing was begun.
    pub(super) fn conclude(&mut self, act: Act, outcome: &Outcome, now: Timestamp) {
        let said = self.log.conclude(act, outcome, now);
        if let Err(error) = said {
            tracing::error!(error = %error.with_help(), "an order that was not carried out is missing in the audit log");
        }
    }

    /// Writes the outcome that the record shows.
    fn finish_from_record(&mut self, pending: PendingEvent, view: &View, now: Timestamp) {
        let outcome = outcome_from_record(&pending, view);
        let done = outcome == Outcome::Done;
        let record = done.then(|| record(pending.act(), view)).flatten();
        let revoked = pending.act().what == Action::Compromise && done;
        let version = version_of(&pending, view).filter(|_version| revoked);
        let exposure = version.map(|version| {
            let bounds = (version.sealed, version.reserved);
            exposed(version, bounds, version.lanes)
        });
        self.finish(
            pending.with_record(record).with_exposure(exposure),
            outcome,
            now,
        );
    }

    /// Versions of a keyring whose generation has failed, or may have, and whose outcome is not in the log yet.
    pub(super) fn unconfirmed_versions(&self, keyring: &KeyringName) -> Vec<Kid> {
        let pending = self.deferred.iter().map(|deferred| &deferred.pending);
        let pending = pending.chain(&self.unknown_outcomes);
        let made = pending
            .filter(|pending| pending.act().what == Action::Generate && is_of(pending, keyring));
        made.filter_map(kid).collect()
    }

    /// Whether the log has an event of this version without its outcome.
    pub(super) fn is_open(&self, version: Kid) -> bool {
        let open = self.log.open_intents();
        open.iter().any(|pending| kid(pending) == Some(version))
    }

    /// Whether the outcome of the last event of a keyring is unknown.
    pub(super) fn has_unknown_outcome(&self, keyring: &KeyringName) -> bool {
        self.unknown_outcomes
            .iter()
            .any(|pending| is_of(pending, keyring))
    }

    /// Writes the unknown outcomes of a keyring, once its record has been read.
    pub(super) fn settle_from_record(
        &mut self,
        view: &View,
        keyring: &KeyringName,
        now: Timestamp,
    ) {
        let of = |pending: &mut PendingEvent| is_of(pending, keyring);
        let settled: Vec<_> = self.unknown_outcomes.extract_if(.., of).collect();
        for pending in settled {
            self.finish_from_record(pending, view, now);
        }
    }

    /// The head of the hash chain.
    pub(super) fn head(&self) -> Option<Head> {
        self.log.head()
    }

    /// Writes a fact that is no key event.
    pub(super) fn note(&mut self, fact: Fact, now: Timestamp) -> Result<(), WriteFailed> {
        self.log.note(fact, now)
    }

    /// Writes a fact that must not be lost: if the disk is full it is written before the next event.
    pub(super) fn note_or_defer(&mut self, fact: Fact, now: Timestamp) -> Result<(), WriteFailed> {
        let said = self.flush().and_then(|()| self.log.note(fact.clone(), now));
        if matches!(said, Err(WriteFailed::Disk(_)))
            && self.deferred_facts.len() < MAX_DEFERRED_FACTS
        {
            self.deferred_facts.push((fact, now));
        }
        said
    }

    /// The last settings in force according to the log; unverified where the log is closed.
    pub(super) const fn last_policy(&self) -> Option<&Settings> {
        self.log.last_policy()
    }

    /// Names the final records, as far as the log does not have them.
    pub(super) fn note_records_left(
        &mut self,
        mut records: Vec<RecordRef>,
        now: Timestamp,
    ) -> Result<(), WriteFailed> {
        if let Some(last) = self.log.verified_state() {
            records.retain(|record| !last.records().any(|known| known == record));
        }
        if records.is_empty() {
            return Ok(());
        }
        self.log.note(Fact::RecordsLeft { records }, now)
    }

    /// Retries what a full disk has prevented.
    pub(super) fn retry_deferred(&mut self, instant: Instant) {
        if self.log.closed_by().is_some() {
            return;
        }
        if let Err(error) = self.flush() {
            tracing::debug!(error = %error.with_help(), "an outcome is owed to the audit log");
        }
        if self.again.is_some_and(|again| instant < again) {
            return;
        }
        self.again = instant.checked_add(REPLENISH);
        let replenished = self.log.replenish();
        self.unfilled = replenished.err().map(|error| {
            if let WriteFailed::Disk(error) = error {
                // Events are still possible: the reserve needs more room than a line.
                return error.with_help();
            }
            error.with_help()
        });
        if let Some(error) = &self.unfilled {
            tracing::debug!(error, "the audit log still waits for the disk");
        }
    }

    /// Writes outstanding outcomes in order, and then facts.
    fn flush(&mut self) -> Result<(), WriteFailed> {
        while let Some(deferred) = self.deferred.first() {
            let DeferredOutcome {
                pending,
                outcome,
                completed,
            } = deferred;
            self.log.finish(pending.clone(), outcome, *completed)?;
            self.deferred.remove(0);
        }
        while let Some((fact, at)) = self.deferred_facts.first() {
            self.log.note(fact.clone(), *at)?;
            self.deferred_facts.remove(0);
        }
        Ok(())
    }

    pub(super) fn tail(&self, count: usize) -> Result<Vec<Vec<u8>>, WriteFailed> {
        self.log.tail(count)
    }

    /// Frees the reserve of a full disk.
    pub(super) fn release(&mut self, now: Timestamp) {
        if let Err(error) = self.log.release(now) {
            tracing::error!(error = %error.with_help(), "the audit log's reserve cannot be given up");
        }
    }

    /// Why the log is closed, if it is.
    pub(super) fn closed_by(&self) -> Option<&Failure> {
        self.log.closed_by()
    }

    pub(super) fn has_reserve(&self) -> bool {
        self.log.has_reserve()
    }

    /// Why there is no reserve; `None` also where the log is closed.
    pub(super) fn unreserved(&self) -> Option<String> {
        if self.closed_by().is_some() || self.has_reserve() {
            return None;
        }
        let why = self.unfilled.clone();
        Some(why.unwrap_or_else(|| "a revocation took it, or the disk lost it".to_owned()))
    }
}

/// As the audit log records what is done to a keyring, and to a version of it.
pub(super) fn act(
    what: Action,
    reason: Reason,
    keyring: Option<Text>,
    rule: Option<&Rule>,
    version: Option<&Version>,
) -> Act {
    // An order that was refused before the evidence was looked at has none.
    let basis = reason.basis.map(|basis| forced_and_evidence(what, basis));
    let (forced, evidence) = basis.unwrap_or_default();
    let subjects = rule.map(|rule| rule.subjects.as_slice());
    let scope = subjects.unwrap_or_default().iter();
    Act {
        who: reason.who,
        through: reason.through,
        trigger: Some(reason.trigger),
        why: reason.why,
        what,
        keyring,
        version: version.map(named),
        intended_use: intended_use(what),
        forced,
        evidence,
        exposure: None,
        expiry: None,
        scope: scope.map(|subject| subject.to_string().into()).collect(),
        changes: Vec::new(),
    }
}

const fn intended_use(what: Action) -> IntendedUse {
    match what {
        Action::RotateRequested | Action::Activate | Action::Reload => IntendedUse::SealAndOpen,
        Action::Resume | Action::Archive | Action::Restore | Action::Deactivate | Action::Admit => {
            IntendedUse::Open
        }
        Action::Generate
        | Action::Suspend
        | Action::Compromise
        | Action::Destroy
        | Action::DestroyRequested
        | Action::Weaken
        | Action::Abort => IntendedUse::Nothing,
    }
}

/// Of a destruction: whether it is forced, and the evidence.
fn forced_and_evidence(what: Action, basis: DestroyBasis) -> (Option<bool>, Option<Text>) {
    if !matches!(what, Action::Destroy | Action::DestroyRequested) {
        return (None, None);
    }
    match basis {
        DestroyBasis::Proven(evidence) => (Some(false), Some(evidence)),
        DestroyBasis::Configured => (Some(false), None),
        DestroyBasis::Forced => (Some(true), None),
    }
}

fn named(version: &Version) -> KeyVersion {
    KeyVersion {
        label: version.label.as_str().into(),
        kid: Hex(version.kid.0),
        commitment: Hex(version.commitment.0),
        algorithm: version.suite.name().into(),
    }
}

/// The record of the keyring that an act concerns, as it is now.
fn record(act: &Act, view: &View) -> Option<RecordRef> {
    let keyring = act.keyring.as_ref()?.as_str().parse().ok()?;
    view.reference(&keyring)
}

fn is_of(pending: &PendingEvent, keyring: &KeyringName) -> bool {
    let named = pending.act().keyring.as_ref().map(Text::as_str);
    named == Some(keyring.as_str())
}

/// The rotation that an event began.
fn begun(act: &Act) -> Option<(String, Reason)> {
    let keyring = act.keyring.as_ref()?.as_str().to_owned();
    let reason = Reason {
        trigger: act.trigger?,
        who: act.who.clone(),
        through: act.through,
        why: act.why.clone(),
        basis: None,
    };
    (act.what == Action::Generate).then_some((keyring, reason))
}

/// What was sealed under a revoked version, at least and at most.
pub(super) fn exposed(
    version: &Version,
    (least, most): (Volume, Volume),
    lanes: u64,
) -> ExposedData {
    ExposedData {
        from: version.activated,
        until: version.stopped_sealing(),
        messages: [least.messages, most.messages],
        bytes: [least.bytes, most.bytes],
        lanes,
    }
}

/// The version that an event names.
fn kid(pending: &PendingEvent) -> Option<Kid> {
    pending.act().version.as_ref().map(|named| Kid(named.kid.0))
}

/// The version that an event names, if a record has it.
fn version_of<'v>(pending: &PendingEvent, view: &'v View) -> Option<&'v Version> {
    let found = view.find_by_kid(kid(pending)?);
    found.map(|(_keyring, version)| version)
}

/// The outcome of an event that has none in the log: no other has changed the version since.
fn outcome_from_record(pending: &PendingEvent, view: &View) -> Outcome {
    let act = pending.act();
    let reached = match (act.what, version_of(pending, view)) {
        (Action::Generate, None) => act.version.is_none() && was_made(pending, view),
        (Action::Generate, Some(_)) => true,
        (Action::Admit, Some(version)) => version.state != State::PreActive,
        (Action::Activate, Some(version)) => version.activated.is_some(),
        (Action::Resume, Some(version)) => version.state != State::Suspended,
        (Action::Archive, Some(version)) => version.state == State::Archived,
        (Action::Destroy | Action::Abort, Some(version)) => version.state == State::Destroyed,
        (Action::Compromise, Some(version)) => version.state == State::Compromised,
        (Action::Suspend, Some(version)) => version.state == State::Suspended,
        (Action::DestroyRequested, Some(version)) => {
            let proposed = version.proposed.as_ref();
            proposed.is_some_and(|proposal| {
                proposal.who == act.who.to_string() && proposal.why == act.why.as_str()
            })
        }
        _ => false,
    };
    if reached {
        return Outcome::Done;
    }
    Outcome::Failed("it was cut off, and has changed nothing".into())
}

/// Logs of earlier releases do not name the version to be generated: it is the last one, if it is younger than the event.
fn was_made(pending: &PendingEvent, view: &View) -> bool {
    let keyring = pending.act().keyring.as_ref();
    let keyring = keyring.and_then(|keyring| keyring.as_str().parse().ok());
    let record = keyring.and_then(|keyring| view.record(&keyring));
    let last = record.and_then(|record| record.versions.last());
    last.is_some_and(|version| version.created >= pending.initiated())
}
