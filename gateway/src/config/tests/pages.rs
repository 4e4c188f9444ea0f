//! The documentation names only keys that exist.

use std::collections::BTreeSet;
use std::fs;

use super::examples::repository;
use super::schema::keys;
use super::*;

/// Each page with its name.
fn pages() -> Vec<(String, String)> {
    let folder = repository().join("docs");
    let files = fs::read_dir(&folder)
        .unwrap()
        .map(|file| file.unwrap().path());
    let others =
        ["README.md", "ARCHITECTURE.md", "SECURITY.md"].map(|name| repository().join(name));
    let is_page = |path: &PathBuf| path.extension().is_some_and(|end| end == "md");
    let pages = files.chain(others).filter(is_page);
    let pages: Vec<_> = pages
        .map(|path| {
            (
                path.display().to_string(),
                fs::read_to_string(path).unwrap(),
            )
        })
        .collect();
    assert!(pages.len() > 15);
    pages
}

/// Inline code.
fn spans(page: &str) -> impl Iterator<Item = &str> {
    let text = page.split("```").step_by(2);
    text.flat_map(str::lines)
        .flat_map(|line| line.split('`').skip(1).step_by(2))
}

fn is_name(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte == b'-' || byte.is_ascii_lowercase())
}

/// The keys, and all beginnings of them, with a dot between two names.
fn known() -> BTreeSet<String> {
    let mut known = BTreeSet::new();
    for key in keys() {
        let path = key.path.replace("[]", "");
        let ends = path
            .match_indices('.')
            .map(|(at, _)| at)
            .chain([path.len()]);
        known.extend(ends.map(|end| path.split_at(end).0.to_owned()));
    }
    known
}

/// The key that a piece of code names, if it names one: `[section] key`, `[section]`, `section.key`, or `key = value`.
fn named(span: &str, known: &BTreeSet<String>) -> Option<String> {
    if let Some(rest) = span.strip_prefix('[') {
        let (section, key) = rest.trim_start_matches('[').split_once(']')?;
        let key = key.trim_start_matches(']').trim();
        let key = key.split(' ').next().unwrap_or_default();
        let is_both = is_name(section) && (key.is_empty() || is_name(key));
        let path = format!("{section}.{key}");
        return is_both.then(|| path.trim_end_matches('.').to_owned());
    }
    let (key, _) = span.split_once(" = ").unwrap_or((span, ""));
    let names: Vec<_> = key.split('.').collect();
    let is_path = names.iter().all(|name| is_name(name));
    match names[..] {
        _ if !is_path => None,
        [_] => (key != span).then(|| key.to_owned()),
        [section, end] if ["key", "md", "nk", "rs", "sock", "json", "toml"].contains(&end) => {
            // A file, unless there is such a key.
            let path = format!("{section}.{end}");
            known.contains(&path).then_some(path)
        }
        [section, ..] => {
            let is_section = |path: &&String| path.split('.').any(|name| name == section);
            known
                .iter()
                .any(|path| is_section(&path))
                .then(|| key.to_owned())
        }
        [] => None,
    }
}

/// Whether the schema has the key, or one that ends with it: pages omit the section where it is clear.
fn is_known(name: &str, known: &BTreeSet<String>) -> bool {
    known.iter().any(|key| {
        let behind = key.strip_suffix(name);
        behind.is_some_and(|behind| behind.is_empty() || behind.ends_with('.'))
    })
}

#[test]
fn no_page_names_a_key_that_there_is_not() {
    let known = known();
    let (mut wrong, mut count) = (Vec::new(), 0);
    for (path, page) in pages() {
        for name in spans(&page).filter_map(|span| named(span, &known)) {
            count += 1;
            // A keyring may be named in the place of `keyring`'s.
            let general = name.replace("keyring.agents.", "keyring.");
            if !is_known(&general, &known) {
                wrong.push(format!("{path}: {name}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(count > 100, "{count}");
}

#[test]
fn every_configuration_that_a_page_shows_is_one() {
    let mut count = 0;
    for (path, page) in pages() {
        for block in page.split("```toml\n").skip(1) {
            let block = block.split("```").next().unwrap();
            let lines: Vec<_> = block.lines().map(str::trim_start).collect();
            if let Err(errors) = read(&lines.join("\n")) {
                panic!("{path}: {errors}\n{block}");
            }
            count += 1;
        }
    }
    assert!(count > 3, "{count}");
}
