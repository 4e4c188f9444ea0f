//! A client's bytes: the parser against the reference parser, however the stream is split.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| keyway::wire::check::client_parser_agrees(data));
