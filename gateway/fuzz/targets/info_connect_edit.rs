//! Edits of INFO and CONNECT against serde_json.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| keyway::wire::check::info_connect_edit_holds(data));
