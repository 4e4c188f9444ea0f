//! A batch of the deliver direction: parse, decide, open, write.

use std::cell::RefCell;
use std::time::{Duration, Instant};

use crate::envelope::{Header, Kid, OVERHEAD, looks_sealed};
use crate::keyring::{self, LaneCache, OpenRefused, Opened, Snapshot};
use crate::metrics::{Cause, Direction, Side, Stage, Stopwatch};
use crate::policy::{KeyringId, Plaintext, Route};
use crate::wire::write;
use crate::wire::{Buffer, Limits, Message, ServerOp, ServerParser, Step};

use crate::dataplane::greet;
use crate::dataplane::link::Link;
use crate::dataplane::replies;
use crate::dataplane::reports::Report;
use crate::dataplane::route_cache::RouteCache;
use crate::dataplane::worker::Worker;

use super::candidates;

/// A batch ends when its output has grown to this.
const BATCH_OUTPUT: usize = 256 * 1024;

/// How long a kid that could not be loaded is not asked for again.
const ABSENT_FOR: Duration = Duration::from_secs(1);

/// The deliver path of one session, from bytes to bytes: no sockets, no waiting.
pub struct DeliverPath<'s> {
    worker: &'s Worker,
    link: &'s RefCell<Link>,
    parser: ServerParser,
    routes: RouteCache,
    lanes: LaneCache,
    absent: Option<(Kid, Instant)>,
    watch: Stopwatch,
    /// When the batch began.
    now: Instant,
}

/// How a batch ended.
pub enum DeliverBatch {
    /// It needs this many bytes, counted from the first that is left.
    More(usize),
    /// The output is full; go on with what is left.
    Full,
    /// The next message is sealed under a version that is not in the snapshot.
    Miss(Kid),
    /// The server broke the protocol.
    Malformed,
}

/// Why an operation was not forwarded.
enum Stop {
    Miss(Kid),
    NotAnInfo,
}

/// What becomes of a message.
enum Fate {
    /// The client gets it as it is.
    Pass,
    /// The client gets the plaintext.
    Open {
        expected: Option<KeyringId>,
        or: Otherwise,
    },
    /// The client does not get it.
    Withhold(Option<KeyringId>, Cause),
}

/// What becomes of an envelope that does not open.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Otherwise {
    /// On a subject that nobody protects, it may be anything.
    Pass,
    Withhold,
}

impl<'s> DeliverPath<'s> {
    /// The path of a new session.
    #[must_use]
    pub fn new(worker: &'s Worker, link: &'s RefCell<Link>) -> Self {
        Self {
            worker,
            link,
            parser: ServerParser::new(Limits::default()),
            routes: RouteCache::default(),
            lanes: LaneCache::new(),
            absent: None,
            watch: Stopwatch::default(),
            now: worker.shared.clock.instant(),
        }
    }

    /// The output of the last batch has been written.
    pub fn written(&mut self) {
        self.watch.lap(Stage::Write, &self.worker.shared.clock);
        self.watch
            .stop(self.worker.meters.batch_seconds(Direction::Deliver));
    }

    /// The wait for this version ended without it: messages under it are not worth another wait for a while.
    pub fn give_up(&mut self, kid: Kid) {
        let now = self.worker.shared.clock.instant();
        self.absent = now.checked_add(ABSENT_FOR).map(|until| (kid, until));
    }

    /// Everything that a batch does, without waiting: one snapshot, operation by operation.
    pub fn batch(&mut self, input: &mut Buffer, output: &mut Buffer) -> DeliverBatch {
        self.watch.start(&self.worker.shared.clock);
        let snapshot = self.worker.shared.keys.load();
        self.now = self.worker.shared.clock.instant();
        self.lanes.refresh(&snapshot);
        let mut taken = 0;
        let ended = loop {
            if output.len() >= BATCH_OUTPUT {
                break DeliverBatch::Full;
            }
            let rest = input.filled().get(taken..).unwrap_or_default();
            match self.parser.next(rest) {
                Ok(Step::More { need }) => break DeliverBatch::More(need),
                Ok(Step::Op { op, len }) => match self.forward(&snapshot, op, output) {
                    Ok(()) => taken = taken.saturating_add(len),
                    Err(Stop::Miss(kid)) => break DeliverBatch::Miss(kid),
                    Err(Stop::NotAnInfo) => break self.malformed("info"),
                },
                Err(malformed) => break self.malformed(malformed.word()),
            }
        };
        input.consume(taken);
        self.worker.meters.flush();
        ended
    }

    fn malformed(&self, rule: &'static str) -> DeliverBatch {
        self.worker.meters.malformed(Side::Server);
        self.link.borrow_mut().broken = Some(rule);
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
                return self.message(snapshot, &message, out).map_err(Stop::Miss);
            }
            ServerOp::Info { json } => {
                greet::info(
                    json,
                    snapshot,
                    self.worker,
                    &mut self.link.borrow_mut(),
                    out,
                )
                .map_err(|greet::NotAnInfo| Stop::NotAnInfo)?;
            }
            ServerOp::Ping => write::ping(out),
            ServerOp::Pong => write::pong(out),
            ServerOp::Ok => write::ok(out),
            ServerOp::Err { text } => write::err(out, text),
        }
        Ok(())
    }

    fn message(
        &mut self,
        snapshot: &Snapshot,
        message: &Message<'_>,
        out: &mut Buffer,
    ) -> Result<(), Kid> {
        let fate = self.fate(snapshot, message);
        self.watch.lap(Stage::Parse, &self.worker.shared.clock);
        match fate {
            Fate::Pass => self.pass(snapshot, message, out),
            Fate::Open { expected, or } => self.open(snapshot, message, (expected, or), out)?,
            Fate::Withhold(keyring, cause) => {
                self.withhold(snapshot, (keyring, cause), message);
            }
        }
        self.watch.lap(Stage::Crypto, &self.worker.shared.clock);
        Ok(())
    }

    /// R41: empties pass, envelopes are opened, plaintext on a protected subject is withheld unless it answers what the client
    /// itself asked. A status line changes nothing: whoever can publish can write one.
    fn fate(&mut self, snapshot: &Snapshot, message: &Message<'_>) -> Fate {
        if self.worker.shared.config.relay_only || message.payload.is_empty() {
            return Fate::Pass;
        }
        let policy = snapshot.policy();
        let route = self
            .routes
            .route(policy, snapshot.generation(), message.subject);
        let keyring = match route {
            Route::Pass => return on_sealed(message, None, Otherwise::Pass),
            Route::Reply(covering) => return self.fate_of_reply(snapshot, message, covering),
            Route::Keyring(keyring) => keyring,
        };
        let asked = self.link.borrow().replies.asked(message.subject, self.now);
        // What the client itself asked may be answered under another keyring, and by the server in plaintext.
        let expected = asked.is_none().then_some(keyring);
        let fate = on_sealed(message, expected, Otherwise::Withhold);
        let admitted = asked.is_some_and(|asked| asked.admits_plaintext(message.payload));
        if !matches!(fate, Fate::Pass) || admitted {
            return fate;
        }
        if self.accepts_plaintext(snapshot, keyring) {
            let meters = self.worker.meters.keyring(Some(keyring.index()));
            meters.plaintext.add(message.payload.len());
            return fate;
        }
        let broken = looks_sealed(message.payload);
        let cause = if broken {
            Cause::BadEnvelope
        } else {
            Cause::Plaintext
        };
        Fate::Withhold(Some(keyring), cause)
    }

    /// Plaintext answers pass, for the server itself answers on inboxes. What begins like an envelope and is none passes only where no
    /// keyring is strict about it.
    fn fate_of_reply(
        &self,
        snapshot: &Snapshot,
        message: &Message<'_>,
        covering: Option<KeyringId>,
    ) -> Fate {
        let fate = on_sealed(message, None, Otherwise::Withhold);
        let strict = covering.filter(|keyring| !self.accepts_plaintext(snapshot, *keyring));
        match (fate, strict) {
            (Fate::Pass, Some(_)) if looks_sealed(message.payload) => {
                Fate::Withhold(strict, Cause::BadEnvelope)
            }
            (fate, _) => fate,
        }
    }

    fn accepts_plaintext(&self, snapshot: &Snapshot, keyring: KeyringId) -> bool {
        match snapshot
            .policy()
            .keyring(keyring)
            .map(|rule| rule.plaintext)
        {
            Some(Plaintext::Accept { until }) => self.worker.shared.clock.wall() < until,
            Some(Plaintext::Reject) | None => false,
        }
    }

    /// Opens into `out`; on failure `out` is as it was.
    fn open(
        &mut self,
        snapshot: &Snapshot,
        message: &Message<'_>,
        (expected, or): (Option<KeyringId>, Otherwise),
        out: &mut Buffer,
    ) -> Result<(), Kid> {
        let before = out.len();
        match self.try_open(snapshot, message, expected, out) {
            Ok(opened) => {
                out.put(b"\r\n");
                self.opened(snapshot, opened, message);
            }
            Err(refused) => {
                out.truncate(before);
                let cause = self.cause(refused)?;
                match or {
                    Otherwise::Pass => self.pass(snapshot, message, out),
                    Otherwise::Withhold => {
                        let keyring = refused.keyring().or(expected);
                        self.withhold(snapshot, (keyring, cause), message);
                    }
                }
            }
        }
        Ok(())
    }

    fn try_open(
        &mut self,
        snapshot: &Snapshot,
        message: &Message<'_>,
        expected: Option<KeyringId>,
        out: &mut Buffer,
    ) -> Result<Opened, OpenRefused> {
        let payload = message.payload;
        let headers = message.headers.unwrap_or_default();
        let opened_len = payload.len().saturating_sub(OVERHEAD);
        let total = opened_len.saturating_add(headers.len());
        write::message(out, message.line, total);
        out.put(headers);
        let body = out.len();
        let lanes = &mut self.lanes;
        let mut attempt = |subject: &[u8]| {
            out.truncate(body);
            keyring::open(
                snapshot,
                lanes,
                expected,
                subject,
                (payload, out.claim(opened_len)),
            )
        };
        let policy = snapshot.policy();
        match attempt(policy.normalise(message.subject)) {
            Err(OpenRefused::Unauthentic(keyring)) => {
                let asked = self.link.borrow().replies.asked(message.subject, self.now);
                candidates::others(policy, (keyring, asked), message, |subject| {
                    attempt(subject).ok()
                })
                .ok_or(OpenRefused::Unauthentic(keyring))
            }
            first => first,
        }
    }

    fn opened(&self, snapshot: &Snapshot, opened: Opened, message: &Message<'_>) {
        let meters = &self.worker.meters;
        meters.lane_lookup(opened.source);
        meters
            .keyring(Some(opened.keyring.index()))
            .opened
            .add(message.payload.len().saturating_sub(OVERHEAD));
        self.expect_answer(snapshot, message.reply, Some(opened.keyring));
    }

    /// Remembers that an answer on `reply` is to be sealed under the request's keyring, or published in plaintext as it came.
    fn expect_answer(&self, snapshot: &Snapshot, reply: Option<&[u8]>, keyring: Option<KeyringId>) {
        if let Some(reply) = reply.filter(|reply| replies::are_alike(snapshot.policy(), reply)) {
            let replies = &mut self.link.borrow_mut().replies;
            replies.request_delivered(reply, keyring, self.now);
        }
    }

    /// Why the message is withheld, unless it is worth waiting for.
    fn cause(&self, refused: OpenRefused) -> Result<Cause, Kid> {
        match refused {
            OpenRefused::Miss(kid) if !self.is_absent(kid) => Err(kid),
            OpenRefused::Miss(_) => Ok(Cause::UnknownKey),
            OpenRefused::NotAnEnvelope(_) => Ok(Cause::BadEnvelope),
            OpenRefused::WrongKeyring => Ok(Cause::WrongKeyring),
            OpenRefused::Unauthentic(_) => Ok(Cause::Unauthentic),
        }
    }

    fn pass(&self, snapshot: &Snapshot, message: &Message<'_>, out: &mut Buffer) {
        out.put(message.line);
        out.put(message.headers.unwrap_or_default());
        out.put(message.payload);
        out.put(b"\r\n");
        self.worker
            .meters
            .passed(Direction::Deliver)
            .add(message.payload.len());
        if message.reply.is_some() && !self.worker.shared.config.relay_only {
            let keyring = self.keyring_of_empty(snapshot, message);
            self.expect_answer(snapshot, message.reply, keyring);
        }
    }

    /// An empty request looks the same from behind a gateway and from elsewhere. On a subject on which no plaintext is accepted
    /// it counts as sealed: a client on the bare bus must not get a plaintext answer by asking for nothing.
    fn keyring_of_empty(&self, snapshot: &Snapshot, message: &Message<'_>) -> Option<KeyringId> {
        match snapshot.policy().route(message.subject) {
            Route::Keyring(keyring) if message.payload.is_empty() => {
                (!self.accepts_plaintext(snapshot, keyring)).then_some(keyring)
            }
            Route::Keyring(_) | Route::Reply(_) | Route::Pass => None,
        }
    }

    fn withhold(
        &self,
        snapshot: &Snapshot,
        (keyring, cause): (Option<KeyringId>, Cause),
        message: &Message<'_>,
    ) {
        let meters = self.worker.meters.keyring(keyring.map(KeyringId::index));
        meters.withheld(cause, message.payload.len());
        let report = Report {
            direction: Direction::Deliver,
            keyring: snapshot.policy().name_of(keyring),
            cause,
            subject: message.subject,
        };
        self.worker.shared.reports.tell(&report, self.now);
    }

    fn is_absent(&self, kid: Kid) -> bool {
        self.absent
            .is_some_and(|(absent, until)| absent == kid && self.now < until)
    }
}

/// What is an envelope is opened; the rest is plaintext, also what only begins like one: where plaintext is delivered, one random
/// payload in 65,536 does (R46).
fn on_sealed(message: &Message<'_>, expected: Option<KeyringId>, or: Otherwise) -> Fate {
    if looks_sealed(message.payload) && Header::parse(message.payload).is_ok() {
        Fate::Open { expected, or }
    } else {
        Fate::Pass
    }
}
