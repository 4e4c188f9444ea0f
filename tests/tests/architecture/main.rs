//! Promise: modules stand in ranks, and a module uses lower ranks only; so do the files inside a module whose `mod.rs` has a table; and
//! nowhere do files use each other in a circle. What helps against an error is in its fault, not in its words.
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

mod graph;

use graph::Graph;
use keyway_tests::scratch::repository;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// The one module that its own rank may use, as errors of rank 0 are classified too. It uses no module itself.
const SHARED_MODULE: &str = "fault";

/// Modules that `dataplane` must not name, whatever the ranks allow: the message path never waits for a disk or a custodian.
const NOT_ON_THE_MESSAGE_PATH: [&str; 7] = [
    "custodian",
    "custody",
    "catalogue",
    "fleet",
    "retention",
    "disk",
    "config",
];

/// A remedy that is looked for in words, or that is missing.
const WORDS_TAKEN_APART: [&str; 5] = [
    "split(\"; \")",
    "split_once(\"; \")",
    "find(\"; \")",
    "Fault::operator(\"\")",
    "Fault::operator_later(\"\")",
];

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

/// Violations of the tables that stand in the `mod.rs` of modules, such as `dataplane: session (rank 3) uses listener (rank 4)`: which
/// child of the module, a file or a folder, uses which other.
fn violations_inside(source: &Path, graph: &Graph) -> Vec<String> {
    let mut found = Vec::new();
    for file in graph.uses.keys().filter(|file| file.ends_with("mod.rs")) {
        let folder = file.parent().unwrap();
        let ranks = ranks(&std::fs::read_to_string(source.join(file)).unwrap());
        if ranks.is_empty() {
            continue;
        }
        let shown = folder.display();
        let name = |file: &Path| {
            let first = file.strip_prefix(folder).ok()?.components().next()?;
            let name = Path::new(&first).file_stem()?.to_string_lossy();
            (name != "mod").then(|| name.into_owned())
        };
        // What tests alone have is in no graph.
        let names: BTreeSet<_> = graph.uses.keys().filter_map(|file| name(file)).collect();
        let missing = names.iter().filter(|name| !ranks.contains_key(*name));
        found.extend(
            missing.map(|name| format!("{shown}: `{name}` is not in the rank table of mod.rs")),
        );
        let child = |file: &Path| {
            let name = name(file)?;
            ranks.get(&name).map(|rank| (name, *rank))
        };
        let mut broken = BTreeSet::new();
        for (file, uses) in &graph.uses {
            let Some((from, rank)) = child(file) else {
                continue;
            };
            let higher = uses.iter().filter_map(|file| child(file));
            let higher = higher.filter(|(to, other)| *to != from && *other >= rank);
            broken.extend(higher.map(|(to, other)| {
                format!("{shown}: {from} (rank {rank}) uses {to} (rank {other})")
            }));
        }
        found.extend(broken);
    }
    found
}

fn shown(circles: &[Vec<&Path>]) -> Vec<String> {
    let names = |circle: &Vec<&Path>| {
        circle
            .iter()
            .map(|file| file.display().to_string())
            .collect::<Vec<_>>()
    };
    circles
        .iter()
        .map(|circle| format!("{} files: {}", circle.len(), names(circle).join(" ")))
        .collect()
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
fn no_files_use_each_other_in_a_circle() {
    let graph = Graph::read(&source());
    assert!(graph.uses.len() > 100, "the crate was not understood");
    let envelope = Graph::read(&repository().join("gateway/envelope/src"));
    let circles = [graph.circles(), envelope.circles()].concat();
    assert!(circles.is_empty(), "{}", shown(&circles).join("\n"));
}

#[test]
fn a_file_uses_lower_ranks_of_its_module_only() {
    let found = violations_inside(&source(), &Graph::read(&source()));
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// A crate of these files.
fn made(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    folder
}

#[test]
fn circle_through_a_re_export_a_macro_and_a_folder_is_found() {
    let made = made(&[
        ("lib.rs", "mod a; mod b; mod c; mod d;"),
        (
            "a.rs",
            "use crate::b::Shown; pub struct A; fn f(_: Shown) {}",
        ),
        ("b/mod.rs", "mod inner; pub use inner::Inner as Shown;"),
        (
            "b/inner.rs",
            "pub struct Inner; fn f() { println!(\"{}\", super::super::c::g(1)) }",
        ),
        (
            "c.rs",
            "pub fn g(x: u8) -> u8 { h::<super::a::A>(x) } fn h<T>(x: u8) -> u8 { x }",
        ),
        (
            "d.rs",
            "use crate::a::A; #[cfg(test)] mod tests { use super::*; }",
        ),
    ]);
    let graph = Graph::read(made.path());
    assert_eq!(shown(&graph.circles()), ["3 files: a.rs b/inner.rs c.rs"]);
}

#[test]
fn what_tests_alone_use_and_what_is_shown_again_makes_no_circle() {
    let made = made(&[
        ("lib.rs", "mod a; mod b; pub use a::A;"),
        ("a.rs", "use crate::b; pub struct A; fn f() { b::f() }"),
        (
            "b.rs",
            "pub fn f() {} #[cfg(test)] mod tests { use crate::a::A; }",
        ),
    ]);
    assert!(Graph::read(made.path()).circles().is_empty());
}

#[test]
fn rank_broken_inside_a_module_is_found_and_so_is_a_file_without_a_rank() {
    let made = made(&[
        ("lib.rs", "mod m;"),
        (
            "m/mod.rs",
            "//! | rank | file |\n//! |---|---|\n//! | 1 | `low` |\n//! | 2 | `high` |\nmod low; mod high; mod none;",
        ),
        ("m/low.rs", "use super::high::inner::f; fn g() { f() }"),
        ("m/none.rs", ""),
        ("m/high/mod.rs", "pub mod inner;"),
        ("m/high/inner.rs", "pub fn f() {}"),
    ]);
    let found = violations_inside(made.path(), &Graph::read(made.path()));
    assert_eq!(
        found,
        [
            "m: `none` is not in the rank table of mod.rs",
            "m: low (rank 1) uses high (rank 2)"
        ]
    );
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

/// Places where words are taken apart, where an error's words have its remedy in them, or where an operator is left without one.
fn remedies_in_prose(source: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for file in files(source) {
        let text = std::fs::read_to_string(&file).unwrap();
        let shown = file.strip_prefix(source).unwrap().display();
        let cuts = WORDS_TAKEN_APART.iter().filter(|cut| text.contains(**cut));
        found.extend(cuts.map(|cut| format!("{shown}: `{cut}`")));
        if text.contains("impl Faulty for") || text.contains("faults! {") {
            let words = text.split("#[error(").skip(1);
            let words = words.filter_map(|rest| rest.split(")]").next());
            let prose = words.filter(|words| words.contains("; "));
            found.extend(prose.map(|words| format!("{shown}: {words}")));
        }
    }
    found
}

#[test]
fn remedy_of_an_error_is_in_its_fault_and_not_in_its_words() {
    let found = remedies_in_prose(&source());
    assert_eq!(found, ["fault.rs: `Fault::operator(\"\")`"]);
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
