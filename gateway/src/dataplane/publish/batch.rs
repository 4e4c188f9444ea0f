//! A batch of the publish direction: parse, decide, seal, write.

use crate::envelope::{Binding, EnvelopeId, OVERHEAD};
use crate::keyring::{SealRefused, Snapshot};
use crate::metrics::{BatchStage, Cause, Side};
use crate::policy::{KeyringId, Policy, Role};
use crate::wire::subject::is_literal;
use crate::wire::write::{self, Decimal};
use crate::wire::{Buffer, ClientOp, Malformed, Parsed, Publish};

use crate::dataplane::buffer_pool::{BATCH_OUTPUT, READ_SIZE};
use crate::dataplane::replies::WildcardScope;
use crate::dataplane::session_state::{ClientReads, Verbosity};
use crate::dataplane::{handshake, proxy_protocol};

use super::decision::{Decision, DecisionContext, RefusalAnswer};
use super::path::PublishPath;

/// What makes the server say `Maximum Payload Violation`, whatever its limit is.
const TOO_LARGE: &[u8] = b"PUB x 999999999\r\n";

/// How a batch ended.
pub enum PublishBatch {
    /// Needs this many bytes of input, counted from the first that is left.
    More(usize),
    /// The output is full: flush it, then run the next batch.
    Full,
    /// Nothing can be sealed under this keyring now (no active version, no budget, no entropy). The message stays first in the
    /// input: wait for [`Keys::changes`](crate::keyring::Keys::changes) and try again.
    CannotSeal(KeyringId),
    /// The server has not accepted the client yet; before that nothing is sealed and nothing large is read. A `PING` has been
    /// sent to find out; the message stays first in the input.
    Unaccepted,
    /// The client violated the protocol; the server has been sent bytes for which it closes the connection with its own error.
    Killed,
    /// A message exceeds the gateway's own `max_message`, although the server would take it.
    TooLarge,
}

enum Stop {
    CannotSeal(KeyringId),
    Unaccepted,
    TooLarge,
    /// The operation went out, and the server will close the connection for it.
    Closes,
}

impl PublishPath<'_> {
    /// Runs one batch, without waiting: one snapshot, one clock reading, operation by operation.
    pub fn batch(&mut self, input: &mut Buffer, output: &mut Buffer) -> PublishBatch {
        let shared = &self.worker.shared;
        self.watch.start(&shared.clock);
        let snapshot = shared.keys.load();
        self.now = shared.clock.instant();
        self.worker.lanes.borrow_mut().begin(&snapshot, self.now);
        self.worker.add_keyring_meters(&snapshot);
        self.refresh(&snapshot);
        let mut taken = 0;
        let ended = loop {
            if output.len() >= BATCH_OUTPUT {
                break PublishBatch::Full;
            }
            let rest = input.filled().get(taken..).unwrap_or_default();
            let run_len = self.forward_run(&snapshot, rest, output);
            if run_len != 0 {
                taken = taken.saturating_add(run_len);
                continue;
            }
            self.fast_path.end();
            match self.parser.next(rest) {
                Ok(Parsed::Incomplete { need }) if self.must_await_acceptance(rest, need) => {
                    break self.await_acceptance(output);
                }
                Ok(Parsed::Incomplete { need }) => break PublishBatch::More(need),
                Ok(Parsed::Op { op, len }) => match self.forward(&snapshot, op, output) {
                    Ok(()) => taken = taken.saturating_add(len),
                    Err(Stop::CannotSeal(keyring)) => break PublishBatch::CannotSeal(keyring),
                    Err(Stop::Unaccepted) => break self.await_acceptance(output),
                    Err(Stop::TooLarge) => break kill(TOO_LARGE, output),
                    Err(Stop::Closes) => break PublishBatch::Killed,
                },
                Err(malformed) => break self.malformed(malformed, rest, output),
            }
        };
        self.fast_path.end();
        input.consume(taken);
        self.worker.lanes.borrow_mut().report();
        self.worker.meters.flush();
        ended
    }

    /// Whether an operation is too large to be read before the server has accepted the client. CONNECT is exempt.
    fn must_await_acceptance(&self, rest: &[u8], need: usize) -> bool {
        let connects = rest.first().is_some_and(|verb| matches!(verb, b'C' | b'c'));
        need > READ_SIZE && !connects && !self.state.borrow().injected_errors.has_accepted()
    }

    fn await_acceptance(&self, out: &mut Buffer) -> PublishBatch {
        let injected_errors = &mut self.state.borrow_mut().injected_errors;
        injected_errors.ping_for_acceptance(out);
        PublishBatch::Unaccepted
    }

    /// Takes over what the deliver direction has learned from the server's INFO since the last batch.
    fn refresh(&mut self, snapshot: &Snapshot) {
        self.parser.set_max_payload(Some(self.most_payload()));
        let mut state = self.state.borrow_mut();
        state.identity.refresh(snapshot, self.now);
        self.parser
            .set_headers(state.headers && self.options.headers);
    }

    fn forward(
        &mut self,
        snapshot: &Snapshot,
        op: ClientOp<'_>,
        out: &mut Buffer,
    ) -> Result<(), Stop> {
        let arg_len = self.parser.arg_len();
        if !self.first_op_seen {
            self.first_op(snapshot, &op);
        }
        match op {
            ClientOp::Publish(publish) => return self.publish(snapshot, &publish, out),
            ClientOp::Connect { json } => return self.connect(snapshot, json, out),
            ClientOp::Subscribe {
                subject,
                queue,
                sid,
            } => {
                if !self.refuses_subscription(snapshot, subject, queue, out) {
                    self.record_subscription(snapshot.policy(), sid, subject);
                    write::subscribe(out, subject, queue, sid, arg_len);
                }
            }
            ClientOp::Unsubscribe { sid, max } => {
                let replies = &mut self.state.borrow_mut().replies;
                replies.unsubscribed(sid, max);
                write::unsubscribe(out, sid, max, arg_len);
            }
            ClientOp::Ping => {
                self.state.borrow_mut().injected_errors.ping();
                write::ping(out);
            }
            ClientOp::Pong => write::pong(out),
            ClientOp::Info { json } => write::info(out, json),
            ClientOp::Ok => write::ok(out),
            ClientOp::Err { text } => write::err(out, text),
        }
        Ok(())
    }

    fn record_subscription(&self, policy: &Policy, sid: &[u8], filter: &[u8]) {
        if policy.protects_anything() {
            let whole = is_literal(filter) || policy.seals_every(filter);
            let keyring = policy.find_overlapping(filter, |_| whole);
            let is_inbox = policy.lookup(filter).role == Role::Reply;
            let covers = if is_inbox && policy.find_overlapping(filter, |_| true).is_some() {
                WildcardScope::Inboxes
            } else {
                WildcardScope::Other
            };
            let replies = &mut self.state.borrow_mut().replies;
            replies.subscribed(sid, (filter, keyring, covers), self.now);
        }
    }

    /// A client that sends an operation before its CONNECT is unauthenticated: it has no names.
    fn first_op(&mut self, snapshot: &Snapshot, op: &ClientOp<'_>) {
        self.first_op_seen = true;
        if !matches!(op, ClientOp::Connect { .. }) {
            self.state.borrow_mut().identity.spoke_before_connect();
            self.refresh(snapshot);
        }
    }

    fn connect(&mut self, snapshot: &Snapshot, json: &[u8], out: &mut Buffer) -> Result<(), Stop> {
        let line = (json, self.parser.arg_len());
        let credentials = handshake::connect(line, self.worker, self.state, &mut self.options, out)
            .map_err(|handshake::ConnectRejected| Stop::Closes)?;
        let (mut state, shared) = (self.state.borrow_mut(), &self.worker.shared);
        if state.identity.auth_required() || credentials.is_any_given() {
            state.injected_errors.await_acceptance();
        }
        state
            .identity
            .read_connect(&credentials, &shared.config.verified, &shared.clock);
        state.protocol = Some(self.options.protocol);
        state.client_reads = if state.headers && self.options.headers {
            ClientReads::Headers
        } else {
            ClientReads::Payloads
        };
        state.verbosity = if self.options.verbose {
            Verbosity::Verbose
        } else {
            Verbosity::Quiet
        };
        drop(state);
        self.refresh(snapshot);
        Ok(())
    }

    fn publish(
        &mut self,
        snapshot: &Snapshot,
        publish: &Publish<'_>,
        out: &mut Buffer,
    ) -> Result<(), Stop> {
        if self.worker.shared.config.relay_only {
            self.watch.lap(BatchStage::Parse, &self.worker.shared.clock);
            self.pass(publish, out);
            self.watch
                .lap(BatchStage::Crypto, &self.worker.shared.clock);
            self.begin_run(snapshot, publish);
            return Ok(());
        }
        let (policy, generation) = (snapshot.policy(), snapshot.generation());
        let lookup = self.routes.lookup(policy, generation, publish.subject);
        let (sealing, decision) = DecisionContext {
            publish,
            lookup,
            shared: &self.worker.shared,
            policy,
            state: &mut self.state.borrow_mut(),
            now: self.now,
        }
        .decide();
        self.watch.lap(BatchStage::Parse, &self.worker.shared.clock);
        let expect = |id| self.expect_answers(policy, (lookup, sealing), id, publish);
        let empty = publish.payload.is_empty().then_some(EnvelopeId::EMPTY);
        match decision {
            Decision::Pass => {
                expect(empty);
                self.pass(publish, out);
            }
            Decision::Edit(payload) => {
                expect(empty);
                self.write_edited(publish, payload.filled(), out);
            }
            Decision::Seal(keyring, binding) => {
                let id = self.seal(snapshot, (keyring, binding), publish, out)?;
                expect((!binding.passes_on).then_some(id));
                self.begin_run(snapshot, publish);
            }
            Decision::Await => return Err(Stop::Unaccepted),
            Decision::Refuse(refusal) => {
                // The error is published to the reply subject, and comes back as an answer.
                if matches!(refusal.answer, RefusalAnswer::Error(_)) {
                    expect(None);
                }
                self.refuse(snapshot, refusal, publish, out);
            }
        }
        self.watch
            .lap(BatchStage::Crypto, &self.worker.shared.clock);
        Ok(())
    }

    fn seal(
        &self,
        snapshot: &Snapshot,
        (keyring, binding): (KeyringId, Binding<'_>),
        publish: &Publish<'_>,
        out: &mut Buffer,
    ) -> Result<EnvelopeId, Stop> {
        let meters = self.worker.meters.keyring(Some(keyring.index()));
        let headers = publish.headers.unwrap_or_default();
        let sealed_len = publish.payload.len().saturating_add(OVERHEAD);
        let total = sealed_len.saturating_add(headers.len());
        if total > self.most_sealed() {
            self.report_refused(snapshot, Some(keyring), Cause::TooLarge, publish);
            return Err(Stop::TooLarge);
        }
        if let Some(reply) = binding.reply {
            let name = snapshot.policy().name_of(Some(keyring));
            let refusal_log = &self.worker.shared.refusal_log;
            refusal_log.log_reply(name, (publish.subject, reply), self.now);
        }
        let before = out.len();
        self.control_line(publish, Decimal::like(publish.size, total).digits(), out);
        out.put(headers);
        let message = (publish.payload, out.claim(sealed_len));
        let mut lanes = self.worker.lanes.borrow_mut();
        let sealed = lanes.seal(snapshot, keyring, binding, message);
        let sealed = sealed.map_err(|refused| {
            out.truncate(before);
            self.seal_refused(refused, snapshot, (keyring, publish))
        })?;
        meters.lanes_started.add(u64::from(sealed.lane_drawn));
        out.put(b"\r\n");
        meters.sealed.add(publish.payload.len());
        Ok(sealed.id)
    }

    fn seal_refused(
        &self,
        refused: SealRefused,
        snapshot: &Snapshot,
        (keyring, publish): (KeyringId, &Publish<'_>),
    ) -> Stop {
        match refused {
            SealRefused::NoActiveVersion
            | SealRefused::BudgetExhausted
            | SealRefused::NoEntropy => {
                let name = snapshot.policy().name_of(Some(keyring));
                if let Some(left_out) = self.worker.shared.unsealed.admit(self.now) {
                    tracing::error!(keyring = name, why = %refused, left_out, "publishing waits");
                }
                Stop::CannotSeal(keyring)
            }
            SealRefused::SubjectTooLong => {
                self.report_refused(snapshot, Some(keyring), Cause::TooLarge, publish);
                Stop::TooLarge
            }
        }
    }

    /// Ends publishing. The server gets bytes for which it closes the connection, unless only the gateway's own limit is
    /// exceeded.
    fn malformed(&self, malformed: Malformed, rest: &[u8], out: &mut Buffer) -> PublishBatch {
        proxy_protocol::count_unexpected(self.worker, rest);
        self.worker.meters.malformed(Side::Client);
        let mut state = self.state.borrow_mut();
        state.violated_rule = Some(<&str>::from(malformed));
        let own_limit = self.worker.shared.config.max_message;
        let is_too_large = matches!(malformed, Malformed::PayloadTooLarge { .. });
        if is_too_large && state.max_payload.is_none_or(|limit| limit > own_limit) {
            PublishBatch::TooLarge
        } else {
            kill(&malformed.forward(rest), out)
        }
    }
}

/// Has the server close the connection with its own error. Nothing more of the client's is forwarded.
fn kill(last: &[u8], out: &mut Buffer) -> PublishBatch {
    out.put(last);
    PublishBatch::Killed
}
