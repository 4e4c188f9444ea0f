//! Keyway: an encryption gateway for NATS.
//!
//! Clients connect to it as they would to `nats-server`; it holds one connection to the server for each of theirs, seals what
//! they publish, opens what is delivered to them, and rotates the keys under that traffic.
//!
//! Modules stand in ranks. A module uses lower ranks only, never its own rank or a higher one; a test in `tests/` checks it.
//!
//! | rank | module | if you are … you live here |
//! |---|---|---|
//! | 0 | [`clock`] | time as an argument: real, and driven by hand in tests |
//! | 0 | [`disk`] | a file that must survive a crash, or whose permissions matter |
//! | 0 | [`fault`] | who must act on an error, and whether retrying can help |
//! | 0 | [`objects`] | JSON that a file or a request holds, read without leniency |
//! | 0 | [`printable`] | text from outside on its way to a terminal or a log |
//! | 0 | [`secret`] | 32 bytes whose disclosure is an incident |
//! | 0 | [`wire`] | bytes that NATS would recognise, and nothing about keys |
//! | 1 | [`envelope`] | a byte of our ciphertext format, or the arithmetic of its overhead; knows nothing of NATS |
//! | 1 | [`policy`] | the answer to "is this subject sealed, passed or refused, and under which keyring" |
//! | 1 | [`custody`] | a conversation with something that can wrap and unwrap a key |
//! | 1 | [`audit`] | a statement that an auditor will read in a year |
//! | 1 | [`metrics`] | a number that an operator will graph |
//! | 1 | [`proxy`] | whose connection it is, said by one who stands between |
//! | 1 | [`tls`] | a certificate: whose it is, what is wrong with it, when it expires |
//! | 2 | [`keyring`] | the immutable snapshot of keys valid at this instant, and the lanes that seal |
//! | 2 | [`catalogue`] | the durable key-version records |
//! | 2 | [`control`] | a question to JetStream on the gateway's own connection |
//! | 3 | [`dataplane`] | a socket, a buffer, a back-pressure decision, a connection's end |
//! | 3 | [`rotation`] | a decision on when a key version is born, active, decrypt-only, gone |
//! | 4 | [`admin`] | a person's or script's request to the running gateway |
//! | 5 | [`config`] | a line of the configuration file, its unit, its error message |
//! | 6 | [`app`] | the start and the end of a gateway: the only place that knows all of the above |
//! | 7 | [`cli`] | a word that a person types, and what is printed in return |

pub mod admin;
pub mod app;
pub mod audit;
pub mod catalogue;
pub mod cli;
pub mod clock;
pub mod config;
pub mod control;
pub mod custody;
pub mod dataplane;
pub mod disk;
pub mod envelope;
pub mod fault;
pub mod keyring;
pub mod metrics;
pub mod objects;
pub mod policy;
pub mod printable;
pub mod proxy;
pub mod rotation;
pub mod secret;
#[cfg(test)]
mod tests;
pub mod tls;
pub mod wire;
