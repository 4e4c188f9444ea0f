//! What the publish direction of a session keeps from batch to batch, and how it writes and reports.

use std::cell::RefCell;
use std::time::Instant;

use crate::keyring::Snapshot;
use crate::metrics::{BatchStage, Cause, Direction, Stopwatch};
use crate::policy::KeyringId;
use crate::wire::connect::Connect;
use crate::wire::write::{self, Decimal, PublishLine};
use crate::wire::{Buffer, ClientParser, Limits, Publish};

use crate::dataplane::context::Worker;
use crate::dataplane::fast_path::FastPath;
use crate::dataplane::refusal_log::RefusedMessage;
use crate::dataplane::route_cache::RouteCache;
use crate::dataplane::session_state::SessionState;

/// The publish path of one session, from bytes to bytes: no sockets, no waiting.
pub struct PublishPath<'s> {
    pub(super) worker: &'s Worker,
    pub(super) state: &'s RefCell<SessionState>,
    pub(super) parser: ClientParser,
    pub(super) options: Connect,
    pub(super) routes: RouteCache,
    pub(super) fast_path: FastPath,
    pub(super) first_op_seen: bool,
    pub(super) watch: Stopwatch,
    pub(super) now: Instant,
}

impl<'s> PublishPath<'s> {
    /// The path of a new session.
    #[must_use]
    pub fn new(worker: &'s Worker, state: &'s RefCell<SessionState>) -> Self {
        let max_control_line = worker.shared.config.max_control_line;
        let limits = Limits {
            max_control_line,
            ..Limits::default()
        };
        Self {
            worker,
            state,
            parser: ClientParser::new(limits),
            options: Connect::default(),
            routes: RouteCache::default(),
            fast_path: FastPath::default(),
            first_op_seen: false,
            watch: Stopwatch::default(),
            now: worker.shared.clock.instant(),
        }
    }

    /// To be called when the output of the last batch has been written.
    pub fn written(&mut self) {
        self.watch.lap(BatchStage::Write, &self.worker.shared.clock);
        self.watch
            .stop(self.worker.meters.batch_seconds(Direction::Publish));
    }

    /// The largest body (headers and payload) that is taken from the client.
    pub(super) fn most_payload(&self) -> usize {
        let most = self.worker.shared.config.max_message;
        self.most_sealed().min(most)
    }

    /// The largest body that the server takes: its `max_payload`.
    pub(super) fn most_sealed(&self) -> usize {
        self.state.borrow().max_payload.unwrap_or(usize::MAX)
    }

    pub(super) fn pass(&self, publish: &Publish<'_>, out: &mut Buffer) {
        self.write(publish, (publish.size, publish.payload), out);
    }

    /// Forwards a publish with another payload.
    pub(super) fn write_edited(&self, publish: &Publish<'_>, payload: &[u8], out: &mut Buffer) {
        let total = publish.headers.map_or(0, <[u8]>::len);
        let total = Decimal::like(publish.size, total.saturating_add(payload.len()));
        self.write(publish, (total.digits(), payload), out);
    }

    fn write(&self, publish: &Publish<'_>, (size, payload): (&[u8], &[u8]), out: &mut Buffer) {
        self.control_line(publish, size, out);
        out.put(publish.headers.unwrap_or_default());
        out.put(payload);
        out.put(b"\r\n");
        let passed = self.worker.meters.passed(Direction::Publish);
        passed.add(payload.len());
    }

    /// Writes the control line, with `size` for headers and payload together.
    pub(super) fn control_line(&self, publish: &Publish<'_>, size: &[u8], out: &mut Buffer) {
        let line = PublishLine {
            subject: publish.subject,
            reply: publish.reply,
            header_size: publish.header_size,
            size,
            arg_len: self.parser.arg_len(),
        };
        write::publish(out, &line);
    }

    /// Counts and logs a publish that is not forwarded.
    pub(super) fn report_refused(
        &self,
        snapshot: &Snapshot,
        keyring: Option<KeyringId>,
        cause: Cause,
        publish: &Publish<'_>,
    ) {
        let meters = self.worker.meters.keyring(keyring.map(KeyringId::index));
        meters.refused(cause, publish.payload.len());
        let report = RefusedMessage {
            direction: Direction::Publish,
            keyring: snapshot.policy().name_of(keyring),
            cause,
            subject: publish.subject,
            identity: (cause == Cause::Identity).then(|| self.state.borrow().identity.kinds()),
        };
        self.worker.shared.refusal_log.log(&report, self.now);
    }
}
