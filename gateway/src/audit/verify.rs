//! Verifies a log. Needs the verifier key, and neither a gateway nor the KEK.

use jiff::Timestamp;

use super::hash::Hash;
use super::log_dir::LogFiles;
use super::note::{Checkpoint, VerifierKey};
use super::walk::{Torn, walk};
use super::{EventId, Head, LoggedState, VerifyError};

/// A log that verifies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// How many lines it has.
    pub lines: u64,
    /// Their Merkle tree hash.
    pub root: Hash,
    /// How many checkpoints stand beside it.
    pub checkpoints: u64,
    /// How many of its lines a signed checkpoint covers. One more may just have been written; further ones were left without a
    /// checkpoint by a crash or a full disk.
    pub covered: u64,
    /// The incomplete line at the end: it was never acknowledged, and the next start removes it.
    pub torn: Option<Torn>,
    /// Whether there is an incomplete checkpoint at the end.
    pub checkpoints_torn: bool,
    /// Events whose outcome is missing or unknown: they are under way, or a crash interrupted them.
    pub open: Vec<EventId>,
    /// The latest records and settings that it names.
    pub last: LoggedState,
    /// The latest time of a line; `None` if no line could be parsed.
    pub latest: Option<Timestamp>,
    /// How many lines are of a later version: their numbers and hashes are verified, their content is not known.
    pub unknown: u64,
}

/// Verifies every line and every checkpoint. `beside`: checkpoints that are kept elsewhere, and the heads in the records of the
/// catalogue, which must have been read before the log, as it only grows.
///
/// # Errors
/// [`VerifyError`], which names the first line that is wrong.
pub fn verify(
    source: &LogFiles<'_>,
    key: &VerifierKey,
    beside: (&[Checkpoint], &[Head]),
) -> Result<Verified, VerifyError> {
    let walked = walk(source, key, beside)?;
    let (extent, contents) = (walked.extent, walked.contents);
    Ok(Verified {
        lines: extent.tree.size(),
        root: extent.tree.root(),
        checkpoints: walked.checkpoints,
        covered: extent.covered,
        torn: walked.torn,
        checkpoints_torn: walked.checkpoints_torn,
        open: contents.open.into_keys().collect(),
        last: contents.last,
        latest: contents.latest,
        unknown: contents.unknown,
    })
}
