//! The header of the PROXY protocol, valid or forged.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| keyway::proxy::check::header_is_read_alike_in_parts(data));
