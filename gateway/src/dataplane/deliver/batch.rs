//! A batch of the deliver direction: parse, decide, open, write.

use std::cell::RefCell;
use std::time::Instant;

use crate::envelope::{Binding, Flags, Kid, OVERHEAD};
use crate::keyring::{self, OpenRefused, Opened, Snapshot};
use crate::metrics::{Cause, Direction, MissOutcome, Side, Stage, Stopwatch};
use crate::policy::KeyringId;
use crate::wire::{Buffer, Limits, Message, ServerOp, ServerParser, Step, header, write};

use crate::dataplane::caches::Cache;
use crate::dataplane::greet;
use crate::dataplane::identity::Barred;
use crate::dataplane::link::Link;
use crate::dataplane::pool::BATCH_OUTPUT;
use crate::dataplane::refusals::Pong;
use crate::dataplane::replies::{Asked, Class, FROM_STREAM};
use crate::dataplane::route_cache::RouteCache;
use crate::dataplane::streak::Streak;
use crate::dataplane::worker::Worker;

use super::admitted::CHUNK;
use super::candidates;
use super::fate::{Fate, From, Judge, Opening, Otherwise};
use super::misses::Misses;
use super::requests::Comes;
use super::stalled::controls_elsewhere;
use super::stored;

/// The deliver path of one session, from bytes to bytes: no sockets, no waiting.
pub struct DeliverPath<'s> {
    pub(super) worker: &'s Worker,
    pub(super) link: &'s RefCell<Link>,
    parser: ServerParser,
    pub(super) routes: RouteCache,
    pub(super) streak: Streak,
    pub(super) deaf: Barred,
    pub(super) lanes: Cache,
    pub(super) misses: Misses,
    pub(super) watch: Stopwatch,
    pub(super) now: Instant,
}

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
    Last,
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
    NotAnInfo,
    Last,
}

impl<'s> DeliverPath<'s> {
    /// The path of a new session.
    #[must_use]
    pub fn new(worker: &'s Worker, link: &'s RefCell<Link>) -> Self {
        Self {
            worker,
            link,
            parser: ServerParser::new(Limits {
                max_message: worker.shared.config.max_message,
                ..Limits::default()
            }),
            routes: RouteCache::default(),
            streak: Streak::default(),
            deaf: Barred::new(Direction::Deliver),
            lanes: worker.caches.open(worker.id),
            misses: Misses::default(),
            watch: Stopwatch::default(),
            now: worker.shared.clock.instant(),
        }
    }

    /// To be called when the output of the last batch has been written.
    pub fn written(&mut self) {
        self.watch.lap(Stage::Write, &self.worker.shared.clock);
        self.watch
            .stop(self.worker.meters.batch_seconds(Direction::Deliver));
    }

    /// The wait for this version ended without it: for a while no message waits for it again. `cause` is what was found out about
    /// it.
    pub fn give_up(&mut self, kid: Kid, cause: Option<Cause>) {
        let now = self.worker.shared.clock.instant();
        self.misses.give_up((kid, cause), now);
    }

    /// Runs one batch, without waiting: one snapshot, one clock reading, operation by operation.
    pub fn batch(&mut self, input: &mut Buffer, output: &mut Buffer) -> DeliverBatch {
        self.watch.start(&self.worker.shared.clock);
        let snapshot = self.worker.shared.keys.load();
        self.now = self.worker.shared.clock.instant();
        self.lanes.borrow_mut().refresh(&snapshot);
        self.misses.refresh(&snapshot);
        self.worker.learn(&snapshot);
        self.link.borrow_mut().identity.grow_old(self.now);
        self.deaf.refresh(&snapshot, &self.link.borrow().identity);
        let mut taken = 0;
        let ended = loop {
            if output.len() >= BATCH_OUTPUT {
                break DeliverBatch::Full;
            }
            let rest = input.filled().get(taken..).unwrap_or_default();
            let alike = self.alike(&snapshot, rest, output);
            if alike != 0 {
                taken = taken.saturating_add(alike);
                continue;
            }
            self.streak.end();
            match self.parser.next(rest) {
                Ok(Step::More { need }) => break DeliverBatch::More(need),
                Ok(Step::Op { op, len }) => match self.forward(&snapshot, op, output) {
                    Ok(()) => taken = taken.saturating_add(len),
                    Err(Stop::Miss(kid)) => break DeliverBatch::Miss(kid),
                    Err(Stop::NotAnInfo) => break self.malformed("info"),
                    Err(Stop::Last) => {
                        taken = taken.saturating_add(len);
                        break DeliverBatch::Last;
                    }
                },
                Err(malformed) => break self.malformed(malformed.word()),
            }
        };
        self.streak.end();
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
                self.deaf.refresh(snapshot, &self.link.borrow().identity);
            }
            ServerOp::Ping => write::ping(out),
            ServerOp::Pong => match self.link.borrow_mut().refusals.pong(out) {
                Pong::Told => {}
                Pong::Last => return Err(Stop::Last),
            },
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
        if self.is_surplus(message) {
            self.worker.meters.kept_back();
            return Ok(());
        }
        let before = out.len();
        let fate = self.fate(snapshot, message);
        self.count_unsealed(fate, message);
        self.watch.lap(Stage::Parse, &self.worker.shared.clock);
        match fate {
            Fate::Pass => {
                self.pass(snapshot, message, out);
                self.expect_alike(snapshot, message, None);
            }
            Fate::Accept(keyring) => {
                let meters = self.worker.meters.keyring(Some(keyring.index()));
                meters.plaintext.add(message.payload.len());
                self.pass(snapshot, message, out);
            }
            Fate::PassBare => self.pass_bare(snapshot, message, out),
            Fate::Open(opening) => self.open(snapshot, message, opening, out)?,
            Fate::OpenStored => self.open_stored(snapshot, message, out)?,
            Fate::NarrowConfig => self.narrow_config(snapshot, message, out),
            Fate::NarrowLimits => self.narrow_limits(snapshot, message, out),
            Fate::NarrowSize => self.narrow_size(snapshot, message, out),
            Fate::NarrowExceeded => self.narrow_exceeded(snapshot, message, out),
            Fate::NarrowPending => self.narrow_pending(snapshot, message, out),
            Fate::Unnamed(keyring) => self.unnamed(snapshot, keyring, message, out),
            Fate::EndBatch => self.end_batch(snapshot, message, out),
            Fate::Withhold(keyring, cause) => {
                self.withhold(snapshot, (keyring, cause), message, out);
            }
        }
        if out.len() > before {
            self.count_batched(fate, message);
        }
        self.watch.lap(Stage::Crypto, &self.worker.shared.clock);
        Ok(())
    }

    fn fate(&mut self, snapshot: &Snapshot, message: &Message<'_>) -> Fate {
        if self.worker.shared.config.relay_only {
            return Fate::Pass;
        }
        let policy = snapshot.policy();
        let look = self
            .routes
            .look(policy, snapshot.generation(), message.subject);
        // Clients act on it in messages that are empty to them, sealed or not, also where the status is an ordinary header.
        let may_be_empty = matches!(message.payload.len(), 0 | OVERHEAD);
        let controls = |headers| controls_elsewhere(headers, message.reply);
        if may_be_empty && message.headers.is_some_and(controls) {
            return Fate::Withhold(look.route.keyring(), Cause::Reply);
        }
        let judge = Judge {
            shared: &self.worker.shared,
            policy,
            link: &self.link.borrow(),
            deaf: &self.deaf,
            now: self.now,
        };
        judge.fate(look, message)
    }

    /// Counts messages of streams without an envelope: they use less of a pull's bytes than was added for them.
    fn count_unsealed(&self, fate: Fate, message: &Message<'_>) {
        let is_unsealed = matches!(fate, Fate::Pass | Fate::Accept(_) | Fate::NarrowSize);
        let is_stored = |reply: &[u8]| reply.starts_with(FROM_STREAM);
        if is_unsealed && message.reply.is_some_and(is_stored) {
            let replies = &mut self.link.borrow_mut().replies;
            replies.delivered_unsealed(message.sid, self.now);
        }
    }

    /// Opens into `out`; on failure `out` is as it was.
    fn open(
        &mut self,
        snapshot: &Snapshot,
        message: &Message<'_>,
        opening: Opening,
        out: &mut Buffer,
    ) -> Result<(), Kid> {
        let [expected, other] = opening.expected;
        if let Some(keyring) = self.closed(snapshot, expected.or(other), message.payload) {
            self.withhold(snapshot, (Some(keyring), Cause::Identity), message, out);
            return Ok(());
        }
        let before = out.len();
        match self.try_open(snapshot, message, &opening, out) {
            Ok((opened, by)) => {
                out.put(b"\r\n");
                if !self.opened(snapshot, opened, message) {
                    out.wipe(before);
                    let keyring = Some(opened.keyring);
                    self.withhold(snapshot, (keyring, Cause::Reply), message, out);
                } else if by == Tried::Own {
                    self.expect_alike(snapshot, message, Some(opened.keyring));
                }
            }
            Err(refused) => {
                out.truncate(before);
                let cause = self.cause(refused)?;
                match opening.or {
                    Otherwise::Pass => self.pass(snapshot, message, out),
                    Otherwise::Withhold => {
                        let keyring = refused.keyring().or(expected);
                        self.withhold(snapshot, (keyring, cause), message, out);
                    }
                }
            }
        }
        Ok(())
    }

    fn try_open(
        &self,
        snapshot: &Snapshot,
        message: &Message<'_>,
        opening: &Opening,
        out: &mut Buffer,
    ) -> Result<(Opened, Tried), OpenRefused> {
        let payload = message.payload;
        let headers = message.headers.unwrap_or_default();
        let opened_len = payload.len().saturating_sub(OVERHEAD);
        if opening.from == From::StreamBare {
            write::message_anew(out, message, None, opened_len);
        } else {
            let total = opened_len.saturating_add(headers.len());
            write::message(out, message.line, total);
            out.put(headers);
        }
        let body = out.len();
        let mut lanes = self.lanes.borrow_mut();
        let lanes = &mut *lanes;
        let policy = snapshot.policy();
        let stored = header::written_by_direct_get(headers)
            .filter(|_| opening.from != From::Publisher)
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
        let other = candidates::others(policy, keyring, subjects, |subject| {
            attempt(Some(keyring), subject).ok()
        });
        other.map(|opened| (opened, Tried::Other)).ok_or_else(|| {
            lanes.count_failed(snapshot, payload);
            OpenRefused::Unauthentic(keyring)
        })
    }

    /// Whether the client may have what was opened, for the sake of its reply subject; then it is counted.
    fn opened(&self, snapshot: &Snapshot, opened: Opened, message: &Message<'_>) -> bool {
        let meters = &self.worker.meters;
        meters.lane_lookup(opened.source);
        let comes = Comes::Sealed(opened.keyring, opened.header);
        let admitted = self.admits_request(snapshot, comes, message);
        if admitted {
            let len = message.payload.len().saturating_sub(OVERHEAD);
            let keyring = Some(opened.keyring.index());
            meters.keyring(keyring).opened.add(len);
        }
        admitted
    }

    /// Why the message is withheld; `Err` if its key version is worth a wait.
    fn cause(&self, refused: OpenRefused) -> Result<Cause, Kid> {
        match refused {
            OpenRefused::Miss(kid) if !self.is_absent(kid) => Err(kid),
            OpenRefused::Miss(kid) => Ok(self.misses.cause(kid, self.now)),
            OpenRefused::NotAnEnvelope(_)
            | OpenRefused::WrongKeyring
            | OpenRefused::Unauthentic(_) => Ok(stored::cause(refused)),
        }
    }

    pub(super) fn pass(&self, snapshot: &Snapshot, message: &Message<'_>, out: &mut Buffer) {
        if self.worker.shared.config.relay_only || self.admits(snapshot, message, out) {
            out.put(message.line);
            out.put(message.headers.unwrap_or_default());
            self.end_of_passed(message, out);
        }
    }

    /// Passes a stored message without its headers, which the gateway has asked for, and the client has not.
    fn pass_bare(&self, snapshot: &Snapshot, message: &Message<'_>, out: &mut Buffer) {
        if self.admits(snapshot, message, out) {
            write::message_anew(out, message, None, message.payload.len());
            self.end_of_passed(message, out);
        }
    }

    fn end_of_passed(&self, message: &Message<'_>, out: &mut Buffer) {
        out.put(message.payload);
        out.put(b"\r\n");
        self.worker
            .meters
            .passed(Direction::Deliver)
            .add(message.payload.len());
        self.go_on(message);
    }

    /// Renews what is remembered of a snapshot with each chunk: they may come for hours.
    fn go_on(&self, message: &Message<'_>) {
        if !message.reply.is_some_and(|reply| reply.starts_with(CHUNK)) {
            return;
        }
        let replies = &mut self.link.borrow_mut().replies;
        let asked = replies.asked(message.subject, self.now);
        if asked.is_some_and(|asked| asked.is(Class::Snapshot)) {
            replies.request_published(message.subject, Asked::of(Class::Snapshot), self.now);
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
