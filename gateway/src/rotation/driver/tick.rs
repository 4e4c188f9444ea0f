//! The driver, and its periodic work.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::fleet::FleetEvent;
use crate::metrics::Throttle;
use crate::rotation::engine::Event;
use crate::rotation::error::OrderError;

use super::context::Context;
use super::keyring::Actor;
use super::loaded::OpenCounts;
use super::misses::{Misses, REREAD_INTERVAL, Reading};
use super::shared::Shared;
use super::tasks::Tasks;
use super::waiting::Waiting;

/// The interval of [`Driver::tick`].
pub(super) const TICK: Duration = Duration::from_millis(200);

/// A rotation that is held back for longer than this is logged.
const PACE_WARNING: Duration = Duration::from_secs(1);

/// Manages the keyrings, and what they share.
pub(in crate::rotation) struct Driver {
    pub(super) keyrings: Vec<Actor>,
    pub(super) context: Context,
    pub(super) tasks: Tasks,
    pub(super) misses: Misses,
    /// When the catalogue was last read for a miss.
    pub(super) reread: Option<Instant>,
    /// What waits until nothing is under way for any keyring.
    pub(super) waiting: VecDeque<Waiting>,
    pub(super) pace_warning: Throttle,
}

/// How the records are read.
enum DueRead {
    All,
    /// Where they differ from those on disk.
    IfChanged,
}

impl Driver {
    /// The periodic work, every [`TICK`].
    pub(super) fn tick(&self) {
        let (opens, news) = self.context.with(Shared::pass_tick);
        self.read_if_due();
        for event in news {
            for keyring in &self.keyrings {
                keyring.handle_fleet_event(&event);
            }
        }
        self.handle_drainers();
        for keyring in &self.keyrings {
            let usage = keyring.with(|keyring, shared| keyring.usage(shared));
            keyring.feed(usage.unwrap_or(Event::Tick));
            keyring.reserve();
            keyring.write_served_subjects();
        }
        self.sync_if_stale();
        self.answer_pending_rotations();
        self.drop_marks();
        self.report_stalls();
        self.measure(&opens);
    }

    /// Reads the records where the last attempt has failed, or where they have changed on disk.
    fn read_if_due(&self) {
        let context = self.context.clone();
        match context.with(Shared::due_read) {
            Some(DueRead::All) => self.context.spawn(context.read_all()),
            Some(DueRead::IfChanged) => self.context.spawn(context.compare()),
            None => {}
        }
    }

    /// Lanes want more of a budget: reserves it. The use of the version may make a successor due, too.
    pub(super) fn refill(&self) {
        for keyring in &self.keyrings {
            keyring.reserve();
            if let Some(usage) = keyring.with(|keyring, shared| keyring.usage(shared)) {
                keyring.feed(usage);
            }
        }
        self.sync_if_stale();
    }

    /// Follows up what has ended: other engines may have to be told, and keys that were missed may be there.
    pub(super) fn follow_up(&mut self) {
        self.sync_if_stale();
        self.serve_misses();
        self.report_stalls();
    }

    /// Reports what keeps publishes waiting.
    fn report_stalls(&self) {
        for keyring in &self.keyrings {
            keyring.with(|keyring, shared| keyring.report_stall(shared));
        }
    }

    fn sync_if_stale(&self) {
        if self
            .context
            .with(|shared| std::mem::take(&mut shared.engines_stale))
        {
            self.sync_engines();
        }
    }

    /// The keyring of that name.
    pub(super) fn find(&self, name: &str) -> Result<Actor, OrderError> {
        let mut keyrings = self.keyrings.iter();
        let found = keyrings.find(|keyring| keyring.name().as_str() == name);
        let names = || self.keyrings.iter().map(Actor::name);
        found
            .cloned()
            .ok_or_else(|| OrderError::unknown_keyring(name, names()))
    }

    /// Tells the engines of records that others have changed.
    pub(super) fn sync_engines(&self) {
        for keyring in &self.keyrings {
            keyring.sync();
        }
    }

    /// Removes the marks that records reflect by now.
    pub(super) fn drop_marks(&self) {
        let leftover = |keyring: &Actor| {
            keyring.with(|keyring, _shared| (keyring.name.clone(), keyring.engine.leftover()))
        };
        let leftovers: Vec<_> = self.keyrings.iter().map(leftover).collect();
        self.context.with(|shared| {
            shared.drop_marks(
                |_kid| true,
                |name, number| {
                    let mut known = leftovers.iter();
                    let known = known.find(|(keyring, _left)| keyring == name);
                    known.is_none_or(|(_keyring, left)| *left == Some(number))
                },
            );
        });
    }

    /// Answers callers whose rotation was held back.
    pub(super) fn answer_pending_rotations(&self) {
        for keyring in &self.keyrings {
            keyring.answer_pending_rotations();
        }
        let now = self.context.with(|shared| shared.now());
        let wait = |keyring: &Actor| keyring.with(|keyring, _shared| keyring.engine.held_back(now));
        let longest = self.keyrings.iter().filter_map(wait).max();
        let instant = self.context.with(|shared| shared.clock.instant());
        if longest.is_some_and(|wait| wait > PACE_WARNING)
            && let Some(left_out) = self.pace_warning.admit(instant)
        {
            tracing::warn!(
                left_out,
                "key versions reach their thresholds so fast that the next has to wait; raise `rotate` and `limit`"
            );
        }
    }

    /// Sets every gauge.
    fn measure(&self, seen: &OpenCounts) {
        self.context.with(|shared| shared.measure());
        for keyring in &self.keyrings {
            keyring.with(|keyring, shared| keyring.measure(shared));
        }
        for (keyring, label, failed) in &seen.alarms {
            tracing::error!(
                keyring,
                version = label,
                failed,
                "so many envelopes that name this key version did not open: they are damaged, moved, or forged"
            );
        }
        for (id, failed) in &seen.failed {
            if let Some(keyring) = self.keyrings.get(id.index()) {
                keyring.with(|keyring, _shared| keyring.meters.failed_opens(*failed));
            }
        }
    }

    pub(super) fn serve_misses(&mut self) {
        let misses = &mut self.misses;
        if self
            .context
            .with(|shared| misses.has_unknown_kid(&shared.view))
            && self.may_reread()
        {
            // An operator may have copied a record into the directory.
            self.context.spawn(self.context.clone().read_all());
            self.sync_if_stale();
        }
        let misses = &mut self.misses;
        let served = self.context.with(|shared| {
            let now = shared.clock.instant();
            let Shared {
                loaded,
                view,
                reading,
                ..
            } = shared;
            let served = misses.serve((loaded, view), *reading, now);
            if served.newly {
                shared.install();
            }
            served
        });
        served.answer();
    }

    /// Whether the records may be read again for a miss: anybody on the bus can invent kids.
    fn may_reread(&mut self) -> bool {
        let now = self.context.with(|shared| shared.clock.instant());
        let recent = |last| now.saturating_duration_since(last) < REREAD_INTERVAL;
        if self.reread.is_some_and(recent) {
            return false;
        }
        let reads = self.context.with(Shared::begin_reading);
        if reads {
            self.reread = Some(now);
        }
        reads
    }
}

impl Shared {
    /// What a tick brings: counts of opened envelopes, and news of the fleet.
    fn pass_tick(&mut self) -> (OpenCounts, Vec<FleetEvent>) {
        let now = self.clock.instant();
        let opens = self.loaded.count_opens(now);
        self.pass_time();
        self.journal.retry_deferred(now);
        let head = self.journal.head();
        self.view.set_audit_head(head);
        let due = |last: Instant| now.saturating_duration_since(last) >= REREAD_INTERVAL;
        let failed = &self.load_failure;
        if failed.as_ref().is_some_and(|(last, _why)| due(*last)) {
            self.install();
        }
        (opens, self.fleet.events())
    }

    /// Whether nobody reads the records yet, so that the caller may.
    fn begin_reading(&mut self) -> bool {
        std::mem::replace(&mut self.reading, Reading::UnderWay) == Reading::Done
    }

    /// How the records are to be read now.
    fn due_read(&mut self) -> Option<DueRead> {
        let due = self.reading == Reading::Done && (self.in_doubt || self.must_compare());
        if !due || !self.begin_reading() {
            return None;
        }
        Some(if self.in_doubt {
            DueRead::All
        } else {
            DueRead::IfChanged
        })
    }
}
