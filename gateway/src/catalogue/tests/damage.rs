//! Files lost, altered, moved or rolled back: each has its own error, and nothing is overwritten.

use super::*;
use crate::custodian::UnwrapFailed;
use crate::fault::Faulty;

/// A catalogue with two versions of `agents` and one of `tools`.
fn filled() -> Fixture {
    let fixture = Fixture::new();
    let mut catalogue = fixture.create();
    catalogue.rotate(&agents(), SUITE, &fixture.clock).unwrap();
    catalogue.rotate(&agents(), SUITE, &fixture.clock).unwrap();
    let tools = "tools".parse().unwrap();
    catalogue.rotate(&tools, SUITE, &fixture.clock).unwrap();
    let clock_state = View::clone(&catalogue).clock_to_save(&fixture.clock);
    catalogue.write_clock(&clock_state).unwrap();
    drop(catalogue);
    fixture
}

/// The error of an open that must fail without changing a file.
fn refused(fixture: &Fixture) -> LoadError {
    let before = fixture.content();
    let error = fixture.open().err().unwrap();
    assert_eq!(fixture.content(), before, "{error}");
    error
}

fn edit(fixture: &Fixture, file: &str, edit: impl FnOnce(String) -> String) {
    let path = fixture.dir.join(file);
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(path, edit(text)).unwrap();
}

/// Edits a file's payload and signs it again.
fn resigned(fixture: &Fixture, file: &str, change: impl FnOnce(String) -> String) {
    let view = fixture.view();
    edit(fixture, file, |text| {
        let payload = text.trim_end().rsplit_once('\n').unwrap().0.to_owned();
        let kind = match file {
            "seen.json" => signed::FileKind::Seen,
            "clock.json" => signed::FileKind::Clock,
            _ => signed::FileKind::Record,
        };
        let bytes = view.signer.sign(kind, change(payload).into_bytes());
        String::from_utf8(bytes).unwrap()
    });
}

const RECORD: &str = "catalogue/agents.json";

#[test]
fn every_flipped_bit_is_noticed() {
    let fixture = filled();
    for file in [RECORD, "seen.json", "clock.json", "catalogue.key"] {
        let path = fixture.dir.join(file);
        let good = std::fs::read(&path).unwrap();
        for byte in 0..good.len() {
            let mut bad = good.clone();
            bad[byte] ^= 1 << (byte % 8);
            std::fs::write(&path, bad).unwrap();
            assert!(fixture.open().is_err(), "{file}, byte {byte}");
        }
        std::fs::write(&path, good).unwrap();
    }
    fixture.open().unwrap();
}

#[test]
fn every_cut_file_is_noticed() {
    let fixture = filled();
    for file in [RECORD, "seen.json", "clock.json", "catalogue.key"] {
        let path = fixture.dir.join(file);
        let good = std::fs::read(&path).unwrap();
        // The last byte of the key file is a line end that says nothing.
        for len in (0..good.len() - 1).step_by(7) {
            std::fs::write(&path, &good[..len]).unwrap();
            assert!(fixture.open().is_err(), "{file}, {len} bytes");
        }
        std::fs::write(&path, good).unwrap();
    }
}

#[test]
fn record_that_is_not_json_is_damaged() {
    let fixture = filled();
    edit(&fixture, RECORD, |_| "nonsense\nnonsense\n".to_owned());
    let error = refused(&fixture);
    assert!(matches!(error, LoadError::Damaged { .. }), "{error}");
    assert!(error.to_string().contains("agents.json"), "{error}");
}

#[test]
fn altered_record_has_a_wrong_signature() {
    let fixture = filled();
    edit(&fixture, RECORD, |t| t.replace("decrypt-only", "archived"));
    let error = refused(&fixture);
    assert!(matches!(error, LoadError::Signature { .. }), "{error}");
}

#[test]
fn record_renamed_to_another_keyring_is_damaged() {
    let fixture = filled();
    let path = fixture.dir.join(RECORD);
    std::fs::copy(path, fixture.dir.join("catalogue/tools.json")).unwrap();
    let error = refused(&fixture);
    assert!(
        error.to_string().contains("record of keyring agents"),
        "{error}"
    );
}

#[test]
fn seen_file_in_the_place_of_a_record_has_a_wrong_signature() {
    let fixture = filled();
    std::fs::copy(fixture.dir.join("seen.json"), fixture.dir.join(RECORD)).unwrap();
    let error = refused(&fixture);
    assert!(matches!(error, LoadError::Signature { .. }), "{error}");
}

#[test]
fn record_of_another_catalogue_is_named_as_such() {
    let (fixture, other) = (filled(), filled());
    std::fs::copy(other.dir.join(RECORD), fixture.dir.join(RECORD)).unwrap();
    let error = refused(&fixture);
    assert!(matches!(error, LoadError::OtherCatalogue { .. }), "{error}");
}

#[test]
fn older_copy_put_back_is_rolled_back() {
    let fixture = filled();
    let old = std::fs::read(fixture.dir.join(RECORD)).unwrap();
    let mut catalogue = fixture.open().unwrap();
    catalogue.rotate(&agents(), SUITE, &fixture.clock).unwrap();
    drop(catalogue);
    std::fs::write(fixture.dir.join(RECORD), old).unwrap();
    let error = refused(&fixture);
    assert!(
        matches!(
            error,
            LoadError::RolledBack {
                found: 6,
                seen: 9,
                ..
            }
        ),
        "{error}"
    );
}

#[test]
fn older_copy_put_back_under_a_running_gateway_is_never_written_over() {
    let fixture = filled();
    let old: Vec<_> = [RECORD, "seen.json"]
        .map(|file| (file, std::fs::read(fixture.dir.join(file)).unwrap()))
        .into();
    let mut catalogue = fixture.open().unwrap();
    catalogue.rotate(&agents(), SUITE, &fixture.clock).unwrap();
    for (file, bytes) in old {
        std::fs::write(fixture.dir.join(file), bytes).unwrap();
    }
    let before = fixture.content();
    let error = catalogue
        .rotate(&agents(), SUITE, &fixture.clock)
        .unwrap_err();
    let rolled_back = matches!(
        error,
        RotateError::Set(SetError::Load(LoadError::RolledBack { .. }))
    );
    assert!(rolled_back, "{error}");
    assert!(catalogue.refresh().is_err());
    assert_eq!(fixture.content(), before);
    // The loaded records stay in force.
    let active = catalogue.record(&agents()).unwrap().active().unwrap();
    assert_eq!(active.number, 3);
    assert!(wait(catalogue.version_key(&agents(), 3)).is_ok());
}

#[test]
fn missing_record_is_noticed() {
    let fixture = filled();
    std::fs::remove_file(fixture.dir.join(RECORD)).unwrap();
    let error = refused(&fixture);
    assert!(matches!(error, LoadError::MissingRecord(_, 6)), "{error}");
}

#[test]
fn missing_directory_of_records_is_noticed() {
    let fixture = filled();
    let records = fixture.dir.join("catalogue");
    std::fs::rename(&records, fixture.dir.join("elsewhere")).unwrap();
    let error = fixture.open().err().unwrap();
    assert!(matches!(error, LoadError::MissingRecord { .. }), "{error}");
    assert!(!records.exists());
}

#[test]
fn missing_memory_of_epochs_is_noticed() {
    let fixture = filled();
    std::fs::remove_file(fixture.dir.join("seen.json")).unwrap();
    let error = refused(&fixture);
    assert!(matches!(error, LoadError::MissingSeen { .. }), "{error}");
}

#[test]
fn missing_signing_key_is_noticed_and_never_replaced() {
    let fixture = filled();
    std::fs::remove_file(fixture.dir.join("catalogue.key")).unwrap();
    let error = refused(&fixture);
    assert!(matches!(error, LoadError::NoSigningKey { .. }), "{error}");
    let before = fixture.content();
    let created = Catalogue::create(fixture.lock(), Arc::clone(&fixture.custodian)).err();
    assert!(matches!(
        created,
        Some(CreateError::Load(LoadError::NoSigningKey { .. }))
    ));
    assert_eq!(fixture.content(), before);
}

#[test]
fn directory_without_a_catalogue_asks_for_init() {
    let fixture = Fixture::new();
    let error = fixture.open().err().unwrap();
    assert!(matches!(error, LoadError::NotInitialised { .. }), "{error}");
    assert!(error.with_help().contains("keyway init"));
}

#[test]
fn another_kek_is_told_from_damage() {
    let (mut fixture, other) = (filled(), filled());
    fixture.custodian = Arc::clone(&other.custodian);
    let error = refused(&fixture);
    let wrong_kek = matches!(
        error,
        LoadError::Unwrap {
            source: UnwrapFailed::OtherKek { .. },
            ..
        }
    );
    assert!(wrong_kek, "{error}");
}

#[test]
fn later_format_asks_for_an_upgrade_whatever_else_it_says() {
    for file in [RECORD, "seen.json", "clock.json", "catalogue.key"] {
        let fixture = filled();
        edit(&fixture, file, |text| {
            text.replace("\"format\": 1", "\"format\": 5, \"surprise\": true")
        });
        let error = refused(&fixture);
        assert!(matches!(error, LoadError::Newer(_, 5)), "{error}");
    }
}

#[test]
fn unknown_field_is_refused_even_when_signed() {
    for file in [RECORD, "seen.json", "clock.json"] {
        let fixture = filled();
        resigned(&fixture, file, |text| {
            text.replace("\"format\": 1", "\"format\": 1, \"surprise\": true")
        });
        let error = refused(&fixture);
        assert!(error.to_string().contains("surprise"), "{error}");
    }
}

#[test]
fn record_against_the_rules_is_refused_even_when_signed() {
    let fixture = filled();
    resigned(&fixture, RECORD, |text| {
        text.replace("decrypt-only", "active")
    });
    let error = refused(&fixture);
    assert!(matches!(error, LoadError::Invalid { .. }), "{error}");
}

#[test]
fn what_is_not_a_record_is_passed_over() {
    let fixture = filled();
    for name in [".agents.json.tmp", "agents.json.bak", "README"] {
        std::fs::write(fixture.dir.join("catalogue").join(name), "left behind").unwrap();
    }
    assert_eq!(fixture.open().unwrap().keyrings().count(), 2);
}

#[test]
fn record_newer_than_remembered_is_believed_and_remembered() {
    let fixture = filled();
    let old = std::fs::read(fixture.dir.join("seen.json")).unwrap();
    let mut catalogue = fixture.open().unwrap();
    catalogue.rotate(&agents(), SUITE, &fixture.clock).unwrap();
    drop(catalogue);
    let new = std::fs::read(fixture.dir.join("seen.json")).unwrap();
    std::fs::write(fixture.dir.join("seen.json"), old).unwrap();
    fixture.open().unwrap();
    assert_eq!(std::fs::read(fixture.dir.join("seen.json")).unwrap(), new);
}

/// The error of a write that must be refused without changing a file.
fn unwritten(fixture: &Fixture, catalogue: &mut Catalogue) -> LoadError {
    let before = fixture.content();
    let error = catalogue
        .rotate(&agents(), SUITE, &fixture.clock)
        .unwrap_err();
    assert_eq!(fixture.content(), before, "{error}");
    let RotateError::Set(SetError::Load(error)) = error else {
        panic!("{error}")
    };
    error
}

#[test]
fn every_bit_flipped_between_two_writes_is_noticed_by_the_second() {
    let fixture = filled();
    let mut catalogue = fixture.open().unwrap();
    catalogue.rotate(&agents(), SUITE, &fixture.clock).unwrap();
    let path = fixture.dir.join(RECORD);
    let good = std::fs::read(&path).unwrap();
    for byte in 0..good.len() {
        let mut bad = good.clone();
        bad[byte] ^= 1 << (byte % 8);
        std::fs::write(&path, bad).unwrap();
        unwritten(&fixture, &mut catalogue);
    }
    std::fs::write(&path, good).unwrap();
    catalogue.rotate(&agents(), SUITE, &fixture.clock).unwrap();
}

#[test]
fn record_altered_between_two_writes_is_never_written_over() {
    let fixture = filled();
    let mut catalogue = fixture.open().unwrap();
    catalogue.rotate(&agents(), SUITE, &fixture.clock).unwrap();
    // Of the same length.
    edit(&fixture, RECORD, |text| text.replace("active", "actixe"));
    let error = unwritten(&fixture, &mut catalogue);
    assert!(matches!(error, LoadError::Signature { .. }), "{error}");
}

#[test]
fn record_rolled_back_between_two_writes_is_never_written_over() {
    let fixture = filled();
    let mut catalogue = fixture.open().unwrap();
    let path = fixture.dir.join(RECORD);
    // Signed by this catalogue, verified when it was read, and overwritten since.
    let old = std::fs::read(&path).unwrap();
    catalogue.make(&agents(), SUITE, &fixture.clock).unwrap();
    std::fs::write(&path, old).unwrap();
    let error = unwritten(&fixture, &mut catalogue);
    let rolled_back = matches!(
        error,
        LoadError::RolledBack {
            found: 6,
            seen: 7,
            ..
        }
    );
    assert!(rolled_back, "{error}");
}

#[test]
fn record_gone_between_two_writes_is_never_made_anew() {
    let fixture = filled();
    let mut catalogue = fixture.open().unwrap();
    catalogue.rotate(&agents(), SUITE, &fixture.clock).unwrap();
    std::fs::remove_file(fixture.dir.join(RECORD)).unwrap();
    let error = unwritten(&fixture, &mut catalogue);
    assert!(matches!(error, LoadError::MissingRecord { .. }), "{error}");
}

#[test]
fn record_of_another_writer_between_two_writes_is_a_conflict_and_then_followed() {
    let fixture = filled();
    let mut catalogue = fixture.open().unwrap();
    catalogue.rotate(&agents(), SUITE, &fixture.clock).unwrap();
    resigned(&fixture, RECORD, |text| {
        text.replace("\"epoch\": 9", "\"epoch\": 10")
    });
    let error = catalogue
        .rotate(&agents(), SUITE, &fixture.clock)
        .unwrap_err();
    let conflict = matches!(
        error,
        RotateError::Set(SetError::Conflict {
            expected: 9,
            found: 10,
            ..
        })
    );
    assert!(conflict, "{error}");
    catalogue.rotate(&agents(), SUITE, &fixture.clock).unwrap();
    assert_eq!(fixture.view().record(&agents()).unwrap().epoch, 13);
}

#[test]
fn record_that_breaks_a_rule_between_two_writes_is_refused_even_when_signed() {
    let fixture = filled();
    let mut catalogue = fixture.open().unwrap();
    catalogue.rotate(&agents(), SUITE, &fixture.clock).unwrap();
    resigned(&fixture, RECORD, |text| {
        text.replace("decrypt-only", "active")
    });
    let error = unwritten(&fixture, &mut catalogue);
    assert!(matches!(error, LoadError::Invalid { .. }), "{error}");
}
