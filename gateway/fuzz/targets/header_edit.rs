//! Edits of a message's header block against the same edits by lines.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| keyway::wire::check::header_edit_holds(data));
