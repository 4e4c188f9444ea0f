//! The audit log: key events, and facts about the gateway, for an auditor who reads them in a year.
//!
//! A plain file of lines proves nothing: anybody who can write it can rewrite it. So every line has the SHA-256 of the line
//! before it, and after every line a signed checkpoint says how many lines there are and what the Merkle tree hash over them is
//! (RFC 6962). One line changed, moved or taken out breaks the chain at that place and every later checkpoint; lines cut off at
//! the end leave checkpoints that cover more than is there. A log that was cut off together with its checkpoints is detected by a
//! checkpoint that is kept elsewhere. The formats are those of transparency logs (C2SP signed-note and tlog-checkpoint), so that
//! others' tools can check them; `docs/audit.md` has the recipe.
//!
//! A key event has two lines: the intent before the action, the outcome after it. An action whose intent cannot be written does
//! not happen.
//!
//! | you look for | it is in |
//! |---|---|
//! | what a line can record | [`Act`], [`Fact`], `words` |
//! | the format of a line | `line` |
//! | the Merkle tree | `tree` |
//! | checkpoints and their signatures | `note` |
//! | reading and verifying a log | [`verify`], `walk` |
//! | writing | [`Log`], `writer` |

mod act;
mod backwards;
mod error;
mod head;
mod last;
mod line;
mod log;
mod note;
mod place;
mod reader;
mod settings;
#[cfg(test)]
mod tests;
mod text;
mod tree;
mod verify;
mod walk;
mod words;
mod writer;
mod wrong;

pub use act::{Act, Exposed, Hex, KeyVersion, Outcome, RecordRef, Who};
pub use backwards::Backwards;
pub use error::{OpenError, VerifyError, WriteFailed};
pub use head::Head;
pub use last::LastWord;
pub use line::{Body, Completed, Event, EventId, Fact, Line, Note};
pub use log::{Log, Pending};
pub use note::{BadNote, BadVerifier, Checkpoint, Signer, VerifierKey};
pub use place::{CHECKPOINTS, LOG, Place, Source};
pub use settings::{Change, InForce, Settings};
pub use text::Text;
pub use tree::Hash;
pub use verify::{Verified, verify};
pub use walk::Torn;
pub use words::{Action, IntendedUse, OutcomeWord, Through, Trigger, UnknownWord};
pub use wrong::Wrong;
