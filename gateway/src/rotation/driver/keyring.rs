//! A keyring as the driver manages it: its engine, and what is under way for it.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Instant;

use strum::{VariantArray as _, VariantNames as _};
use tokio::sync::{Mutex, MutexGuard, Notify};

use crate::audit::Trigger;
use crate::catalogue::{Record, State, Version};
use crate::envelope::Kid;
use crate::fleet::FleetEvent;
use crate::metrics::KeyringKeyMetrics;
use crate::policy::KeyringName;
use crate::rotation::engine::{Event, KeyringState, Order, decide};
use crate::rotation::error::OrderError;
use crate::rotation::reason::Reason;
use crate::rotation::report::{PublishStall, Rotated};
use crate::rotation::terms::Terms;

use super::answer::Answer;
use super::context::Context;
use super::reservation::ReservationSize;
use super::shared::Shared;

/// A keyring, as work that is under way for it holds it. The state is borrowed in [`Actor::with`] alone, and so never across a wait.
///
/// Its engine is told one event after the other, and what it decides is done before the next. What that waits for keeps no other
/// keyring waiting. Reservations go on beside it; who writes the record takes turns.
#[derive(Clone)]
pub(super) struct Actor {
    pub(super) context: Context,
    keyring: Rc<RefCell<ManagedKeyring>>,
    turns: Rc<Turns>,
}

/// What only one piece of work of a keyring does at a time.
#[derive(Default)]
struct Turns {
    /// Writing its record.
    write: Mutex<()>,
    /// Carrying out an order.
    order: Mutex<()>,
    /// How many orders are under way, those included that wait for their turn.
    orders: Cell<usize>,
    /// Told when the record is written, or nothing more is under way.
    ended: Notify,
}

/// The right to write a keyring's record, until it is dropped.
pub(super) struct WriteTurn<'a> {
    _turn: MutexGuard<'a, ()>,
    turns: &'a Turns,
}

impl Drop for WriteTurn<'_> {
    fn drop(&mut self) {
        self.turns.ended.notify_waiters();
    }
}

/// An order that is under way, until it is dropped.
pub(super) struct OrderUnderWay {
    actor: Actor,
    /// The version that it stops from sealing.
    stops: Option<u32>,
}

impl Drop for OrderUnderWay {
    fn drop(&mut self) {
        let turns = &self.actor.turns;
        turns.orders.set(turns.orders.get().saturating_sub(1));
        if let Some(number) = self.stops {
            let mut keyring = self.actor.keyring.borrow_mut();
            let place = keyring
                .stop_orders
                .iter()
                .position(|known| *known == number);
            place.map(|place| keyring.stop_orders.swap_remove(place));
        }
        turns.ended.notify_waiters();
    }
}

/// A keyring and its engine.
#[expect(clippy::struct_excessive_bools, reason = "neither excludes the other")]
pub(super) struct ManagedKeyring {
    pub(super) name: KeyringName,
    pub(super) engine: KeyringState,
    /// What the engine is yet to be told.
    events: VecDeque<Event>,
    /// Whether it is being told, and what it decides is being done.
    busy: bool,
    /// The versions that orders under way stop from sealing.
    pub(super) stop_orders: Vec<u32>,
    /// Whether a reservation is under way.
    pub(super) reserving: bool,
    /// Whether its subjects are being written down.
    pub(super) writing_subjects: bool,
    pub(super) size: ReservationSize,
    /// Why no more of the budget could be reserved, when that was tried last.
    pub(super) reserve_failure: Option<String>,
    /// Why publishes waited at the last tick.
    pub(super) stopped: Option<PublishStall>,
    pub(super) meters: KeyringKeyMetrics,
    /// When members were first asked to prove that they hold the successor.
    pub(super) challenged: Option<Instant>,
    /// Callers whose rotation is held back because the last one is too recent.
    pub(super) pending_rotations: Vec<PendingRotation>,
    /// The reason of the order under way, until the audit log has an event of it.
    pub(super) unaudited: Option<Reason>,
}

/// A caller of a rotation.
pub(super) struct PendingRotation {
    /// The version that was active before.
    pub(super) before: Option<u32>,
    pub(super) answer: Answer<Result<Rotated, OrderError>>,
}

impl ManagedKeyring {
    pub(super) fn new(name: KeyringName, terms: Terms, shared: &Shared) -> Self {
        let members = shared.fleet.members().into_iter().collect();
        Self {
            engine: KeyringState::new(terms, shared.versions(&name), members),
            events: VecDeque::new(),
            busy: false,
            stop_orders: Vec::new(),
            reserving: false,
            writing_subjects: false,
            size: ReservationSize::default(),
            reserve_failure: None,
            stopped: None,
            meters: KeyringKeyMetrics::new(
                name.as_str(),
                State::VARIANTS.iter().map(<&str>::from),
                PublishStall::VARIANTS.iter().map(<&str>::from),
                Trigger::VARIANTS.iter().copied(),
            ),
            challenged: None,
            pending_rotations: Vec::new(),
            unaudited: None,
            name,
        }
    }

    /// Queues an event for the engine. Of reports and of records only the last counts.
    fn queue(&mut self, event: Event) {
        let is_report = |event: &Event| matches!(event, Event::Tick | Event::Usage { .. });
        let is_record = |event: &Event| matches!(event, Event::Record(_));
        if is_report(&event) {
            self.events.retain(|queued| !is_report(queued));
        } else if is_record(&event) {
            self.events.retain(|queued| !is_record(queued));
        }
        self.events.push_back(event);
    }

    /// Queues events before those that came meanwhile.
    fn queue_first(&mut self, events: Vec<Event>) {
        for event in events.into_iter().rev() {
            self.events.push_front(event);
        }
    }

    /// The record, if the engine does not know it as it is.
    fn changed_record(&self, shared: &Shared) -> Option<Event> {
        let versions = shared.versions(&self.name);
        (self.engine.versions() != versions).then_some(Event::Record(versions))
    }

    /// An event of the fleet, as the engine is told it.
    fn fleet_event(&self, shared: &Shared, event: &FleetEvent) -> Option<Event> {
        Some(match event {
            FleetEvent::Joined(member) => Event::Joined(member.clone()),
            FleetEvent::Left(member) => Event::Left(member.clone()),
            FleetEvent::Proven(member, kid) => {
                let versions = self.record(shared).map(|record| &record.versions);
                let mut versions = versions.into_iter().flatten();
                let proven = versions.find(|version| version.kid == *kid)?;
                Event::Proven(member.clone(), proven.number)
            }
        })
    }

    pub(super) fn record<'s>(&self, shared: &'s Shared) -> Option<&'s Record> {
        shared.view.record(&self.name)
    }

    pub(super) fn version<'s>(&self, shared: &'s Shared, number: u32) -> Option<&'s Version> {
        self.record(shared)?.version(number)
    }

    pub(super) fn kid(&self, shared: &Shared, number: u32) -> Option<Kid> {
        Some(self.version(shared, number)?.kid)
    }

    pub(super) fn active(&self) -> Option<u32> {
        self.engine.active().map(|version| version.number)
    }
}

impl Actor {
    pub(super) fn new(keyring: ManagedKeyring, context: Context) -> Self {
        Self {
            context,
            keyring: Rc::new(RefCell::new(keyring)),
            turns: Rc::default(),
        }
    }

    /// Works on the keyring and on what all share, at once.
    pub(super) fn with<T>(&self, work: impl FnOnce(&mut ManagedKeyring, &mut Shared) -> T) -> T {
        let mut keyring = self.keyring.borrow_mut();
        self.context.with(|shared| work(&mut keyring, shared))
    }

    pub(super) fn name(&self) -> KeyringName {
        self.keyring.borrow().name.clone()
    }

    /// Tells the engine of an event, after what it was told before. What can be done at once is done when this returns.
    pub(super) fn feed(&self, event: Event) {
        let is_idle = self.with(|keyring, _shared| {
            keyring.queue(event);
            !std::mem::replace(&mut keyring.busy, true)
        });
        if is_idle {
            self.context.spawn(self.clone().work());
        }
    }

    /// Does what the engine decides, until it has nothing more to be told.
    async fn work(self) {
        while let Some(event) = self.next_event().await {
            let actions =
                self.with(|keyring, shared| decide(&mut keyring.engine, shared.now(), event));
            for action in actions {
                let events = self.perform(action).await;
                self.with(|keyring, _shared| keyring.queue_first(events));
            }
        }
        self.turns.ended.notify_waiters();
    }

    /// What the engine is told next: nothing is decided by a record that an unknown outcome may have changed.
    async fn next_event(&self) -> Option<Event> {
        let name = self.name();
        if self.with(|_keyring, shared| shared.journal.has_unknown_outcome(&name))
            && self.context.resolve_outcome(&name).await.is_ok()
        {
            let news = self.with(|keyring, shared| keyring.changed_record(shared));
            if news.is_some() {
                return news;
            }
        }
        self.with(|keyring, shared| {
            let mut next = keyring.events.pop_front();
            if matches!(next, Some(Event::Record(_))) {
                // As it is by now.
                let news = keyring.changed_record(shared);
                next = news.or_else(|| keyring.events.pop_front());
            }
            keyring.busy = next.is_some();
            next
        })
    }

    /// Tells the engine of a record that others have changed.
    pub(super) fn sync(&self) {
        if let Some(event) = self.with(|keyring, shared| keyring.changed_record(shared)) {
            self.feed(event);
        }
    }

    pub(super) fn handle_fleet_event(&self, event: &FleetEvent) {
        if let Some(event) = self.with(|keyring, shared| keyring.fleet_event(shared, event)) {
            self.feed(event);
        }
    }

    /// Waits until nobody writes the record, and keeps others from it.
    pub(super) async fn write_turn(&self) -> WriteTurn<'_> {
        WriteTurn {
            _turn: self.turns.write.lock().await,
            turns: &self.turns,
        }
    }

    /// Waits until no order is being carried out, and keeps others waiting.
    pub(super) async fn order_turn(&self) -> MutexGuard<'_, ()> {
        self.turns.order.lock().await
    }

    /// Notes an order, until what is returned is dropped.
    pub(super) fn order_under_way(&self, order: Order) -> OrderUnderWay {
        let stops = matches!(order, Order::Compromise(_) | Order::Suspend(_));
        let stops = order.number().filter(|_number| stops);
        self.turns
            .orders
            .set(self.turns.orders.get().saturating_add(1));
        self.with(|keyring, _shared| keyring.stop_orders.extend(stops));
        OrderUnderWay {
            actor: self.clone(),
            stops,
        }
    }

    /// Whether an order that comes now has to wait for its turn.
    pub(super) fn makes_orders_wait(&self) -> bool {
        self.is_busy() || self.turns.order.try_lock().is_err()
    }

    /// Whether anything is under way, orders included.
    pub(super) fn is_in_use(&self) -> bool {
        self.is_busy() || self.turns.orders.get() != 0
    }

    /// Waits until nothing is under way, orders included.
    pub(super) async fn quiet(&self) {
        self.while_it(Self::is_in_use).await;
    }

    /// Waits until all that the engine was told is done.
    pub(super) async fn rest(&self) {
        self.while_it(Self::is_busy).await;
    }

    /// Waits while something is under way.
    async fn while_it(&self, is_under_way: impl Fn(&Self) -> bool) {
        loop {
            let ended = self.turns.ended.notified();
            if !is_under_way(self) {
                return;
            }
            ended.await;
        }
    }

    /// Whether anything is under way that changes the record or the engine.
    pub(super) fn is_busy(&self) -> bool {
        self.keyring.borrow().busy || self.turns.write.try_lock().is_err()
    }
}
