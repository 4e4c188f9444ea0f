//! The random actions of a run: of traffic, operators, clocks, members and the bus.

use std::time::Duration;

use tokio::sync::oneshot;

use super::members::Manner;
use super::play::{End, Play, Size, operator, second, terms};
use crate::audit::Trigger;
use crate::envelope::{Header, Kid, Used};
use crate::policy::KeyringName;
use crate::rotation::driver::Request;
use crate::rotation::engine::Order;
use crate::rotation::{Because, OrderError, Reload, Wish};

impl Play<'_> {
    pub(super) fn act(&mut self) {
        self.tally.actions += 1;
        match self.dice.below(28) {
            0..=5 => self.pass(),
            6..=12 => self.burst(),
            13..=18 => self.order(),
            19 => self.jump(),
            20 | 21 => self.crew(),
            22 => self.consume(),
            23 => self.ask_for_destruction(),
            24 => self.reload(),
            25 => self.read(),
            26 => self.stranger(),
            _ => {
                let end = self.dice.pick(&[End::PowerCut, End::Killed, End::Stopped]);
                self.end(end);
            }
        }
    }

    fn pass(&mut self) {
        let millis = match self.dice.below(8) {
            0..=2 => self.dice.between(1, 1000),
            3..=5 => self.dice.between(1000, 20_000),
            6 => self.dice.between(20_000, 400_000),
            _ => self.dice.between(400_000, 40_000_000),
        };
        self.wait(Duration::from_millis(millis));
    }

    fn burst(&mut self) {
        for _ in 0..self.dice.between(1, 4) {
            let large = self.terms[0].limit.messages > 1000;
            let count = self.dice.between(1, if large { 4000 } else { 80 });
            self.traffic.path().burst(count).ok();
            self.driver_mut().quench();
        }
    }

    /// The number of one of the last versions, or the next.
    fn number(&mut self, ring: usize) -> u32 {
        let record = self.driver().catalogue.record(&self.names[ring]);
        let count = record.map_or(0, |record| record.versions.len());
        let back = self.dice.index(4).min(count);
        u32::try_from(count - back).unwrap() + u32::from(self.dice.one_in(8))
    }

    fn order(&mut self) {
        let ring = self.dice.index(self.names.len());
        let number = self.number(ring);
        let keyring = self.names[ring].to_string();
        match self.dice.below(9) {
            0..=3 => {
                let (answer, _nobody) = oneshot::channel();
                self.driver_mut().serve(Request::Rotate {
                    keyring,
                    because: operator(),
                    answer,
                });
            }
            4 => self.revoke(ring, Order::Compromise(number)),
            5 => self.revoke(ring, Order::Suspend(number)),
            6 => {
                self.traffic
                    .path()
                    .ledger
                    .barred
                    .remove(&((ring, number), false));
                self.traffic.path().settle();
                drop(
                    self.driver_mut()
                        .order(&keyring, Order::Restore(number), operator()),
                );
            }
            7 => {
                let order = self.dice.pick(&[Order::Abort, Order::Archive(number)]);
                if order != Order::Abort {
                    self.known.hastened.insert((ring, number));
                }
                drop(self.driver_mut().order(&keyring, order, operator()));
            }
            _ => {
                self.known.forced.insert((ring, number));
                self.known.wanted.insert((ring, number));
                self.destroy(ring, number, (true, false), operator());
                // The proposer approves, which does not count; or somebody else does.
                match self.tally.actions % 3 {
                    0 => self.destroy(ring, number, (true, true), operator()),
                    1 => {
                        self.known.approved.insert((ring, number));
                        self.destroy(ring, number, (true, true), second());
                    }
                    _ => {}
                }
            }
        }
    }

    /// From the order on nothing is sealed under the version, whatever else fails; and a confirmed revocation stays.
    fn revoke(&mut self, ring: usize, order: Order) {
        let keyring = self.names[ring].to_string();
        let done = self.driver_mut().order(&keyring, order, operator());
        let Some(number) = order.number() else { return };
        self.traffic.path().settle();
        if !matches!(done, Err(OrderError::Refused(_))) && !self.disk.is_dead() {
            let for_good = matches!(order, Order::Compromise(_));
            self.traffic
                .path()
                .ledger
                .barred
                .insert(((ring, number), for_good));
        }
        if let (Order::Compromise(_), Ok(_), false) = (order, done, self.disk.is_dead()) {
            self.known.compromised.insert((ring, number));
        }
    }

    fn jump(&mut self) {
        self.tally.jumps += 1;
        let span = self.dice.pick(&[10, 3600, 86_400 * 20]);
        let by = Duration::from_secs(self.dice.below(span));
        let wall = self.clock.wall();
        let to = if self.dice.one_in(2) {
            wall + by
        } else {
            wall - by
        };
        self.winder.set_wall(to);
        self.oracle.clock_jumps();
        self.driver_mut().tick();
    }

    fn crew(&mut self) {
        let index = self.dice.index(2);
        let member = self.members.other(index);
        match self.dice.below(3) {
            0 => self.members.leaves(member),
            1 => self.members.returns(member),
            _ => {
                let manners = [Manner::Honest, Manner::Silent, Manner::Wrong, Manner::Late];
                let manner = self.dice.pick(&manners);
                self.members.behaves(member, manner);
            }
        }
        self.driver_mut().tick();
    }

    /// A stream is consumed, or purged.
    fn consume(&mut self) {
        let mut path = self.traffic.path();
        let stored = &mut path.ledger.stored;
        let whose = self.dice.index(stored.len().max(1));
        if let Some(messages) = stored.values_mut().nth(whose) {
            let left = self.dice.index(3).min(messages.len());
            messages.truncate(left);
        }
    }

    fn ask_for_destruction(&mut self) {
        let ring = self.dice.index(self.names.len());
        let number = self.number(ring);
        self.known.wanted.insert((ring, number));
        self.destroy(ring, number, (false, false), operator());
        if self.tally.actions.is_multiple_of(2) {
            // The bus may answer later.
            self.known.approved.insert((ring, number));
            self.destroy(ring, number, (false, true), second());
        }
    }

    fn destroy(
        &mut self,
        ring: usize,
        number: u32,
        (forced, approves): (bool, bool),
        because: Because,
    ) {
        let keyring = self.names[ring].to_string();
        let (answer, _nobody) = oneshot::channel();
        self.driver_mut().serve(Request::Destroy {
            keyring,
            number,
            wish: Wish { forced, approves },
            because,
            answer,
        });
    }

    fn reload(&mut self) {
        let size = Size::any(&mut self.dice);
        let old = std::mem::take(&mut self.terms);
        self.terms = old.iter().map(|_| terms(&mut self.dice, size)).collect();
        self.note_retention();
        let names = self.names.clone();
        for (ring, name) in names.iter().enumerate() {
            self.note_reserved(ring, name);
            self.traffic.path().ledger.limits[ring] = self.terms[ring].limit;
        }
        let config = self.config();
        let reload = Reload {
            what: "a test says so".to_owned(),
            because: Because::of_gateway(Trigger::Manual, "a test says so"),
        };
        drop(self.driver_mut().reload(config, reload));
    }

    /// What was reserved under an older limit may still be sealed.
    fn note_reserved(&self, ring: usize, name: &KeyringName) {
        let record = self.driver().catalogue.record(name);
        let mut path = self.traffic.path();
        for version in record.into_iter().flat_map(|record| &record.versions) {
            let cap = path.ledger.caps.entry((ring, version.number)).or_default();
            *cap = Used {
                messages: cap.messages.max(version.reserved.messages),
                bytes: cap.bytes.max(version.reserved.bytes),
            };
        }
    }

    /// A subscriber reads a stored message, whose version may have to be loaded.
    fn read(&mut self) {
        let stored = self.traffic.path().ledger.stored.clone();
        let whose = self.dice.index(stored.len().max(1));
        let Some((_id, message)) = stored
            .iter()
            .nth(whose)
            .and_then(|(id, held)| Some((id, held.first()?)))
        else {
            return;
        };
        let kid = Header::parse(&message.0).unwrap().kid;
        self.driver_mut().look_for(kid);
        self.traffic.path().open(message).ok();
    }

    /// Looks for an unknown kid, and runs a drill.
    fn stranger(&mut self) {
        let kid = Kid(self.dice.below(u64::MAX).to_be_bytes());
        self.driver_mut().look_for(kid);
        self.driver_mut().drill(&operator());
    }
}
