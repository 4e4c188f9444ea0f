//! Bytes that NATS would recognise, and nothing about keys.
//!
//! | file | what it holds |
//! |---|---|
//! | `ops` | what a parser yields: one borrowed operation at a time |
//! | `client` | the publish direction: what a client may send, exactly as permissive as nats-server's `parser.go` |
//! | `server` | the deliver direction: what a server writes |
//! | `line` | finds a control line, and splits its arguments |
//! | `line_run` | the fast path: consecutive control lines that differ only in their sizes, found by one comparison |
//! | `malformed` | protocol errors, and what to forward so that the server itself answers and closes |
//! | `write` | serialises control lines: upper case, single blanks, CRLF, sizes as the publisher wrote them |
//! | `subject`, `header`, `info`, `connect`, `credentials` | the parts of a line that the gateway reads or edits |
//! | `jetstream` | JetStream API requests and responses whose sizes or payloads change with sealing |
//! | `json` | the members of a JSON object as spans of its text |
//! | `buffer` | bytes that are read at the front and written at the back |
//! | `reference`, `check` | a naive reference parser, and the properties that tests and fuzzers check both for |

pub mod buffer;
#[cfg(any(test, feature = "twin", fuzzing))]
pub mod check;
#[cfg(any(test, feature = "twin", fuzzing))]
mod check_edits;
#[cfg(any(test, feature = "twin", fuzzing))]
mod check_jetstream;
#[cfg(any(test, feature = "twin", fuzzing))]
mod check_json;
mod client;
pub mod connect;
mod credentials;
pub mod header;
pub mod info;
pub mod jetstream;
mod json;
mod line;
mod line_run;
mod malformed;
mod ops;
#[cfg(any(test, feature = "twin", fuzzing))]
mod reference;
mod server;
pub mod subject;
#[cfg(test)]
mod tests;
pub mod write;

pub use buffer::Buffer;
pub use client::ClientParser;
pub use credentials::{Credentials, Present};
pub use json::{NotAnObject, is_object};
pub use line_run::{LineRun, LineRunReader, RunMessage};
pub use malformed::Malformed;
pub use ops::{ClientOp, Limits, Message, Parsed, Publish, ServerOp};
pub use server::ServerParser;
