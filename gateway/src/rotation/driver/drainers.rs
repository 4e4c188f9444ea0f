//! Processes that drain after a take-over: they seal by the catalogue of this process, out of budget that it reserves for them.

use std::collections::{HashMap, HashSet};
use std::io;

use futures_util::future::select_all;
use tokio::io::Interest;
use tokio::net::UnixStream;

use crate::envelope::{Kid, Volume};
use crate::rotation::drain::{DrainLink, DrainMessage};

use super::loaded::Loaded;

/// The draining processes.
#[derive(Default)]
pub(super) struct Drainers {
    present: Vec<Drainer>,
    /// Known to be sealed by processes that have ended.
    ended: HashMap<Kid, Volume>,
    /// What they wish for, and have not been given yet.
    wishes: Vec<Wish>,
}

/// A process wants so much more of a version's budget.
#[derive(Clone, Copy)]
pub(super) struct Wish {
    pub(super) name: usize,
    pub(super) kid: Kid,
    pub(super) part: Volume,
}

struct Drainer {
    /// Its index at the start, which identifies it.
    name: usize,
    link: DrainLink,
    /// Versions under which it has yet to confirm that it has stopped.
    must_confirm: HashSet<Kid>,
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
            must_confirm: HashSet::new(),
            parts: HashMap::new(),
        };
        Self {
            present: links.map(drainer).collect(),
            ended: HashMap::new(),
            wishes: Vec::new(),
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

    /// Their links, registered with the current runtime. One that cannot be registered is polled at every tick.
    pub(super) fn watch(&self) -> Watch {
        let watched = self.present.iter().filter_map(|drainer| {
            let end = drainer.link.readable_end().ok()?;
            Some((drainer.name, end))
        });
        Watch(watched.collect())
    }

    /// Hears what all of them say.
    pub(super) fn hear(&mut self, loaded: &mut Loaded) {
        for (name, message) in self.receive_all() {
            match message {
                DrainMessage::NeedBudget(kid, part) => self.wishes.push(Wish { name, kid, part }),
                DrainMessage::Unused(kid, unused) => self.note(name, kid, unused),
                DrainMessage::Stopped(kid, unused) => {
                    let sealed = self.stopped(name, kid, unused);
                    loaded.returned(kid, unused, sealed);
                }
                DrainMessage::Granted(..)
                | DrainMessage::Stop(_)
                | DrainMessage::Halted(_)
                | DrainMessage::Restored(_)
                | DrainMessage::CatalogueChanged
                | DrainMessage::Policy(_) => {}
            }
        }
    }

    /// What they wish for, and have not been given yet.
    pub(super) fn take_wishes(&mut self) -> Vec<Wish> {
        std::mem::take(&mut self.wishes)
    }

    /// The messages of all of them; those that have ended are removed.
    fn receive_all(&mut self) -> Vec<(usize, DrainMessage)> {
        let mut heard = Vec::new();
        let Self { present, ended, .. } = self;
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

    /// Tells all of them to stop sealing under a version, and to confirm that.
    pub(super) fn stop(&mut self, kid: Kid) {
        self.broadcast(DrainMessage::Stop(kid));
        for drainer in &mut self.present {
            drainer.must_confirm.insert(kid);
        }
    }

    pub(super) fn awaits_confirmation(&self, kid: Kid) -> bool {
        self.present
            .iter()
            .any(|drainer| drainer.must_confirm.contains(&kid))
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

    /// Answers a wish, with nothing where nothing could be reserved: it is asked for again once the record says what seals.
    pub(super) fn give(&mut self, Wish { name, kid, .. }: Wish, part: Volume) {
        if let Some(drainer) = self.named(name) {
            drainer.send(DrainMessage::Granted(kid, part));
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

    /// A process seals no more under a version; yields what it is known to have sealed.
    fn stopped(&mut self, name: usize, kid: Kid, unused: Volume) -> Volume {
        let part = self.named(name).and_then(|drainer| {
            drainer.must_confirm.remove(&kid);
            drainer.parts.remove(&kid)
        });
        part.map_or_else(Volume::default, |part| {
            LentBudget { unused, ..part }.sealed()
        })
    }

    fn named(&mut self, name: usize) -> Option<&mut Drainer> {
        self.present.iter_mut().find(|drainer| drainer.name == name)
    }

    /// Kills those that have not confirmed: the end of their streams counts as confirmation, and is read next.
    pub(super) fn kill(&mut self, kid: Kid) {
        let Self { present, ended, .. } = self;
        present.retain(|drainer| {
            if !drainer.must_confirm.contains(&kid) {
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

/// The links of draining processes, as the event loop waits for them.
pub(super) struct Watch(Vec<(usize, UnixStream)>);

impl Watch {
    /// Forgets processes that have ended.
    pub(super) fn retain(&mut self, drainers: &Drainers) {
        let present = |name: usize| drainers.present.iter().any(|drainer| drainer.name == name);
        self.0.retain(|(name, _end)| present(*name));
    }

    /// Waits for a message of any of them.
    pub(super) async fn ready(&self) {
        if self.0.is_empty() {
            return std::future::pending().await;
        }
        let waits = self.0.iter().map(|(_name, end)| Box::pin(end.readable()));
        let (_ready, index, _others) = select_all(waits).await;
        if let Some((_name, end)) = self.0.get(index) {
            // Clears the readiness before the messages are read: later ones set it again.
            let nothing: io::Result<()> = Err(io::ErrorKind::WouldBlock.into());
            drop(end.try_io(Interest::READABLE, || nothing));
        }
    }
}
