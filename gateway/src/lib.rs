//! Keyway: an encryption gateway for NATS.
//!
//! Clients connect to it as they would to `nats-server`; it holds one connection to the server for each of theirs, seals what
//! they publish, opens what is delivered to them, and rotates the keys under that traffic.
//!
//! Public API is [`envelope`] alone, which is a crate of its own. Everything else is public for the binary, the tests and the
//! benches, and may change at any time.
//!
//! Modules have ranks. A module uses lower ranks only, never its own or a higher one; `tests/tests/architecture` checks it.
//!
//! | rank | module | content |
//! |---|---|---|
//! | 0 | [`clock`] | time as an argument: the system's, or set manually in tests |
//! | 0 | [`disk`] | files that must survive a crash, or whose permissions matter |
//! | 0 | [`fault`] | who must act on an error, whether retrying can help, and what to do |
//! | 0 | [`strict_json`] | strict reading of JSON in files and requests |
//! | 0 | [`later`] | results that come later, for whoever must not wait |
//! | 0 | [`printable`] | escaping of untrusted text for terminals and logs |
//! | 0 | [`priority`] | the priority of threads |
//! | 0 | [`secret`] | key material in memory: wiped, never printed |
//! | 0 | [`wire`] | the NATS client protocol; knows nothing of keys |
//! | 1 | [`envelope`] | the ciphertext format and its limits; knows nothing of NATS |
//! | 1 | [`policy`] | which subjects are sealed, passed or refused, and under which keyring |
//! | 1 | [`custodian`] | the custodian of the KEK as all others know it, and what it wraps |
//! | 1 | [`audit`] | the audit log: signed, chained by hash |
//! | 1 | [`metrics`] | Prometheus metrics |
//! | 1 | [`proxy`] | PROXY protocol headers, and the nkey of a trusted proxy |
//! | 1 | [`tls`] | TLS certificates, keys and settings for clients and servers |
//! | 2 | [`keyring`] | the immutable snapshot of keys valid at this instant, and the lanes that seal |
//! | 2 | [`catalogue`] | the durable key-version records |
//! | 2 | [`custody`] | the custodians that there are |
//! | 2 | [`fleet`] | the gateways that share a catalogue, as rotation knows them |
//! | 2 | [`retention`] | queries to JetStream on the gateway's own connection |
//! | 3 | [`dataplane`] | the message path: sockets, buffers, backpressure, drain |
//! | 3 | [`rotation`] | the life cycle of key versions |
//! | 4 | [`operations`] | what people and scripts may order and ask, and the reports |
//! | 5 | [`admin`] | the HTTP API of the running gateway |
//! | 6 | [`config`] | the configuration file: keys, units, error messages |
//! | 7 | [`app`] | start, reload, hand-over and stop of a gateway; the only module that knows all of the above |
//! | 8 | [`cli`] | commands and their output |

pub mod admin;
pub mod app;
pub mod audit;
pub mod catalogue;
pub mod cli;
pub mod clock;
pub mod config;
pub mod custodian;
pub mod custody;
pub mod dataplane;
pub mod disk;
pub mod fault;
pub mod fleet;
pub mod keyring;
pub mod later;
pub mod metrics;
pub mod operations;
pub mod policy;
pub mod printable;
pub mod priority;
pub mod proxy;
pub mod retention;
pub mod rotation;
pub mod secret;
pub mod strict_json;
#[cfg(test)]
mod tests;
pub mod tls;
pub mod wire;

pub use keyway_envelope as envelope;
