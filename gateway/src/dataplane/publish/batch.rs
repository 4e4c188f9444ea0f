//! A batch of the publish direction: parse, decide, seal, write.

use std::cell::RefCell;
use std::time::Instant;

use crate::envelope::OVERHEAD;
use crate::keyring::{SealRefused, Snapshot};
use crate::metrics::{Cause, Direction, Side, Stage, Stopwatch};
use crate::policy::{Bind, KeyringId, Policy, Route};
use crate::wire::connect::Connect;
use crate::wire::write::{self, Decimal, PublishLine};
use crate::wire::{Buffer, ClientOp, ClientParser, Limits, Malformed, Publish, Step};

use crate::dataplane::greet;
use crate::dataplane::link::Link;
use crate::dataplane::replies::{Answer, Asked};
use crate::dataplane::reports::Report;
use crate::dataplane::route_cache::RouteCache;
use crate::dataplane::worker::Worker;

/// A batch ends when its output has grown to this.
const BATCH_OUTPUT: usize = 256 * 1024;

/// What makes the server say `Maximum Payload Violation`, whatever its limit is.
const TOO_LARGE: &[u8] = b"PUB x 999999999\r\n";

/// The publish path of one session, from bytes to bytes: no sockets, no waiting.
pub struct PublishPath<'s> {
    worker: &'s Worker,
    link: &'s RefCell<Link>,
    parser: ClientParser,
    options: Connect,
    routes: RouteCache,
    watch: Stopwatch,
    /// When the batch began.
    now: Instant,
}

/// How a batch ended.
pub enum PublishBatch {
    /// It needs this many bytes, counted from the first that is left.
    More(usize),
    /// The output is full; go on with what is left.
    Full,
    /// A keyring of this snapshot generation has no active version; wait for a newer one.
    NoKey(u64),
    /// The client broke the protocol; the server has been given what it ends the connection for.
    Killed,
}

/// Why an operation was not forwarded.
enum Stop {
    NoKey(u64),
    TooLarge,
    /// The operation went out, and the server will close on it.
    Closes,
}

impl<'s> PublishPath<'s> {
    /// The path of a new session.
    #[must_use]
    pub fn new(worker: &'s Worker, link: &'s RefCell<Link>) -> Self {
        let max_control_line = worker.shared.config.max_control_line;
        let limits = Limits {
            max_control_line,
            ..Limits::default()
        };
        Self {
            worker,
            link,
            parser: ClientParser::new(limits),
            options: Connect::default(),
            routes: RouteCache::default(),
            watch: Stopwatch::default(),
            now: worker.shared.clock.instant(),
        }
    }

    /// The output of the last batch has been written.
    pub fn written(&mut self) {
        self.watch.lap(Stage::Write, &self.worker.shared.clock);
        self.watch
            .stop(self.worker.meters.batch_seconds(Direction::Publish));
    }

    /// Everything that a batch does, without waiting: one snapshot, one clock reading, operation by operation.
    pub fn batch(&mut self, input: &mut Buffer, output: &mut Buffer) -> PublishBatch {
        let shared = &self.worker.shared;
        self.watch.start(&shared.clock);
        let snapshot = shared.keys.load();
        self.now = shared.clock.instant();
        self.worker.lanes.borrow_mut().begin(&snapshot, self.now);
        self.learn();
        let mut taken = 0;
        let ended = loop {
            if output.len() >= BATCH_OUTPUT {
                break PublishBatch::Full;
            }
            let rest = input.filled().get(taken..).unwrap_or_default();
            match self.parser.next(rest) {
                Ok(Step::More { need }) => break PublishBatch::More(need),
                Ok(Step::Op { op, len }) => match self.forward(&snapshot, op, output) {
                    Ok(()) => taken = taken.saturating_add(len),
                    Err(Stop::NoKey(generation)) => break PublishBatch::NoKey(generation),
                    Err(Stop::TooLarge) => break kill(TOO_LARGE, output),
                    Err(Stop::Closes) => break PublishBatch::Killed,
                },
                Err(malformed) => {
                    self.malformed(malformed);
                    break kill(&malformed.forward(rest), output);
                }
            }
        };
        input.consume(taken);
        self.worker.lanes.borrow_mut().report();
        self.worker.meters.flush();
        ended
    }

    /// What the deliver direction has learned of the server since the last batch.
    fn learn(&mut self) {
        let link = self.link.borrow();
        self.parser.set_max_payload(link.max_payload);
        self.parser
            .set_headers(link.headers && self.options.headers());
    }

    fn forward(
        &mut self,
        snapshot: &Snapshot,
        op: ClientOp<'_>,
        out: &mut Buffer,
    ) -> Result<(), Stop> {
        let arg_len = self.parser.arg_len();
        match op {
            ClientOp::Publish(publish) => return self.publish(snapshot, &publish, out),
            ClientOp::Connect { json } => {
                greet::connect(json, arg_len, &mut self.options, out)
                    .map_err(|greet::Refused| Stop::Closes)?;
                let offered = self.link.borrow().headers;
                self.parser.set_headers(offered && self.options.headers());
            }
            ClientOp::Subscribe {
                subject,
                queue,
                sid,
            } => write::subscribe(out, subject, queue, sid, arg_len),
            ClientOp::Unsubscribe { sid, max } => write::unsubscribe(out, sid, max, arg_len),
            ClientOp::Ping => write::ping(out),
            ClientOp::Pong => write::pong(out),
            ClientOp::Info { json } => write::info(out, json),
            ClientOp::Ok => write::ok(out),
            ClientOp::Err { text } => write::err(out, text),
        }
        Ok(())
    }

    /// R40: an empty payload and a system subject pass, a protected subject is sealed, a reply is what its request was.
    fn publish(
        &mut self,
        snapshot: &Snapshot,
        publish: &Publish<'_>,
        out: &mut Buffer,
    ) -> Result<(), Stop> {
        let keyring = self.keyring_for(snapshot, publish);
        self.watch.lap(Stage::Parse, &self.worker.shared.clock);
        match keyring {
            Some(keyring) => self.seal(snapshot, keyring, publish, out)?,
            None => self.pass(publish, out),
        }
        self.watch.lap(Stage::Crypto, &self.worker.shared.clock);
        Ok(())
    }

    fn keyring_for(&mut self, snapshot: &Snapshot, publish: &Publish<'_>) -> Option<KeyringId> {
        if self.worker.shared.config.relay_only {
            return None;
        }
        let policy = snapshot.policy();
        if let Some(reply) = publish.reply {
            self.remember(policy, publish.subject, reply);
        }
        if publish.payload.is_empty() {
            return None;
        }
        let route = self
            .routes
            .route(policy, snapshot.generation(), publish.subject);
        let replies = &self.link.borrow().replies;
        match route {
            Route::Keyring(keyring) => Some(keyring),
            // An inbox of the client's own naming answers a sealed request with an envelope too.
            Route::Pass => replies.sealed_request(publish.subject, self.now),
            // Nobody has asked, as far as is known: fail closed under the keyring that covers it, if any does.
            Route::Reply(covering) => match replies.answer_to(publish.subject, self.now) {
                Answer::Sealed(keyring) => Some(keyring),
                Answer::Plain => None,
                Answer::Unknown => covering,
            },
        }
    }

    /// An answer on a protected subject, or with a stored message in it, has to be known when it comes.
    fn remember(&self, policy: &Policy, subject: &[u8], reply: &[u8]) {
        let protected = matches!(policy.route(reply), Route::Keyring(_));
        if protected || policy.is_direct_get(subject) {
            let asked = Asked::on(policy, subject);
            let replies = &mut self.link.borrow_mut().replies;
            replies.request_published(reply, asked, self.now);
        }
    }

    fn seal(
        &self,
        snapshot: &Snapshot,
        keyring: KeyringId,
        publish: &Publish<'_>,
        out: &mut Buffer,
    ) -> Result<(), Stop> {
        let meters = self.worker.meters.keyring(Some(keyring.index()));
        let headers = publish.headers.unwrap_or_default();
        let sealed_len = publish.payload.len().saturating_add(OVERHEAD);
        let total = sealed_len.saturating_add(headers.len());
        if self
            .link
            .borrow()
            .max_payload
            .is_some_and(|most| total > most)
        {
            self.refused(snapshot, keyring, publish);
            return Err(Stop::TooLarge);
        }
        let before = out.len();
        self.line(publish, Decimal::like(publish.size, total).digits(), out);
        out.put(headers);
        let bound = match snapshot.policy().keyring(keyring).map(|rule| &rule.bind) {
            Some(Bind::Keyring) => None,
            Some(Bind::Subject { .. }) | None => Some(snapshot.policy().normalise(publish.subject)),
        };
        let message = (publish.payload, out.claim(sealed_len));
        let sealed = self
            .worker
            .lanes
            .borrow_mut()
            .seal(snapshot, keyring, bound, message);
        match sealed {
            Ok(lane_drawn) => meters.lanes_started.add(u64::from(lane_drawn)),
            Err(refused) => {
                out.truncate(before);
                return Err(self.unsealed(refused, snapshot, (keyring, publish)));
            }
        }
        out.put(b"\r\n");
        meters.sealed.add(publish.payload.len());
        Ok(())
    }

    fn unsealed(
        &self,
        refused: SealRefused,
        snapshot: &Snapshot,
        (keyring, publish): (KeyringId, &Publish<'_>),
    ) -> Stop {
        match refused {
            SealRefused::NoActiveVersion | SealRefused::NoEntropy => {
                let shared = &self.worker.shared;
                if let Some(left_out) = shared.unsealed.admit(self.now) {
                    tracing::error!(%refused, left_out, "publishing waits for a key to seal under");
                }
                Stop::NoKey(snapshot.generation())
            }
            SealRefused::SubjectTooLong => {
                self.refused(snapshot, keyring, publish);
                Stop::TooLarge
            }
        }
    }

    fn pass(&self, publish: &Publish<'_>, out: &mut Buffer) {
        self.line(publish, publish.size, out);
        out.put(publish.headers.unwrap_or_default());
        out.put(publish.payload);
        out.put(b"\r\n");
        self.worker
            .meters
            .passed(Direction::Publish)
            .add(publish.payload.len());
    }

    /// The control line, with `size` for headers and payload together.
    fn line(&self, publish: &Publish<'_>, size: &[u8], out: &mut Buffer) {
        let line = PublishLine {
            subject: publish.subject,
            reply: publish.reply,
            header_size: publish.header_size,
            size,
            arg_len: self.parser.arg_len(),
        };
        write::publish(out, &line);
    }

    /// Sealed, it would be larger than the server takes.
    fn refused(&self, snapshot: &Snapshot, keyring: KeyringId, publish: &Publish<'_>) {
        let meters = self.worker.meters.keyring(Some(keyring.index()));
        meters.refused(Cause::TooLarge, publish.payload.len());
        let report = Report {
            direction: Direction::Publish,
            keyring: snapshot.policy().name_of(Some(keyring)),
            cause: Cause::TooLarge,
            subject: publish.subject,
        };
        self.worker.shared.reports.tell(&report, self.now);
    }

    fn malformed(&self, malformed: Malformed) {
        self.worker.meters.malformed(Side::Client);
        self.link.borrow_mut().broken = Some(malformed.word());
    }
}

/// The server ends the connection, in order and in its own words; nothing of the client's goes out after this.
fn kill(last: &[u8], out: &mut Buffer) -> PublishBatch {
    out.put(last);
    PublishBatch::Killed
}
