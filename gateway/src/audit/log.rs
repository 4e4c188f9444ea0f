//! The audit log, open for writing.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;

use super::act::{Act, Outcome};
use super::hash::Hex;
use super::line::{Body, Completed, Event, FORMAT, Fact, Line, Note};
use super::log_dir::{LogDir, LogFiles};
use super::note::{Signer, VerifierKey};
use super::reverse_lines::ReverseLines;
use super::walk::{Extent, Torn, walk};
use super::writer::{Urgency, Writer, checkpoint_entry};
use super::{Head, LoggedState, OpenError, PendingEvent, Settings, VerifyError, WriteFailed};
use crate::fault::{Failure, Faulty};

/// The only writer of an audit log; its owner holds the lock of the state directory.
///
/// ```text
/// let pending = log.begin(act, now)?;         // durable; on an error the action must not happen
/// let outcome = …                             // the action
/// log.finish(pending, &outcome, now)?;        // durable; on an error the event stays open, and may be finished later
/// ```
pub struct Log(Result<Box<Writer>, Closed>);

/// A log that cannot be continued: traffic goes on, key events do not happen.
struct Closed {
    why: Failure,
    /// The state by its lines, which do not verify.
    unverified: LoggedState,
}

impl Log {
    /// Creates a log; its first line names the catalogue.
    ///
    /// # Errors
    /// [`OpenError`]. The caller has made sure that there is no log, or only one that was never used.
    pub fn create(
        dir: LogDir,
        signer: Signer,
        catalogue: &str,
        now: Timestamp,
    ) -> Result<Self, OpenError> {
        let fact = Fact::Begun {
            format: FORMAT,
            catalogue: catalogue.into(),
        };
        let line = Line {
            seq: 1,
            prev: Hex([0; 32]),
            body: Body::Note(Note { time: now, fact }),
        };
        let bytes = line.bytes()?;
        let mut extent = Extent::empty();
        extent.add_line(&bytes);
        let note = checkpoint_entry(&extent.tree, &signer);
        extent.add_checkpoint(&note);
        dir.begin(&dir.log(), &bytes)?;
        dir.begin(&dir.checkpoints(), &note)?;
        let writer = Writer {
            dir,
            signer,
            extent,
            open: BTreeMap::new(),
            unwritten: Vec::new(),
            last: LoggedState::default(),
        };
        writer.fill_reserve();
        Ok(Self(Ok(Box::new(writer))))
    }

    /// Reads a log from its start, verifies it with its checkpoints, and opens it for writing. It must have at least the lines of
    /// `heads`, which are recorded elsewhere. An incomplete last line (a crash) is replaced by a note that says so.
    ///
    /// # Errors
    /// [`OpenError`]; the log is unchanged then.
    pub fn open(
        dir: LogDir,
        signer: Signer,
        now: Timestamp,
        heads: &[Head],
    ) -> Result<Self, OpenError> {
        let (log, checkpoints) = (dir.log(), dir.checkpoints());
        let source = LogFiles {
            files: &*dir.files,
            log: &log,
            checkpoints: &checkpoints,
        };
        let walked = walk(&source, signer.verifier(), (&[], heads));
        let walked = walked.map_err(|source| match source {
            VerifyError::Disk(error) => OpenError::Disk(error),
            source @ (VerifyError::Altered { .. } | VerifyError::NoCheckpoint { .. }) => {
                let log = log.clone();
                OpenError::NotVerified { log, source }
            }
        })?;
        if let Some((line, why)) = walked.contents.first_unknown {
            return Err(OpenError::Newer { log, line, why });
        }
        let unwritten = notes_at_open(&walked.extent, walked.torn, now);
        let mut writer = Writer {
            dir,
            signer,
            extent: walked.extent,
            open: walked.contents.open,
            unwritten,
            last: walked.contents.last,
        };
        if let Err(error) = writer.write_missing() {
            tracing::warn!(error = %error.with_help(), "what was found in the audit log at the start is written with the next line");
        }
        writer.fill_reserve();
        Ok(Self(Ok(Box::new(writer))))
    }

    /// A log that cannot be continued: every write fails for this reason, so that no key event happens, while traffic goes on.
    #[must_use]
    pub fn closed(why: &impl Faulty, unverified: LoggedState) -> Self {
        Self(Err(Closed {
            why: Failure::of(why),
            unverified,
        }))
    }

    /// The reason for which it is closed, if it is.
    #[must_use]
    pub fn closed_by(&self) -> Option<&Failure> {
        self.0.as_ref().err().map(|closed| &closed.why)
    }

    /// Writes the intent of an action, durably.
    ///
    /// # Errors
    /// [`WriteFailed`]: the action must not happen.
    pub fn begin(&mut self, act: Act, now: Timestamp) -> Result<PendingEvent, WriteFailed> {
        let writer = self.writer()?;
        let event = Event::new(act, now)?;
        writer.write(Body::Intent(event.clone()), Urgency::of(&event.act))?;
        let pending = PendingEvent::new(event);
        writer.open.insert(pending.id(), pending.clone());
        Ok(pending)
    }

    /// Writes the outcome of an event, durably. An event whose outcome is unknown stays in [`Log::open_intents`] until a later
    /// outcome.
    ///
    /// # Errors
    /// [`WriteFailed`]: the event stays in [`Log::open_intents`], to be finished when the disk works again.
    pub fn finish(
        &mut self,
        pending: PendingEvent,
        outcome: &Outcome,
        now: Timestamp,
    ) -> Result<(), WriteFailed> {
        let writer = self.writer()?;
        let id = pending.id();
        if !writer.open.contains_key(&id) {
            return Err(WriteFailed::Finished(id));
        }
        let PendingEvent { event, record } = pending;
        let urgency = Urgency::of(&event.act);
        let completed = Completed::new(event, (outcome, record), now);
        let settled = completed.is_final();
        writer.write(Body::Outcome(completed), urgency)?;
        if settled {
            writer.open.remove(&id);
        }
        Ok(())
    }

    /// Writes the outcome of a request for which no intent was written, durably: it was refused, or joined an event that is under
    /// way. Never uses the reserve, as a client may have requests refused as often as it likes.
    ///
    /// # Errors
    /// [`WriteFailed`].
    pub fn conclude(
        &mut self,
        act: Act,
        outcome: &Outcome,
        now: Timestamp,
    ) -> Result<(), WriteFailed> {
        let writer = self.writer()?;
        let event = Event::new(act, now)?;
        let completed = Completed::new(event, (outcome, None), now);
        writer.write(Body::Outcome(completed), Urgency::Ordinary)
    }

    /// Writes a fact that is no key event, durably.
    ///
    /// # Errors
    /// [`WriteFailed`].
    pub fn note(&mut self, fact: Fact, now: Timestamp) -> Result<(), WriteFailed> {
        let note = Note { time: now, fact };
        self.writer()?.write(Body::Note(note), Urgency::Ordinary)
    }

    /// The key events whose outcome is missing or unknown; at the start, those that a crash interrupted, which are to be
    /// finished.
    pub fn open_intents(&self) -> Vec<PendingEvent> {
        let open = self.0.iter().flat_map(|writer| writer.open.values());
        open.cloned().collect()
    }

    /// The state by its lines; of a closed log, the unverified one, which may only serve to refuse something.
    #[must_use]
    pub const fn logged_state(&self) -> &LoggedState {
        match &self.0 {
            Ok(writer) => &writer.last,
            Err(closed) => &closed.unverified,
        }
    }

    /// The verified state; `None` when it is closed.
    #[must_use]
    pub fn verified_state(&self) -> Option<&LoggedState> {
        self.0.as_ref().ok().map(|writer| &writer.last)
    }

    /// The settings that were in force last; of a closed log, unverified ones, which may only serve to refuse something.
    #[must_use]
    pub const fn last_policy(&self) -> Option<&Settings> {
        self.logged_state().policy()
    }

    /// Whether the reserve for revocations exists. Looks at the disk.
    #[must_use]
    pub fn has_reserve(&self) -> bool {
        self.0.as_ref().is_ok_and(|writer| writer.dir.has_reserve())
    }

    /// Writes what a full disk has prevented: notes, a checkpoint, and the reserve. To be called now and then.
    ///
    /// # Errors
    /// [`WriteFailed`]: something is still missing.
    pub fn replenish(&mut self) -> Result<(), WriteFailed> {
        let writer = self.writer()?;
        writer.write_missing()?;
        if !writer.dir.has_reserve() {
            writer.dir.fill_reserve()?;
        }
        Ok(())
    }

    /// Releases the reserve when an essential action itself finds the disk full, for its record, say. [`Log::replenish`] restores
    /// it.
    ///
    /// # Errors
    /// [`WriteFailed`].
    pub fn release(&mut self, now: Timestamp) -> Result<(), WriteFailed> {
        Ok(self.writer()?.release(now)?)
    }

    /// The exact bytes of the last lines, at most `count`, oldest first, without their line ends.
    ///
    /// # Errors
    /// [`WriteFailed`].
    pub fn tail(&self, count: usize) -> Result<Vec<Vec<u8>>, WriteFailed> {
        let writer = self.0.as_ref().map_err(Closed::error)?;
        let dir = &writer.dir;
        let mut backwards =
            ReverseLines::from(Arc::clone(&dir.files), dir.log(), writer.extent.len);
        let mut lines = Vec::new();
        while lines.len() < count
            && let Some(line) = backwards.next_line()?
        {
            lines.push(line);
        }
        lines.reverse();
        Ok(lines)
    }

    /// The verifier key of the checkpoints; `None` when it is closed.
    #[must_use]
    pub fn verifier(&self) -> Option<&VerifierKey> {
        self.0.as_ref().ok().map(|writer| writer.signer.verifier())
    }

    /// The last signed checkpoint, to be kept elsewhere; `None` when it is closed.
    #[must_use]
    pub fn checkpoint(&self) -> Option<String> {
        let writer = self.0.as_ref().ok()?;
        Some(writer.extent.tree.checkpoint().sign(&writer.signer))
    }

    /// How many lines are durable; `None` when it is closed.
    #[must_use]
    pub fn head(&self) -> Option<Head> {
        let writer = self.0.as_ref().ok()?;
        Some(Head::of(
            writer.signer.verifier(),
            writer.extent.tree.size(),
        ))
    }

    fn writer(&mut self) -> Result<&mut Writer, WriteFailed> {
        match &mut self.0 {
            Ok(writer) => Ok(writer),
            Err(closed) => Err(closed.error()),
        }
    }
}

impl Closed {
    fn error(&self) -> WriteFailed {
        WriteFailed::Closed(self.why.clone())
    }
}

/// Notes for the auditor on the state in which a log was opened.
fn notes_at_open(extent: &Extent, torn: Option<Torn>, now: Timestamp) -> Vec<Note> {
    let torn = torn.map(|Torn { bytes, sha256 }| Fact::TailRepaired { bytes, sha256 });
    let uncovered = (!extent.is_covered()).then(|| Fact::Uncovered {
        first: extent.covered.saturating_add(1),
        last: extent.tree.size(),
    });
    let facts = [uncovered, torn].into_iter().flatten();
    facts.map(|fact| Note { time: now, fact }).collect()
}
