//! Tests of TLS with generated certificates and handshakes through buffers.

mod facts;
mod files;
mod fixtures;
mod handshakes;
mod reload;
