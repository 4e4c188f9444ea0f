//! The event loop of the driver.

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;

use crate::audit::Fact;
use crate::keyring::Miss;
use crate::rotation::message_path::stop_sealing;

use super::answer::reply;
use super::request::Request;
use super::shared::Shared;
use super::tick::{Driver, TICK};

impl Driver {
    /// Serves until it is asked to stop, or every handle is dropped.
    pub(in crate::rotation) async fn run(
        mut self,
        mut requests: mpsc::Receiver<Request>,
        mut misses: mpsc::Receiver<Miss>,
    ) -> mpsc::Receiver<Miss> {
        let refill = self.context.with(|shared| Arc::clone(&shared.refill));
        let mut watch = self.context.with(|shared| shared.drainers.watch());
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                request = requests.recv() => match request {
                    Some(Request::Stop) => break,
                    None => {
                        stop_sealing(&self.keys());
                        break;
                    }
                    Some(Request::Wait(waiting)) => {
                        self.context.with(Shared::check_wall_clock);
                        self.waiting.push_back(waiting);
                    }
                    Some(Request::Ask(work)) => {
                        self.context.with(Shared::check_wall_clock);
                        work(&mut self);
                    }
                    Some(Request::Lock { .. }) => self.context.with(Shared::check_wall_clock),
                },
                Some(miss) = misses.recv() => {
                    self.misses.put(miss, &mut misses);
                    self.serve_misses();
                }
                () = refill.notified() => self.refill(),
                () = watch.ready() => {
                    self.handle_drainers();
                    self.context.with(|shared| watch.retain(&shared.drainers));
                }
                () = self.tasks.some_ended() => self.follow_up(),
                _now = ticks.tick() => {
                    self.tick();
                    self.serve_misses();
                }
            }
            if let Some((channel, answer)) = self.go_on() {
                self.handle_drainers();
                let drainers = self.context.with(|shared| shared.drainers.links());
                let Some(follower) = self.hand_over(channel, refill).await else {
                    return misses;
                };
                reply(answer, drainers);
                return Box::pin(follower.run(requests, misses)).await;
            }
        }
        self.context.with(Shared::check_wall_clock);
        self.settle_all().await;
        self.context.with(|shared| {
            shared.audit_records_left();
            shared.audit_fact(Fact::GatewayStopped);
        });
        // Last: it says how far the audit log has come.
        let context = self.context.clone();
        self.tasks.until(context.keep_time()).await;
        misses
    }

    /// Writes the exact use of all active versions, once the workers have ended and what had begun is done.
    pub(super) async fn settle_all(&mut self) {
        self.rest().await;
        let Self {
            keyrings,
            tasks,
            context,
            ..
        } = self;
        tasks
            .until(async {
                context.keep_time().await;
                for keyring in keyrings {
                    keyring.settle_active().await;
                }
            })
            .await;
    }
}
