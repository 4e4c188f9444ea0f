//! Promise: modules stand in ranks, and a module uses lower ranks only.
//!
//! The ranks are those of the table in `gateway/src/lib.rs`, which ARCHITECTURE.md repeats. Long files and functions are reported,
//! not failed on.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::arithmetic_side_effects,
    reason = "a test stops at the first thing that is not as expected"
)]

use keyway_tests::scratch::repository;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// The one module that its own rank may use, as errors of rank 0 are classified too. It uses no module itself.
const SHARED_MODULE: &str = "fault";

/// Modules that `dataplane` must not name, whatever the ranks allow: the message path never waits for a disk or a custodian.
const NOT_ON_THE_MESSAGE_PATH: [&str; 5] = ["custody", "catalogue", "retention", "disk", "config"];

const LONG_FILE: usize = 400;
const LONG_FUNCTION: usize = 60;

/// Module and rank, from rows such as ``| 1 | [`policy`], `audit` | … |``.
fn ranks(text: &str) -> BTreeMap<String, u32> {
    let mut ranks = BTreeMap::new();
    for row in text.lines() {
        let cells: Vec<_> = row
            .trim_start_matches("//!")
            .trim()
            .split('|')
            .map(str::trim)
            .collect();
        if let [_, rank, modules, ..] = cells[..]
            && let Ok(rank) = rank.parse()
        {
            ranks.extend(
                modules
                    .split('`')
                    .skip(1)
                    .step_by(2)
                    .map(|module| (module.to_owned(), rank)),
            );
        }
    }
    ranks
}

/// A file's lines of code, without comments and without the `#[cfg(test)]` module at its end.
fn code(path: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(path).unwrap();
    let code = text.split("\n#[cfg(test)]\nmod tests {").next().unwrap();
    code.lines()
        .map(|line| line.split("//").next().unwrap().to_owned())
        .collect()
}

/// The modules named as `crate::module`, also in `use crate::{a, b::c}`.
fn uses(lines: &[String]) -> BTreeSet<String> {
    let text = lines.join("\n");
    let mut found = BTreeSet::new();
    for (at, _) in text.match_indices("crate::") {
        let rest = &text[at + "crate::".len()..];
        let group = rest.strip_prefix('{').map_or(rest, |group| group);
        let names: Vec<&str> = if group.len() < rest.len() {
            top_level(group)
        } else {
            vec![group]
        };
        found.extend(names.into_iter().map(first_word));
    }
    found
}

/// The members of a `use` group, cut at the commas that are not inside an inner group.
fn top_level(group: &str) -> Vec<&str> {
    let mut members = Vec::new();
    let (mut depth, mut from) = (0_usize, 0);
    for (at, letter) in group.char_indices() {
        match letter {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            ',' | '}' if depth == 0 => {
                members.push(group[from..at].trim());
                from = at + 1;
            }
            _ => {}
        }
        if depth == 0 && letter == '}' && from == at + 1 {
            break;
        }
    }
    members
}

fn first_word(text: &str) -> String {
    text.trim()
        .chars()
        .take_while(|letter| letter.is_alphanumeric() || *letter == '_')
        .collect()
}

/// Rust files below `folder`, without those that hold only tests.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let path = entry.path();
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        if path.is_dir() && name != "tests" {
            files.extend(self::files(&path));
        } else if path.extension().is_some_and(|kind| kind == "rs") && name != "tests" {
            files.push(path);
        }
    }
    files.sort();
    files
}

/// The top-level module that a file belongs to; none for `lib.rs` and `main.rs`.
fn module(source: &Path, file: &Path) -> Option<String> {
    let first = file
        .strip_prefix(source)
        .unwrap()
        .components()
        .next()
        .unwrap();
    let name = Path::new(&first)
        .file_stem()
        .unwrap()
        .to_string_lossy()
        .into_owned();
    (name != "lib" && name != "main").then_some(name)
}

/// Violations such as `wire/read.rs: wire (rank 0) uses policy (rank 1)`.
fn violations(source: &Path, ranks: &BTreeMap<String, u32>) -> Vec<String> {
    let mut found = Vec::new();
    for file in files(source) {
        let Some(from) = module(source, &file) else {
            continue;
        };
        let shown = file.strip_prefix(source).unwrap().display();
        let Some(rank) = ranks.get(&from) else {
            found.push(format!(
                "{shown}: `{from}` is not in the rank table of lib.rs"
            ));
            continue;
        };
        for to in uses(&code(&file)) {
            if let Some(other) = ranks.get(&to)
                && to != from
                && to != SHARED_MODULE
                && other >= rank
            {
                found.push(format!(
                    "{shown}: {from} (rank {rank}) uses {to} (rank {other})"
                ));
            }
        }
    }
    found
}

/// Files and functions that are longer than we aim at.
fn long(source: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for file in files(source) {
        let text = std::fs::read_to_string(&file).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        let shown = file.strip_prefix(source).unwrap().display();
        if lines.len() > LONG_FILE {
            found.push(format!("{shown}: {} lines", lines.len()));
        }
        let functions = (0..lines.len()).map(|at| (at + 1, function_length(&lines[at..])));
        let long = functions.filter(|(_, length)| *length > LONG_FUNCTION);
        found.extend(
            long.map(|(line, length)| format!("{shown}:{line}: a function of {length} lines")),
        );
    }
    found
}

/// How many lines the function has that begins on the first line; 0 if none does.
fn function_length(lines: &[&str]) -> usize {
    let first = lines[0];
    if !first.contains("fn ") || !first.ends_with('{') {
        return 0;
    }
    let indent = first.len() - first.trim_start().len();
    let end = format!("{}}}", " ".repeat(indent));
    lines.iter().position(|line| *line == end).unwrap_or(0)
}

fn source() -> PathBuf {
    repository().join("gateway/src")
}

#[test]
fn a_module_uses_lower_ranks_only() {
    let ranks = ranks(&std::fs::read_to_string(source().join("lib.rs")).unwrap());
    assert!(
        ranks.len() >= 15,
        "the rank table of lib.rs was not understood: {ranks:?}"
    );
    let found = violations(&source(), &ranks);
    assert!(found.is_empty(), "{}", found.join("\n"));
    let long = long(&source());
    if !long.is_empty() {
        eprintln!("longer than we aim at:\n{}", long.join("\n"));
    }
}

#[test]
fn the_message_path_names_nothing_that_may_wait_for_a_disk_or_a_custodian() {
    let files = files(&source().join("dataplane"));
    assert!(!files.is_empty(), "the message path has moved");
    for file in files {
        let uses = uses(&code(&file));
        let found = NOT_ON_THE_MESSAGE_PATH.map(|name| uses.contains(name));
        assert!(
            !found.contains(&true),
            "{} names one of {NOT_ON_THE_MESSAGE_PATH:?}",
            file.display()
        );
    }
}

#[test]
fn architecture_page_has_the_rank_table_of_the_library() {
    let Ok(page) = std::fs::read_to_string(repository().join("ARCHITECTURE.md")) else {
        return; // not written yet
    };
    assert_eq!(
        ranks(&page),
        ranks(&std::fs::read_to_string(source().join("lib.rs")).unwrap())
    );
}

#[test]
fn uses_inside_groups_are_found() {
    let lines = [
        "use crate::{wire::{Buffer, parse}, policy};".to_owned(),
        "let x = crate::clock::now();".to_owned(),
    ];
    let found: Vec<_> = uses(&lines).into_iter().collect();
    assert_eq!(found, ["clock", "policy", "wire"]);
}
