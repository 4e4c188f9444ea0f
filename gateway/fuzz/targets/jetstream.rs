//! JetStream's requests and answers against serde_json.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| keyway::wire::check::jetstream_holds(data));
