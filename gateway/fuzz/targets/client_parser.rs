//! What a client sends: the parser against its twin, over every way to split the stream.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| keyway::wire::check::client_parser_agrees(data));
