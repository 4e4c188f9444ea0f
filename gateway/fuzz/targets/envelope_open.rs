//! Any bytes as an envelope, and a sealed envelope that the input alters.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| keyway::envelope::check::open_never_panics(data));
