//! The page `docs/audit.md` has the fields and words of the lines, and no others.

use std::collections::BTreeSet;

use serde_json::Value;
use strum::VariantNames as _;

use super::format::facts;
use super::*;

const PAGE: &str = include_str!("../../../../docs/audit.md");

/// A line of every kind, with all of its fields.
fn lines() -> Vec<Line> {
    let home = Home::new();
    let mut log = home.create().unwrap();
    for fact in facts() {
        log.note(fact, at(1)).unwrap();
    }
    let act = Act {
        forced: Some(true),
        evidence: Some("nothing".into()),
        exposure: Some(ExposedData {
            from: Some(at(0)),
            until: None,
            messages: [1, 2],
            bytes: [3, 4],
            lanes: 5,
        }),
        changes: vec![Change::of("relay-only", &false.into(), &true.into())],
        ..act(Action::Compromise, Some(Trigger::Manual))
    };
    let pending = log.begin(act, at(2)).unwrap();
    let pending = pending.with_record(Some(RecordRef::of("agents", 1, b"{}")));
    log.finish(pending, &Outcome::Done, at(3)).unwrap();
    home.lines()
}

/// The names of all members, nested ones included; not of settings, which are keys of the configuration.
fn names(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                found.insert(name.clone());
                if name != "settings" {
                    names(value, found);
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| names(item, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn fields(lines: &[Line]) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for line in lines {
        names(&serde_json::to_value(line).unwrap(), &mut found);
    }
    found
}

/// The rows of the section's tables, by what stands in code in their first and second cells.
fn rows() -> Vec<[Vec<&'static str>; 2]> {
    let section = PAGE.split("\n## Lines\n").nth(1).unwrap();
    let section = section.split("\n## ").next().unwrap();
    let rows = section.lines().filter(|line| line.starts_with("| `"));
    let rows = rows.map(|row| row.trim_matches(['|', ' ']).split_once(" | ").unwrap());
    rows.map(|(first, second)| [in_code(first), in_code(second)])
        .collect()
}

/// What stands in code, where it is one word.
fn in_code(text: &str) -> Vec<&str> {
    let spans = text.split('`').skip(1).step_by(2);
    let is_word = |span: &&str| {
        span.bytes()
            .all(|byte| b"_-".contains(&byte) || byte.is_ascii_lowercase() || byte.is_ascii_digit())
    };
    spans.filter(is_word).collect()
}

fn words() -> BTreeSet<&'static str> {
    let all = [
        Action::VARIANTS,
        Trigger::VARIANTS,
        Channel::VARIANTS,
        IntendedUse::VARIANTS,
        OutcomeKind::VARIANTS,
    ];
    all.into_iter().flatten().copied().collect()
}

/// The names of all kinds of notes, taken from the parser's error about an unknown one.
fn kinds_of_notes() -> BTreeSet<String> {
    let unknown = serde_json::json!({"note": "nothing-of-this"});
    let error = serde_json::from_value::<Fact>(unknown).unwrap_err();
    let error = error.to_string();
    let (_, known) = error.split_once("expected one of ").unwrap();
    known
        .split('`')
        .skip(1)
        .step_by(2)
        .map(str::to_owned)
        .collect()
}

#[test]
fn list_of_notes_has_one_of_every_kind() {
    let listed = lines().into_iter().filter_map(|line| match line.body {
        Body::Note(note) => Some(serde_json::to_value(note).unwrap()),
        Body::Intent(_) | Body::Outcome(_) => None,
    });
    let listed: BTreeSet<_> = listed
        .map(|note| note["note"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(listed, kinds_of_notes());
}

#[test]
fn page_has_a_row_for_every_note_with_its_fields() {
    let rows = rows();
    for line in lines() {
        let Body::Note(note) = line.body else {
            continue;
        };
        let note = serde_json::to_value(note).unwrap();
        let name = note["note"].as_str().unwrap();
        let row = rows.iter().find(|[names, _]| names.contains(&name));
        let [_, said] = row.unwrap_or_else(|| panic!("docs/audit.md has no row for {name}"));
        let fields = note.as_object().unwrap().keys();
        for field in fields.filter(|field| !["note", "time"].contains(&field.as_str())) {
            assert!(said.contains(&field.as_str()), "{name} has a `{field}`");
        }
    }
}

#[test]
fn page_names_every_field_and_word_and_no_other() {
    let (lines, rows) = (lines(), rows());
    let notes = kinds_of_notes();
    let fields = fields(&lines);
    let words = words();
    let named: BTreeSet<&str> = rows.iter().flatten().flatten().copied().collect();
    for known in fields
        .iter()
        .map(String::as_str)
        .chain(words.iter().copied())
    {
        assert!(
            named.contains(known),
            "docs/audit.md does not name `{known}`"
        );
    }
    let elsewhere = ["null", "intent", "pre-active", "ready"];
    for name in named {
        let is_known = fields.contains(name) || words.contains(name) || notes.contains(name);
        assert!(
            is_known || elsewhere.contains(&name),
            "docs/audit.md names `{name}`"
        );
    }
}

#[test]
fn lines_that_the_page_shows_are_lines() {
    let shown = PAGE.split("```json\n").nth(1).unwrap();
    let shown = shown.split("```").next().unwrap();
    assert!(shown.lines().count() >= 3, "{shown}");
    for line in shown.split_inclusive('\n') {
        let parsed = Line::parse(line.as_bytes()).unwrap();
        assert_eq!(String::from_utf8(parsed.bytes().unwrap()).unwrap(), line);
    }
}
