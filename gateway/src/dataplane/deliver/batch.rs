//! A batch of the deliver direction: parse, decide, open, write.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::envelope::{Kid, OVERHEAD};
use crate::keyring::{self, OpenRefused, Opened, Snapshot};
use crate::metrics::{Cause, Direction, Side, Stage, Stopwatch};
use crate::policy::{KeyringId, Route};
use crate::wire::write;
use crate::wire::{Buffer, Limits, Message, ServerOp, ServerParser, Step};

use crate::dataplane::caches::Cache;
use crate::dataplane::greet;
use crate::dataplane::identity::Barred;
use crate::dataplane::link::Link;
use crate::dataplane::pool::BATCH_OUTPUT;
use crate::dataplane::refusals::Pong;
use crate::dataplane::replies::{self, Asked};
use crate::dataplane::route_cache::RouteCache;
use crate::dataplane::streak::Streak;
use crate::dataplane::worker::Worker;

use super::candidates::{self, Source};
use super::fate::{Fate, Judge, Otherwise};
use super::stored;

/// How the reply subjects begin that acknowledge the chunks of a backup.
const CHUNK: &[u8] = b"$JS.SNAPSHOT.";

/// How long a kid that could not be loaded is not asked for again.
const ABSENT_FOR: Duration = Duration::from_secs(1);

/// How many such kids a session remembers.
const MOST_ABSENT: usize = 16;

/// The deliver path of one session, from bytes to bytes: no sockets, no waiting.
pub struct DeliverPath<'s> {
    pub(super) worker: &'s Worker,
    pub(super) link: &'s RefCell<Link>,
    parser: ServerParser,
    pub(super) routes: RouteCache,
    pub(super) streak: Streak,
    /// The keyrings whose messages the client may not get.
    pub(super) deaf: Barred,
    pub(super) lanes: Cache,
    /// What could not be loaded, and until when nobody waits for it.
    absent: VecDeque<(Kid, Instant)>,
    pub(super) watch: Stopwatch,
    /// When the batch began.
    pub(super) now: Instant,
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
    /// The server has answered the gateway's last `PING`: the client has everything that it is going to get.
    Last,
}

/// The subject for which a message was opened.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Tried {
    /// That it came on.
    Own,
    /// One that it names, or an alias.
    Other,
}

/// Why an operation was not forwarded.
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
            absent: VecDeque::new(),
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
        if let Some(until) = now.checked_add(ABSENT_FOR) {
            self.absent.retain(|(known, _until)| *known != kid);
            self.absent.truncate(MOST_ABSENT.saturating_sub(1));
            self.absent.push_front((kid, until));
        }
    }

    /// Everything that a batch does, without waiting: one snapshot, operation by operation.
    pub fn batch(&mut self, input: &mut Buffer, output: &mut Buffer) -> DeliverBatch {
        self.watch.start(&self.worker.shared.clock);
        let snapshot = self.worker.shared.keys.load();
        self.now = self.worker.shared.clock.instant();
        self.lanes.borrow_mut().refresh(&snapshot);
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
                    Err(Stop::Last) => break DeliverBatch::Last,
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
        let fate = self.fate(snapshot, message);
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
            Fate::Open { expected, or } => self.open(snapshot, message, (expected, or), out)?,
            Fate::OpenStored => self.open_stored(snapshot, message, out)?,
            Fate::NarrowConfig => self.narrow_config(snapshot, message, out),
            Fate::NarrowSize => self.narrow_size(snapshot, message, out),
            Fate::Withhold(keyring, cause) => {
                self.withhold(snapshot, (keyring, cause), message, out);
            }
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
        let judge = Judge {
            shared: &self.worker.shared,
            policy,
            link: &self.link.borrow(),
            deaf: &self.deaf,
            now: self.now,
        };
        judge.fate(look, message)
    }

    /// Opens into `out`; on failure `out` is as it was.
    fn open(
        &mut self,
        snapshot: &Snapshot,
        message: &Message<'_>,
        (expected, or): (Option<KeyringId>, Otherwise),
        out: &mut Buffer,
    ) -> Result<(), Kid> {
        if let Some(keyring) = self.closed(snapshot, expected, message.payload) {
            self.withhold(snapshot, (Some(keyring), Cause::Identity), message, out);
            return Ok(());
        }
        let before = out.len();
        match self.try_open(snapshot, message, expected, out) {
            Ok((opened, by)) => {
                out.put(b"\r\n");
                self.opened(snapshot, opened, message);
                if by == Tried::Own {
                    self.expect_alike(snapshot, message, Some(opened.keyring));
                }
            }
            Err(refused) => {
                out.truncate(before);
                let cause = self.cause(refused)?;
                match or {
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
        expected: Option<KeyringId>,
        out: &mut Buffer,
    ) -> Result<(Opened, Tried), OpenRefused> {
        let payload = message.payload;
        let headers = message.headers.unwrap_or_default();
        let opened_len = payload.len().saturating_sub(OVERHEAD);
        let total = opened_len.saturating_add(headers.len());
        write::message(out, message.line, total);
        out.put(headers);
        let body = out.len();
        let mut lanes = self.lanes.borrow_mut();
        let lanes = &mut *lanes;
        let mut attempt = |expected, subject: &[u8]| {
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
        let link = self.link.borrow();
        let asked = || link.replies.asked(message.subject, self.now);
        let own = policy.normalise(message.subject);
        let mut first = attempt(expected, own);
        // What the client itself asked may be answered under the keyring that it asked, or where a stream answers, that of what is stored.
        if first == Err(OpenRefused::WrongKeyring) {
            first = match asked() {
                Some(Asked::Protected(keyring)) => attempt(Some(*keyring), own),
                Some(_) => attempt(None, own),
                None => first,
            };
        }
        let Err(OpenRefused::Unauthentic(keyring)) = first else {
            return first.map(|opened| (opened, Tried::Own));
        };
        let source = Source::of(message, asked());
        let other = candidates::others(policy, keyring, &source, |subject| {
            attempt(Some(keyring), subject).ok()
        });
        other.map(|opened| (opened, Tried::Other)).ok_or_else(|| {
            lanes.count_failed(snapshot, payload);
            OpenRefused::Unauthentic(keyring)
        })
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
    pub(super) fn expect_answer(
        &self,
        snapshot: &Snapshot,
        reply: Option<&[u8]>,
        keyring: Option<KeyringId>,
    ) {
        let Some(reply) = reply else {
            return;
        };
        let replies = &mut self.link.borrow_mut().replies;
        if let Some(keyring) = keyring.filter(|_| reply.starts_with(replies::FROM_STREAM)) {
            replies.stored_delivered(keyring);
        } else if replies::are_alike(snapshot.policy().look(reply)) {
            replies.request_delivered(reply, keyring, self.now);
        }
    }

    /// Why the message is withheld, unless it is worth waiting for.
    fn cause(&self, refused: OpenRefused) -> Result<Cause, Kid> {
        match refused {
            OpenRefused::Miss(kid) if !self.is_absent(kid) => Err(kid),
            OpenRefused::Miss(_)
            | OpenRefused::NotAnEnvelope(_)
            | OpenRefused::WrongKeyring
            | OpenRefused::Unauthentic(_) => Ok(stored::cause(refused)),
        }
    }

    pub(super) fn pass(&self, snapshot: &Snapshot, message: &Message<'_>, out: &mut Buffer) {
        out.put(message.line);
        out.put(message.headers.unwrap_or_default());
        out.put(message.payload);
        out.put(b"\r\n");
        self.worker
            .meters
            .passed(Direction::Deliver)
            .add(message.payload.len());
        if message.reply.is_some() && !self.worker.shared.config.relay_only {
            self.go_on(message);
            let keyring = self.keyring_of_empty(snapshot, message);
            self.expect_answer(snapshot, message.reply, keyring);
        }
    }

    /// The chunks of a backup come for as long as it takes.
    fn go_on(&self, message: &Message<'_>) {
        let chunk = message.reply.is_some_and(|reply| reply.starts_with(CHUNK));
        let replies = &mut self.link.borrow_mut().replies;
        if chunk && replies.asked(message.subject, self.now) == Some(&Asked::Server) {
            replies.request_published(message.subject, Asked::Server, self.now);
        }
    }

    /// An empty request looks the same from behind a gateway and from elsewhere. On a subject on which no plaintext is accepted
    /// it counts as sealed: a client on the bare bus must not get a plaintext answer by asking for nothing.
    pub(super) fn keyring_of_empty(
        &self,
        snapshot: &Snapshot,
        message: &Message<'_>,
    ) -> Option<KeyringId> {
        match snapshot.policy().route(message.subject) {
            Route::Keyring(keyring) if message.payload.is_empty() => {
                let shared = &self.worker.shared;
                (!shared.accepts_plaintext(snapshot.policy(), keyring)).then_some(keyring)
            }
            Route::Keyring(_) | Route::Reply(_) | Route::Pass => None,
        }
    }

    pub(super) fn is_absent(&self, kid: Kid) -> bool {
        let absent = |(known, until): &(Kid, Instant)| *known == kid && self.now < *until;
        self.absent.iter().any(absent)
    }
}
