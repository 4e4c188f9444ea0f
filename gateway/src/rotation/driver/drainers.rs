//! Processes that drain after a take-over: they seal by the catalogue of this process, out of budget that it reserves for them.

use std::collections::HashMap;
use std::io;

use futures_util::future::select_all;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::io::Interest;
use tokio::net::UnixStream;

use crate::catalogue::{RotateError, State};
use crate::envelope::{Kid, Volume};
use crate::rotation::drain::{DrainLink, DrainMessage};
use crate::rotation::engine::{Event, LimitHeadroom, Step};

use super::Driver;
use super::loaded::LoadedVersion;
use super::reserve::{LEAST, fair};

/// How many seconds a draining process has to confirm that it has stopped sealing under a version. One that does not is killed:
/// if it woke up later it would seal under a version that does not seal by its record.
const STOP_TIMEOUT_SECS: i64 = 5;

/// The draining processes.
#[derive(Default)]
pub(super) struct Drainers {
    present: Vec<Drainer>,
    /// Known to be sealed by processes that have ended.
    ended: HashMap<Kid, Volume>,
}

struct Drainer {
    /// Its index at the start, which identifies it.
    name: usize,
    link: DrainLink,
    /// The same end, registered with the driver's runtime.
    watched: Option<UnixStream>,
    /// Whether it has yet to confirm that it has stopped.
    must_confirm: bool,
    /// What is reserved for it, as far as known.
    parts: HashMap<Kid, LentBudget>,
}

/// The part of a version's budget that is lent to a process.
#[derive(Clone, Copy, Default)]
struct LentBudget {
    /// All that is known of: unused at the first report, and lent since.
    known: Volume,
    /// Of that, not sealed by the last report.
    unused: Volume,
}

impl Drainers {
    pub(super) fn new(links: Vec<DrainLink>) -> Self {
        let links = links.into_iter().enumerate();
        let drainer = |(name, link)| Drainer {
            name,
            link,
            watched: None,
            must_confirm: false,
            parts: HashMap::new(),
        };
        Self {
            present: links.map(drainer).collect(),
            ended: HashMap::new(),
        }
    }

    /// Duplicates of the links, for the process that takes over from this one.
    pub(super) fn links(&self) -> Vec<DrainLink> {
        let again = self.present.iter().map(|drainer| drainer.link.try_clone());
        let again = again.inspect(|link| {
            if let Err(error) = link {
                tracing::error!(%error, "a process that drains is left to itself");
            }
        });
        again.filter_map(Result::ok).collect()
    }

    /// Registers the links with the current runtime. One that cannot be registered is polled at every tick.
    pub(super) fn watch(&mut self) {
        for drainer in &mut self.present {
            drainer.watched = drainer.link.readable_end().ok();
        }
    }

    /// Waits for a message of any of them.
    pub(super) async fn ready(&self) {
        let watched = self
            .present
            .iter()
            .filter_map(|drainer| drainer.watched.as_ref());
        let watched: Vec<_> = watched.collect();
        if watched.is_empty() {
            return std::future::pending().await;
        }
        let waits = watched.iter().map(|end| Box::pin(end.readable()));
        let (_ready, index, _others) = select_all(waits).await;
        if let Some(end) = watched.get(index) {
            // Clears the readiness before the messages are read: later ones set it again.
            let nothing: io::Result<()> = Err(io::ErrorKind::WouldBlock.into());
            drop(end.try_io(Interest::READABLE, || nothing));
        }
    }

    /// The messages of all of them; those that have ended are removed.
    fn receive_all(&mut self) -> Vec<(usize, DrainMessage)> {
        let mut heard = Vec::new();
        let Self { present, ended } = self;
        present.retain(|drainer| {
            let error = drainer.receive(&mut heard);
            let stays = error.kind() == io::ErrorKind::WouldBlock;
            if !stays {
                tracing::info!(%error, "a process that drained has ended");
                drainer.keep_sealed(ended);
            }
            stays
        });
        heard
    }

    pub(super) fn broadcast(&self, message: DrainMessage) {
        for drainer in &self.present {
            drainer.send(message);
        }
    }

    fn send_to(&self, name: usize, message: DrainMessage) {
        if let Some(drainer) = self.present.iter().find(|drainer| drainer.name == name) {
            drainer.send(message);
        }
    }

    /// Tells all of them to stop sealing under a version, and to confirm that.
    fn stop(&mut self, kid: Kid) {
        self.broadcast(DrainMessage::Stop(kid));
        for drainer in &mut self.present {
            drainer.must_confirm = true;
        }
    }

    fn has_stopped(&mut self, name: usize) {
        if let Some(drainer) = self.named(name) {
            drainer.must_confirm = false;
        }
    }

    /// Reserved for them and not sealed.
    pub(super) fn unused(&self, kid: Kid) -> Volume {
        self.parts(kid)
            .fold(Volume::default(), |sum, part| sum.plus(part.unused))
    }

    /// Known to be sealed by them and by those that have ended.
    pub(super) fn sealed(&self, kid: Kid) -> Volume {
        let ended = self.ended.get(&kid).copied().unwrap_or_default();
        self.parts(kid)
            .fold(ended, |sum, part| sum.plus(part.sealed()))
    }

    fn parts(&self, kid: Kid) -> impl Iterator<Item = &LentBudget> {
        self.present
            .iter()
            .filter_map(move |drainer| drainer.parts.get(&kid))
    }

    fn lent(&mut self, name: usize, kid: Kid, part: Volume) {
        if let Some(drainer) = self.named(name) {
            let known = drainer.parts.entry(kid).or_default();
            known.known = known.known.plus(part);
            known.unused = known.unused.plus(part);
        }
    }

    /// Takes a report of unused budget.
    fn note(&mut self, name: usize, kid: Kid, unused: Volume) {
        if let Some(drainer) = self.named(name) {
            let known = unused;
            let part = drainer.parts.entry(kid);
            part.or_insert(LentBudget { known, unused }).unused = unused;
        }
    }

    /// Forgets the part of a process that seals no more under a version; yields what it is known to have sealed.
    fn forget(&mut self, name: usize, kid: Kid, unused: Volume) -> Volume {
        let drainer = self.named(name);
        let part = drainer.and_then(|drainer| drainer.parts.remove(&kid));
        part.map_or_else(Volume::default, |part| {
            LentBudget { unused, ..part }.sealed()
        })
    }

    fn named(&mut self, name: usize) -> Option<&mut Drainer> {
        self.present.iter_mut().find(|drainer| drainer.name == name)
    }

    fn awaits_confirmation(&self) -> bool {
        self.present.iter().any(|drainer| drainer.must_confirm)
    }

    /// Blocks until one of them has sent something or has ended; `false` after [`STOP_TIMEOUT_SECS`].
    fn wait(&self) -> bool {
        let ends = self.present.iter().map(|drainer| &drainer.link);
        let mut ends: Vec<_> = ends.map(|link| PollFd::new(link, PollFlags::IN)).collect();
        let timeout = Timespec {
            tv_sec: STOP_TIMEOUT_SECS,
            tv_nsec: 0,
        };
        poll(&mut ends, Some(&timeout)).is_ok_and(|count| count != 0)
    }

    /// Kills those that have not confirmed: the end of their streams counts as confirmation, and is read next.
    fn kill(&mut self) {
        let Self { present, ended } = self;
        present.retain(|drainer| {
            if !drainer.must_confirm {
                return true;
            }
            let killed = drainer.link.kill_creator();
            match &killed {
                Ok(()) => tracing::error!("a process that drains does not answer: it is killed, so that it seals nothing more"),
                Err(error) => tracing::error!(%error, "a process that drains does not answer, and cannot be killed: what it may still seal is under a version that does not seal by the catalogue"),
            }
            if killed.is_err() {
                drainer.keep_sealed(ended);
            }
            killed.is_ok()
        });
    }
}

impl LentBudget {
    fn sealed(self) -> Volume {
        self.known.minus(self.unused)
    }
}

impl Drainer {
    /// Reads all its messages; yields the error that ended that.
    fn receive(&self, heard: &mut Vec<(usize, DrainMessage)>) -> io::Error {
        loop {
            match self.link.receive() {
                Ok(message) => heard.push((self.name, message)),
                Err(error) => return error,
            }
        }
    }

    /// Keeps what it is known to have sealed when it ends.
    fn keep_sealed(&self, ended: &mut HashMap<Kid, Volume>) {
        for (kid, part) in &self.parts {
            let sealed = ended.entry(*kid).or_default();
            *sealed = sealed.plus(part.sealed());
        }
    }

    fn send(&self, message: DrainMessage) {
        if let Err(error) = self.link.send(message) {
            tracing::debug!(%error, "a process that drains has ended, or does not listen");
        }
    }
}

impl Driver {
    pub(super) fn handle_drainers(&mut self) {
        for (name, message) in self.drainers.receive_all() {
            self.handle(name, message);
        }
    }

    fn handle(&mut self, name: usize, message: DrainMessage) {
        match message {
            DrainMessage::NeedBudget(kid, wish) => {
                let part = self.lend(kid, wish);
                self.drainers.lent(name, kid, part);
                self.drainers
                    .send_to(name, DrainMessage::Granted(kid, part));
            }
            DrainMessage::Unused(kid, unused) => self.drainers.note(name, kid, unused),
            DrainMessage::Stopped(kid, unused) => self.returned(name, (kid, unused)),
            DrainMessage::Granted(..)
            | DrainMessage::Stop(_)
            | DrainMessage::Halted(_)
            | DrainMessage::Restored(_)
            | DrainMessage::CatalogueChanged
            | DrainMessage::Policy(_) => {}
        }
    }

    /// Stops draining processes from sealing under a version, before its record says so. Their requests wait meanwhile.
    pub(super) fn stop_drainers(&mut self, index: usize, step: &Step) {
        let Some(kid) = self.stops(index, step) else {
            return;
        };
        let mut later = Vec::new();
        self.drainers.stop(kid);
        while self.drainers.awaits_confirmation() {
            if !self.drainers.wait() {
                self.drainers.kill();
            }
            let heard = self.drainers.receive_all();
            let has = |message: &DrainMessage| matches!(message, DrainMessage::Stopped(stopped, _) if *stopped == kid);
            for (name, _said) in heard.iter().filter(|(_name, message)| has(message)) {
                self.drainers.has_stopped(*name);
            }
            later.extend(heard);
        }
        for (name, message) in later {
            if let DrainMessage::Stopped(stopped, unused) = message {
                self.returned(name, (stopped, unused));
            } else if let DrainMessage::NeedBudget(wanted, _) = message {
                // It repeats the request once the record says what seals.
                self.drainers
                    .send_to(name, DrainMessage::Granted(wanted, Volume::default()));
            }
        }
    }

    fn returned(&mut self, name: usize, (kid, unused): (Kid, Volume)) {
        let sealed = self.drainers.forget(name, kid, unused);
        self.loaded.returned(kid, unused, sealed);
    }

    /// The version that an action stops from sealing.
    fn stops(&self, index: usize, step: &Step) -> Option<Kid> {
        let record = self.record(index)?;
        let version = match step {
            Step::Activate(_) => record.active(),
            Step::Compromise(number) | Step::Suspend(number) => record.version(*number),
            Step::Generate
            | Step::Admit(_)
            | Step::Distribute(_)
            | Step::Challenge(..)
            | Step::Discard(_)
            | Step::Archive(_)
            | Step::Inspect(_)
            | Step::Propose(..)
            | Step::Destroy(_)
            | Step::Restore(..) => None,
        };
        let version = version.filter(|version| version.state == State::Active);
        version.map(|version| version.kid)
    }

    /// Known to be sealed under a version by this process, earlier ones, and those that drain.
    pub(super) fn sealed(&self, kid: Kid, held: &LoadedVersion) -> Volume {
        held.sealed().plus(self.drainers.sealed(kid))
    }

    /// Reserves a part of the active version's budget for another process; zero while nothing may be sealed under it.
    fn lend(&mut self, kid: Kid, wish: Volume) -> Volume {
        let active = |index: &usize| self.engine(*index)?.1.active().map(|version| version.kid);
        let index = (0..self.keyrings.len()).find(|index| active(index) == Some(kid));
        let Some((index, (number, left))) =
            index.and_then(|index| Some((index, self.left(index)?)))
        else {
            return Volume::default();
        };
        let part = fair(wish, left, self.soft(index));
        if part.messages == 0 || part.bytes == 0 {
            let left = self.drainers.unused(kid);
            if left.messages < LEAST.messages || left.bytes < LEAST.bytes {
                self.spent(index);
            }
            return Volume::default();
        }
        match self.reserve_for_another(index, number, part) {
            Ok(()) => part,
            Err(error) => {
                tracing::error!(%error, "nothing can be reserved for a process that drains; it asks again");
                self.refresh_catalogue();
                self.sync_engines();
                Volume::default()
            }
        }
    }

    /// Reports to the engine that all of the limit is reserved and another process needs more.
    fn spent(&mut self, index: usize) {
        if let Some(mut event) = self.usage(index) {
            if let Event::Usage { headroom, .. } = &mut event {
                *headroom = LimitHeadroom::Spent;
            }
            self.feed(index, event);
        }
    }

    fn reserve_for_another(
        &mut self,
        index: usize,
        number: u32,
        part: Volume,
    ) -> Result<(), RotateError> {
        if let Some(kid) = self.write_reserved(index, number, part)? {
            self.loaded.lent(kid, part);
            // A lane may have seen too little for a moment: it tries again.
            self.keys.replenished();
        }
        Ok(())
    }
}
