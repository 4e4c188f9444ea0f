//! Processes that drain after a take-over: they seal under what this one's catalogue says, out of what it reserves for them.

use std::collections::HashMap;
use std::io;

use futures_util::future::select_all;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::io::Interest;
use tokio::net::UnixStream;

use crate::catalogue::{Account, RotateError, State};
use crate::envelope::{Kid, Used};
use crate::rotation::drain::{DrainLink, Said};
use crate::rotation::engine::{Deed, Event, Supply};

use super::Driver;
use super::reserve::{LEAST, fair};

/// How long one may say nothing when it is to stop, in seconds. Who does not answer for so long serves nobody, and is ended: what it
/// would seal when it wakes up would be under a version that no record says anything of.
const PATIENCE: i64 = 5;

/// Those there are.
#[derive(Default)]
pub(super) struct Drainers(Vec<Drainer>);

struct Drainer {
    /// Its place among those that there were at the start.
    name: usize,
    link: DrainLink,
    /// The same end, registered with the runtime of the driver's loop.
    watched: Option<UnixStream>,
    /// Whether it has yet to say that it has stopped.
    owes: bool,
    /// What is reserved for it and not sealed yet, as far as it has said so.
    unused: HashMap<Kid, Used>,
}

impl Drainers {
    pub(super) fn new(links: Vec<DrainLink>) -> Self {
        let links = links.into_iter().enumerate();
        let drainer = |(name, link)| Drainer {
            name,
            link,
            watched: None,
            owes: false,
            unused: HashMap::new(),
        };
        Self(links.map(drainer).collect())
    }

    /// For the process that takes over from this one.
    pub(super) fn links(&self) -> Vec<DrainLink> {
        let again = self.0.iter().map(|drainer| drainer.link.again());
        let again = again.inspect(|link| {
            if let Err(error) = link {
                tracing::error!(%error, "a process that drains is left to itself");
            }
        });
        again.filter_map(Result::ok).collect()
    }

    /// Within the runtime that is to wait for them. One that cannot be waited for is heard at every tick.
    pub(super) fn watch(&mut self) {
        for drainer in &mut self.0 {
            drainer.watched = drainer.link.watch().ok();
        }
    }

    /// Waits until one of them has said something.
    pub(super) async fn ready(&self) {
        let watched = self.0.iter().filter_map(|drainer| drainer.watched.as_ref());
        let watched: Vec<_> = watched.collect();
        if watched.is_empty() {
            return std::future::pending().await;
        }
        let waits = watched.iter().map(|end| Box::pin(end.readable()));
        let (_ready, index, _others) = select_all(waits).await;
        if let Some(end) = watched.get(index) {
            // Before it is read: what comes after that is news again.
            let nothing: io::Result<()> = Err(io::ErrorKind::WouldBlock.into());
            drop(end.try_io(Interest::READABLE, || nothing));
        }
    }

    /// What each of them has said; those that have ended are forgotten.
    fn heard(&mut self) -> Vec<(usize, Said)> {
        let mut heard = Vec::new();
        self.0.retain(|drainer| {
            let error = drainer.hear(&mut heard);
            let stays = error.kind() == io::ErrorKind::WouldBlock;
            if !stays {
                tracing::info!(%error, "a process that drained has ended");
            }
            stays
        });
        heard
    }

    /// Tells all of them.
    pub(super) fn tell(&self, said: Said) {
        for drainer in &self.0 {
            drainer.say(said);
        }
    }

    fn answer(&self, name: usize, said: Said) {
        let mut named = self.0.iter().filter(|drainer| drainer.name == name);
        if let Some(drainer) = named.next() {
            drainer.say(said);
        }
    }

    /// Each of them is to say that it seals nothing more under a version.
    fn stop(&mut self, kid: Kid) {
        self.tell(Said::Stop(kid));
        for drainer in &mut self.0 {
            drainer.owes = true;
        }
    }

    /// This one has.
    fn has_stopped(&mut self, name: usize) {
        for drainer in self.0.iter_mut().filter(|drainer| drainer.name == name) {
            drainer.owes = false;
        }
    }

    /// What is reserved for them and has not been sealed.
    pub(super) fn unused(&self, kid: Kid) -> Used {
        let each = self.0.iter().filter_map(|drainer| drainer.unused.get(&kid));
        each.fold(Used::default(), |sum, unused| sum.plus(*unused))
    }

    /// So much of a version's budget belongs to this one, and is not sealed.
    fn note(&mut self, name: usize, kid: Kid, unused: impl FnOnce(Used) -> Used) {
        let mut named = self.0.iter_mut().filter(|drainer| drainer.name == name);
        if let Some(drainer) = named.next() {
            let known = drainer.unused.entry(kid).or_default();
            *known = unused(*known);
        }
    }

    fn owe(&self) -> bool {
        self.0.iter().any(|drainer| drainer.owes)
    }

    /// Waits until one of them has said something, or has ended, for as long as patience lasts. Whether one has.
    fn wait(&self) -> bool {
        let ends = self.0.iter().map(|drainer| &drainer.link);
        let mut ends: Vec<_> = ends.map(|link| PollFd::new(link, PollFlags::IN)).collect();
        let patience = Timespec {
            tv_sec: PATIENCE,
            tv_nsec: 0,
        };
        poll(&mut ends, Some(&patience)).is_ok_and(|count| count != 0)
    }

    /// Ends those that do not answer: the end of their streams is as good as an answer, and comes next.
    fn kill(&mut self) {
        self.0.retain(|drainer| {
            if !drainer.owes {
                return true;
            }
            let killed = drainer.link.kill_maker();
            match &killed {
                Ok(()) => tracing::error!("a process that drains does not answer: it is killed, so that it seals nothing more"),
                Err(error) => tracing::error!(%error, "a process that drains does not answer, and cannot be killed: what it may still seal is under a version that does not seal by the catalogue"),
            }
            killed.is_ok()
        });
    }
}

impl Drainer {
    /// Everything that it has said; why there is no more.
    fn hear(&self, heard: &mut Vec<(usize, Said)>) -> io::Error {
        loop {
            match self.link.hear() {
                Ok(said) => heard.push((self.name, said)),
                Err(error) => return error,
            }
        }
    }

    fn say(&self, said: Said) {
        if let Err(error) = self.link.say(said) {
            tracing::debug!(%error, "a process that drains has ended, or does not listen");
        }
    }
}

impl Driver {
    /// Does what processes that drain have asked for.
    pub(super) fn hear_drainers(&mut self) {
        for (name, said) in self.drainers.heard() {
            self.heed(name, said);
        }
    }

    fn heed(&mut self, name: usize, said: Said) {
        match said {
            Said::More(kid, wish) => {
                let part = self.lend(kid, wish);
                self.drainers.note(name, kid, |unused| unused.plus(part));
                self.drainers.answer(name, Said::Granted(kid, part));
            }
            Said::Unused(kid, unused) => self.drainers.note(name, kid, |_before| unused),
            Said::Stopped(kid, unused) => self.returned(name, (kid, unused)),
            Said::Granted(..) | Said::Stop(_) | Said::Look | Said::Policy(_) => {}
        }
    }

    /// Before the record says that a version seals no more: no other process seals under it. What they ask for meanwhile waits.
    pub(super) fn stop_elsewhere(&mut self, index: usize, deed: &Deed) {
        let Some(kid) = self.stops(index, deed) else {
            return;
        };
        let mut later = Vec::new();
        self.drainers.stop(kid);
        while self.drainers.owe() {
            if !self.drainers.wait() {
                self.drainers.kill();
            }
            let heard = self.drainers.heard();
            let has = |said: &Said| matches!(said, Said::Stopped(stopped, _) if *stopped == kid);
            for (name, _said) in heard.iter().filter(|(_name, said)| has(said)) {
                self.drainers.has_stopped(*name);
            }
            later.extend(heard);
        }
        for (name, said) in later {
            if let Said::Stopped(stopped, unused) = said {
                self.returned(name, (stopped, unused));
            } else if let Said::More(wanted, _) = said {
                // It is asked for again once the record says what seals.
                self.drainers
                    .answer(name, Said::Granted(wanted, Used::default()));
            }
        }
    }

    fn returned(&mut self, name: usize, (kid, unused): (Kid, Used)) {
        self.drainers.note(name, kid, |_before| Used::default());
        self.loaded.returned(kid, unused);
    }

    /// The version under which a deed has nothing more sealed.
    fn stops(&self, index: usize, deed: &Deed) -> Option<Kid> {
        let record = self.record(index)?;
        let version = match deed {
            Deed::Activate(_) => record.active(),
            Deed::Compromise(number) | Deed::Suspend(number) => record.version(*number),
            Deed::Generate
            | Deed::Admit(_)
            | Deed::Distribute(_)
            | Deed::Challenge(..)
            | Deed::Discard(_)
            | Deed::Archive(_)
            | Deed::Inspect(_)
            | Deed::Propose(..)
            | Deed::Destroy(_)
            | Deed::Restore(..) => None,
        };
        let version = version.filter(|version| version.state == State::Active);
        version.map(|version| version.kid)
    }

    /// Reserves a part of the active version's budget for another process.
    fn lend(&mut self, kid: Kid, wish: Used) -> Used {
        let active = |index: &usize| self.ring(*index)?.1.active().map(|life| life.kid);
        let index = (0..self.rings.len()).find(|index| active(index) == Some(kid));
        let Some((index, (number, left))) =
            index.and_then(|index| Some((index, self.left(index)?)))
        else {
            return Used::default();
        };
        let part = fair(wish, left, self.soft(index));
        if part.messages == 0 || part.bytes == 0 {
            let left = self.drainers.unused(kid);
            if left.messages < LEAST.messages || left.bytes < LEAST.bytes {
                self.spent(index);
            }
            return Used::default();
        }
        match self.reserve_for_another(index, number, part) {
            Ok(()) => part,
            Err(error) => {
                tracing::error!(%error, "nothing can be reserved for a process that drains; it asks again");
                self.read_anew();
                self.follow();
                Used::default()
            }
        }
    }

    /// All of the limit is reserved, and another process needs more of it than that.
    fn spent(&mut self, index: usize) {
        if let Some(mut event) = self.usage(index) {
            if let Event::Usage { supply, .. } = &mut event {
                *supply = Supply::Spent;
            }
            self.feed(index, event);
        }
    }

    fn reserve_for_another(
        &mut self,
        index: usize,
        number: u32,
        part: Used,
    ) -> Result<(), RotateError> {
        let kid = self.kid(index, number);
        let held = kid.and_then(|kid| self.loaded.get(kid));
        let keyring = self.rings.get(index).map(|driven| driven.keyring.clone());
        let (Some(kid), Some(held), Some(keyring)) = (kid, held, keyring) else {
            return Ok(());
        };
        let account = Account {
            number,
            reserved: held.version.budget.reserved().plus(part),
            lanes: held.lanes(),
        };
        self.catalogue.account(&keyring, &[account])?;
        self.loaded.lent(kid, part);
        // Whoever found less than there is for a moment tries again.
        self.keys.replenished();
        Ok(())
    }
}
