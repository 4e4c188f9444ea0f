//! Who a client is: nothing that it only says proves anything.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| keyway::dataplane::check::nothing_proves_itself(data));
