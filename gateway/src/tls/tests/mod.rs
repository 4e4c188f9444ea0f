//! Tests of TLS with generated certificates and handshakes through buffers.

mod facts;
mod files;
mod handshakes;
mod made;
mod reload;
