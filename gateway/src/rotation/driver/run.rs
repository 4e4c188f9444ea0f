//! The event loop of the driver.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::StreamExt as _;
use tokio::sync::{mpsc, oneshot};
use tokio::time::MissedTickBehavior;

use crate::audit::{Fact, Outcome};
use crate::catalogue::State;
use crate::disk::{self, Lock};
use crate::keyring::Miss;
use crate::rotation::drain::DrainLink;
use crate::rotation::engine::{Event, KeyringState, Order, RetentionVerdict};
use crate::rotation::external::Inspection;
use crate::rotation::reason::{DestroyBasis, Reason};
use crate::rotation::report::{Exposure, KeyringStatus, Overview, Rehearsal, RetentionReasons};
use crate::rotation::stop_sealing;
use crate::rotation::{DestroyRequest, OrderError, Reload, Rotated, RotationConfig};

use super::Driver;
use super::perform::{DestroyOrder, InspectionPurpose, InspectionResult, verdict};
use super::refusals::AuditedOrder;

/// The interval of [`Driver::tick`].
pub(super) const TICK: Duration = Duration::from_millis(200);

/// A rotation that is held back for longer than this is logged.
const PACE_WARNING: Duration = Duration::from_secs(1);

/// Appended to the error of a failed rotation whose successor could not be marked as withdrawn.
const NOT_WITHDRAWN: &str =
    "; what it has made could not be discarded, and a restart before it can be goes on with it";

type Answer<T> = oneshot::Sender<T>;

/// A caller of a rotation.
pub(super) struct PendingRotation {
    /// The index of the keyring, and the version that was active before.
    asked: (usize, Option<u32>),
    answer: Answer<Result<Rotated, OrderError>>,
}

/// The channels of a process that begins to drain.
pub(in crate::rotation) struct DrainChannel {
    /// Its link to the writer of the catalogue.
    pub(in crate::rotation) link: DrainLink,
    /// Completed when its clients are to be disconnected at once.
    pub(in crate::rotation) moved: oneshot::Sender<()>,
}

pub(in crate::rotation) enum Request {
    Rotate {
        keyring: String,
        reason: Reason,
        answer: Answer<Result<Rotated, OrderError>>,
    },
    Order {
        keyring: String,
        order: Order,
        reason: Reason,
        answer: Answer<Result<KeyringStatus, OrderError>>,
    },
    /// Destroy a version, request that, or approve of it.
    Destroy {
        keyring: String,
        number: u32,
        request: DestroyRequest,
        reason: Reason,
        answer: Answer<Result<KeyringStatus, OrderError>>,
    },
    Overview {
        answer: Answer<Overview>,
    },
    Why {
        keyring: String,
        number: u32,
        answer: Answer<Result<RetentionReasons, OrderError>>,
    },
    Exposure {
        keyring: String,
        number: u32,
        answer: Answer<Result<Exposure, OrderError>>,
    },
    Drill {
        reason: Reason,
        answer: Answer<Vec<Rehearsal>>,
    },
    Tail {
        count: usize,
        answer: Answer<Result<Vec<String>, OrderError>>,
    },
    /// Record an order that the admin interface has refused.
    Refused {
        wanted: AuditedOrder,
        why: String,
        answer: Answer<()>,
    },
    Reload {
        config: RotationConfig,
        reload: Reload,
        answer: Answer<Result<(), OrderError>>,
    },
    /// Close the catalogue and the audit log. The answer comes when that is done: links to processes that drain already.
    HandOver {
        channel: DrainChannel,
        answer: Answer<Vec<DrainLink>>,
    },
    /// The lock of the state directory, where this process drained and the one that took over has ended.
    Lock {
        answer: Answer<Result<Lock, disk::Error>>,
    },
    Stop,
}

impl Driver {
    /// Serves until it is asked to stop, or every handle is dropped.
    pub(in crate::rotation) async fn run(
        mut self,
        mut requests: mpsc::Receiver<Request>,
        mut misses: mpsc::Receiver<Miss>,
    ) -> mpsc::Receiver<Miss> {
        let refill = std::sync::Arc::clone(&self.refill);
        self.drainers.watch();
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                request = requests.recv() => match request {
                    Some(Request::Stop) => break,
                    None => {
                        stop_sealing(&self.keys);
                        break;
                    }
                    Some(Request::HandOver { channel, answer }) => {
                        self.check_wall_clock();
                        self.handle_drainers();
                        let drainers = self.drainers.links();
                        let follower = self.hand_over(channel, refill);
                        reply(answer, drainers);
                        return Box::pin(follower.run(requests, misses)).await;
                    }
                    Some(request) => {
                        self.check_wall_clock();
                        self.serve(request);
                    }
                },
                Some(miss) = misses.recv() => {
                    self.misses.put(miss, &mut misses);
                    self.serve_misses();
                }
                () = refill.notified() => self.refill(),
                () = self.drainers.ready() => self.handle_drainers(),
                Some(told) = self.inspections.next(), if !self.inspections.is_empty() => self.inspected(told),
                _now = ticks.tick() => {
                    self.tick();
                    self.serve_misses();
                }
            }
        }
        self.check_wall_clock();
        self.settle_all();
        self.audit_records_left();
        self.audit_fact(Fact::GatewayStopped);
        // Last: it says how far the audit log has come.
        self.keep_time();
        misses
    }

    /// Lanes want more of a budget: reserves it. The use of the version may make a successor due, too.
    pub(super) fn refill(&mut self) {
        for index in 0..self.keyrings.len() {
            self.reserve(index);
            if let Some(usage) = self.usage(index) {
                self.feed(index, usage);
            }
        }
    }

    pub(super) fn serve(&mut self, request: Request) {
        match request {
            Request::Rotate {
                keyring,
                reason,
                answer,
            } => match self.rotate(&keyring, reason) {
                Ok(asked) => self.answer_rotation(PendingRotation { asked, answer }),
                Err(error) => reply(answer, Err(error)),
            },
            Request::Order {
                keyring,
                order,
                reason,
                answer,
            } => reply(answer, self.order(&keyring, order, reason)),
            Request::Destroy {
                keyring,
                number,
                request,
                reason,
                answer,
            } => self.destroy(&keyring, number, (DestroyOrder { request, reason }, answer)),
            Request::Overview { answer } => reply(answer, self.overview()),
            Request::Why {
                keyring,
                number,
                answer,
            } => self.why(&keyring, number, answer),
            Request::Exposure {
                keyring,
                number,
                answer,
            } => reply(answer, self.exposure(&keyring, number)),
            Request::Drill { reason, answer } => reply(answer, self.drill(&reason)),
            Request::Tail { count, answer } => reply(answer, self.tail(count)),
            Request::Refused {
                wanted,
                why,
                answer,
            } => {
                self.conclude(wanted, &Outcome::Refused(why.into()));
                reply(answer, ());
            }
            Request::Reload {
                config,
                reload,
                answer,
            } => reply(answer, self.reload(config, reload)),
            Request::HandOver { .. } | Request::Lock { .. } | Request::Stop => {}
        }
    }
}

impl Driver {
    /// Answers the caller of a rotation, later if only time is missing: the engine notices that at a tick.
    pub(super) fn answer_rotation(&mut self, caller: PendingRotation) {
        self.answer_rotations(vec![caller]);
    }

    /// A rotation that is answered with a failure must not happen later: it is withdrawn. Where its successor can neither be
    /// discarded nor be marked for the next start, the answer says so.
    fn answer_rotations(&mut self, callers: Vec<PendingRotation>) {
        let mut failed = BTreeSet::new();
        let mut answers = Vec::new();
        for caller in callers {
            let engine = self.engine(caller.asked.0).map(|(_keyring, engine)| engine);
            if engine.is_some_and(KeyringState::waits_for_time) {
                self.pending_rotations.push(caller);
                continue;
            }
            let rotated = self.rotated(caller.asked);
            if let Err(OrderError::Failed(_)) = rotated {
                failed.insert(caller.asked.0);
            }
            answers.push((caller, rotated));
        }
        let withdrawn = failed.into_iter().filter(|index| !self.withdraw(*index));
        let forgotten: BTreeSet<usize> = withdrawn.collect();
        for (caller, mut rotated) in answers {
            if let Err(OrderError::Failed(failure)) = &mut rotated
                && forgotten.contains(&caller.asked.0)
            {
                failure.text.push_str(NOT_WITHDRAWN);
            }
            reply(caller.answer, rotated);
        }
    }

    /// Withdraws a failed rotation; yields whether the next start knows that, too.
    fn withdraw(&mut self, index: usize) -> bool {
        self.feed(index, Event::Withdrawn(Order::Rotate));
        self.mark_withdrawn(index)
    }

    /// Answers callers whose rotation was held back.
    pub(super) fn answer_pending_rotations(&mut self) {
        let callers = std::mem::take(&mut self.pending_rotations);
        self.answer_rotations(callers);
        let longest = (0..self.keyrings.len()).filter_map(|index| self.held_back(index));
        if longest.max().is_some_and(|wait| wait > PACE_WARNING)
            && let Some(left_out) = self.pace_warning.admit(self.clock.instant())
        {
            tracing::warn!(
                left_out,
                "key versions reach their thresholds so fast that the next has to wait; raise `rotate` and `limit`"
            );
        }
    }

    /// Destroys a version, or requests or approves that: by force at once, otherwise once JetStream holds nothing that needs it.
    fn destroy(
        &mut self,
        keyring: &str,
        number: u32,
        (wanted, answer): (DestroyOrder, Answer<Result<KeyringStatus, OrderError>>),
    ) {
        let may = self.index(keyring).and_then(|index| {
            let order = self.order_for((index, number), &wanted)?;
            let asked = !wanted.request.approves || self.is_forced((index, number));
            let forced = wanted.request.forced && asked;
            if !forced {
                self.may_destroy(index, order)?;
            }
            Ok((index, order, forced))
        });
        let order_of = ordered((keyring, number), &wanted);
        match may {
            Ok((index, order, true)) => {
                let done = self.give_destroy_order((index, order), wanted, DestroyBasis::Forced);
                reply(answer, self.answered(order_of, done));
            }
            Ok((index, _order, false)) => {
                self.inspect_for((index, number), InspectionPurpose::Destroy(wanted, answer));
            }
            Err(error) => reply(answer, self.answered(order_of, Err(error))),
        }
    }

    /// Why a version is kept; asks JetStream where that matters.
    fn why(
        &mut self,
        keyring: &str,
        number: u32,
        answer: Answer<Result<RetentionReasons, OrderError>>,
    ) {
        let index = self.index(keyring);
        let kept = index.and_then(|index| Ok((index, self.kept(index, number)?)));
        match kept {
            Ok((index, kept)) if matches!(kept.state, State::DecryptOnly | State::Archived) => {
                self.inspect_for((index, number), InspectionPurpose::Why(answer));
            }
            other => reply(answer, other.map(|(_index, kept)| kept)),
        }
    }

    fn inspect_for(&mut self, (index, number): (usize, u32), purpose: InspectionPurpose) {
        match self.inquire(index, number) {
            Some(Inspection::Later(stored)) => self.await_answer((index, number), purpose, stored),
            Some(Inspection::Answered(stored)) => self.inspected(InspectionResult {
                index,
                number,
                stored,
                purpose,
            }),
            None => tracing::debug!("whoever asked about a version that is gone gets no answer"),
        }
    }

    pub(super) fn inspected(&mut self, told: InspectionResult) {
        let InspectionResult {
            index,
            number,
            stored,
            purpose,
        } = told;
        match purpose {
            InspectionPurpose::Engine => {
                self.feed(index, Event::Inspected(number, verdict(&stored)))
            }
            InspectionPurpose::Destroy(wanted, answer) => {
                let keyring = self
                    .keyrings
                    .get(index)
                    .map(|managed| managed.keyring.to_string());
                let keyring = keyring.unwrap_or_default();
                let order_of = ordered((&keyring, number), &wanted);
                let done = self.destroy_if((index, number), wanted, &stored);
                reply(answer, self.answered(order_of, done));
            }
            InspectionPurpose::Why(answer) => {
                let kept = self.kept(index, number).map(|mut kept| {
                    kept.reasons.extend(match verdict(&stored) {
                        RetentionVerdict::Held(evidence) => Some(evidence),
                        RetentionVerdict::Clear(_) => None,
                    });
                    kept
                });
                reply(answer, kept);
            }
        }
    }
}

/// The audit entry of a destruction that may be refused.
fn ordered((keyring, number): (&str, u32), wanted: &DestroyOrder) -> AuditedOrder {
    let order = if wanted.request.approves {
        Order::Approve(number)
    } else {
        Order::Destroy(number)
    };
    AuditedOrder::of(keyring, order, wanted.reason.clone())
}

pub(super) fn reply<T>(answer: Answer<T>, value: T) {
    if answer.send(value).is_err() {
        tracing::debug!("whoever asked has gone");
    }
}
