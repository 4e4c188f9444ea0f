//! Processes that drain after a take-over: they seal by the catalogue of this process, out of budget that it reserves for them.

use std::collections::HashMap;
use std::io;

use futures_util::future::select_all;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::io::Interest;
use tokio::net::UnixStream;

use crate::envelope::{Kid, Volume};
use crate::rotation::drain::{DrainLink, DrainMessage};

use super::loaded::Loaded;

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
    pub(super) fn receive_all(&mut self) -> Vec<(usize, DrainMessage)> {
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

    pub(super) fn send_to(&self, name: usize, message: DrainMessage) {
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

    pub(super) fn lent(&mut self, name: usize, kid: Kid, part: Volume) {
        if let Some(drainer) = self.named(name) {
            let known = drainer.parts.entry(kid).or_default();
            known.known = known.known.plus(part);
            known.unused = known.unused.plus(part);
        }
    }

    /// Takes a report of unused budget.
    pub(super) fn note(&mut self, name: usize, kid: Kid, unused: Volume) {
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

    /// Stops draining processes from sealing under a version, before its record says so. Their requests wait meanwhile.
    pub(super) fn stop_and_wait(&mut self, kid: Kid, loaded: &mut Loaded) {
        let mut later = Vec::new();
        self.stop(kid);
        while self.awaits_confirmation() {
            if !self.wait() {
                self.kill();
            }
            let heard = self.receive_all();
            let has = |message: &DrainMessage| matches!(message, DrainMessage::Stopped(stopped, _) if *stopped == kid);
            for (name, _said) in heard.iter().filter(|(_name, message)| has(message)) {
                self.has_stopped(*name);
            }
            later.extend(heard);
        }
        for (name, message) in later {
            if let DrainMessage::Stopped(stopped, unused) = message {
                self.returned(name, (stopped, unused), loaded);
            } else if let DrainMessage::NeedBudget(wanted, _) = message {
                // It repeats the request once the record says what seals.
                self.send_to(name, DrainMessage::Granted(wanted, Volume::default()));
            }
        }
    }

    /// A process seals no more under a version, and gives back what is unused.
    pub(super) fn returned(
        &mut self,
        name: usize,
        (kid, unused): (Kid, Volume),
        loaded: &mut Loaded,
    ) {
        let sealed = self.forget(name, kid, unused);
        loaded.returned(kid, unused, sealed);
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
