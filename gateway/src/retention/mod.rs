//! What JetStream has stored, asked on the gateway's own connection, section `[control]`.
//!
//! Before a key version is destroyed, [`JetStream::streams_storing`] asks which streams may still hold messages that were sealed under it.
//! A wrong "none" loses messages for good, so every doubt is an [`RetentionAnswer::Unknown`] with its reason; `docs/keys.md` says what the
//! answer proves and what it cannot.
//!
//! Stored messages themselves are read: `STREAM.MSG.GET` with `next_by_subj` and a sequence gives the next stored message whose
//! subject matches, whatever the stream's subjects, mirrors, sources or transforms are, and its envelope has the key version's
//! kid. That request goes to the stream's leader, whereas a direct get may be answered by a replica that lags behind. It creates
//! no consumer, which could change what an interest or work-queue stream keeps.
//!
//! | you look for | it is in |
//! |---|---|
//! | the question and its answer | [`RetentionQuestion`], [`RetentionAnswer`] |
//! | who can be asked | [`Inspector`] |
//! | servers and credentials | [`Config`], [`Login`] |
//! | one request to JetStream's API, and its errors | `api` |
//! | the JSON of the answers | `json` |
//! | whether stored times are those of the publish | `stream` |
//! | scanning one stream | `scan` |
//! | scanning all streams of the account, and the answer | `question` |
//! | streams that rename subjects, and the composition of subject transforms | `survey`, `renaming` |

mod answer;
mod api;
mod config;
mod inspector;
mod jetstream;
mod json;
mod question;
mod renaming;
mod scan;
mod stream;
mod survey;
#[cfg(test)]
mod tests;

pub use answer::{CLOCK_MARGIN, ConsumerBehind, RetentionAnswer, RetentionQuestion, StoringStream};
pub use config::{Config, Login, LoginError};
pub use inspector::{Inspector, NoInspector};
pub use jetstream::JetStream;
pub use survey::{Renaming, Scheduling, Survey, UnaskedSource};
