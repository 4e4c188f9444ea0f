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
    /// How many pieces of work stop them from sealing under a version, whose record does not say so yet.
    open_stops: HashMap<Kid, usize>,
    /// Whether they are to read the catalogue once no stop is open: until then it would have them seal again.
    change_owed: bool,
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
    /// Versions of which it has asked for more, and has not been answered yet.
    granting: HashSet<Kid>,
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
            granting: HashSet::new(),
            parts: HashMap::new(),
        };
        Self {
            present: links.map(drainer).collect(),
            ended: HashMap::new(),
            wishes: Vec::new(),
            open_stops: HashMap::new(),
            change_owed: false,
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
                DrainMessage::NeedBudget(kid, part) => self.wish(Wish { name, kid, part }),
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

    /// Takes a wish, which may be repeated before it is answered.
    fn wish(&mut self, wish: Wish) {
        let answers = |drainer: &mut Drainer| !drainer.granting.insert(wish.kid);
        if !self.named(wish.name).is_none_or(answers) {
            self.wishes.push(wish);
        }
    }

    /// The wishes that are to be answered.
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

    /// Has them read the catalogue, as soon as it does not make them seal under a version again that they were told to stop.
    pub(super) fn announce_change(&mut self) {
        if self.open_stops.is_empty() {
            self.broadcast(DrainMessage::CatalogueChanged);
        } else {
            self.change_owed = true;
        }
    }

    /// The record says by now what seals, or is not going to say anything else.
    pub(super) fn end_stop(&mut self, kid: Kid) {
        if let Some(open) = self.open_stops.get_mut(&kid) {
            *open = open.saturating_sub(1);
        }
        self.open_stops.retain(|_kid, open| *open != 0);
        if self.open_stops.is_empty() && std::mem::take(&mut self.change_owed) {
            self.broadcast(DrainMessage::CatalogueChanged);
        }
    }

    /// Tells all of them to stop sealing under a version, and to confirm that; [`Drainers::end_stop`] follows.
    pub(super) fn stop(&mut self, kid: Kid) {
        let open = self.open_stops.entry(kid).or_default();
        *open = open.saturating_add(1);
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
            drainer.granting.remove(&kid);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn catalogue_is_not_to_be_read_while_a_version_stops_whose_record_says_otherwise() {
        let (ours, theirs) = DrainLink::pair().unwrap();
        let mut drainers = Drainers::new(vec![ours]);
        let heard = || std::iter::from_fn(|| theirs.receive().ok()).collect::<Vec<_>>();
        let (one, other) = (Kid([1; 8]), Kid([2; 8]));
        drainers.announce_change();
        assert_eq!(heard(), [DrainMessage::CatalogueChanged]);
        drainers.stop(one);
        drainers.stop(one);
        drainers.stop(other);
        let stops = [one, one, other].map(DrainMessage::Stop);
        assert_eq!(heard(), stops);
        drainers.announce_change();
        drainers.end_stop(one);
        drainers.end_stop(other);
        assert_eq!(heard(), []);
        drainers.end_stop(one);
        assert_eq!(heard(), [DrainMessage::CatalogueChanged]);
    }

    #[test]
    fn wish_that_is_repeated_before_it_is_answered_is_one() {
        let (ours, theirs) = DrainLink::pair().unwrap();
        let mut drainers = Drainers::new(vec![ours]);
        let mut loaded = Loaded::new(
            std::sync::Arc::new(crate::policy::Policy::nothing()),
            1,
            std::sync::Arc::default(),
        );
        let kid = Kid([1; 8]);
        let part = Volume {
            messages: 1,
            bytes: 1,
        };
        for _ in 0..2 {
            theirs.send(DrainMessage::NeedBudget(kid, part)).unwrap();
        }
        drainers.hear(&mut loaded);
        let wishes = drainers.take_wishes();
        assert_eq!(wishes.len(), 1);
        theirs.send(DrainMessage::NeedBudget(kid, part)).unwrap();
        drainers.hear(&mut loaded);
        assert_eq!(drainers.take_wishes().len(), 0);
        drainers.give(wishes[0], part);
        theirs.send(DrainMessage::NeedBudget(kid, part)).unwrap();
        drainers.hear(&mut loaded);
        assert_eq!(drainers.take_wishes().len(), 1);
    }
}
