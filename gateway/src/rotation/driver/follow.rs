//! Draining after a take-over: another process is the writer, and this one follows it until its connections have ended.
//!
//! Nothing is written here any more. What seals is what the catalogue says, out of budget that the writer reserves; before the
//! writer records that a version stops sealing, this process confirms that it has stopped. New versions open here, too.
//!
//! When the writer ends, its successor knows nothing of this process. So sealing then needs the lock of the state directory, goes
//! by what the catalogue said when it was acquired, and ends after [`ORPHAN_LOCK_TIME`], so that the next gateway gets the lock.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use jiff::Timestamp;
use tokio::io::Interest;
use tokio::net::UnixStream;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::{MissedTickBehavior, sleep};

use crate::audit::Fact;
use crate::catalogue::{KeyError, Mark, State, View};
use crate::clock::Clock;
use crate::disk::{self, Lock, StateDir};
use crate::envelope::{Kid, VersionKey, Volume};
use crate::fault::Faulty;
use crate::keyring::{Keys, Miss};
use crate::metrics::Throttle;
use crate::policy::Policy;
use crate::rotation::drain::{DrainLink, DrainMessage};
use crate::rotation::message_path::SETTLE_POLL;

use super::answer::reply;
use super::clocks::passed;
use super::loaded::{Halt, KeyLoad, Loaded};
use super::misses::{Misses, REREAD_INTERVAL, Reading};
use super::request::Request;
use super::reservation::ReservationSize;
use super::shared::Shared;
use super::tick::{Driver, TICK};
use super::waiting::DrainChannel;

/// How long an answer may take before the request is repeated: the other process may not have started yet.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(1);

/// How long the lock is kept once the writer has ended: clients are disconnected at once, and a new gateway waits longer for it.
pub(super) const ORPHAN_LOCK_TIME: Duration = Duration::from_secs(5);

/// Keeps the snapshot up to date with a catalogue that another process writes.
pub(super) struct Follower {
    view: View,
    loaded: Loaded,
    /// Keys that are being loaded.
    loads: FuturesUnordered<KeyLoad>,
    misses: Misses,
    /// When the catalogue was last read for a miss.
    reread: Option<Instant>,
    keys: Arc<Keys>,
    clock: Clock,
    read_errors: Throttle,
    refill: Arc<Notify>,
    /// The link to the writer; `None` once that has ended.
    link: Option<DrainLink>,
    /// The same end, registered with the runtime of [`Follower::run`]; without it the link is polled at every tick.
    watched: Option<UnixStream>,
    /// The shared lock, once the writer has ended: nobody else writes.
    lock: Option<Lock>,
    /// When the lock is given up, unless this process takes over again.
    until: Option<Instant>,
    policy: Arc<Policy>,
    /// Completed when clients are to be disconnected at once.
    moved: Option<oneshot::Sender<()>>,
    policy_digest: [u8; 8],
    /// Versions that are to stop sealing and under which a lane may still seal.
    stopping: Vec<Kid>,
    /// Versions that have stopped sealing and are confirmed.
    stopped: Vec<Kid>,
    /// The catalogue must be read, and then decides on the stopped versions.
    catalogue_changed: bool,
    /// Versions that the writer has marked as revoked or suspended.
    revoked: Vec<Kid>,
    /// Reserved budget that was returned.
    returned: HashMap<Kid, Volume>,
    asked: HashMap<Kid, BudgetRequest>,
}

/// The state of requests for more of a version's budget.
#[derive(Default)]
struct BudgetRequest {
    size: ReservationSize,
    /// When the last one was sent, until it is answered.
    since: Option<Instant>,
    /// The unused budget that was last reported.
    reported: Option<Volume>,
}

impl Driver {
    /// Closes the catalogue and the audit log, once nothing is under way. What is reserved stays reserved for the lanes of this
    /// process.
    pub(super) async fn hand_over(mut self, channel: DrainChannel) -> Option<Box<Follower>> {
        self.rest().await;
        // What still waits, such as for an answer of JetStream, must not begin anything any more.
        self.tasks.drop_all();
        let Self {
            keyrings,
            mut tasks,
            context,
            misses,
            ..
        } = self;
        let reserves = async {
            for keyring in &keyrings {
                keyring.reserve_for_hand_over().await;
            }
        };
        tasks.until(reserves).await;
        context.with(|shared| {
            shared.audit_records_left();
            shared.audit_fact(Fact::GatewayHandedOver);
        });
        tasks.until(context.keep_time()).await;
        // With what else is under way ends who holds the shared state. Keys that are being loaded are asked for anew.
        drop((tasks, keyrings));
        let shared = context.into_shared()?;
        Some(Follower::new(shared, misses, channel))
    }
}

impl Follower {
    fn new(mut shared: Shared, misses: Misses, channel: DrainChannel) -> Box<Self> {
        shared.loaded.forget_loads();
        Box::new(Self {
            view: shared.view.following(),
            loaded: shared.loaded,
            loads: FuturesUnordered::new(),
            misses,
            reread: None,
            keys: shared.keys,
            clock: shared.clock,
            read_errors: shared.read_errors,
            refill: shared.refill,
            link: Some(channel.link),
            watched: None,
            lock: None,
            until: None,
            policy: shared.policy,
            moved: Some(channel.moved),
            policy_digest: shared.policy_digest,
            stopping: Vec::new(),
            stopped: Vec::new(),
            catalogue_changed: false,
            revoked: Vec::new(),
            returned: HashMap::new(),
            asked: HashMap::new(),
        })
    }

    /// Runs until it is stopped. Other requests than that and the lock are dropped.
    pub(super) async fn run(
        mut self: Box<Self>,
        mut requests: mpsc::Receiver<Request>,
        mut misses: mpsc::Receiver<Miss>,
    ) -> mpsc::Receiver<Miss> {
        let refill = Arc::clone(&self.refill);
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            self.watch();
            self.loads.extend(self.loaded.take_begun());
            tokio::select! {
                request = requests.recv() => match request {
                    Some(Request::Stop) => {
                        self.return_unused();
                        return misses;
                    }
                    None => {
                        // The lock is released with `self`.
                        self.loaded.forbid_sealing();
                        self.install();
                        return misses;
                    }
                    Some(Request::Lock { answer }) => reply(answer, self.lock_to_write()),
                    Some(_) => {}
                },
                Some(miss) = misses.recv() => {
                    self.misses.put(miss, &mut misses);
                    self.serve_misses();
                }
                Some((kid, key)) = self.loads.next() => self.loaded_key(kid, key),
                () = readable(self.watched.as_ref()) => self.receive(),
                () = sleep(SETTLE_POLL), if !self.stopping.is_empty() => self.confirm(),
                () = refill.notified() => self.ask(),
                _now = ticks.tick() => self.tick(),
            }
        }
    }

    pub(super) fn tick(&mut self) {
        self.receive();
        self.lock();
        self.refresh();
        self.reject_plaintext_by_date();
        self.ask();
        self.report();
        self.serve_misses();
    }

    /// Registers the link with the runtime; retried until a descriptor is available.
    fn watch(&mut self) {
        if self.watched.is_none()
            && let Some(link) = &self.link
        {
            let watched = link.readable_end();
            if let Err(error) = &watched
                && let Some(left_out) = self.read_errors.admit(self.clock.instant())
            {
                tracing::warn!(%error, left_out, "the process that takes over cannot be waited for; it is heard some times a second");
            }
            self.watched = watched.ok();
        }
    }

    fn receive(&mut self) {
        while let Some(link) = &self.link {
            match link.receive() {
                Ok(message) => self.handle(message),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) => self.writer_ended(&error),
            }
        }
    }

    fn handle(&mut self, message: DrainMessage) {
        match message {
            DrainMessage::Stop(kid) => {
                tracing::debug!(%kid, "sealing under this version stops");
                self.loaded.halt(kid, Halt::Stopping);
                self.install();
                self.stopping.push(kid);
                self.confirm();
            }
            DrainMessage::Halted(kid) => {
                tracing::warn!(%kid, "nothing is sealed under this key version any more: it is revoked or suspended");
                self.loaded.halt(kid, Halt::Ordered);
                self.install();
            }
            DrainMessage::Restored(kid) => {
                self.loaded.release(kid, Halt::Ordered);
                self.install();
            }
            DrainMessage::CatalogueChanged => {
                self.catalogue_changed = true;
                self.refresh();
            }
            DrainMessage::Granted(kid, part) => self.granted(kid, part),
            DrainMessage::Policy(digest) if digest != self.policy_digest => {
                self.move_clients("the configuration has changed");
            }
            DrainMessage::Policy(_)
            | DrainMessage::NeedBudget(..)
            | DrainMessage::Stopped(..)
            | DrainMessage::Unused(..) => {}
        }
    }

    /// Confirms stopped versions once no lane seals under them.
    pub(super) fn confirm(&mut self) {
        for kid in std::mem::take(&mut self.stopping) {
            let held = self.loaded.get(kid);
            if held.is_none_or(|held| held.is_settled()) {
                let unused = self.give_back(kid);
                self.send(DrainMessage::Stopped(kid, unused));
                self.stopped.push(kid);
            } else {
                self.stopping.push(kid);
            }
        }
    }

    /// Reserved for this process and neither sealed nor returned.
    fn unused(&self, kid: Kid) -> Volume {
        let returned = self.returned.get(&kid).copied().unwrap_or_default();
        let held = self.loaded.get(kid);
        let unused = held.map(|held| held.version.budget.reserved().minus(held.used()));
        unused.unwrap_or_default().minus(returned)
    }

    fn give_back(&mut self, kid: Kid) -> Volume {
        let unused = self.unused(kid);
        let returned = self.returned.entry(kid).or_default();
        *returned = returned.plus(unused);
        unused
    }

    /// Reports unused budget where it has changed.
    fn report(&mut self) {
        for kid in self.loaded.sealing(&self.view) {
            let unused = self.unused(kid);
            let asked = self.asked.entry(kid).or_default();
            if asked.reported.replace(unused) != Some(unused) {
                self.send(DrainMessage::Unused(kid, unused));
            }
        }
    }

    /// Requests more of the budgets that are low.
    fn ask(&mut self) {
        let now = self.clock.instant();
        for kid in self.loaded.sealing(&self.view) {
            let held = self.loaded.get(kid);
            if !held.is_some_and(|held| held.version.budget.needs_refill()) {
                continue;
            }
            let asked = self.asked.entry(kid).or_default();
            let waits = |since| now.saturating_duration_since(since) < REQUEST_TIMEOUT;
            if asked.since.is_some_and(waits) {
                continue;
            }
            asked.since = Some(now);
            let all = Volume {
                messages: u64::MAX,
                bytes: u64::MAX,
            };
            let wish = asked.size.next(now, all, all);
            self.send(DrainMessage::NeedBudget(kid, wish));
        }
    }

    fn granted(&mut self, kid: Kid, part: Volume) {
        if let Some(asked) = self.asked.get_mut(&kid) {
            asked.since = None;
        }
        // After an empty grant there may be more at the next tick, or a successor.
        if part != Volume::default()
            && let Some(held) = self.loaded.get(kid)
        {
            held.version.budget.extend(part);
            self.keys.replenished();
            self.ask();
        }
    }

    /// The writer has ended, and with it the authority on what seals: clients are disconnected, to connect to another gateway.
    pub(super) fn writer_ended(&mut self, error: &io::Error) {
        tracing::warn!(%error, "the process that took over has ended");
        self.until = self.clock.instant().checked_add(ORPHAN_LOCK_TIME);
        self.disconnect();
        self.move_clients("the process that took over has ended");
    }

    /// Drops the link; from now on the lock decides.
    fn disconnect(&mut self) {
        self.link = None;
        self.watched = None;
        self.stopped.append(&mut self.stopping);
        self.lock();
    }

    /// Whether this process may rely on the catalogue: its writer reports changes, or the lock keeps everybody from writing.
    fn may_seal(&self) -> bool {
        let is_over = |until| self.clock.instant() >= until;
        self.link.is_some() || (self.lock.is_some() && !self.until.is_some_and(is_over))
    }

    /// Without a writer: acquires the shared lock, and gives it up in time.
    fn lock(&mut self) {
        if self.link.is_some() {
            return;
        }
        let now = self.clock.instant();
        if self.until.is_some_and(|until| now >= until) {
            self.unlock();
        } else if self.lock.is_none() {
            let shared = StateDir::open(self.view.path()).and_then(Lock::share);
            if let Err(error) = &shared
                && let Some(left_out) = self.read_errors.admit(now)
            {
                tracing::warn!(error = %error.with_help(), left_out, "nothing is sealed: another process may write what seals");
            }
            self.lock = shared.ok();
            self.catalogue_changed = true;
            self.install();
            self.refresh();
        }
    }

    /// Releases the lock, once no lane seals any more.
    fn unlock(&mut self) {
        let sealing = self.loaded.sealing(&self.view);
        if !sealing.is_empty() {
            tracing::warn!(
                "nothing more is sealed: connections have not ended, and others wait for the state directory"
            );
            self.install();
        } else if self.stopping.is_empty() {
            self.lock = None;
        }
    }

    /// The exclusive lock, for this process to take over again; it goes on sealing meanwhile. The caller knows that the other
    /// process does not serve, although its stream may not have ended yet.
    ///
    /// # Errors
    /// [`disk::Error`]: another process has it, which writes or drains.
    pub(super) fn lock_to_write(&mut self) -> Result<Lock, disk::Error> {
        self.until = None;
        self.disconnect();
        let promoted = match &self.lock {
            Some(lock) => lock.promote(),
            None => {
                let shared = StateDir::open(self.view.path()).and_then(Lock::share);
                shared.and_then(|shared| shared.promote())
            }
        };
        if promoted.is_err() {
            // The shared lock may be lost, and the catalogue may have changed by the time it is acquired again.
            self.lock = None;
            self.lock();
        }
        promoted
    }

    fn move_clients(&mut self, why: &str) {
        let told = self.moved.take().map(|moved| moved.send(()));
        if told.is_some() {
            tracing::info!(why, "connections are closed at once");
        }
    }

    /// All connections have ended: returns unused budget.
    fn return_unused(&mut self) {
        for kid in self.loaded.sealing(&self.view) {
            let unused = self.give_back(kid);
            self.send(DrainMessage::Stopped(kid, unused));
        }
    }

    fn send(&self, message: DrainMessage) {
        let message = self.link.as_ref().map(|link| link.send(message));
        if let Some(Err(error)) = message {
            tracing::debug!(%error, "the process that took over does not listen");
        }
    }

    /// Reads what the other process has written.
    pub(super) fn refresh(&mut self) {
        let before = states(&self.view);
        let read = self.view.refresh();
        let resumes = read.is_ok() && std::mem::take(&mut self.catalogue_changed) && self.resume();
        // Marks of revocations count even if records cannot be read.
        let revokes = self.apply_marks();
        if resumes || revokes || states(&self.view) != before {
            self.install();
        }
        if let Err(error) = read
            && let Some(left_out) = self.read_errors.admit(self.clock.instant())
        {
            tracing::warn!(error = %error.with_help(), left_out, "the catalogue of the gateway that took over cannot be read; going on with what was read before");
        }
    }

    /// The catalogue has been read, and decides again on what seals. Yields whether anything changed.
    fn resume(&mut self) -> bool {
        let was_stopped = !self.stopped.is_empty();
        for kid in self.stopped.drain(..) {
            self.loaded.release(kid, Halt::Stopping);
        }
        let was_forbidden = self.may_seal() && self.loaded.allow_sealing();
        was_stopped || was_forbidden
    }

    /// Stops sealing under versions that the writer has revoked and could not record. Yields whether anything changed.
    fn apply_marks(&mut self) -> bool {
        let marks = match self.view.marks() {
            Ok(marks) => marks,
            Err(error) => {
                tracing::debug!(error = %error.with_help(), "whether a version was revoked that could not be written down is not known; what was, stays so");
                return false;
            }
        };
        let revoked = marks
            .into_iter()
            .filter(|(mark, _kid)| *mark != Mark::Withdrawn);
        let revoked: Vec<Kid> = revoked.map(|(_mark, kid)| kid).collect();
        let is_new = revoked != self.revoked;
        for kid in std::mem::replace(&mut self.revoked, revoked) {
            self.loaded.release(kid, Halt::Marked);
        }
        for kid in &self.revoked {
            self.loaded.halt(*kid, Halt::Marked);
        }
        is_new
    }

    /// Serves misses; the catalogue is read again for unknown kids, once a second.
    fn serve_misses(&mut self) {
        let now = self.clock.instant();
        let due = |last: Instant| now.saturating_duration_since(last) >= REREAD_INTERVAL;
        if self.reread.is_none_or(due) && self.misses.has_unknown_kid(&self.view) {
            self.reread = Some(now);
            self.refresh();
        }
        let served = self
            .misses
            .serve((&mut self.loaded, &self.view), Reading::Done, now);
        if served.newly {
            self.install();
        }
        served.answer();
    }

    /// Rejects plaintext from a keyring's date on, for good.
    fn reject_plaintext_by_date(&mut self) {
        let wall = Timestamp::try_from(self.clock.wall()).unwrap_or(Timestamp::MAX);
        let over = passed(&self.policy, &self.view, wall).into_iter();
        let over: Vec<_> = over.map(|(keyring, _date)| keyring).collect();
        if !over.is_empty() {
            self.policy = Arc::new(self.policy.rejecting_plaintext(&over));
            self.loaded.replace_policy(Arc::clone(&self.policy));
            self.install();
        }
    }

    fn loaded_key(&mut self, kid: Kid, key: Result<VersionKey, KeyError>) {
        if let Err(error) = self.loaded.take_key(&self.view, kid, key) {
            tracing::error!(%kid, error = %error.with_help(), "a key version cannot be loaded");
        } else {
            self.install();
        }
        self.serve_misses();
    }

    fn install(&mut self) {
        if let Err(error) = self.loaded.load_all(&self.view) {
            tracing::error!(error = %error.with_help(), "a key version that should open cannot be loaded");
        }
        if !self.may_seal() {
            // The lock must be kept until no lane seals any more.
            let sealing = self.loaded.sealing(&self.view);
            let sealing = sealing.into_iter().filter(|_kid| self.lock.is_some());
            self.stopping.extend(sealing);
            self.loaded.forbid_sealing();
        }
        let snapshot = self.loaded.snapshot(&self.view);
        self.keys.install(snapshot);
    }
}

fn states(view: &View) -> Vec<(Kid, State)> {
    let versions = view.versions();
    versions
        .map(|(_keyring, version)| (version.kid, version.state))
        .collect()
}

/// Waits for a message; for ever where the link is not registered.
async fn readable(watched: Option<&UnixStream>) {
    let Some(watched) = watched else {
        return std::future::pending().await;
    };
    if watched.readable().await.is_ok() {
        // Clears the readiness before the messages are read: later ones set it again.
        let nothing: io::Result<()> = Err(io::ErrorKind::WouldBlock.into());
        drop(watched.try_io(Interest::READABLE, || nothing));
    }
}
