//! The event loop of the driver.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, timeout};

use crate::audit::Fact;
use crate::keyring::Miss;
use crate::rotation::message_path::stop_sealing;

use super::answer::reply;
use super::request::Request;
use super::shared::Shared;
use super::tick::{Driver, TICK};
use super::waiting::HandOver;

/// How long a process that stops waits for what is under way.
const STOP_PATIENCE: Duration = Duration::from_secs(10);

impl Driver {
    /// Serves until it is asked to stop, every handle is dropped, or another process has taken over and this one has drained.
    pub(in crate::rotation) async fn run(
        mut self,
        mut requests: mpsc::Receiver<Request>,
        mut misses: mpsc::Receiver<Miss>,
    ) -> mpsc::Receiver<Miss> {
        if let Some(hand_over) = self.serve(&mut requests, &mut misses).await {
            return Box::pin(self.drain(hand_over, requests, misses)).await;
        }
        self.context.with(Shared::check_wall_clock);
        if timeout(STOP_PATIENCE, self.rest()).await.is_err() {
            tracing::warn!(
                "what is under way for a key does not end: the next start goes on with it"
            );
        }
        // What still waits, such as for an answer of JetStream, must not begin anything any more.
        self.tasks.drop_all();
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

    /// The event loop; yields a hand-over, or that this process stops.
    async fn serve(
        &mut self,
        requests: &mut mpsc::Receiver<Request>,
        misses: &mut mpsc::Receiver<Miss>,
    ) -> Option<HandOver> {
        let refill = self.context.with(|shared| Arc::clone(&shared.refill));
        let mut watch = self.context.with(|shared| shared.drainers.watch());
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                request = requests.recv() => {
                    self.context.with(Shared::check_wall_clock);
                    match request {
                        Some(Request::Stop) => return None,
                        None => {
                            stop_sealing(&self.keys());
                            return None;
                        }
                        Some(Request::Wait(waiting)) => self.waiting.push_back(*waiting),
                        Some(Request::Ask(work)) => work(self),
                        Some(Request::Lock { .. }) => {}
                    }
                },
                Some(miss) = misses.recv() => {
                    self.misses.put(miss, misses);
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
            if let Some(hand_over) = self.go_on() {
                return Some(hand_over);
            }
        }
    }

    /// Hands over, and follows the process that has taken over until all connections have ended.
    async fn drain(
        self,
        HandOver { channel, answer }: HandOver,
        requests: mpsc::Receiver<Request>,
        misses: mpsc::Receiver<Miss>,
    ) -> mpsc::Receiver<Miss> {
        let keys = self.keys();
        self.handle_drainers();
        let drainers = self.context.with(|shared| shared.drainers.links());
        let follower = self.hand_over(channel).await;
        reply(answer, drainers);
        match follower {
            Some(follower) => follower.run(requests, misses).await,
            None => {
                stop_sealing(&keys);
                misses
            }
        }
    }

    /// Writes the exact use of all active versions, once the workers have ended and nothing is under way.
    pub(super) async fn settle_all(&mut self) {
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
