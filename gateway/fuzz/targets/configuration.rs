//! Any bytes as a configuration file.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| keyway::config::check::never_panics(data));
