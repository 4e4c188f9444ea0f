//! What all keyrings share: the records, the audit log, the loaded versions and the snapshot.

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::Notify;

use crate::audit::{Fact, Settings};
use crate::catalogue::{Answer, KeyError, LoadError, Mark, Records, View};
use crate::clock::{Clock, StepDetector};
use crate::envelope::{Kid, VersionKey, Volume};
use crate::fault::Faulty;
use crate::fleet::Fleet;
use crate::keyring::Keys;
use crate::metrics::{RotationMetrics, Throttle};
use crate::policy::{KeyringName, Policy, Rule};
use crate::retention::Inspector;
use crate::rotation::config::ProcessKind;
use crate::rotation::drain::DrainMessage;
use crate::rotation::engine::{Now, VersionView};
use crate::rotation::report;

use super::drainers::Drainers;
use super::journal::Journal;
use super::loaded::{Halt, Loaded, LoadedVersion};
use super::misses::Reading;

/// How often the records on disk are compared with what was read or written last.
const COMPARE_INTERVAL: Duration = Duration::from_secs(2);

/// What all keyrings share.
#[expect(clippy::struct_excessive_bools, reason = "neither excludes the other")]
pub(super) struct Shared {
    pub(super) policy: Arc<Policy>,
    /// The settings in force, as the audit log records them.
    pub(super) settings: Settings,
    /// The records, as they are known here.
    pub(super) view: View,
    /// Their writer.
    pub(super) records: Rc<dyn Records>,
    pub(super) journal: Journal,
    pub(super) loaded: Loaded,
    pub(super) keys: Arc<Keys>,
    pub(super) refill: Arc<Notify>,
    pub(super) inspector: Box<dyn Inspector>,
    pub(super) fleet: Box<dyn Fleet>,
    pub(super) drainers: Drainers,
    /// The digest of the settings, see [`digest_of`](crate::rotation::drain::digest_of).
    pub(super) policy_digest: [u8; 8],
    pub(super) user: ProcessKind,
    pub(super) clock: Clock,
    pub(super) clock_steps: StepDetector,
    /// When the catalogue's own time was last stored.
    pub(super) time_kept: Option<Instant>,
    /// It is to be stored now.
    pub(super) time_owed: bool,
    pub(super) begun: Instant,
    /// When the records on disk were last compared with what is known.
    pub(super) last_compared: Option<Instant>,
    pub(super) meters: RotationMetrics,
    /// Orders that could not be written to the record, for the next start.
    pub(super) marks: Vec<(Mark, Kid)>,
    /// A write has failed, and its outcome could not be read.
    pub(super) in_doubt: bool,
    /// Whether the records are being read, or compared.
    pub(super) reading: Reading,
    /// Records have been read again, of which engines are still to be told.
    pub(super) engines_stale: bool,
    /// The older record that the last read of the catalogue found: a rollback.
    pub(super) rolled_back: Option<String>,
    /// Why the catalogue could not be read last.
    pub(super) unread: Option<String>,
    /// Limits log lines about reads that are retried at every tick.
    pub(super) read_errors: Throttle,
    /// The last attempt to load a version that should be loaded, if it failed, and why.
    pub(super) load_failure: Option<(Instant, String)>,
}

impl Shared {
    /// Everything that opens, and what seals, as the records have it now; what is being loaded follows.
    pub(super) fn install(&mut self) {
        match self.loaded.load_all(&self.view) {
            Ok(()) => self.load_failure = None,
            Err(error) => self.load_failed(&error),
        }
        let snapshot = self.loaded.snapshot(&self.view);
        self.keys.install(snapshot);
    }

    /// Takes an unwrapped key, and puts what opens or seals by it in force.
    pub(super) fn loaded_key(&mut self, kid: Kid, key: Result<VersionKey, KeyError>) {
        match self.loaded.take_key(&self.view, kid, key) {
            Ok(()) => self.install(),
            Err(error) => self.load_failed(&error),
        }
    }

    /// What cannot be loaded is tried again.
    fn load_failed(&mut self, error: &KeyError) {
        let now = self.clock.instant();
        self.load_failure = Some((now, error.with_help()));
        if let Some(left_out) = self.read_errors.admit(now) {
            tracing::error!(error = %error.with_help(), left_out, "a key version that should open cannot be loaded; tried again");
        }
    }

    /// Takes what the writer has read.
    pub(super) fn take_read(&mut self, answer: Answer<LoadError>) -> Result<(), LoadError> {
        let read = self.view.adopt(answer);
        self.install();
        self.in_doubt = read.is_err();
        self.watch_for_rollback(&read);
        if let Err(error) = &read
            && let Some(left_out) = self.read_errors.admit(self.clock.instant())
        {
            tracing::warn!(error = %error.with_help(), left_out, "the catalogue cannot be read again; going on with what was read before");
        }
        read
    }

    /// Whether the records are to be compared with those on disk now. That way a rollback is noticed without any request.
    pub(super) fn must_compare(&mut self) -> bool {
        let now = self.clock.instant();
        let due = |last| now.saturating_duration_since(last) >= COMPARE_INTERVAL;
        let due = self.last_compared.is_none_or(due);
        if due {
            self.last_compared = Some(now);
        }
        due
    }

    /// Raises an alarm when a record was rolled back, once for each.
    pub(super) fn watch_for_rollback(&mut self, read: &Result<(), LoadError>) {
        let failed = read.as_ref().err();
        let found = failed.filter(|error| error.is_rollback());
        let found = found.map(Faulty::with_help);
        let unread = failed.filter(|error| !error.is_rollback());
        self.unread = unread.map(Faulty::with_help);
        if let Some(what) = found.clone()
            && self.rolled_back != found
        {
            self.alarm(what);
        }
        // A read that fails for another reason does not clear it.
        if read.is_ok() || found.is_some() {
            self.rolled_back = found;
        }
    }

    fn alarm(&mut self, what: String) {
        let wall = self.wall();
        let fact = Fact::RollbackAlarm {
            what: what.as_str().into(),
        };
        if let Err(error) = self.journal.note_or_defer(fact, wall) {
            tracing::error!(error = %error.with_help(), "the alarm is missing in the audit log");
        }
        tracing::error!(
            what,
            "a record on disk is not the one in force; nothing more is written to it"
        );
    }

    /// Hears what draining processes say. What they wish for stays with [`Drainers::take_wishes`].
    pub(super) fn hear_drainers(&mut self) {
        let Self {
            drainers, loaded, ..
        } = self;
        drainers.hear(loaded);
    }

    /// Writes a start or stop of the gateway to the audit log.
    pub(super) fn audit_fact(&mut self, fact: Fact) {
        if self.user == ProcessKind::Command {
            return;
        }
        let wall = self.wall();
        if let Err(error) = self.journal.note_or_defer(fact, wall) {
            tracing::error!(error = %error.with_help(), "the audit log does not say that the gateway started or stopped");
        }
    }

    /// Names the final records in the audit log, where reservations have changed them since it last did: the next start compares.
    pub(super) fn audit_records_left(&mut self) {
        let keyrings = self.view.keyrings();
        let records = keyrings.filter_map(|keyring| self.view.reference(keyring));
        let wall = self.wall();
        if let Err(error) = self.journal.note_records_left(records.collect(), wall) {
            tracing::error!(error = %error.with_help(), "the audit log does not say which records were left");
        }
    }

    /// Stops sealing under a revoked or suspended version, here and in draining processes, whatever becomes of its record.
    pub(super) fn halt_everywhere(&mut self, kid: Kid) {
        self.loaded.halt(kid, Halt::Ordered);
        self.drainers.broadcast(DrainMessage::Halted(kid));
    }

    /// The keyrings of the configuration.
    pub(super) fn keyring_names(&self) -> Vec<KeyringName> {
        let rules = self.policy.keyrings().iter();
        rules.map(|rule| rule.name.clone()).collect()
    }

    pub(super) fn rule(&self, keyring: &KeyringName) -> Option<&Rule> {
        self.policy.keyring(self.policy.by_name(keyring.as_str())?)
    }

    pub(super) fn subjects(&self, keyring: &KeyringName) -> Vec<String> {
        report::subjects(self.rule(keyring))
    }

    /// Known to be sealed under a version by this process, earlier ones, and those that drain.
    pub(super) fn sealed(&self, kid: Kid, held: &LoadedVersion) -> Volume {
        held.sealed().plus(self.drainers.sealed(kid))
    }

    /// The versions of a record, as the engine sees them.
    pub(super) fn versions(&self, keyring: &KeyringName) -> Vec<VersionView> {
        let versions = self.view.record(keyring).map(|record| &record.versions);
        versions
            .into_iter()
            .flatten()
            .map(VersionView::from)
            .collect()
    }

    pub(super) fn wall(&self) -> Timestamp {
        Timestamp::try_from(self.clock.wall()).unwrap_or(Timestamp::MAX)
    }

    pub(super) fn now(&self) -> Now {
        let elapsed = self.clock.instant().saturating_duration_since(self.begun);
        let moment = self.view.now(&self.clock);
        Now {
            wall: moment.wall,
            monotonic: moment.monotonic,
            elapsed,
        }
    }
}
