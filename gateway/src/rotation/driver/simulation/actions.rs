//! The random actions of a run: of traffic, operators, clocks, members and the bus.

use std::time::Duration;

use tokio::sync::oneshot::error::TryRecvError;
use tokio::sync::oneshot::{self, Receiver};

use super::members::Behaviour;
use super::simulated_run::{End, SimulatedRun, Size, operator, second_person, terms};
use crate::audit::Trigger;
use crate::envelope::{Header, Kid, Volume};
use crate::rotation::engine::Order;
use crate::rotation::terms::Limit;
use crate::rotation::{DestroyRequest, KeyringStatus, OrderError, Reason, Reload};

impl SimulatedRun<'_> {
    pub(super) fn random_action(&mut self) {
        self.counts.actions += 1;
        match self.rng.below(28) {
            0..=5 => self.pass_time(),
            6..=12 => self.burst(),
            13..=18 => self.order(),
            19 => self.set_clock(),
            20 | 21 => self.change_members(),
            22 => self.consume(),
            23 => self.ask_for_destruction(),
            24 => self.reload(),
            25 => self.open_stored(),
            26 => self.unknown_kid(),
            _ => {
                let end = self.rng.pick(&[End::PowerCut, End::Killed, End::Stopped]);
                self.end(end);
            }
        }
    }

    fn pass_time(&mut self) {
        let millis = match self.rng.below(8) {
            0..=2 => self.rng.between(1, 1000),
            3..=5 => self.rng.between(1000, 20_000),
            6 => self.rng.between(20_000, 400_000),
            _ => self.rng.between(400_000, 40_000_000),
        };
        self.wait(Duration::from_millis(millis));
    }

    fn burst(&mut self) {
        for _ in 0..self.rng.between(1, 4) {
            let large = self.terms[0].limit.messages > 1000;
            let count = self.rng.between(1, if large { 4000 } else { 80 });
            self.traffic.path().burst(count).ok();
            self.driver_mut().refill();
            self.driver_mut().advance();
        }
    }

    /// The number of one of the last versions, or the next.
    fn number(&mut self, ring: usize) -> u32 {
        let record = self.driver().record(ring);
        let count = record.map_or(0, |record| record.versions.len());
        let back = self.rng.index(4).min(count);
        u32::try_from(count - back).unwrap() + u32::from(self.rng.one_in(8))
    }

    fn order(&mut self) {
        let ring = self.rng.index(self.names.len());
        let number = self.number(ring);
        let keyring = self.names[ring].to_string();
        match self.rng.below(9) {
            0..=3 => {
                let (answer, _nobody) = oneshot::channel();
                self.driver_mut().rotate(&keyring, operator(), answer);
                self.driver_mut().advance();
            }
            4 => self.revoke(ring, Order::Compromise(number)),
            5 => self.revoke(ring, Order::Suspend(number)),
            6 => {
                self.traffic
                    .path()
                    .ledger
                    .revoked
                    .remove(&((ring, number), false));
                self.traffic.path().finish_batches();
                self.give(&keyring, Order::Restore(number));
            }
            7 => {
                let order = self.rng.pick(&[Order::Abort, Order::Archive(number)]);
                if order != Order::Abort {
                    self.observed.overlap_cut.insert((ring, number));
                }
                self.give(&keyring, order);
            }
            _ => {
                self.observed.forced.insert((ring, number));
                self.observed.destruction_ordered.insert((ring, number));
                self.destroy(ring, number, (true, false), operator());
                // The proposer approves, which does not count; or somebody else does.
                match self.counts.actions % 3 {
                    0 => self.destroy(ring, number, (true, true), operator()),
                    1 => {
                        self.observed.approved.insert((ring, number));
                        self.destroy(ring, number, (true, true), second_person());
                    }
                    _ => {}
                }
            }
        }
    }

    /// Gives an order; nobody waits for the answer.
    fn give(&mut self, keyring: &str, order: Order) -> Receiver<Result<KeyringStatus, OrderError>> {
        let (answer, told) = oneshot::channel();
        self.driver_mut().order(keyring, order, operator(), answer);
        self.driver_mut().advance();
        told
    }

    /// From the order on nothing is sealed under the version, whatever else fails; and a confirmed revocation stays.
    fn revoke(&mut self, ring: usize, order: Order) {
        let keyring = self.names[ring].to_string();
        let mut told = self.give(&keyring, order);
        let Some(number) = order.number() else { return };
        self.traffic.path().finish_batches();
        let answer = told.try_recv();
        let refused = matches!(answer, Ok(Err(OrderError::Refused(_))));
        let for_good = matches!(order, Order::Compromise(_));
        match answer {
            Ok(Ok(_done)) if for_good && !self.disk.is_dead() => {
                self.observed.compromised.insert((ring, number));
            }
            Err(TryRecvError::Empty) if for_good => {
                self.revocations.push(((ring, number), told));
            }
            _ => {}
        }
        if !refused && !self.disk.is_dead() {
            self.traffic
                .path()
                .ledger
                .revoked
                .insert(((ring, number), for_good));
        }
    }

    fn set_clock(&mut self) {
        self.counts.jumps += 1;
        let span = self.rng.pick(&[10, 3600, 86_400 * 20]);
        let by = Duration::from_secs(self.rng.below(span));
        let wall = self.clock.wall();
        let to = if self.rng.one_in(2) {
            wall + by
        } else {
            wall - by
        };
        self.manual_clock.set_wall(to);
        self.oracle.clock_jumps();
        self.driver_mut().tick();
        self.driver_mut().advance();
    }

    fn change_members(&mut self) {
        let index = self.rng.index(2);
        let member = self.members.other(index);
        match self.rng.below(3) {
            0 => self.members.leave(member),
            1 => self.members.rejoin(member),
            _ => {
                let behaviours = [
                    Behaviour::Honest,
                    Behaviour::Silent,
                    Behaviour::Wrong,
                    Behaviour::Late,
                ];
                let behaviour = self.rng.pick(&behaviours);
                self.members.set_behaviour(member, behaviour);
            }
        }
        self.driver_mut().tick();
        self.driver_mut().advance();
    }

    /// A stream is consumed, or purged.
    fn consume(&mut self) {
        let mut path = self.traffic.path();
        let stored = &mut path.ledger.stored;
        let whose = self.rng.index(stored.len().max(1));
        if let Some(messages) = stored.values_mut().nth(whose) {
            let left = self.rng.index(3).min(messages.len());
            messages.truncate(left);
        }
    }

    fn ask_for_destruction(&mut self) {
        let ring = self.rng.index(self.names.len());
        let number = self.number(ring);
        self.observed.destruction_ordered.insert((ring, number));
        self.destroy(ring, number, (false, false), operator());
        if self.counts.actions.is_multiple_of(2) {
            // The bus may answer later.
            self.observed.approved.insert((ring, number));
            self.destroy(ring, number, (false, true), second_person());
        }
    }

    fn destroy(
        &mut self,
        ring: usize,
        number: u32,
        (forced, approves): (bool, bool),
        reason: Reason,
    ) {
        let keyring = self.names[ring].to_string();
        let (answer, _nobody) = oneshot::channel();
        let request = DestroyRequest { forced, approves };
        self.driver_mut()
            .destroy((&keyring, number), request, reason, answer);
        self.driver_mut().advance();
    }

    fn reload(&mut self) {
        let size = Size::any(&mut self.rng);
        let old = std::mem::take(&mut self.terms);
        self.terms = old.iter().map(|_| terms(&mut self.rng, size)).collect();
        self.note_retention();
        for ring in 0..self.names.len() {
            self.note_reserved(ring);
            // Until it is answered, the old limit or the new one is in force.
            let (old, new) = (old[ring].limit, self.terms[ring].limit);
            self.traffic.path().ledger.limits[ring] = Limit {
                messages: old.messages.max(new.messages),
                bytes: old.bytes.max(new.bytes),
            };
        }
        let config = self.config();
        let reload = Reload {
            what: "a test says so".to_owned(),
            reason: Reason::of_gateway(Trigger::Manual, "a test says so"),
        };
        let (answer, mut told) = oneshot::channel();
        self.driver_mut().reload_later(config, reload, answer);
        self.driver_mut().advance();
        while told.try_recv().is_err() {
            assert!(self.backlog.complete(0), "a reload waits for nothing");
            self.driver_mut().advance();
        }
        for ring in 0..self.names.len() {
            self.note_reserved(ring);
            self.traffic.path().ledger.limits[ring] = self.terms[ring].limit;
        }
    }

    /// What was reserved under an older limit may still be sealed.
    fn note_reserved(&self, ring: usize) {
        let record = self.driver().record(ring);
        let mut path = self.traffic.path();
        for version in record.into_iter().flat_map(|record| record.versions) {
            let cap = path.ledger.caps.entry((ring, version.number)).or_default();
            *cap = Volume {
                messages: cap.messages.max(version.reserved.messages),
                bytes: cap.bytes.max(version.reserved.bytes),
            };
        }
    }

    /// A subscriber reads a stored message, whose version may have to be loaded.
    fn open_stored(&mut self) {
        let stored = self.traffic.path().ledger.stored.clone();
        let whose = self.rng.index(stored.len().max(1));
        let Some((_id, message)) = stored
            .iter()
            .nth(whose)
            .and_then(|(id, held)| Some((id, held.first()?)))
        else {
            return;
        };
        let kid = Header::parse(&message.0).unwrap().kid;
        self.driver_mut().look_for(kid);
        self.driver_mut().advance();
        self.traffic.path().open(message).ok();
    }

    /// Looks for an unknown kid, and runs a drill.
    fn unknown_kid(&mut self) {
        let kid = Kid(self.rng.below(u64::MAX).to_be_bytes());
        self.driver_mut().look_for(kid);
        let (answer, _nobody) = oneshot::channel();
        self.driver_mut().drill(operator(), answer);
        self.driver_mut().advance();
    }
}
