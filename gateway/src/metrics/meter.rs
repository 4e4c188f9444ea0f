//! The metrics of a worker: plain cells that are counted up per message and added to the shared counters once per batch.

use std::cell::{Cell, OnceCell};

use metrics::{Counter, Gauge, Histogram, Label, counter, gauge, histogram};
use strum::VariantArray;

use super::labels::{
    Cause, CauseTable, Direction, DirectionTable, LaneSource, LaneSourceTable, MissOutcome,
    MissOutcomeTable, Side, SideTable,
};
use super::names;
use super::stopwatch::BatchStageTable;

/// A counter with a local cell that is flushed into it.
pub struct LocalCounter {
    pending: Cell<u64>,
    total: Counter,
}

/// Messages and their payload bytes.
pub struct Flow {
    messages: LocalCounter,
    bytes: LocalCounter,
}

/// The metrics of a keyring.
pub struct KeyringMetrics {
    /// Sealed on publish.
    pub sealed: Flow,
    /// Opened on delivery.
    pub opened: Flow,
    /// Lanes drawn.
    pub lanes_started: LocalCounter,
    /// Client connections whose publishes wait for a budget or an active key version.
    pub waiting: Gauge,
    /// Delivered in plaintext on a subject of the keyring, because a migration accepts it.
    pub plaintext: Flow,
    refused: CauseTable<Flow>,
    withheld: CauseTable<Flow>,
    /// Whether anything is pending in `refused` and `withheld`, which most batches need not flush.
    stopped: Cell<bool>,
}

/// The metrics of all keyrings, indexed by keyring id. Grows behind shared references, which the message path holds.
struct AllKeyringMetrics {
    known: Vec<KeyringMetrics>,
    /// The metrics of keyrings that a reload has added.
    more: OnceCell<Box<Self>>,
}

/// The metrics of one worker; not shared between threads.
pub struct WorkerMetrics {
    keyrings: AllKeyringMetrics,
    unowned: KeyringMetrics,
    passed: DirectionTable<Flow>,
    lookups: LaneSourceTable<LocalCounter>,
    misses: MissOutcomeTable<LocalCounter>,
    kept_back: LocalCounter,
    malformed: SideTable<Counter>,
    batch_seconds: DirectionTable<BatchStageTable<Histogram>>,
    /// Client connections accepted.
    pub accepted: Counter,
    /// Client connections open now.
    pub connections: Gauge,
}

impl LocalCounter {
    const fn new(total: Counter) -> Self {
        Self {
            pending: Cell::new(0),
            total,
        }
    }

    /// Counts `count` more.
    pub fn add(&self, count: u64) {
        self.pending.set(self.pending.get().wrapping_add(count));
    }

    fn flush(&self) {
        let pending = self.pending.take();
        if pending != 0 {
            self.total.increment(pending);
        }
    }
}

impl Flow {
    const fn new(messages: Counter, bytes: Counter) -> Self {
        Self {
            messages: LocalCounter::new(messages),
            bytes: LocalCounter::new(bytes),
        }
    }

    /// Counts one message with `bytes` of payload.
    pub fn add(&self, bytes: usize) {
        self.messages.add(1);
        self.bytes.add(u64::try_from(bytes).unwrap_or(u64::MAX));
    }

    fn flush(&self) {
        self.messages.flush();
        self.bytes.flush();
    }
}

impl KeyringMetrics {
    fn new(keyring: &str) -> Self {
        let keyring = keyring.to_owned();
        let by_cause = |messages: &'static str, bytes: &'static str| {
            CauseTable::from_closure(|cause| {
                let labels = [
                    Label::new("keyring", keyring.clone()),
                    Label::new("cause", <&str>::from(cause)),
                ];
                Flow::new(
                    counter!(messages, labels.iter()),
                    counter!(bytes, labels.iter()),
                )
            })
        };
        let count = |name: &'static str| counter!(name, "keyring" => keyring.clone());
        let flow = |messages, bytes| Flow::new(count(messages), count(bytes));
        Self {
            sealed: flow(names::SEALED_MESSAGES, names::SEALED_BYTES),
            opened: flow(names::OPENED_MESSAGES, names::OPENED_BYTES),
            lanes_started: LocalCounter::new(count(names::LANES_STARTED)),
            waiting: gauge!(names::PUBLISH_WAITING, "keyring" => keyring.clone()),
            plaintext: flow(names::PLAINTEXT_MESSAGES, names::PLAINTEXT_BYTES),
            refused: by_cause(names::REFUSED_MESSAGES, names::REFUSED_BYTES),
            withheld: by_cause(names::WITHHELD_MESSAGES, names::WITHHELD_BYTES),
            stopped: Cell::new(false),
        }
    }

    /// Counts a publish with `bytes` of payload that was refused.
    pub fn refused(&self, cause: Cause, bytes: usize) {
        self.stopped.set(true);
        self.refused[cause].add(bytes);
    }

    /// Counts a delivery with `bytes` of payload that was withheld.
    pub fn withheld(&self, cause: Cause, bytes: usize) {
        self.stopped.set(true);
        self.withheld[cause].add(bytes);
    }

    fn flush(&self) {
        self.sealed.flush();
        self.opened.flush();
        self.lanes_started.flush();
        self.plaintext.flush();
        if self.stopped.take() {
            for cause in Cause::VARIANTS {
                self.refused[*cause].flush();
                self.withheld[*cause].flush();
            }
        }
    }
}

impl AllKeyringMetrics {
    fn new<'a>(names: impl Iterator<Item = &'a str>) -> Self {
        Self {
            known: names.map(KeyringMetrics::new).collect(),
            more: OnceCell::new(),
        }
    }

    fn get(&self, index: usize) -> Option<&KeyringMetrics> {
        match index.checked_sub(self.known.len()) {
            None => self.known.get(index),
            Some(behind) => self.more.get()?.get(behind),
        }
    }

    fn grow<'a>(&self, mut names: impl ExactSizeIterator<Item = &'a str>) {
        let known = self.known.len();
        if names.len() <= known {
            return;
        }
        for _known in names.by_ref().take(known) {}
        if let Some(more) = self.more.get() {
            more.grow(names);
        } else {
            drop(self.more.set(Box::new(Self::new(names))));
        }
    }

    fn flush(&self) {
        self.known.iter().for_each(KeyringMetrics::flush);
        if let Some(more) = self.more.get() {
            more.flush();
        }
    }
}

impl WorkerMetrics {
    /// For the keyrings named, in the order of their ids.
    #[must_use]
    pub fn new<'a>(keyrings: impl Iterator<Item = &'a str>) -> Self {
        let flow = |direction: Direction| {
            Flow::new(
                counter!(names::PASSED_MESSAGES, "direction" => <&str>::from(direction)),
                counter!(names::PASSED_BYTES, "direction" => <&str>::from(direction)),
            )
        };
        let seconds = |direction: Direction| {
            BatchStageTable::from_closure(
                |stage| histogram!(names::BATCH_SECONDS, "direction" => <&str>::from(direction), "stage" => <&str>::from(stage)),
            )
        };
        Self {
            keyrings: AllKeyringMetrics::new(keyrings),
            unowned: KeyringMetrics::new("none"),
            passed: DirectionTable::from_closure(flow),
            lookups: LaneSourceTable::from_closure(|source| {
                LocalCounter::new(counter!(names::LANE_LOOKUPS, "found" => <&str>::from(source)))
            }),
            misses: MissOutcomeTable::from_closure(|outcome| {
                LocalCounter::new(counter!(names::MISSES, "outcome" => <&str>::from(outcome)))
            }),
            kept_back: LocalCounter::new(counter!(names::KEPT_BACK)),
            malformed: SideTable::from_closure(
                |side| counter!(names::MALFORMED, "side" => <&str>::from(side)),
            ),
            batch_seconds: DirectionTable::from_closure(seconds),
            accepted: counter!(names::CONNECTIONS_ACCEPTED),
            connections: gauge!(names::CONNECTIONS),
        }
    }

    /// The metrics of one keyring; those of keyring `none` when there is no such id.
    #[must_use]
    pub fn keyring(&self, index: Option<usize>) -> &KeyringMetrics {
        index
            .and_then(|index| self.keyrings.get(index))
            .unwrap_or(&self.unowned)
    }

    /// Adds metrics for new keyrings. `names` are all keyrings, in the order of their ids; cheap when none is new.
    pub fn grow<'a>(&self, names: impl ExactSizeIterator<Item = &'a str>) {
        self.keyrings.grow(names);
    }

    /// Messages passed unsealed in a direction.
    #[must_use]
    pub fn passed(&self, direction: Direction) -> &Flow {
        &self.passed[direction]
    }

    /// Counts where a lane was found.
    pub fn lane_lookup(&self, source: LaneSource) {
        self.lookups[source].add(1);
    }

    /// Counts how a wait for a key version ended.
    pub fn miss(&self, outcome: MissOutcome) {
        self.misses[outcome].add(1);
    }

    /// Counts a message of a direct get that is beyond the bytes that the client asked for.
    pub fn kept_back(&self) {
        self.kept_back.add(1);
    }

    /// Counts a byte stream that violates the NATS protocol.
    pub fn malformed(&self, side: Side) {
        self.malformed[side].increment(1);
    }

    /// Counts a client connection that has ended.
    pub fn ended(&self, cause: &'static str) {
        counter!(names::CONNECTIONS_ENDED, "cause" => cause).increment(1);
    }

    /// Counts a connection closed for its PROXY header, or for the lack of one.
    pub fn header_refused(&self, cause: &'static str) {
        counter!(names::HEADERS_REFUSED, "cause" => cause).increment(1);
    }

    /// The histograms of a direction's stages.
    pub fn batch_seconds(&self, direction: Direction) -> &BatchStageTable<Histogram> {
        &self.batch_seconds[direction]
    }

    /// Adds everything pending to the shared counters.
    pub fn flush(&self) {
        self.keyrings.flush();
        self.unowned.flush();
        Direction::VARIANTS
            .iter()
            .for_each(|way| self.passed[*way].flush());
        LaneSource::VARIANTS
            .iter()
            .for_each(|source| self.lookups[*source].flush());
        MissOutcome::VARIANTS
            .iter()
            .for_each(|outcome| self.misses[*outcome].flush());
        self.kept_back.flush();
    }
}

/// Counter of client connections turned away because of this limit.
pub fn connections_refused(limit: &'static str) -> Counter {
    counter!(names::CONNECTIONS_REFUSED, "limit" => limit)
}

/// Gauge of connection directions that are not read, because no memory is left (`limits.pending`).
pub fn pending_waiting() -> Gauge {
    gauge!(names::PENDING_WAITING)
}

/// Counter of key versions unwrapped because an envelope names them.
pub fn loads_on_demand() -> Counter {
    counter!(names::LOADS_ON_DEMAND)
}

/// Counter of failed connections to servers.
pub fn dials_failed() -> Counter {
    counter!(names::DIALS_FAILED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keyrings_that_are_added_are_counted_for_themselves() {
        let worker = WorkerMetrics::new(["a", "b"].into_iter());
        let first: *const KeyringMetrics = worker.keyring(Some(0));
        let none: *const KeyringMetrics = worker.keyring(None);
        for names in [
            &["a", "b", "c"][..],
            &["a", "b", "c"],
            &["a", "b", "c", "d", "e"],
        ] {
            worker.grow(names.iter().copied());
        }
        let places: std::collections::BTreeSet<_> = (0..5)
            .map(|index| std::ptr::from_ref(worker.keyring(Some(index))))
            .collect();
        assert_eq!(places.len(), 5);
        assert!(places.contains(&first) && !places.contains(&none));
        assert!(std::ptr::eq(worker.keyring(Some(5)), none));
    }
}
