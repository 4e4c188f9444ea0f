//! The event loop of the driver.

use std::sync::Arc;

use futures_util::StreamExt as _;
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;

use crate::audit::Fact;
use crate::keyring::Miss;
use crate::rotation::message_path::stop_sealing;

use super::answer::reply;
use super::request::Request;
use super::tick::{Driver, TICK};

impl Driver {
    /// Serves until it is asked to stop, or every handle is dropped.
    pub(in crate::rotation) async fn run(
        mut self,
        mut requests: mpsc::Receiver<Request>,
        mut misses: mpsc::Receiver<Miss>,
    ) -> mpsc::Receiver<Miss> {
        let refill = Arc::clone(&self.shared.refill);
        self.shared.drainers.watch();
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                request = requests.recv() => match request {
                    Some(Request::Stop) => break,
                    None => {
                        stop_sealing(&self.shared.keys);
                        break;
                    }
                    Some(Request::HandOver { channel, answer }) => {
                        self.shared.check_wall_clock();
                        self.handle_drainers();
                        let drainers = self.shared.drainers.links();
                        let follower = self.hand_over(channel, refill);
                        reply(answer, drainers);
                        return Box::pin(follower.run(requests, misses)).await;
                    }
                    Some(Request::Ask(work)) => {
                        self.shared.check_wall_clock();
                        work(&mut self);
                    }
                    Some(Request::Lock { .. }) => self.shared.check_wall_clock(),
                },
                Some(miss) = misses.recv() => {
                    self.misses.put(miss, &mut misses);
                    self.serve_misses();
                }
                () = refill.notified() => self.refill(),
                () = self.shared.drainers.ready() => self.handle_drainers(),
                Some(told) = self.shared.inspections.next(), if !self.shared.inspections.is_empty() => self.inspected(told),
                _now = ticks.tick() => {
                    self.tick();
                    self.serve_misses();
                }
            }
        }
        self.shared.check_wall_clock();
        self.settle_all();
        self.shared.audit_records_left();
        self.shared.audit_fact(Fact::GatewayStopped);
        // Last: it says how far the audit log has come.
        self.shared.keep_time();
        misses
    }

    /// Writes the exact use of all active versions, once the workers have ended.
    pub(super) fn settle_all(&mut self) {
        self.shared.keep_time();
        for keyring in &self.keyrings {
            keyring.settle_active(&mut self.shared);
        }
    }
}
