//! Appends lines, each with its checkpoint.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::act::Act;
use super::line::{Body, EventId, Fact, Line, Note};
use super::log_dir::LogDir;
use super::note::Signer;
use super::pending_event::PendingEvent;
use super::tree::Tree;
use super::walk::Extent;
use super::{LoggedState, WriteFailed};
use crate::disk::Error;
use crate::fault::Faulty;

/// An open log: what is on the disk, and what is to be written yet.
pub(super) struct Writer {
    pub(super) dir: LogDir,
    pub(super) signer: Signer,
    /// The next append truncates what stands behind it.
    pub(super) extent: Extent,
    pub(super) open: BTreeMap<EventId, PendingEvent>,
    /// Facts that are to be written before the next line.
    pub(super) unwritten: Vec<Note>,
    pub(super) last: LoggedState,
}

/// Whether a line may use the reserve.
#[derive(Clone, Copy)]
pub(super) enum Urgency {
    Ordinary,
    Essential,
}

impl Urgency {
    pub(super) const fn of(act: &Act) -> Self {
        if act.is_essential() {
            Self::Essential
        } else {
            Self::Ordinary
        }
    }
}

impl Writer {
    /// Writes a line; earlier notes that are to be written yet go first, to keep the order of events.
    pub(super) fn write(&mut self, body: Body, urgency: Urgency) -> Result<(), WriteFailed> {
        self.write_notes(urgency)?;
        self.put(body, urgency)
    }

    /// Writes the notes and the checkpoint that are missing.
    pub(super) fn write_missing(&mut self) -> Result<(), WriteFailed> {
        self.write_notes(Urgency::Ordinary)?;
        if !self.extent.is_covered() {
            self.sign()?;
        }
        Ok(())
    }

    fn write_notes(&mut self, urgency: Urgency) -> Result<(), WriteFailed> {
        while let Some(note) = self.unwritten.first().cloned() {
            self.put(Body::Note(note), urgency)?;
            self.unwritten.remove(0);
        }
        Ok(())
    }

    /// Appends one line and its checkpoint. If only the checkpoint cannot be written, the next one covers the line.
    fn put(&mut self, mut body: Body, urgency: Urgency) -> Result<(), WriteFailed> {
        self.last.omit_unchanged(&mut body);
        let time = body.time();
        let line = Line {
            seq: self.extent.tree.size().saturating_add(1),
            prev: self.extent.prev,
            body,
        };
        let bytes = line.bytes()?;
        let path = self.dir.log();
        if let Err(error) = self.dir.append(&path, self.extent.len, &bytes) {
            self.make_room(error, urgency, time)?;
            self.dir.append(&path, self.extent.len, &bytes)?;
        }
        self.extent.add_line(&bytes);
        self.last.apply(&line.body);
        let signed = self.sign().or_else(|error| {
            self.make_room(error, urgency, time)?;
            self.sign()
        });
        if let Err(error) = signed {
            tracing::warn!(error = %error.with_help(), "a checkpoint of the audit log is missing; it is made up for with the next line");
        }
        Ok(())
    }

    /// Releases the reserve for an essential line on a full disk; otherwise returns the error.
    fn make_room(&mut self, error: Error, urgency: Urgency, now: Timestamp) -> Result<(), Error> {
        let full = matches!(error, Error::Full { .. });
        match urgency {
            Urgency::Essential if full && self.dir.has_reserve() => self.release(now),
            Urgency::Essential | Urgency::Ordinary => Err(error),
        }
    }

    pub(super) fn release(&mut self, now: Timestamp) -> Result<(), Error> {
        if !self.dir.has_reserve() {
            return Ok(());
        }
        self.dir.release_reserve()?;
        tracing::warn!("the disk is full; the audit log's reserve was given up for a revocation");
        self.unwritten.push(Note {
            time: now,
            fact: Fact::ReserveReleased,
        });
        Ok(())
    }

    fn sign(&mut self) -> Result<(), Error> {
        let note = checkpoint_entry(&self.extent.tree, &self.signer);
        let path = self.dir.checkpoints();
        self.dir.append(&path, self.extent.checkpoints_len, &note)?;
        self.extent.add_checkpoint(&note);
        Ok(())
    }

    pub(super) fn fill_reserve(&self) {
        if self.dir.has_reserve() {
            return;
        }
        if let Err(error) = self.dir.fill_reserve() {
            tracing::warn!(error = %error.with_help(), "the audit log has no reserve for revocations");
        }
    }
}

/// A checkpoint as in its file: the note, and an empty line.
pub(super) fn checkpoint_entry(tree: &Tree, signer: &Signer) -> Vec<u8> {
    let mut note = tree.checkpoint().sign(signer);
    note.push('\n');
    note.into_bytes()
}
