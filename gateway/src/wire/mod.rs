//! Bytes that NATS would recognise, and nothing about keys.
//!
//! | file | what it holds |
//! |---|---|
//! | `ops` | what a parser yields: one borrowed operation at a time |
//! | `client` | the publish direction: what a client may send, exactly as permissive as nats-server's `parser.go` |
//! | `server` | the deliver direction: what a server writes |
//! | `streak` | messages in a row whose lines differ in their sizes alone, at the cost of one comparison |
//! | `malformed` | what no peer may send, and what makes the server kill the connection with its own words |
//! | `write` | control lines: upper case, single blanks, CRLF, sizes as the publisher wrote them |
//! | `subject`, `header`, `info`, `connect`, `credentials` | the parts of a line that the gateway reads or edits |
//! | `jetstream` | the requests and answers of JetStream's API whose numbers or payloads change with sealing |
//! | `twin`, `check` | a naive second parser, and the claims that tests and fuzzers hold both to |

pub mod buffer;
#[cfg(any(test, feature = "twin", fuzzing))]
pub mod check;
#[cfg(any(test, feature = "twin", fuzzing))]
mod check_jetstream;
#[cfg(any(test, feature = "twin", fuzzing))]
mod check_text;
#[cfg(any(test, feature = "twin", fuzzing))]
mod check_tree;
mod client;
pub mod connect;
mod credentials;
pub mod header;
pub mod info;
pub mod jetstream;
mod json;
mod line;
mod malformed;
mod ops;
mod server;
mod streak;
pub mod subject;
#[cfg(test)]
mod tests;
#[cfg(any(test, feature = "twin", fuzzing))]
mod twin;
pub mod write;

pub use buffer::Buffer;
pub use client::ClientParser;
pub use credentials::{Credentials, Present};
pub use json::{NotAnObject, is_object};
pub use malformed::Malformed;
pub use ops::{ClientOp, Limits, Message, Publish, ServerOp, Step};
pub use server::ServerParser;
pub use streak::{Alike, Row, Streak};
