//! The keyring of a subject: the trie against a search through the list.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| keyway::policy::check::trie_agrees_with_list(data));
