//! Edits of a header block against a naive line-by-line edit.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| keyway::wire::check::header_edit_holds(data));
