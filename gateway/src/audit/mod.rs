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
mod contents;
mod error;
mod hash;
mod head;
mod line;
mod log;
mod log_dir;
mod logged_state;
mod note;
mod pending_event;
mod reader;
mod reverse_lines;
mod settings;
mod tampering;
#[cfg(test)]
mod tests;
mod text;
mod time;
mod tree;
mod verify;
mod walk;
mod words;
mod writer;

pub use act::{Act, Actor, ExposedData, KeyVersion, Outcome, RecordRef};
pub use error::{OpenError, VerifyError, WriteFailed};
pub use hash::{Hash, Hex};
pub use head::Head;
pub use line::{Body, Completed, Event, EventId, Fact, Line, Note};
pub use log::Log;
pub use log_dir::{CHECKPOINTS, LOG, LogDir, LogFiles};
pub use logged_state::LoggedState;
pub use note::{BadNote, BadVerifier, Checkpoint, Signer, VerifierKey};
pub use pending_event::PendingEvent;
pub use reverse_lines::ReverseLines;
pub use settings::{Change, InForce, Settings};
pub use tampering::Tampering;
pub use text::Text;
pub use verify::{Verified, verify};
pub use walk::Torn;
pub use words::{Action, Channel, IntendedUse, OutcomeKind, Trigger};
