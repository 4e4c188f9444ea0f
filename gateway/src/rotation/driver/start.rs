//! The start of the driver, from the catalogue, and the terms in force.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::{Notify, mpsc};

use crate::audit::{Fact, Settings, Trigger};
use crate::catalogue::Mark;
use crate::clock::{Clock, StepDetector};
use crate::envelope::Kid;
use crate::fault::Faulty;
use crate::keyring::{Keys, Miss};
use crate::metrics::{RotationMetrics, Throttle};
use crate::policy::{KeyringName, Policy};
use crate::rotation::config::{ProcessKind, RotationConfig, Stores};
use crate::rotation::drain::{self, DrainMessage};
use crate::rotation::engine::{Event, Order, OrderRequest};
use crate::rotation::error::StartError;
use crate::rotation::message_path::{MessagePath, stop_sealing};
use crate::rotation::reason::Reason;
use crate::rotation::terms::Terms;

use super::context::Context;
use super::drainers::Drainers;
use super::journal::Journal;
use super::keyring::{Actor, ManagedKeyring};
use super::loaded::Loaded;
use super::misses::{Misses, Reading};
use super::shared::Shared;
use super::tasks::Tasks;
use super::tick::Driver;

/// What a driver works with.
pub(in crate::rotation) struct Parts {
    pub(in crate::rotation) stores: Stores,
    pub(in crate::rotation) clock: Clock,
    /// The message path of a process that takes back what it had handed over.
    pub(in crate::rotation) held: Option<MessagePath>,
}

impl Driver {
    /// Starts from the catalogue: every keyring gets an active version, and what opens is loaded.
    pub(in crate::rotation) async fn start(
        config: RotationConfig,
        parts: Parts,
    ) -> Result<(Self, mpsc::Receiver<Miss>), StartError> {
        let began = match &parts.held {
            Some(_) => Fact::GatewayTookBack,
            None => Fact::GatewayStarted {
                version: env!("CARGO_PKG_VERSION").into(),
                policy: Some(config.settings.in_force()),
            },
        };
        let terms = config.terms;
        let (shared, misses) = Shared::new(config.policy, config.settings, (config.workers, parts));
        let tasks = Tasks::default();
        let mut driver = Self {
            keyrings: Vec::new(),
            context: Context::new(shared, tasks.spawner()),
            tasks,
            misses: Misses::default(),
            reread: None,
            waiting: VecDeque::new(),
            pace_warning: Throttle::new(),
        };
        driver.context.with(|shared| {
            let before = shared.keys.load().generation();
            shared.loaded.continue_generation(before);
        });
        match driver.begin_with(began, terms).await {
            Ok(()) => Ok((driver, misses)),
            Err(error) => {
                stop_sealing(&driver.keys());
                Err(error)
            }
        }
    }

    async fn begin_with(&mut self, began: Fact, terms: Vec<Terms>) -> Result<(), StartError> {
        let context = self.context.clone();
        self.tasks.until(context.start_clock()).await;
        let lost = context.with(Shared::recover);
        let weaker = context.with(|shared| {
            let weaker = shared.audit_weaker_start(&began)?;
            shared.audit_fact(began);
            shared.broadcast_policy();
            Ok::<_, StartError>(weaker)
        })?;
        self.set_terms(terms);
        self.tasks.until(context.load_all()).await?;
        context.with(Shared::install);
        self.resume_rotations(lost);
        self.tick();
        self.rest().await;
        self.check_active()?;
        context.with(|shared| {
            shared.install();
            shared.finish_weaker(weaker);
        });
        Ok(())
    }

    /// Whether nothing is under way for any keyring.
    pub(super) fn is_at_rest(&self) -> bool {
        !self.keyrings.iter().any(Actor::is_in_use)
    }

    /// Waits until nothing is under way for any keyring.
    pub(super) async fn rest(&mut self) {
        let Self {
            keyrings, tasks, ..
        } = self;
        tasks
            .until(async {
                while let Some(busy) = keyrings.iter().find(|keyring| keyring.is_in_use()) {
                    busy.quiet().await;
                }
            })
            .await;
    }

    /// Goes on with rotations of which an earlier process has left no more than the intent.
    fn resume_rotations(&self, lost: Vec<(Option<Kid>, (String, Reason))>) {
        self.resume_marked_orders();
        for (_kid, (keyring, reason)) in lost {
            if let Ok(keyring) = self.find(&keyring) {
                let order = Order::Rotate;
                keyring.feed(Event::Ordered(OrderRequest { order, reason }));
            }
        }
    }

    /// Goes on with the marked orders.
    fn resume_marked_orders(&self) {
        for (mark, kid) in self.context.with(|shared| shared.marks.clone()) {
            let found = self.context.with(|shared| {
                let (name, version) = shared.view.find_by_kid(kid)?;
                Some((name.clone(), version.number))
            });
            let Some((name, number)) = found else {
                continue;
            };
            let Ok(keyring) = self.find(name.as_str()) else {
                continue;
            };
            keyring.feed(match mark {
                Mark::Revoked => asked(Order::Compromise(number), Trigger::Compromise),
                Mark::Suspended => asked(Order::Suspend(number), Trigger::Manual),
                Mark::Withdrawn => Event::LeftOver(number),
            });
        }
        self.drop_marks();
    }

    /// The keys that the message path loads.
    pub(in crate::rotation) fn keys(&self) -> Arc<Keys> {
        self.context.with(|shared| Arc::clone(&shared.keys))
    }

    /// Applies terms, in the order of the policy's keyrings; new keyrings get an engine.
    pub(super) fn set_terms(&mut self, terms: Vec<Terms>) {
        let of = self.context.with(|shared| shared.configure_loaded(terms));
        let mut new = of.into_iter();
        for (keyring, (_name, terms)) in self.keyrings.iter().zip(&mut new) {
            // First, while nothing is under way: what is reserved beyond the limit must not be used.
            keyring.with(|keyring, shared| {
                keyring.engine.set_terms(terms.clone());
                keyring.cap(shared);
            });
            keyring.feed(Event::Terms(terms));
        }
        for (name, terms) in new {
            let made = self
                .context
                .with(|shared| ManagedKeyring::new(name, terms, shared));
            self.keyrings.push(Actor::new(made, self.context.clone()));
        }
    }

    /// A gateway that can seal nothing at all does not start. One keyring that cannot seal keeps no other from being served, and
    /// nobody from giving orders on the state directory.
    fn check_active(&self) -> Result<(), StartError> {
        let idle = self.keyrings.iter().filter_map(|keyring| {
            keyring.with(|keyring, _shared| match keyring.engine.active() {
                Some(_active) => None,
                None => Some((keyring.name.clone(), keyring.engine.failure().cloned())),
            })
        });
        let idle: Vec<_> = idle.collect();
        for (keyring, failure) in &idle {
            let error = failure.as_ref().map(Faulty::with_help);
            tracing::error!(%keyring, error, "the keyring has no active key version; tried again");
        }
        let all = idle.len() == self.keyrings.len();
        let is_gateway = self
            .context
            .with(|shared| shared.user == ProcessKind::Gateway);
        match idle.into_iter().next() {
            Some((keyring, Some(source))) if all && is_gateway => {
                Err(StartError::NoActiveVersion { keyring, source })
            }
            _ => Ok(()),
        }
    }
}

impl Shared {
    fn new(
        policy: Arc<Policy>,
        settings: Settings,
        (workers, parts): (usize, Parts),
    ) -> (Self, mpsc::Receiver<Miss>) {
        let Parts {
            stores,
            clock,
            held,
        } = parts;
        let refill = Arc::new(Notify::new());
        let policy_digest = drain::digest_of(&settings);
        let MessagePath { keys, misses } = held.unwrap_or_else(|| MessagePath::new(&policy));
        let shared = Self {
            loaded: Loaded::new(Arc::clone(&policy), workers, Arc::clone(&refill)),
            policy,
            settings,
            view: stores.view,
            records: stores.records.into(),
            journal: Journal::new(stores.audit),
            keys,
            refill,
            inspector: stores.inspector,
            fleet: stores.fleet,
            drainers: Drainers::new(stores.drainers),
            policy_digest,
            user: stores.user,
            clock_steps: StepDetector::new(&clock),
            time_kept: None,
            time_owed: false,
            begun: clock.instant(),
            clock,
            last_compared: None,
            meters: RotationMetrics::default(),
            marks: Vec::new(),
            in_doubt: false,
            reading: Reading::Done,
            engines_stale: false,
            rolled_back: None,
            unread: None,
            read_errors: Throttle::new(),
            load_failure: None,
        };
        (shared, misses)
    }

    /// Settles what an earlier process has left open; yields the rotations that are to go on.
    fn recover(&mut self) -> Vec<(Option<Kid>, (String, Reason))> {
        self.read_marks();
        let wall = self.wall();
        let mut lost = self.journal.recover(&self.view, wall);
        lost.retain(|(kid, _lost)| !kid.is_some_and(|kid| self.is_withdrawn(kid)));
        lost
    }

    /// Configures what is loaded; yields the terms with the names of their keyrings.
    fn configure_loaded(&mut self, terms: Vec<Terms>) -> Vec<(KeyringName, Terms)> {
        self.reject_plaintext_by_date();
        let of: Vec<_> = self.keyring_names().into_iter().zip(terms).collect();
        let open = of.iter().map(|(name, terms)| (name.clone(), terms.open));
        self.loaded
            .configure(Arc::clone(&self.policy), open.collect());
        of
    }

    pub(super) fn broadcast_policy(&self) {
        self.drainers
            .broadcast(DrainMessage::Policy(self.policy_digest));
    }
}

fn asked(order: Order, trigger: Trigger) -> Event {
    let why = "an operator's order, which could not be written down before the process ended";
    let reason = Reason::of_gateway(trigger, why);
    Event::Ordered(OrderRequest { order, reason })
}
