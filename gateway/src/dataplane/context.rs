//! What the message path is given to work with: by all workers, and by one.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, OnceLock};

use tokio::sync::watch as stages;

use crate::clock::Clock;
use crate::keyring::{Keys, Lanes, Snapshot, WorkerId};
use crate::metrics::{Throttle, WorkerMetrics as Meters};
use crate::policy::{KeyringId, Plaintext, Policy};

use super::Config;
use super::address::Endpoints;
use super::backpressure::PendingMemory;
use super::dial::Servers;
use super::drain::{AdvertisedGateways, DrainStage};
use super::lane_caches::Caches;
use super::memory::MemoryPool;
use super::refusal_log::RefusalLog;
use super::session_state::SessionState;
use super::tls_state::{Tls, TlsState};
use super::withheld_timers::AccountTimers;

/// What all workers share.
pub struct Shared {
    pub(super) config: Config,
    pub(super) keys: Arc<Keys>,
    pub(super) clock: Clock,
    pub(super) servers: Servers,
    pub(super) tls: TlsState,
    pub(super) refusal_log: RefusalLog,
    pub(super) unreachable: Throttle,
    pub(super) unsealed: Throttle,
    /// Client connections open now.
    pub(super) clients: AtomicUsize,
    /// The stage of stopping.
    pub(super) stage: stages::Sender<DrainStage>,
    /// Gateways that clients can reconnect to when this one stops.
    pub(super) others: OnceLock<AdvertisedGateways>,
    /// For refused PROXY headers.
    pub(super) refused_headers: Throttle,
    /// For servers that do not verify `proxy_sig`.
    pub(super) unsigned: Throttle,
    /// For peers that are no NATS servers.
    pub(super) not_nats: Throttle,
    /// For peers that were shed.
    pub(super) shed: Throttle,
}

/// One worker; stays on its thread.
pub struct Worker {
    pub(super) id: WorkerId,
    pub(super) shared: Arc<Shared>,
    pub(super) lanes: RefCell<Lanes>,
    pub(super) caches: Caches,
    pub(super) meters: Meters,
    pub(super) pending: PendingMemory,
    /// For the state of its sessions.
    pub(super) memory: Rc<MemoryPool>,
    /// Since when stored messages have been withheld.
    pub(super) withheld: RefCell<AccountTimers>,
}

impl Shared {
    /// Whether plaintext is accepted on the keyring's subjects, during a migration.
    pub(super) fn accepts_plaintext(&self, policy: &Policy, keyring: KeyringId) -> bool {
        match policy.keyring(keyring).map(|rule| rule.plaintext) {
            Some(Plaintext::Accept { until }) => self.clock.wall() < until,
            Some(Plaintext::Reject) | None => false,
        }
    }

    /// For workers that are yet to be started; without TLS.
    #[must_use]
    pub fn new(config: Config, keys: Arc<Keys>, clock: Clock) -> Self {
        let servers = Servers::new(config.servers.clone(), config.dial_timeout);
        Self {
            config,
            keys,
            clock,
            servers,
            tls: TlsState::new(Tls::default()),
            refusal_log: RefusalLog::default(),
            unreachable: Throttle::new(),
            unsealed: Throttle::new(),
            clients: AtomicUsize::new(0),
            stage: stages::Sender::new(DrainStage::Serves),
            others: OnceLock::new(),
            refused_headers: Throttle::new(),
            unsigned: Throttle::new(),
            not_nats: Throttle::new(),
            shed: Throttle::new(),
        }
    }

    /// The same, with TLS.
    #[must_use]
    pub fn with_tls(self, tls: Tls) -> Self {
        let tls = TlsState::new(tls);
        Self { tls, ..self }
    }
}

impl Worker {
    /// A worker for the calling thread.
    #[must_use]
    pub fn new(id: WorkerId, shared: Arc<Shared>) -> Self {
        let snapshot = shared.keys.load();
        let meters = Meters::new(
            snapshot
                .policy()
                .keyrings()
                .iter()
                .map(|rule| rule.name.as_str()),
        );
        let pending = PendingMemory::new(shared.config.pending_each());
        let memory = MemoryPool::new(shared.config.memory_each());
        let lanes = RefCell::new(Lanes::new(id, shared.clock.instant()));
        drop(snapshot);
        Self {
            id,
            shared,
            lanes,
            caches: Caches::default(),
            meters,
            pending,
            memory,
            withheld: RefCell::default(),
        }
    }

    /// The state of a new session.
    #[must_use]
    pub fn session_state(&self, ends: Endpoints) -> SessionState {
        SessionState::new(ends, self.memory.open())
    }

    /// Adds meters for keyrings that a reload has added; costs nothing while there are none.
    pub(super) fn add_keyring_meters(&self, snapshot: &Snapshot) {
        let rules = snapshot.policy().keyrings().iter();
        self.meters.grow(rules.map(|rule| rule.name.as_str()));
    }

    /// After a change of keys: drops lanes of versions that are gone and draws new ones, without waiting for a message.
    pub(super) fn refresh_keys(&self) {
        let snapshot = self.shared.keys.load();
        let now = self.shared.clock.instant();
        self.add_keyring_meters(&snapshot);
        let drawn = |keyring: KeyringId| {
            let meters = self.meters.keyring(Some(keyring.index()));
            meters.lanes_started.add(1);
        };
        self.lanes.borrow_mut().prepare(&snapshot, now, drawn);
        self.caches.refresh(&snapshot);
        self.meters.flush();
    }
}
