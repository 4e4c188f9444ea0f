//! Reading and writing without faults, and what is refused.

use super::*;
use crate::disk;

const RECORD_WRITTEN: [&str; 3] = [
    "write .agents.json.tmp",
    "rename agents.json",
    "sync catalogue",
];
const SEEN_WRITTEN: [&str; 3] = ["write .seen.json.tmp", "rename seen.json", "sync state"];

#[test]
fn first_version_is_active_and_labelled() {
    let fixture = Fixture::new();
    let mut catalogue = fixture.create();
    let number = catalogue
        .rotate(&agents(), SUITE, &fixture.clock)
        .unwrap()
        .active;
    let record = catalogue.record(&agents()).unwrap();
    let version = record.active().unwrap();
    assert_eq!((number, version.number), (1, 1));
    assert_eq!(version.label.as_str(), "agents-2026-11-23.1");
    assert_eq!(version.kid, version.commitment.kid());
    assert_eq!(record.epoch, 3);
}

#[test]
fn successor_is_active_in_the_same_write_as_its_predecessor_stops() {
    let fixture = Fixture::new();
    let mut catalogue = fixture.create();
    catalogue.rotate(&agents(), SUITE, &fixture.clock).unwrap();
    fixture.manual_clock.advance(Duration::from_hours(24));
    let switched = catalogue.rotate(&agents(), SUITE, &fixture.clock).unwrap();
    assert_eq!(
        switched,
        Switched {
            active: 2,
            predecessor: Some(1)
        }
    );
    assert_eq!(
        states(&catalogue, &agents()),
        [(1, State::DecryptOnly), (2, State::Active)]
    );
    let record = catalogue.record(&agents()).unwrap();
    assert_eq!(record.versions[0].deactivated, record.versions[1].activated);
    assert_eq!(record.versions[1].label.as_str(), "agents-2026-11-24.2");
}

#[test]
fn version_keys_are_the_same_after_reopening() {
    let fixture = Fixture::new();
    let mut catalogue = fixture.create();
    catalogue.rotate(&agents(), SUITE, &fixture.clock).unwrap();
    catalogue.rotate(&agents(), SUITE, &fixture.clock).unwrap();
    let records = catalogue.record(&agents()).cloned();
    drop(catalogue);
    let catalogue = fixture.open().unwrap();
    assert_eq!(catalogue.record(&agents()).cloned(), records);
    assert_eq!(catalogue.versions_that_open().count(), 2);
    for (keyring, version) in catalogue.versions_that_open() {
        let key = wait(catalogue.version_key(keyring, version.number))
            .ok()
            .unwrap();
        assert_eq!(key.commitment(), version.commitment);
        let found = catalogue.find_by_kid(key.kid()).unwrap();
        assert_eq!(found.1.number, version.number);
    }
}

#[test]
fn record_file_is_json_that_people_can_read() {
    let fixture = Fixture::new();
    fixture
        .create()
        .rotate(&agents(), SUITE, &fixture.clock)
        .unwrap();
    let text = std::fs::read_to_string(fixture.dir.join("catalogue/agents.json")).unwrap();
    for part in [
        "\"keyring\": \"agents\"",
        "\"label\": \"agents-2026-11-23.1\"",
        "\"state\": \"active\"",
        "\"suite\": \"aes-256-gcm\"",
        "\"created\": \"2026-11-23T10:00:00Z\"",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    let documents: Vec<serde_json::Value> = serde_json::Deserializer::from_str(&text)
        .into_iter()
        .collect::<Result<_, _>>()
        .unwrap();
    assert_eq!(documents.len(), 2);
    assert!(documents[1]["signature"].is_string());
}

#[test]
fn other_expected_epoch_is_a_conflict() {
    let fixture = Fixture::new();
    let mut catalogue = fixture.create();
    catalogue.rotate(&agents(), SUITE, &fixture.clock).unwrap();
    let before = fixture.content();
    let record = catalogue.record(&agents()).unwrap().clone();
    for expected in [0, 1, 2, 4, u64::MAX] {
        let error = catalogue
            .compare_and_set(expected, record.clone())
            .unwrap_err();
        assert!(matches!(error, SetError::Conflict { found: 3, .. }));
    }
    assert_eq!(fixture.content(), before);
    catalogue.compare_and_set(3, record).unwrap();
}

#[test]
fn refused_record_leaves_disk_and_memory_alone() {
    let fixture = Fixture::new();
    let mut catalogue = fixture.create();
    catalogue.rotate(&agents(), SUITE, &fixture.clock).unwrap();
    let (before, good) = (
        fixture.content(),
        catalogue.record(&agents()).unwrap().clone(),
    );
    let mut bad = good.clone();
    bad.versions.clear();
    let error = catalogue.compare_and_set(3, bad).unwrap_err();
    assert!(matches!(
        error,
        SetError::Refused {
            rule: Invalid::LeftOut(1),
            ..
        }
    ));
    assert_eq!(fixture.content(), before);
    assert_eq!(catalogue.record(&agents()), Some(&good));
}

#[test]
fn secret_that_was_not_shown_to_unwrap_is_refused() {
    let fixture = Fixture::new();
    let mut catalogue = fixture.create();
    catalogue.rotate(&agents(), SUITE, &fixture.clock).unwrap();
    catalogue.rotate(&agents(), SUITE, &fixture.clock).unwrap();
    let mut moved = catalogue.record(&agents()).unwrap().clone();
    moved.versions[1].wrapped = moved.versions[0].wrapped.clone();
    let error = catalogue.compare_and_set(6, moved).unwrap_err();
    let refused = matches!(
        error,
        SetError::Refused {
            rule: Invalid::Unproven(2),
            ..
        }
    );
    assert!(refused, "{error}");
}

#[test]
fn secret_that_its_record_does_not_commit_to_is_never_used() {
    let fixture = Fixture::new();
    let mut catalogue = fixture.create();
    catalogue.rotate(&agents(), SUITE, &fixture.clock).unwrap();
    let mut version = catalogue.record(&agents()).unwrap().versions[0].clone();
    // Another secret, correctly wrapped under the KEK for this version.
    let other = crate::secret::Secret::random().unwrap();
    let context = view::context(&agents(), 1, &version.commitment.0);
    version.wrapped = Some(wait(fixture.custodian.wrap(&other, &context)).unwrap());
    let keyring = agents();
    let key = view::unwrap_version(&*fixture.custodian, &keyring, &version);
    let error = wait(key).err();
    assert!(matches!(error, Some(KeyError::Commitment { .. })));
}

#[test]
fn kid_of_another_keyring_is_refused() {
    let fixture = Fixture::new();
    let mut catalogue = fixture.create();
    catalogue.prepare(&agents(), SUITE, &fixture.clock).unwrap();
    let tools: KeyringName = "tools".parse().unwrap();
    let mut record = catalogue.record(&agents()).unwrap().clone();
    record.keyring = tools.clone();
    record.versions[0].label = Label::new(&tools, record.versions[0].created, 1);
    let error = catalogue.compare_and_set(0, record).unwrap_err();
    assert!(matches!(
        error,
        SetError::Refused {
            rule: Invalid::SameKid(1),
            ..
        }
    ));
}

#[test]
fn destroyed_version_has_no_secret_and_says_so() {
    let fixture = Fixture::new();
    let mut catalogue = fixture.create();
    catalogue.rotate(&agents(), SUITE, &fixture.clock).unwrap();
    let refused = catalogue.set_state(&agents(), 1, State::Destroyed, &fixture.clock);
    assert!(matches!(
        refused,
        Err(RotateError::Set(SetError::Refused { .. }))
    ));
    catalogue.rotate(&agents(), SUITE, &fixture.clock).unwrap();
    catalogue
        .set_state(&agents(), 1, State::Destroyed, &fixture.clock)
        .unwrap();
    drop(catalogue);
    let catalogue = fixture.open().unwrap();
    assert!(
        catalogue.record(&agents()).unwrap().versions[0]
            .wrapped
            .is_none()
    );
    let error = wait(catalogue.version_key(&agents(), 1)).err().unwrap();
    assert!(matches!(error, KeyError::Destroyed { .. }));
    assert!(wait(catalogue.version_key(&agents(), 2)).is_ok());
    let error = wait(catalogue.version_key(&agents(), 3)).err().unwrap();
    assert!(matches!(error, KeyError::Unknown { .. }));
}

#[test]
fn only_a_ready_version_is_activated() {
    let fixture = Fixture::new();
    let mut catalogue = fixture.create();
    let number = catalogue.make(&agents(), SUITE, &fixture.clock).unwrap();
    for state in [State::PreActive, State::Destroyed] {
        catalogue
            .set_state(&agents(), number, state, &fixture.clock)
            .unwrap();
        let error = catalogue.activated(&agents(), number, &fixture.clock);
        assert!(matches!(error, Err(RotateError::NotReady { .. })));
    }
}

#[test]
fn account_is_kept_and_lanes_only_grow() {
    let fixture = Fixture::new();
    let mut catalogue = fixture.create();
    catalogue.rotate(&agents(), SUITE, &fixture.clock).unwrap();
    for (messages, lanes) in [(1000, 7), (600, 3)] {
        let reserved = Volume { messages, bytes: 5 };
        let usage = VersionUsage {
            number: 1,
            reserved,
            sealed: Volume::default(),
            lanes,
        };
        catalogue
            .make_change(catalogue.used(&agents(), &[usage]))
            .unwrap();
        let view = fixture.view();
        let version = view.record(&agents()).unwrap().version(1).unwrap();
        assert_eq!((version.reserved, version.lanes), (reserved, 7));
    }
}

#[test]
fn reader_without_the_lock_follows_the_writer() {
    let fixture = Fixture::new();
    let mut catalogue = fixture.create();
    catalogue.rotate(&agents(), SUITE, &fixture.clock).unwrap();
    let mut view = fixture.view();
    catalogue.rotate(&agents(), SUITE, &fixture.clock).unwrap();
    assert_eq!(states(&view, &agents()), [(1, State::Active)]);
    view.refresh().unwrap();
    assert_eq!(
        states(&view, &agents()),
        [(1, State::DecryptOnly), (2, State::Active)]
    );
}

#[test]
fn reader_writes_nothing() {
    let fixture = Fixture::new();
    fixture
        .create()
        .rotate(&agents(), SUITE, &fixture.clock)
        .unwrap();
    let before = fixture.content();
    fixture.view().refresh().unwrap();
    assert_eq!(fixture.content(), before);
}

#[test]
fn record_is_durable_before_its_epoch_is_remembered() {
    let fixture = Fixture::new();
    let disk = Arc::new(CrashDisk::default());
    let mut catalogue = fixture.create_on(&disk).unwrap();
    catalogue.prepare(&agents(), SUITE, &fixture.clock).unwrap();
    disk.take_log();
    catalogue
        .set_state(&agents(), 1, State::Ready, &fixture.clock)
        .unwrap();
    assert_eq!(disk.take_log(), [RECORD_WRITTEN, SEEN_WRITTEN].concat());
}

#[test]
fn epochs_of_versions_that_cannot_seal_are_remembered_with_the_one_that_can() {
    let fixture = Fixture::new();
    let disk = Arc::new(CrashDisk::default());
    let mut catalogue = fixture.create_on(&disk).unwrap();
    catalogue.rotate(&agents(), SUITE, &fixture.clock).unwrap();
    disk.take_log();
    let number = catalogue.make(&agents(), SUITE, &fixture.clock).unwrap();
    let usage = VersionUsage {
        number,
        reserved: Volume::default(),
        sealed: Volume::default(),
        lanes: 0,
    };
    catalogue
        .make_change(catalogue.admitted(&agents(), (usage, Vec::new()), &fixture.clock))
        .unwrap();
    assert_eq!(disk.take_log(), [RECORD_WRITTEN, RECORD_WRITTEN].concat());
    assert_eq!(catalogue.load_seen().unwrap()[&agents()], 3);
    catalogue
        .make_change(catalogue.activated(&agents(), number, &fixture.clock))
        .unwrap();
    assert_eq!(disk.take_log(), [RECORD_WRITTEN, SEEN_WRITTEN].concat());
    assert_eq!(catalogue.load_seen().unwrap()[&agents()], 6);
}

#[test]
fn catalogue_is_created_once() {
    let fixture = Fixture::new();
    fixture.create();
    let before = fixture.content();
    let error = Catalogue::create(fixture.lock(), Arc::clone(&fixture.custodian)).err();
    assert!(matches!(
        error,
        Some(CreateError::Load(LoadError::Disk(
            disk::Error::Exists { .. }
        )))
    ));
    assert_eq!(fixture.content(), before);
}

#[test]
fn second_writer_is_kept_off() {
    let fixture = Fixture::new();
    let _catalogue = fixture.create();
    assert!(matches!(
        Lock::acquire(fixture.dir),
        Err(disk::Error::Locked { .. })
    ));
}
