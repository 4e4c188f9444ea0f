//! Client identity: a client's claims alone never yield a verified name.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| keyway::dataplane::check::nothing_proves_itself(data));
