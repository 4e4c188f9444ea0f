//! Tests of what answers mean; `tests/tests/gate.rs` asks a real server.
