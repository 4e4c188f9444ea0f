//! Liveness at the end of a run, once faults have stopped.

use std::collections::BTreeMap;
use std::time::Duration;

use super::environment::AnswerDelivery;
use super::members::Behaviour;
use super::simulated_run::{End, SimulatedRun, operator};
use crate::catalogue::State;
use crate::rotation::terms::{DestroyApproval, Retain, Terms};

impl SimulatedRun<'_> {
    /// Stops all faults, and checks that everything recovers.
    pub(super) fn check_liveness(&mut self) {
        self.faults.clear();
        self.bus.answer_at_once();
        while self.bus.deliver(AnswerDelivery::Lost) {}
        self.backlog.set_delays(None);
        self.complete_all_work();
        for index in 0..2 {
            let member = self.members.other(index);
            self.members.set_behaviour(member, Behaviour::Honest);
        }
        self.oracle.clock_jumps();
        if self
            .driver()
            .shared(|shared| shared.journal.closed_by().is_some())
            || self.rng.one_in(3)
        {
            let how = self.rng.pick(&[End::PowerCut, End::Killed, End::Stopped]);
            self.end(how);
        }
        self.driver_mut().tick();
        self.driver_mut().advance();
        self.check_opens();
        self.check_sealing_and_rotation();
        self.check_rotation_by_time();
        self.check_retirement();
        self.check_opens();
        self.check();
        self.check_audit();
    }

    /// Every keyring seals, also beyond a limit, and a rotation that is ordered is made.
    fn check_sealing_and_rotation(&mut self) {
        for _ in 0..8 {
            self.wait(Duration::from_secs(30));
            self.check();
        }
        for ring in 0..self.names.len() {
            self.assert_seals(ring);
            let before = self.active(ring);
            let keyring = self.names[ring].to_string();
            self.driver_mut().begin_rotation(&keyring, operator());
            for _ in 0..5 {
                self.wait(Duration::from_secs(3));
            }
            assert!(
                self.active(ring) > before,
                "the rotation of keyring {ring} was not made"
            );
            let many = self.terms[ring].limit.messages.min(600);
            self.traffic.path().burst_of(0, ring, many).ok();
            self.counts.limits += 1;
            self.assert_seals(ring);
            self.check();
        }
    }

    /// A version whose cryptoperiod is over is replaced, whatever the clocks show.
    fn check_rotation_by_time(&mut self) {
        let before: Vec<u32> = (0..self.names.len())
            .map(|ring| self.active(ring))
            .collect();
        let terms = self.terms.iter().map(|terms| terms.rotate.after);
        let longest = terms.max().unwrap();
        for part in [longest, Duration::from_secs(60), Duration::from_secs(60)] {
            self.wait(part);
            self.check();
        }
        for (ring, before) in before.into_iter().enumerate() {
            assert!(
                self.active(ring) > before,
                "keyring {ring} does not rotate by time"
            );
        }
    }

    fn active(&self, ring: usize) -> u32 {
        let record = self.driver().record(ring);
        let active = record.as_ref().and_then(|record| record.active());
        active
            .unwrap_or_else(|| panic!("keyring {ring} has no active version: {record:?}"))
            .number
    }

    fn assert_seals(&mut self, ring: usize) {
        let mut last = None;
        for _ in 0..40 {
            self.traffic.path().finish_batches();
            self.driver_mut().refill();
            self.driver_mut().advance();
            match self.traffic.path().burst_of(0, ring, 1) {
                Ok(()) => return,
                Err(error) => last = Some(error),
            }
            self.wait(Duration::from_secs(2));
        }
        panic!(
            "keyring {ring} does not seal: {last:?}, {:?}",
            self.driver().overview().keyrings
        );
    }

    /// Replaced versions are archived or destroyed, as configured.
    fn check_retirement(&mut self) {
        let numbers: Vec<u32> = (0..self.names.len())
            .map(|ring| self.active(ring))
            .collect();
        self.traffic.path().ledger.stored = BTreeMap::new();
        for _ in 0..8 {
            self.wait(Duration::from_hours(1));
        }
        for (ring, active) in numbers.into_iter().enumerate() {
            let record = self.driver().record(ring).unwrap();
            self.counts.versions += u64::try_from(record.versions.len()).unwrap();
            for version in record
                .versions
                .iter()
                .filter(|version| version.number < active)
            {
                let right = match version.state {
                    State::Destroyed | State::Compromised | State::Suspended => true,
                    State::Archived => stays_archived(&self.terms[ring]),
                    State::PreActive | State::Ready | State::Active | State::DecryptOnly => false,
                };
                let engine = self
                    .driver()
                    .keyring(ring, |keyring, _shared| keyring.engine.clone());
                assert!(right, "it has not come to its end: {version:?}, {engine:?}");
            }
        }
    }
}

/// Whether versions stay archived without an order or approval.
fn stays_archived(terms: &Terms) -> bool {
    terms.retain == Retain::Archive || terms.destroy == DestroyApproval::Approved
}
