//! What the lines of a log say, as far as the next start and a report on the log need it.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::line::{Body, EventId, Line};
use super::logged_state::LoggedState;
use super::pending_event::PendingEvent;

/// What the lines so far say.
#[derive(Default)]
pub(super) struct Contents {
    /// Key events whose outcome is missing or unknown.
    pub(super) open: BTreeMap<EventId, PendingEvent>,
    /// The latest records and settings.
    pub(super) last: LoggedState,
    /// The latest time.
    pub(super) latest: Option<Timestamp>,
    /// How many lines could not be parsed.
    pub(super) unknown: u64,
    /// The number of the first of them, and why.
    pub(super) first_unknown: Option<(u64, String)>,
}

impl Contents {
    pub(super) fn add(&mut self, number: u64, line: &[u8]) {
        let body = match Line::parse(line) {
            Ok(line) => line.body,
            Err(why) => {
                self.unknown = self.unknown.saturating_add(1);
                self.first_unknown
                    .get_or_insert_with(|| (number, why.to_string()));
                return;
            }
        };
        self.latest = self.latest.max(Some(body.time()));
        self.last.apply(&body);
        match body {
            Body::Intent(event) => drop(self.open.insert(event.id, PendingEvent::new(event))),
            Body::Outcome(completed) if completed.is_final() => {
                self.open.remove(&completed.event.id);
            }
            Body::Outcome(_) | Body::Note(_) => {}
        }
    }
}
