//! Tests of TLS: certificates made here, handshakes through buffers.

mod facts;
mod files;
mod handshakes;
mod made;
mod reload;
