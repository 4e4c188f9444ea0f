//! Replays what the fuzzers found worth keeping, so that every `cargo test` passes it without a fuzzer.

use std::fs;
use std::path::{Path, PathBuf};

use crate::{config, dataplane, envelope, policy, proxy, wire};

type Check = fn(&[u8]);

/// A fuzz target, and the check that it calls.
const TARGETS: [(&str, Check); 10] = [
    ("client_parser", wire::check::client_parser_agrees),
    ("server_parser", wire::check::server_parser_agrees),
    ("envelope_open", envelope::check::open_never_panics),
    ("header_edit", wire::check::header_edit_holds),
    ("info_connect_edit", wire::check::info_connect_edit_holds),
    ("jetstream", wire::check::jetstream_holds),
    ("policy", policy::check::trie_agrees_with_list),
    ("identity", dataplane::check::nothing_proves_itself),
    ("configuration", config::check::never_panics),
    ("proxy_header", proxy::check::header_is_read_alike_in_parts),
];

const FUZZ: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz");

#[test]
fn every_input_of_the_fuzz_corpus_passes_its_check() {
    for (target, check) in TARGETS {
        let inputs = files(&Path::new(FUZZ).join("corpus").join(target));
        assert!(!inputs.is_empty(), "{target} has no corpus");
        for input in inputs {
            let data = fs::read(&input).unwrap();
            let outcome = std::panic::catch_unwind(|| check(&data));
            assert!(outcome.is_ok(), "{} fails", input.display());
        }
    }
}

#[test]
fn every_fuzz_target_calls_the_check_that_is_replayed_here() {
    let mut sources = files(&Path::new(FUZZ).join("targets"));
    assert_eq!(sources.len(), TARGETS.len());
    for (target, _) in TARGETS {
        sources.retain(|path| path.file_stem() != Some(target.as_ref()));
    }
    assert_eq!(sources, Vec::<PathBuf>::new(), "not replayed");
}

#[test]
fn the_fuzz_corpus_stays_small() {
    let corpora = TARGETS.map(|(target, _)| files(&Path::new(FUZZ).join("corpus").join(target)));
    let files = corpora.concat();
    let bytes: u64 = files.iter().map(|f| f.metadata().unwrap().len()).sum();
    assert!(files.len() <= 260, "{} files", files.len());
    assert!(bytes <= 100 << 10, "{bytes} bytes");
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap();
    entries.map(|entry| entry.unwrap().path()).collect()
}
