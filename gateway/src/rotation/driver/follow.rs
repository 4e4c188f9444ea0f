//! What goes on once another process is the writer: this one's connections drain.
//!
//! Nothing is written down any more. What seals is what the catalogue says, out of what the other process reserves; before it says
//! otherwise that process is told here that nothing more is sealed. What it makes is read, so that it opens here too.
//!
//! When that process ends, whoever writes next knows nothing of this one. So something is sealed only while the lock of the state
//! directory is held here, under what the catalogue said then, and only for so long as nobody waits in vain for the lock.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::io::Interest;
use tokio::net::UnixStream;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::{MissedTickBehavior, sleep};

use crate::audit::Fact;
use crate::catalogue::{Mark, State, View};
use crate::clock::Clock;
use crate::disk::{Lock, StateDir};
use crate::envelope::{Kid, Used};
use crate::keyring::{Keys, Miss};
use crate::metrics::Throttle;
use crate::policy::Policy;
use crate::rotation::drain::{DrainLink, Said};

use super::Driver;
use super::clocks::passed;
use super::loaded::Loaded;
use super::misses::{Misses, REREAD};
use super::reserve::Pace;
use super::run::{Request, TICK, Way, give};

/// How long an answer may take before it is asked again: the other process may not have started yet.
const UNANSWERED: Duration = Duration::from_secs(1);

/// How often lanes are looked at that have been told to stop: their workers do it between two batches.
const SETTLING: Duration = Duration::from_millis(1);

/// How long the lock is kept once the other process has ended: clients are moved at once, and a new process waits for longer.
pub(super) const KEPT: Duration = Duration::from_secs(5);

/// Keeps the snapshot in step with a catalogue that another process writes.
pub(super) struct Follower {
    view: View,
    loaded: Loaded,
    misses: Misses,
    /// When a miss last had the catalogue read.
    reread: Option<Instant>,
    keys: Arc<Keys>,
    clock: Clock,
    doubts: Throttle,
    thirst: Arc<Notify>,
    /// The way to the other process; `None` once that has ended.
    link: Option<(DrainLink, UnixStream)>,
    /// Nobody writes: held once the other process has ended.
    lock: Option<Lock>,
    /// Until when, where this process does not take everything back.
    until: Option<Instant>,
    policy: Arc<Policy>,
    /// Told when clients are to be moved at once.
    moved: Option<oneshot::Sender<()>>,
    policy_digest: [u8; 8],
    /// Versions that seal no more, as soon as no lane does.
    stopping: Vec<Kid>,
    /// Those of which that has been said.
    stopped: Vec<Kid>,
    /// The catalogue is to be read, and decides on those.
    looks: bool,
    /// Versions that were revoked or suspended, which the other process could not write down yet.
    revoked: Vec<Kid>,
    /// What was given back of what was reserved.
    returned: HashMap<Kid, Used>,
    asked: HashMap<Kid, Asked>,
}

/// More of a version's budget has been asked for.
#[derive(Default)]
struct Asked {
    pace: Pace,
    /// When, as long as there is no answer.
    since: Option<Instant>,
    /// What was last said to be unused.
    reported: Option<Used>,
}

impl Driver {
    /// Lets go of the catalogue and of the audit log. What is reserved stays reserved, for the lanes that live on it.
    pub(super) fn hand_over(mut self, way: Way, thirst: Arc<Notify>) -> Follower {
        self.provide_for_the_hand_over();
        self.leave_records();
        self.say(Fact::GatewayHandedOver);
        self.keep_time();
        let watched = way.link.watch();
        let watched = watched.inspect_err(
            |error| tracing::error!(%error, "the process that takes over cannot be heard"),
        );
        Follower {
            view: self.catalogue.release(),
            loaded: self.loaded,
            misses: self.misses,
            reread: None,
            keys: self.keys,
            clock: self.clock,
            doubts: self.doubts,
            thirst,
            link: watched.ok().map(|watched| (way.link, watched)),
            lock: None,
            until: None,
            policy: self.policy,
            moved: Some(way.moved),
            policy_digest: self.policy_digest,
            stopping: Vec::new(),
            stopped: Vec::new(),
            looks: false,
            revoked: Vec::new(),
            returned: HashMap::new(),
            asked: HashMap::new(),
        }
    }
}

impl Follower {
    /// Follows until it is asked to stop; whatever else is asked for is not done.
    pub(super) async fn run(
        mut self,
        mut requests: mpsc::Receiver<Request>,
        mut misses: mpsc::Receiver<Miss>,
    ) -> mpsc::Receiver<Miss> {
        let thirst = Arc::clone(&self.thirst);
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                request = requests.recv() => match request {
                    None | Some(Request::Stop) => {
                        self.part();
                        return misses;
                    }
                    Some(Request::Lock { answer }) => give(answer, self.lock_to_write()),
                    Some(_) => {}
                },
                Some(miss) = misses.recv() => {
                    self.misses.put(miss, &mut misses);
                    self.serve_misses();
                }
                said = heard(self.link.as_ref()) => match said {
                    Ok(said) => self.heed(said),
                    Err(error) => self.orphaned(&error),
                },
                () = sleep(SETTLING), if !self.stopping.is_empty() => self.confirm(),
                () = thirst.notified() => self.ask(),
                _now = ticks.tick() => self.tick(),
            }
        }
    }

    pub(super) fn tick(&mut self) {
        self.lock();
        self.look();
        self.let_dates_pass();
        self.ask();
        self.report();
        self.serve_misses();
    }

    fn heed(&mut self, said: Said) {
        match said {
            Said::Stop(kid) => {
                tracing::debug!(%kid, "sealing under this version stops");
                self.loaded.halt(kid);
                self.install();
                self.stopping.push(kid);
                self.confirm();
            }
            Said::Look => {
                self.stopped.append(&mut self.stopping);
                self.looks = true;
                self.look();
            }
            Said::Granted(kid, part) => self.granted(kid, part),
            Said::Policy(digest) if digest != self.policy_digest => {
                self.move_clients("the configuration has changed");
            }
            Said::Policy(_) | Said::More(..) | Said::Stopped(..) | Said::Unused(..) => {}
        }
    }

    /// Says of versions that nothing more is sealed under them, once that is so.
    pub(super) fn confirm(&mut self) {
        for kid in std::mem::take(&mut self.stopping) {
            let held = self.loaded.get(kid);
            if held.is_none_or(|held| held.is_settled()) {
                let unused = self.give_back(kid);
                self.say(Said::Stopped(kid, unused));
                self.stopped.push(kid);
            } else {
                self.stopping.push(kid);
            }
        }
    }

    /// What is reserved for this process and not sealed, but for what was given back before.
    fn unused(&self, kid: Kid) -> Used {
        let returned = self.returned.get(&kid).copied().unwrap_or_default();
        let held = self.loaded.get(kid);
        let unused = held.map(|held| held.version.budget.reserved().minus(held.used()));
        unused.unwrap_or_default().minus(returned)
    }

    fn give_back(&mut self, kid: Kid) -> Used {
        let unused = self.unused(kid);
        let returned = self.returned.entry(kid).or_default();
        *returned = returned.plus(unused);
        unused
    }

    /// Says what has not been needed yet, where that has changed.
    fn report(&mut self) {
        for kid in self.loaded.sealing(&self.view) {
            let unused = self.unused(kid);
            let asked = self.asked.entry(kid).or_default();
            if asked.reported.replace(unused) != Some(unused) {
                self.say(Said::Unused(kid, unused));
            }
        }
    }

    /// Asks for more of the budgets of which lanes have little left.
    fn ask(&mut self) {
        let now = self.clock.instant();
        for kid in self.loaded.sealing(&self.view) {
            let held = self.loaded.get(kid);
            if !held.is_some_and(|held| held.version.budget.is_thirsty()) {
                continue;
            }
            let asked = self.asked.entry(kid).or_default();
            let waits = |since| now.saturating_duration_since(since) < UNANSWERED;
            if asked.since.is_some_and(waits) {
                continue;
            }
            asked.since = Some(now);
            let all = Used {
                messages: u64::MAX,
                bytes: u64::MAX,
            };
            let wish = asked.pace.next(now, all, all);
            self.say(Said::More(kid, wish));
        }
    }

    fn granted(&mut self, kid: Kid, part: Used) {
        if let Some(asked) = self.asked.get_mut(&kid) {
            asked.since = None;
        }
        // Of nothing there may be more at the next tick, or a successor.
        if part != Used::default()
            && let Some(held) = self.loaded.get(kid)
        {
            held.version.budget.extend(part);
            self.keys.replenished();
            self.ask();
        }
    }

    /// Without the other process nobody says any more what seals: clients go where they find somebody who does.
    pub(super) fn orphaned(&mut self, error: &io::Error) {
        self.link = None;
        self.stopped.append(&mut self.stopping);
        tracing::warn!(%error, "the process that took over has ended");
        self.until = self.clock.instant().checked_add(KEPT);
        self.lock();
        self.move_clients("the process that took over has ended");
    }

    /// Nobody but a writer knows that what the catalogue says goes on being so: without one, what has the lock does.
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
                && let Some(left_out) = self.doubts.admit(now)
            {
                tracing::warn!(%error, left_out, "nothing is sealed: another process may write what seals");
            }
            self.lock = shared.ok();
            self.looks = true;
            self.install();
            self.look();
        }
    }

    /// Lets others write, once no lane seals any more.
    fn unlock(&mut self) {
        let sealing = self.loaded.sealing(&self.view);
        if !sealing.is_empty() {
            tracing::warn!(
                "nothing more is sealed: connections have not ended, and others wait for the state directory"
            );
            self.halt(&sealing);
            self.stopping.extend(sealing);
            self.install();
        } else if self.stopping.is_empty() {
            self.lock = None;
        }
    }

    /// The lock for this process to take everything back, which goes on sealing meanwhile.
    pub(super) fn lock_to_write(&mut self) -> Option<Lock> {
        self.until = None;
        let promoted = self.lock.as_ref()?.promote();
        if promoted.is_err() {
            self.lock = None;
            self.install();
        }
        promoted.ok()
    }

    fn halt(&mut self, kids: &[Kid]) {
        for kid in kids {
            self.loaded.halt(*kid);
        }
    }

    fn move_clients(&mut self, why: &str) {
        let told = self.moved.take().map(|moved| moved.send(()));
        if told.is_some() {
            tracing::info!(why, "connections are closed at once");
        }
    }

    /// All connections have ended.
    fn part(&mut self) {
        for kid in self.loaded.sealing(&self.view) {
            let unused = self.give_back(kid);
            self.say(Said::Stopped(kid, unused));
        }
    }

    fn say(&self, said: Said) {
        let said = self.link.as_ref().map(|(link, _watched)| link.say(said));
        if let Some(Err(error)) = said {
            tracing::debug!(%error, "the process that took over does not listen");
        }
    }

    /// Reads what the other process has written.
    pub(super) fn look(&mut self) {
        let before = states(&self.view);
        let read = self.view.refresh();
        let resumes = read.is_ok() && std::mem::take(&mut self.looks) && !self.stopped.is_empty();
        if resumes {
            for kid in self.stopped.drain(..) {
                self.loaded.release(kid);
            }
        }
        // Whatever is wrong with records: what is revoked is revoked.
        let revokes = self.heed_marks();
        if resumes || revokes || states(&self.view) != before {
            self.install();
        }
        if let Err(error) = read
            && let Some(left_out) = self.doubts.admit(self.clock.instant())
        {
            tracing::warn!(%error, left_out, "the catalogue of the gateway that took over cannot be read; going on with what was read before");
        }
    }

    /// What the other process has revoked seals nothing here either, whether or not it could write that down. Whether that is news.
    fn heed_marks(&mut self) -> bool {
        let marks = match self.view.marks() {
            Ok(marks) => marks,
            Err(error) => {
                tracing::debug!(%error, "whether a version was revoked that could not be written down is not known; what was, stays so");
                return false;
            }
        };
        let revoked = marks
            .into_iter()
            .filter(|(mark, _kid)| *mark != Mark::Withdrawn);
        let revoked: Vec<Kid> = revoked.map(|(_mark, kid)| kid).collect();
        let is_new = revoked != self.revoked;
        for kid in std::mem::replace(&mut self.revoked, revoked) {
            self.loaded.release(kid);
        }
        for kid in &self.revoked {
            self.loaded.halt(*kid);
        }
        is_new
    }

    /// A version that may not open yet, as far as was read, may do so by now; that is looked at once a second.
    fn serve_misses(&mut self) {
        let now = self.clock.instant();
        let due = |last: Instant| now.saturating_duration_since(last) >= REREAD;
        if self.reread.is_none_or(due) && self.misses.asks_for_a_stranger(&self.view) {
            self.reread = Some(now);
            self.look();
        }
        let served = self.misses.serve(&mut self.loaded, &self.view, now);
        if served.newly {
            self.install();
        }
        served.answer();
    }

    /// A keyring's date passes here, too, for good.
    fn let_dates_pass(&mut self) {
        let wall = Timestamp::try_from(self.clock.wall()).unwrap_or(Timestamp::MAX);
        let over = passed(&self.policy, &self.view, wall).into_iter();
        let over: Vec<_> = over.map(|(keyring, _date)| keyring).collect();
        if !over.is_empty() {
            self.policy = Arc::new(self.policy.rejecting(&over));
            self.loaded.follow_policy(Arc::clone(&self.policy));
            self.install();
        }
    }

    fn install(&mut self) {
        if let Err(error) = self.loaded.load_all(&self.view) {
            tracing::error!(%error, "a key version that should open cannot be loaded");
        }
        if self.link.is_none() && self.lock.is_none() {
            let sealing = self.loaded.sealing(&self.view);
            self.halt(&sealing);
            self.stopped.extend(sealing);
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

/// What the other process says; nothing, once it has ended.
async fn heard(link: Option<&(DrainLink, UnixStream)>) -> io::Result<Said> {
    let Some((link, watched)) = link else {
        return std::future::pending().await;
    };
    loop {
        watched.readable().await?;
        match watched.try_io(Interest::READABLE, || link.hear()) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            said => return said,
        }
    }
}
