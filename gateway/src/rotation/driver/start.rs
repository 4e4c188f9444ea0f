//! The start of the driver, from the catalogue, and the terms in force.

use std::collections::HashMap;
use std::sync::Arc;

use futures_util::stream::FuturesUnordered;
use tokio::sync::{Notify, mpsc};

use crate::audit::{self, Fact, Trigger};
use crate::catalogue::{Catalogue, Mark};
use crate::clock::{Clock, StepDetector};
use crate::envelope::Kid;
use crate::fault::Faulty;
use crate::keyring::{Keys, Miss};
use crate::metrics::{RotationMetrics, Throttle};
use crate::policy::KeyringName;
use crate::rotation::config::{ProcessKind, RotationConfig};
use crate::rotation::drain::{self, DrainLink, DrainMessage};
use crate::rotation::engine::{Event, Order, OrderRequest};
use crate::rotation::error::StartError;
use crate::rotation::external::{Fleet, Inspector};
use crate::rotation::message_path::{MessagePath, stop_sealing};
use crate::rotation::reason::Reason;
use crate::rotation::terms::{OpenPolicy, Terms};

use super::drainers::Drainers;
use super::journal::Journal;
use super::keyring::ManagedKeyring;
use super::loaded::Loaded;
use super::misses::Misses;
use super::shared::Shared;
use super::tick::Driver;

/// What a driver works with.
pub(in crate::rotation) struct Parts {
    pub(in crate::rotation) catalogue: Catalogue,
    pub(in crate::rotation) audit: audit::Log,
    pub(in crate::rotation) inspector: Box<dyn Inspector>,
    pub(in crate::rotation) fleet: Box<dyn Fleet>,
    /// Links to processes that drain after a take-over.
    pub(in crate::rotation) drainers: Vec<DrainLink>,
    pub(in crate::rotation) user: ProcessKind,
    pub(in crate::rotation) clock: Clock,
    pub(in crate::rotation) held: Option<MessagePath>,
}

impl Driver {
    /// Starts from the catalogue: every keyring gets an active version, and what opens is loaded.
    pub(in crate::rotation) fn start(
        config: RotationConfig,
        parts: Parts,
    ) -> Result<(Self, mpsc::Receiver<Miss>), StartError> {
        let refill = Arc::new(Notify::new());
        let policy_digest = drain::digest_of(&config.settings);
        let policy = config.policy;
        let began = match &parts.held {
            Some(_) => Fact::GatewayTookBack,
            None => Fact::GatewayStarted {
                version: env!("CARGO_PKG_VERSION").into(),
                policy: Some(config.settings.in_force()),
            },
        };
        let MessagePath { keys, misses } = parts.held.unwrap_or_else(|| MessagePath::new(&policy));
        let shared = Shared {
            loaded: Loaded::new(Arc::clone(&policy), config.workers, Arc::clone(&refill)),
            policy,
            settings: config.settings,
            catalogue: parts.catalogue,
            journal: Journal::new(parts.audit),
            keys,
            refill,
            inspector: parts.inspector,
            fleet: parts.fleet,
            drainers: Drainers::new(parts.drainers),
            policy_digest,
            user: parts.user,
            inspections: FuturesUnordered::new(),
            clock_steps: StepDetector::new(&parts.clock),
            time_kept: None,
            begun: parts.clock.instant(),
            clock: parts.clock,
            last_compared: None,
            meters: RotationMetrics::default(),
            marks: Vec::new(),
            in_doubt: false,
            engines_stale: false,
            rolled_back: None,
            unread: None,
            read_errors: Throttle::new(),
            load_failure: None,
        };
        let mut driver = Self {
            keyrings: Vec::new(),
            shared,
            misses: Misses::default(),
            reread: None,
            pace_warning: Throttle::new(),
        };
        let before = driver.shared.keys.load().generation();
        driver.shared.loaded.continue_generation(before);
        match driver.begin_with(began, config.terms) {
            Ok(()) => Ok((driver, misses)),
            Err(error) => {
                stop_sealing(&driver.shared.keys);
                Err(error)
            }
        }
    }

    fn begin_with(&mut self, began: Fact, terms: Vec<Terms>) -> Result<(), StartError> {
        self.shared.start_clock();
        let lost = self.shared.recover();
        let weaker = self.shared.audit_weaker_start(&began)?;
        self.shared.audit_fact(began);
        self.shared.broadcast_policy();
        self.set_terms(terms);
        let Shared {
            loaded, catalogue, ..
        } = &mut self.shared;
        loaded.load_all(catalogue)?;
        self.shared.install();
        self.resume_rotations(lost);
        self.tick();
        self.check_active()?;
        self.shared.install();
        self.shared.finish_weaker(weaker);
        Ok(())
    }

    /// Goes on with rotations of which an earlier process has left no more than the intent.
    fn resume_rotations(&mut self, lost: Vec<(Option<Kid>, (String, Reason))>) {
        self.resume_marked_orders();
        for (_kid, (keyring, reason)) in lost {
            if let Ok((keyring, shared)) = self.find(&keyring) {
                let order = Order::Rotate;
                keyring.feed(shared, Event::Ordered(OrderRequest { order, reason }));
            }
        }
    }

    /// Goes on with the marked orders.
    fn resume_marked_orders(&mut self) {
        for (mark, kid) in self.shared.marks.clone() {
            let found = self.shared.catalogue.find_by_kid(kid);
            let found = found.map(|(name, version)| (name.clone(), version.number));
            let Some((name, number)) = found else {
                continue;
            };
            let Ok((keyring, shared)) = self.find(name.as_str()) else {
                continue;
            };
            let event = match mark {
                Mark::Revoked => asked(Order::Compromise(number), Trigger::Compromise),
                Mark::Suspended => asked(Order::Suspend(number), Trigger::Manual),
                Mark::Withdrawn => Event::LeftOver(number),
            };
            keyring.feed(shared, event);
        }
        self.drop_marks();
    }

    /// The keys that the message path loads.
    pub(in crate::rotation) fn keys(&self) -> Arc<Keys> {
        Arc::clone(&self.shared.keys)
    }

    /// Applies terms, in the order of the policy's keyrings; new keyrings get an engine.
    pub(super) fn set_terms(&mut self, terms: Vec<Terms>) {
        self.shared.reject_plaintext_by_date();
        let policy = Arc::clone(&self.shared.policy);
        let names = policy.keyrings().iter().map(|rule| rule.name.clone());
        let of: Vec<_> = names.zip(terms).collect();
        let open = |(name, terms): &(KeyringName, Terms)| (name.clone(), terms.open);
        let open: HashMap<KeyringName, OpenPolicy> = of.iter().map(open).collect();
        self.shared.loaded.configure(policy, open);
        let mut new = of.into_iter();
        for (keyring, (_name, terms)) in self.keyrings.iter_mut().zip(&mut new) {
            keyring.feed(&mut self.shared, Event::Terms(terms));
            keyring.cap(&mut self.shared);
        }
        for (name, terms) in new {
            let keyring = ManagedKeyring::new(name, terms, &self.shared);
            self.keyrings.push(keyring);
        }
    }

    /// A gateway that can seal nothing at all does not start. One keyring that cannot seal keeps no other from being served, and
    /// nobody from giving orders on the state directory.
    fn check_active(&self) -> Result<(), StartError> {
        let idle = |keyring: &&ManagedKeyring| keyring.engine.active().is_none();
        let idle: Vec<_> = self.keyrings.iter().filter(idle).collect();
        let failure = |keyring: &ManagedKeyring| keyring.engine.failure().cloned();
        for keyring in &idle {
            let error = failure(keyring)
                .map(|failure| failure.with_help())
                .unwrap_or_default();
            tracing::error!(keyring = %keyring.name, error, "the keyring has no active key version; tried again");
        }
        let first = idle
            .first()
            .and_then(|keyring| Some((keyring, failure(keyring)?)));
        match first {
            Some((keyring, source))
                if idle.len() == self.keyrings.len()
                    && self.shared.user == ProcessKind::Gateway =>
            {
                Err(StartError::NoActiveVersion {
                    keyring: keyring.name.clone(),
                    source,
                })
            }
            _ => Ok(()),
        }
    }
}

impl Shared {
    /// Settles what an earlier process has left open; yields the rotations that are to go on.
    fn recover(&mut self) -> Vec<(Option<Kid>, (String, Reason))> {
        self.read_marks();
        let wall = self.wall();
        let mut lost = self.journal.recover(&self.catalogue, wall);
        lost.retain(|(kid, _lost)| !kid.is_some_and(|kid| self.is_withdrawn(kid)));
        lost
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
