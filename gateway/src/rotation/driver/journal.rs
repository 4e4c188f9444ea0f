//! The audit log, and what is owed to it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use crate::audit::{
    self, Act, Action, EventId, Fact, Hex, InForce, IntendedUse, KeyVersion, Outcome, Pending,
    RecordRef, Settings, WriteFailed,
};
use crate::catalogue::{State, Version, View};
use crate::policy::{KeyringName, Rule};
use crate::rotation::because::Because;

/// The log, and the outcomes that a full disk kept out of it.
pub(super) struct Journal {
    log: audit::Log,
    owed: BTreeMap<EventId, Outcome>,
    /// When the reserve is looked at again: filling it takes what is left of a full disk.
    again: Option<Instant>,
    /// Why it could not be filled then.
    unfilled: Option<String>,
}

/// How often that is.
const REPLENISH: Duration = Duration::from_secs(60);

/// What is about to be done.
pub(super) struct Statement<'d> {
    pub(super) what: Action,
    pub(super) because: Because,
    pub(super) keyring: &'d KeyringName,
    pub(super) rule: Option<&'d Rule>,
    pub(super) version: Option<&'d Version>,
    pub(super) intended_use: IntendedUse,
    pub(super) expiry: Option<Timestamp>,
}

impl Journal {
    pub(super) const fn new(log: audit::Log) -> Self {
        Self {
            log,
            owed: BTreeMap::new(),
            again: None,
            unfilled: None,
        }
    }

    /// Finishes what a crash has interrupted: the catalogue says what became of it. Yields the rotations that had begun, and of
    /// which nothing else is left.
    pub(super) fn take_up(&mut self, view: &View, now: Timestamp) -> Vec<(String, Because)> {
        let mut lost = Vec::new();
        for pending in self.log.open_intents() {
            let outcome = fate(pending.act(), view);
            lost.extend(begun(pending.act()));
            let record = (outcome == Outcome::Done)
                .then(|| record(pending.act(), view))
                .flatten();
            self.conclude(pending.led_to(record), outcome, now);
        }
        lost
    }

    /// Writes the intent; what cannot be audited does not happen.
    pub(super) fn begin(&mut self, statement: Act, now: Timestamp) -> Result<Pending, WriteFailed> {
        self.log.begin(statement, now)
    }

    /// Writes the outcome, now or when the disk works again.
    pub(super) fn finish<E: std::fmt::Display>(
        &mut self,
        pending: Pending,
        concerned: Option<&Version>,
        outcome: &Result<(), E>,
        now: Timestamp,
    ) {
        let pending = match concerned {
            Some(version) => pending.concerns(named(version)),
            None => pending,
        };
        let outcome = match outcome {
            Ok(()) => Outcome::Done,
            Err(error) => Outcome::Failed(error.to_string().into()),
        };
        let id = pending.id();
        self.conclude(pending, outcome, now);
        if self.owed.contains_key(&id) {
            tracing::error!(
                "the outcome of a key event is missing in the audit log; it is written as soon as the disk takes it"
            );
        }
    }

    /// A fact that is no key event.
    pub(super) fn note(&mut self, fact: Fact, now: Timestamp) -> Result<(), WriteFailed> {
        self.log.note(fact, now)
    }

    /// What the log says of the settings that were in force last; where it is closed, what it seems to say.
    pub(super) const fn last_policy(&self) -> Option<&Settings> {
        self.log.last_policy()
    }

    /// What a line says that puts settings in force.
    pub(super) fn in_force(&self, settings: &Settings) -> InForce {
        self.log.in_force(settings)
    }

    /// The records as they are left, as far as the log does not know them.
    pub(super) fn leave(
        &mut self,
        mut records: Vec<RecordRef>,
        now: Timestamp,
    ) -> Result<(), WriteFailed> {
        if let Some(last) = self.log.last_word() {
            records.retain(|record| !last.records().any(|known| known == record));
        }
        if records.is_empty() {
            return Ok(());
        }
        self.log.note(Fact::RecordsLeft { records }, now)
    }

    /// Makes up for what a full disk has prevented.
    pub(super) fn settle(&mut self, now: Timestamp, instant: Instant) {
        if self.log.closed_by().is_some() {
            return;
        }
        self.pay(now);
        if self.again.is_some_and(|again| instant < again) {
            return;
        }
        self.again = instant.checked_add(REPLENISH);
        let replenished = self.log.replenish();
        self.unfilled = replenished.err().map(|error| {
            if let WriteFailed::Disk(error) = error {
                // Events may happen all the same: the reserve takes more room than a line.
                return error.to_string();
            }
            error.to_string()
        });
        if let Some(error) = &self.unfilled {
            tracing::debug!(error, "the audit log still waits for the disk");
        }
    }

    /// Writes the outcomes that are owed.
    fn pay(&mut self, now: Timestamp) {
        let owed = std::mem::take(&mut self.owed);
        if owed.is_empty() {
            return;
        }
        let pending = self.log.open_intents().into_iter();
        let mut pending: BTreeMap<_, _> = pending.map(|event| (event.id(), event)).collect();
        for (id, outcome) in owed {
            if let Some(event) = pending.remove(&id) {
                self.conclude(event, outcome, now);
            }
        }
    }

    /// The last lines, as they are.
    pub(super) fn tail(&self, count: usize) -> Result<Vec<Vec<u8>>, WriteFailed> {
        self.log.tail(count)
    }

    /// Frees what is reserved for the disk's worst moment.
    pub(super) fn release(&mut self, now: Timestamp) {
        if let Err(error) = self.log.release(now) {
            tracing::error!(%error, "the audit log's reserve cannot be given up");
        }
    }

    /// Why nothing can be written.
    pub(super) fn closed_by(&self) -> Option<&str> {
        self.log.closed_by()
    }

    /// Whether the disk's worst moment is provided for.
    pub(super) fn has_reserve(&self) -> bool {
        self.log.has_reserve()
    }

    /// Why it is not; a log that is closed has none, and says more.
    pub(super) fn unreserved(&self) -> Option<String> {
        if self.closed_by().is_some() || self.has_reserve() {
            return None;
        }
        let why = self.unfilled.clone();
        Some(why.unwrap_or_else(|| "a revocation took it, or the disk lost it".to_owned()))
    }

    fn conclude(&mut self, pending: Pending, outcome: Outcome, now: Timestamp) {
        let id = pending.id();
        if let Err(error) = self.log.finish(pending, &outcome, now) {
            tracing::debug!(%error, "the outcome of a key event is owed to the audit log");
            self.owed.insert(id, outcome);
        }
    }
}

impl Statement<'_> {
    /// In the words of the audit log.
    pub(super) fn act(self) -> Act {
        let subjects = self.rule.map(|rule| rule.subjects.as_slice());
        let scope = subjects.unwrap_or_default().iter();
        Act {
            who: self.because.who,
            through: self.because.through,
            trigger: Some(self.because.trigger),
            why: self.because.why,
            what: self.what,
            keyring: Some(self.keyring.as_str().into()),
            version: self.version.map(named),
            intended_use: self.intended_use,
            expiry: self.expiry,
            scope: scope.map(|subject| subject.to_string().into()).collect(),
            changes: Vec::new(),
        }
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

/// The rotation whose first step this is.
fn begun(act: &Act) -> Option<(String, Because)> {
    let keyring = act.keyring.as_ref()?.as_str().to_owned();
    let because = Because {
        trigger: act.trigger?,
        who: act.who.clone(),
        through: act.through,
        why: act.why.clone(),
    };
    (act.what == Action::Generate).then_some((keyring, because))
}

/// What became of an act whose outcome nobody wrote.
fn fate(act: &Act, view: &View) -> Outcome {
    let kid = act.version.as_ref().map(|version| version.kid.0);
    let found = kid.and_then(|kid| view.find_by_kid(crate::envelope::Kid(kid)));
    let state = found.map(|(_keyring, version)| version.state);
    let reached = match (act.what, state) {
        (Action::Activate | Action::Resume, Some(state)) => {
            matches!(state, State::Active | State::DecryptOnly | State::Archived)
        }
        (Action::Archive, Some(state)) => state == State::Archived,
        (Action::Destroy | Action::Abort, Some(state)) => state == State::Destroyed,
        (Action::Compromise, Some(state)) => {
            matches!(state, State::Compromised | State::Destroyed)
        }
        (Action::Suspend, Some(state)) => state == State::Suspended,
        (Action::DestroyRequested, Some(_)) => {
            found.is_some_and(|(_keyring, version)| version.proposed.is_some())
        }
        _ => false,
    };
    if reached {
        return Outcome::Done;
    }
    Outcome::Failed("the gateway ended before it was done, or before it could say so".into())
}
