//! Metrics of keys and rotation, registered once and set by the rotation driver.

use std::time::Duration;

use metrics::{Counter, Gauge, Histogram, Label, counter, gauge, histogram};
use strum::{EnumTable, IntoStaticStr};

use super::names;

/// A step in the life of a key version that is timed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumTable, IntoStaticStr)]
#[strum(serialize_all = "kebab-case")]
pub enum RotationStep {
    /// The secret is generated, wrapped and recorded.
    Generate,
    /// Every member gets the version.
    Distribute,
    /// Every member proves that it holds it.
    Prove,
    /// The version becomes active, its predecessor decrypt-only.
    Activate,
    /// The predecessor still opens messages in flight.
    Overlap,
    /// The version is archived: it opens on demand only.
    Archive,
    /// The secret is destroyed.
    Destroy,
}

/// How an attempt at a rotation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr)]
#[strum(serialize_all = "kebab-case")]
pub enum RotationOutcome {
    /// The successor is active.
    Done,
    /// A step failed and is retried.
    Failed,
    /// The successor was discarded before it sealed.
    Discarded,
}

/// The condition of the audit log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuditLogState {
    /// It takes lines, and has its reserve for a full disk.
    Ready,
    /// It takes lines, but its reserve is missing.
    ReserveUsed,
    /// It takes no lines.
    Closed,
}

/// The key metrics of a keyring.
pub struct KeyringKeyMetrics {
    keyring: String,
    states: Vec<Gauge>,
    stopped: Vec<(&'static str, Gauge)>,
    used: [Gauge; 2],
    left: [Gauge; 2],
    granted: [Gauge; 2],
    forecast: [Gauge; 2],
    due: Gauge,
    oldest: [Gauge; 2],
    failed_opens: Counter,
    reservation: Histogram,
}

/// The metrics of rotation that are not per keyring.
pub struct RotationMetrics {
    steps: RotationStepTable<Histogram>,
    audit_closed: Gauge,
    audit_reserve: Gauge,
    rolled_back: Gauge,
    clock_set: [Counter; 2],
}

/// Label values for the direction of a clock step.
const CLOCK_WAYS: [&str; 2] = ["ahead", "back"];

/// Messages and bytes.
pub type MessagesAndBytes = [u64; 2];

/// Budget and cryptoperiod of a keyring's active version.
#[derive(Clone, Copy, Debug, Default)]
pub struct ActiveKey {
    /// Sealed under it.
    pub used: MessagesAndBytes,
    /// What may still be sealed under it.
    pub left: MessagesAndBytes,
    /// Granted to lanes and not sealed yet.
    pub granted: MessagesAndBytes,
    /// Time until the soft threshold, and until the hard limit; `None`: never.
    pub forecast: [Option<Duration>; 2],
    /// Unix time in seconds at which its cryptoperiod ends.
    pub due: i64,
}

impl KeyringKeyMetrics {
    /// For a keyring; `states`, `causes` and `triggers` are all values of these labels.
    #[must_use]
    pub fn new(
        keyring: &str,
        states: impl Iterator<Item = &'static str>,
        causes: impl Iterator<Item = &'static str>,
        triggers: impl Iterator<Item = &'static str>,
    ) -> Self {
        let of = |name: &'static str| gauge!(name, "keyring" => keyring.to_owned());
        let state = |state: &'static str| gauge!(names::VERSIONS, "keyring" => keyring.to_owned(), "state" => state);
        let stopped = |cause: &'static str| {
            (
                cause,
                gauge!(names::STOPPED, "keyring" => keyring.to_owned(), "cause" => cause),
            )
        };
        let keys = Self {
            keyring: keyring.to_owned(),
            stopped: causes.map(stopped).collect(),
            states: states.map(state).collect(),
            used: [names::USED_MESSAGES, names::USED_BYTES].map(of),
            left: [names::LEFT_MESSAGES, names::LEFT_BYTES].map(of),
            granted: [names::GRANTED_MESSAGES, names::GRANTED_BYTES].map(of),
            forecast: [names::THRESHOLD_SECONDS, names::LIMIT_SECONDS].map(of),
            due: of(names::DUE),
            oldest: [names::OLDEST, names::OLDEST_AGE].map(of),
            failed_opens: counter!(names::FAILED_OPENS, "keyring" => keyring.to_owned()),
            reservation: histogram!(names::RESERVATION_SECONDS, "keyring" => keyring.to_owned()),
        };
        // `increase()` misses the first event of a counter that appears with it.
        keys.stopped(None);
        for trigger in triggers {
            keys.rotations(trigger, RotationOutcome::Done).increment(0);
        }
        keys
    }

    /// Sets the number of versions in each state, in the order of [`Self::new`]'s `states`.
    pub fn versions(&self, counts: impl Iterator<Item = u32>) {
        for (gauge, count) in self.states.iter().zip(counts) {
            gauge.set(count);
        }
    }

    /// Sets the cause for which publishes wait; `None`: they do not.
    pub fn stopped(&self, why: Option<&'static str>) {
        for (cause, gauge) in &self.stopped {
            gauge.set(u32::from(Some(*cause) == why));
        }
    }

    /// Sets the metrics of the active version; the default when there is none.
    pub fn active(&self, active: ActiveKey) {
        let pairs = [
            (&self.used, active.used),
            (&self.left, active.left),
            (&self.granted, active.granted),
        ];
        for (gauges, values) in pairs {
            gauges
                .iter()
                .zip(values)
                .for_each(|(gauge, value)| gauge.set(float(value)));
        }
        for (gauge, until) in self.forecast.iter().zip(active.forecast) {
            gauge.set(until.map_or(f64::INFINITY, |until| until.as_secs_f64()));
        }
        self.due.set(signed(active.due));
    }

    /// Sets the oldest version opened under in the last minute, and the time since it began to seal.
    pub fn oldest(&self, oldest: Option<(u32, Duration)>) {
        let [number, age] = &self.oldest;
        let (of, since) = oldest.unwrap_or_default();
        number.set(of);
        age.set(since.as_secs_f64());
    }

    /// Counts envelopes that did not open.
    pub fn failed_opens(&self, count: u64) {
        self.failed_opens.increment(count);
    }

    /// Records how long a reservation took to become durable.
    pub fn reserved(&self, took: Duration) {
        self.reservation.record(took.as_secs_f64());
    }

    /// Counts the end of an attempt at a rotation.
    pub fn rotated(&self, trigger: &'static str, outcome: RotationOutcome) {
        self.rotations(trigger, outcome).increment(1);
    }

    /// Counts a failed key event.
    pub fn event_failed(&self, event: &'static str) {
        counter!(names::EVENTS_FAILED, "keyring" => self.keyring.clone(), "event" => event)
            .increment(1);
    }

    fn rotations(&self, trigger: &'static str, outcome: RotationOutcome) -> Counter {
        let labels = [
            Label::new("keyring", self.keyring.clone()),
            Label::new("trigger", trigger),
            Label::new("outcome", <&str>::from(outcome)),
        ];
        counter!(names::ROTATIONS, labels.iter())
    }
}

impl Default for RotationMetrics {
    fn default() -> Self {
        Self {
            steps: RotationStepTable::from_closure(
                |step| histogram!(names::STEP_SECONDS, "step" => <&str>::from(step)),
            ),
            audit_closed: gauge!(names::AUDIT_CLOSED),
            audit_reserve: gauge!(names::AUDIT_RESERVE),
            rolled_back: gauge!(names::ROLLED_BACK),
            clock_set: CLOCK_WAYS.map(|way| counter!(names::CLOCK_SET, "way" => way)),
        }
    }
}

impl RotationMetrics {
    /// Records the duration of a step.
    pub fn step(&self, step: RotationStep, took: Duration) {
        self.steps[step].record(took.as_secs_f64());
    }

    /// Counts a step of the host's clock: `ahead` or `back`.
    pub fn clock_set(&self, way: &'static str) {
        for (counter, of) in self.clock_set.iter().zip(CLOCK_WAYS) {
            counter.increment(u64::from(of == way));
        }
    }

    /// Sets the condition of the audit log.
    pub fn audit(&self, log: AuditLogState) {
        let (closed, reserve) = match log {
            AuditLogState::Ready => (0, 1),
            AuditLogState::ReserveUsed => (0, 0),
            AuditLogState::Closed => (1, 0),
        };
        self.audit_closed.set(closed);
        self.audit_reserve.set(reserve);
    }

    /// Sets whether a record on disk is older than the one in force.
    pub fn rolled_back(&self, what: Option<&str>) {
        self.rolled_back.set(if what.is_some() { 1 } else { 0 });
    }
}

/// As a gauge value; beyond 2^53 the last digits are lost.
#[expect(
    clippy::cast_precision_loss,
    clippy::as_conversions,
    reason = "a graph does not show the last digits"
)]
const fn float(value: u64) -> f64 {
    value as f64
}

/// A Unix time as a gauge value.
#[expect(
    clippy::cast_precision_loss,
    clippy::as_conversions,
    reason = "seconds since 1970 are far below 2^53"
)]
const fn signed(value: i64) -> f64 {
    value as f64
}
