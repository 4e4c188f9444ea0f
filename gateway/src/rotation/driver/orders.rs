//! Orders of operators: carried out at once, or refused.

use std::sync::Arc;
use std::time::Duration;

use crate::audit::{Exposed, Fact, Outcome};
use crate::catalogue::{Mark, Opens, State};
use crate::control::Answer as Stored;
use crate::envelope::Kid;
use crate::policy::KeyringName;
use crate::rotation::because::{Because, Ground};
use crate::rotation::drain::{self, Said};
use crate::rotation::engine::{Asked, Deed, Event, Order, Refused, Ring, Verdict};
use crate::rotation::report::{Exposure, KeyringStatus, Rehearsal};
use crate::rotation::seams::Inspection;
use crate::rotation::terms::Consent;
use crate::rotation::{Config, OrderError, Reload, Rotated, User};

use super::Driver;
use super::journal::exposed;
use super::loaded::{Count, Halt};
use super::perform::{Wanted, failure, verdict};
use super::refusals::Ordered;

impl Driver {
    /// Begins a rotation; yields the keyring and the version that was active before. In a fleet it ends later.
    pub(super) fn rotate(
        &mut self,
        keyring: &str,
        because: Because,
    ) -> Result<(usize, Option<u32>), OrderError> {
        let order = Order::Rotate;
        let wanted = Ordered::of(keyring, order, because.clone());
        let index = self.index(keyring);
        let index = self.answered(wanted.clone(), index)?;
        let before = self.active(index);
        self.unsaid = Some(because.clone());
        self.feed(index, Event::Asked(Asked { order, because }));
        if self.unsaid.take().is_some() {
            // It joins the rotation under way, which has another reason.
            self.conclude(wanted, &Outcome::Done);
        }
        Ok((index, before))
    }

    /// The outcome of a rotation, `before` having been active.
    pub(super) fn rotated(
        &self,
        (index, before): (usize, Option<u32>),
    ) -> Result<Rotated, OrderError> {
        let after = self.active(index);
        if before == after || after.is_none() {
            return Err(self.unfinished(index));
        }
        let label = |number: Option<u32>| {
            let version = self.record(index)?.version(number?)?;
            Some((version.label.as_str().to_owned(), version.kid))
        };
        let from = label(before).map(|(label, _kid)| label);
        let (to, kid) = label(after).ok_or(OrderError::Stopping)?;
        let (keyring, _ring) = self.ring(index).ok_or(OrderError::Stopping)?;
        Ok(Rotated {
            keyring: keyring.clone(),
            from,
            to,
            kid,
        })
    }

    /// How long a rotation has to wait because the last one is so recent.
    pub(super) fn held_back(&self, index: usize) -> Option<Duration> {
        let (_keyring, ring) = self.ring(index)?;
        ring.held_back(self.now())
    }

    /// Any other order; yields the status of the keyring afterwards.
    pub(super) fn order(
        &mut self,
        keyring: &str,
        order: Order,
        because: Because,
    ) -> Result<KeyringStatus, OrderError> {
        let wanted = Ordered::of(keyring, order, because.clone());
        let index = self.index(keyring);
        let done = index.and_then(|index| self.give_order(index, order, because));
        self.answered(wanted, done)
    }

    fn give_order(
        &mut self,
        index: usize,
        order: Order,
        because: Because,
    ) -> Result<KeyringStatus, OrderError> {
        self.judge(index, order)?;
        self.halt(index, order);
        self.unsaid = Some(because.clone());
        self.feed(index, Event::Asked(Asked { order, because }));
        let done = |(_keyring, ring): (&KeyringName, &Ring)| ring.has_done(order);
        let done = self.ring(index).is_some_and(done);
        if done {
            self.say_if_unsaid(index, order, &Outcome::Done);
            return self.status_of(index).ok_or(OrderError::Stopping);
        }
        // A pending order that went first may have left no other version to seal under.
        let error = match self.judge(index, order) {
            Err(refused) if order == Order::Abort => refused,
            Ok(()) | Err(_) => {
                let unfinished = self.unfinished(index);
                self.halted(index, order, unfinished)
            }
        };
        if error.is_refusal() {
            // The caller writes the refusal.
            self.unsaid = None;
        }
        let failed = Outcome::Failed(error.to_string().into());
        self.say_if_unsaid(index, order, &failed);
        // What is answered with a failure must not happen later, except for a revocation, which is retried.
        self.feed(index, Event::Withdrawn(order));
        Err(error)
    }

    /// Writes an order that has caused no event of its own to the audit log.
    fn say_if_unsaid(&mut self, index: usize, order: Order, outcome: &Outcome) {
        let driven = self.rings.get(index);
        let keyring = driven.map(|driven| driven.keyring.to_string());
        if let (Some(because), Some(keyring)) = (self.unsaid.take(), keyring) {
            self.conclude(Ordered::of(&keyring, order, because), outcome);
        }
    }

    /// Whether an order can be carried out now.
    fn judge(&self, index: usize, order: Order) -> Result<(), OrderError> {
        let ring = self.ring(index).map(|(_keyring, ring)| ring);
        let ring = ring.ok_or(OrderError::Stopping)?;
        ring.judge(order)?;
        if order == Order::Abort {
            ring.may_abort(self.now())?;
        }
        Ok(())
    }

    /// Fail-safe: a revocation stops sealing before anything is written, and although earlier orders may wait for a disk.
    fn halt(&mut self, index: usize, order: Order) {
        let (Some((mark, deed)), Some(number)) = (stops_sealing(order), order.number()) else {
            return;
        };
        if let Some(kid) = self.kid(index, number) {
            tracing::warn!(%kid, number, "nothing is sealed under this key version any more");
            // Only what lanes hold may still be sealed: that bounds the exposure.
            if let (Mark::Revoked, Some(held)) = (mark, self.loaded.get(kid)) {
                held.version.budget.drain();
            }
            self.halt_everywhere(kid);
            self.install();
            self.stop_elsewhere(index, &deed);
        }
    }

    /// Stops sealing under a revoked or suspended version, here and in draining processes, whatever becomes of its record.
    pub(super) fn halt_everywhere(&mut self, kid: Kid) {
        self.loaded.halt(kid, Halt::Ordered);
        self.drainers.tell(Said::Halted(kid));
    }

    /// The error of an order that is not carried out yet.
    fn unfinished(&self, index: usize) -> OrderError {
        let Some((_keyring, ring)) = self.ring(index) else {
            return OrderError::Stopping;
        };
        match ring.failure() {
            Some(failure) => OrderError::Failed(failure.clone()),
            None if ring.is_rotating() => OrderError::UnderWay,
            None => OrderError::Aborted,
        }
    }

    /// The same for a revocation, of which a part is done: a running gateway seals nothing more under the version.
    fn halted(&mut self, index: usize, order: Order, error: OrderError) -> OrderError {
        let (Some((mark, _deed)), Some(number)) = (stops_sealing(order), order.number()) else {
            return error;
        };
        let version = self.record(index).and_then(|record| record.version(number));
        let named = version.map(|version| (version.kid, version.label.to_string()));
        let (OrderError::Failed(failure), Some((kid, version)), User::Gateway) =
            (&error, named, self.user)
        else {
            return error;
        };
        OrderError::Halted {
            version,
            failure: failure.clone(),
            restart: if self.mark(mark, kid) {
                "goes on with the order"
            } else {
                "forgets the order, for there is no room for a note of it either"
            },
        }
    }

    /// Whether the version may be destroyed, JetStream not being asked.
    pub(super) fn may_destroy(&self, index: usize, order: Order) -> Result<(), OrderError> {
        let number = order.number().ok_or(OrderError::Stopping)?;
        self.judge(index, order)?;
        let overlap = self
            .ring(index)
            .and_then(|(_keyring, ring)| ring.overlap_ends(number, self.now()));
        let overlap = overlap.filter(|ends| *ends > self.wall());
        let overlap = overlap.map(|ends| format!("its overlap lasts until {ends}"));
        match overlap.or_else(|| self.opened_of_late(index, number)) {
            Some(evidence) => Err(OrderError::Held(evidence)),
            None => Ok(()),
        }
    }

    /// Asks JetStream.
    pub(super) fn inquire(&self, index: usize, number: u32) -> Option<Inspection> {
        let question = self.question(index, number)?;
        Some(self.inspector.inspect(question))
    }

    /// The order for a destruction in this keyring. A second person must state that it is forced.
    pub(super) fn order_for(
        &self,
        (index, number): (usize, u32),
        wanted: &Wanted,
    ) -> Result<Order, OrderError> {
        let ring = self.ring(index).map(|(_keyring, ring)| ring);
        let ring = ring.ok_or(OrderError::Stopping)?;
        if wanted.wish.approves {
            ring.may_approve(number, &wanted.because.who, self.now())?;
            if self.is_forced((index, number)) && !wanted.wish.forced {
                return Err(Refused::Forced(number).into());
            }
            return Ok(Order::Approve(number));
        }
        Ok(match ring.terms().destroy {
            Consent::Automatic => Order::Destroy(number),
            Consent::Approved => Order::Propose(number, wanted.wish.forced),
        })
    }

    /// Whether its destruction was requested by force.
    pub(super) fn is_forced(&self, (index, number): (usize, u32)) -> bool {
        let version = self.record(index).and_then(|record| record.version(number));
        let proposed = version.and_then(|version| version.proposed.as_ref());
        proposed.is_some_and(|proposal| proposal.forced)
    }

    /// Gives the order; an approval names the request that it approves of.
    pub(super) fn give_wish(
        &mut self,
        (index, order): (usize, Order),
        wanted: Wanted,
        ground: Ground,
    ) -> Result<KeyringStatus, OrderError> {
        let mut because = wanted.because.on(ground);
        if let Order::Approve(number) = order {
            let version = self.record(index).and_then(|record| record.version(number));
            let proposed = version.and_then(|version| version.proposed.as_ref());
            let asked = proposed.map_or_else(
                || "the gateway".to_owned(),
                |proposal| format!("{} ({})", proposal.who, proposal.why),
            );
            because.why =
                format!("{}; approves of what was asked for by {asked}", because.why).into();
        }
        self.give_order(index, order, because)
    }

    /// Destroys the version, or requests that, if nothing stored needs it.
    pub(super) fn destroy_if(
        &mut self,
        (index, number): (usize, u32),
        wanted: Wanted,
        stored: &Stored,
    ) -> Result<KeyringStatus, OrderError> {
        let order = self.order_for((index, number), &wanted)?;
        self.may_destroy(index, order)?;
        match verdict(stored) {
            Verdict::Clear(found) => {
                self.give_wish((index, order), wanted, Ground::Proven(found.into()))
            }
            Verdict::Held(evidence) => Err(OrderError::Held(evidence)),
        }
    }

    /// What a leaked version exposes.
    pub(super) fn exposure(&self, keyring: &str, number: u32) -> Result<Exposure, OrderError> {
        let index = self.index(keyring)?;
        let version = self.record(index).and_then(|record| record.version(number));
        let version = version.ok_or(OrderError::Refused(Refused::Unknown(number)))?;
        let count = self.loaded.count(version.kid);
        let (keyring, _ring) = self.ring(index).ok_or(OrderError::Stopping)?;
        Ok(Exposure {
            keyring: keyring.clone(),
            label: version.label.to_string(),
            kid: version.kid,
            state: version.state,
            subjects: self.subjects(keyring),
            from: version.activated,
            until: version.stopped(),
            halted: self.loaded.is_halted(version.kid) && version.stopped().is_none(),
            used: count.map_or(version.reserved, Count::used),
            exact: count.map_or(version.sealed == version.reserved, Count::is_exact),
            lanes: count.map_or(version.lanes, Count::lanes),
            opens: self.loaded.opens(keyring, version) != Opens::No,
        })
    }

    /// For the audit log: what was sealed under a version that has been revoked, at least and at most.
    pub(super) fn exposed(&self, index: usize, deed: &Deed) -> Option<Exposed> {
        let Deed::Compromise(number) = deed else {
            return None;
        };
        let version = self.record(index)?.version(*number)?;
        let count = self.loaded.count(version.kid);
        let least = count.map_or(version.sealed, Count::sealed);
        let most = count.map_or(version.reserved, Count::most);
        let lanes = count.map_or(version.lanes, Count::lanes);
        (version.state == State::Compromised).then(|| exposed(version, (least, most), lanes))
    }

    /// Tries everything that a revocation needs, without revoking.
    pub(super) fn drill(&mut self, because: &Because) -> Vec<Rehearsal> {
        let mut parts = Vec::new();
        let since = self.clock.instant();
        let custody = self.catalogue.rehearse_custody();
        parts.push(self.part(
            "wrap and unwrap a secret",
            since,
            custody.err().map(|e| e.to_string()),
        ));
        let since = self.clock.instant();
        let disk = self.catalogue.rehearse_disk();
        parts.push(self.part(
            "write to the catalogue's disk",
            since,
            disk.err().map(|e| e.to_string()),
        ));
        let since = self.clock.instant();
        let fact = Fact::Drill {
            who: because.who.to_string().into(),
            why: because.why.clone(),
        };
        let wall = self.wall();
        let noted = self.journal.note(fact, wall);
        parts.push(self.part(
            "write to the audit log",
            since,
            noted.err().map(|e| e.to_string()),
        ));
        parts
    }

    fn part(
        &self,
        what: &'static str,
        since: std::time::Instant,
        failed: Option<String>,
    ) -> Rehearsal {
        Rehearsal {
            what,
            failed,
            took: self.clock.instant().saturating_duration_since(since),
        }
    }

    /// The last lines of the audit log.
    pub(super) fn tail(&self, count: usize) -> Result<Vec<String>, OrderError> {
        let lines = self.journal.tail(count);
        let lines = lines.map_err(|error| OrderError::Failed(failure(&error)))?;
        let text = |line: Vec<u8>| String::from_utf8_lossy(&line).into_owned();
        Ok(lines.into_iter().map(text).collect())
    }

    /// Puts other terms and subjects in force without touching connections. Keyrings keep their order.
    pub(super) fn reload(&mut self, config: Config, reload: Reload) -> Result<(), OrderError> {
        let names = config.policy.keyrings().iter().map(|rule| &rule.name);
        let kept = self.rings.iter().map(|driven| &driven.keyring);
        let same = names.clone().zip(kept).all(|(new, old)| new == old);
        if !same || names.count() < self.rings.len() {
            let held = self.rings.iter().map(|driven| driven.keyring.to_string());
            return Err(OrderError::Places(held.collect::<Vec<_>>().join(", ")));
        }
        let Reload { what, because } = reload;
        let before = std::mem::take(&mut self.settings);
        let weaker = self.weaken(&before, &config.settings, because);
        let weaker = weaker.map_err(|error| {
            self.settings = before.clone();
            OrderError::Failed(failure(&error))
        })?;
        self.settings = config.settings.clone();
        self.policy_digest = drain::digest_of(&config.settings);
        self.drainers.tell(Said::Policy(self.policy_digest));
        self.policy = Arc::clone(&config.policy);
        self.adopt(config.terms);
        self.tick();
        self.install();
        self.weakened(weaker);
        self.say_reloaded(what, &before);
        Ok(())
    }

    /// Evidence against destroying a version: that this gateway has recently opened messages sealed under it.
    pub(super) fn opened_of_late(&self, index: usize, number: u32) -> Option<String> {
        let kid = self.kid(index, number)?;
        let held = self.loaded.get(kid)?;
        let now = self.clock.instant();
        let ago = now.saturating_duration_since(held.last_opened?);
        let (_keyring, ring) = self.ring(index)?;
        (ago < recent(ring)).then(|| {
            let opened = held.version.usage.opened();
            format!(
                "an envelope sealed under it was opened {} s ago ({opened} since the start)",
                ago.as_secs()
            )
        })
    }

    pub(super) fn subjects(&self, keyring: &KeyringName) -> Vec<String> {
        let id = self.policy.by_name(keyring.as_str());
        let rule = id.and_then(|id| self.policy.keyring(id));
        let subjects = rule
            .map(|rule| rule.subjects.as_slice())
            .unwrap_or_default();
        subjects.iter().map(ToString::to_string).collect()
    }

    pub(super) fn index(&self, keyring: &str) -> Result<usize, OrderError> {
        let found = self
            .rings
            .iter()
            .position(|driven| driven.keyring.as_str() == keyring);
        found.ok_or_else(|| {
            let known = self
                .rings
                .iter()
                .map(|driven| format!("`{}`", driven.keyring));
            OrderError::UnknownKeyring {
                asked: keyring.to_owned(),
                known: known.collect::<Vec<_>>().join(", "),
            }
        })
    }

    fn active(&self, index: usize) -> Option<u32> {
        let (_keyring, ring) = self.ring(index)?;
        ring.active().map(|life| life.number)
    }
}

/// For a revocation or suspension: its mark for when it cannot be recorded, and its step.
const fn stops_sealing(order: Order) -> Option<(Mark, Deed)> {
    match order {
        Order::Compromise(number) => Some((Mark::Revoked, Deed::Compromise(number))),
        Order::Suspend(number) => Some((Mark::Suspended, Deed::Suspend(number))),
        Order::Rotate
        | Order::Restore(_)
        | Order::Archive(_)
        | Order::Destroy(_)
        | Order::Propose(..)
        | Order::Approve(_)
        | Order::Abort => None,
    }
}

/// A version that has opened something within this time must not be destroyed.
fn recent(ring: &Ring) -> Duration {
    ring.terms().overlap.max(Duration::from_secs(60))
}
