//! The audit log, with outcomes and facts that could not be written yet.

use std::time::{Duration, Instant};

use jiff::Timestamp;

use crate::audit::{
    self, Act, Action, Exposed, Fact, Head, Hex, IntendedUse, KeyVersion, Outcome, Pending,
    RecordRef, Settings, Text, WriteFailed,
};
use crate::catalogue::{State, Version, View};
use crate::envelope::{Kid, Used};
use crate::policy::{KeyringName, Rule};
use crate::rotation::because::{Because, Ground};

/// The log, and what is still to be written to it.
pub(super) struct Journal {
    log: audit::Log,
    owed: Vec<Owed>,
    /// Facts that a full disk has kept out of it, with their times.
    unsaid: Vec<(Fact, Timestamp)>,
    /// Events whose outcome is not known yet.
    unsettled: Vec<Pending>,
    /// When filling the reserve is tried again: it takes what is left of a full disk.
    again: Option<Instant>,
    /// Why filling it failed last.
    unfilled: Option<String>,
}

/// An outcome that is still to be written, and when the event ended.
struct Owed {
    pending: Pending,
    outcome: Outcome,
    completed: Timestamp,
}

/// How many facts are kept: reloads could produce any number.
const MOST_UNSAID: usize = 16;

/// How often filling the reserve is tried.
const REPLENISH: Duration = Duration::from_secs(60);

/// An event that is about to begin.
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
            owed: Vec::new(),
            unsaid: Vec::new(),
            unsettled: Vec::new(),
            again: None,
            unfilled: None,
        }
    }

    /// Writes the outcomes of events that a crash has interrupted, from the catalogue. Yields rotations of which no more than the
    /// intent is left, each with the kid of the version to be generated.
    pub(super) fn take_up(
        &mut self,
        view: &View,
        now: Timestamp,
    ) -> Vec<(Option<Kid>, (String, Because))> {
        let mut lost = Vec::new();
        for pending in self.log.open_intents() {
            lost.extend(begun(pending.act()).map(|begun| (kid(&pending), begun)));
            self.finish_by(pending, view, now);
        }
        lost
    }

    /// Writes the intent; what cannot be audited must not happen. Outstanding outcomes go first, so that at most one event of a
    /// keyring is open when a process dies, and the record shows its outcome.
    pub(super) fn begin(&mut self, act: Act, now: Timestamp) -> Result<Pending, WriteFailed> {
        let mut paid = self.pay();
        if paid.is_err() && act.is_essential() {
            self.release(now);
            paid = self.pay();
        }
        paid?;
        self.log.begin(act, now)
    }

    /// Writes the outcome, now or when the disk works again. An unknown one is resolved by [`Journal::settle_by`].
    pub(super) fn finish(&mut self, pending: Pending, outcome: Outcome, completed: Timestamp) {
        if matches!(outcome, Outcome::Unknown(_)) {
            self.unsettled.push(pending.clone());
        }
        self.owed.push(Owed {
            pending,
            outcome,
            completed,
        });
        if self.pay().is_err() {
            tracing::error!(
                "the outcome of a key event is missing in the audit log; it is written as soon as the disk takes it"
            );
        }
    }

    /// Writes the single line of an order for which nothing was begun.
    pub(super) fn conclude(&mut self, act: Act, outcome: &Outcome, now: Timestamp) {
        let said = self.log.conclude(act, outcome, now);
        if let Err(error) = said {
            tracing::error!(%error, "an order that was not carried out is missing in the audit log");
        }
    }

    /// Writes the outcome that the record shows.
    fn finish_by(&mut self, pending: Pending, view: &View, now: Timestamp) {
        let outcome = fate(&pending, view);
        let done = outcome == Outcome::Done;
        let record = done.then(|| record(pending.act(), view)).flatten();
        let revoked = pending.act().what == Action::Compromise && done;
        let version = found(&pending, view).filter(|_version| revoked);
        let exposure = version.map(|version| {
            let bounds = (version.sealed, version.reserved);
            exposed(version, bounds, version.lanes)
        });
        self.finish(pending.led_to(record).exposing(exposure), outcome, now);
    }

    /// Versions of a keyring whose generation has failed, or may have, and whose outcome is not in the log yet.
    pub(super) fn unmade(&self, keyring: &KeyringName) -> Vec<Kid> {
        let pending = self.owed.iter().map(|owed| &owed.pending);
        let pending = pending.chain(&self.unsettled);
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
    pub(super) fn doubts(&self, keyring: &KeyringName) -> bool {
        self.unsettled.iter().any(|pending| is_of(pending, keyring))
    }

    /// Writes the unknown outcomes of a keyring, once its record has been read.
    pub(super) fn settle_by(&mut self, view: &View, keyring: &KeyringName, now: Timestamp) {
        let of = |pending: &mut Pending| is_of(pending, keyring);
        let settled: Vec<_> = self.unsettled.extract_if(.., of).collect();
        for pending in settled {
            self.finish_by(pending, view, now);
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
    pub(super) fn say(&mut self, fact: Fact, now: Timestamp) -> Result<(), WriteFailed> {
        let said = self.pay().and_then(|()| self.log.note(fact.clone(), now));
        if matches!(said, Err(WriteFailed::Disk(_))) && self.unsaid.len() < MOST_UNSAID {
            self.unsaid.push((fact, now));
        }
        said
    }

    /// The last settings in force according to the log; unverified where the log is closed.
    pub(super) const fn last_policy(&self) -> Option<&Settings> {
        self.log.last_policy()
    }

    /// Names the final records, as far as the log does not have them.
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

    /// Retries what a full disk has prevented.
    pub(super) fn settle(&mut self, instant: Instant) {
        if self.log.closed_by().is_some() {
            return;
        }
        if let Err(error) = self.pay() {
            tracing::debug!(%error, "an outcome is owed to the audit log");
        }
        if self.again.is_some_and(|again| instant < again) {
            return;
        }
        self.again = instant.checked_add(REPLENISH);
        let replenished = self.log.replenish();
        self.unfilled = replenished.err().map(|error| {
            if let WriteFailed::Disk(error) = error {
                // Events are still possible: the reserve needs more room than a line.
                return error.to_string();
            }
            error.to_string()
        });
        if let Some(error) = &self.unfilled {
            tracing::debug!(error, "the audit log still waits for the disk");
        }
    }

    /// Writes outstanding outcomes in order, and then facts.
    fn pay(&mut self) -> Result<(), WriteFailed> {
        while let Some(owed) = self.owed.first() {
            let Owed {
                pending,
                outcome,
                completed,
            } = owed;
            self.log.finish(pending.clone(), outcome, *completed)?;
            self.owed.remove(0);
        }
        while let Some((fact, at)) = self.unsaid.first() {
            self.log.note(fact.clone(), *at)?;
            self.unsaid.remove(0);
        }
        Ok(())
    }

    pub(super) fn tail(&self, count: usize) -> Result<Vec<Vec<u8>>, WriteFailed> {
        self.log.tail(count)
    }

    /// Frees the reserve of a full disk.
    pub(super) fn release(&mut self, now: Timestamp) {
        if let Err(error) = self.log.release(now) {
            tracing::error!(%error, "the audit log's reserve cannot be given up");
        }
    }

    /// Why the log is closed, if it is.
    pub(super) fn closed_by(&self) -> Option<&str> {
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

impl Statement<'_> {
    /// As the audit log records it.
    pub(super) fn act(self) -> Act {
        let subjects = self.rule.map(|rule| rule.subjects.as_slice());
        let scope = subjects.unwrap_or_default().iter();
        let ground = self.because.ground.unwrap_or(Ground::Forced);
        let (forced, evidence) = rests_on(self.what, ground);
        Act {
            forced,
            evidence,
            exposure: None,
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

/// Of a destruction: whether it is forced, and the evidence.
pub(super) fn rests_on(what: Action, ground: Ground) -> (Option<bool>, Option<Text>) {
    if !matches!(what, Action::Destroy | Action::DestroyRequested) {
        return (None, None);
    }
    match ground {
        Ground::Proven(evidence) => (Some(false), Some(evidence)),
        Ground::Configured => (Some(false), None),
        Ground::Forced => (Some(true), None),
    }
}

pub(super) fn named(version: &Version) -> KeyVersion {
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

fn is_of(pending: &Pending, keyring: &KeyringName) -> bool {
    let named = pending.act().keyring.as_ref().map(Text::as_str);
    named == Some(keyring.as_str())
}

/// The rotation that an event began.
fn begun(act: &Act) -> Option<(String, Because)> {
    let keyring = act.keyring.as_ref()?.as_str().to_owned();
    let because = Because {
        trigger: act.trigger?,
        who: act.who.clone(),
        through: act.through,
        why: act.why.clone(),
        ground: None,
    };
    (act.what == Action::Generate).then_some((keyring, because))
}

/// What was sealed under a revoked version, at least and at most.
pub(super) fn exposed(version: &Version, (least, most): (Used, Used), lanes: u64) -> Exposed {
    Exposed {
        from: version.activated,
        until: version.stopped(),
        messages: [least.messages, most.messages],
        bytes: [least.bytes, most.bytes],
        lanes,
    }
}

/// The version that an event names.
fn kid(pending: &Pending) -> Option<Kid> {
    pending.act().version.as_ref().map(|named| Kid(named.kid.0))
}

/// The version that an event names, if a record has it.
fn found<'v>(pending: &Pending, view: &'v View) -> Option<&'v Version> {
    let found = view.find_by_kid(kid(pending)?);
    found.map(|(_keyring, version)| version)
}

/// The outcome of an event that has none in the log: no other has changed the version since.
fn fate(pending: &Pending, view: &View) -> Outcome {
    let act = pending.act();
    let reached = match (act.what, found(pending, view)) {
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
fn was_made(pending: &Pending, view: &View) -> bool {
    let keyring = pending.act().keyring.as_ref();
    let keyring = keyring.and_then(|keyring| keyring.as_str().parse().ok());
    let record = keyring.and_then(|keyring| view.record(&keyring));
    let last = record.and_then(|record| record.versions.last());
    last.is_some_and(|version| version.created >= pending.initiated())
}
