//! Reads a log once from its start, together with its checkpoints, and stops at the first error.
//!
//! Every line must have the next number and the hash of the line before it; where a checkpoint ends, the Merkle tree hash must be
//! that of the checkpoint. A changed line breaks the chain only in the line after it, and lines may be without a checkpoint of
//! their own (a crash, a full disk): only the two together tell which line was changed.

use super::contents::Contents;
use super::error::VerifyError;
use super::hash::{Hash, Hex, sha256};
use super::head::Head;
use super::line::Probe;
use super::log_dir::LogFiles;
use super::note::{Checkpoint, VerifierKey};
use super::reader::{Piece, Pieces, length};
use super::tampering::Tampering;
use super::tree::Tree;

/// How many lines of the checkpoints' file make up one: the log's name, size, root, an empty one, the signature, an empty one.
const NOTE_LINES: usize = 6;

/// The incomplete line at the end: a write that a crash interrupted, or that is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Torn {
    /// How many bytes there are.
    pub bytes: u64,
    /// Their SHA-256.
    pub sha256: Hash,
}

/// How far a log goes: its whole lines, and the checkpoints over them.
pub(super) struct Extent {
    pub(super) tree: Tree,
    /// The hash of the last line; zeros before the first.
    pub(super) prev: Hash,
    /// The length of the lines, in bytes.
    pub(super) len: u64,
    pub(super) checkpoints_len: u64,
    /// How many lines a signed checkpoint covers; at most [`Tree::size`].
    pub(super) covered: u64,
}

/// A log that verifies, with all that is needed to continue it.
pub(super) struct Walked {
    pub(super) extent: Extent,
    pub(super) contents: Contents,
    pub(super) torn: Option<Torn>,
    pub(super) checkpoints: u64,
    /// Whether there is an incomplete checkpoint at the end.
    pub(super) checkpoints_torn: bool,
}

impl Extent {
    pub(super) fn empty() -> Self {
        Self {
            tree: Tree::default(),
            prev: Hex([0; 32]),
            len: 0,
            checkpoints_len: 0,
            covered: 0,
        }
    }

    pub(super) fn add_line(&mut self, line: &[u8]) {
        self.tree.push(line);
        self.prev = sha256(&[line]);
        self.len = self.len.saturating_add(length(line));
    }

    /// Adds a checkpoint that covers all lines.
    pub(super) fn add_checkpoint(&mut self, note: &[u8]) {
        self.checkpoints_len = self.checkpoints_len.saturating_add(length(note));
        self.covered = self.tree.size();
    }

    /// Whether a checkpoint covers all lines.
    pub(super) const fn is_covered(&self) -> bool {
        self.covered >= self.tree.size()
    }
}

/// Verifies a log. `heads`, recorded elsewhere, say how many lines it must have at least, and prove nothing else.
pub(super) fn walk(
    source: &LogFiles<'_>,
    key: &VerifierKey,
    (elsewhere, heads): (&[Checkpoint], &[Head]),
) -> Result<Walked, VerifyError> {
    let head = heads.iter().filter_map(|head| head.about(key)).max();
    verify_lines(source, key, (elsewhere, head)).or_else(|mut error| {
        if let VerifyError::Altered { short, .. } = &mut error {
            *short = *short || head > Some(count(source)?);
        }
        Err(error)
    })
}

/// How many lines there are, valid or not.
fn count(source: &LogFiles<'_>) -> Result<u64, VerifyError> {
    let mut pieces = Pieces::open(source.files, source.log)?;
    let mut lines = 0_u64;
    while let Some(piece) = pieces.next()? {
        lines = lines.saturating_add(u64::from(matches!(piece, Piece::Line(_))));
    }
    Ok(lines)
}

fn verify_lines(
    source: &LogFiles<'_>,
    key: &VerifierKey,
    (elsewhere, head): (&[Checkpoint], Option<u64>),
) -> Result<Walked, VerifyError> {
    // The checkpoints' end is looked at first: whoever adds to the log meanwhile writes the line first.
    let checkpoints = Checkpoints::open(source, key)?;
    let mut walk = Walk {
        source,
        checkpoints,
        elsewhere: sorted(elsewhere),
        head,
        next: None,
        extent: Extent::empty(),
        contents: Contents::default(),
    };
    walk.next = walk.checkpoints.next()?;
    let mut pieces = Pieces::open(source.files, source.log)?;
    let mut current = pieces.next()?;
    while let Some(Piece::Line(line)) = current {
        let following = pieces.next()?;
        walk.step(&line, following.as_ref().and_then(Piece::line))?;
        walk.contents.add(walk.extent.tree.size(), &line);
        current = following;
    }
    let torn = match current {
        Some(Piece::Rest(rest)) => Some(torn(rest, &mut pieces)?),
        Some(Piece::Line(_)) | None => None,
    };
    walk.end(torn)
}

struct Walk<'a> {
    source: &'a LogFiles<'a>,
    checkpoints: Checkpoints<'a>,
    /// Checkpoints kept elsewhere that were not reached yet, the smallest last.
    elsewhere: Vec<Checkpoint>,
    /// How many lines there must be, by the heads recorded elsewhere.
    head: Option<u64>,
    next: Option<Checkpoint>,
    extent: Extent,
    contents: Contents,
}

impl Walk<'_> {
    fn step(&mut self, line: &[u8], ahead: Option<&[u8]>) -> Result<(), VerifyError> {
        let number = self.extent.tree.size().saturating_add(1);
        let not_a_line = |why| {
            self.source
                .altered(Tampering::NotALine { line: number, why })
        };
        let probe = probe(line).map_err(not_a_line)?;
        if probe.seq != number {
            return Err(self.source.altered(Tampering::OutOfPlace {
                line: number,
                found: probe.seq,
            }));
        }
        let hash = sha256(&[line]);
        // Whether the next line has the hash of this one; `None`: there is no next line.
        let known = ahead.map(|next| probe_prev(next) == Some(hash));
        if probe.prev != self.extent.prev {
            return Err(self.source.altered(self.broken(number, known)));
        }
        self.extent.add_line(line);
        self.compare(known)
    }

    /// The line does not have the hash of the line before it: which of the two was changed?
    fn broken(&self, number: u64, known: Option<bool>) -> Tampering {
        let before = number.saturating_sub(1);
        let (first, last) = match known {
            _ if self.extent.covered >= before => (number, number),
            Some(true) => (before, before),
            Some(false) => (number, number),
            None => (before, number),
        };
        Tampering::Changed { first, last }
    }

    /// The chain is intact, but the Merkle tree hash is not that of the checkpoint.
    fn replaced(&self, known: Option<bool>) -> Tampering {
        let last = self.extent.tree.size();
        let first = match known {
            Some(false) => last,
            Some(true) | None => self.extent.covered.saturating_add(1),
        };
        Tampering::Changed { first, last }
    }

    fn compare(&mut self, known: Option<bool>) -> Result<(), VerifyError> {
        let size = self.extent.tree.size();
        while let Some(checkpoint) = self.next.filter(|next| next.size <= size) {
            if checkpoint.root != self.extent.tree.root() {
                return Err(self.source.altered(self.replaced(known)));
            }
            self.extent.covered = size;
            self.next = self.checkpoints.next()?;
        }
        while let Some(checkpoint) = self.elsewhere.pop_if(|next| next.size <= size) {
            if checkpoint.root != self.extent.tree.root() {
                return Err(self.source.altered(Tampering::Forked { size }));
            }
            self.extent.covered = size;
        }
        Ok(())
    }

    fn end(mut self, torn: Option<Torn>) -> Result<Walked, VerifyError> {
        let size = self.extent.tree.size();
        let elsewhere = self.elsewhere.first().map_or(0, |largest| largest.size);
        let mut covered = elsewhere;
        while let Some(next) = self.next {
            covered = covered.max(next.size);
            self.next = self.checkpoints.next()?;
        }
        if covered > size {
            return Err(self.source.altered(Tampering::Truncated {
                line: size.saturating_add(1),
                covered,
            }));
        }
        if let Some(named) = self.head.filter(|head| *head > size) {
            return Err(self.source.altered(Tampering::ShorterThanHead {
                line: size.saturating_add(1),
                named,
            }));
        }
        if size == 0 {
            return Err(self.source.altered(Tampering::Empty));
        }
        if self.extent.covered == 0 {
            return Err(VerifyError::NoCheckpoint {
                log: self.source.log.to_owned(),
                checkpoints: self.source.checkpoints.to_owned(),
            });
        }
        self.extent.checkpoints_len = self.checkpoints.len;
        Ok(Walked {
            extent: self.extent,
            contents: self.contents,
            torn,
            checkpoints: self.checkpoints.number,
            checkpoints_torn: self.checkpoints.torn,
        })
    }
}

struct Checkpoints<'a> {
    source: &'a LogFiles<'a>,
    pieces: Option<Pieces<'a>>,
    key: &'a VerifierKey,
    number: u64,
    len: u64,
    last: u64,
    torn: bool,
}

impl<'a> Checkpoints<'a> {
    fn open(source: &'a LogFiles<'a>, key: &'a VerifierKey) -> Result<Self, VerifyError> {
        let pieces = match Pieces::open(source.files, source.checkpoints) {
            // There may be checkpoints that are kept elsewhere; if not, the log does not verify.
            Err(error) if error.is_missing() => None,
            opened => Some(opened?),
        };
        Ok(Self {
            source,
            pieces,
            key,
            number: 0,
            len: 0,
            last: 0,
            torn: false,
        })
    }

    fn next(&mut self) -> Result<Option<Checkpoint>, VerifyError> {
        let Some(note) = self.note()? else {
            return Ok(None);
        };
        let number = self.number.saturating_add(1);
        let wrong = |why| self.source.altered(Tampering::Checkpoint { number, why });
        let checkpoint =
            Checkpoint::open(&String::from_utf8_lossy(&note), self.key).map_err(wrong)?;
        if checkpoint.size <= self.last {
            return Err(self.source.altered(Tampering::NotGrowing {
                number,
                size: checkpoint.size,
                before: self.last,
            }));
        }
        self.number = number;
        self.last = checkpoint.size;
        self.len = self.len.saturating_add(length(&note));
        Ok(Some(checkpoint))
    }

    /// The bytes of the next note, with the empty line behind it; `torn` is set if it is incomplete.
    fn note(&mut self) -> Result<Option<Vec<u8>>, VerifyError> {
        let Some(pieces) = &mut self.pieces else {
            return Ok(None);
        };
        let mut note = Vec::new();
        for _line in 0..NOTE_LINES {
            match pieces.next()? {
                Some(Piece::Line(line)) => note.extend_from_slice(&line),
                rest => {
                    self.torn = rest.is_some() || !note.is_empty();
                    return Ok(None);
                }
            }
        }
        Ok(Some(note))
    }
}

fn sorted(checkpoints: &[Checkpoint]) -> Vec<Checkpoint> {
    let mut sorted = checkpoints.to_vec();
    sorted.sort_by_key(|checkpoint| std::cmp::Reverse(checkpoint.size));
    sorted
}

impl LogFiles<'_> {
    fn altered(&self, tampering: Tampering) -> VerifyError {
        VerifyError::Altered {
            log: self.log.to_owned(),
            short: tampering.is_truncation(),
            tampering,
        }
    }
}

fn probe(line: &[u8]) -> Result<Probe, String> {
    crate::strict_json::from_slice(line).map_err(|error| error.to_string())
}

fn probe_prev(line: &[u8]) -> Option<Hash> {
    probe(line).ok().map(|probe| probe.prev)
}

/// All bytes from `first` to the end of the file: an incomplete line may be longer than one piece.
fn torn(first: Vec<u8>, pieces: &mut Pieces<'_>) -> Result<Torn, VerifyError> {
    let mut rest = first;
    while let Some(Piece::Line(more) | Piece::Rest(more)) = pieces.next()? {
        rest.extend_from_slice(&more);
    }
    Ok(Torn {
        bytes: length(&rest),
        sha256: sha256(&[&rest]),
    })
}
