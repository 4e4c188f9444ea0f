//! A batch of the deliver direction: parse, decide, open, write.

use crate::envelope::{Binding, Flags, Kid, OVERHEAD};
use crate::keyring::{self, OpenRefused, Opened, Snapshot};
use crate::metrics::{BatchStage, Cause, Direction, MissOutcome, Side};
use crate::policy::KeyringId;
use crate::wire::{Buffer, Message, Parsed, ServerOp, header, write};

use crate::dataplane::buffer_pool::BATCH_OUTPUT;
use crate::dataplane::handshake;
use crate::dataplane::injected_errors::Pong;
use crate::dataplane::replies::{Class, FROM_STREAM, PublishedRequest};

use super::allowed_answers::SNAPSHOT_ACK;
use super::decision::{Decision, DecisionContext, EnvelopeSource, OnFailure, Opening};
use super::flow_control::is_forged_flow_control;
use super::jetstream_answers::{narrower_limit, narrower_size};
use super::msg_get;
use super::other_subjects;
use super::path::{DeliverPath, Incoming};
use super::requests::DeliveredAs;

/// How a batch ended.
pub enum DeliverBatch {
    /// Needs this many bytes of input, counted from the first that is left.
    More(usize),
    /// The output is full: flush it, then run the next batch.
    Full,
    /// The next message is sealed under a version that is not in the snapshot.
    Miss(Kid),
    /// The server violated the protocol.
    Malformed,
    /// The `PONG` to the gateway's last `PING` has come: the server has processed everything that the client has sent.
    Drained,
}

/// The subject under which an envelope opened.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Tried {
    /// The one that it was delivered on, or stored under.
    Own,
    /// Another one for which it may have been sealed.
    Other,
}

enum Stop {
    Miss(Kid),
    InvalidInfo,
    Drained,
}

impl DeliverPath<'_> {
    /// Runs one batch, without waiting: one snapshot, one clock reading, operation by operation.
    pub fn batch(&mut self, input: &mut Buffer, output: &mut Buffer) -> DeliverBatch {
        self.watch.start(&self.worker.shared.clock);
        let snapshot = self.worker.shared.keys.load();
        self.now = self.worker.shared.clock.instant();
        self.lanes.borrow_mut().refresh(&snapshot);
        self.misses.refresh(&snapshot);
        self.worker.add_keyring_meters(&snapshot);
        self.state
            .borrow_mut()
            .identity
            .refresh(&snapshot, self.now);
        let mut taken = 0;
        let ended = loop {
            if output.len() >= BATCH_OUTPUT {
                break DeliverBatch::Full;
            }
            let rest = input.filled().get(taken..).unwrap_or_default();
            let run_len = self.forward_run(&snapshot, rest, output);
            if run_len != 0 {
                taken = taken.saturating_add(run_len);
                continue;
            }
            self.fast_path.end();
            match self.parser.next(rest) {
                Ok(Parsed::Incomplete { need }) => break DeliverBatch::More(need),
                Ok(Parsed::Op { op, len }) => match self.forward(&snapshot, op, output) {
                    Ok(()) => taken = taken.saturating_add(len),
                    Err(Stop::Miss(kid)) => break DeliverBatch::Miss(kid),
                    Err(Stop::InvalidInfo) => break self.malformed("info"),
                    Err(Stop::Drained) => {
                        taken = taken.saturating_add(len);
                        break DeliverBatch::Drained;
                    }
                },
                Err(malformed) => break self.malformed(<&str>::from(malformed)),
            }
        };
        self.fast_path.end();
        input.consume(taken);
        self.worker.meters.flush();
        ended
    }

    fn malformed(&self, rule: &'static str) -> DeliverBatch {
        self.worker.meters.malformed(Side::Server);
        self.state.borrow_mut().violated_rule = Some(rule);
        DeliverBatch::Malformed
    }

    fn forward(
        &mut self,
        snapshot: &Snapshot,
        op: ServerOp<'_>,
        out: &mut Buffer,
    ) -> Result<(), Stop> {
        match op {
            ServerOp::Message(message) => {
                let message = &message;
                let incoming = Incoming { snapshot, message };
                return self.message(incoming, out).map_err(Stop::Miss);
            }
            ServerOp::Info { json } => {
                let state = &mut *self.state.borrow_mut();
                handshake::info(json, snapshot, self.worker, state, out)
                    .map_err(|handshake::InvalidInfo| Stop::InvalidInfo)?;
                state.identity.refresh(snapshot, self.now);
            }
            ServerOp::Ping => write::ping(out),
            ServerOp::Pong => match self.state.borrow_mut().injected_errors.pong(out) {
                Pong::Handled => {}
                Pong::Last => return Err(Stop::Drained),
            },
            ServerOp::Ok => write::ok(out),
            ServerOp::Err { text } => write::err(out, text),
        }
        Ok(())
    }

    fn message(&mut self, incoming: Incoming<'_>, out: &mut Buffer) -> Result<(), Kid> {
        let Incoming { snapshot, message } = incoming;
        if self.is_surplus(message) {
            self.worker.meters.kept_back();
            return Ok(());
        }
        let before = out.len();
        let decision = self.decide(snapshot, message);
        self.count_unsealed(decision, message);
        self.watch.lap(BatchStage::Parse, &self.worker.shared.clock);
        match decision {
            Decision::Pass => {
                self.pass(incoming, out);
                self.begin_run(snapshot, message, None);
            }
            Decision::Accept(keyring) => {
                let meters = self.worker.meters.keyring(Some(keyring.index()));
                meters.plaintext.add(message.payload.len());
                self.pass(incoming, out);
            }
            Decision::PassWithoutHeaders => self.pass_without_headers(incoming, out),
            Decision::Open(opening) => self.open(opening, incoming, out)?,
            Decision::OpenStored => self.open_stored(incoming, out)?,
            Decision::NarrowConfig => self.narrow_config(incoming, out),
            Decision::NarrowLimits => self.narrow_limits(incoming, out),
            Decision::NarrowSize => self.renumber(narrower_size(incoming), incoming, out),
            Decision::NarrowExceeded => self.renumber(narrower_limit(message), incoming, out),
            Decision::NarrowPending => self.renumber(self.narrower_pending(message), incoming, out),
            Decision::UnknownApiPrefix(keyring) => self.unknown_api_prefix(keyring, incoming, out),
            Decision::EndBatch => self.end_batch(incoming, out),
            Decision::Withhold(keyring, cause) => self.withhold((keyring, cause), incoming, out),
        }
        if out.len() > before {
            self.count_batched(decision, message);
        }
        self.watch
            .lap(BatchStage::Crypto, &self.worker.shared.clock);
        Ok(())
    }

    fn decide(&mut self, snapshot: &Snapshot, message: &Message<'_>) -> Decision {
        if self.worker.shared.config.relay_only {
            return Decision::Pass;
        }
        let policy = snapshot.policy();
        let lookup = self
            .routes
            .lookup(policy, snapshot.generation(), message.subject);
        // Clients act on it in messages that are empty to them, sealed or not, also where the status is an ordinary header.
        let may_be_empty = matches!(message.payload.len(), 0 | OVERHEAD);
        let controls = |headers| is_forged_flow_control(headers, message.reply);
        if may_be_empty && message.headers.is_some_and(controls) {
            return Decision::Withhold(lookup.route.keyring(), Cause::Reply);
        }
        let context = DecisionContext {
            message,
            lookup,
            shared: &self.worker.shared,
            policy,
            state: &self.state.borrow(),
            now: self.now,
        };
        context.decide()
    }

    /// Counts messages of streams without an envelope: they use less of a pull's bytes than was added for them.
    fn count_unsealed(&self, decision: Decision, message: &Message<'_>) {
        let is_unsealed = matches!(
            decision,
            Decision::Pass | Decision::Accept(_) | Decision::NarrowSize
        );
        let is_stored = |reply: &[u8]| reply.starts_with(FROM_STREAM);
        if is_unsealed && message.reply.is_some_and(is_stored) {
            let replies = &mut self.state.borrow_mut().replies;
            replies.delivered_unsealed(message.sid, self.now);
        }
    }

    /// Opens into `out`; on failure `out` is as it was.
    fn open(
        &mut self,
        opening: Opening,
        incoming: Incoming<'_>,
        out: &mut Buffer,
    ) -> Result<(), Kid> {
        let Incoming { snapshot, message } = incoming;
        let [expected, other] = opening.expected;
        if let Some(keyring) = self.denied_keyring(snapshot, expected.or(other), message.payload) {
            self.withhold((Some(keyring), Cause::Identity), incoming, out);
            return Ok(());
        }
        let before = out.len();
        match self.try_open(&opening, incoming, out) {
            Ok((opened, by)) => {
                out.put(b"\r\n");
                if !self.admit_opened(opened, incoming) {
                    out.wipe(before);
                    self.withhold((Some(opened.keyring), Cause::Reply), incoming, out);
                } else if by == Tried::Own {
                    self.begin_run(snapshot, message, Some(opened.keyring));
                }
            }
            Err(refused) => {
                out.truncate(before);
                let cause = self.withhold_cause(refused)?;
                match opening.on_failure {
                    OnFailure::Pass => self.pass(incoming, out),
                    OnFailure::Withhold => {
                        let keyring = refused.keyring().or(expected);
                        self.withhold((keyring, cause), incoming, out);
                    }
                }
            }
        }
        Ok(())
    }

    fn try_open(
        &self,
        opening: &Opening,
        Incoming { snapshot, message }: Incoming<'_>,
        out: &mut Buffer,
    ) -> Result<(Opened, Tried), OpenRefused> {
        let payload = message.payload;
        let headers = message.headers.unwrap_or_default();
        let opened_len = payload.len().saturating_sub(OVERHEAD);
        if opening.from == EnvelopeSource::StreamNoHeaders {
            write::message_with_lengths(out, message, None, opened_len);
        } else {
            let total = opened_len.saturating_add(headers.len());
            write::message(out, message.line, total);
            out.put(headers);
        }
        let body = out.len();
        let mut lanes = self.lanes.borrow_mut();
        let lanes = &mut *lanes;
        let policy = snapshot.policy();
        let stored = header::direct_get_headers(headers)
            .filter(|_| opening.from != EnvelopeSource::Publisher)
            .map(|stored| stored.subject);
        let own = policy.normalise(stored.unwrap_or(message.subject));
        let all = Binding {
            reply: message.reply,
            ..Binding::default()
        };
        let bound = keyring::flags(payload).has(Flags::BOUND);
        let mut attempt = |expected: Option<KeyringId>, subject: &[u8]| {
            if expected.is_none() && !bound {
                return Err(OpenRefused::WrongKeyring);
            }
            let mut known = Binding {
                subject: Some(subject),
                ..all
            };
            let mut answers = |answers| {
                known.answers = answers;
                out.truncate(body);
                let message = (payload, out.claim(opened_len));
                keyring::open(snapshot, lanes, expected, known, message)
            };
            let [request, empty] = opening.requests;
            let opened = answers(request.or(empty));
            match (opened, request.and(empty)) {
                (Err(OpenRefused::Unauthentic(_)), Some(empty)) => answers(Some(empty)),
                (opened, _) => opened,
            }
        };
        let [expected, other] = opening.expected;
        let mut first = attempt(expected, own);
        if first == Err(OpenRefused::WrongKeyring) && other.is_some() {
            first = attempt(other, own);
        }
        let Err(OpenRefused::Unauthentic(keyring)) = first else {
            return first.map(|opened| (opened, Tried::Own));
        };
        let subjects = (message.subject, stored);
        let other = other_subjects::try_each(policy, keyring, subjects, |subject| {
            attempt(Some(keyring), subject).ok()
        });
        other.map(|opened| (opened, Tried::Other)).ok_or_else(|| {
            lanes.count_failed(snapshot, payload);
            OpenRefused::Unauthentic(keyring)
        })
    }

    /// Whether the client may have what was opened, for the sake of its reply subject; then it is counted.
    fn admit_opened(&self, opened: Opened, incoming: Incoming<'_>) -> bool {
        let meters = &self.worker.meters;
        meters.lane_lookup(opened.source);
        let comes = DeliveredAs::Sealed(opened.keyring, opened.header);
        let admitted = self.admits_request(comes, incoming);
        if admitted {
            let len = incoming.message.payload.len().saturating_sub(OVERHEAD);
            let keyring = Some(opened.keyring.index());
            meters.keyring(keyring).opened.add(len);
        }
        admitted
    }

    /// Why the message is withheld; `Err` if its key version is worth a wait.
    fn withhold_cause(&self, refused: OpenRefused) -> Result<Cause, Kid> {
        match refused {
            OpenRefused::Miss(kid) if !self.is_absent(kid) => Err(kid),
            OpenRefused::Miss(kid) => Ok(self.misses.cause(kid, self.now)),
            OpenRefused::NotAnEnvelope(_)
            | OpenRefused::WrongKeyring
            | OpenRefused::Unauthentic(_) => Ok(msg_get::cause(refused)),
        }
    }

    pub(super) fn pass(&self, incoming: Incoming<'_>, out: &mut Buffer) {
        if self.worker.shared.config.relay_only || self.admit_or_withhold(incoming, out) {
            let message = incoming.message;
            out.put(message.line);
            out.put(message.headers.unwrap_or_default());
            self.finish_pass(message, out);
        }
    }

    /// Passes a stored message without its headers, which the gateway has asked for, and the client has not.
    fn pass_without_headers(&self, incoming: Incoming<'_>, out: &mut Buffer) {
        if self.admit_or_withhold(incoming, out) {
            let message = incoming.message;
            write::message_with_lengths(out, message, None, message.payload.len());
            self.finish_pass(message, out);
        }
    }

    fn finish_pass(&self, message: &Message<'_>, out: &mut Buffer) {
        out.put(message.payload);
        out.put(b"\r\n");
        self.worker
            .meters
            .passed(Direction::Deliver)
            .add(message.payload.len());
        self.renew_snapshot(message);
    }

    /// Renews what is remembered of a snapshot with each chunk: they may come for hours.
    fn renew_snapshot(&self, message: &Message<'_>) {
        let is_chunk = |reply: &[u8]| reply.starts_with(SNAPSHOT_ACK);
        if message.reply.is_some_and(is_chunk) {
            let (subject, replies) = (message.subject, &mut self.state.borrow_mut().replies);
            let asked = replies.request_on(subject, self.now);
            if asked.is_some_and(|asked| asked.is(Class::StreamSnapshot)) {
                let snapshot = PublishedRequest::of(Class::StreamSnapshot);
                replies.request_published(subject, snapshot, self.now);
            }
        }
    }

    /// Whether no message waits for this key version now.
    pub(super) fn is_absent(&self, kid: Kid) -> bool {
        if self.misses.is_absent(kid, self.now) {
            return true;
        }
        let refused = self.misses.is_refused(kid, self.now);
        if refused {
            self.worker.meters.miss(MissOutcome::Refused);
        }
        refused
    }
}
