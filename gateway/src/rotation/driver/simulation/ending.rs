//! Liveness at the end of a run, once faults have stopped.

use std::collections::BTreeMap;
use std::time::Duration;

use super::members::Manner;
use super::play::{End, Play, operator};
use super::world::Fate;
use crate::catalogue::State;
use crate::rotation::terms::{Consent, Retain, Terms};

impl Play<'_> {
    /// Stops all faults, and checks that everything recovers.
    pub(super) fn faults_stop(&mut self) {
        self.weather.clear();
        self.bus.be_prompt();
        while self.bus.deliver(Fate::Lost) {}
        self.hear();
        for index in 0..2 {
            let member = self.members.other(index);
            self.members.behaves(member, Manner::Honest);
        }
        self.oracle.clock_jumps();
        if self.driver().journal.closed_by().is_some() || self.dice.one_in(3) {
            let how = self.dice.pick(&[End::PowerCut, End::Killed, End::Stopped]);
            self.end(how);
        }
        self.driver_mut().tick();
        self.check_opens();
        self.goes_on();
        self.comes_round();
        self.finishes();
        self.check_opens();
        self.check();
        self.check_audit();
    }

    /// Every keyring seals, also beyond a limit, and a rotation that is ordered is made.
    fn goes_on(&mut self) {
        for _ in 0..8 {
            self.wait(Duration::from_secs(30));
            self.check();
        }
        for ring in 0..self.names.len() {
            self.assert_seals(ring);
            let before = self.active(ring);
            let keyring = self.names[ring].to_string();
            drop(self.driver_mut().rotate(&keyring, operator()));
            for _ in 0..5 {
                self.wait(Duration::from_secs(3));
            }
            assert!(
                self.active(ring) > before,
                "the rotation of keyring {ring} was not made"
            );
            let many = self.terms[ring].limit.messages.min(600);
            self.traffic.path().burst_of(0, ring, many).ok();
            self.tally.limits += 1;
            self.assert_seals(ring);
            self.check();
        }
    }

    /// A version whose cryptoperiod is over is replaced, whatever the clocks show.
    fn comes_round(&mut self) {
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
        let record = self.driver().catalogue.record(&self.names[ring]);
        let active = record.and_then(|record| record.active());
        active
            .unwrap_or_else(|| panic!("keyring {ring} has no active version: {record:?}"))
            .number
    }

    fn assert_seals(&mut self, ring: usize) {
        let mut last = None;
        for _ in 0..40 {
            self.traffic.path().settle();
            self.driver_mut().quench();
            match self.traffic.path().burst_of(0, ring, 1) {
                Ok(()) => return,
                Err(error) => last = Some(error),
            }
            self.wait(Duration::from_secs(2));
        }
        panic!(
            "keyring {ring} does not seal: {last:?}, {:?}",
            self.driver().status()
        );
    }

    /// Replaced versions are archived or destroyed, as configured.
    fn finishes(&mut self) {
        let numbers: Vec<u32> = (0..self.names.len())
            .map(|ring| self.active(ring))
            .collect();
        self.traffic.path().ledger.stored = BTreeMap::new();
        for _ in 0..8 {
            self.wait(Duration::from_hours(1));
        }
        for (ring, active) in numbers.into_iter().enumerate() {
            let record = self
                .driver()
                .catalogue
                .record(&self.names[ring])
                .cloned()
                .unwrap();
            self.tally.versions += u64::try_from(record.versions.len()).unwrap();
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
                let ring = self.driver().ring(ring);
                assert!(right, "it has not come to its end: {version:?}, {ring:?}");
            }
        }
    }
}

/// Whether versions stay archived without an order or approval.
fn stays_archived(terms: &Terms) -> bool {
    terms.retain == Retain::Archive || terms.destroy == Consent::Approved
}
