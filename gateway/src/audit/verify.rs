//! Whether a log is what was written: needs the verifier key, and neither a gateway nor the KEK.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::line::{Body, Line};
use super::note::{Checkpoint, VerifierKey};
use super::place::Source;
use super::tree::Hash;
use super::walk::{Torn, Walked, walk};
use super::{EventId, Head, LastWord, VerifyError};

/// A log that is whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// How many lines it has.
    pub lines: u64,
    /// Their Merkle tree hash.
    pub root: Hash,
    /// How many checkpoints stand beside it.
    pub checkpoints: u64,
    /// How many of its lines a signature covers. One more may just have been written; for others a crash or a full disk
    /// came between the two.
    pub covered: u64,
    /// What stands behind the last line: it was never acknowledged, and the next start removes it.
    pub torn: Option<Torn>,
    /// The same behind the last checkpoint.
    pub checkpoints_torn: bool,
    /// Intents whose outcome is missing or unknown: acts that are under way, or that a crash interrupted.
    pub open: Vec<EventId>,
    /// What it says last.
    pub last: LastWord,
    /// The latest time that a line says; `None` where no line could be understood.
    pub latest: Option<Timestamp>,
    /// Lines of a later version: their place and bytes are checked, what they say is not known.
    pub unknown: u64,
}

/// Checks every line and every checkpoint, also those that are kept elsewhere, and what records beside the log say of how far it had
/// come; these were read before the log, which only grows.
///
/// # Errors
/// [`VerifyError`], which names the first line that is wrong.
pub fn verify(
    source: &Source<'_>,
    key: &VerifierKey,
    beside: (&[Checkpoint], &[Head]),
) -> Result<Verified, VerifyError> {
    let mut open = BTreeSet::new();
    let mut unknown = 0_u64;
    let mut latest = None;
    let mut last = LastWord::default();
    let walked = walk(source, key, beside, &mut |_number, bytes| {
        let Ok(line) = Line::parse(bytes) else {
            unknown = unknown.saturating_add(1);
            return;
        };
        latest = latest.max(Some(line.body.time()));
        last.hear(&line.body);
        match line.body {
            Body::Intent(event) => drop(open.insert(event.id)),
            Body::Outcome(completed) if completed.is_final() => {
                open.remove(&completed.event.id);
            }
            Body::Outcome(_) | Body::Note(_) => {}
        }
    })?;
    let Walked {
        tree,
        torn,
        checkpoints,
        checkpoints_torn,
        covered,
        ..
    } = walked;
    Ok(Verified {
        lines: tree.size(),
        root: tree.root(),
        checkpoints,
        covered,
        torn,
        checkpoints_torn,
        open: open.into_iter().collect(),
        last,
        latest,
        unknown,
    })
}
