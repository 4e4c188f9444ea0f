//! The driver as tests ask it: what is asked for is there at once, or when the test says so.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context as TaskContext, Poll, Waker};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::answer::Answer;
use super::keyring::ManagedKeyring;
use super::shared::Shared;
use super::waiting::Waiting;
use super::{Driver, Parts};
use crate::audit::Log;
use crate::catalogue::{Catalogue, OnCatalogue, Record, View};
use crate::custodian::{Custodian, Description, UnwrapFailed, WrapFailed, Wrapped};
use crate::envelope::Kid;
use crate::fleet::SingleMember;
use crate::keyring::{Miss, Verdict};
use crate::later::{Later, ready};
use crate::retention::NoInspector;
use crate::rotation::config::{ProcessKind, Stores};
use crate::rotation::engine::Order;
use crate::rotation::error::StartError;
use crate::rotation::{KeyringStatus, OrderError, Reason, Reload, Rotated, RotationConfig};
use crate::secret::Secret;

/// Work that has been asked for and is not done yet.
type Work = Box<dyn FnOnce() + Send>;

/// What disk and custodian are yet to do; empty while everything is done at once.
#[derive(Clone, Default)]
pub(super) struct Backlog(Arc<Mutex<BacklogState>>);

#[derive(Default)]
struct BacklogState {
    work: VecDeque<Work>,
    /// Decides whether the next work is done later.
    delays: Option<Box<dyn FnMut() -> bool + Send>>,
}

impl Backlog {
    /// From now on `delays` decides what is done later; without it everything is done at once.
    pub(super) fn set_delays(&self, delays: Option<Box<dyn FnMut() -> bool + Send>>) {
        self.state().delays = delays;
    }

    /// Does the work now or later.
    pub(super) fn ask<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Later<'static, T> {
        let later = self.state().delays.as_mut().is_some_and(|delays| delays());
        if !later {
            return ready(work());
        }
        let (answer, answered) = oneshot::channel();
        self.state().work.push_back(Box::new(move || {
            // Whoever asked may have gone.
            drop(answer.send(work()));
        }));
        Box::pin(async move {
            match answered.await {
                Ok(value) => value,
                Err(_dropped) => std::future::pending().await,
            }
        })
    }

    /// Asks for something that is waited for at once, and so is done at once.
    pub(super) fn at_once<T>(&self, ask: impl FnOnce() -> T) -> T {
        let delays = self.state().delays.take();
        let value = ask();
        self.state().delays = delays;
        value
    }

    pub(super) fn len(&self) -> usize {
        self.state().work.len()
    }

    /// Does one of the pieces of work; whether there was any.
    pub(super) fn complete(&self, index: usize) -> bool {
        let work = self.state().work.remove(index);
        work.is_some_and(|work| {
            work();
            true
        })
    }

    /// The process has ended: nothing more is done.
    pub(super) fn clear(&self) {
        let work = std::mem::take(&mut self.state().work);
        drop(work);
    }

    fn state(&self) -> MutexGuard<'_, BacklogState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A catalogue that does what it is asked for when the backlog says so.
struct SimulatedRecords {
    catalogue: Arc<Mutex<Catalogue>>,
    backlog: Backlog,
}

/// What the rotation of a gateway works with that is alone and cannot ask JetStream.
pub(super) fn stores(catalogue: Catalogue, audit: Log, backlog: &Backlog) -> Stores {
    let view = View::clone(&catalogue);
    let records = SimulatedRecords {
        catalogue: Arc::new(Mutex::new(catalogue)),
        backlog: backlog.clone(),
    };
    Stores {
        view,
        records: Box::new(records),
        audit,
        inspector: Box::new(NoInspector),
        fleet: Box::new(SingleMember),
        drainers: Vec::new(),
        user: ProcessKind::Gateway,
    }
}

impl OnCatalogue for SimulatedRecords {
    fn ask<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Catalogue) -> T + Send + 'static,
    ) -> Later<'static, T> {
        let catalogue = Arc::clone(&self.catalogue);
        self.backlog.ask(move || {
            let mut catalogue = catalogue.lock().unwrap_or_else(PoisonError::into_inner);
            work(&mut catalogue)
        })
    }
}

/// How a [`SwitchedCustodian`] answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CustodianState {
    Works,
    Refuses,
    /// Its answers never come.
    IsSilent,
}

/// A custodian that answers as a test says.
pub(super) struct SwitchedCustodian {
    kek: Arc<dyn Custodian>,
    state: Arc<Mutex<CustodianState>>,
}

/// Says how a [`SwitchedCustodian`] answers.
#[derive(Clone)]
pub(super) struct CustodianSwitch(Arc<Mutex<CustodianState>>);

impl SwitchedCustodian {
    /// It works until the switch says something else.
    pub(super) fn over(kek: Arc<dyn Custodian>) -> (Arc<dyn Custodian>, CustodianSwitch) {
        let state = Arc::new(Mutex::new(CustodianState::Works));
        let switch = CustodianSwitch(Arc::clone(&state));
        (Arc::new(Self { kek, state }), switch)
    }

    fn state(&self) -> CustodianState {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl CustodianSwitch {
    pub(super) fn set(&self, state: CustodianState) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = state;
    }
}

impl Custodian for SwitchedCustodian {
    fn wrap<'a>(
        &'a self,
        secret: &'a Secret,
        context: &'a [u8],
    ) -> Later<'a, Result<Wrapped, WrapFailed>> {
        match self.state() {
            CustodianState::Works => self.kek.wrap(secret, context),
            CustodianState::Refuses => ready(Err(WrapFailed::Cipher)),
            CustodianState::IsSilent => Box::pin(std::future::pending()),
        }
    }

    fn unwrap<'a>(
        &'a self,
        wrapped: &'a Wrapped,
        context: &'a [u8],
    ) -> Later<'a, Result<Secret, UnwrapFailed>> {
        match self.state() {
            CustodianState::Works => self.kek.unwrap(wrapped, context),
            CustodianState::Refuses => ready(Err(UnwrapFailed::Damaged)),
            CustodianState::IsSilent => Box::pin(std::future::pending()),
        }
    }

    fn describe(&self) -> Description {
        self.kek.describe()
    }
}

impl Driver {
    /// A start in which nothing comes later than what the backlog is asked for.
    pub(super) fn start_with(
        config: RotationConfig,
        parts: Parts,
        backlog: &Backlog,
    ) -> Result<(Self, mpsc::Receiver<Miss>), StartError> {
        complete_all(Self::start(config, parts), backlog)
    }

    /// The same where everything is there at once.
    pub(super) fn start_at_once(
        config: RotationConfig,
        parts: Parts,
    ) -> Result<(Self, mpsc::Receiver<Miss>), StartError> {
        Self::start_with(config, parts, &Backlog::default())
    }

    /// Goes on with everything that can go on.
    pub(super) fn advance(&mut self) {
        self.tasks.run_until_stalled();
        self.follow_up();
        self.tasks.run_until_stalled();
        assert!(self.go_on().is_none(), "nobody takes over");
        self.tasks.run_until_stalled();
    }

    pub(super) fn shared<T>(&self, look: impl FnOnce(&mut Shared) -> T) -> T {
        self.context.with(look)
    }

    pub(super) fn keyring<T>(
        &self,
        index: usize,
        look: impl FnOnce(&mut ManagedKeyring, &mut Shared) -> T,
    ) -> T {
        self.keyrings[index].with(look)
    }

    pub(super) fn record(&self, index: usize) -> Option<Record> {
        self.keyring(index, |keyring, shared| keyring.record(shared).cloned())
    }

    pub(super) fn kid(&self, index: usize, number: u32) -> Option<Kid> {
        self.keyring(index, |keyring, shared| keyring.kid(shared, number))
    }

    pub(super) fn status(&self, index: usize) -> KeyringStatus {
        self.keyring(index, |keyring, shared| keyring.status(shared))
    }

    /// Looks a kid up as a new connection does; what has to be waited for is not there.
    pub(super) fn look_for(&mut self, kid: Kid) -> Verdict {
        let (miss, mut verdict) = Miss::new(kid, Duration::ZERO);
        let (_nobody, mut none) = mpsc::channel(1);
        self.misses.put(miss, &mut none);
        self.serve_misses();
        verdict.try_recv().unwrap_or(Verdict::Absent)
    }

    /// Begins a rotation; nobody waits for its end.
    pub(super) fn begin_rotation(&mut self, keyring: &str, reason: Reason) {
        let keyring = self.find(keyring).unwrap();
        self.context.spawn(async move {
            keyring.begin_rotation(reason).await;
        });
        self.advance();
    }

    /// Gives an order, whose answer is there at once.
    pub(super) fn order_now(
        &mut self,
        keyring: &str,
        order: Order,
        reason: Reason,
    ) -> Result<KeyringStatus, OrderError> {
        self.now(|driver, answer| driver.order(keyring, order, reason, answer))
    }

    pub(super) fn rotate_now(
        &mut self,
        keyring: &str,
        reason: Reason,
    ) -> Result<Rotated, OrderError> {
        self.now(|driver, answer| driver.rotate(keyring, reason, answer))
    }

    pub(super) fn reload_now(
        &mut self,
        config: RotationConfig,
        reload: Reload,
    ) -> Result<(), OrderError> {
        self.now(|driver, answer| driver.reload_later(config, reload, answer))
    }

    pub(super) fn reload_later(
        &mut self,
        config: RotationConfig,
        reload: Reload,
        answer: Answer<Result<(), OrderError>>,
    ) {
        let config = Box::new(config);
        self.waiting.push_back(Waiting::Reload {
            config,
            reload,
            answer,
        });
    }

    fn now<T>(&mut self, ask: impl FnOnce(&mut Self, Answer<T>)) -> T {
        let (answer, mut answered) = oneshot::channel();
        ask(self, answer);
        self.advance();
        answered.try_recv().expect("the answer is there at once")
    }
}

/// Does what the backlog is asked for until the work is done.
pub(super) fn complete_all<T>(work: impl Future<Output = T>, backlog: &Backlog) -> T {
    let mut work = Box::pin(work);
    let mut context = TaskContext::from_waker(Waker::noop());
    loop {
        match work.as_mut().poll(&mut context) {
            Poll::Ready(done) => return done,
            Poll::Pending => assert!(backlog.complete(0), "nothing ends what it waits for"),
        }
    }
}
