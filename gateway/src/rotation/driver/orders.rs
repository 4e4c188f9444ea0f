//! What operators ask for, done at once or refused with the reason.

use std::sync::Arc;
use std::time::Duration;

use crate::audit::Fact;
use crate::catalogue::Opens;
use crate::control::Answer as Stored;
use crate::policy::KeyringName;
use crate::rotation::because::Because;
use crate::rotation::drain::{self, Said};
use crate::rotation::engine::{Asked, Event, Order, Refused, Ring, Verdict};
use crate::rotation::report::{Exposure, KeyringStatus, Rehearsal};
use crate::rotation::seams::Inspection;
use crate::rotation::terms::Consent;
use crate::rotation::{Config, OrderError, Rotated};

use super::Driver;
use super::loaded::Count;
use super::perform::{Wanted, failure, verdict};

impl Driver {
    /// A successor now; yields the version that sealed until then. With others in the fleet it takes until they have proven.
    pub(super) fn rotate(
        &mut self,
        keyring: &str,
        because: Because,
    ) -> Result<(usize, Option<u32>), OrderError> {
        let index = self.index(keyring)?;
        let before = self.active(index);
        let order = Order::Rotate;
        self.feed(index, Event::Asked(Asked { order, because }));
        Ok((index, before))
    }

    /// What has come of a rotation since `before` sealed.
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

    /// How long a rotation has to wait because the one before is so close.
    pub(super) fn held_back(&self, index: usize) -> Option<Duration> {
        let (_keyring, ring) = self.ring(index)?;
        ring.held_back(self.now())
    }

    /// Any other order; yields the keyring as it is afterwards.
    pub(super) fn order(
        &mut self,
        keyring: &str,
        order: Order,
        because: Because,
    ) -> Result<KeyringStatus, OrderError> {
        let index = self.index(keyring)?;
        self.give_order(index, order, because)
    }

    fn give_order(
        &mut self,
        index: usize,
        order: Order,
        because: Because,
    ) -> Result<KeyringStatus, OrderError> {
        self.judge(index, order)?;
        self.halt(index, order);
        self.feed(index, Event::Asked(Asked { order, because }));
        let done = |(_keyring, ring): (&KeyringName, &Ring)| ring.has_done(order);
        if self.ring(index).is_some_and(done) {
            return self.status_of(index).ok_or(OrderError::Stopping);
        }
        // An order that was owed before it may have left nothing else to seal under.
        let error = match self.judge(index, order) {
            Err(refused) if order == Order::Abort => refused,
            Ok(()) | Err(_) => self.unfinished(index),
        };
        // What is told to have failed does not happen later; a revocation is owed.
        self.feed(index, Event::Withdrawn(order));
        Err(error)
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

    /// The safe direction needs no permission: under a version that is revoked sealing stops before anything is written, and
    /// although orders before this one may wait for a disk.
    fn halt(&mut self, index: usize, order: Order) {
        let (Order::Compromise(number) | Order::Suspend(number)) = order else {
            return;
        };
        if let Some(kid) = self.kid(index, number) {
            tracing::warn!(%kid, number, "nothing is sealed under this key version any more");
            self.loaded.halt(kid);
            self.install();
        }
    }

    /// What the caller is told of an order that is not carried out yet.
    fn unfinished(&self, index: usize) -> OrderError {
        let failed = self.ring(index).and_then(|(_keyring, ring)| ring.failure());
        failed.map_or(OrderError::UnderWay, |failure| {
            OrderError::Failed(failure.clone())
        })
    }

    /// Whether the version may be destroyed, as far as that can be said without the bus.
    pub(super) fn may_destroy(&self, index: usize, order: Order) -> Result<(), OrderError> {
        let number = order.number().ok_or(OrderError::Stopping)?;
        self.judge(index, order)?;
        let overlap = self
            .ring(index)
            .and_then(|(_keyring, ring)| ring.overlap_ends(number));
        let overlap = overlap.filter(|ends| *ends > self.wall());
        let overlap = overlap.map(|ends| format!("its overlap lasts until {ends}"));
        match overlap.or_else(|| self.opened_of_late(index, number)) {
            Some(evidence) => Err(OrderError::Held(evidence)),
            None => Ok(()),
        }
    }

    /// Asks the bus; the verdict may come later.
    pub(super) fn inquire(&self, index: usize, number: u32) -> Option<Inspection> {
        let question = self.question(index, number)?;
        Some(self.inspector.inspect(question))
    }

    /// What a wish comes to in this keyring. A second person must know that it is forced.
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

    /// Whether somebody has asked for its destruction although something stored may need it.
    pub(super) fn is_forced(&self, (index, number): (usize, u32)) -> bool {
        let version = self.record(index).and_then(|record| record.version(number));
        let proposed = version.and_then(|version| version.proposed.as_ref());
        proposed.is_some_and(|proposal| proposal.forced)
    }

    /// Gives the order; an approval says whose wish it approves of.
    pub(super) fn give_wish(
        &mut self,
        (index, order): (usize, Order),
        wanted: Wanted,
    ) -> Result<KeyringStatus, OrderError> {
        let mut because = wanted.because;
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

    /// Destroys the version if the verdict allows it, or asks for that.
    pub(super) fn destroy_if(
        &mut self,
        (index, number): (usize, u32),
        wanted: Wanted,
        stored: &Stored,
    ) -> Result<KeyringStatus, OrderError> {
        let order = self.order_for((index, number), &wanted)?;
        self.may_destroy(index, order)?;
        match verdict(stored) {
            Verdict::Clear => self.give_wish((index, order), wanted),
            Verdict::Held(evidence) => Err(OrderError::Held(evidence)),
        }
    }

    /// What whoever has the version's secret may know.
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
            until: version
                .deactivated
                .or_else(|| (!version.state.seals()).then_some(version.since)),
            used: count.map_or(version.reserved, Count::used),
            exact: count.is_some_and(Count::is_exact),
            lanes: count.map_or(version.lanes, Count::lanes),
            opens: self.loaded.opens(keyring, version) != Opens::No,
        })
    }

    /// Everything that a revocation needs, short of revoking anything.
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

    /// Other terms and other subjects, without touching a connection. Keyrings keep their places.
    pub(super) fn reload(&mut self, config: Config, what: String) -> Result<(), OrderError> {
        let names = config.policy.keyrings().iter().map(|rule| &rule.name);
        let kept = self.rings.iter().map(|driven| &driven.keyring);
        let same = names.clone().zip(kept).all(|(new, old)| new == old);
        if !same || names.count() < self.rings.len() {
            let held = self.rings.iter().map(|driven| driven.keyring.to_string());
            return Err(OrderError::Places(held.collect::<Vec<_>>().join(", ")));
        }
        self.policy_digest = drain::digest_of(&config);
        self.drainers.tell(Said::Policy(self.policy_digest));
        self.policy = Arc::clone(&config.policy);
        self.adopt(config.terms);
        self.tick();
        self.install();
        let wall = self.wall();
        let noted = self.journal.note(
            Fact::ConfigurationReloaded {
                result: what.into(),
            },
            wall,
        );
        if let Err(error) = noted {
            tracing::error!(%error, "the reload is missing in the audit log");
        }
        Ok(())
    }

    /// What speaks against destroying a version from what this gateway itself has seen.
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

/// What has been opened within this time speaks against destroying its version.
fn recent(ring: &Ring) -> Duration {
    ring.terms().overlap.max(Duration::from_secs(60))
}
