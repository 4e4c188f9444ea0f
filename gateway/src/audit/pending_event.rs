//! A key event that has begun.

use jiff::Timestamp;

use super::act::{Act, ExposedData, RecordRef};
use super::line::{Event, EventId};

/// A key event whose intent is durable, and whose outcome is to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "a key event that has begun has an outcome: give it to `Log::finish`"]
pub struct PendingEvent {
    pub(super) event: Event,
    /// The record to which it has led, once that is known.
    pub(super) record: Option<RecordRef>,
}

impl PendingEvent {
    pub(super) const fn new(event: Event) -> Self {
        Self {
            event,
            record: None,
        }
    }

    /// The id that its intent and its outcome share.
    #[must_use]
    pub const fn id(&self) -> EventId {
        self.event.id
    }

    /// When it began.
    #[must_use]
    pub const fn initiated(&self) -> Timestamp {
        self.event.initiated
    }

    /// Adds what was sealed under a revoked version, for the outcome.
    pub fn with_exposure(mut self, exposure: Option<ExposedData>) -> Self {
        self.event.act.exposure = exposure;
        self
    }

    /// The action.
    #[must_use]
    pub const fn act(&self) -> &Act {
        &self.event.act
    }

    /// Adds the record to which the event has led, for the outcome.
    pub fn with_record(mut self, record: Option<RecordRef>) -> Self {
        self.record = record;
        self
    }
}
